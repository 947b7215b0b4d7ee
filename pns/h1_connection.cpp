// Tested by tests/pns_connection_test.cpp.
//
// Three children on one loop: a reader that always reads, a writer that sleeps until there is a
// request, and an alarm for deadlines. A request that was not written at all is known as
// unprocessed; one that was written and has no answer is in doubt, and the connection says which.
// Bytes that come when nothing was asked end the connection, and so does an answer before its
// request was written.

#include "pns/h1_connection.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "pns/errc.hpp"
#include "pns/h1_codec.hpp"
#include "pns/nursery.hpp"
#include "pns/pool_policy.hpp"
#include "pns/tls_link.hpp"

namespace pns {

namespace {

class H1Connection final : public Connection {
  public:
    H1Connection(Executor executor, ConnectionSettings settings, ConnectionEvents& events)
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
    std::size_t room() const override { return state_ == State::ready && !busy_ ? 1 : 0; }
    std::size_t in_flight() const override { return busy_ ? 1 : 0; }
    std::size_t window() const override { return 1; }
    std::uint64_t answers() const override { return answers_; }
    std::int64_t shrunk_ms() const override { return 0; }
    bool is_old(std::int64_t) const override { return false; }
    std::int64_t ready_ms() const override { return ready_ms_; }

  private:
    TlsLink::Options link_options() const {
        TlsLink::Options out;
        out.host = settings_.origin.host;
        out.target = settings_.target;
        out.tls = settings_.tls;
        out.alpn = "http/1.1";
        out.connect_timeout_ms = settings_.times.connect_timeout_ms;
        return out;
    }
    Task<void> read_loop();
    Task<void> write_loop();
    void took(H1Parser::Step step);
    void lose(bool timed_out);
    std::int64_t tick(std::int64_t now_ms);

    ConnectionSettings settings_;
    ConnectionEvents& events_;
    std::string authority_;
    RunningAlarm alarm_;
    Nursery nursery_;
    SteadyTimer write_wake_;
    TlsLink link_;
    std::int64_t age_max_ms_;
    H1Parser parser_;
    std::array<std::uint8_t, 16 * 1024> in_;
    std::string out_;

