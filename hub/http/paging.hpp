#pragma once

// Which page of a list of the JSON routes a request asks for. Pure, any thread.

#include <cstddef>
#include <string>
#include <string_view>

#include "hub/http/http.hpp"
#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::size_t page_rows_preset = 100, page_rows_max = 1'000;

struct AskedPage {
    std::size_t top = page_rows_preset;
    std::string after;  ///< the place behind which it begins; empty: the first page
};

/// `top`, and `continuation`, which must be a token of `list` (continuation.hpp). Who forges one
/// may name any place, so whoever looks there checks it.
Parsed<AskedPage> read_paging(const Request& request, std::string_view list);

}  // namespace hub
