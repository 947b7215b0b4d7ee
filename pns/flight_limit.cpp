// Tested by tests/pns_flight_limit_test.cpp.

#include "pns/flight_limit.hpp"

#include <algorithm>

namespace pns {

namespace {

/// So long may a request wait behind others, or half of the way if that is longer.
constexpr std::int64_t queueing_us = 5'000;
constexpr std::int64_t known_for_us = 15'000'000;
constexpr double growth = 1.5, shrink_most = 0.5;

}  // namespace

void FlightLimit::answered(std::int64_t now_us, std::int64_t response_us, std::size_t in_flight) {
    response_us = std::max<std::int64_t>(response_us, 1);
    // With so few on the way it is not our queue that one waits in.
    const bool unqueued = in_flight <= least;
    if (unloaded_us_ == 0 || response_us < unloaded_us_ || unqueued) {
        unloaded_us_ = response_us;
        learned_at_us_ = now_us;
        relearning_ = false;
    }
    if (relearning_) return;
    if (now_us - learned_at_us_ >= known_for_us) {
        relearning_ = true;
        return;
    }
    const std::int64_t room_us = std::max(queueing_us, unloaded_us_ / 2);
    const std::int64_t allowed_us = unloaded_us_ + room_us;
    if (response_us > allowed_us) {
        const double share = static_cast<double>(allowed_us) / static_cast<double>(response_us);
        const double fitting = static_cast<double>(in_flight) * std::max(share, shrink_most);
        limit_ = std::max(std::min(limit_, fitting), static_cast<double>(least));
    } else if (response_us <= allowed_us - room_us / 2 && 2 * in_flight > now()) {  // it was used
        limit_ = std::min(limit_ * growth, static_cast<double>(most));
    }
}

}  // namespace pns
