#pragma once

// When to try again (docs/contracts/pns.md 7.4, 11). Pure functions; the caller brings the random
// number.

#include <cstdint>
#include <optional>
#include <string_view>

namespace pns {

struct RetryLimits {
    std::int64_t base_ms = 1'000;
    std::int64_t cap_ms = 15 * 60'000;
    unsigned attempts_max = 5;  ///< sends of one push in all, the first included
};

/// The limits of the platform with this Platform::name; general limits for an unknown name.
RetryLimits retry_limits(std::string_view platform);

/// Full jitter: uniform in [0, min(cap, base * 2^attempt)], attempt counting from 0. `random` is
/// uniform over 64 bits.
std::int64_t backoff_ms(std::int64_t base_ms, std::int64_t cap_ms, unsigned attempt,
                        std::uint64_t random);

/// The wait before attempt + 1: backoff, but at least the provider's wish (capped, with up to 20 %
/// added so that not everyone comes back at once). Nothing when the attempts are used up.
/// `attempts_made` >= 1.
std::optional<std::int64_t> retry_delay_ms(const RetryLimits& limits, unsigned attempts_made,
                                           std::int64_t retry_after_ms, std::uint64_t random);

/// When to ask a provider again that is unavailable and asks for a wait of `wish_ms`. Most are well
/// long before the end of a long wait, and a push may have no time until then: after a tenth of it,
/// but not within the first minute.
std::int64_t asked_early_ms(std::int64_t wish_ms);

/// The wait after `failures` (at least 1) attempts that may have been taken: between `base_ms` and
/// twice that after the first, and twice as long after each further one, without an end. So the
/// number of attempts grows with the logarithm of the time only.
std::int64_t doubled_ms(std::int64_t base_ms, unsigned failures, std::uint64_t random);

/// The wait before what has failed for `failed_ms` is tried again: a hundredth of that, so that the
/// first push goes out soon after the end of any outage, within these bounds.
std::int64_t patient_wait_ms(std::int64_t failed_ms, std::int64_t ms_min, std::int64_t ms_max);
/// Its bounds while a credential is refused. The longer one is short against the time of a send.
constexpr std::int64_t refused_wait_ms_min = 1'000, refused_wait_ms_max = 60'000;

/// How many retries one sender may add to its fresh traffic: a share of it, and a small steady rate
/// so that little traffic can be retried at all. Times of the steady clock.
class RetryBudget {
  public:
    static constexpr std::uint64_t per_s_free = 50;
    static constexpr std::uint64_t saved_max = 100'000;  ///< retries that may be saved up

    /// `percent` of fresh pushes; 0 = no bound.
    explicit RetryBudget(unsigned percent) : percent_(percent) {}
    void fresh();
    /// 0: this retry may go out. Otherwise when to ask again, in ms: those who are turned away
    /// together come back spread over the time it takes to serve them, at most a minute.
    std::int64_t wait_ms(std::int64_t now_ms, std::uint64_t random);

  private:
    void refill(std::int64_t now_ms);

    unsigned percent_;
    std::uint64_t hundredths_ = 1'000 * 100;  // of a retry
    std::uint64_t turned_away_ = 0;
    std::int64_t at_ms_ = -1;
};

}  // namespace pns
