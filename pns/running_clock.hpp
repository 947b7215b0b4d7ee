#pragma once

// Time in which a loop ran. A process that is stopped, or a machine that is paused, gets no answer
// read; what its peers owe it must not run out meanwhile. The loop says when it will look next; a
// look that comes late ends a gap, and a gap counts for nothing.
//
// A value without a clock of its own: it is given steady time, in milliseconds.

#include <algorithm>
#include <cstdint>
#include <limits>

namespace pns {

class RunningClock {
  public:
    /// A look this late is no gap: loops are busy.
    static constexpr std::int64_t late_ms_max = 100;

    explicit RunningClock(std::int64_t steady_ms) : running_ms_(steady_ms), seen_ms_(steady_ms) {}

    /// Now, between two looks; during a gap the time before it.
    std::int64_t at(std::int64_t steady_ms) {
        if (!is_late(steady_ms)) count_to(steady_ms);
        return running_ms_;
    }
    bool is_late(std::int64_t steady_ms) const { return late_after_ms_ < steady_ms; }
    /// The look that was expected. False: it ends a gap, and no deadline may be judged before the
    /// next look. A loop that is late again is slow, not stopped: only its lateness is left out.
    bool look(std::int64_t steady_ms) {
        const bool late = is_late(steady_ms);
        const bool gap = late && !was_late_;
        if (!late) {
            count_to(steady_ms);
        } else if (!gap) {
            count_to(late_after_ms_);
        }
        seen_ms_ = steady_ms;
        was_late_ = late;
        return !gap;
    }
    /// When the loop will look next, if it runs.
    void expect(std::int64_t steady_ms) {
        constexpr auto never_ms = std::numeric_limits<std::int64_t>::max();
        late_after_ms_ = steady_ms < never_ms - late_ms_max ? steady_ms + late_ms_max : never_ms;
    }
    /// Steady time minus running time.
    std::int64_t behind_ms() const { return seen_ms_ - running_ms_; }

  private:
    void count_to(std::int64_t steady_ms) {
        running_ms_ += std::max<std::int64_t>(steady_ms - seen_ms_, 0);
        seen_ms_ = std::max(steady_ms, seen_ms_);
    }

    std::int64_t running_ms_;
    std::int64_t seen_ms_;  // steady time up to which running time has been counted
    std::int64_t late_after_ms_ = std::numeric_limits<std::int64_t>::max();
    bool was_late_ = false;
};

}  // namespace pns
