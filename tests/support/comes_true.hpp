#pragma once

// How a test waits for what other threads do: by asking, with a bound, so that a hang is a failure
// of this test. Only this file yields or sleeps. Loops that a test drives itself have run_until().

#include <chrono>
#include <thread>

namespace support {

/// Asks until `condition` holds; false when it does not within `seconds_max`.
template <class Condition>
[[nodiscard]] bool comes_true(Condition&& condition, double seconds_max = 60) {
    constexpr int turns_max = 100;
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds_max);
    for (int turn = 0; !condition(); ++turn) {
        if (std::chrono::steady_clock::now() > until) return false;
        if (turn < turns_max)
            std::this_thread::yield();
        else
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

/// The thread does nothing for so long: for tests of what a gap in a loop's progress does.
inline void stand_still(std::chrono::milliseconds time) {
    std::this_thread::sleep_for(time);
}

}  // namespace support
