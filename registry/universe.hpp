#pragma once

// Whom a send may address at all.

#include <cstdint>
#include <string>
#include <vector>

namespace registry {

/// Which registrations a send may address at all; the universe of NOT.
struct Universe {
    enum class Kind : std::uint8_t { any, native, templated } kind = Kind::any;
    std::vector<std::string> platforms;  ///< stored names; empty = all
};

}  // namespace registry
