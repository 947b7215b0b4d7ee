#pragma once

// Appending and reading the primitives that the grammars of keys.hpp are made of. Reading is
// sticky: after the first bad byte every read gives zero or empty and ok() stays false.

#include <cstdint>
#include <string>
#include <string_view>

namespace registry {

class ByteWriter {
  public:
    explicit ByteWriter(std::string& out) : out_(out) {}
    void u8(std::uint8_t value) { out_.push_back(static_cast<char>(value)); }
    void u16_be(std::uint16_t value) { big_endian(value, 2); }
    void u32_be(std::uint32_t value) { big_endian(value, 4); }
    void u64_be(std::uint64_t value) { big_endian(value, 8); }
    void u16_le(std::uint16_t value) {
        u8(static_cast<std::uint8_t>(value & 0xff));
        u8(static_cast<std::uint8_t>(value >> 8));
    }
    void varint(std::uint64_t value) {
        for (; value >= 0x80; value >>= 7) u8(static_cast<std::uint8_t>(value | 0x80));
        u8(static_cast<std::uint8_t>(value));
    }
    void zigzag(std::int64_t value) {
        const auto bits = static_cast<std::uint64_t>(value);
        varint((bits << 1) ^ (value < 0 ? ~std::uint64_t{0} : 0));
    }
    void text(std::string_view value) {
        varint(value.size());
        out_.append(value);
    }
    void raw(std::string_view value) { out_.append(value); }

  private:
    void big_endian(std::uint64_t value, int width) {
        for (int shift = 8 * (width - 1); shift >= 0; shift -= 8) {
            u8(static_cast<std::uint8_t>(value >> shift));
        }
    }
    std::string& out_;
};

class ByteReader {
  public:
    explicit ByteReader(std::string_view in) : rest_(in) {}
    bool ok() const { return ok_; }
    bool at_end() const { return ok_ && rest_.empty(); }
    std::size_t left() const { return rest_.size(); }

    std::uint8_t u8() { return static_cast<std::uint8_t>(big_endian(1)); }
    std::uint16_t u16_be() { return static_cast<std::uint16_t>(big_endian(2)); }
    std::uint32_t u32_be() { return static_cast<std::uint32_t>(big_endian(4)); }
    std::uint64_t u64_be() { return big_endian(8); }
    std::uint64_t varint() {
        if (!rest_.empty() && static_cast<std::uint8_t>(rest_.front()) < 0x80) {
            const auto small = static_cast<std::uint8_t>(rest_.front());
            rest_.remove_prefix(1);
            return small;
        }
        std::uint64_t value = 0;
        for (unsigned shift = 0; shift < 64; shift += 7) {
            const std::uint8_t byte = u8();
            if (shift == 63 && byte > 1) break;
            value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
            if ((byte & 0x80) == 0) return ok_ ? value : 0;
        }
        return fail();
    }
    std::int64_t zigzag() {
        const std::uint64_t bits = varint();
        return static_cast<std::int64_t>((bits >> 1) ^ ((bits & 1) != 0 ? ~std::uint64_t{0} : 0));
    }
    std::string_view text() { return raw(varint()); }
    std::string_view raw(std::uint64_t size) {
        if (!ok_ || size > rest_.size()) {
            fail();
            return {};
        }
        const std::string_view value = rest_.substr(0, size);
        rest_.remove_prefix(size);
        return value;
    }
    /// A count of elements that take at least one byte each: more than what is left is corrupt.
    std::uint64_t count() {
        const std::uint64_t value = varint();
        return value <= rest_.size() ? value : fail();
    }
    std::uint64_t fail() {
        ok_ = false;
        rest_ = {};
        return 0;
    }

  private:
    std::uint64_t big_endian(std::size_t width) {
        std::uint64_t value = 0;
        for (const char byte : raw(width)) value = (value << 8) | static_cast<std::uint8_t>(byte);
        return value;
    }
    std::string_view rest_;
    bool ok_ = true;
};

}  // namespace registry
