// Tested by tests/pns_header_block_test.cpp and tests/fuzz_header_block.cpp, with nghttp2's decoder
// as the judge.

#include "pns/header_block.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pns {

namespace {

constexpr std::size_t static_entries = 61;
constexpr std::uint8_t indexed = 0x80, literal_indexed = 0x40, size_update = 0x20,
                       never_indexed = 0x10, literal = 0x00;

struct Known {
    std::string_view name, value;
    std::size_t index;
};
/// Of the static table (RFC 7541 A): whole fields first, then names, as far as requests have them.
constexpr std::array known_fields = {
    Known{":method", "GET", 2},
    Known{":method", "POST", 3},
    Known{":scheme", "https", 7},
};
constexpr std::array known_names = {
    Known{":authority", {}, 1},
    Known{":method", {}, 2},
    Known{":path", {}, 4},
    Known{":scheme", {}, 6},
    Known{"accept", {}, 19},
    Known{"authorization", {}, 23},
    Known{"content-encoding", {}, 26},
    Known{"content-length", {}, 28},
    Known{"content-type", {}, 31},
    Known{"user-agent", {}, 58},
};

std::size_t name_index(std::string_view name) {
    const auto* found = std::find_if(known_names.begin(), known_names.end(),
                                     [&](const Known& known) { return known.name == name; });
    return found == known_names.end() ? 0 : found->index;
}

/// RFC 7541 5.1.
void number(std::uint8_t pattern, unsigned prefix_bits, std::size_t value,
            std::vector<std::uint8_t>& out) {
    const std::size_t most = (std::size_t{1} << prefix_bits) - 1;
    if (value < most) return out.push_back(static_cast<std::uint8_t>(pattern | value));
    out.push_back(static_cast<std::uint8_t>(pattern | most));
    for (value -= most; value >= 128; value >>= 7)
        out.push_back(static_cast<std::uint8_t>(value % 128 + 128));
    out.push_back(static_cast<std::uint8_t>(value));
}

/// RFC 7541 5.2, not Huffman coded.
void text(std::string_view bytes, std::vector<std::uint8_t>& out) {
    number(0, 7, bytes.size(), out);
    out.insert(out.end(), bytes.begin(), bytes.end());
}

void named(std::uint8_t pattern, unsigned prefix_bits, const H2Header& header,
           std::vector<std::uint8_t>& out) {
    const std::size_t index = name_index(header.name);
    number(pattern, prefix_bits, index, out);
    if (index == 0) text(header.name, out);
    text(header.value, out);
}

}  // namespace

void HeaderBlocks::set_limit(std::size_t bytes) {
    lowered_ = lowered_ || bytes < limit_;
    limit_ = bytes;
    least_ = std::min(least_, bytes);
}

void HeaderBlocks::shrink_to(std::size_t bytes) {
    for (; table_bytes_ > bytes; table_.pop_back()) table_bytes_ -= table_.back().size();
}

/// RFC 7541 4.2: the smallest size since the last block, and then the one that holds. A limit that
/// was lowered is answered even if the table was smaller before: some peers wait for it.
void HeaderBlocks::tell_size(std::vector<std::uint8_t>& out) {
    const std::size_t wanted = std::min(limit_, table_bytes_max);
    for (const std::size_t size : {std::min(least_, wanted), wanted}) {
        if (size == size_ && !std::exchange(lowered_, false)) continue;
        number(size_update, 5, size, out);
        shrink_to(size);
        size_ = size;
    }
    least_ = wanted;
    lowered_ = false;
}

void HeaderBlocks::field(const H2Header& header, std::vector<std::uint8_t>& out) {
    if (header.never_index) return named(never_indexed, 4, header, out);
    if (header.name == ":path") return named(literal, 4, header, out);
    for (const Known& known : known_fields) {
        if (known.name == header.name && known.value == header.value)
            return number(indexed, 7, known.index, out);
    }
    for (std::size_t i = 0; i < table_.size(); ++i) {
        if (table_[i].value == header.value && table_[i].name == header.name)
            return number(indexed, 7, static_entries + 1 + i, out);
    }
    Entry entry{std::string(header.name), std::string(header.value)};
    const std::size_t bytes = entry.size();
    // One that takes most of the table would push out what is used.
    if (bytes > size_ / 4) return named(literal, 4, header, out);
    named(literal_indexed, 6, header, out);
    shrink_to(size_ - bytes);
    table_bytes_ += bytes;
    table_.push_front(std::move(entry));
}

void HeaderBlocks::encode(std::span<const H2Header> headers, std::vector<std::uint8_t>& out) {
    tell_size(out);
    for (const H2Header& header : headers) field(header, out);
}

}  // namespace pns
