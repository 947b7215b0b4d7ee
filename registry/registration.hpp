#pragma once

// The values that the registry stores. Plain data: they are validated before they come here, and
// not again. Times are milliseconds since 1970 UTC, decided by the caller: the registry reads no
// clock.

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace registry {

constexpr std::int64_t never_ms = std::numeric_limits<std::int64_t>::max();

/// Header lists keep their order and spelling.
using Headers = std::vector<std::pair<std::string, std::string>>;

/// A device's own rendering of template sends (docs/contracts/anh.md 3.2, 4.1, 7).
struct Template {
    std::string name;
    std::string body;
    Headers headers;
    std::string expiry;             ///< Apple only, expression or literal; empty = none
    std::string priority;           ///< Apple only; empty = none
    std::vector<std::string> tags;  ///< installations: tags of this template alone
    friend bool operator==(const Template&, const Template&) = default;
};

/// Ids of registrations that belong to an installation are made by the registry and begin with a
/// number from here on. Such an id cannot be given to a registration: errc::gone.
constexpr std::uint64_t part_ids_from = 8'000'000'000'000'000'000;

/// One addressable row: what the Atom surface shows. Registrations that an installation expands to
/// are computed from it and carry its id.
struct Registration {
    std::string id;        ///< `<int64>-<int64>-<n>`
    std::string platform;  ///< the platform's stored name: apns, fcmv1, wns, adm, gcm, mpns, baidu,
                           ///< browser, xiaomi
    std::string handle;    ///< canonical spelling (pns::Platform::normalise_handle)
    std::vector<std::string> tags;  ///< as written; for parts of an installation the effective set
    std::optional<Template> body;   ///< set = template registration
    std::map<std::string, std::string> push_variables;
    std::string secondary_tile;         ///< WNS/MPNS tile id; empty = primary tile
    std::string installation_id;        ///< empty unless derived from an installation
    std::uint64_t etag = 0;             ///< starts at 1, +1 per write; assigned by the registry
    std::int64_t registered_at_ms = 0;  ///< last time the app itself presented the handle
    std::int64_t expires_at_ms = never_ms;
    bool channel_expired = false;  ///< installation parts only: the provider called the handle dead
    friend bool operator==(const Registration&, const Registration&) = default;
};

struct SecondaryTile {
    std::string push_channel;
    bool push_channel_expired = false;
    std::vector<std::string> tags;
    std::map<std::string, Template> templates;  ///< by name
    friend bool operator==(const SecondaryTile&, const SecondaryTile&) = default;
};

/// One app on one device (docs/contracts/anh.md 4.1).
struct Installation {
    std::string id;
    std::string user_id;  ///< empty = none
    std::string platform;
    std::string push_channel;  ///< canonical handle
    bool push_channel_expired = false;
    bool push_channel_is_object = false;  ///< browser channels: answer in the form that was written
    std::int64_t expires_at_ms = never_ms;
    std::uint16_t expires_ticks = 0;  ///< of 100 ns behind expires_at_ms, for whoever reads it back
    std::int64_t registered_at_ms = 0;  ///< last time the app presented push_channel
    std::int64_t updated_at_ms = 0;
    std::vector<std::string> tags;
    std::map<std::string, std::string> push_variables;
    std::map<std::string, Template> templates;             ///< by name
    std::map<std::string, SecondaryTile> secondary_tiles;  ///< by tile id
    std::uint64_t version = 0;  ///< +1 per write; assigned by the registry; for optimistic PATCH
    friend bool operator==(const Installation&, const Installation&) = default;
};

/// If-Match of a registration write.
struct Precondition {
    enum class Kind : std::uint8_t { none, any, etag } kind = Kind::none;  ///< any: must exist
    std::uint64_t etag = 0;
};

/// Registrations of one page, ordered by id, and where the next page starts.
struct Page {
    std::vector<Registration> registrations;
    std::string next;  ///< opaque; empty = last page
};

}  // namespace registry
