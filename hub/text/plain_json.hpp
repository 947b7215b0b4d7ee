#pragma once

// JSON as apps and back ends write it, read in one pass: ASCII strings without escapes, whole
// numbers, no surprises. Whatever else there is in a text is left to the full parser, which also
// says what is wrong with it. Pure, any thread.

#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

namespace hub {

/// The value that nlohmann::json::parse() gives, or none: it may be valid all the same.
std::optional<nlohmann::json> parse_plain_json(std::string_view text);

}  // namespace hub
