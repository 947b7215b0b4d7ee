// The record of accepted sends. What is open keeps its selection; what is final keeps its figures.

#include <algorithm>
#include <cassert>

#include "registry/changes.hpp"

namespace registry {
namespace {

/// Selections of so few devices lie in their send.
constexpr std::uint64_t small_devices_max = 64;

/// The keys under which a send's bitmaps of one kind lie, by partition.
class StoredBitmaps {
  public:
    StoredBitmaps(Transaction& tx, LedgerKind kind, std::uint32_t hub, const std::string& id,
                  Bitmap& stored)
        : tx_(tx), kind_(kind), hub_(hub), id_(id), stored_(stored) {}

    /// Those that hold nothing are not kept.
    void put(const std::vector<Bitmap>& bitmaps) {
        for (std::size_t p = 0; p < bitmaps.size(); ++p) {
            const auto partition = static_cast<std::uint16_t>(p);
            if (!bitmaps[p].isEmpty()) {
                tx_.batch().put(Family::ledger, key(partition), encode_bitmap(bitmaps[p]));
                stored_.add(partition);
            } else if (stored_.contains(partition)) {
                tx_.batch().erase(Family::ledger, key(partition));
                stored_.remove(partition);
            }
        }
    }
    void erase() {
        for (const std::uint32_t p : stored_) {
            tx_.batch().erase(Family::ledger, key(static_cast<std::uint16_t>(p)));
        }
    }

  private:
    std::string key(std::uint16_t partition) const {
        return ledger_key(kind_, hub_, id_, partition);
    }
    Transaction& tx_;
    const LedgerKind kind_;
    const std::uint32_t hub_;
    const std::string& id_;
    Bitmap& stored_;
};

void erase_failures(Transaction& tx, std::uint32_t hub, const std::string& id, OpenEntry& entry) {
    for (std::uint16_t piece = 0; piece < entry.failures_stored; ++piece)
        tx.batch().erase(Family::ledger, ledger_key(LedgerKind::failures, hub, id, piece));
    entry.failures_stored = 0;
}

void numbers_frozen_changed(Transaction& tx, std::uint32_t hub) {
    auto& numbers = tx.memory().numbers;
    for (auto entry = numbers.lower_bound({hub, 0});
         entry != numbers.end() && entry->first.first == hub; ++entry) {
        entry->second.frozen_changed();
    }
}

void close(Transaction& tx, OpenSends::iterator open) {
    const auto& [hub, id] = open->first;
    OpenEntry& entry = open->second;
    StoredBitmaps(tx, LedgerKind::selection, hub, id, entry.selection_stored).erase();
    StoredBitmaps(tx, LedgerKind::finished, hub, id, entry.finished_stored).erase();
    erase_failures(tx, hub, id, entry);
    tx.close_send(open);
}

}  // namespace

void index_end(Transaction& tx, EndedKey end, std::uint64_t bytes) {
    Memory& memory = tx.memory();
    end.at_ms = std::max<std::int64_t>(end.at_ms, 0);
    std::string key = ended_key(end);
    memory.ended_from = std::min(memory.ended_from, key);
    if (key < memory.sweep.bodies_from) {
        memory.sweep.bodies_from = key;
        tx.batch().put(Family::meta, std::string(sweep_key), encode_sweep(memory.sweep));
    }
    tx.batch().put(Family::ledger, std::move(key), encode_count(bytes));
    std::uint64_t& total = memory.ended_bytes[end.hub];
    total += bytes;
    tx.batch().put(Family::meta, ended_bytes_key(end.hub), encode_count(total));
}

Result<void> accept(Transaction& tx, std::uint32_t hub,
                    const std::shared_ptr<const FrozenSend>& frozen, const Progress& progress) {
    const Send& send = frozen->send;
    const Selection& selection = frozen->selection;
    if (tx.hub(hub) == nullptr) return make_error_code(errc::not_found);
    std::string key = ledger_key(LedgerKind::send, hub, send.id);
    const auto open = tx.memory().open.find({hub, send.id});
    const bool known = open != tx.memory().open.end();
    const bool fires = known && open->second.state == SendState::scheduled;
    if (known && !fires) return make_error_code(errc::exists);
    // A schedule that was cancelled must not fire; the id of a send at once is new.
    const bool over = !known && send.scheduled_at_ms != 0 && tx.get(Family::ledger, key);
    if (tx.fault()) return tx.fault();
    if (over) return make_error_code(errc::exists);

    assert(selection.partitions.size() <= 0xffff && progress.finished.size() <= 0xffff);
    Progress first = progress;
    first.audience = selection.count();
    if (fires && open->second.progress_stored) {
        tx.batch().erase(Family::ledger, ledger_key(LedgerKind::progress, hub, send.id));
        open->second.progress_stored = false;
    }
    KeptSelection kept;
    if (is_final(progress.state)) {
        std::string value = encode_send(send, first, kept);
        index_end(tx, {first.ended_at_ms, hub, send.id}, key.size() + value.size());
        tx.batch().put(Family::ledger, std::move(key), std::move(value));
        if (fires) close(tx, open);
        return {};
    }
    OpenEntry& entry = tx.open_send(hub, send.id);
    kept.partitions = static_cast<std::uint16_t>(selection.partitions.size());
    kept.apart = first.audience > small_devices_max;
    if (kept.apart) {
        StoredBitmaps(tx, LedgerKind::selection, hub, send.id, entry.selection_stored)
            .put(selection.partitions);
    } else {
        for (std::uint16_t p = 0; p < kept.partitions; ++p) {
            if (!selection.partitions[p].isEmpty())
                kept.here.emplace_back(p, selection.partitions[p]);
        }
    }
    std::string value = encode_send(send, first, kept);
    entry.bytes = key.size() + value.size();
    tx.batch().put(Family::ledger, std::move(key), std::move(value));
    StoredBitmaps(tx, LedgerKind::finished, hub, send.id, entry.finished_stored)
        .put(progress.finished);
    entry.state = progress.state;
    if (send.direct_handles.empty()) entry.frozen = {frozen, &selection.partitions};
    numbers_frozen_changed(tx, hub);
    return {};
}

Result<void> checkpoint(Transaction& tx, std::uint32_t hub, const std::string& send_id,
                        const Progress& progress) {
    const auto open = tx.memory().open.find({hub, send_id});
    if (open == tx.memory().open.end()) return make_error_code(errc::not_found);
    std::string key = ledger_key(LedgerKind::progress, hub, send_id);
    std::string value = encode_progress(progress);
    const std::uint64_t bytes = open->second.bytes + key.size() + value.size();
    tx.batch().put(Family::ledger, std::move(key), std::move(value));
    if (is_final(progress.state)) {
        index_end(tx, {progress.ended_at_ms, hub, send_id}, bytes);
        close(tx, open);
        numbers_frozen_changed(tx, hub);
        return {};
    }
    OpenEntry& entry = open->second;
    entry.progress_stored = true;
    StoredBitmaps(tx, LedgerKind::finished, hub, send_id, entry.finished_stored)
        .put(progress.finished);
    if (progress.failures_anew) erase_failures(tx, hub, send_id, entry);
    if (!progress.failures.empty()) {
        assert(entry.failures_stored < 0xffff);
        tx.batch().put(Family::ledger,
                       ledger_key(LedgerKind::failures, hub, send_id, entry.failures_stored++),
                       encode_failures(progress.failures));
    }
    entry.state = progress.state;
    return {};
}

}  // namespace registry
