#pragma once

// A clock that stands still until a test moves it. Any thread.

#include <atomic>

#include "pns/clock.hpp"

namespace support {

class ManualClock final : public pns::Clock {
  public:
    /// Begins at some time, or at `wall_ms`.
    explicit ManualClock(std::int64_t wall_ms = 1'800'000'000'000) : wall_us_(wall_ms * 1'000) {}
    std::int64_t wall_us() const override { return wall_us_; }
    std::int64_t steady_us() const override { return steady_us_; }

    /// Time passes.
    void pass_ms(std::int64_t ms) {
        steady_us_ += ms * 1'000;
        wall_us_ += ms * 1'000;
    }
    /// Somebody sets the wall clock.
    void step_ms(std::int64_t ms) { wall_us_ += ms * 1'000; }

  private:
    std::atomic<std::int64_t> wall_us_;
    std::atomic<std::int64_t> steady_us_{5'000'000'000};
};

}  // namespace support
