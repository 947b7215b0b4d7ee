#pragma once

// The answer to a test send (docs/contracts/anh.md 5.6). Pure, any thread.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hub/send/device_results.hpp"

namespace hub {

/// NotificationOutcome with its elements in the order .NET insists on, all of them present;
/// `Results` may be empty. Sorted by platform and registration, so that equal outcomes read equal.
std::string notification_outcome(std::vector<DeviceResult> results);

/// The sentence for one device: the known texts of the real service, else the outcome's name and
/// the reason.
std::string outcome_text(const DeviceResult& result);

}  // namespace hub
