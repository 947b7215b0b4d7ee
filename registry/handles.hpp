#pragma once

// The rows that hold a handle. Blocks on disk; any thread.

#include <vector>

#include "registry/keys.hpp"
#include "registry/view.hpp"

namespace registry {

Result<std::vector<Place>> places_of_handle(const View& view, std::uint32_t hub,
                                            std::string_view platform, std::string_view handle,
                                            std::size_t count_max);

}  // namespace registry
