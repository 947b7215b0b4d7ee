#pragma once

// How often something happened lately, per key: what quotas and per-device rates are made of. Any
// thread; bounded.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string_view>
#include <unordered_map>

namespace pns::sim {

class Meter {
  public:
    /// At most `most` per `window_ms`, counted in windows that begin with a key's first use;
    /// 0 = no bound.
    Meter(std::uint64_t most, std::int64_t window_ms) : most_(most), window_ms_(window_ms) {}

    bool take(std::string_view key, std::int64_t now_ms) {
        if (most_ == 0) return true;
        const std::lock_guard lock(mutex_);
        if (windows_.size() >= keys_max)
            std::erase_if(windows_, [&](const auto& w) { return is_over(w.second, now_ms); });
        if (windows_.size() >= keys_max) windows_.clear();
        Window& window = windows_[std::hash<std::string_view>()(key)];
        if (window.count == 0 || is_over(window, now_ms)) window = {now_ms, 0};
        if (window.count >= most_) return false;
        ++window.count;
        return true;
    }
    /// How long until `key` may again.
    std::int64_t wait_ms(std::string_view key, std::int64_t now_ms) const {
        const std::lock_guard lock(mutex_);
        const auto found = windows_.find(std::hash<std::string_view>()(key));
        return found == windows_.end() ? 0 : found->second.from_ms + window_ms_ - now_ms;
    }

  private:
    static constexpr std::size_t keys_max = 1'000'000;
    struct Window {
        std::int64_t from_ms = 0;
        std::uint64_t count = 0;
    };
    bool is_over(const Window& window, std::int64_t now_ms) const {
        return now_ms - window.from_ms >= window_ms_ || now_ms < window.from_ms;
    }

    std::uint64_t most_;
    std::int64_t window_ms_;
    mutable std::mutex mutex_;
    std::unordered_map<std::size_t, Window> windows_;
};

}  // namespace pns::sim
