#pragma once

// What the system holds of a connection's output. Linux.

#include <cstddef>
#include <cstdint>
#include <optional>

namespace hub {

/// Bytes that were written to the socket and that the other side has not taken.
std::size_t unread_bytes(int descriptor);
/// Bytes that the other side has taken since the connection began; nothing: the system does not
/// say.
std::optional<std::uint64_t> taken_bytes(int descriptor);
/// Lets the socket take no more than about `bytes` that it cannot send yet.
void bound_unsent_bytes(int descriptor, int bytes);

}  // namespace hub
