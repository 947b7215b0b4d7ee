#pragma once

// The inbound connections of a process: how many there are, from which addresses, and which of them
// has to go when there is no room. All lanes share one Inbound; every call is thread-safe unless it
// says otherwise.
//
// A stranger may open as many connections as the bounds allow, so who is there already may not be
// safe: where a bound of all is reached, the connection that has waited longest for its client
// goes, first of those that never asked for anything, and of the address with the most connections.
// One at work is never ended for another.

#include <array>
#include <atomic>
#include <boost/asio/ip/address.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "pns/task.hpp"

namespace hub {

struct Config;

class Inbound;

/// One connection in the books. Belongs to the lane of its connection, as to set() and cut.
class Place {
  public:
    enum class Stage : std::uint8_t {
        handshake,  ///< of TLS
        waiting,    ///< for a request, or for the rest of its head
        busy,
    };
    using Key = std::array<std::uint8_t, 16>;  ///< of an address: IPv6 by its first 64 bits

    Place(Inbound& inbound, pns::Executor lane) : inbound_(inbound), lane_(lane) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    /// `now_ms`: steady time. Saying the same stage again does not make it younger.
    void set(Stage stage, std::int64_t now_ms);
    /// Ends the connection; called on its lane when its room is needed. Null: it is gone, or not
    /// there yet.
    std::function<void()> cut;
    /// Its room was needed before `cut` was set. On its lane.
    bool unwanted() const { return unwanted_; }

  private:
    friend class Inbound;
    struct Address {
        std::size_t connections = 0;
        bool is_balancer = false;
    };

    Inbound& inbound_;
    const pns::Executor lane_;
    std::atomic<Stage> stage_ = Stage::waiting;
    std::atomic<std::int64_t> since_ms_ = 0;
    std::atomic<bool> has_asked_ = false;  // it was at work before
    bool unwanted_ = false;
    // Under the lock of Inbound.
    std::map<Key, Address>::iterator address_;
    std::list<std::shared_ptr<Place>>::iterator here_;
    bool leaving_ = false;
    bool left_handshake_ = false;  ///< it was in one when it was told to leave
};

class Inbound {
  public:
    /// Connections that are in the books. Those that were told to end still count.
    std::atomic<std::size_t> connections = 0;
    /// What the process has descriptors for (hub/process/descriptors.hpp), beside the setting.
    std::size_t connections_max = std::numeric_limits<std::size_t>::max();
    int descriptors_below = std::numeric_limits<int>::max();

    struct Asked {
        pns::Executor lane;
        boost::asio::ip::address from;
        int descriptor = 0;
        bool tls = false;
        bool is_admin = false;  ///< may use the reserve
        std::int64_t now_ms = 0;
    };
    /// Takes a connection into the books, maybe in place of another one. A text: why it is not
    /// taken.
    std::variant<std::shared_ptr<Place>, const char*> enter(const Asked& asked,
                                                            const Config& config);
    /// The connection has ended.
    void leave(const std::shared_ptr<Place>& place);
    /// Ends a connection that waits, because the system gives no more descriptors.
    void make_room();

    /// Counts, and tells of it in one line every few seconds.
    void refused(const char* why, std::int64_t now_ms);

    std::uint64_t refused_total() const { return refused_; }
    std::uint64_t ended_total() const { return ended_; }  ///< to make room
    std::size_t handshakes() const { return handshakes_; }

  private:
    friend class Place;
    bool end_one(Place::Stage up_to, Place::Stage from);
    void tell(const char* why, std::int64_t now_ms);
    void note_stage(Place::Stage before, Place::Stage after);

    std::mutex mutex_;
    std::list<std::shared_ptr<Place>> places_;  // those that came first are first
    std::map<Place::Key, Place::Address> addresses_;
    std::size_t leaving_ = 0, leaving_handshakes_ = 0;
    std::atomic<std::size_t> handshakes_ = 0;
    std::atomic<std::uint64_t> refused_ = 0, ended_ = 0;
    std::atomic<std::int64_t> told_at_ms_ = std::numeric_limits<std::int64_t>::min();
    std::atomic<std::uint64_t> refused_told_ = 0, ended_told_ = 0;
};

}  // namespace hub
