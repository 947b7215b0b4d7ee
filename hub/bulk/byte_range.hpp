#pragma once

// The part of a blob that a request asks for (RFC 9110 14). Pure, any thread.

#include <cstdint>
#include <optional>
#include <string_view>

namespace hub {

struct ByteRange {
    std::uint64_t first = 0, count = 0;
};

/// `bytes=a-b`, `bytes=a-`, `bytes=-n` of a blob of `size` bytes. Nothing: not one that can be
/// served.
std::optional<ByteRange> read_byte_range(std::string_view text, std::uint64_t size);

}  // namespace hub
