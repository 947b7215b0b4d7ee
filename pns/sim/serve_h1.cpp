// Tested by tests/pns_sim_test.cpp, tests/pns_simulated_sends_test.cpp.
#include <array>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>

#include "pns/sim/h1_request.hpp"
#include "pns/sim/serving.hpp"

namespace pns::sim {

namespace {

constexpr std::size_t read_bytes_max = 16 * 1024;

class H1Serving final : public Connection {
  public:
    H1Serving(Loop& loop, TlsStream& stream)
        : loop_(loop),
          stream_(stream),
          alarm_(loop.io.get_executor(), [this] { return tick(); }),
          pause_(loop.io.get_executor()),
          nursery_(loop.io.get_executor()),
          reader_(request_body_bytes_max) {
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
        else if (event.kind != Event::Kind::settings)
            close();
    }

  private:
    Task<void> read_more() {
        const auto [ec, size] = co_await stream_.async_read_some(asio::buffer(in_), as_result);
        used_ms_ = steady_now_ms();
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
        if (loop_.options.fast && !loop_.provider.is_token_request(request))
            loop_.count_fast();
        else
            reply = loop_.provider.answer(request, visit_);
        const std::int64_t delay_ms = reply.delay_ms + loop_.latency_ms();
        if (delay_ms > 0) {
            pause_.expires_after(std::chrono::milliseconds(delay_ms));
            co_await pause_.async_wait(as_result);
        }
        if (reply.end == Reply::End::never) {
            while (!closed_) co_await read_more();
        } else if (reply.end != Reply::End::answer) {
            reset_socket(stream_.next_layer());
            close();
        }
        if (closed_) co_return;
        ++answered_;
        const bool enough =
            loop_.options.h1_requests_max > 0 && answered_ >= loop_.options.h1_requests_max;
        const bool keep_alive = request_.keep_alive && !last_ && !enough;
        std::string text = h1_response(reply.status, reply.headers, reply.body, keep_alive);
        co_await write(std::move(text));
        if (!keep_alive) close();
    }

    std::int64_t tick() {
        const std::int64_t idle_ms = used_ms_ + loop_.options.idle_close_ms;
        if (idle_ms > steady_now_ms()) return idle_ms;
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
    std::int64_t used_ms_ = steady_now_ms();
    std::uint64_t answered_ = 0;
    bool closed_ = false, last_ = false;
};

}  // namespace

Task<void> serve_h1(Loop& loop, TlsStream& stream) {
    H1Serving serving(loop, stream);
    co_await serving.run();
}

}  // namespace pns::sim
