// Tested by tests/hub_attempts_test.cpp.

#include "hub/send/attempts.hpp"

#include <algorithm>

namespace hub {

namespace {

/// A provider that is unwell and names no time is asked again so soon, and a push whose answer was
/// lost waits up to so long.
constexpr std::int64_t unwell_wait_ms_max = 1'500, lost_wait_ms_max = 60'000;
constexpr std::uint8_t count_max = 255;

void count(std::uint8_t& attempts) {
    if (attempts < count_max) ++attempts;
}

}  // namespace

std::optional<std::int64_t> wait_after(const FailedAttempt& failed, pns::RetryLimits limits,
                                       std::int64_t left_ms, std::uint64_t random, Waiting& past) {
    count(past.attempts);
    past.outcome = failed.outcome;
    unsigned counted = past.attempts;
    if (failed.own_fault) {
        count(past.faults);
        counted = past.faults;
    } else {
        limits.attempts_max = count_max + 1;
        limits.base_ms = std::min(limits.base_ms, unwell_wait_ms_max);
        limits.cap_ms =
            failed.outcome == pns::Outcome::unknown ? lost_wait_ms_max : unwell_wait_ms_max;
    }
    const auto wait_ms = pns::retry_delay_ms(limits, counted, failed.wish_ms, random);
    if (!wait_ms || *wait_ms >= left_ms) return std::nullopt;
    return wait_ms;
}

}  // namespace hub
