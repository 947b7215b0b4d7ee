#pragma once

// A time that has just passed, as back ends write one that means "at once".

#include <string>

#include "hub/text/times.hpp"
#include "pns/clock.hpp"

namespace support {

inline std::string just_now() {
    return hub::iso_ms(pns::system_clock().wall_ms() - 60'000);
}

}  // namespace support
