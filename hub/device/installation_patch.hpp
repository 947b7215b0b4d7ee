#pragma once

// PATCH of an installation (docs/contracts/anh.md 4.3): an array of add, replace and remove
// operations, all applied or none. Pure, any thread.

#include <cstddef>
#include <string_view>

#include "hub/device/handle_check.hpp"
#include "hub/device/installation_json.hpp"
#include "hub/text/wire_error.hpp"
#include "registry/registration.hpp"

namespace hub {

constexpr std::size_t patch_operations_max = 256;

struct PatchedInstallation {
    registry::Installation value;
    bool push_channel_written = false;  ///< the app presented its handle, be it the same
};

/// A Refusal names the operation by its number and changes nothing. Values may be what they are or,
/// as .NET and Java send them, JSON text in a string.
Parsed<PatchedInstallation> patch_installation(const registry::Installation& current,
                                               std::string_view patch,
                                               const NormaliseHandle& normalise,
                                               BadTemplates bad = BadTemplates::refused);

}  // namespace hub
