// Tested by tests/hub_blobs_test.cpp, tests/fuzz_blob_url.cpp.

#include "hub/bulk/byte_range.hpp"

#include <algorithm>
#include <charconv>

namespace hub {

namespace {

std::optional<std::uint64_t> number(std::string_view digits) {
    std::uint64_t value = 0;
    const auto end = digits.data() + digits.size();
    const auto read = std::from_chars(digits.data(), end, value);
    if (digits.empty() || read.ec != std::errc() || read.ptr != end) return std::nullopt;
    return value;
}

}  // namespace

std::optional<ByteRange> read_byte_range(std::string_view text, std::uint64_t size) {
    constexpr std::string_view unit = "bytes=";
    if (!text.starts_with(unit)) return std::nullopt;
    text.remove_prefix(unit.size());
    const auto dash = text.find('-');
    if (dash == std::string_view::npos) return std::nullopt;
    const auto first = number(text.substr(0, dash));
    const auto last = number(text.substr(dash + 1));
    ByteRange range;
    if (!first) {
        if (dash != 0 || !last || *last == 0 || size == 0) return std::nullopt;
        range.count = std::min(*last, size);
        range.first = size - range.count;
        return range;
    }
    if (*first >= size || (last && *last < *first)) return std::nullopt;
    if (!last && dash + 1 < text.size()) return std::nullopt;
    range.first = *first;
    range.count = (last ? std::min(*last, size - 1) : size - 1) - *first + 1;
    return range;
}

}  // namespace hub
