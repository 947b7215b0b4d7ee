#pragma once

// How many requests one origin may have unanswered at a time. Requests beyond what the network and
// the provider take at once wait in buffers, where nothing can overtake them, not even a push to a
// single user. Pushes that wait in the outlet's queue go out in fair order instead. The limit
// follows the response time, as TCP Vegas follows the round trip: it grows while answers come
// nearly as soon as on an idle network, and shrinks when requests before them delay them. Every so
// often the response time is measured again with few requests under way.
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
