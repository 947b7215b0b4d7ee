// How handles die and move without the app: retired, rotated, expired.

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

/// True: what the entry names has ended and is removed. If it ends later, it has its entry there.
bool expire_one(Transaction& tx, const ExpiryKey& key, std::int64_t now_ms) {
    if (tx.hub(key.hub) == nullptr) return false;
    if (key.installation) {
        const auto record = tx.installation(key.hub, key.id);
        if (!record) return false;
        if (record->value.expires_at_ms > now_ms) {
            tx.put_expiry(key.hub, true, key.id, never_ms, record->value.expires_at_ms);
            catch_up_rows(tx, key.hub, *record);
            return false;
        }
        const auto erased = erase_installation(tx, key.hub, key.id);
        return erased && *erased;
    }
    const auto entry = tx.id(key.hub, key.id);
    if (!entry || entry->gone) return false;
    const Address address{entry->partition, entry->number};
    const auto row = tx.row(key.hub, address);
    if (!row) return false;
    if (row->expires_at_ms > now_ms) {
        tx.put_expiry(key.hub, false, key.id, never_ms, row->expires_at_ms);
        return false;
    }
    erase_plain(tx, key.hub, address, *row);
    return true;
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
    std::vector<ExpiryKey> due;
    {
        const auto cursor = tx.batch().cursor(Family::expiry);
        for (cursor->seek({}); cursor->valid() && due.size() < count_max; cursor->next()) {
            auto key = decode_expiry_key(cursor->key());
            if (!key) tx.set_fault(key.error());
            if (!key || key->at_ms > now_ms) break;
            due.push_back(std::move(*key));
        }
        if (auto status = cursor->status(); !status) tx.set_fault(status.error());
    }
    Swept swept{due.size(), 0};
    for (const ExpiryKey& key : due) {
        if (tx.fault()) return tx.fault();
        tx.batch().erase(Family::expiry, expiry_key(key));
        if (expire_one(tx, key, now_ms)) ++swept.removed;
    }
    if (tx.fault()) return tx.fault();
    return swept;
}

}  // namespace registry
