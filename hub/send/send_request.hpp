#pragma once

// A send as the back end asked for it (docs/contracts/anh.md 5.1): headers and body become a
// registry::Send, its expression a plan. Shared by the handlers of sends and by what fires
// scheduled ones. Pure, any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hub/http/http.hpp"
#include "hub/process/config.hpp"
#include "hub/text/wire_error.hpp"
#include "registry/registry.hpp"

namespace hub {

/// A send gives up what is left of it after this long (docs/contracts/anh.md 5.2).
constexpr std::int64_t undelivered_ms_max = 30 * 60'000;

/// Everything of a send but its audience: checked, with a fresh id.
Parsed<registry::Send> read_send(const Request& request, std::string body, const Config& config);

/// ServiceBusNotification-Tags, empty if there is no such header, which means everybody. A blank
/// header is refused: it comes from a list of tags that was empty.
Parsed<std::string> read_tag_expression(const Request& request);

/// Refuses the handle of a direct send where tags say who gets it: without `?direct` it would go to
/// everybody.
std::optional<Refusal> check_no_handle(const Request& request);

/// A tag expression as a plan; empty: everybody.
Parsed<tagexpr::Plan> plan_of(std::string_view expression, const Config& config);

/// Whom a send may address at all: native registrations of its platform, or all templates.
registry::Universe universe_of(const registry::Send& send, const Config& config);

}  // namespace hub
