// How handles die and move without the app: retired, rotated, expired.
//
// All of it runs on the writer's thread, in a batch. A provider's word counts only for the row,
// generation and handle that it was about: whatever the app wrote since wins. The sweep takes
// minutes that are over, a bounded number of rows a batch; a row that ends later is moved to its
// minute, and one that has ended is removed with the installation that it is a part of.

#include <algorithm>

#include "registry/changes.hpp"

namespace registry {
namespace {

/// The row a provider's answer was about, if it still is that device with that handle.
std::optional<Row> same_device(Transaction& tx, std::uint32_t hub, Address address,
                               std::uint64_t generation, const std::string& handle) {
    auto row = tx.row(hub, address);
    if (!row || row->generation != generation || row->handle != handle) return std::nullopt;
    return row;
}

/// The installation that owns `row`; a fault if there is none.
std::optional<InstallationRecord> owner_of(Transaction& tx, std::uint32_t hub, const Row& row) {
    auto owner = tx.installation(hub, row.installation_id);
    const bool tile_known =
        owner && (row.tile.empty() || owner->value.secondary_tiles.contains(row.tile));
    if (!tile_known) tx.set_fault(make_error_code(errc::corrupt));
    return owner;
}

/// Has the app presented the handle after it was found dead, or after the push that found it so?
bool presented_since(const Retirement& dead, std::int64_t registered_at_ms) {
    return registered_at_ms >= dead.dead_since_ms ||
           (dead.asked_at_ms != 0 && registered_at_ms > dead.asked_at_ms);
}

/// The row as it was, with the time its handle was last presented, if it was retired.
std::optional<Row> retire_one(Transaction& tx, std::uint32_t hub, const Retirement& dead) {
    const Address address{dead.partition, dead.number};
    auto row = same_device(tx, hub, address, dead.generation, dead.handle);
    if (!row || row->channel_expired || presented_since(dead, row->registered_at_ms))
        return std::nullopt;
    if (row->installation_id.empty()) {
        erase_plain(tx, hub, address, *row);
        return row;
    }
    const auto owner = owner_of(tx, hub, *row);
    if (tx.fault() || presented_since(dead, owner->value.registered_at_ms)) return std::nullopt;
    row->registered_at_ms = owner->value.registered_at_ms;
    Installation after = owner->value;
    if (row->tile.empty()) {
        after.push_channel_expired = true;
    } else {
        after.secondary_tiles[row->tile].push_channel_expired = true;
    }
    after.updated_at_ms = dead.at_ms;
    rewrite_installation(tx, hub, *owner, std::move(after));
    return row;
}

bool rotate_one(Transaction& tx, std::uint32_t hub, const Rotation& moved) {
    const Address address{moved.partition, moved.number};
    const auto row = same_device(tx, hub, address, moved.generation, moved.old_handle);
    if (!row || moved.old_handle == moved.new_handle) return false;
    if (row->installation_id.empty()) {
        const TaggedRow before{*row, row->tags};
        TaggedRow after = before;
        after.row.handle = moved.new_handle;
        after.row.generation = tx.position();
        ++after.row.etag;
        tx.replace_row(hub, address, &before, &after);
        return true;
    }
    const auto owner = owner_of(tx, hub, *row);
    if (tx.fault()) return false;
    Installation after = owner->value;
    if (row->tile.empty()) {
        after.push_channel = moved.new_handle;
        after.push_channel_expired = false;
    } else {
        SecondaryTile& tile = after.secondary_tiles[row->tile];
        tile.push_channel = moved.new_handle;
        tile.push_channel_expired = false;
    }
    after.updated_at_ms = moved.at_ms;
    rewrite_installation(tx, hub, *owner, std::move(after));
    return true;
}

/// True: the row has ended and is removed, with the installation it is a part of. What ends later
/// gets a place there.
bool expire_one(Transaction& tx, std::uint32_t hub, Address address, std::int64_t now_ms) {
    const auto row = tx.row(hub, address);
    if (!row || row->expires_at_ms == never_ms) return false;
    std::int64_t ends_ms = row->expires_at_ms;
    if (ends_ms <= now_ms && !row->installation_id.empty()) {
        const auto owner = owner_of(tx, hub, *row);
        if (tx.fault()) return false;
        ends_ms = owner->value.expires_at_ms;
        if (ends_ms > now_ms) catch_up_rows(tx, hub, *owner);
    }
    if (ends_ms > now_ms) {
        if (ends_ms != never_ms) tx.put_end(hub, address, ends_ms);
        return false;
    }
    if (row->installation_id.empty()) {
        erase_plain(tx, hub, address, *row);
        return true;
    }
    const auto erased = erase_installation(tx, hub, row->installation_id);
    return erased && *erased;
}

struct Due {
    std::string prefix;  ///< of the posting that says so
    Address address;
};

/// Rows of a hub that may have ended between two minutes, at most `count_max`.
std::vector<Due> due_rows(Transaction& tx, std::uint32_t hub, std::uint64_t from,
                          std::uint64_t until, std::size_t count_max) {
    const auto name = [hub](std::uint64_t minute) {
        return posting_name_prefix(hub, PostingSpace::internal, end_name(minute));
    };
    std::vector<Due> due;
    const std::string end = name(until);
    const auto cursor = tx.batch().cursor(Family::postings);
    for (cursor->seek(name(from)); cursor->valid() && due.size() < count_max; cursor->next()) {
        const std::string_view key = cursor->key();
        if (key >= end) break;
        const auto [partition, chunk] = posting_place(key);
        BitmapBuilder builder;
        if (!builder.add(chunk, cursor->value())) tx.set_fault(make_error_code(errc::corrupt));
        for (const std::uint32_t number : builder.finish()) {
            if (due.size() == count_max) break;
            due.push_back({std::string(key.substr(0, key.size() - 2)), {partition, number}});
        }
    }
    if (auto status = cursor->status(); !status) tx.set_fault(status.error());
    return due;
}

}  // namespace

Result<std::vector<Retired>> retire(Transaction& tx, std::uint32_t hub,
                                    const std::vector<Retirement>& dead) {
    if (tx.hub(hub) == nullptr) return make_error_code(errc::not_found);
    std::vector<Retired> retired;
    for (std::size_t i = 0; i < dead.size(); ++i) {
        auto row = retire_one(tx, hub, dead[i]);
        if (tx.fault()) return tx.fault();
        if (!row) continue;
        retired.push_back({i, std::move(row->registration_id), std::move(row->installation_id),
                           row->registered_at_ms});
    }
    return retired;
}

Result<std::size_t> rotate(Transaction& tx, std::uint32_t hub, const std::vector<Rotation>& moved) {
    if (tx.hub(hub) == nullptr) return make_error_code(errc::not_found);
    std::size_t rotated = 0;
    for (const Rotation& one : moved) {
        if (rotate_one(tx, hub, one)) ++rotated;
        if (tx.fault()) return tx.fault();
    }
    return rotated;
}

Result<Swept> expire(Transaction& tx, std::int64_t now_ms, std::size_t count_max) {
    State& state = tx.memory().state;
    // What this batch has just put there is not seen yet.
    const std::uint64_t until = std::min(minute_of(now_ms), tx.earliest_end());
    Swept swept;
    if (until <= state.swept_minute) return swept;
    const auto hubs = tx.memory().hubs;
    for (const auto& [hub, name] : hubs->names) {
        const auto due = due_rows(tx, hub, state.swept_minute, until, count_max - swept.seen);
        if (tx.fault()) return tx.fault();
        swept.seen += due.size();
        for (const Due& one : due) {
            tx.drop_end(one.prefix, one.address);
            if (expire_one(tx, hub, one.address, now_ms)) ++swept.removed;
            if (tx.fault()) return tx.fault();
        }
        if (swept.seen == count_max) return swept;
    }
    state.swept_minute = until;
    return swept;
}

}  // namespace registry
