// Tested by tests/hub_server_test.cpp.

#include "hub/server/listener.hpp"

#include <sys/socket.h>

#include <boost/asio/this_coro.hpp>

#include "hub/process/log.hpp"
#include "hub/server/serve_h1.hpp"
#include "hub/server/serve_h2.hpp"

namespace hub {

namespace asio = boost::asio;

namespace {

/// A handler whose wait was ended may begin another one.
constexpr std::chrono::milliseconds give_up_every{20};

}  // namespace

Listener::Listener(asio::io_context& lane, Dispatch& dispatch, const Config& config,
                   asio::ssl::context* tls, std::atomic<std::size_t>& connections)
    : dispatch_(dispatch),
      config_(config),
      tls_(tls),
      connections_(connections),
      acceptor_(lane.get_executor()),
      pause_(lane.get_executor()),
      children_(lane.get_executor()) {}

pns::error_code Listener::open(const asio::ip::tcp::endpoint& at) {
    using ReusePort = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
    pns::error_code failure;
    acceptor_.open(at.protocol(), failure);
    if (!failure) acceptor_.set_option(asio::socket_base::reuse_address(true), failure);
    if (!failure) acceptor_.set_option(ReusePort(true), failure);
    if (!failure) acceptor_.bind(at, failure);
    if (!failure) acceptor_.listen(1'024, failure);
    if (!failure) port_ = acceptor_.local_endpoint(failure).port();
    return failure;
}

void Listener::start() {
    children_.start(accept_loop());
}

pns::Task<void> Listener::accept_loop() {
    while (!stopping_) {
        Peer::Socket socket(acceptor_.get_executor());
        auto [failure] = co_await acceptor_.async_accept(socket, pns::as_result);
        if (stopping_) break;
        if (failure == asio::error::connection_aborted) continue;
        if (failure) {
            // Out of descriptors or memory: it will pass, but not by trying at once.
            log_warn("cannot accept connections", {{"what", failure.message()}});
            pause_.expires_after(std::chrono::milliseconds(100));
            co_await pause_.async_wait(pns::as_result);
            continue;
        }
        if (connections_.load() >= config_.connections_max) continue;  // closes it
        socket.set_option(asio::ip::tcp::no_delay(true), failure);
        children_.start(serve(std::move(socket)));
    }
}

pns::Task<void> Listener::serve(Peer::Socket socket) {
    // Cancelled, the present wait ends with an error, and the frame cleans up as ever.
    co_await asio::this_coro::throw_if_cancelled(false);
    Peer peer(std::move(socket), tls_, config_.body_timeout_ms, dispatch_.clock());
    const auto place = peers_.insert(peers_.end(), &peer);
    ++connections_;
    pns::Nursery watcher(peer.executor());
    watcher.start(peer.watch());
    try {
        co_await converse(peer);
    } catch (const std::exception& bug) {
        log_error("a connection ended by an exception", {{"what", bug.what()}});
    }
    peer.cut();
    co_await watcher.join();
    --connections_;
    peers_.erase(place);
    if (stopping_ && peers_.empty()) pause_.cancel();
}

pns::Task<void> Listener::converse(Peer& peer) {
    peer.expect_within(config_.header_timeout_ms);
    const auto failure = co_await peer.handshake();
    if (failure) {
        log_debug("handshake failed", {{"what", failure.message()}});
        co_return;
    }
    if (peer.chose_h2()) {
        co_await serve_h2(peer, dispatch_, config_);
    } else {
        co_await serve_h1(peer, dispatch_, config_);
    }
}

pns::Task<void> Listener::stop(std::int64_t wait_ms) {
    stopping_ = true;
    pns::error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    for (auto it = peers_.begin(); it != peers_.end();) (*it++)->drain();
    if (!peers_.empty()) {
        pause_.expires_after(std::chrono::milliseconds(wait_ms));
        co_await pause_.async_wait(pns::as_result);
    }
    while (children_.size() > 0) {
        for (auto it = peers_.begin(); it != peers_.end();) (*it++)->give_up();
        children_.cancel();
        pause_.expires_after(give_up_every);
        co_await pause_.async_wait(pns::as_result);
    }
    co_await children_.join();
}

}  // namespace hub
