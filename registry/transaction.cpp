// A change reads through the batch, so it sees what the changes before it in the same batch have
// done. replace_row() is the one way to write a row: it moves postings, users, the handle index
// and the end along with it, so these can never differ. finish() adds what is known only at the
// end of the batch: folded postings, the mark of opened sends, the state. Memory is changed in
// place; if the batch fails, the writer reads it anew.
#include "registry/transaction.hpp"

#include <algorithm>
#include <cassert>

#include "tagexpr/expression.hpp"

namespace registry {

Transaction::Transaction(const Store& store, Memory& memory, std::uint64_t reusable_position)
    : memory_(memory), reusable_position_(reusable_position), batch_(store.batch()) {}

// --- reads ---

std::optional<std::string> Transaction::get(Family family, std::string_view key) {
    std::string value;
    const auto found = batch_.get(family, key, value);
    if (!found) set_fault(found.error());
    if (!found || !*found) return std::nullopt;
    return value;
}

std::optional<IdEntry> Transaction::id(std::uint32_t hub, std::string_view id) {
    if (const auto place = part_place(id)) {
        const auto part = row(hub, *place);
        if (!part || part->registration_id != id) return std::nullopt;
        return IdEntry{false, place->partition, place->number};
    }
    return id_entry(id_key(hub, id), {});
}

std::optional<IdEntry> Transaction::id_entry(const std::string& key, const LookedUp& looked_up) {
    if (looked_up.id_absent && !memory_.arrivals.may_have_come(hash64(key), looked_up.position))
        return std::nullopt;
    const auto bytes = get(Family::ids, key);
    if (!bytes) return std::nullopt;
    const auto entry = decode_id(*bytes);
    if (!entry) {
        set_fault(entry.error());
        return std::nullopt;
    }
    return *entry;
}

std::optional<Row> Transaction::row(std::uint32_t hub, Address address) {
    const auto bytes = get(Family::rows, row_key(hub, address.partition, address.number));
    if (!bytes) return std::nullopt;
    auto row = decode_row(*bytes, address);
    if (!row) {
        set_fault(row.error());
        return std::nullopt;
    }
    return std::move(*row);
}

std::optional<InstallationRecord> Transaction::installation(std::uint32_t hub,
                                                            std::string_view id) {
    const auto bytes = get(Family::installations, installation_key(hub, id));
    if (!bytes) return std::nullopt;
    auto record = decode_installation(id, *bytes);
    if (!record) {
        set_fault(record.error());
        return std::nullopt;
    }
    return std::move(*record);
}

// --- writes ---

void Transaction::put_id(std::string key, const IdEntry& entry) {
    memory_.arrivals.came(hash64(key), position());
    batch_.put(Family::ids, std::move(key), encode_id(entry));
}

std::optional<std::uint32_t> Transaction::take_number(std::uint32_t hub, std::uint16_t partition) {
    Numbers& numbers = memory_.numbers[{hub, partition}];
    numbers.cool(reusable_position_);
    const auto number = numbers.take([&](Bitmap& available) {
        for (auto entry = memory_.open.lower_bound({hub, {}});
             entry != memory_.open.end() && entry->first.first == hub; ++entry) {
            const auto& frozen = entry->second.frozen;
            if (frozen && partition < frozen->size()) available -= (*frozen)[partition];
        }
    });
    if (!number) set_fault(make_error_code(errc::full));
    return number;
}

namespace {

/// Calls `each` with the prefix of every posting that a row belongs in, in no order. Tags that are
/// spelled alike give it more than once.
template <class Each>
void for_each_posting(std::uint32_t hub, std::uint16_t partition, const TaggedRow& tagged,
                      Each&& each) {
    std::string prefix;
    const auto tell = [&](PostingSpace space, std::string_view name) {
        set_posting_prefix(prefix, hub, partition, space, name);
        each(std::string_view(prefix));
    };
    const Row& row = tagged.row;
    tell(PostingSpace::internal, alive_name);
    if (!row.installation_id.empty()) tell(PostingSpace::internal, parts_name);
    if (row.channel_expired) {
        for (const std::string& tag : tagged.tags) {
            if (const auto user = user_named(tag); user && !row.installation_id.empty())
                tell(PostingSpace::internal, expired_name(*user));
        }
        return;
    }
    const bool templated = !row.template_bytes.empty();
    tell(PostingSpace::internal, templated ? templated_name : native_name);
    tell(PostingSpace::internal, platform_name(row.platform, templated));
    for (const std::string& tag : tagged.tags) {
        if (!names_one(tag)) tell(PostingSpace::tag, tagexpr::canonical_tag(tag));
    }
}

}  // namespace

std::vector<std::string> postings_of(std::uint32_t hub, std::uint16_t partition,
                                     const TaggedRow& tagged) {
    std::vector<std::string> prefixes;
    for_each_posting(hub, partition, tagged,
                     [&](std::string_view prefix) { prefixes.emplace_back(prefix); });
    std::sort(prefixes.begin(), prefixes.end());
    prefixes.erase(std::unique(prefixes.begin(), prefixes.end()), prefixes.end());
    return prefixes;
}

std::vector<std::string> user_tags_of(const TaggedRow& tagged) {
    std::vector<std::string> users;
    if (tagged.row.channel_expired) return users;
    for (const std::string& tag : tagged.tags) {
        if (user_named(tag)) users.push_back(tagexpr::canonical_tag(tag));
    }
    std::sort(users.begin(), users.end());
    users.erase(std::unique(users.begin(), users.end()), users.end());
    return users;
}

void set_audience_positions(const TaggedRow& before, TaggedRow& after, std::uint64_t position) {
    const auto users = [](const std::vector<std::string>& tags) {
        std::vector<std::string> named;
        std::copy_if(tags.begin(), tags.end(), std::back_inserter(named),
                     [](const std::string& tag) { return user_named(tag).has_value(); });
        return named;
    };
    after.row.audience_at = before.row.audience_at;
    after.row.user_at = before.row.user_at;
    if (before.tags == after.tags) return;
    after.row.audience_at = position;
    if (users(before.tags) != users(after.tags)) after.row.user_at = position;
}

namespace {

/// Calls `left` with what only the first of two ascending lists has, `come` with what only the
/// second has.
template <class Left, class Come>
void compare(const std::vector<std::string>& before, const std::vector<std::string>& after,
             Left&& left, Come&& come) {
    for (const std::string& name : before) {
        if (!std::binary_search(after.begin(), after.end(), name)) left(name);
    }
    for (const std::string& name : after) {
        if (!std::binary_search(before.begin(), before.end(), name)) come(name);
    }
}

bool same_postings(const TaggedRow& before, const TaggedRow& after) {
    return before.row.channel_expired == after.row.channel_expired &&
           before.row.template_bytes.empty() == after.row.template_bytes.empty() &&
           before.row.platform == after.row.platform && before.tags == after.tags;
}

/// Would a push to the one be another push than to the other?
bool is_same_push(const TaggedRow& a, const TaggedRow& b) {
    return a.row.handle == b.row.handle && a.row.platform == b.row.platform &&
           a.row.tile == b.row.tile && a.row.template_bytes == b.row.template_bytes &&
           a.row.variables_bytes == b.row.variables_bytes &&
           a.row.channel_expired == b.row.channel_expired && a.tags == b.tags;
}

}  // namespace

void Transaction::move_postings(std::uint32_t hub, Address address, const TaggedRow* before,
                                const TaggedRow* after) {
    if (before != nullptr && after != nullptr) {
        if (same_postings(*before, *after)) return;
        compare(
            postings_of(hub, address.partition, *before),
            postings_of(hub, address.partition, *after),
            [&](const std::string& prefix) { deltas_.remove(prefix, address.number); },
            [&](const std::string& prefix) { deltas_.add(prefix, address.number); });
    } else if (before != nullptr) {
        for_each_posting(hub, address.partition, *before,
                         [&](std::string_view prefix) { deltas_.remove(prefix, address.number); });
    } else {
        add_postings(hub, address, *after);
    }
    const auto users = [](const TaggedRow* row) {
        return row == nullptr ? std::vector<std::string>() : user_tags_of(*row);
    };
    compare(
        users(before), users(after),
        [&](const std::string& tag) { move_user(hub, tag, address, false); },
        [&](const std::string& tag) { move_user(hub, tag, address, true); });
}

void Transaction::add_postings(std::uint32_t hub, Address address, const TaggedRow& row) {
    for_each_posting(hub, address.partition, row,
                     [&](std::string_view prefix) { deltas_.add(prefix, address.number); });
}

void Transaction::move_user(std::uint32_t hub, const std::string& tag, Address address,
                            bool carries) {
    std::string key = user_key(hub, *user_named(tag));
    const auto bytes = get(Family::users, key);
    auto stored = bytes ? decode_user_rows(*bytes) : UserRows();
    if (!stored) set_fault(stored.error());
    if (fault_) return;
    if (stored->many) {
        const std::string prefix = tag_prefix(hub, address.partition, tag);
        carries ? deltas_.add(prefix, address.number) : deltas_.remove(prefix, address.number);
        return;
    }
    auto& rows = stored->rows;
    const auto place = std::lower_bound(rows.begin(), rows.end(), address);
    const bool known = place != rows.end() && *place == address;
    if (known && !carries) rows.erase(place);
    if (!known && carries) rows.insert(place, address);
    if (rows.size() > user_rows_max) {
        for (const Address row : rows) deltas_.add(tag_prefix(hub, row.partition, tag), row.number);
        rows.clear();
        stored->many = true;
    }
    if (rows.empty() && !stored->many) {
        batch_.erase(Family::users, std::move(key));
    } else {
        batch_.put(Family::users, std::move(key), encode_user_rows(*stored));
    }
}

void Transaction::replace_row(std::uint32_t hub, Address address, const TaggedRow* before,
                              TaggedRow* after, const LookedUp& looked_up) {
    move_postings(hub, address, before, after);
    if (before != nullptr && (after == nullptr || !is_same_push(*before, *after)))
        changed_rows_.push_back({hub, address});
    const auto [partition, number] = address;
    const auto native = [](const TaggedRow* row) { return row->row.template_bytes.empty(); };
    const bool same_handle = before != nullptr && after != nullptr &&
                             before->row.handle == after->row.handle &&
                             native(before) == native(after);
    if (before != nullptr && !same_handle) {
        unindex_handle(hub, address, before->row.handle, native(before));
    }
    if (after == nullptr) {
        batch_.erase(Family::rows, row_key(hub, partition, number));
        memory_.numbers[{hub, partition}].release(number, position());
        --memory_.registrations[hub];
        return;
    }
    if (same_handle) {
        const auto changed = shares_changed_.find({hub, address});
        after->row.shares_handle =
            changed == shares_changed_.end() ? before->row.shares_handle : changed->second;
    } else {
        after->row.shares_handle =
            index_handle(hub, address, after->row.handle, native(after), looked_up);
        shares_changed_.erase({hub, address});
    }
    const std::int64_t ends_ms = after->row.expires_at_ms;
    const bool kept = before != nullptr && before->row.expires_at_ms != never_ms &&
                      before->row.expires_at_ms <= ends_ms;
    if (ends_ms != never_ms && !kept) put_end(hub, address, ends_ms);
    batch_.put(Family::rows, row_key(hub, partition, number), encode_row(after->row));
    if (before == nullptr) ++memory_.registrations[hub];
}

void Transaction::put_end(std::uint32_t hub, Address address, std::int64_t ends_ms) {
    const std::uint64_t minute = std::max(minute_of(ends_ms), memory_.state.swept_minute);
    deltas_.add(internal_prefix(hub, address.partition, end_name(minute)), address.number);
    earliest_end_ = std::min(earliest_end_, minute);
}

// --- handle index ---

namespace {

/// Of a prefix of `handles`, for Arrivals.
std::uint64_t arrival_hash(const std::string& prefix) {
    return hash64(prefix, 1);
}

}  // namespace

std::vector<Address> Transaction::rows_with(std::uint32_t hub, const std::string& handle,
                                            bool native, std::size_t count_max) {
    return rows_under(handle_prefix(hub, handle, native), count_max);
}

std::vector<Address> Transaction::others_with(std::uint32_t hub, const std::string& handle,
                                              bool native, Address but) {
    return others_under(handle_prefix(hub, handle, native), but);
}

std::vector<Address> Transaction::rows_under(const std::string& prefix, std::size_t count_max) {
    std::vector<Address> found;
    if (!handles_) handles_ = batch_.cursor(Family::handles, true);
    for (handles_->seek(prefix); handles_->valid() && found.size() < count_max; handles_->next()) {
        if (!handles_->key().starts_with(prefix)) break;
        const auto place = address_at_end(handles_->key());
        if (!place) {
            set_fault(place.error());
            return found;
        }
        found.push_back(*place);
    }
    if (auto status = handles_->status(); !status) set_fault(status.error());
    return found;
}

std::vector<Address> Transaction::others_under(const std::string& prefix, Address but) {
    std::vector<Address> found = rows_under(prefix, 3);
    std::erase(found, but);
    if (found.size() > 2) found.resize(2);
    return found;
}

void Transaction::mark_shared(std::uint32_t hub, Address address, bool shared) {
    auto other = row(hub, address);
    if (!other) set_fault(make_error_code(errc::corrupt));
    if (fault_) return;
    other->shares_handle = shared;
    shares_changed_[{hub, address}] = shared;
    if (shared) changed_rows_.push_back({hub, address});
    batch_.put(Family::rows, row_key(hub, address.partition, address.number), encode_row(*other));
}

// Every row is marked as soon as there are two of its kind with its handle: the second one marks
// the first, and the last but one to leave unmarks the last.
bool Transaction::index_handle(std::uint32_t hub, Address address, const std::string& handle,
                               bool native, const LookedUp& looked_up) {
    const std::string prefix = handle_prefix(hub, handle, native);
    const std::uint64_t hash = arrival_hash(prefix);
    std::vector<Address> others;
    if (!looked_up.handle_absent || memory_.arrivals.may_have_come(hash, looked_up.position))
        others = others_under(prefix, address);
    if (others.size() == 1) mark_shared(hub, others.front(), true);
    memory_.arrivals.came(hash, position());
    batch_.put(Family::handles, handle_key(prefix, address), encode_handle_entry(native));
    return !others.empty();
}

void Transaction::unindex_handle(std::uint32_t hub, Address address, const std::string& handle,
                                 bool native) {
    const std::string prefix = handle_prefix(hub, handle, native);
    batch_.erase(Family::handles, handle_key(prefix, address));
    const std::vector<Address> others = others_under(prefix, address);
    if (others.size() == 1) mark_shared(hub, others.front(), false);
}

void Transaction::count_installation(std::uint32_t hub, bool created) {
    std::uint64_t& count = memory_.installations[hub];
    count = created ? count + 1 : count - 1;
    batch_.put(Family::meta, count_key(hub), encode_count(count));
}

void Transaction::erase_hub(std::uint32_t hub) {
    erased_hubs_.push_back(hub);
    batch_.erase(Family::meta, count_key(hub));
    batch_.erase(Family::meta, answer_count_key(hub));
    batch_.erase(Family::meta, answer_units_key(hub));
    batch_.erase(Family::meta, ended_bytes_key(hub));
    memory_.answers.erase(hub);
    memory_.answers_changed.insert(hub);
    memory_.ended_bytes.erase(hub);
    auto& numbers = memory_.numbers;
    numbers.erase(numbers.lower_bound({hub, 0}), numbers.upper_bound({hub, 0xffff}));
    auto& open = memory_.open;
    for (auto entry = open.lower_bound({hub, {}});
         entry != open.end() && entry->first.first == hub;) {
        entry = close_send(entry);
    }
    memory_.installations.erase(hub);
    memory_.registrations.erase(hub);
}

OpenEntry& Transaction::open_send(std::uint32_t hub, const std::string& id) {
    const auto [open, fresh] = memory_.open.try_emplace({hub, id});
    if (fresh) {
        if (!mark_) mark_ = position();
        open->second.mark = *mark_;
        ++memory_.marks[*mark_];
        opened_.push_back(open->first);
    }
    return open->second;
}

OpenSends::iterator Transaction::close_send(OpenSends::iterator open) {
    const auto mark = memory_.marks.find(open->second.mark);
    if (--mark->second == 0) {
        if (mark->first != mark_) batch_.erase(Family::ledger, mark_key(mark->first));
        memory_.marks.erase(mark);
    }
    return memory_.open.erase(open);
}

std::vector<PostingDelta> Transaction::finish(PostingFolder& folder) {
    std::vector<PostingDelta> deltas = deltas_.take();
    if (auto written = folder.write(deltas, batch_); !written) set_fault(written.error());
    if (mark_ && memory_.marks.contains(*mark_)) {
        batch_.put(Family::ledger, mark_key(*mark_), encode_mark(opened_));
    }
    batch_.put(Family::meta, std::string(state_key), encode_state(memory_.state));
    for (const std::uint32_t hub : erased_hubs_) {
        for (const Family family : {Family::rows, Family::ids, Family::installations, Family::users,
                                    Family::handles, Family::postings}) {
            batch_.erase_prefix(family, hub_prefix(hub));
        }
        for (const LedgerKind kind :
             {LedgerKind::send, LedgerKind::progress, LedgerKind::selection, LedgerKind::finished,
              LedgerKind::failures, LedgerKind::answer}) {
            batch_.erase_prefix(Family::ledger, ledger_hub_prefix(kind, hub));
        }
    }
    return deltas;
}

}  // namespace registry
