#include "hub/text/text.hpp"

#include "tagexpr/utf8.hpp"

namespace hub {

std::string shown(std::string_view text) {
    constexpr std::size_t characters_max = 60;
    const std::string_view front = tagexpr::utf8_prefix(text, characters_max);
    return std::string(front) + (front.size() < text.size() ? "..." : "");
}

}  // namespace hub
