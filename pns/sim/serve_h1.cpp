// Tested by tests/pns_sim_test.cpp, tests/pns_simulated_sends_test.cpp.
//
// One coroutine for each connection, on its loop: read a request, ask the provider, wait as long
// as its answer says, write. Faults that are about bytes (cut answers, drips, silence) are done
// here. While an answer waits nothing is read, as HTTP/1.1 clients of providers do not pipeline;
// an answer that never comes reads on until the client hangs up.
#include <array>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>

#include "pns/sim/h1_request.hpp"
#include "pns/sim/serving.hpp"

namespace pns::sim {

namespace {

constexpr std::size_t read_bytes_max = 16 * 1024;
constexpr std::int64_t deaf_ms = 60'000, drip_ms = 50;
constexpr std::size_t bomb_bytes = 10 << 20;

class H1Serving final : public Connection {
  public:
    H1Serving(Loop& loop, TlsStream& stream, const Arrival& arrival)
        : loop_(loop),
          stream_(stream),
          alarm_(
              loop.io.get_executor(), [this] { return tick(); }, system_clock()),
          pause_(loop.io.get_executor()),
          nursery_(loop.io.get_executor()),
          reader_(request_body_bytes_max) {
        visit_.connection = arrival.connection;
        visit_.peer = arrival.peer;
        visit_.h1 = true;
        const Habits habits = loop.provider.habits();
        idle_ms_ = loop.options.idle_close_ms != 0 ? loop.options.idle_close_ms : habits.idle_ms;
        closed_ = arrival.fault && arrival.fault->row && arrival.fault->row->number == 6;
        loop_.connections.insert(this);
    }
    ~H1Serving() { loop_.connections.erase(this); }
    H1Serving(const H1Serving&) = delete;
    H1Serving& operator=(const H1Serving&) = delete;

    Task<void> run() {
        nursery_.start(alarm_.run());
        alarm_.wake();
        while (!closed_) {
            const auto state = reader_.take(request_);
            if (state == H1Reader::State::more) {
                co_await read_more();
            } else if (state == H1Reader::State::bad) {
                std::string text = h1_response(reader_.status(), {}, {}, false);
                co_await write(std::move(text));
                close();
            } else {
                co_await answer();
            }
        }
        close();
        co_await nursery_.join();
    }

    void on_event(const Event& event) override {
        if (event.kind == Event::Kind::reset) reset_socket(stream_.next_layer());
        if (event.kind == Event::Kind::goaway)
            last_ = true;  // HTTP/1.1 says so with its next answer
        else if (event.kind != Event::Kind::settings && event.kind != Event::Kind::ping)
            close();
    }

  private:
    Task<void> read_more() {
        const auto [ec, size] = co_await stream_.async_read_some(asio::buffer(in_), as_result);
        used_ms_ = system_clock().steady_ms();
        if (ec)
            close();
        else
            reader_.feed({in_.data(), size});
    }

    Task<void> write(std::string text) {
        const auto [ec, size] = co_await asio::async_write(stream_, asio::buffer(text), as_result);
        if (ec) close();
    }

    Task<void> answer() {
        headers_.clear();
        for (const auto& [name, value] : request_.headers) headers_.push_back({name, value, false});
        Request request;
        request.method = request_.method;
        request.path = request_.target;
        request.authority = request_.header("host");
        request.body = request_.body;
        request.headers = headers_;
        Reply reply;
        ++answered_;
        visit_.stream = static_cast<std::int32_t>(std::min<std::uint64_t>(answered_, 0x7fffffff));
        visit_.latency_ms = loop_.latency_ms(loop_.options.latency);
        visit_.latency_refused_ms = loop_.options.latency_refused
                                        ? loop_.latency_ms(*loop_.options.latency_refused)
                                        : visit_.latency_ms;
        if (loop_.options.fast && !loop_.provider.is_token_request(request)) {
            loop_.count_fast(1);
            reply.delay_ms = visit_.latency_ms;
        } else {
            reply = loop_.provider.answer(request, visit_);
        }
        const int fault = reply.fault && reply.fault->row ? reply.fault->row->number : 0;
        const std::string_view variant = fault != 0 ? reply.fault->row->variant : "";
        if (reply.delay_ms > 0) co_await sleep(reply.delay_ms);
        if (fault == 14) co_await sleep(reply.fault->ms > 0 ? reply.fault->ms : deaf_ms);
        if (reply.end == Reply::End::never || (fault == 19 && variant == "never")) {
            while (!closed_) co_await read_more();
        } else if (reply.end != Reply::End::answer || fault == 15) {
            reset_socket(stream_.next_layer());
            close();
        } else if (fault == 14 || fault == 36) {
            close();
        }
        if (closed_) co_return;
        const bool enough =
            loop_.options.h1_requests_max > 0 && answered_ >= loop_.options.h1_requests_max;
        const bool keep_alive = request_.keep_alive && !last_ && !enough && fault != 1;
        if (fault == 18) reply.body.assign(bomb_bytes, 'b');
        if (fault == 16 && variant == "json") reply.body.resize(reply.body.size() / 2);
        std::string text = h1_response(reply.status, reply.headers, reply.body, keep_alive);
        if (fault == 20) co_return co_await drip(std::move(text), reply);
        const bool cut = spoil(text, fault, variant, reply);
        co_await write(std::move(text));
        if (!keep_alive || cut) close();
    }

