#pragma once

// How handles die and move: what providers say of them, and what became of it.

#include <cstddef>
#include <cstdint>
#include <string>

namespace registry {

/// Compare-and-delete of a handle that a provider called dead (docs/contracts/pns.md 0: PRUNE,
/// PRUNE-IF-OLDER). The row that the push went to must still be that device with that handle. Every
/// other row of the hub with this handle and platform follows, each unless its own app has
/// presented the handle since.
struct Retirement {
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    std::uint64_t generation = 0;  ///< as read when the push was sent
    std::string handle;
    std::int64_t dead_since_ms = 0;  ///< retire only if the handle was presented before
    std::string reason;              ///< the provider's word
    std::int64_t at_ms = 0;          ///< now, for the record
    /// When the push was made: an app that presented the handle later keeps it. 0 = not compared.
    std::int64_t asked_at_ms = 0;
    std::string send_id{}, installation_id{}, registration_id{};  ///< for the record only
    std::uint64_t ticket = 0;  ///< of the gate that holds it; 0 = none
};

/// A channel that was retired: a registration, or all parts of an installation with this channel.
struct Retired {
    std::size_t index = 0;  ///< in what retire() was given; the same for all that share the handle
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    std::string registration_id;
    std::string installation_id;  ///< empty: a plain registration
    std::int64_t registered_at_ms = 0;
};

/// A provider named a new handle for the old one (ADM): replaced only if generation and handle
/// still match. Every other live row of the hub with this handle and platform follows.
struct Rotation {
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    std::uint64_t generation = 0;
    std::string old_handle;
    std::string new_handle;
    std::int64_t at_ms = 0;
};

/// What a sweep over expiry times did.
struct Swept {
    std::size_t seen = 0, removed = 0;
};

}  // namespace registry
