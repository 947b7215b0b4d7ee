#pragma once

// A fixed histogram of times: four buckets an octave from 64 microseconds to 67 seconds, so that a
// percentile read from it is at most a quarter too high. Pure, any thread.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>

namespace hub {

constexpr std::size_t latency_buckets = 82;

/// One push in this many is timed.
constexpr std::uint32_t latency_sample = 16;

inline std::size_t latency_bucket(std::int64_t us) {
    const auto value = static_cast<std::uint64_t>(std::max<std::int64_t>(us, 0));
    if (value < 64) return 0;
    const auto width = static_cast<std::size_t>(std::bit_width(value));
    const auto quarter = static_cast<std::size_t>((value >> (width - 3)) & 3);
    return std::min(1 + (width - 7) * 4 + quarter, latency_buckets - 1);
}

/// The end of a bucket, in microseconds.
inline std::uint64_t latency_bucket_end_us(std::size_t bucket) {
    if (bucket == 0) return 64;
    const std::size_t octave = (bucket - 1) / 4;
    const std::uint64_t quarter = (bucket - 1) % 4;
    return (quarter + 5) << (octave + 4);
}

/// The time within which `share` (0 to 1) of what was timed stayed, in milliseconds; 0 if nothing
/// was timed.
inline double latency_ms(const std::map<std::uint8_t, std::uint64_t>& counts, double share) {
    std::uint64_t total = 0;
    for (const auto& [bucket, count] : counts) total += count;
    if (total == 0) return 0;
    double left = share * static_cast<double>(total);
    for (const auto& [bucket, count] : counts) {
        left -= static_cast<double>(count);
        if (left <= 0) return static_cast<double>(latency_bucket_end_us(bucket)) / 1'000;
    }
    return static_cast<double>(latency_bucket_end_us(counts.rbegin()->first)) / 1'000;
}

}  // namespace hub
