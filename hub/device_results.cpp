// Tested by tests/hub_device_results_test.cpp.

#include "hub/device_results.hpp"

#include <utility>

namespace hub {

bool ResultsRoom::take() {
    if (held_.fetch_add(1, std::memory_order_relaxed) < results_max_) return true;
    held_.fetch_sub(1, std::memory_order_relaxed);
    return false;
}

DeviceResults::DeviceResults(Keep keep, std::shared_ptr<ResultsRoom> room)
    : keep_(keep), room_(std::move(room)) {}

DeviceResults::~DeviceResults() {
    room_->give_back(results_.size());
}

void DeviceResults::add(DeviceResult&& result) {
    if (!wants(result.outcome, !result.new_handle.empty())) return;
    std::lock_guard lock(mutex_);
    if (results_.size() >= results_max || !room_->take()) {
        leave_out();
        return;
    }
    results_.push_back(std::move(result));
    full_.store(results_.size() >= results_max, std::memory_order_relaxed);
}

std::vector<DeviceResult> DeviceResults::snapshot() const {
    std::lock_guard lock(mutex_);
    return results_;
}

std::vector<DeviceResult> DeviceResults::take() {
    std::lock_guard lock(mutex_);
    room_->give_back(results_.size());
    full_.store(false, std::memory_order_relaxed);
    return std::exchange(results_, {});
}

}  // namespace hub
