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

/// Rows of each kind that one answer about a handle reaches. Those beyond keep the handle until the
/// next answer.
constexpr std::size_t handle_rows_max = 1'024;

/// Calls `change(address, row)` for the row that an answer was about, and for all others of its
/// platform with the same handle. Each is read when its turn comes: what is done to one part of an
/// installation changes the others.
template <class Change>
void for_each_holder(Transaction& tx, std::uint32_t hub, Address named, const std::string& platform,
                     const std::string& handle, Change&& change) {
    std::vector<Address> holders{named};
    for (const bool native : {true, false}) {
        for (const Address address : tx.rows_with(hub, handle, native, handle_rows_max)) {
            if (address != named) holders.push_back(address);
        }
    }
    for (const Address address : holders) {
        if (tx.fault()) return;
        auto row = tx.row(hub, address);
        if (row && row->handle == handle && row->platform == platform) change(address, *row);
    }
}

/// True: the channel of the row was alive and is dead now. `row` gets the time its handle was last
/// presented.
bool retire_row(Transaction& tx, std::uint32_t hub, Address address, Row& row,
                const Retirement& dead) {
    if (row.channel_expired || presented_since(dead, row.registered_at_ms)) return false;
    if (row.installation_id.empty()) {
        use_up_plain(tx, hub, address, row);
        return true;
    }
    const auto owner = owner_of(tx, hub, row);
    if (tx.fault() || presented_since(dead, owner->value.registered_at_ms)) return false;
    row.registered_at_ms = owner->value.registered_at_ms;
    Installation after = owner->value;
    if (row.tile.empty()) {
        after.push_channel_expired = true;
    } else {
        after.secondary_tiles[row.tile].push_channel_expired = true;
    }
    after.updated_at_ms = dead.at_ms;
    rewrite_installation(tx, hub, *owner, std::move(after));
    return true;
}

void rotate_row(Transaction& tx, std::uint32_t hub, Address address, const Row& row,
                const Rotation& moved) {
    if (row.installation_id.empty()) {
        const TaggedRow before{row, row.tags};
        TaggedRow after = before;
        after.row.handle = moved.new_handle;
        after.row.generation = tx.position();
        ++after.row.etag;
        tx.replace_row(hub, address, &before, &after);
        return;
    }
    const auto owner = owner_of(tx, hub, row);
    if (tx.fault()) return;
    Installation after = owner->value;
    if (row.tile.empty()) {
        after.push_channel = moved.new_handle;
        after.push_channel_expired = false;
    } else {
        SecondaryTile& tile = after.secondary_tiles[row.tile];
        tile.push_channel = moved.new_handle;
        tile.push_channel_expired = false;
    }
    after.updated_at_ms = moved.at_ms;
    rewrite_installation(tx, hub, *owner, std::move(after));
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
        use_up_plain(tx, hub, address, *row);
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
        const Address named{dead[i].partition, dead[i].number};
        const auto first = same_device(tx, hub, named, dead[i].generation, dead[i].handle);
        if (!first) continue;
        for_each_holder(
            tx, hub, named, first->platform, dead[i].handle, [&](Address address, Row& row) {
                if (!retire_row(tx, hub, address, row, dead[i])) return;
                retired.push_back({i, address.partition, address.number,
                                   std::move(row.registration_id), std::move(row.installation_id),
                                   row.registered_at_ms});
            });
    }
    if (tx.fault()) return tx.fault();
    return retired;
}

Result<std::size_t> rotate(Transaction& tx, std::uint32_t hub, const std::vector<Rotation>& moved) {
    if (tx.hub(hub) == nullptr) return make_error_code(errc::not_found);
    std::size_t rotated = 0;
    for (const Rotation& one : moved) {
        const Address named{one.partition, one.number};
        const auto first = same_device(tx, hub, named, one.generation, one.old_handle);
        if (!first || one.old_handle == one.new_handle) continue;
        for_each_holder(tx, hub, named, first->platform, one.old_handle,
                        [&](Address address, const Row& row) {
                            // A channel that died stays dead: its user may be one of long ago.
                            if (row.channel_expired && address != named) return;
                            rotate_row(tx, hub, address, row, one);
                            ++rotated;
                        });
    }
    if (tx.fault()) return {boost::system::in_place_error, tx.fault()};
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
