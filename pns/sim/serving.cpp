// Tested by tests/pns_sim_test.cpp, tests/pns_simulated_sends_test.cpp.
//
// Each loop accepts, shakes hands and hands the connection to serve_h1, serve_h2 or serve_fast, as
// ALPN and options say. Faults of the connection (a refused port, a wrong certificate, silence
// after the ClientHello) happen before that. Connections are children of the loop's nursery;
// stopping closes the acceptor and tells each connection to end.
#include "pns/sim/serving.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <cmath>

#include "pns/clock.hpp"

namespace pns::sim {

namespace {

constexpr std::int64_t handshake_ms_max = 10'000;
constexpr std::int64_t silence_ms = 60'000;
using ReusePort = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
constexpr double normal_99 = 2.3263478740408408;  // 99th percentile of the standard normal

struct Deadline {
    Deadline(Executor executor, Socket& guarded)
        : socket(guarded),
          alarm(
              executor, [this] { return tick(); }, system_clock()) {}
    std::int64_t tick() {
        if (system_clock().steady_ms() < at_ms) return at_ms;
        close_socket(socket);
        return never_ms;
    }
    Socket& socket;
    std::int64_t at_ms = system_clock().steady_ms() + handshake_ms_max;
    Alarm alarm;
};

}  // namespace

void Loop::count_fast(std::uint64_t answers) {
    const auto now_us = system_clock().wall_us();
    const auto count = fast_answers.load(std::memory_order_relaxed);
    if (count == 0) fast_first_us.store(now_us, std::memory_order_relaxed);
    fast_last_us.store(now_us, std::memory_order_relaxed);
    fast_answers.store(count + answers, std::memory_order_relaxed);
}

std::int64_t Loop::latency_ms(const Latency& model) {
    switch (model.model) {
        case Latency::Model::none:
            return 0;
        case Latency::Model::constant:
            return static_cast<std::int64_t>(model.low_ms);
        case Latency::Model::uniform:
            return static_cast<std::int64_t>(
                std::uniform_real_distribution<>(model.low_ms, model.high_ms)(random));
        case Latency::Model::lognormal: {
            const double mean = std::log(std::max(model.low_ms, 0.001));
            const double spread = (std::log(std::max(model.high_ms, 0.001)) - mean) / normal_99;
            return static_cast<std::int64_t>(
                std::lognormal_distribution<>(mean, std::max(spread, 1e-6))(random));
        }
    }
    return 0;
}

void close_socket(Socket& socket) {
    error_code ignored;
    socket.close(ignored);
}

void reset_socket(Socket& socket) {
    error_code ignored;
    socket.set_option(asio::socket_base::linger(true, 0), ignored);
    socket.close(ignored);
}

Result<std::uint16_t> listen(Acceptor& acceptor, const std::string& address, std::uint16_t port,
                             bool shared) {
    error_code ec;
    const asio::ip::tcp::endpoint endpoint(asio::ip::make_address(address, ec), port);
    if (!ec) acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(asio::socket_base::reuse_address(true), ec);
    if (!ec && shared) acceptor.set_option(ReusePort(true), ec);
    if (!ec) acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
    if (ec) return ec;
    const auto bound = acceptor.local_endpoint(ec);
    if (ec) return ec;
    return bound.port();
}

void hold_port(Loop& loop) {
    error_code ec, ignored;
    loop.acceptor.close(ignored);
    loop.held = true;
    const asio::ip::tcp::endpoint endpoint(asio::ip::make_address(loop.options.address, ec),
                                           loop.port);
    if (!ec) loop.acceptor.open(endpoint.protocol(), ec);
    if (!ec) loop.acceptor.set_option(asio::socket_base::reuse_address(true), ec);
    if (!ec && loop.options.threads > 1) loop.acceptor.set_option(ReusePort(true), ec);
    if (!ec) loop.acceptor.bind(endpoint, ec);
    if (ec) loop.acceptor.close(ignored);
}

Task<void> accept_connections(Loop& loop) {
    co_await asio::this_coro::throw_if_cancelled(false);
    SteadyTimer pause(loop.io.get_executor());
    while (!loop.stopping) {
        const std::int64_t now_ms = system_clock().steady_ms();
        const std::int64_t until_ms = std::max(loop.closed_until_ms, loop.paused_until_ms);
        if (until_ms > now_ms) {
            pause.expires_after(std::chrono::milliseconds(until_ms - now_ms));
            co_await pause.async_wait(as_result);
            continue;
        }
        if (loop.held) {
            error_code ec;
            if (!loop.acceptor.is_open()) hold_port(loop);
            loop.acceptor.listen(asio::socket_base::max_listen_connections, ec);
            loop.held = ec.failed();
            if (ec) loop.closed_until_ms = now_ms + 20;
            continue;
        }
        Socket socket(loop.io.get_executor());
        const auto [ec] = co_await loop.acceptor.async_accept(socket, as_result);
        if (loop.stopping) break;
        if (ec) {  // out of descriptors: wait for some to come back
            if (ec != asio::error::operation_aborted) loop.paused_until_ms = now_ms + 50;
            continue;
        }
        error_code ignored;
        socket.set_option(asio::ip::tcp::no_delay(true), ignored);
        loop.nursery.start(serve_connection(loop, std::move(socket)));
    }
}

namespace {

// F27 without a handshake: silence, or an alert, after the ClientHello.
Task<void> spoil_handshake(Loop& loop, Socket& socket, const Fault& fault) {
    std::array<char, 512> hello{};
    const auto [ec, size] = co_await socket.async_read_some(asio::buffer(hello), as_result);
    if (ec) co_return;
    if (fault.row->variant == "alert") {
        constexpr std::array<std::uint8_t, 7> alert = {21, 3, 1, 0, 2, 2, 40};
        co_await asio::async_write(socket, asio::buffer(alert), as_result);
        co_return;
    }
    SteadyTimer silence(loop.io.get_executor(),
                        std::chrono::milliseconds(fault.ms > 0 ? fault.ms : silence_ms));
    co_await silence.async_wait(as_result);
}

Task<bool> shake_hands(Loop& loop, TlsStream& stream) {
    Nursery guard(loop.io.get_executor());
    Deadline deadline(loop.io.get_executor(), stream.next_layer());
    guard.start(deadline.alarm.run());
    const auto [ec] = co_await stream.async_handshake(TlsStream::server, as_result);
    const bool shaken = !ec;
    deadline.alarm.stop();
    co_await guard.join();
    co_return shaken;
}

Task<void> serve_shaken(Loop& loop, TlsStream& stream, const Arrival& arrival) {
    const std::string_view protocol = chosen_protocol(stream.native_handle());
    loop.journal.happened(arrival.connection, "tls " + std::string(protocol));
    const bool apns = loop.options.platform == "apns";
    // APNs speaks nothing but HTTP/2, and has been seen to do so without ALPN.
    const bool h2 = protocol == "h2" || apns;
    const char* named = SSL_get_servername(stream.native_handle(), TLSEXT_NAMETYPE_host_name);
    const bool no_tokens = apns || (named && std::string_view(named) == "fcm.googleapis.com");
    if (h2 && loop.options.fast && loop.options.watch.empty() && no_tokens &&
        loop.options.latency.model == Latency::Model::none)
        co_await serve_fast(loop, stream);
    else if (h2)
        co_await serve_h2(loop, stream, arrival);
    else
        co_await serve_h1(loop, stream, arrival);
}

bool is_one(const Arrival& arrival, int number, std::string_view variant) {
    return arrival.fault && arrival.fault->row && arrival.fault->row->number == number &&
           arrival.fault->row->variant == variant;
}

}  // namespace

Task<void> serve_connection(Loop& loop, Socket socket) {
    co_await asio::this_coro::throw_if_cancelled(false);
    const auto now_us = system_clock().wall_us();
    Arrival arrival;
    arrival.connection = loop.journal.connection_opened(now_us);
    error_code ignored;
    arrival.peer = socket.remote_endpoint(ignored).address().to_string();
    arrival.fault = loop.faults.on_connection(system_clock().steady_ms());
    loop.journal.happened(arrival.connection, "accept");
    TlsContext context = loop.tls;
    const bool bad_tls = arrival.fault && arrival.fault->row->number == 27;
    if (arrival.fault) loop.journal.fault(fault_name(*arrival.fault->row));
    if (bad_tls) context = loop.wrong_tls.get(arrival.fault->row->variant);
    if (bad_tls && !context) {
        co_await spoil_handshake(loop, socket, *arrival.fault);
        close_socket(socket);
    } else if (is_one(arrival, 29, "")) {
        close_socket(socket);
    } else {
        TlsStream stream(std::move(socket), *context);
        const bool shaken = co_await shake_hands(loop, stream);
        if (!shaken) {
            loop.journal.handshake_failed();
            loop.journal.happened(arrival.connection, "tls failed");
        } else if (is_one(arrival, 15, "handshake")) {
            reset_socket(stream.next_layer());
        } else if (!loop.stopping) {
            co_await serve_shaken(loop, stream, arrival);
        }
        close_socket(stream.next_layer());
    }
    loop.journal.happened(arrival.connection, "closed");
    loop.journal.connection_closed();
}

}  // namespace pns::sim
