// Ended sends leave the ledger. Tested by tests/registry_send_sweep_test.cpp.
//
// Each final send has a key by the time of its end, and nothing else has one: what is open is not
// met here. So a step is a walk from the first of these keys, and what it takes goes in one batch,
// all of a send or nothing. A store that is older than these keys gets them first. Writer thread.

#include <algorithm>
#include <numeric>

#include "registry/changes.hpp"

namespace registry {
namespace {

struct End {
    std::string key;
    EndedKey at;
    std::uint64_t bytes = 0;
};

std::string kind_prefix(LedgerKind kind) {
    return std::string(1, static_cast<char>(kind));
}

/// The first key behind `key`.
std::string behind(std::string key) {
    key.push_back('\0');
    return key;
}

void put_state(Transaction& tx) {
    tx.batch().put(Family::meta, std::string(sweep_key), encode_sweep(tx.memory().sweep));
}

std::uint64_t total_bytes(Transaction& tx) {
    const auto& hubs = tx.memory().ended_bytes;
    return std::accumulate(hubs.begin(), hubs.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const auto& hub) { return sum + hub.second; });
}

void take_bytes(Transaction& tx, std::uint32_t hub, std::uint64_t bytes) {
    std::uint64_t& total = tx.memory().ended_bytes[hub];
    total -= std::min(total, bytes);
    tx.batch().put(Family::meta, ended_bytes_key(hub), encode_count(total));
}

/// Ends from `from` on for which `wanted` is true, up to the first for which it is not.
template <class Wanted>
std::vector<End> ends_from(Transaction& tx, const std::string& from, std::size_t count_max,
                           Wanted&& wanted) {
    std::vector<End> ends;
    const std::string prefix = kind_prefix(LedgerKind::ended);
    const auto cursor = tx.batch().cursor(Family::ledger);
    for (cursor->seek(std::max(prefix, from)); cursor->valid() && ends.size() < count_max;
         cursor->next()) {
        if (!cursor->key().starts_with(prefix)) break;
        auto at = decode_ended_key(cursor->key());
        const auto bytes = decode_count(cursor->value());
        if (!at || !bytes) tx.set_fault(make_error_code(errc::corrupt));
        if (tx.fault()) break;
        End end{std::string(cursor->key()), std::move(*at), *bytes};
        if (!wanted(end)) break;
        ends.push_back(std::move(end));
    }
    if (auto status = cursor->status(); !status) tx.set_fault(status.error());
    return ends;
}

/// The progress of a stored send; nothing: it cannot be decoded.
std::optional<Progress> progress_of(Transaction& tx, std::uint32_t hub, const SendRecord& record,
                                    std::uint64_t& bytes) {
    const std::string key = ledger_key(LedgerKind::progress, hub, record.send.id);
    const auto stored = tx.get(Family::ledger, key);
    if (!stored) return record.first;
    bytes += key.size() + stored->size();
    auto progress = decode_progress(*stored);
    if (!progress) return std::nullopt;
    return std::move(progress->first);
}

/// Gives final sends of an older store their ends. What cannot be decoded stays as it is.
void index_some(Transaction& tx, std::size_t count_max) {
    SweepState& state = tx.memory().sweep;
    const std::string prefix = kind_prefix(LedgerKind::send);
    const auto cursor = tx.batch().cursor(Family::ledger);
    std::size_t seen = 0;
    for (cursor->seek(std::max(prefix, behind(state.indexed_to)));
         cursor->valid() && cursor->key().starts_with(prefix) && seen < count_max;
         cursor->next(), ++seen) {
        state.indexed_to = cursor->key();
        std::uint64_t bytes = cursor->key().size() + cursor->value().size();
        const auto place = decode_ledger_key(cursor->key());
        const auto record = decode_send(cursor->value());
        if (!place || !record || tx.hub(place->first) == nullptr) continue;
        const auto progress = progress_of(tx, place->first, *record, bytes);
        if (tx.fault()) return;
        if (!progress || !is_final(progress->state)) continue;
        EndedKey end{std::max<std::int64_t>(progress->ended_at_ms, 0), place->first, place->second};
        const bool known = tx.get(Family::ledger, ended_key(end)).has_value();
        if (!known && !tx.fault()) index_end(tx, std::move(end), bytes);
    }
    if (auto status = cursor->status(); !status) tx.set_fault(status.error());
    if (seen < count_max) {
        state.indexed = true;
        state.indexed_to.clear();
    }
    put_state(tx);
}

std::size_t remove_some(Transaction& tx, const SendRetention& keep, std::int64_t now_ms,
                        std::size_t count_max, SweptSends& swept) {
    std::uint64_t total = total_bytes(tx);
    const auto wanted = [&](const End& end) {
        if (end.at.at_ms > now_ms - keep.kept_ms && total <= keep.bytes_max) return false;
        if (tx.hub(end.at.hub) != nullptr) total -= std::min(total, end.bytes);
        return true;
    };
    const auto ends = ends_from(tx, tx.memory().ended_from, count_max, wanted);
    if (tx.fault()) return 0;
    for (const End& end : ends) {
        tx.batch().erase(Family::ledger, end.key);
        tx.memory().ended_from = end.key;
        const auto& [at_ms, hub, id] = end.at;
        if (tx.hub(hub) == nullptr) continue;  // its sends went with it
        tx.batch().erase(Family::ledger, ledger_key(LedgerKind::send, hub, id));
        tx.batch().erase(Family::ledger, ledger_key(LedgerKind::progress, hub, id));
        take_bytes(tx, hub, end.bytes);
        ++swept.removed;
        swept.bytes += end.bytes;
    }
    return ends.size();
}

/// True: the send has lost its body and direct handles, and takes that much less.
bool drop_body(Transaction& tx, End& end) {
    const std::string key = ledger_key(LedgerKind::send, end.at.hub, end.at.send_id);
    const auto stored = tx.get(Family::ledger, key);
    auto record = stored ? decode_send(*stored) : Result<SendRecord>(SendRecord());
    if (!record || (record->send.body.empty() && record->send.direct_handles.empty())) return false;
    record->send.body.clear();
    record->send.direct_handles.clear();
    std::string value = encode_send(record->send, record->first, record->selection);
    const std::uint64_t less = stored->size() - std::min(stored->size(), value.size());
    tx.batch().put(Family::ledger, key, std::move(value));
    tx.batch().put(Family::ledger, end.key, encode_count(end.bytes - std::min(end.bytes, less)));
    take_bytes(tx, end.at.hub, less);
    return true;
}

std::size_t drop_some_bodies(Transaction& tx, const SendRetention& keep, std::int64_t now_ms,
                             std::size_t count_max, SweptSends& swept) {
    SweepState& state = tx.memory().sweep;
    auto ends = ends_from(tx, state.bodies_from, count_max, [&](const End& end) {
        return end.at.at_ms <= now_ms - keep.bodies_kept_ms;
    });
    for (End& end : ends) {
        if (tx.fault()) return 0;
        if (tx.hub(end.at.hub) != nullptr && drop_body(tx, end)) ++swept.bodies;
        state.bodies_from = behind(end.key);
    }
    if (!ends.empty()) put_state(tx);
    return ends.size();
}

}  // namespace

Result<SweptSends> sweep_sends(Transaction& tx, const SendRetention& keep, std::int64_t now_ms,
                               std::size_t count_max) {
    SweptSends swept;
    if (!tx.memory().sweep.indexed) {
        index_some(tx, count_max);
        swept.more = true;
    } else {
        std::size_t seen = remove_some(tx, keep, now_ms, count_max, swept);
        if (!tx.fault() && keep.bodies_kept_ms < keep.kept_ms)
            seen += drop_some_bodies(tx, keep, now_ms, count_max - seen, swept);
        swept.more = seen >= count_max;
    }
    if (tx.fault()) return {boost::system::in_place_error, tx.fault()};
    return swept;
}

}  // namespace registry
