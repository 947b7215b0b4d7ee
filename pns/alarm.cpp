// Tested by tests/pns_alarm_test.cpp, tests/pns_connection_test.cpp.
#include "pns/alarm.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace pns {

namespace {

// A RunningAlarm looks when half of what is left of its deadline is over, so that a gap which no
// look met leaves the other half for reading.
constexpr std::int64_t whole_ms_max = 250;   // so little is left in one piece
constexpr std::int64_t read_first_ms = 250;  // after a gap, before anything is judged

}  // namespace

// To set a timer is a system call. So a timer that rings before the deadline is left as it is, and
// set anew when it has rung; a wake() does without one.

Alarm::Alarm(Executor executor, std::function<std::int64_t()> tick, const Clock& clock)
    : timer_(executor),
      gate_(executor, SteadyTimer::time_point::max()),
      tick_(std::move(tick)),
      clock_(clock) {}

Task<void> Alarm::run() {
    while (!stopped_) {
        again_ = false;
        armed_ms_ = tick_();
        if (stopped_) break;
        again_ ? tick_next_turn() : set_timer(armed_ms_);
        sleeping_ = !again_;
        co_await gate_.async_wait(as_result);
        sleeping_ = false;
    }
}

void Alarm::set_timer(std::int64_t deadline_ms) {
    if (deadline_ms == never_ms || set_for_ms_ <= deadline_ms) return;
    set_for_ms_ = deadline_ms;
    // One ms more: a deadline has certainly passed when its tick runs.
    timer_.expires_after(std::chrono::milliseconds(deadline_ms + 1 - clock_.steady_ms()));
    timer_.async_wait([this, alive = alive_](error_code ec) {
        if (ec || !*alive) return;
        set_for_ms_ = never_ms;
        wake();
    });
}

/// Other work of the loop goes first.
void Alarm::tick_next_turn() {
    asio::post(gate_.get_executor(), [this, alive = alive_] {
        if (*alive) gate_.cancel();
    });
}

void Alarm::wake() {
    again_ = true;
    if (!sleeping_) return;
    sleeping_ = false;  // further calls in this turn need not cancel again
    gate_.cancel();
}

void Alarm::at_latest(std::int64_t deadline_ms) {
    if (sleeping_ && deadline_ms < armed_ms_) wake();
}

void Alarm::stop() {
    stopped_ = true;
    timer_.cancel();
    if (sleeping_) wake();
}

RunningAlarm::RunningAlarm(Executor executor, std::function<std::int64_t(std::int64_t)> tick,
                           const Clock& clock)
    : tick_(std::move(tick)),
      clock_(clock),
      running_(clock.steady_ms()),
      alarm_(
          executor, [this] { return ring(); }, clock) {}

std::int64_t RunningAlarm::now_ms(std::int64_t steady_ms) {
    if (running_.is_late(steady_ms)) alarm_.wake();
    return running_.at(steady_ms);
}

void RunningAlarm::at_latest(std::int64_t deadline_ms) {
    alarm_.at_latest(deadline_ms == never_ms ? never_ms : deadline_ms + running_.behind_ms());
}

std::int64_t RunningAlarm::ring() {
    const auto steady_ms = clock_.steady_ms();
    std::int64_t look_ms = steady_ms + read_first_ms;
    if (running_.look(steady_ms)) {
        const auto now_ms = running_.at(steady_ms);
        const auto deadline_ms = tick_(now_ms);
        const auto left_ms = std::max<std::int64_t>(deadline_ms - now_ms, 0);
        look_ms = deadline_ms == never_ms   ? never_ms
                  : left_ms <= whole_ms_max ? steady_ms + left_ms
                                            : steady_ms + std::max(left_ms / 2, whole_ms_max);
    }
    running_.expect(look_ms);
    return look_ms;
}

}  // namespace pns
