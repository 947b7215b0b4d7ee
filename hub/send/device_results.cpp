// Tested by tests/hub_device_results_test.cpp.

#include "hub/send/device_results.hpp"

#include <algorithm>
#include <utility>

#include "hub/send/tally.hpp"

namespace hub {

std::vector<registry::DeviceFailure> failures_of(const std::vector<DeviceResult>& results) {
    std::vector<registry::DeviceFailure> failures;
    for (const DeviceResult& result : results) {
        if (!is_failure(result.outcome) && result.new_handle.empty()) continue;
        registry::DeviceFailure& failure = failures.emplace_back();
        failure.partition = result.partition;
        failure.number = result.number;
        failure.platform = result.platform;
        failure.outcome = pns::outcome_name(result.outcome);
        failure.handle = result.handle;
        failure.registration_id = result.registration_id;
        failure.installation_id = result.installation_id;
        failure.new_handle = result.new_handle;
        failure.at_ms = result.at_ms;
        failure.reason = result.reason;
    }
    return failures;
}

DeviceResult failed_before(registry::DeviceFailure&& failure) {
    DeviceResult result;
    result.partition = failure.partition;
    result.number = failure.number;
    result.platform = std::move(failure.platform);
    result.outcome = outcome_by_name(failure.outcome);
    result.handle = std::move(failure.handle);
    result.registration_id = std::move(failure.registration_id);
    result.installation_id = std::move(failure.installation_id);
    result.new_handle = std::move(failure.new_handle);
    result.at_ms = failure.at_ms;
    result.reason = std::move(failure.reason);
    return result;
}

namespace {
constexpr std::uint64_t places_at_once_max = 16;  // so that a failure seldom asks for a place
}

DeviceResults::DeviceResults(Keep keep, Shares room, std::uint32_t hub)
    : keep_(keep), room_(std::move(room)), hub_(hub) {}

void DeviceResults::add(DeviceResult&& result) {
    if (!wants(result.outcome, !result.new_handle.empty())) return;
    std::lock_guard lock(mutex_);
    if (results_.size() >= results_max) return;
    const std::uint64_t places = place_.count();
    if (results_.size() == places)
        place_.add(room_.take(hub_, std::clamp<std::uint64_t>(places, 1, places_at_once_max)));
    if (results_.size() == place_.count()) return;
    results_.push_back(std::move(result));
    full_.store(results_.size() >= results_max, std::memory_order_relaxed);
}

std::vector<DeviceResult> DeviceResults::snapshot(std::size_t from) const {
    std::lock_guard lock(mutex_);
    const auto skipped = static_cast<std::ptrdiff_t>(std::min(from, results_.size()));
    return {results_.begin() + skipped, results_.end()};
}

}  // namespace hub
