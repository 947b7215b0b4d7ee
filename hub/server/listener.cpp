// Tested by tests/hub_server_test.cpp.

#include "hub/server/listener.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/this_coro.hpp>

#include "hub/process/log.hpp"
#include "hub/process/memory_reserve.hpp"
#include "hub/server/serve_h1.hpp"
#include "hub/server/serve_h2.hpp"

namespace hub {

namespace asio = boost::asio;

namespace {

/// A handler whose wait was ended may begin another one.
constexpr std::chrono::milliseconds give_up_every{20};

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
        bool short_of_memory = false;
        refill_memory_reserve();
        if (!failure) {
            try {
                take(std::move(socket));
            } catch (const std::exception& shortage) {
                short_of_memory = true;
                failed(shortage.what());
            }
        } else {
            inbound_.make_room();
            inbound_.refused("the system gives no more descriptors or memory",
                             dispatch_.clock().steady_ms());
        }
        if (!failure && !short_of_memory) continue;
        // It will pass, but not by trying at once.
        pause_.expires_after(std::chrono::milliseconds(100));
        co_await pause_.async_wait(pns::as_result);
    }
}

/// Serves it or closes it. Throws if there is no memory for it.
void Listener::take(Peer::Socket socket) {
    pns::error_code failure;
    const auto other = socket.remote_endpoint(failure);
    if (failure) return;  // it is gone
    Inbound::Asked asked{acceptor_.get_executor(),      other.address(),
                         socket.native_handle(),        entrance_.tls != nullptr,
                         entrance_.door == Door::admin, dispatch_.clock().steady_ms()};
    auto entered = inbound_.enter(asked, config_);
    if (const auto* why = std::get_if<const char*>(&entered))
        return inbound_.refused(*why, asked.now_ms);
    const auto place = std::get<std::shared_ptr<Place>>(std::move(entered));
    try {
        socket.set_option(asio::ip::tcp::no_delay(true), failure);
        children_.start(serve(std::move(socket), place));
    } catch (...) {
        inbound_.leave(place);
        throw;
    }
}

void Listener::failed(const char* what) {
    const auto left_out = failures_.allow("", dispatch_.clock().steady_ms());
    if (!left_out) return;
    log_error("a connection ended by an exception",
              {{"what", what}, {"lines_left_out", lines_left_out(*left_out)}});
}

/// Nothing leaves it: an exception of one child of a nursery ends its siblings.
pns::Task<void> Listener::serve(Peer::Socket socket, std::shared_ptr<Place> place) {
    // Cancelled, the present wait ends with an error, and the frame cleans up as ever.
    co_await asio::this_coro::throw_if_cancelled(false);
    try {
        Peer peer(std::move(socket), entrance_.tls.get(), config_.body_timeout_ms,
                  dispatch_.clock(), place);
        peer.door = entrance_.door;
        co_await serve(peer);
    } catch (const std::exception& bug) {
        failed(bug.what());
    }
    inbound_.leave(place);
    if (stopping_ && peers_.empty()) pause_.cancel();
}

pns::Task<void> Listener::serve(Peer& peer) {
    pns::Nursery watcher(peer.executor());
    const auto here = peers_.insert(peers_.end(), &peer);
    try {
        watcher.start(peer.watch());
        if (!peer.unwanted()) co_await converse(peer);
    } catch (const std::exception& bug) {
        failed(bug.what());
    }
    peer.cut();
    co_await watcher.join();
    peers_.erase(here);
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
        if (const auto left_out = handshakes_.allow("", dispatch_.clock().steady_ms()))
            log_debug("handshake failed",
                      {{"what", failure.message()}, {"lines_left_out", lines_left_out(*left_out)}});
        co_return;
    }
    peer.at(Place::Stage::waiting);
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
