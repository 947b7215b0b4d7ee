// Tested by tests/hub_rate_limits_test.cpp.

#include "hub/http/rate_limits.hpp"

#include <algorithm>

#include "tagexpr/keyed_hash.hpp"

namespace hub {

std::int64_t TokenBucket::take(std::int64_t now_ms) {
    if (requests_ == 0) return 0;
    // A period fills it, so that longer rests need not be multiplied.
    const std::int64_t rest_ms = std::clamp<std::int64_t>(now_ms - filled_at_ms_, 0, period_ms_);
    level_ = std::min(requests_ * period_ms_, level_ + rest_ms * requests_);
    filled_at_ms_ = now_ms;
    if (level_ >= period_ms_) {
        level_ -= period_ms_;
        return 0;
    }
    return (period_ms_ - level_ + requests_ - 1) / requests_;
}

bool TokenBucket::full(std::int64_t now_ms) const {
    return now_ms - filled_at_ms_ >= period_ms_;
}

std::int64_t KeyLimits::take(std::uint32_t hub, std::string_view rule, std::int64_t now_ms) {
    const std::size_t requests = requests_;
    if (requests == 0) return 0;
    Key key{hub, std::string(rule)};
    const std::size_t hash = tagexpr::keyed_hash(key.second) ^ hub;
    Shard& shard = shards_[hash % shards_.size()];
    std::lock_guard lock(shard.mutex);
    auto bucket = shard.buckets.find(key);
    if (bucket == shard.buckets.end()) {
        if (shard.buckets.size() >= keys_per_shard) {
            std::erase_if(shard.buckets,
                          [now_ms](const auto& entry) { return entry.second.full(now_ms); });
        }
        bucket =
            shard.buckets.emplace(std::move(key), TokenBucket(requests, now_ms, period_ms_)).first;
    }
    bucket->second.allow(requests, now_ms);
    return bucket->second.take(now_ms);
}

std::size_t KeyLimits::size() const {
    std::size_t size = 0;
    for (const Shard& shard : shards_) {
        std::lock_guard lock(shard.mutex);
        size += shard.buckets.size();
    }
    return size;
}

std::string retry_after_s(std::int64_t wait_ms) {
    return std::to_string(std::max<std::int64_t>(1, (wait_ms + 999) / 1'000));
}

}  // namespace hub
