#pragma once

// One timer for many deadlines: runs `tick` when the earliest of them has come, and at once after
// wake(). The owner starts run() in its nursery and ends it by stop(). One loop. Times are
// milliseconds of the steady clock.

#include <boost/asio/basic_waitable_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>

#include "pns/clock.hpp"
#include "pns/task.hpp"

namespace pns {

using SteadyTimer =
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, Executor>;

inline constexpr std::int64_t never_ms = std::numeric_limits<std::int64_t>::max();

class Alarm {
  public:
    /// `tick` does what is due and returns the next deadline, or never_ms.
    Alarm(Executor executor, std::function<std::int64_t()> tick);
    Task<void> run();
    /// Ticks on the next turn of the loop; many calls in one turn cost one tick.
    void wake();
    /// A deadline that may be earlier than the one slept for.
    void at_latest(std::int64_t deadline_ms);
    void stop();

  private:
    SteadyTimer timer_;
    std::function<std::int64_t()> tick_;
    std::int64_t armed_ms_ = never_ms;
    bool sleeping_ = false;
    bool again_ = false;
    bool stopped_ = false;
};

}  // namespace pns
