#pragma once

// Searching for devices: installations, and registrations that belong to none. Blocks on disk; any
// thread.
//
// Order: installations by id ignoring case, then registrations by id. Both ids are given once and
// stay, so that paging needs no memory between pages: a device that is there and matches from the
// first page to the last is listed once, and none is listed twice, whatever else changes meanwhile.

#include <string>
#include <vector>

#include "registry/device_query.hpp"
#include "registry/view.hpp"

namespace registry {

Result<DevicePage> find_devices(const Views& views, std::uint32_t hub, const DeviceQuery& query);

/// Ids of installations of this user, live or expired, at most `count_max`.
Result<std::vector<std::string>> installations_of_user(const Views& views, std::uint32_t hub,
                                                       std::string_view user_id,
                                                       std::size_t count_max);

}  // namespace registry
