#pragma once

// How many requests one origin may have unanswered at a time. What is sent beyond what the way and
// the provider take at once waits in buffers where nothing can overtake it any more, not even a
// push to a single user; what waits in the outlet's queue goes out in fair order. The limit follows
// the response time, as TCP Vegas and its kin follow the round trip: it grows while answers come
// nearly as soon as they do when nothing waits, and shrinks when they come later because of the
// requests before them. Every so often the way is measured again with few requests on it.
//
// Pure; one loop.

#include <cstddef>
#include <cstdint>

namespace pns {

class FlightLimit {
  public:
    static constexpr std::size_t least = 64, most = 1u << 20;

    /// Requests that may be unanswered at a time.
    std::size_t now() const { return relearning_ ? least : static_cast<std::size_t>(limit_); }
    /// One request of those sent since the last call was answered now, after `response_us`;
    /// `in_flight` is how many were unanswered when it was sent.
    void answered(std::int64_t now_us, std::int64_t response_us, std::size_t in_flight);
    /// The response time without a queue, as far as known; 0: not known.
    std::int64_t unloaded_us() const { return unloaded_us_; }

  private:
    double limit_ = 1'024;
    std::int64_t unloaded_us_ = 0;
    std::int64_t learned_at_us_ = 0;
    bool relearning_ = false;
};

}  // namespace pns
