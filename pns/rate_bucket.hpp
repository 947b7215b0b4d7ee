#pragma once

// How fast a process may send with one credential or one send, all loops together: a bucket of
// tokens that is refilled evenly. A rate is a whole number of tokens in a period of whole seconds,
// so that 61 a minute are 61 in every minute and not a rounded number a second.
// docs/contracts/pns.md 2.5, 11 (FCM: 600,000 messages a minute and project). Any thread; the
// caller brings the clock, steady microseconds.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace pns {

class RateBucket {
  public:
    static constexpr std::uint64_t per_s_max = 100'000'000;  ///< and as many times the period
    static constexpr std::uint64_t burst_max = 1'000'000'000;

    static constexpr std::int64_t period_s_max = 3'600;

    /// `count` tokens come in every `period_s`. All numbers but `ramp_us` are at least 1; what is
    /// beyond the bounds counts as the bound. The bucket begins with one token, so that each period
    /// since the first take has `count` tokens at most. A taker who was away finds up to `burst`
    /// tokens. With `ramp_us` the rate of a bucket that was not used for that long starts at a
    /// tenth and rises evenly to all of it within `ramp_us`; it is then full only to a tenth, too.
    RateBucket(std::uint64_t count, std::uint64_t burst, std::int64_t ramp_us = 0,
               std::int64_t period_s = 1);

    /// Takes up to `want` tokens and says how many. If none: `retry_us` is the time from now at
    /// which the next one is due; otherwise it is 0.
    std::uint32_t take(std::uint32_t want, std::int64_t now_us, std::int64_t& retry_us);
    /// Tokens that were taken and not used. Never above the burst.
    void give_back(std::uint32_t tokens);

    std::uint64_t per_s() const { return count_ * 1'000'000 / token_; }  ///< rounded down

  private:
    std::uint64_t rate_at(std::int64_t now_us) const;
    void refill(std::int64_t now_us);

    std::uint64_t count_;
    std::uint64_t token_;  // a token in units of a level: microseconds of the period
    std::uint64_t burst_;
    std::int64_t ramp_us_;
    std::mutex mutex_;
    std::uint64_t level_ = 0;  // `count_` units come every microsecond
    std::int64_t at_us_ = 0;   // up to when `level_` is refilled
    std::int64_t ramp_from_us_ = 0;
    bool started_ = false;
};

/// The buckets of a process: one per credential that has one, shared by its senders on all loops.
/// Any thread.
class RateBuckets {
  public:
    /// The bucket with this key, made by the first who asks; lives as long as someone holds it.
    std::shared_ptr<RateBucket> get(const std::string& key, std::uint64_t per_s,
                                    std::uint64_t burst, std::int64_t ramp_us);

  private:
    std::mutex mutex_;
    std::map<std::string, std::weak_ptr<RateBucket>, std::less<>> buckets_;
};

}  // namespace pns
