#pragma once

// The two clocks of a process, as a value that is handed in, so that tests move time by hand. Any
// thread. An owner keeps the clock as long as whoever reads it.

#include <cstdint>

namespace pns {

class Clock {
  public:
    /// Unix time. It may step either way: only for what leaves the process or came from outside.
    virtual std::int64_t wall_ms() const = 0;
    /// Never steps back; its zero means nothing.
    virtual std::int64_t steady_us() const = 0;
    std::int64_t steady_ms() const { return steady_us() / 1'000; }

  protected:
    ~Clock() = default;
};

/// The clocks of the machine.
const Clock& system_clock();

// The same for what is not handed a clock.
std::int64_t steady_now_us();
std::int64_t steady_now_ms();
std::int64_t wall_now_us();  ///< since 1970 UTC
std::int64_t wall_now_ms();

}  // namespace pns
