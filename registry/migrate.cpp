// Tested by tests/registry_migration_test.cpp.
//
// Runs on the thread that opens the store, before there is a writer or a reader. A batch reads from
// one snapshot and writes its changes and its place together. Each step may see an entry that it
// has mended already, so mending twice must change nothing.

#include "registry/migrate.hpp"

#include <algorithm>
#include <array>

#include "registry/partition.hpp"

namespace registry {
namespace {

struct Entry {
    std::string key, value;
    std::uint32_t hub() const {
        std::uint32_t number = 0;
        for (std::size_t i = 0; i < 4 && i < key.size(); ++i)
            number = number << 8 | static_cast<std::uint8_t>(key[i]);
        return number;
    }
};

/// The row is found by the exact ids of its users, no longer by these in lower case.
void mend_users(Transaction& tx, std::uint32_t hub, Address address, const TaggedRow& tagged) {
    const std::vector<std::string> tags = user_tags_of(tagged);
    for (const std::string& tag : tags) {
        const std::string folded = fold(tag);
        if (folded == tag) continue;
        tx.move_user(hub, tag, address, true);
        if (!std::binary_search(tags.begin(), tags.end(), folded))
            tx.move_user(hub, folded, address, false);
    }
}

Result<void> mend_installation(Transaction& tx, const Entry& entry) {
    if (installation_prefix_size(entry.key) == 0) return make_error_code(errc::corrupt);
    const auto record = decode_installation(installation_id(entry.key), entry.value);
    if (!record) return record.error();
    if (fold(record->value.user_id) == record->value.user_id) return {};
    const HubRow* const hub = tx.hub(entry.hub());
    if (hub == nullptr) return {};  // its rows are on their way out
    const std::uint16_t partition = partition_of(record->value.id, hub->partitions);
    for (const Part& part : expand(record->value)) {
        for (const auto& [name, number] : record->parts) {
            if (name == part.name) mend_users(tx, hub->number, {partition, number}, part.tagged);
        }
    }
    return {};
}

Result<void> mend_plain_row(Transaction& tx, const Entry& entry) {
    const auto address = address_at_end(entry.key);
    if (!address) return address.error();
    auto row = decode_row(entry.value, *address);
    if (!row) return row.error();
    if (row->tags.empty()) return {};
    std::vector<std::string> tags = row->tags;
    mend_users(tx, entry.hub(), *address, {std::move(*row), std::move(tags)});
    return {};
}

Result<void> part_kinds(Transaction& tx, const Entry& entry) {
    const auto native = decode_handle_entry(entry.value);
    if (!native) return native.error();
    std::string key = handle_key_of_kind(entry.key, *native);
    if (key == entry.key) return {};
    tx.batch().erase(Family::handles, entry.key);
    tx.batch().put(Family::handles, std::move(key), entry.value);
    return {};
}

Result<void> mark_template(Transaction& tx, const Entry& entry) {
    const auto native = decode_handle_entry(entry.value);
    const auto address = address_at_end(entry.key);
    if (!native || !address) return make_error_code(errc::corrupt);
    if (*native) return {};
    const auto row = tx.row(entry.hub(), *address);
    if (!row) return make_error_code(errc::corrupt);
    if (!tx.others_with(entry.hub(), row->handle, false, *address).empty())
        tx.mark_shared(entry.hub(), *address, true);
    return {};
}

/// A user leads to what expired of him.
Result<void> index_expired(Transaction& tx, const Entry& entry) {
    if (installation_prefix_size(entry.key) == 0) return make_error_code(errc::corrupt);
    const auto record = decode_installation(installation_id(entry.key), entry.value);
    if (!record) return record.error();
    const HubRow* const hub = tx.hub(entry.hub());
    if (hub == nullptr || record->value.user_id.empty()) return {};
    const std::uint16_t partition = partition_of(record->value.id, hub->partitions);
    for (const Part& part : expand(record->value)) {
        if (!part.tagged.row.channel_expired) continue;
        for (const auto& [name, number] : record->parts) {
            if (name == part.name) tx.add_postings(hub->number, {partition, number}, part.tagged);
        }
    }
    return {};
}

struct Step {
    Family family;
    Result<void> (*mend)(Transaction& tx, const Entry& entry);
};
/// Each may meet an entry again that it has mended. Numbers of steps are on disk.
constexpr std::array<Step, 5> steps{{{Family::installations, mend_installation},
                                     {Family::rows, mend_plain_row},
                                     {Family::handles, part_kinds},
                                     {Family::handles, mark_template},
                                     {Family::installations, index_expired}}};
constexpr std::uint8_t first_step_of_format_4 = 4;

/// Where the migration stands; at its end if there is none to do.
Result<MigrationState> read_state(const Snapshot& snapshot) {
    std::string bytes;
    const auto versioned = snapshot.get(Family::meta, version_key, bytes);
    if (!versioned) return versioned.error();
    const auto version = decode_version(bytes);
    if (!*versioned || !version) return make_error_code(errc::corrupt);
    if (*version == oldest_format_version) return MigrationState();
    const auto begun = snapshot.get(Family::meta, migration_key, bytes);
    if (!begun) return begun.error();
    if (*begun) return decode_migration(bytes);
    if (*version < format_version) return MigrationState{first_step_of_format_4, {}};
    return MigrationState{static_cast<std::uint8_t>(steps.size()), {}};
}

}  // namespace

Result<bool> migrate_batch(Store& store, Memory& memory, PostingFolder& folder,
                           std::size_t entries_max) {
    const auto failed = [](boost::system::error_code code) {
        return Result<bool>(boost::system::in_place_error, code);
    };
    const auto snapshot = store.snapshot();
    auto state = read_state(*snapshot);
    if (!state) return failed(state.error());
    if (state->step >= steps.size()) return false;
    const auto [family, mend] = steps[state->step];
    Transaction tx(store, memory, 0);
    const auto cursor = snapshot->cursor(family);
    std::size_t looked_at = 0;
    for (cursor->seek(state->after); cursor->valid() && looked_at < entries_max; cursor->next()) {
        if (cursor->key() == state->after) continue;
        const Entry entry{std::string(cursor->key()), std::string(cursor->value())};
        if (auto mended = mend(tx, entry); !mended) return failed(mended.error());
        if (tx.fault()) return failed(tx.fault());
        state->after = entry.key;
        ++looked_at;
    }
    if (auto status = cursor->status(); !status) return failed(status.error());
    if (looked_at < entries_max) *state = {static_cast<std::uint8_t>(state->step + 1), {}};
    const bool more = state->step < steps.size();
    tx.batch().put(Family::meta, std::string(version_key), encode_version());
    if (more) {
        tx.batch().put(Family::meta, std::string(migration_key), encode_migration(*state));
    } else {
        tx.batch().erase(Family::meta, std::string(migration_key));
    }
    tx.finish(folder);
    if (tx.fault()) return failed(tx.fault());
    if (auto written = store.write(tx.batch()); !written) return failed(written.error());
    return more;
}

Result<void> migrate(Store& store, Memory& memory, std::string& why) {
    PostingFolder folder;
    const auto found = read_state(*store.snapshot());
    const bool older = found && found->step < steps.size();
    for (;;) {
        const auto more = migrate_batch(store, memory, folder, migration_entries_max);
        if (!more) {
            why = "The store is of an older format and could not be brought to format " +
                  std::to_string(format_version) + " (" + more.error().message() +
                  "). Nothing is lost. Check that its disk is writable and has free space, then "
                  "start again: it goes on where it stopped.";
            return more.error();
        }
        if (*more) continue;
        if (older) {
            why += (why.empty() ? "" : " ");
            why += "The store was brought to format " + std::to_string(format_version) +
                   ", in which ids of users and installations match exactly. Older versions of "
                   "pushhub cannot open it any more.";
        }
        return {};
    }
}

}  // namespace registry
