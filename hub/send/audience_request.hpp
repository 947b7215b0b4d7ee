#pragma once

// The body of POST /{hub}/audience. Pure, any thread.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::size_t audience_sample_max = 100;

struct AudienceRequest {
    std::string tag_expression;  ///< empty: everybody
    std::string format;          ///< as of a send; empty: registrations of every kind
    bool explain = false;
    std::size_t sample = 0;             ///< how many of the devices to name
    std::optional<std::uint64_t> most;  ///< a larger audience is refused
};

/// A JSON object; members that are not known are refused, so that a misspelt guard guards.
Parsed<AudienceRequest> parse_audience_request(std::string_view body);

}  // namespace hub
