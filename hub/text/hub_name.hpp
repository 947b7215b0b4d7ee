#pragma once

// What a hub may be called. Pure, any thread. Tested by tests/hub_hubs_test.cpp.

#include <cstddef>
#include <string_view>

namespace hub {

constexpr std::size_t hub_name_bytes_max = 260;

/// 1 to 260 letters, digits, '.', '-' or '_' of ASCII, the first and last a letter or digit.
bool is_hub_name(std::string_view name);

}  // namespace hub
