#pragma once

// The two clocks of a process, as a value that is handed in, so that tests move time by hand. Any
// thread. An owner keeps the clock as long as whoever reads it.

#include <cstdint>

namespace pns {

class Clock {
  public:
    /// Unix time. It may step either way: only for what leaves the process or came from outside.
    virtual std::int64_t wall_us() const = 0;
    std::int64_t wall_ms() const { return wall_us() / 1'000; }
    /// Never steps back; its zero means nothing.
    virtual std::int64_t steady_us() const = 0;
    std::int64_t steady_ms() const { return steady_us() / 1'000; }

  protected:
    ~Clock() = default;
};

/// The clocks of the machine. Only where a process begins; everybody else is handed a clock.
const Clock& system_clock();

}  // namespace pns
