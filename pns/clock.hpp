#pragma once

// Every reading of a clock in pns. Any thread.

#include <cstdint>

namespace pns {

std::int64_t steady_now_us();
std::int64_t steady_now_ms();
std::int64_t wall_now_us();  ///< since 1970 UTC
std::int64_t wall_now_ms();

}  // namespace pns
