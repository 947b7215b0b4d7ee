#pragma once

// How fast a process may send with one credential, all loops together: a bucket of tokens that is
// refilled evenly. docs/contracts/pns.md 2.5, 11 (FCM: 600,000 messages a minute and project). Any
// thread; the caller brings the clock, steady microseconds.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace pns {

class RateBucket {
  public:
    static constexpr std::uint64_t per_s_max = 100'000'000;
    static constexpr std::uint64_t burst_max = 1'000'000'000;

    /// `per_s` and `burst` are at least 1; a value beyond the bounds counts as the bound. The
    /// bucket is full at first. With `ramp_us`, a bucket that was not used for so long begins with
    /// a tenth of its rate and of its content, and the rate rises evenly to all of it within
    /// `ramp_us`.
    RateBucket(std::uint64_t per_s, std::uint64_t burst, std::int64_t ramp_us = 0);

    /// Takes up to `want` tokens and says how many. If none: `retry_us` is the time from now at
    /// which the next one is due; otherwise it is 0.
    std::uint32_t take(std::uint32_t want, std::int64_t now_us, std::int64_t& retry_us);
    /// Tokens that were taken and not used. Never above the burst.
    void give_back(std::uint32_t tokens);

    std::uint64_t per_s() const { return per_s_; }

  private:
    std::uint64_t rate_at(std::int64_t now_us) const;
    void refill(std::int64_t now_us);

    std::uint64_t per_s_;
    std::uint64_t burst_;
    std::int64_t ramp_us_;
    std::mutex mutex_;
    std::uint64_t level_ = 0;  // in millionths of a token: per_s of them come every microsecond
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
