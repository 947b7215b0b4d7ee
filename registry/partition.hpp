#pragma once

// Where things live and what an installation expands to. Pure.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "registry/keys.hpp"

namespace registry {

/// Partition of an installation id. Ids that differ in ASCII case alone share one: so it was when
/// they shared a tag, and rows do not move.
std::uint16_t partition_of(std::string_view id, std::uint16_t partitions);
/// Partition of a registration id: its third group minus one if that is a partition, else by hash.
std::uint16_t partition_of_registration(std::string_view id, std::uint16_t partitions);

/// Tags that one user or one installation has: `$UserId:{id}` and `$InstallationId:{id}`.
bool names_one(std::string_view tag);
/// The id in `$InstallationId:{id}`. Such tags have no postings: the installation knows its parts.
std::optional<std::string_view> installation_named(std::string_view tag);
/// The id in `$UserId:{id}`. Such tags have postings only if many rows carry them (UserRows).
std::optional<std::string_view> user_named(std::string_view tag);

/// A row with the tags that hold for it, whoever carries them.
struct TaggedRow {
    Row row;
    std::vector<std::string> tags;
};

struct Part {
    std::string name;
    TaggedRow tagged;  ///< generation and registration id left empty
};
/// What an installation is made of: the native part and one per template, the same for each
/// secondary tile. Tags of the native part: the system tags and the installation's. Templates add
/// their own tags and their name. A tile is an audience of its own: its parts carry the system tags
/// and the tile's tags.
std::vector<Part> expand(const Installation& installation);

/// Numbers of the parts whose channel has not expired: what its tag leads to.
Bitmap live_parts(const InstallationRecord& record);

/// The registration a row shows; `owner` is the installation of a part, null for plain rows.
Result<Registration> to_registration(const Row& row, const Installation* owner);

}  // namespace registry
