#pragma once

// Subscriptions that the browser behind the Web Push simulator made. Pure; any thread.

#include <string>
#include <string_view>

#include "pns/sim/credentials.hpp"

namespace pns::sim {

/// The canonical handle of the subscription with this endpoint, which must be canonical itself.
std::string subscription(const Trust& trust, std::string_view endpoint);

}  // namespace pns::sim
