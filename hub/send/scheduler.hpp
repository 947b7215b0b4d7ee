#pragma once

// Scheduled sends (docs/contracts/anh.md 5.7): kept in the ledger as SendState::scheduled, fired
// when their time has come. Here are only their times and ids; what is to be sent is read at fire
// time, and the audience is selected then.
//
// The ledger decides what becomes of one: firing and cancelling are both Registry::accept() of a
// send that is stored as scheduled, of which exactly one succeeds. After a restart resume() brings
// the times back; what fell due meanwhile fires at once. What cannot fire now (store fault, too
// many sends open, hub disabled) is tried again shortly, never dropped.

#include <atomic>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "hub/device/hubs.hpp"
#include "hub/process/config.hpp"
#include "hub/process/loops.hpp"
#include "hub/process/shares.hpp"
#include "pns/clock.hpp"
#include "pns/nursery.hpp"
#include "registry/registry.hpp"

namespace hub {

class Admission;
class Fanout;

/// The longest time ahead (docs/contracts/anh.md 5.7).
constexpr std::int64_t schedule_ahead_ms_max = 7 * 86'400'000LL;

/// Times and ids, the earliest first. Thread-safe.
class Schedule {
  public:
    struct Entry {
        std::int64_t due_ms = 0;
        std::uint32_t hub = 0;
        std::string id;
        friend bool operator==(const Entry&, const Entry&) = default;
        friend bool operator<(const Entry& a, const Entry& b) {
            return std::tie(a.due_ms, a.hub, a.id) < std::tie(b.due_ms, b.hub, b.id);
        }
    };

    /// `place`: among the sends that wait for their time; held as long as the entry is here.
    void add(Entry entry, Shares::Place place = {});
    void remove(const Entry& entry);
    /// Takes out at most `count_max` whose time has come, the earliest first.
    std::vector<Entry> take_due(std::int64_t now_ms, std::size_t count_max);
    std::int64_t next_ms() const;  ///< registry::never_ms if there is none
    std::size_t size() const;

  private:
    mutable std::mutex mutex_;
    std::map<Entry, Shares::Place> entries_;
};

class Scheduler {
  public:
    struct Parts {
        StorePool& store;
        registry::Registry& registry;
        Hubs& hubs;
        Fanout& fanout;
        Admission& admission;
        const Config& config;
        const pns::Clock& clock;
    };
    struct Figures {
        std::uint64_t waiting = 0, fired = 0;
        std::int64_t late_ms = 0;  ///< of the send that fired last
    };

    /// Everything runs on `lane` unless it says otherwise.
    Scheduler(boost::asio::io_context& lane, Parts parts);

    /// Takes the scheduled sends out of what an earlier process left open. Before run().
    void resume(std::vector<registry::OpenSend>& open);
    /// Places of the sends that wait for their time (Config::sends_scheduled_max). Any thread.
    Shares& places() { return places_; }
    /// The ledger has `send` as scheduled. Any thread.
    void add(std::uint32_t hub, const registry::Send& send, Shares::Place place = {});
    /// The ledger has cancelled it. Any thread.
    void forget(std::uint32_t hub, const registry::Send& send);

    /// Fires what is due until stop(). Once.
    pns::Task<void> run();
    /// Fires everything that is due at `now_ms` and returns when that is done; how many fired.
    pns::Task<std::size_t> fire_due(std::int64_t now_ms);
    /// No more firing; what is being fired ends first. On the lane.
    pns::Task<void> stop();
    Figures figures() const;  ///< any thread

  private:
    using Timer =
        boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                          boost::asio::wait_traits<std::chrono::steady_clock>,
                                          pns::Executor>;
    using Entry = Schedule::Entry;
    enum class Fired : std::uint8_t { yes, gone, later, held };

    pns::Task<void> fire(Entry entry, std::int64_t now_ms);
    pns::Task<Fired> attempt(const Entry& entry, std::int64_t now_ms);
    /// Ends a send whose expression is over a bound now; it was sound when it was accepted.
    pns::Task<registry::Result<void>> give_up(std::uint32_t hub, registry::Send send,
                                              std::int64_t now_ms);

    Parts parts_;
    Shares places_;
    Schedule schedule_;
    Timer timer_;
    pns::Nursery firing_;
    bool running_ = false;
    bool stopping_ = false;
    Timer ended_;  ///< cancelled when run() is over
    std::atomic<std::uint64_t> fired_{0};
    std::atomic<std::int64_t> late_ms_{0};
};

}  // namespace hub
