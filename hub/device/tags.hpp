#pragma once

// The rules for tags of registrations and installations (docs/contracts/anh.md 3.3, 8.1). Pure.

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::size_t tag_characters_max = 120;
constexpr std::size_t tags_joined_bytes_max = 8000;

/// Letters (any script), digits and `_@#.:-`; no leading `$`; the comma-joined length is bounded.
std::optional<Refusal> check_tags(const std::vector<std::string>& tags);

/// Splits `a, b,c`, trims blanks, drops empty and repeated tags (ignoring ASCII case), checks.
Parsed<std::vector<std::string>> parse_tag_list(std::string_view text);

/// Drops each tag that stands before, ignoring ASCII case. Linear: lists are read whole and freed
/// of repetitions once, since a search at each tag costs a tenth of a second for 64 KiB of them.
void keep_first_of_each(std::vector<std::string>& tags);

std::string join_tags(const std::vector<std::string>& tags);

/// Installation and user ids: letters, digits and `-_@#.:=`, so that they fit into system tags.
std::optional<Refusal> check_id(std::string_view what, std::string_view id);

}  // namespace hub
