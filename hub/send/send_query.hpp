#pragma once

// The query of GET /{hub}/sends. Pure, any thread.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "hub/http/http.hpp"
#include "hub/text/wire_error.hpp"
#include "registry/send.hpp"

namespace hub {

constexpr std::size_t sends_page_preset = 50, sends_page_max = 100;

/// `state` (several, with commas), `format`, `from`, `to`, `top`, `continuation`, whose token must
/// be of this list of `hub` (its number).
Parsed<registry::SendQuery> read_send_query(const Request& request, std::uint32_t hub);

/// The token behind a page of what `request` asks for; read_send_query() takes it back.
std::string sends_token(const Request& request, std::uint32_t hub, std::string_view next);

}  // namespace hub
