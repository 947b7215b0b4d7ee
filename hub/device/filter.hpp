#pragma once

// `$filter` of registration lists (docs/contracts/anh.md 3.8): which handle is asked for. Pure.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::size_t filter_bytes_max = 8 * 1024;

/// A handle as registrations are looked up by it.
struct HandleQuery {
    std::string platform;  ///< stored name; empty = any platform (`ChannelUri` means all)
    /// Spellings to try in order until one matches: as sent, then percent-decoded. Not normalised,
    /// but for Apple tokens (upper case) and browsers (the stored JSON object).
    std::vector<std::string> handles;
};

/// `text` is the query parameter after URL decoding. Anything but the clients' forms is a 400.
Parsed<HandleQuery> parse_filter(std::string_view text);

}  // namespace hub
