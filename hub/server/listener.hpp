#pragma once

// Accepts connections on one lane and serves each in a child of its own, TLS or plain, HTTP/2 or
// HTTP/1.1 by ALPN. Belongs to its lane: after open(), every call runs there. The lanes share one
// port by SO_REUSEPORT, which claim_port() has found free.

#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <list>
#include <memory>
#include <utility>

#include "hub/process/config.hpp"
#include "hub/process/log_limit.hpp"
#include "hub/server/dispatch.hpp"
#include "hub/server/inbound.hpp"
#include "hub/server/peer.hpp"
#include "pns/alarm.hpp"
#include "pns/nursery.hpp"
#include "pns/tls.hpp"

namespace hub {

/// How a listener speaks, and what for.
struct Entrance {
    pns::TlsContext tls;  ///< null: plain
    Door door = Door::inside;
};

/// Is nobody else listening there? Without this, two processes could share one port and each get
/// some of the connections. Fills in a free port for port 0.
pns::error_code claim_port(boost::asio::ip::tcp::endpoint& at);

class Listener {
  public:
    Listener(boost::asio::io_context& lane, Dispatch& dispatch, const Config& config,
             Inbound& inbound, Entrance entrance);

    /// Binds and listens. Before start(); the lane need not run yet.
    pns::error_code open(const boost::asio::ip::tcp::endpoint& at);
    std::uint16_t port() const { return port_; }
    /// Begins to accept.
    void start();
    /// For connections from now on.
    void use(const pns::TlsContext& tls) {
        if (entrance_.tls) entrance_.tls = tls;
    }
    /// Accepts no more, lets requests at work finish for `wait_ms`, then cuts what is left and
    /// cancels what handlers wait for: a wait for a provider ends at once, one for the disk with
    /// the disk. Joins everything.
    pns::Task<void> stop(std::int64_t wait_ms);

  private:
    pns::Task<void> accept_loop();
    void take(Peer::Socket socket);
    pns::Task<void> serve(Peer::Socket socket, std::shared_ptr<Place> place);
    pns::Task<void> serve(Peer& peer);
    pns::Task<void> converse(Peer& peer);
    void failed(const char* what);

    Dispatch& dispatch_;
    const Config& config_;
    Inbound& inbound_;
    Entrance entrance_;
    boost::asio::basic_socket_acceptor<boost::asio::ip::tcp, pns::Executor> acceptor_;
    pns::SteadyTimer pause_;  // accept errors and the wait of stop()
    pns::Nursery children_;
    std::list<Peer*> peers_;
    LogLimit failures_{2, 2, 1'000}, handshakes_{2, 2, 1'000};  // lines about them
    std::uint16_t port_ = 0;
    bool stopping_ = false;
};

}  // namespace hub
