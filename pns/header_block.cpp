// Tested by tests/pns_header_block_test.cpp and tests/fuzz_header_block.cpp, with nghttp2's decoder
// as the judge.

#include "pns/header_block.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pns {

namespace {

constexpr std::size_t static_entries = 61;
constexpr std::size_t coded_max = 8;  // sends at the same time, with headers of their own
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
template <class Bytes>
void number(std::uint8_t pattern, unsigned prefix_bits, std::size_t value, Bytes& out) {
    using Byte = typename Bytes::value_type;
    const std::size_t most = (std::size_t{1} << prefix_bits) - 1;
    if (value < most) return out.push_back(static_cast<Byte>(pattern | value));
    out.push_back(static_cast<Byte>(pattern | most));
    for (value -= most; value >= 128; value >>= 7)
        out.push_back(static_cast<Byte>(value % 128 + 128));
    out.push_back(static_cast<Byte>(value));
}

/// RFC 7541 5.2, not Huffman coded.
template <class Bytes>
void text(std::string_view bytes, Bytes& out) {
    number(0, 7, bytes.size(), out);
    out.insert(out.end(), bytes.begin(), bytes.end());
}

template <class Bytes>
void named(std::uint8_t pattern, unsigned prefix_bits, const H2Header& header, Bytes& out) {
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
    for (; table_bytes_ > bytes; table_.pop_back()) {
        table_bytes_ -= table_.back().size();
        ++state_;
    }
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
    ++state_;
}

void HeaderBlocks::encode(std::span<const H2Header> headers, std::vector<std::uint8_t>& out) {
    tell_size(out);
    for (const H2Header& header : headers) field(header, out);
}

HeaderBlocks::Coded& HeaderBlocks::coded(std::string_view method, std::string_view authority,
                                         const std::shared_ptr<const H2Fields>& common) {
    auto found = std::find_if(coded_.begin(), coded_.end(), [&](const Coded& one) {
        return one.common == common && one.method == method;
    });
    if (found == coded_.end()) {
        if (coded_.size() == coded_max) coded_.pop_back();
        found = coded_.insert(coded_.begin(), Coded{std::string(method), common, {}, {}, 0});
    }
    if (found->table == state_) return *found;
    const std::uint64_t before = state_;
    found->lead.clear();
    field({":method", method}, found->lead);
    field({":scheme", "https"}, found->lead);
    field({":authority", authority}, found->lead);
    found->rest.clear();
    for (const H2Field& one : *common) field({one.name, one.value, one.never_index}, found->rest);
    // What changed the table is said once: the next block refers to it.
    found->table = state_ == before ? state_ : 0;
    return *found;
}

void HeaderBlocks::encode(std::string_view method, std::string_view authority,
                          const std::shared_ptr<const H2Fields>& common, std::string_view path,
                          std::string_view own, std::vector<std::uint8_t>& out) {
    tell_size(out);
    const Coded& known = coded(method, authority, common);
    out.insert(out.end(), known.lead.begin(), known.lead.end());
    out.insert(out.end(), path.begin(), path.end());
    out.insert(out.end(), known.rest.begin(), known.rest.end());
    out.insert(out.end(), own.begin(), own.end());
}

void HeaderBlocks::append_literal(const H2Header& header, std::string& out) {
    named(header.never_index ? never_indexed : literal, 4, header, out);
}

}  // namespace pns
