#pragma once

// Small text operations the codecs share. ASCII rules, no locale. Pure, any thread.

#include <optional>
#include <string>
#include <string_view>

namespace hub {

std::string lower(std::string_view text);
bool same_ignoring_case(std::string_view a, std::string_view b);
std::string_view trimmed(std::string_view text);  ///< without blanks, tabs and line ends around it

/// RFC 3986 unreserved characters stay, all others become %XX.
void append_percent_encoded(std::string& out, std::string_view text);
/// Decodes valid escapes and leaves broken ones as they are; '+' stays '+'.
std::string percent_decoded(std::string_view text);

/// The inside of a JSON string, without its quotes. `text` is well-formed UTF-8.
void append_json(std::string& out, std::string_view text);

/// `text` cut to a length that fits an error message.
std::string shown(std::string_view text);

}  // namespace hub
