#pragma once

// How parts of a request are read that many handlers look at. Pure, any thread.

#include <cstddef>
#include <optional>
#include <string_view>

#include "hub/http/http.hpp"
#include "hub/text/wire_error.hpp"

namespace hub {

/// Is the header there, be it empty?
bool has_header(const Request& request, std::string_view lower_name);

/// The headers PushHub-...: refuses one that is not known, is blank, is there twice, or steers a
/// send while the route is none (`steers_sends` is false). A guard that is dropped in silence would
/// let a send go to everybody at once.
std::optional<Refusal> check_own_headers(const Request& request, bool steers_sends);

/// A flag of the query: `name`, `name=` and `name=true` set it; `name=false` and its absence do
/// not. Any other value is refused, as are two that differ.
Parsed<bool> read_flag(const Request& request, std::string_view lower_name);

/// A whole number in the query, once; absent: `otherwise`.
Parsed<std::size_t> read_count(const Request& request, std::string_view name, std::size_t least,
                               std::size_t otherwise);

}  // namespace hub
