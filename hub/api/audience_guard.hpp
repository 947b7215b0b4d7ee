#pragma once

// Keeps a send from reaching more devices than its author thinks, or other ones: by the audience
// that the author expects (`PushHub-Expect-Audience: 1200±5%`), and by a ceiling that only
// `PushHub-Allow: broadcast` lifts.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "hub/api/handlers.hpp"
#include "hub/process/config.hpp"
#include "registry/registry.hpp"

namespace hub {

/// 0: none.
std::uint64_t audience_ceiling(const Config& config, std::string_view hub);

/// The answer to a send that may not reach `count` devices: 400 for headers that cannot be read,
/// 409 with the count.
std::optional<Response> refuse_audience(const Request& request, const Config& config,
                                        std::string_view hub, std::uint64_t count);

/// The same for a send that waits for its time, with its audience as it is now. Nothing is selected
/// if neither a header nor a ceiling asks for it.
pns::Task<std::optional<Response>> refuse_scheduled_audience(const Call& call,
                                                             const registry::Send& send);

}  // namespace hub
