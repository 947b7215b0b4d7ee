// Tested by tests/pns_retry_test.cpp.
//
// The wait grows by doubling and is drawn at random below that bound; what a provider asks for is
// a lower bound, within reason. RetryBudget bounds the retries of a sender by a share of its fresh
// traffic. Dates are read in the three forms of HTTP. No clock and no random source is used: the
// caller brings both.

#include "pns/retry_policy.hpp"

#include <algorithm>

#include "pns/http_date.hpp"

namespace pns {

namespace {

std::uint64_t below(std::uint64_t bound, std::uint64_t random) {
    return random % bound;  // bounds are far below 2^64: the bias is nothing
}

}  // namespace

std::int64_t backoff_ms(std::int64_t base_ms, std::int64_t cap_ms, unsigned attempt,
                        std::uint64_t random) {
    std::int64_t bound = std::max<std::int64_t>(base_ms, 0);
    for (unsigned i = 0; i < attempt && bound < cap_ms; ++i) bound *= 2;
    bound = std::min(bound, std::max<std::int64_t>(cap_ms, 0));
    return static_cast<std::int64_t>(below(static_cast<std::uint64_t>(bound) + 1, random));
}

std::optional<std::int64_t> retry_delay_ms(const RetryLimits& limits, unsigned attempts_made,
                                           std::int64_t retry_after_ms, std::uint64_t random) {
    if (attempts_made >= limits.attempts_max) return {};
    const auto wait = backoff_ms(limits.base_ms, limits.cap_ms,
                                 attempts_made == 0 ? 0 : attempts_made - 1, random);
    if (retry_after_ms <= 0) return wait;
    const auto wish = std::min(retry_after_ms, retry_after_ms_max);
    const auto spread = below(static_cast<std::uint64_t>(wish / 5) + 1, random);
    return std::max(wait, wish + static_cast<std::int64_t>(spread));
}

std::int64_t asked_early_ms(std::int64_t wish_ms) {
    constexpr std::int64_t obeyed_ms = 60'000;
    return std::min(wish_ms, std::max(obeyed_ms, std::min(wish_ms, retry_after_ms_max) / 10));
}

std::int64_t doubled_ms(std::int64_t base_ms, unsigned failures, std::uint64_t random) {
    constexpr unsigned doublings_max = 24;  // of a second: half a year
    const std::int64_t least = std::max<std::int64_t>(base_ms, 1)
                               << std::min(failures - 1, doublings_max);
    return least + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(least), random));
}

std::int64_t patient_wait_ms(std::int64_t failed_ms, std::int64_t ms_min, std::int64_t ms_max) {
    return std::clamp(failed_ms / 100, ms_min, ms_max);
}

void RetryBudget::fresh() {
    hundredths_ = std::min<std::uint64_t>(hundredths_ + percent_, saved_max * 100);
}

void RetryBudget::refill(std::int64_t now_ms) {
    if (at_ms_ < 0) at_ms_ = now_ms;
    const auto passed = static_cast<std::uint64_t>(std::max<std::int64_t>(now_ms - at_ms_, 0));
    at_ms_ = std::max(at_ms_, now_ms);
    const auto free = std::min<std::uint64_t>(passed, 1'000'000) * per_s_free / 10;
    // What is free is not saved up beyond a thousand.
    if (hundredths_ < 1'000 * 100)
        hundredths_ = std::min<std::uint64_t>(hundredths_ + free, 100'000);
    turned_away_ -= std::min(turned_away_, passed * per_s_free / 1'000);
}

std::int64_t RetryBudget::wait_ms(std::int64_t now_ms, std::uint64_t random) {
    if (percent_ == 0) return 0;
    refill(now_ms);
    if (hundredths_ >= 100) {
        hundredths_ -= 100;
        return 0;
    }
    ++turned_away_;
    const auto wait = std::min<std::uint64_t>(1'000 + turned_away_ * 1'000 / per_s_free, 60'000);
    return static_cast<std::int64_t>(wait + below(wait / 5 + 1, random));
}

}  // namespace pns
