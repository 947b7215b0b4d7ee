#include "pns/alarm.hpp"

#include <utility>

namespace pns {

Alarm::Alarm(Executor executor, std::function<std::int64_t()> tick)
    : timer_(executor), tick_(std::move(tick)) {}

Task<void> Alarm::run() {
    while (!stopped_) {
        again_ = false;
        armed_ms_ = tick_();
        if (stopped_) break;
        if (again_) armed_ms_ = 0;  // woken from inside: let other work of the loop go first
        // One ms more: a deadline has certainly passed when its tick runs.
        timer_.expires_at(armed_ms_ == never_ms ? std::chrono::steady_clock::time_point::max()
                                                : std::chrono::steady_clock::time_point(
                                                      std::chrono::milliseconds(armed_ms_ + 1)));
        sleeping_ = true;
        co_await timer_.async_wait(as_result);
        sleeping_ = false;
    }
}

void Alarm::wake() {
    again_ = true;
    if (!sleeping_) return;
    sleeping_ = false;  // further calls in this turn need not cancel again
    timer_.cancel();
}

void Alarm::at_latest(std::int64_t deadline_ms) {
    if (sleeping_ && deadline_ms < armed_ms_) wake();
}

void Alarm::stop() {
    stopped_ = true;
    if (sleeping_) wake();
}

}  // namespace pns