    /// What HTTP/1.1 has for the faults about bytes. True: the connection ends after it.
    static bool spoil(std::string& text, int fault, std::string_view variant, const Reply& reply) {
        const std::string status = "HTTP/1.1 " + std::to_string(std::max(reply.status, 200));
        if (fault == 16 && variant.empty()) {
            text = "HTTP/1";
        } else if (fault == 16 && variant == "headers") {
            text = status + " OK\r\ncontent-len";
        } else if (fault == 16 && variant == "short") {
            text = status + " OK\r\ncontent-length: 100\r\n\r\n{\"too\":1}";
        } else if (fault == 17) {
            text = "this is no HTTP\r\n\r\n";
        } else if (fault == 30 && variant == "informational") {
            text = "HTTP/1.1 103 Early Hints\r\nx-sim: wait\r\n\r\n" + text;
            return false;
        } else if (fault == 30 && variant == "trailers") {
            text = status + " OK";
            for (const auto& [name, value] : reply.headers)
                text.append("\r\n").append(name).append(": ").append(value);
            text += "\r\ntransfer-encoding: chunked\r\ntrailer: x-sim\r\n\r\n";
            std::array<char, 20> size{};
            std::snprintf(size.data(), size.size(), "%zx\r\n", reply.body.size());
            if (!reply.body.empty()) text += size.data() + reply.body + "\r\n";
            text += "0\r\nx-sim: trailer\r\n\r\n";
            return false;
        }
        return fault == 16 && variant != "json";
    }

    Task<void> sleep(std::int64_t ms) {
        pause_.expires_after(std::chrono::milliseconds(ms));
        if (!closed_) co_await pause_.async_wait(as_result);
    }

    Task<void> drip(std::string text, const Reply& reply) {
        const std::size_t body = reply.body.empty() ? 0 : text.size() - reply.body.size();
        std::string head = text.substr(0, body == 0 ? text.size() : body);
        co_await write(std::move(head));
        const std::int64_t ms = reply.fault->ms > 0 ? reply.fault->ms : drip_ms;
        for (std::size_t at = body; body != 0 && at < text.size() && !closed_; ++at) {
            co_await sleep(ms);
            std::string one(1, text[at]);
            if (!closed_) co_await write(std::move(one));
        }
    }

    std::int64_t tick() {
        const std::int64_t idle_ms = used_ms_ + idle_ms_;
        if (idle_ms > system_clock().steady_ms()) return idle_ms;
        close();
        return never_ms;
    }

    void close() {
        closed_ = true;
        alarm_.stop();
        pause_.cancel();
        close_socket(stream_.next_layer());
    }

    Loop& loop_;
    TlsStream& stream_;
    Alarm alarm_;
    SteadyTimer pause_;
    Nursery nursery_;
    H1Reader reader_;
    H1Request request_;
    Visit visit_;
    std::vector<H2Header> headers_;
    std::array<char, read_bytes_max> in_;
    std::int64_t used_ms_ = system_clock().steady_ms();
    std::int64_t idle_ms_ = 0;
    std::uint64_t answered_ = 0;
    bool closed_ = false, last_ = false;
};

}  // namespace

Task<void> serve_h1(Loop& loop, TlsStream& stream, const Arrival& arrival) {
    H1Serving serving(loop, stream, arrival);
    co_await serving.run();
}

}  // namespace pns::sim
