#pragma once

// Where the next page of a list begins, as the text that clients bring back. A token has a check of
// the list and the place, so that one that is damaged, made up or of another list is refused; it is
// no secret. Letters, digits, '-' and '_': it stands in a URL as it is. Pure, any thread.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace hub {

/// Names one list: `kind` of `hub` (its number), and what narrows it, such as the id in the path
/// and the values of the query's filters. A token goes on with the very same list only.
std::string list_name(std::string_view kind, std::uint32_t hub,
                      std::initializer_list<std::string_view> narrowed_by = {});
/// Of a filter that may be absent: the value of `parameter`, told from a blank one.
std::string filter_name(const std::optional<std::string_view>& parameter);

/// `list` as list_name() gives it; the same must be given to read the token.
std::string continuation_token(std::string_view list, std::string_view place);
/// The place; nothing: `token` is none of this list.
std::optional<std::string> continuation_place(std::string_view list, std::string_view token);

}  // namespace hub
