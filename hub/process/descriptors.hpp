#pragma once

// How the descriptors that the system gives to the process are shared: the store must always get
// one, so connections get what it leaves.

#include <cstddef>
#include <optional>

namespace hub {

struct Config;

struct DescriptorShares {
    std::size_t connections_max = 0;  ///< inbound
    /// The system gives the lowest free number, so a connection with this number or a higher one
    /// says that only what belongs to the store and to files is left.
    int connections_below = 0;
    int store_tables_max = -1;  ///< open at a time; -1: all
};

/// Raises the soft limit to the hard one. How many descriptors the process may have then.
std::size_t raise_descriptor_limit();

/// Nothing: too few for a hub.
std::optional<DescriptorShares> share_descriptors(std::size_t limit, const Config& config);
constexpr std::size_t descriptors_min = 256;  ///< with these there is a hub, if a small one

}  // namespace hub
