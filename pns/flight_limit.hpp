#pragma once

// How many requests one origin may have unanswered at a time. Requests beyond what the network and
// the provider take at once wait in buffers, where nothing can overtake them, not even a push to a
// single user. Pushes that wait in the outlet's queue go out in fair order instead. The limit
// follows the response time, as TCP Vegas follows the round trip: it grows while answers come
// nearly as soon as on an idle network, and shrinks when requests before them delay them. Every so
// often the response time is measured again with few requests under way.
//
// A provider takes longer for one request than for the next. So what counts is the mean of a sample
// of requests, sent one after the other and waited for until nearly all are answered: the sooner
// answers alone would say too little.
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
    /// The next request that is sent belongs to the sample: `sent`, and then one of the others.
    bool wants_sample() const { return sent_ < sample; }
    /// `in_flight`, here and there: unanswered with it.
    void sent(std::int64_t now_us, std::size_t in_flight);
    void answered(std::int64_t now_us, std::int64_t sent_us, std::size_t in_flight);
    /// It will not be answered.
    void lost(std::int64_t sent_us);
    /// The response time without a queue, as far as known; 0: not known.
    std::int64_t unloaded_us() const { return static_cast<std::int64_t>(unloaded_us_); }

  private:
    static constexpr std::size_t sample = 128, sample_enough = 112;

    void begin_sample(std::int64_t now_us);
    void judge(std::int64_t now_us, double response_us);

    double limit_ = 1'024;
    double unloaded_us_ = 0;
    std::int64_t learned_at_us_ = 0;
    bool relearning_ = false;
    // The sample:
    std::int64_t began_at_us_ = 0;
    std::size_t sent_ = 0, answered_ = 0, most_in_flight_ = 0;
    double sum_us_ = 0;
};

}  // namespace pns
