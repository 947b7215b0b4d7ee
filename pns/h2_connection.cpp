// Tested by tests/pns_connection_test.cpp, tests/pns_sender_test.cpp.
//
// Four parts on one loop: link (TLS), reader, writer and alarm, all children of one nursery; run()
// returns when they have ended and every request has been answered or called lost. Requests in
// flight are in a list in the order of their deadlines, so a tick looks at the front only. Silence
// is probed with a PING; several timeouts in a row end the connection. A request costs no
// coroutine and, once buffers are warm, no allocation.

#include "pns/h2_connection.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <deque>
#include <optional>
#include <utility>

#include "pns/errc.hpp"
#include "pns/h1_codec.hpp"
#include "pns/nursery.hpp"
#include "pns/pool_policy.hpp"
#include "pns/tls_link.hpp"

namespace pns {

namespace {

constexpr std::size_t read_bytes_max = 16 * 1024;
constexpr std::size_t write_bytes_max = 128 * 1024;
constexpr std::size_t window_max = 4'000;  // a peer that sets no limit
constexpr unsigned timeouts_in_row_max = 16;
constexpr std::uint32_t requests_left_min = 1 << 18;  // while its successor opens
constexpr std::uint32_t h2_cancel = 8;

class H2Connection final : public Connection, private H2Events {
  public:
    H2Connection(Executor executor, ConnectionSettings settings, ConnectionEvents& events)
        : settings_(std::move(settings)),
          events_(events),
          authority_(authority_of(settings_.origin)),
          alarm_(
              executor, [this](std::int64_t now_ms) { return tick(now_ms); }, *settings_.clock),
          nursery_(executor),
          write_wake_(executor, SteadyTimer::time_point::max()),
          link_(executor, link_options(), alarm_),
          age_max_ms_(jittered_age_ms(settings_.times.age_max_ms)) {}

    Task<error_code> run() override;
    bool submit(const WireRequest& request, void* tag) override;
    void drain() override;
    void close(error_code why) override;

    State state() const override { return state_; }
    std::size_t room() const override {
        if (state_ != State::ready || !session_->may_submit()) return 0;
        const auto most = window();
        const auto open = session_->streams_open();
        return most > open ? most - open : 0;
    }
    std::size_t in_flight() const override { return flights_open_; }
    std::size_t window() const override {
        return session_ ? std::min(session_->streams_max(), window_max) : 0;
    }
    std::uint64_t answers() const override { return answers_; }
    std::int64_t shrunk_ms() const override { return shrunk_ms_; }
    std::int64_t ready_ms() const override { return ready_ms_; }
    bool is_old(std::int64_t now_ms) const override {
        if (state_ != State::ready) return false;
        return ready_ms_ + age_max_ms_ <= now_ms || session_->requests_left() < requests_left_min;
    }

  private:
    // A request in flight, linked in order of deadline: all have the same timeout, so that is order
    // of submission.
    struct Flight {
        void* tag = nullptr;
        std::int32_t stream = 0;
        std::int64_t deadline_ms = 0;
        Flight* before = nullptr;
        Flight* after = nullptr;
    };

    TlsLink::Options link_options() const {
        TlsLink::Options out;
        out.host = settings_.origin.host;
        out.target = settings_.target;
        out.tls = settings_.tls;
        out.alpn = "h2";
        out.connect_timeout_ms = settings_.times.connect_timeout_ms;
        return out;
    }
    Task<void> read_loop();
    Task<void> write_loop();
    void wake_writer();
    std::int64_t tick(std::int64_t now_ms);
    void expire_requests(std::int64_t now_ms);
    void tick_ping(std::int64_t now_ms);
    std::int64_t silence_deadline() const;
    std::int64_t next_deadline() const;
    void changed() { events_.on_change(*this); }

    Flight* take_flight();
    void* give_back(Flight& flight);

    void on_message(std::int32_t stream, const H2Message& message) override;
    void on_lost(std::int32_t stream, const H2Lost& lost) override;
    void on_settings() override;
    void on_goaway(const H2Goaway& goaway) override;
    void on_pong() override { pong_deadline_ms_ = never_ms; }

