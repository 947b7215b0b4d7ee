#pragma once

// The one table of the REST surface: method, pattern, right, body bound, handler
// (hub/http/route.hpp says what a row means).

#include <span>

#include "hub/http/route.hpp"

namespace hub {

std::span<const Route> routes();

}  // namespace hub
