// Tested by tests/hub_attempts_test.cpp.

#include "hub/send/attempts.hpp"

#include <algorithm>

namespace hub {

namespace {

/// A provider that is unwell and names no time is asked again so soon; this is also where the waits
/// after lost answers begin.
constexpr std::int64_t unwell_wait_ms_max = 1'500;
/// With less time left nothing is begun.
constexpr std::int64_t last_try_ms_min = 1'000;
constexpr std::uint8_t count_max = 255;

void count(std::uint8_t& attempts) {
    if (attempts < count_max) ++attempts;
}

/// What would go beyond the end of the send is tried once more before: after the wait that the
/// provider asks for, if there is time, or else when most of the time is over.
std::optional<std::int64_t> before_the_end(std::int64_t wait_ms, std::int64_t wish_ms,
                                           std::int64_t left_ms) {
    if (wait_ms < left_ms) return wait_ms;
    if (left_ms < last_try_ms_min) return std::nullopt;
    if (wish_ms > 0 && left_ms - wish_ms >= last_try_ms_min)
        return wish_ms + (left_ms - wish_ms) / 2;
    return left_ms - left_ms / 10;
}

}  // namespace

std::optional<std::int64_t> wait_after(const FailedAttempt& failed, pns::RetryLimits limits,
                                       std::int64_t left_ms, std::uint64_t random, Waiting& past) {
    const bool lost = failed.outcome == pns::Outcome::unknown;
    count(past.attempts);
    if (lost) count(past.losses);
    past.outcome = failed.outcome;
    const std::int64_t base_ms = std::min(limits.base_ms, unwell_wait_ms_max);
    if (failed.own_fault) {
        count(past.faults);
        auto wait_ms = pns::retry_delay_ms(limits, past.faults, failed.wish_ms, random);
        if (wait_ms && lost) wait_ms = pns::doubled_ms(base_ms, past.losses, random);
        if (!wait_ms || *wait_ms >= left_ms) return std::nullopt;
        return wait_ms;
    }
    if (lost) return before_the_end(pns::doubled_ms(base_ms, past.losses, random), 0, left_ms);
    // A throttle asks for fewer pushes, not for patience: its wish is kept to.
    const bool throttled = failed.outcome == pns::Outcome::throttled ||
                           failed.outcome == pns::Outcome::channel_throttled;
    const std::int64_t wish_ms = throttled ? failed.wish_ms : pns::asked_early_ms(failed.wish_ms);
    limits = {base_ms, unwell_wait_ms_max, count_max + 1};
    const auto wait_ms = pns::retry_delay_ms(limits, past.attempts, wish_ms, random);
    return before_the_end(*wait_ms, wish_ms, left_ms);
}

}  // namespace hub
