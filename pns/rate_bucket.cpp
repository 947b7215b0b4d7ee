// Tested by tests/pns_rate_bucket_test.cpp.

#include "pns/rate_bucket.hpp"

#include <algorithm>

namespace pns {

RateBucket::RateBucket(std::uint64_t count, std::uint64_t burst, std::int64_t ramp_us,
                       std::int64_t period_s)
    : count_(count),
      token_(static_cast<std::uint64_t>(std::clamp<std::int64_t>(period_s, 1, period_s_max)) *
             1'000'000),
      burst_(std::clamp<std::uint64_t>(burst, 1, burst_max)),
      ramp_us_(std::max<std::int64_t>(ramp_us, 0)) {
    count_ = std::clamp<std::uint64_t>(count, 1, per_s_max * (token_ / 1'000'000));
}

std::uint64_t RateBucket::rate_at(std::int64_t now_us) const {
    const std::int64_t run_us = now_us - ramp_from_us_;
    if (run_us >= ramp_us_) return count_;
    const double share = 0.1 + 0.9 * static_cast<double>(run_us) / static_cast<double>(ramp_us_);
    return std::max<std::uint64_t>(1,
                                   static_cast<std::uint64_t>(static_cast<double>(count_) * share));
}

void RateBucket::refill(std::int64_t now_us) {
    const std::uint64_t full = burst_ * token_;
    if (!started_ || (ramp_us_ > 0 && now_us - at_us_ >= ramp_us_)) {
        started_ = true;
        level_ = ramp_us_ > 0 ? std::max(full / 10, token_) : token_;
        at_us_ = ramp_from_us_ = now_us;
        return;
    }
    if (now_us <= at_us_) return;  // another loop read the clock a little later
    const auto passed_us = static_cast<std::uint64_t>(now_us - at_us_);
    const std::uint64_t rate = rate_at(now_us);
    const std::uint64_t missing = full - level_;
    level_ = passed_us > missing / rate ? full : level_ + passed_us * rate;
    at_us_ = now_us;
}

std::uint32_t RateBucket::take(std::uint32_t want, std::int64_t now_us, std::int64_t& retry_us) {
    retry_us = 0;
    if (want == 0) return 0;
    const std::lock_guard lock(mutex_);
    refill(now_us);
    const std::uint64_t taken = std::min<std::uint64_t>(want, level_ / token_);
    if (taken == 0) {
        const std::uint64_t rate = rate_at(now_us);
        const std::int64_t behind_us = std::max<std::int64_t>(at_us_ - now_us, 0);
        retry_us = behind_us + static_cast<std::int64_t>((token_ - level_ + rate - 1) / rate);
    }
    level_ -= taken * token_;
    return static_cast<std::uint32_t>(taken);
}

void RateBucket::give_back(std::uint32_t tokens) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t used = std::min<std::uint64_t>(tokens, burst_);
    level_ = std::min(level_ + used * token_, burst_ * token_);
}

std::shared_ptr<RateBucket> RateBuckets::get(const std::string& key, std::uint64_t per_s,
                                             std::uint64_t burst, std::int64_t ramp_us) {
    const std::lock_guard lock(mutex_);
    std::erase_if(buckets_, [](const auto& entry) { return entry.second.expired(); });
    auto& kept = buckets_[key];
    auto bucket = kept.lock();
    if (!bucket || bucket->per_s() != std::clamp<std::uint64_t>(per_s, 1, RateBucket::per_s_max)) {
        bucket = std::make_shared<RateBucket>(per_s, burst, ramp_us);
        kept = bucket;
    }
    return bucket;
}

}  // namespace pns
