#pragma once

// What fuzzers of requests share: an oracle that ends the process, refusals, and lines of an input.

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <variant>

#include "hub/text/wire_error.hpp"

namespace support {

inline void require(bool holds) {
    if (!holds) std::abort();
}

/// False if it was refused, as a client is: with a status and in words.
template <class T>
bool taken(const hub::Parsed<T>& parsed) {
    if (hub::ok(parsed)) return true;
    const auto& refusal = std::get<hub::Refusal>(parsed);
    require(refusal.status >= 400 && refusal.status < 500 && !refusal.message.empty());
    return false;
}

/// Takes what stands before the next line end, or all, and the line end.
inline std::string_view take_line(std::string_view& text) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    return line;
}

}  // namespace support
