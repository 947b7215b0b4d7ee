#pragma once

// What an update changed of a hub, for the log. Pure, any thread.

#include <string>

#include "hub/device/hub_description.hpp"

namespace hub {

/// "apns new, wns gone, rule Backend has another primary key, ...": names of parts, never what they
/// hold. Empty: nothing but times.
std::string hub_changes(const HubDescription& before, const HubDescription& after);

}  // namespace hub
