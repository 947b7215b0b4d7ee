// Tested by tests/pns_flight_limit_test.cpp.

#include "pns/flight_limit.hpp"

#include <algorithm>

namespace pns {

namespace {

/// So long may a request wait behind others, or half of the way if that is longer.
constexpr double queueing_us = 5'000;
constexpr std::int64_t known_for_us = 30'000'000;
constexpr double growth = 1.5, shrink_most = 0.5;

}  // namespace

void FlightLimit::begin_sample(std::int64_t now_us) {
    began_at_us_ = now_us;
    sent_ = answered_ = most_in_flight_ = 0;
    sum_us_ = 0;
}

void FlightLimit::sent(std::int64_t now_us, std::size_t in_flight) {
    if (relearning_ && in_flight > least) return begin_sample(now_us);
    ++sent_;
    most_in_flight_ = std::max(most_in_flight_, in_flight);
}

void FlightLimit::lost(std::int64_t sent_us) {
    if (sent_us >= began_at_us_ && sent_ > answered_) --sent_;
}

void FlightLimit::answered(std::int64_t now_us, std::int64_t sent_us, std::size_t in_flight) {
    if (sent_us < began_at_us_) return;
    most_in_flight_ = std::max(most_in_flight_, in_flight);
    ++answered_;
    sum_us_ += static_cast<double>(now_us - sent_us);
    if (answered_ < sample_enough) return;
    judge(now_us, std::max(sum_us_ / static_cast<double>(answered_), 1.0));
    begin_sample(now_us);
}

void FlightLimit::judge(std::int64_t now_us, double response_us) {
    // With so few on the way it is not our queue that one waits in.
    const bool unqueued = most_in_flight_ <= least;
    if (unloaded_us_ == 0 || response_us < unloaded_us_ || unqueued) {
        unloaded_us_ = response_us;
        learned_at_us_ = now_us;
        relearning_ = false;
    }
    if (now_us - learned_at_us_ >= known_for_us) {
        relearning_ = true;
        return;
    }
    const double room_us = std::max(queueing_us, unloaded_us_ / 2);
    const double allowed_us = unloaded_us_ + room_us;
    const auto in_flight = static_cast<double>(most_in_flight_);
    if (response_us > allowed_us) {
        const double fitting = in_flight * std::max(allowed_us / response_us, shrink_most);
        limit_ = std::max(std::min(limit_, fitting), static_cast<double>(least));
    } else if (response_us <= allowed_us - room_us / 2 && 2 * in_flight > limit_) {  // it was used
        limit_ = std::min(limit_ * growth, static_cast<double>(most));
    }
}

}  // namespace pns
