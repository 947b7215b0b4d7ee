// Tested by tests/pns_connection_test.cpp.

#include "pns/tls_link.hpp"

#include <fcntl.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/post.hpp>
#include <random>

#include "pns/endpoint_guard.hpp"
#include "pns/errc.hpp"
#include "pns/name_lookup.hpp"

namespace pns {

namespace {

constexpr std::int64_t address_ms_min = 250;

}  // namespace

TlsLink::TlsLink(Executor executor, Options options, RunningAlarm& alarm)
    : executor_(executor), options_(std::move(options)), alarm_(alarm) {}

Task<error_code> TlsLink::open() {
    if (closed_) co_return errc::stopped;
    socket_.emplace(executor_);
    const error_code failed = co_await connect();
    if (failed) co_return failed;

    stream_.emplace(*socket_, options_.tls->native_handle(), TlsStream::Side::client);
    auto* ssl = stream_->native_handle();
    if (!expect_host(ssl, options_.host)) co_return errc::tls_failed;
    set_deadline(alarm_.now_ms() + options_.connect_timeout_ms);
    const error_code ec = co_await stream_->handshake();
    deadline_ms_ = never_ms;
    if (closed_) co_return errc::stopped;
    if (expired_) co_return errc::connect_timeout;
    if (ec) co_return handshake_error(ssl, ec);
    const auto protocol = chosen_protocol(ssl);
    const bool silent_http1 = protocol.empty() && options_.alpn == "http/1.1";
    if (protocol != options_.alpn && !silent_http1) co_return errc::alpn_refused;
    co_return error_code();
}

Task<error_code> TlsLink::resolve(std::vector<asio::ip::tcp::endpoint>& out) {
    // What needs no waiting (literals, /etc/hosts) ends on a later turn, too: an owner that opens
    // the next link when one has failed would go round without end.
    co_await asio::post(executor_, use_task);
    if (closed_) co_return errc::stopped;
    NameLookup lookup(options_.target.host, options_.name_servers);
    while (!lookup.step()) {
        // A descriptor of its own, which is closed with lookup_.
        const int watched = ::fcntl(lookup.descriptor(), F_DUPFD_CLOEXEC, 0);
        if (watched < 0) co_return errc::resolve_failed;
        lookup_.emplace(executor_, watched);
        const auto [ec] =
            co_await lookup_->async_wait(asio::posix::descriptor_base::wait_read, as_result);
        lookup_.reset();
        if (closed_) co_return errc::stopped;
        if (expired_) co_return errc::connect_timeout;
        if (ec) co_return errc::resolve_failed;
    }
    for (const auto& address : lookup.addresses()) {
        out.emplace_back(address, options_.target.port);
    }
    // Spread the connections of many senders over the provider's addresses.
    static thread_local std::minstd_rand random{std::random_device{}()};
    std::shuffle(out.begin(), out.end(), random);
    co_return out.empty() ? error_code(errc::resolve_failed) : checked(out);
}

// One address that is not public spoils the name: whoever owns it chose them all.
error_code TlsLink::checked(const std::vector<asio::ip::tcp::endpoint>& endpoints) const {
    if (!options_.target.public_only) return {};
    const bool all = std::all_of(endpoints.begin(), endpoints.end(), [](const auto& endpoint) {
        return is_public_address(endpoint.address());
    });
    return all ? error_code() : error_code(errc::address_not_public);
}

Task<error_code> TlsLink::connect() {
    const std::int64_t end_ms = alarm_.now_ms() + options_.connect_timeout_ms;
    set_deadline(end_ms);
    std::vector<asio::ip::tcp::endpoint> endpoints;
    const error_code unresolved = co_await resolve(endpoints);
    if (unresolved) co_return unresolved;

    bool timed_out = false;
    auto& socket = *socket_;
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
        const auto now_ms = alarm_.now_ms();
        if (now_ms >= end_ms) break;
        const auto share = (end_ms - now_ms) / static_cast<std::int64_t>(endpoints.size() - i);
        set_deadline(std::min(end_ms, now_ms + std::max(share, address_ms_min)));
        expired_ = false;
        error_code ignored;
        socket.close(ignored);
        error_code failed;
        socket.open(endpoints[i].protocol(), failed);
        if (!failed && socket.native_handle() >= options_.target.descriptors_below) {
            socket.close(ignored);
            co_return errc::no_descriptors;
        }
        const auto [ec] = co_await socket.async_connect(endpoints[i], as_result);
        deadline_ms_ = never_ms;
        if (closed_) co_return errc::stopped;
        if (!ec && !expired_) {
            socket.set_option(asio::ip::tcp::no_delay(true), ignored);
            socket.set_option(asio::socket_base::keep_alive(true), ignored);
            co_return error_code();
        }
        timed_out = timed_out || expired_;
    }
    co_return timed_out ? errc::connect_timeout : errc::connect_failed;
}

void TlsLink::set_deadline(std::int64_t deadline_ms) {
    deadline_ms_ = deadline_ms;
    alarm_.at_latest(deadline_ms);
}

void TlsLink::expire() {
    expired_ = true;
    deadline_ms_ = never_ms;
    error_code ignored;
    if (lookup_) lookup_->cancel(ignored);
    if (socket_) socket_->close(ignored);
}

void TlsLink::close() {
    closed_ = true;
    expire();
}

}  // namespace pns
