#pragma once

// GET messages/{id} (docs/contracts/anh.md 6.1). Pure, any thread.

#include <string>
#include <string_view>

#include "registry/send.hpp"

namespace hub {

/// `location` is the send's URL with scheme sb. Elements in the order .NET insists on; unknown
/// times and empty lists are left out: an empty *OutcomeCounts would break the JavaScript SDK.
std::string notification_details(const registry::Send& send, const registry::Progress& progress,
                                 std::string_view location,
                                 std::string_view error_details_url = {});

std::string_view state_name(registry::SendState state);

}  // namespace hub
