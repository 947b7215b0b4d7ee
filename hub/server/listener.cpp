// Tested by tests/hub_server_test.cpp.

#include "hub/server/listener.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>

#include "hub/process/log.hpp"
#include "hub/server/serve_h1.hpp"
#include "hub/server/serve_h2.hpp"

namespace hub {

namespace asio = boost::asio;

namespace {

/// A handler whose wait was ended may begin another one.
constexpr std::chrono::milliseconds give_up_every{20};
constexpr std::int64_t tell_every_ms = 5'000;

}  // namespace

Listener::Listener(asio::io_context& lane, Dispatch& dispatch, const Config& config,
                   Inbound& inbound, Entrance entrance)
    : dispatch_(dispatch),
      config_(config),
      inbound_(inbound),
      entrance_(std::move(entrance)),
      acceptor_(lane.get_executor()),
      pause_(lane.get_executor()),
      children_(lane.get_executor()) {}

pns::error_code claim_port(asio::ip::tcp::endpoint& at) {
    asio::io_context unused;
    asio::ip::tcp::acceptor probe(unused);
    pns::error_code failure;
    probe.open(at.protocol(), failure);
    if (!failure) probe.set_option(asio::socket_base::reuse_address(true), failure);
    if (!failure) probe.bind(at, failure);
    if (!failure) at = probe.local_endpoint(failure);
    return failure;
}

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
            refused(failure.message());
            pause_.expires_after(std::chrono::milliseconds(100));
            co_await pause_.async_wait(pns::as_result);
            continue;
        }
        if (!has_room(socket)) {
            refused("the bound of connections is reached");
            continue;  // closes it
        }
        socket.set_option(asio::ip::tcp::no_delay(true), failure);
        children_.start(serve(std::move(socket)));
    }
}

bool Listener::has_room(Peer::Socket& socket) const {
    return inbound_.connections <
               std::min<std::size_t>(config_.connections_max, inbound_.connections_max) &&
           socket.native_handle() < inbound_.descriptors_below;
}

void Listener::refused(const std::string& why) {
    ++inbound_.refused;
    const std::int64_t now_ms = dispatch_.clock().steady_ms();
    std::int64_t told_ms = inbound_.told_at_ms;
    if (told_ms > now_ms - tell_every_ms ||
        !inbound_.told_at_ms.compare_exchange_strong(told_ms, now_ms))
        return;
    log_warn("connections are not taken",
             {{"what", why},
              {"open", std::to_string(inbound_.connections)},
              {"refused", std::to_string(inbound_.refused.exchange(0))}});
}

pns::Task<void> Listener::serve(Peer::Socket socket) {
    // Cancelled, the present wait ends with an error, and the frame cleans up as ever.
    co_await asio::this_coro::throw_if_cancelled(false);
    Peer peer(std::move(socket), entrance_.tls.get(), config_.body_timeout_ms, dispatch_.clock());
    peer.door = entrance_.door;
    const auto place = peers_.insert(peers_.end(), &peer);
    ++inbound_.connections;
    pns::Nursery watcher(peer.executor());
    watcher.start(peer.watch());
    try {
        co_await converse(peer);
    } catch (const std::exception& bug) {
        log_error("a connection ended by an exception", {{"what", bug.what()}});
    }
    peer.cut();
    co_await watcher.join();
    --inbound_.connections;
    peers_.erase(place);
    if (stopping_ && peers_.empty()) pause_.cancel();
}

pns::Task<void> Listener::converse(Peer& peer) {
    peer.expect_within(config_.header_timeout_ms);
    const bool is_http = co_await peer.says_http_for_tls();
    if (is_http) {
        co_await refuse_plain_h1(peer, dispatch_, config_);
        co_return;
    }
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
