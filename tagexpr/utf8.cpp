#include "tagexpr/utf8.hpp"

#include <cstdint>
#include <cstring>

namespace tagexpr {
namespace {

bool continues(char c) {
    return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

}  // namespace

std::size_t utf8_length(std::string_view text) {
    if (text.empty()) return 0;
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) return 1;
    std::size_t length = 0;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (first >= 0xC2 && first <= 0xDF) {
        length = 2;
    } else if (first >= 0xE0 && first <= 0xEF) {
        length = 3;
        if (first == 0xE0) low = 0xA0;
        if (first == 0xED) high = 0x9F;
    } else if (first >= 0xF0 && first <= 0xF4) {
        length = 4;
        if (first == 0xF0) low = 0x90;
        if (first == 0xF4) high = 0x8F;
    }
    if (length == 0 || text.size() < length || byte(1) < low || byte(1) > high) return 0;
    for (std::size_t i = 2; i < length; ++i) {
        if (!continues(text[i])) return 0;
    }
    return length;
}

bool is_utf8(std::string_view text) {
    constexpr std::uint64_t high_bits = 0x8080'8080'8080'8080;
    while (!text.empty()) {
        std::uint64_t eight = high_bits;
        if (text.size() >= sizeof eight) std::memcpy(&eight, text.data(), sizeof eight);
        if ((eight & high_bits) == 0) {  // ASCII
            text.remove_prefix(sizeof eight);
            continue;
        }
        const std::size_t length = utf8_length(text);
        if (length == 0) return false;
        text.remove_prefix(length);
    }
    return true;
}

std::size_t utf8_count(std::string_view text) {
    std::size_t count = 0;
    for (const char c : text) count += continues(c) ? 0 : 1;
    return count;
}

std::string_view utf8_prefix(std::string_view text, std::size_t count) {
    std::size_t at = 0;
    while (at < text.size()) {
        if (!continues(text[at]) && count-- == 0) break;
        ++at;
    }
    return text.substr(0, at);
}

}  // namespace tagexpr
