#pragma once

// Accepts connections on one lane and serves each in a child of its own, TLS or plain, HTTP/2 or
// HTTP/1.1 by ALPN. Belongs to its lane: after open(), every call runs there. The lanes share one
// port by SO_REUSEPORT.

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <list>

#include "hub/process/config.hpp"
#include "hub/server/dispatch.hpp"
#include "hub/server/peer.hpp"
#include "pns/alarm.hpp"
#include "pns/nursery.hpp"

namespace hub {

class Listener {
  public:
    /// `connections` counts those of all listeners of the process. `tls` null: plain.
    Listener(boost::asio::io_context& lane, Dispatch& dispatch, const Config& config,
             boost::asio::ssl::context* tls, std::atomic<std::size_t>& connections);

    /// Binds and listens. Before start(); the lane need not run yet.
    pns::error_code open(const boost::asio::ip::tcp::endpoint& at);
    std::uint16_t port() const { return port_; }
    /// Begins to accept.
    void start();
    /// Accepts no more, lets requests at work finish for `wait_ms`, then cuts what is left and
    /// cancels what handlers wait for: a wait for a provider ends at once, one for the disk with
    /// the disk. Joins everything.
    pns::Task<void> stop(std::int64_t wait_ms);

  private:
    pns::Task<void> accept_loop();
    pns::Task<void> serve(Peer::Socket socket);
    pns::Task<void> converse(Peer& peer);

    Dispatch& dispatch_;
    const Config& config_;
    boost::asio::ssl::context* tls_;
    std::atomic<std::size_t>& connections_;
    boost::asio::basic_socket_acceptor<boost::asio::ip::tcp, pns::Executor> acceptor_;
    pns::SteadyTimer pause_;  // accept errors and the wait of stop()
    pns::Nursery children_;
    std::list<Peer*> peers_;
    std::uint16_t port_ = 0;
    bool stopping_ = false;
};

}  // namespace hub
