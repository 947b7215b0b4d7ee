#pragma once

// Whom a send would reach, counted.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "registry/send.hpp"
#include "registry/universe.hpp"
#include "tagexpr/expression.hpp"

namespace registry {

/// Whom a send would reach, and why.
struct AudienceQuery {
    tagexpr::Plan plan;
    Universe universe;
    std::vector<std::string> platforms;  ///< stored names to count by
    /// Set: measures each node of the plan with this clock, in nanoseconds.
    std::function<std::int64_t()> clock_ns;
};
struct Audience {
    struct ByPlatform {
        std::string platform;
        std::uint64_t native = 0;
        std::uint64_t templated = 0;
    };
    struct Node {
        std::uint64_t devices = 0;
        std::int64_t spent_ns = 0;
    };
    Selection selection;
    std::vector<ByPlatform> platforms;  ///< as asked for
    std::vector<Node> nodes;            ///< of the plan; empty without a clock
};

}  // namespace registry
