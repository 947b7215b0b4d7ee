#pragma once

// How fast one connection and one access rule may call (docs/contracts/anh.md 2.5: 429 with
// Retry-After). Token buckets in whole numbers; no clock is read, the caller passes the time.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

namespace hub {

/// Allows `requests` in each `period_ms`, and as many at once after a period of rest. Not
/// thread-safe: it belongs to one connection or lies under its owner's lock.
class TokenBucket {
  public:
    TokenBucket(std::size_t requests, std::int64_t now_ms, std::int64_t period_ms = 1'000)
        : requests_(static_cast<std::int64_t>(requests)),
          period_ms_(period_ms),
          level_(requests_ * period_ms),
          filled_at_ms_(now_ms) {}

    /// 0: the request may pass. Else how many milliseconds from now it may; nothing is taken then.
    /// A rate of 0 lets everything pass. A clock that went back adds nothing.
    std::int64_t take(std::int64_t now_ms);
    /// Another rate from now on; the same one again changes nothing.
    void allow(std::size_t requests, std::int64_t now_ms) {
        if (requests_ != static_cast<std::int64_t>(requests))
            *this = TokenBucket(requests, now_ms, period_ms_);
    }
    /// Has it been at rest for long enough to be like new?
    bool full(std::int64_t now_ms) const;

  private:
    std::int64_t requests_;
    std::int64_t period_ms_;
    std::int64_t level_;  ///< in 1/period_ms of a request, so that a millisecond adds requests_
    std::int64_t filled_at_ms_;
};

/// One bucket per rule of a hub or of the namespace, or per hub with `rule` empty. Thread-safe,
/// sharded by key. Only hubs and rules that exist get a bucket; buckets at rest are forgotten when
/// a shard grows.
class KeyLimits {
  public:
    static constexpr std::uint32_t of_namespace = 0xFFFF'FFFF;  ///< in place of a hub's number
    static constexpr std::size_t keys_per_shard = 1'024;        ///< beyond it, resting keys go

    explicit KeyLimits(std::size_t requests, std::int64_t period_ms = 1'000)
        : requests_(requests), period_ms_(period_ms) {}
    /// As TokenBucket::take.
    std::int64_t take(std::uint32_t hub, std::string_view rule, std::int64_t now_ms);
    /// Another rate from now on.
    void allow(std::size_t requests) {
        if (requests_ != requests) requests_ = requests;
    }
    std::size_t size() const;

  private:
    using Key = std::pair<std::uint32_t, std::string>;
    struct Shard {
        mutable std::mutex mutex;
        std::map<Key, TokenBucket> buckets;
    };
    std::atomic<std::size_t> requests_;
    const std::int64_t period_ms_;
    std::array<Shard, 16> shards_;
};

/// The value of Retry-After: whole seconds, at least one (docs/contracts/anh.md 2.4).
std::string retry_after_s(std::int64_t wait_ms);

}  // namespace hub
