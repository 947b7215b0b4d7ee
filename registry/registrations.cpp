// Plain registrations: rows that no installation owns.
//
// What of a change does not depend on the store is made where it is asked for, and a job looks up
// ahead what a new row needs to know. All else runs on the writer's thread.

#include <algorithm>
#include <utility>

#include "registry/changes.hpp"
#include "registry/partition.hpp"

namespace registry {
namespace {

TaggedRow tagged_row(const Registration& value) {
    TaggedRow tagged;
    Row& row = tagged.row;
    row.registered_at_ms = value.registered_at_ms;
    row.expires_at_ms = value.expires_at_ms;
    row.platform = value.platform;
    row.handle = value.handle;
    row.registration_id = value.id;
    row.tile = value.secondary_tile;
    if (value.body) row.template_bytes = encode_template(*value.body);
    row.variables_bytes = encode_variables(value.push_variables);
    row.tags = tagged.tags = value.tags;
    return tagged;
}

void erase_plain(Transaction& tx, std::uint32_t hub, Address address, const Row& row) {
    const TaggedRow before{row, row.tags};
    tx.replace_row(hub, address, &before, nullptr);
    tx.batch().erase(Family::ids, id_key(hub, row.registration_id));
}

}  // namespace

Result<void> check_match(const Precondition& match, std::uint64_t etag) {
    if (match.kind == Precondition::Kind::etag && match.etag != etag) {
        return make_error_code(errc::etag_mismatch);
    }
    return {};
}

RegistrationPut::RegistrationPut(std::uint32_t of, Registration wanted,
                                 const Precondition& if_match)
    : hub(of), value(std::move(wanted)), match(if_match) {
    value.installation_id.clear();
    value.channel_expired = false;
    value.expires_at_ms = std::max<std::int64_t>(value.expires_at_ms, 0);
    row = tagged_row(value);
    id_key = registry::id_key(hub, value.id);
}

void look_up(const View& view, std::span<RegistrationPut> puts) {
    const auto handles = view.snapshot->cursor(Family::handles, true);
    std::string bytes;
    for (RegistrationPut& put : puts) {
        const auto id = view.snapshot->get(Family::ids, put.id_key, bytes);
        if (id && *id) continue;  // its row is compared with what is there
        put.looked_up.id_absent = id.has_value();
        const Row& row = put.row.row;
        const auto prefix = handle_prefix(put.hub, row.handle, row.template_bytes.empty());
        handles->seek(prefix);
        const bool found = handles->valid() && handles->key().starts_with(prefix);
        put.looked_up.handle_absent = !found && handles->status().has_value();
        put.looked_up.position = view.position;
    }
}

Result<void> put_registration(Transaction& tx, RegistrationPut& put) {
    const auto& [hub, value, match, row_of_value, id_key, looked_up] = put;
    const HubRow* const owner = tx.hub(hub);
    if (owner == nullptr) return make_error_code(errc::not_found);
    // Ids of parts come with their part, and go with it.
    const bool of_part = part_place(value.id).has_value();
    auto entry = of_part ? tx.id(hub, value.id) : tx.id_entry(id_key, looked_up);
    if (tx.fault()) return tx.fault();
    const bool used_up = entry ? entry->gone && is_issued_form(value.id) : of_part;
    if (used_up) return make_error_code(errc::gone);
    if (entry && entry->gone) entry.reset();
    if (!entry && match.kind != Precondition::Kind::none) return make_error_code(errc::not_found);

    TaggedRow& after = put.row;
    after.row.generation = tx.position();
    after.row.etag = 1;
    after.row.audience_at = after.row.user_at = 0;
    if (!entry) {
        const std::uint16_t partition = partition_of_registration(value.id, owner->partitions);
        const auto number = tx.take_number(hub, partition);
        if (!number) return tx.fault();
        tx.replace_row(hub, {partition, *number}, nullptr, &after, looked_up);
        tx.put_id(id_key, {false, partition, *number});
    } else {
        const Address address{entry->partition, entry->number};
        const auto row = tx.row(hub, address);
        if (!row) tx.set_fault(make_error_code(errc::corrupt));
        if (tx.fault()) return tx.fault();
        if (!row->installation_id.empty()) return make_error_code(errc::exists);
        if (auto matched = check_match(match, row->etag); !matched) return matched.error();
        const TaggedRow before{*row, row->tags};
        after.row.etag = row->etag + 1;
        if (row->handle == value.handle && row->platform == value.platform) {
            after.row.generation = row->generation;
        }
        set_audience_positions(before, after, tx.position());
        tx.replace_row(hub, address, &before, &after, looked_up);
    }
    put.value.etag = after.row.etag;
    return {};
}

void use_up_plain(Transaction& tx, std::uint32_t hub, Address address, const Row& row) {
    erase_plain(tx, hub, address, row);
    if (!is_issued_form(row.registration_id)) return;
    tx.put_id(id_key(hub, row.registration_id), {true, 0, 0});
}

Result<void> erase_registration(Transaction& tx, std::uint32_t hub, const std::string& id,
                                const Precondition& match) {
    if (tx.hub(hub) == nullptr) return make_error_code(errc::not_found);
    const auto entry = tx.id(hub, id);
    if (tx.fault()) return tx.fault();
    if (!entry || entry->gone) return make_error_code(errc::not_found);
    const Address address{entry->partition, entry->number};
    const auto row = tx.row(hub, address);
    if (!row) tx.set_fault(make_error_code(errc::corrupt));
    if (tx.fault()) return tx.fault();
    if (!row->installation_id.empty()) return erase_part(tx, hub, *row, match);
    if (auto matched = check_match(match, row->etag); !matched) return matched.error();
    erase_plain(tx, hub, address, *row);
    return {};
}

}  // namespace registry
