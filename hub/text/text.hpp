#pragma once

// Small operations on text that the codecs share: those of pns, and what only the hub needs.

#include <string>
#include <string_view>

#include "pns/text.hpp"

namespace hub {

using pns::append_json_escaped;
using pns::append_percent_encoded;
using pns::lower;
using pns::percent_decoded;
using pns::same_ignoring_case;
using pns::trimmed;

/// `text` cut to a length that fits an error message. Pure, any thread.
std::string shown(std::string_view text);

}  // namespace hub
