// Plain registrations: rows that no installation owns.

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

Result<Registration> put_registration(Transaction& tx, std::uint32_t hub, Registration value,
                                      const Precondition& match) {
    const HubRow* const owner = tx.hub(hub);
    if (owner == nullptr) return make_error_code(errc::not_found);
    value.installation_id.clear();
    value.channel_expired = false;
    value.expires_at_ms = std::max<std::int64_t>(value.expires_at_ms, 0);
    auto entry = tx.id(hub, value.id);
    if (tx.fault()) return tx.fault();
    // Ids of parts come with their part, and go with it.
    const bool used_up =
        entry ? entry->gone && is_issued_form(value.id) : part_place(value.id).has_value();
    if (used_up) return make_error_code(errc::gone);
    if (entry && entry->gone) entry.reset();
    if (!entry && match.kind != Precondition::Kind::none) return make_error_code(errc::not_found);

    TaggedRow after = tagged_row(value);
    after.row.generation = tx.position();
    after.row.etag = 1;
    if (!entry) {
        const std::uint16_t partition = partition_of_registration(value.id, owner->partitions);
        const auto number = tx.take_number(hub, partition);
        if (!number) return tx.fault();
        tx.replace_row(hub, {partition, *number}, nullptr, &after);
        tx.batch().put(Family::ids, id_key(hub, value.id), encode_id({false, partition, *number}));
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
        tx.replace_row(hub, address, &before, &after);
    }
    value.etag = after.row.etag;
    return value;
}

void use_up_plain(Transaction& tx, std::uint32_t hub, Address address, const Row& row) {
    erase_plain(tx, hub, address, row);
    if (!is_issued_form(row.registration_id)) return;
    tx.batch().put(Family::ids, id_key(hub, row.registration_id), encode_id({true, 0, 0}));
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