    ConnectionSettings settings_;
    ConnectionEvents& events_;
    std::string authority_;
    RunningAlarm alarm_;
    Nursery nursery_;
    SteadyTimer write_wake_;
    TlsLink link_;
    std::int64_t age_max_ms_;
    std::optional<H2Session> session_;
    std::array<std::uint8_t, read_bytes_max> in_;
    std::vector<std::uint8_t> out_;
    std::vector<std::pair<std::string_view, std::string_view>> answer_headers_;

    std::deque<Flight> flights_;
    std::vector<Flight*> flights_spare_;
    Flight* oldest_ = nullptr;
    Flight* newest_ = nullptr;
    std::size_t flights_open_ = 0;

    State state_ = State::connecting;
    error_code why_;
    bool writer_idle_ = false;
    bool broken_ = false;
    std::size_t bytes_unsent_ = 0;
    std::uint64_t answers_ = 0;
    unsigned timeouts_in_row_ = 0;
    std::size_t streams_max_seen_ = 0;
    std::int64_t shrunk_ms_ = 0;  // this and the next: steady clock, for the owner
    std::int64_t ready_ms_ = 0;
    std::int64_t read_wall_ms_ = 0, read_steady_ms_ = 0;

    std::int64_t last_read_ms_ = 0;  // from here: time in which the loop ran
    std::int64_t last_used_ms_ = 0;
    std::int64_t settings_deadline_ms_ = never_ms;
    std::int64_t pong_deadline_ms_ = never_ms;
    std::int64_t drain_deadline_ms_ = never_ms;
};

Task<error_code> H2Connection::run() {
    co_await asio::this_coro::throw_if_cancelled(false);
    nursery_.start(alarm_.run());
    const error_code failed = co_await link_.open();
    if (failed) {
        close(failed);
    } else if (state_ == State::connecting) {
        H2Limits limits;
        limits.streams_max_before_settings = settings_.streams_max_before_settings;
        limits.body_bytes_max = settings_.answer_bytes_max;
        limits.stream_id_first = settings_.stream_id_first;
        session_.emplace(H2Session::Role::client, limits, static_cast<H2Events&>(*this));
        const auto now_ms = alarm_.now_ms();
        ready_ms_ = settings_.clock->steady_ms();
        last_read_ms_ = last_used_ms_ = now_ms;
        settings_deadline_ms_ = now_ms + settings_.times.connect_timeout_ms;
        state_ = State::ready;
        nursery_.start(read_loop());
        nursery_.start(write_loop());
        alarm_.wake();
        changed();
    }
    co_await nursery_.join();
    close(errc::connection_ended);
    if (session_) session_->abandon(bytes_unsent_);
    assert(flights_open_ == 0);
    if (nursery_.first_error()) std::rethrow_exception(nursery_.first_error());
    co_return why_;
}

Task<void> H2Connection::read_loop() {
    while (state_ != State::closed) {
        const TlsStream::Moved read = co_await link_.stream().read_some(in_);
        if (state_ == State::closed) break;
        if (read.failure) {
            close(broken_ ? errc::protocol_error : errc::connection_ended);
            break;
        }
        last_read_ms_ = alarm_.now_ms();
        read_wall_ms_ = settings_.clock->wall_ms();
        read_steady_ms_ = settings_.clock->steady_ms();
        // One record is one answer with many providers: what lies here goes in at once.
        std::size_t got = read.bytes;
        do {
            if (session_->feed(std::span(in_).first(got))) continue;
            broken_ = true;
            drain();
        } while (!broken_ && state_ != State::closed && (got = link_.stream().read_ready(in_)) > 0);
        wake_writer();
        changed();
        if (broken_) break;  // the writer sends what is left, then closes
    }
}

Task<void> H2Connection::write_loop() {
    while (state_ != State::closed) {
        out_.clear();
        if (session_->drain(out_, write_bytes_max)) {
            const TlsStream::Moved written = co_await link_.stream().write(out_);
            if (written.failure) {
                // What is not counted was not even begun, or is a TLS record that nobody can read.
                bytes_unsent_ = out_.size() - written.bytes;
                close(errc::connection_ended);
            }
            continue;
        }
        if (state_ == State::closed) break;
        if (broken_ || !session_->alive()) {
            const bool ended = !broken_ && state_ == State::draining;
            close(ended ? why_ : errc::protocol_error);
            break;
        }
        if (state_ == State::draining && flights_open_ == 0 && session_->streams_open() == 0) {
            close(why_);
            break;
        }
        writer_idle_ = true;
        co_await write_wake_.async_wait(as_result);
        writer_idle_ = false;
    }
}

void H2Connection::wake_writer() {
    if (!writer_idle_) return;
    writer_idle_ = false;  // one turn of the loop, one write
    write_wake_.cancel();
}

H2Connection::Flight* H2Connection::take_flight() {
    if (flights_spare_.empty()) {
        flights_.emplace_back();
        flights_spare_.push_back(&flights_.back());
    }
    Flight* flight = flights_spare_.back();
    flights_spare_.pop_back();
    ++flights_open_;
    flight->before = newest_;
    flight->after = nullptr;
    (newest_ != nullptr ? newest_->after : oldest_) = flight;
    newest_ = flight;
    return flight;
}

void* H2Connection::give_back(Flight& flight) {
    (flight.before != nullptr ? flight.before->after : oldest_) = flight.after;
    (flight.after != nullptr ? flight.after->before : newest_) = flight.before;
    --flights_open_;
    flights_spare_.push_back(&flight);
    return flight.tag;
}

bool H2Connection::submit(const WireRequest& request, void* tag) {
    if (room() == 0) return false;
    Flight* flight = take_flight();
    flight->tag = tag;
    H2Request wire;
    wire.method = request.method;
    wire.authority = authority_;
    wire.path = request.path;
    wire.common = request.common;
    wire.own = request.headers;
    wire.body = request.body;
    wire.context = flight;
    flight->stream = session_->submit_request(wire);
    if (flight->stream < 0) {
        give_back(*flight);
        return false;
    }
    last_used_ms_ = request.steady_ms ? alarm_.now_ms(*request.steady_ms) : alarm_.now_ms();
    flight->deadline_ms = last_used_ms_ + settings_.times.request_timeout_ms;
    alarm_.at_latest(flight->deadline_ms);
    if (session_->requests_left() == 0) drain();
    wake_writer();
    return true;
}

void H2Connection::drain() {
    if (state_ == State::connecting) return close(errc::retired);
    if (state_ != State::ready) return;
    state_ = State::draining;
    why_ = errc::retired;
    drain_deadline_ms_ = alarm_.now_ms() + settings_.times.drain_ms_max;
    if (!session_->going_away()) session_->submit_goaway();
    alarm_.at_latest(drain_deadline_ms_);
    wake_writer();
}

void H2Connection::close(error_code why) {
    if (state_ == State::closed) return;
    state_ = State::closed;
    why_ = why;
    alarm_.stop();
    link_.close();
    wake_writer();
}

void H2Connection::on_message(std::int32_t, const H2Message& message) {
    ++answers_;
    timeouts_in_row_ = 0;
    void* tag = give_back(*static_cast<Flight*>(message.context));
    answer_headers_.clear();
    for (const auto& h : message.headers) answer_headers_.emplace_back(h.name, h.value);
    Answer answer;
    answer.status = message.status;
    answer.headers = answer_headers_;
    answer.body = message.body;
    answer.body_cut = message.body_cut;
    answer.now_ms = read_wall_ms_;
    answer.steady_ms = read_steady_ms_;
    events_.on_answer(*this, tag, answer);
}

void H2Connection::on_lost(std::int32_t, const H2Lost& lost) {
    void* tag = give_back(*static_cast<Flight*>(lost.context));
    Lost out;
    out.processed_unknown = lost.processed_unknown;
    out.h2_error = lost.error_code;
    events_.on_lost(*this, tag, out);
}

void H2Connection::on_settings() {
    settings_deadline_ms_ = never_ms;
    const auto now_max = session_->streams_max();
    if (now_max < streams_max_seen_) shrunk_ms_ = settings_.clock->steady_ms();
    streams_max_seen_ = now_max;
}

void H2Connection::on_goaway(const H2Goaway& goaway) {
    drain();
    events_.on_goaway(*this, goaway.error_code, goaway.debug);
}

std::int64_t H2Connection::tick(std::int64_t now_ms) {
    if (link_.deadline_ms() <= now_ms) link_.expire();
    if (!session_ || state_ == State::closed) return next_deadline();
    if (settings_deadline_ms_ <= now_ms) {
        close(errc::settings_timeout);
    } else if (pong_deadline_ms_ <= now_ms) {
        close(errc::ping_timeout);
    } else if (drain_deadline_ms_ <= now_ms) {
        close(errc::retired);
    } else {
        expire_requests(now_ms);
        tick_ping(now_ms);
        if (state_ == State::ready && flights_open_ == 0 &&
            last_used_ms_ + settings_.times.idle_close_ms <= now_ms) {
            drain();
            why_ = errc::idle_closed;
        }
    }
    return next_deadline();
}

void H2Connection::expire_requests(std::int64_t now_ms) {
    bool any = false;
    while (oldest_ != nullptr && oldest_->deadline_ms <= now_ms && state_ != State::closed) {
        any = true;
        ++timeouts_in_row_;
        const auto stream = oldest_->stream;
        void* tag = give_back(*oldest_);
        Lost lost;
        lost.timed_out = true;
        lost.processed_unknown = session_->reset(stream, h2_cancel);
        events_.on_lost(*this, tag, lost);
    }
    if (!any || state_ == State::closed) return;
    // Silence may be the provider's or the network's: a PING tells.
    if (pong_deadline_ms_ == never_ms) {
        session_->submit_ping();
        pong_deadline_ms_ = now_ms + settings_.times.ping_timeout_ms;
    }
    if (timeouts_in_row_ >= timeouts_in_row_max) drain();
    wake_writer();
    changed();
}

void H2Connection::tick_ping(std::int64_t now_ms) {
    if (state_ == State::closed || pong_deadline_ms_ != never_ms) return;
    if (silence_deadline() > now_ms) return;
    session_->submit_ping();
    pong_deadline_ms_ = now_ms + settings_.times.ping_timeout_ms;
    wake_writer();
}

// When a peer that says nothing is asked whether it is there: sooner while it owes answers, so that
// the requests of a dead connection do not wait for their timeouts one after another.
std::int64_t H2Connection::silence_deadline() const {
    const auto& times = settings_.times;
    if (times.ping_idle_ms <= 0) return never_ms;
    const auto idle_ms = last_read_ms_ + times.ping_idle_ms;
    if (oldest_ == nullptr) return idle_ms;
    const auto half_ms = times.request_timeout_ms / 2;
    const auto owed_ms = std::max(last_read_ms_ + half_ms, oldest_->deadline_ms - half_ms);
    return std::min(idle_ms, owed_ms);
}

std::int64_t H2Connection::next_deadline() const {
    std::int64_t next = link_.deadline_ms();
    if (!session_ || state_ == State::closed) return next;
    next = std::min({next, settings_deadline_ms_, pong_deadline_ms_, drain_deadline_ms_});
    if (oldest_ != nullptr) next = std::min(next, oldest_->deadline_ms);
    if (pong_deadline_ms_ == never_ms) next = std::min(next, silence_deadline());
    if (state_ == State::ready && flights_open_ == 0) {
        next = std::min(next, last_used_ms_ + settings_.times.idle_close_ms);
    }
    return next;
}

}  // namespace

std::unique_ptr<Connection> make_h2_connection(Executor executor, ConnectionSettings settings,
                                               ConnectionEvents& events) {
    return std::make_unique<H2Connection>(executor, std::move(settings), events);
}

}  // namespace pns
