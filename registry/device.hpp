#pragma once

// Rows as the fan-out reads them.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "registry/errc.hpp"
#include "registry/registration.hpp"

namespace registry {

/// One row as the fan-out reads it: views into the DeviceChunk that holds it.
struct Device {
    std::uint32_t number = 0;
    bool present =
        false;  ///< false: deleted since the selection was frozen; nothing else is set then
    bool channel_expired = false;
    /// Another row with the same handle is native as this one, or has a template as this one: one
    /// send may find both. Sometimes true without need: platforms are not compared.
    bool shares_handle = false;
    std::string_view platform;
    std::string_view handle;
    std::string_view template_bytes;   ///< empty = native; decode_template() reads it
    std::uint64_t template_hash = 0;   ///< equal bytes, equal hash, across partitions and restarts
    std::string_view variables_bytes;  ///< empty = none; decode_variables() reads it
    std::string_view registration_id;  ///< of a plain registration; see id_of()
    std::string_view installation_id;  ///< empty: a plain registration
    std::string_view part;             ///< which part of the installation
    std::uint64_t generation = 0;      ///< changes whenever handle or owner of this number changes
    /// At or before the time that holds: an installation may have been presented again since.
    std::int64_t registered_at_ms = 0;
    std::int64_t expires_at_ms = never_ms;  ///< exact where it is over at the time of the load
    /// The positions of the store at which its tags, its user among them, last changed, and its
    /// user did (Selection::position). 0: not since the row was created.
    std::uint64_t audience_at = 0, user_at = 0;
};

/// The id under which the registration of a device of this partition is found.
std::string id_of(const Device& device, std::uint16_t partition);

/// Owns the bytes of the devices it holds. Reused from chunk to chunk to keep its buffers.
struct DeviceChunk {
    std::vector<Device> devices;
    std::vector<std::string> bytes;
};

Result<Template> decode_template(std::string_view bytes);
Result<std::map<std::string, std::string>> decode_variables(std::string_view bytes);

/// Where a row lies.
struct Place {
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    bool templated = false;
    friend bool operator==(const Place&, const Place&) = default;
};

}  // namespace registry
