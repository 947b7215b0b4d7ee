#pragma once

// Where the next page of a list begins, as the text that clients bring back. A token has a check of
// the list and the place, so that one that is damaged, made up or of another list is refused; it is
// no secret. Letters, digits, '-' and '_': it stands in a URL as it is. Pure, any thread.

#include <optional>
#include <string>
#include <string_view>

namespace hub {

/// `list` names the list and what it is a list of; the same must be given to read the token.
std::string continuation_token(std::string_view list, std::string_view place);
/// The place; nothing: `token` is none of this list.
std::optional<std::string> continuation_place(std::string_view list, std::string_view token);

}  // namespace hub
