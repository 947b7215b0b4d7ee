#pragma once

// Keeps a send from reaching more devices than its author thinks, or other ones: by the audience
// that the author expects (`PushHub-Expect-Audience: 1200±5%`), and by a ceiling that only
// `PushHub-Allow: broadcast` lifts. Pure, any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hub/http/http.hpp"
#include "hub/process/config.hpp"
#include "hub/send/expected_audience.hpp"

namespace hub {

/// How many devices a send may reach.
struct AudienceBounds {
    std::optional<ExpectedAudience> expected;
    std::uint64_t ceiling = 0;  ///< 0: none
    bool any() const { return expected || ceiling != 0; }
};

/// Why it may not reach as many: nothing was sent.
struct AudienceRefusal {
    std::string_view code;  ///< of the problem
    std::string message;
    std::uint64_t devices = 0;
};

/// The ceiling that the configuration sets for a hub; 0: none.
std::uint64_t audience_ceiling(const Config& config, std::string_view hub);

/// From the headers of the request and the ceiling of the hub.
Parsed<AudienceBounds> read_audience_bounds(const Request& request, const Config& config,
                                            std::string_view hub);

std::optional<AudienceRefusal> check_audience(const AudienceBounds& bounds, std::uint64_t devices);

}  // namespace hub