    State state_ = State::connecting;
    error_code why_;
    bool writer_idle_ = false;
    bool busy_ = false;      // a request is with us
    bool to_write_ = false;  // and waits in out_
    bool written_ = false;   // perhaps in part
    void* tag_ = nullptr;
    std::uint64_t answers_ = 0;
    std::int64_t ready_ms_ = 0;      // steady clock, for the owner
    std::int64_t last_used_ms_ = 0;  // from here: time in which the loop ran
    std::int64_t old_ms_ = never_ms;
    std::int64_t request_deadline_ms_ = never_ms;
};

Task<error_code> H1Connection::run() {
    co_await asio::this_coro::throw_if_cancelled(false);
    nursery_.start(alarm_.run());
    const error_code failed = co_await link_.open();
    if (failed) {
        close(failed);
    } else if (state_ == State::connecting) {
        ready_ms_ = settings_.clock->steady_ms();
        last_used_ms_ = alarm_.now_ms();
        old_ms_ = last_used_ms_ + age_max_ms_;
        state_ = State::ready;
        nursery_.start(read_loop());
        nursery_.start(write_loop());
        alarm_.wake();
        events_.on_change(*this);
    }
    co_await nursery_.join();
    close(errc::connection_ended);
    lose(false);
    if (nursery_.first_error()) std::rethrow_exception(nursery_.first_error());
    co_return why_;
}

Task<void> H1Connection::read_loop() {
    while (state_ != State::closed) {
        const TlsStream::Moved read = co_await link_.stream().read_some(in_);
        if (state_ == State::closed) break;
        if (read.failure) {
            if (busy_ && written_) took(parser_.feed_end());
            close(errc::connection_ended);
        } else if (!busy_ || !written_) {
            close(errc::protocol_error);  // an answer to nothing
        } else {
            took(parser_.feed(
                std::string_view(reinterpret_cast<const char*>(in_.data()), read.bytes)));
        }
    }
}

void H1Connection::took(H1Parser::Step step) {
    if (step == H1Parser::Step::more) return;
    if (step == H1Parser::Step::broken) return close(errc::protocol_error);
    ++answers_;
    // An answer before the request was all written ends the connection: the rest would be read as a
    // request.
    const bool again = parser_.keep_alive() && !to_write_ && state_ == State::ready;
    void* tag = std::exchange(tag_, nullptr);
    busy_ = written_ = false;
    request_deadline_ms_ = never_ms;
    if (!again) close(errc::retired);
    Answer answer = parser_.answer();
    answer.now_ms = settings_.clock->wall_ms();
    answer.steady_ms = settings_.clock->steady_ms();
    events_.on_answer(*this, tag, answer);
    parser_.reset();
    events_.on_change(*this);
}

Task<void> H1Connection::write_loop() {
    while (state_ != State::closed) {
        if (to_write_) {
            written_ = true;
            const std::span<const std::uint8_t> bytes(
                reinterpret_cast<const std::uint8_t*>(out_.data()), out_.size());
            const TlsStream::Moved sent = co_await link_.stream().write(bytes);
            to_write_ = false;
            if (sent.failure) {
                // Not even one TLS record went out whole: the peer has read nothing.
                if (sent.bytes == 0 && state_ != State::closed) written_ = false;
                close(errc::connection_ended);
            }
            continue;
        }
        writer_idle_ = true;
        co_await write_wake_.async_wait(as_result);
        writer_idle_ = false;
    }
}

bool H1Connection::submit(const WireRequest& request, void* tag) {
    if (room() == 0) return false;
    out_.clear();
    append_h1_post(out_, authority_, request.path, request.common.get(), request.headers,
                   request.body ? std::string_view(*request.body) : std::string_view());
    busy_ = to_write_ = true;
    written_ = false;
    tag_ = tag;
    last_used_ms_ = request.steady_ms ? alarm_.now_ms(*request.steady_ms) : alarm_.now_ms();
    request_deadline_ms_ = last_used_ms_ + settings_.times.request_timeout_ms;
    alarm_.at_latest(request_deadline_ms_);
    if (std::exchange(writer_idle_, false)) write_wake_.cancel();
    return true;
}

void H1Connection::drain() {
    if (state_ == State::connecting || (state_ == State::ready && !busy_)) {
        return close(errc::retired);
    }
    if (state_ == State::ready) state_ = State::draining;  // the request's own deadline bounds it
}

void H1Connection::close(error_code why) {
    if (state_ == State::closed) return;
    state_ = State::closed;
    why_ = why;
    alarm_.stop();
    link_.close();
    if (std::exchange(writer_idle_, false)) write_wake_.cancel();
}

void H1Connection::lose(bool timed_out) {
    if (!busy_) return;
    busy_ = false;
    Lost lost;
    lost.processed_unknown = written_;
    lost.timed_out = timed_out;
    events_.on_lost(*this, std::exchange(tag_, nullptr), lost);
}

std::int64_t H1Connection::tick(std::int64_t now_ms) {
    if (link_.deadline_ms() <= now_ms) link_.expire();
    if (request_deadline_ms_ <= now_ms) {
        request_deadline_ms_ = never_ms;
        close(errc::connection_ended);  // HTTP/1.1 cannot take a request back
        lose(true);
    }
    if (state_ != State::ready) return std::min(link_.deadline_ms(), request_deadline_ms_);
    const auto idle_ms = last_used_ms_ + settings_.times.idle_close_ms;
    if (!busy_ && idle_ms <= now_ms) {
        close(errc::idle_closed);
    } else if (old_ms_ <= now_ms) {
        drain();
    }
    std::int64_t next = std::min(link_.deadline_ms(), request_deadline_ms_);
    if (state_ == State::ready) next = std::min(next, busy_ ? old_ms_ : std::min(idle_ms, old_ms_));
    return next;
}

}  // namespace

std::unique_ptr<Connection> make_h1_connection(Executor executor, ConnectionSettings settings,
                                               ConnectionEvents& events) {
    return std::make_unique<H1Connection>(executor, std::move(settings), events);
}

}  // namespace pns
