#pragma once

#include <cstdint>

namespace hub {

/// Wall clock in milliseconds since 1970 UTC. The only reading of it in hub/.
std::int64_t now_ms();

}  // namespace hub
