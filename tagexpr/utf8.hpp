#pragma once

// UTF-8 as tags and the codecs of the hub need it. Pure, any thread.

#include <cstddef>
#include <string_view>

namespace tagexpr {

/// Bytes of the well-formed character at the front of `text`, 0 if there is none.
std::size_t utf8_length(std::string_view text);
bool is_utf8(std::string_view text);
/// Code points in well-formed `text`.
std::size_t utf8_count(std::string_view text);
/// The first `count` code points of well-formed `text`.
std::string_view utf8_prefix(std::string_view text, std::size_t count);

}  // namespace tagexpr
