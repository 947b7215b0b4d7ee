#pragma once

// Which characters tags and ids are made of besides a few ASCII signs. Pure, any thread.

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tagexpr {

/// The code point of one well-formed UTF-8 character.
std::uint32_t code_point(std::string_view character);

/// Bytes of the letter or digit of any script at the front of `text`, 0 if there is none. The marks
/// that scripts put on letters count; blanks, signs, emoji and what is not seen do not.
std::size_t letter_length(std::string_view text);

}  // namespace tagexpr
