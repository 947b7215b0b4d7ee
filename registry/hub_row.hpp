#pragma once

// A hub in the store.

#include <cstdint>
#include <string>

namespace registry {

/// A hub as stored. `description` is opaque here (hub/ keeps JSON in it).
struct HubRow {
    std::string name;              ///< as written; looked up ignoring ASCII case
    std::uint32_t number = 0;      ///< assigned by the registry, never reused
    std::uint16_t partitions = 8;  ///< fixed at creation
    std::string description;
    std::uint64_t etag = 0;
};

}  // namespace registry
