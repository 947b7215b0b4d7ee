#pragma once

// Keeps a line of the log that strangers or a shaky provider can cause from filling it: at most so
// many lines under one key in a period, and so many under all keys. Thread-safe, bounded; no clock
// is read.

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

namespace hub {

class LogLimit {
  public:
    static constexpr std::size_t keys_max = 1'024;

    LogLimit(unsigned lines_per_key, unsigned lines, std::int64_t period_ms)
        : per_key_(lines_per_key), all_(lines), period_ms_(period_ms) {}

    /// Nothing: the line is left out. Else how many were left out under the key since the last one.
    std::optional<std::uint64_t> allow(std::string_view key, std::int64_t now_ms);

  private:
    struct Count {
        std::int64_t since_ms = 0;
        unsigned lines = 0;
        std::uint64_t left_out = 0;
    };
    /// Lanes read their clocks before they come here, so a time may be a little earlier than the
    /// one before it; one that is much earlier is a clock that went back.
    bool over(const Count& count, std::int64_t now_ms) const {
        return now_ms - count.since_ms >= period_ms_ || count.since_ms - now_ms >= period_ms_;
    }
    Count& count_of(std::string_view key, std::int64_t now_ms);

    const unsigned per_key_, all_;
    const std::int64_t period_ms_;
    std::mutex mutex_;
    Count total_;
    std::map<std::string, Count, std::less<>> counts_;
};

}  // namespace hub
