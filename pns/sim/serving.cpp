// Tested by tests/pns_sim_test.cpp, tests/pns_simulated_sends_test.cpp.
#include "pns/sim/serving.hpp"

#include <boost/asio/this_coro.hpp>
#include <chrono>
#include <cmath>

namespace pns::sim {

namespace {

constexpr std::int64_t handshake_ms_max = 10'000;
constexpr double normal_99 = 2.3263478740408408;  // 99th percentile of the standard normal

struct Deadline {
    Deadline(Executor executor, Socket& guarded)
        : socket(guarded), alarm(executor, [this] { return tick(); }) {}
    std::int64_t tick() {
        if (steady_now_ms() < at_ms) return at_ms;
        close_socket(socket);
        return never_ms;
    }
    Socket& socket;
    std::int64_t at_ms = steady_now_ms() + handshake_ms_max;
    Alarm alarm;
};

}  // namespace

void Loop::count_fast() {
    const auto now_us = std::chrono::duration_cast<std::chrono::microseconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
    const auto count = fast_answers.load(std::memory_order_relaxed);
    if (count == 0) fast_first_us.store(now_us, std::memory_order_relaxed);
    fast_last_us.store(now_us, std::memory_order_relaxed);
    fast_answers.store(count + 1, std::memory_order_relaxed);
}

std::int64_t Loop::latency_ms() {
    const Latency& model = options.latency;
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

Task<void> accept_connections(Loop& loop) {
    co_await asio::this_coro::throw_if_cancelled(false);
    SteadyTimer pause(loop.io.get_executor());
    while (!loop.stopping) {
        Socket socket(loop.io.get_executor());
        const auto [ec] = co_await loop.acceptor.async_accept(socket, as_result);
        if (loop.stopping || !loop.acceptor.is_open()) break;
        if (ec) {  // out of descriptors: wait for some to come back
            pause.expires_after(std::chrono::milliseconds(50));
            co_await pause.async_wait(as_result);
            continue;
        }
        error_code ignored;
        socket.set_option(asio::ip::tcp::no_delay(true), ignored);
        loop.nursery.start(serve_connection(loop, std::move(socket)));
    }
}

Task<void> serve_connection(Loop& loop, Socket socket) {
    co_await asio::this_coro::throw_if_cancelled(false);
    loop.journal.connection_opened();
    TlsStream stream(std::move(socket), *loop.tls);
    bool shaken = false;
    {
        Nursery guard(loop.io.get_executor());
        Deadline deadline(loop.io.get_executor(), stream.next_layer());
        guard.start(deadline.alarm.run());
        const auto [ec] = co_await stream.async_handshake(TlsStream::server, as_result);
        shaken = !ec;
        deadline.alarm.stop();
        co_await guard.join();
    }
    if (shaken && !loop.stopping) {
        // APNs speaks nothing but HTTP/2, and has been seen to do so without ALPN.
        const bool h2 =
            chosen_protocol(stream.native_handle()) == "h2" || loop.options.platform == "apns";
        if (h2)
            co_await serve_h2(loop, stream);
        else
            co_await serve_h1(loop, stream);
    }
    close_socket(stream.next_layer());
    loop.journal.connection_closed();
}

}  // namespace pns::sim
