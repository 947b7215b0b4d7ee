#pragma once

// One accepted connection as a byte stream: socket, TLS if any, and its deadlines. Belongs to one
// loop and to the frame that serves it; that frame runs watch() as a child and joins it after
// cut().
//
// Nothing here is cancelled from outside: a deadline, a drain that takes too long and a lost
// connection all close the socket, and every wait on it ends with an error. What a handler waits
// for is not the peer's: give_up() is for that.
//
// Deadlines count time in which the loop ran: after a gap it reads first and judges then
// (pns/alarm.hpp).

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "hub/http/http.hpp"
#include "hub/server/inbound.hpp"
#include "pns/alarm.hpp"
#include "pns/task.hpp"
#include "pns/tls_stream.hpp"

namespace hub {

class Peer {
  public:
    using Socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, pns::Executor>;

    /// `tls` null: a plain connection. `write_ms` bounds each write, and the time in which the
    /// other side must take the next 256 KiB of what was written, or all of it. `clock` outlives
    /// it.
    Peer(Socket socket, boost::asio::ssl::context* tls, std::int64_t write_ms,
         const pns::Clock& clock, std::shared_ptr<Place> place);
    ~Peer() { place_->cut = nullptr; }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    /// Waits for the first byte of a TLS connection. True: the client speaks HTTP without TLS, and
    /// is spoken to in the same way from now on.
    pns::Task<bool> says_http_for_tls();
    pns::Task<pns::error_code> handshake();
    bool tls() const { return tls_.has_value(); }
    bool chose_h2() const;  ///< by ALPN
    const std::string& address() const {
        return address_;
    }  ///< of the other side; empty: it is gone

    /// There was no room for it any more when it came here.
    bool unwanted() const { return place_->unwanted(); }
    /// What the connection does now, for when there is no room for all.
    void at(Place::Stage stage) { place_->set(stage, clock().steady_ms()); }

    pns::Task<std::pair<pns::error_code, std::size_t>> read_some(boost::asio::mutable_buffer into);
    pns::Task<pns::error_code> write(boost::asio::const_buffer bytes);

    /// What is being waited for must have come in `ms` from now. Replaces the deadline before.
    void expect_within(std::int64_t ms);
    void expect_nothing() { read_by_ms_ = pns::never_ms; }
    /// The time of deadlines.
    std::int64_t now_ms() { return alarm_.now_ms(); }
    /// What serves the connection has a deadline of its own, maybe before all others.
    void look_by(std::int64_t deadline_ms) { alarm_.at_latest(deadline_ms); }
    /// Does what is due of such deadlines and returns the next one, or pns::never_ms.
    std::function<std::int64_t(std::int64_t now_ms)> on_look;
    /// Called instead of cut() when what was expected did not come; must set a new deadline.
    std::function<void()> on_late;

    /// Ends when the connection is cut.
    pns::Task<void> watch() { return alarm_.run(); }

    /// The process wants to stop: no further requests.
    void drain();
    bool draining() const { return draining_; }
    std::function<void()> on_drain;  ///< unset: drain() cuts

    /// Ends waits of this moment with operation_aborted; the connection stays open.
    void interrupt();
    /// Says goodbye so that the last answer is not lost to a reset: TLS close, FIN, and a short
    /// wait for the peer's.
    pns::Task<void> close();
    void cut();
    /// Time is up: cuts, and what serves the connection beside its frame ends its waits. May be
    /// said again: a handler may wait for several things in turn.
    void give_up();
    std::function<void()> on_give_up;  ///< unset: nothing but the frame works on the connection
    bool open() const { return open_; }
    pns::Executor executor() { return socket_.get_executor(); }
    const pns::Clock& clock() const { return alarm_.clock(); }

    Door door = Door::inside;

  private:
    std::int64_t look(std::int64_t now_ms);
    void expect_reader();
    bool is_reader_late();

    const std::shared_ptr<Place> place_;
    Socket socket_;
    std::string address_;
    std::optional<pns::TlsStream> tls_;
    pns::RunningAlarm alarm_;
    std::int64_t read_by_ms_ = pns::never_ms;
    std::int64_t write_by_ms_ = pns::never_ms;
    std::int64_t taken_by_ms_ = pns::never_ms;  // what the system holds of the output
    std::size_t unread_ = 0;                    // of it, when that time began
    std::uint64_t taken_ = 0;                   // by the other side, until then
    std::int64_t write_ms_;
    bool open_ = true;
    pns::error_code ended_;  // the client says no more
    bool draining_ = false;
};

}  // namespace hub
