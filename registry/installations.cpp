// Installations: one value whose parts are rows of their own.
//
// Runs on the writer's thread. Writing compares the parts that an installation has with those it
// should have: what stays keeps its number, the rest is removed or added, and rows whose content
// holds are left alone. That is what makes a start of an app, which only moves times, one small
// write. catch_up_rows() brings such rows up to date when the sweep asks.

#include <algorithm>
#include <cassert>
#include <set>

#include "registry/changes.hpp"
#include "registry/partition.hpp"

namespace registry {
namespace {

/// The stored parts with the rows they have now.
struct StoredPart {
    Address address;
    TaggedRow tagged;
};

std::map<std::string, StoredPart> stored_parts(Transaction& tx, std::uint32_t hub,
                                               std::uint16_t partition,
                                               const InstallationRecord& record) {
    std::map<std::string, StoredPart> stored;
    std::vector<Part> expanded = expand(record.value);
    for (const auto& [name, number] : record.parts) {
        const std::string& key = name;  // clang 14: no captures of structured bindings
        const Address address{partition, number};
        auto row = tx.row(hub, address);
        const auto part = std::find_if(expanded.begin(), expanded.end(),
                                       [&key](const Part& p) { return p.name == key; });
        if (!row || part == expanded.end()) {
            tx.set_fault(make_error_code(errc::corrupt));
            return {};
        }
        stored.emplace(name, StoredPart{address, {std::move(*row), std::move(part->tagged.tags)}});
    }
    return stored;
}

void create_part(Transaction& tx, std::uint32_t hub, std::uint16_t partition,
                 const Installation& owner, Part& part, PartNumbers& numbers) {
    const auto number = tx.take_number(hub, partition);
    if (!number) return;
    Row& row = part.tagged.row;
    row.generation = tx.position();
    row.registration_id = part_id(owner.id, part.name, {partition, *number});
    tx.replace_row(hub, {partition, *number}, nullptr, &part.tagged);
    numbers.emplace_back(part.name, *number);
}

void update_part(Transaction& tx, std::uint32_t hub, const StoredPart& stored, Part& part,
                 PartNumbers& numbers) {
    const Row& old = stored.tagged.row;
    Row& row = part.tagged.row;
    const bool same_channel = old.handle == row.handle && old.platform == row.platform;
    row.generation = same_channel ? old.generation : tx.position();
    row.registration_id = old.registration_id;
    set_audience_positions(stored.tagged, part.tagged, tx.position());
    tx.replace_row(hub, stored.address, &stored.tagged, &part.tagged);
    numbers.emplace_back(part.name, stored.address.number);
}

void remove_part(Transaction& tx, std::uint32_t hub, const StoredPart& stored) {
    tx.replace_row(hub, stored.address, &stored.tagged, nullptr);
}

std::size_t count_parts(const Installation& value) {
    std::size_t parts = 1 + value.templates.size();
    for (const auto& [id, tile] : value.secondary_tiles) parts += 1 + tile.templates.size();
    return parts;
}

/// Do the rows of `before` hold for `after`? Apps present themselves at every start: their times
/// move on and nothing else does, and rows may lag behind with these.
bool rows_hold(const InstallationRecord& before, const Installation& after) {
    const Installation& value = before.value;
    return before.parts.size() == count_parts(after) &&
           value.registered_at_ms <= after.registered_at_ms &&
           value.expires_at_ms <= after.expires_at_ms && value.user_id == after.user_id &&
           value.platform == after.platform && value.push_channel == after.push_channel &&
           value.push_channel_expired == after.push_channel_expired && value.tags == after.tags &&
           value.push_variables == after.push_variables && value.templates == after.templates &&
           value.secondary_tiles == after.secondary_tiles;
}

/// The rows of `value` in place of those of `before`, and their numbers.
void write_rows(Transaction& tx, std::uint32_t hub, const InstallationRecord* before,
                const Installation& value, const std::set<std::string>* wanted,
                PartNumbers& numbers) {
    const std::uint16_t partition = partition_of(value.id, tx.hub(hub)->partitions);
    std::map<std::string, StoredPart> stored;
    if (before != nullptr) stored = stored_parts(tx, hub, partition, *before);
    if (tx.fault()) return;
    std::vector<Part> parts = expand(value);
    for (Part& part : parts) {
        if (wanted != nullptr && !wanted->contains(part.name)) continue;
        const auto old = stored.find(part.name);
        if (old == stored.end()) {
            create_part(tx, hub, partition, value, part, numbers);
        } else {
            update_part(tx, hub, old->second, part, numbers);
            stored.erase(old);
        }
    }
    for (const auto& [name, part] : stored) remove_part(tx, hub, part);
}

/// Writes `value` in place of `before` (null: new). `wanted`: only these parts; null: all it
/// expands to.
void write(Transaction& tx, std::uint32_t hub, const InstallationRecord* before,
           Installation& value, const std::set<std::string>* wanted) {
    value.expires_at_ms = std::max<std::int64_t>(value.expires_at_ms, 0);
    value.version = before == nullptr ? 1 : before->value.version + 1;
    PartNumbers parts;
    const bool all_wanted = wanted == nullptr || wanted->size() == before->parts.size();
    if (before != nullptr && all_wanted && rows_hold(*before, value)) {
        parts = before->parts;
    } else {
        write_rows(tx, hub, before, value, wanted, parts);
        if (tx.fault()) return;
    }
    tx.batch().put(Family::installations, installation_key(hub, value.id),
                   encode_installation(value, parts));
    if (before == nullptr) tx.count_installation(hub, true);
}

void remove(Transaction& tx, std::uint32_t hub, const InstallationRecord& record) {
    const std::uint16_t partition = partition_of(record.value.id, tx.hub(hub)->partitions);
    const auto stored = stored_parts(tx, hub, partition, record);
    if (tx.fault()) return;
    for (const auto& [name, part] : stored) remove_part(tx, hub, part);
    tx.batch().erase(Family::installations, installation_key(hub, record.value.id));
    tx.count_installation(hub, false);
}

std::set<std::string> part_names(const InstallationRecord& record) {
    std::set<std::string> names;
    for (const auto& [name, number] : record.parts) names.insert(name);
    return names;
}

}  // namespace

Result<void> put_installation(Transaction& tx, std::uint32_t hub, Installation& value,
                              std::optional<std::uint64_t> expected_version) {
    if (tx.hub(hub) == nullptr) return make_error_code(errc::not_found);
    const auto before = tx.installation(hub, value.id);
    if (tx.fault()) return tx.fault();
    if (expected_version) {
        if (*expected_version == 0 && before) return make_error_code(errc::exists);
        if (*expected_version != 0 && !before) return make_error_code(errc::not_found);
        if (before && before->value.version != *expected_version) {
            return make_error_code(errc::etag_mismatch);
        }
    }
    write(tx, hub, before ? &*before : nullptr, value, nullptr);
    return {};
}

Result<bool> erase_installation(Transaction& tx, std::uint32_t hub, const std::string& id) {
    const auto in_place_error = [](boost::system::error_code code) {
        return Result<bool>(boost::system::in_place_error, code);
    };
    if (tx.hub(hub) == nullptr) return in_place_error(make_error_code(errc::not_found));
    const auto record = tx.installation(hub, id);
    if (record) remove(tx, hub, *record);
    if (tx.fault()) return in_place_error(tx.fault());
    return record.has_value();
}

Result<void> erase_part(Transaction& tx, std::uint32_t hub, const Row& row,
                        const Precondition& match) {
    const auto before = tx.installation(hub, row.installation_id);
    if (!before) tx.set_fault(make_error_code(errc::corrupt));
    if (tx.fault()) return tx.fault();
    if (auto matched = check_match(match, before->value.version); !matched) return matched.error();
    std::set<std::string> names = part_names(*before);
    names.erase(row.part);
    if (names.empty()) {
        remove(tx, hub, *before);
        return {};
    }
    Installation after = before->value;
    if (!row.template_bytes.empty()) {
        const auto body = decode_template(row.template_bytes);
        if (!body) {
            tx.set_fault(body.error());
            return tx.fault();
        }
        auto& templates =
            row.tile.empty() ? after.templates : after.secondary_tiles[row.tile].templates;
        templates.erase(body->name);
    }
    write(tx, hub, &*before, after, &names);
    return {};
}

void rewrite_installation(Transaction& tx, std::uint32_t hub, const InstallationRecord& before,
                          Installation after) {
    const std::set<std::string> names = part_names(before);
    write(tx, hub, &before, after, &names);
}

void catch_up_rows(Transaction& tx, std::uint32_t hub, const InstallationRecord& record) {
    const std::set<std::string> names = part_names(record);
    PartNumbers same;
    write_rows(tx, hub, &record, record.value, &names, same);
}

}  // namespace registry
