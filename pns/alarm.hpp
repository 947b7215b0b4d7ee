#pragma once

// One timer for many deadlines: runs `tick` when the earliest of them has come, and at once after
// wake(). The owner starts run() in its nursery and ends it by stop(). One loop. Times are
// milliseconds, of the steady clock (Alarm) or of the time in which the loop ran (RunningAlarm).

#include <boost/asio/basic_waitable_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>

#include "pns/clock.hpp"
#include "pns/running_clock.hpp"
#include "pns/task.hpp"

namespace pns {

using SteadyTimer =
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, Executor>;

inline constexpr std::int64_t never_ms = std::numeric_limits<std::int64_t>::max();

class Alarm {
  public:
    /// `tick` does what is due and returns the next deadline, or never_ms.
    Alarm(Executor executor, std::function<std::int64_t()> tick, const Clock& clock);
    ~Alarm() { *alive_ = false; }
    Alarm(const Alarm&) = delete;
    Alarm& operator=(const Alarm&) = delete;
    Task<void> run();
    /// Ticks on the next turn of the loop; many calls in one turn cost one tick.
    void wake();
    /// A deadline that may be earlier than the one slept for.
    void at_latest(std::int64_t deadline_ms);
    void stop();

  private:
    void set_timer(std::int64_t deadline_ms);
    void tick_next_turn();

    SteadyTimer timer_;
    SteadyTimer gate_;  // never rings: run() waits here, and is let through by a cancel
    std::function<std::int64_t()> tick_;
    const Clock& clock_;
    const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for what is on its way
    std::int64_t set_for_ms_ = never_ms;  // the timer; it may ring sooner than is needed
    std::int64_t armed_ms_ = never_ms;    // the deadline
    bool sleeping_ = false;
    bool again_ = false;
    bool stopped_ = false;
};

/// For deadlines that a peer has to meet: they are judged only by a loop that ran, and had its turn
/// to read, while they came (pns/running_clock.hpp).
class RunningAlarm {
  public:
    /// `tick` is given the time, does what is due and returns the next deadline, or never_ms.
    RunningAlarm(Executor executor, std::function<std::int64_t(std::int64_t now_ms)> tick,
                 const Clock& clock);
    Task<void> run() { return alarm_.run(); }
    /// The time. After a gap it is the time before the gap, and the alarm rings soon.
    std::int64_t now_ms() { return now_ms(clock_.steady_ms()); }
    std::int64_t now_ms(std::int64_t steady_ms);
    void wake() { alarm_.wake(); }
    void at_latest(std::int64_t deadline_ms);
    void stop() { alarm_.stop(); }
    const Clock& clock() const { return clock_; }

  private:
    std::int64_t ring();

    std::function<std::int64_t(std::int64_t)> tick_;
    const Clock& clock_;
    RunningClock running_;
    Alarm alarm_;
};

}  // namespace pns
