// Tested by tests/pns_sim_test.cpp, tests/pns_simulated_sends_test.cpp.
#include <array>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>
#include <map>

#include "pns/h2_session.hpp"
#include "pns/sim/serving.hpp"

namespace pns::sim {

namespace {

constexpr std::size_t read_bytes_max = 16 * 1024;  // one TLS record
constexpr std::size_t write_bytes_max = 128 * 1024;
constexpr std::uint32_t internal_error = 2;

class H2Serving final : public Connection, private H2Events {
  public:
    H2Serving(Loop& loop, TlsStream& stream)
        : loop_(loop),
          stream_(stream),
          alarm_(loop.io.get_executor(), [this] { return tick(); }),
          nursery_(loop.io.get_executor()),
          wake_(loop.io.get_executor(), SteadyTimer::time_point::max()),
          session_(H2Session::Role::server, limits(loop.options), *this) {
        loop_.connections.insert(this);
    }
    ~H2Serving() { loop_.connections.erase(this); }
    H2Serving(const H2Serving&) = delete;
    H2Serving& operator=(const H2Serving&) = delete;

    Task<void> run() {
        nursery_.start(alarm_.run());
        nursery_.start(write_loop());
        alarm_.wake();
        co_await read_loop();
        close();
        co_await nursery_.join();
        session_.abandon();
    }

    void on_event(const Event& event) override {
        switch (event.kind) {
            case Event::Kind::goaway:
                session_.submit_goaway(
                    event.error_code,
                    event.reason.empty() ? std::string() : R"({"reason":")" + event.reason + "\"}");
                break;
            case Event::Kind::settings:
                session_.submit_settings_streams_max(event.streams_max);
                break;
            case Event::Kind::reset:
                reset_socket(stream_.next_layer());
                close();
                break;
            case Event::Kind::close:
                close();
                break;
        }
        wake_writer();
    }

  private:
    static bool opens_slowly(const SimOptions& options) {
        return options.platform == "apns" && options.starts_with_one_stream && !options.fast &&
               !options.trust.public_key_pem.empty();
    }
    static H2Limits limits(const SimOptions& options) {
        H2Limits out;
        out.streams_max_offered = opens_slowly(options) ? 1 : options.streams_max;
        out.body_bytes_max = request_body_bytes_max;
        out.connection_window_bytes = 4 << 20;
        return out;
    }

    Task<void> read_loop() {
        while (!closed_) {
            const auto [ec, size] = co_await stream_.async_read_some(asio::buffer(in_), as_result);
            if (ec || closed_) break;
            used_ms_ = steady_now_ms();
            const bool good = session_.feed(std::span(in_).first(size));
            wake_writer();
            if (!good) {  // the writer sends the GOAWAY, then finds the session dead
                broken_ = true;
                break;
            }
        }
        if (!broken_) co_return;
        SteadyTimer last_words(loop_.io.get_executor(), std::chrono::milliseconds(100));
        co_await last_words.async_wait(as_result);
    }

    Task<void> write_loop() {
        while (!closed_) {
            out_.clear();
            if (session_.drain(out_, write_bytes_max)) {
                const auto [ec, size] =
                    co_await asio::async_write(stream_, asio::buffer(out_), as_result);
                if (ec) close();
                continue;
            }
            if (!session_.alive()) close();
            if (closed_) break;
            writer_idle_ = true;
            co_await wake_.async_wait(as_result);
            writer_idle_ = false;
        }
    }

    void wake_writer() {
        if (!writer_idle_) return;
        writer_idle_ = false;
        wake_.cancel();
    }

    void close() {
        closed_ = true;
        alarm_.stop();
        wake_.cancel();
        close_socket(stream_.next_layer());
    }

    std::int64_t tick() {
        const std::int64_t now = steady_now_ms();
        while (!late_.empty() && late_.begin()->first <= now) {
            const auto [stream, reply] = std::move(late_.begin()->second);
            late_.erase(late_.begin());
            send(stream, reply);
        }
        const std::int64_t idle_ms = used_ms_ + loop_.options.idle_close_ms;
        if (idle_ms <= now && session_.streams_open() == 0) {
            session_.submit_goaway(0, "session_timeout");
            used_ms_ = now;
        }
        wake_writer();
        return std::min(late_.empty() ? never_ms : late_.begin()->first,
                        std::max(idle_ms, now + 1000));
    }

    bool on_request_headers(std::int32_t, const H2Message&) override {
        loop_.journal.streams(session_.streams_open());
        return true;
    }
    void on_lost(std::int32_t stream, const H2Lost&) override {
        std::erase_if(late_, [&](const auto& entry) { return entry.second.first == stream; });
    }

    void on_message(std::int32_t stream, const H2Message& message) override {
        Request request;
        request.method = message.method;
        request.path = message.path;
        request.authority = message.authority;
        request.body = message.body;
        request.headers = message.headers;
        if (loop_.options.fast && !loop_.provider.is_token_request(request)) {
            loop_.count_fast();
            session_.submit_response(stream, 200, {}, {});
            return;
        }
        Reply reply = loop_.provider.answer(request, visit_);
        const std::int64_t delay_ms = reply.delay_ms + loop_.latency_ms();
        if (delay_ms <= 0) {
            send(stream, reply);
            return;
        }
        const std::int64_t due_ms = steady_now_ms() + delay_ms;
        late_.emplace(due_ms, std::pair(stream, std::move(reply)));
        alarm_.at_latest(due_ms);
    }

    void send(std::int32_t stream, const Reply& reply) {
        switch (reply.end) {
            case Reply::End::never:
                return;
            case Reply::End::reset:
                session_.reset(stream, internal_error);
                return;
            case Reply::End::close:
                reset_socket(stream_.next_layer());
                close();
                return;
            case Reply::End::answer:
                break;
        }
        headers_.clear();
        for (const auto& [name, value] : reply.headers) {
            const bool varies = name == "apns-id";
            headers_.push_back({name, value, varies});
        }
        session_.submit_response(stream, reply.status, headers_, reply.body);
        if (reply.trusted && !visit_.opened) {
            visit_.opened = true;
            if (opens_slowly(loop_.options))
                session_.submit_settings_streams_max(loop_.options.streams_max);
        }
    }

    Loop& loop_;
    TlsStream& stream_;
    Alarm alarm_;
    Nursery nursery_;
    SteadyTimer wake_;
    H2Session session_;
    Visit visit_;
    std::multimap<std::int64_t, std::pair<std::int32_t, Reply>> late_;
    std::array<std::uint8_t, read_bytes_max> in_;
    std::vector<std::uint8_t> out_;
    std::vector<H2Header> headers_;
    std::int64_t used_ms_ = steady_now_ms();
    bool writer_idle_ = false, closed_ = false, broken_ = false;
};

}  // namespace

Task<void> serve_h2(Loop& loop, TlsStream& stream) {
    H2Serving serving(loop, stream);
    co_await serving.run();
}

}  // namespace pns::sim
