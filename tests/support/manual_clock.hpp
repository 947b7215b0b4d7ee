#pragma once

// A clock that stands still until a test moves it. Any thread.

#include <atomic>

#include "pns/clock.hpp"

namespace support {

class ManualClock final : public pns::Clock {
  public:
    std::int64_t wall_ms() const override { return wall_ms_; }
    std::int64_t steady_us() const override { return steady_us_; }

    /// Time passes.
    void pass_ms(std::int64_t ms) {
        steady_us_ += ms * 1'000;
        wall_ms_ += ms;
    }
    /// Somebody sets the wall clock.
    void step_ms(std::int64_t ms) { wall_ms_ += ms; }

  private:
    std::atomic<std::int64_t> wall_ms_{1'800'000'000'000};
    std::atomic<std::int64_t> steady_us_{5'000'000'000};
};

}  // namespace support
