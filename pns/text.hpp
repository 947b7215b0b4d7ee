#pragma once

// Small operations on text, for pns and all that is built on it. ASCII rules, no locale. Pure, any
// thread; every function takes arbitrary bytes.

#include <optional>
#include <string>
#include <string_view>

namespace pns {

std::string lower(std::string_view text);
bool same_ignoring_case(std::string_view a, std::string_view b);
std::string_view trimmed(std::string_view text);  ///< without blanks, tabs and line ends around it
bool is_printable(std::string_view text);         ///< only U+0021..U+007E

int hex_value(char c);                       ///< 0 to 15, -1 for what is no hex digit
std::string to_hex(std::string_view bytes);  ///< lower case
std::optional<std::string> from_hex(std::string_view text);

/// RFC 3986 unreserved: letters, digits, `-`, `.`, `_`, `~`.
bool is_unreserved(char c);
/// Unreserved characters stay, all others become %XX.
void append_percent_encoded(std::string& out, std::string_view text);
/// Decodes valid escapes and leaves broken ones as they are.
std::string percent_decoded(std::string_view text, bool plus_is_blank = false);

/// The inside of a JSON string, without its quotes.
void append_json_escaped(std::string& out, std::string_view text);

}  // namespace pns
