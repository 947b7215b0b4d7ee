// The record of accepted sends. What is open keeps its selection; what is final keeps its figures.

#include <algorithm>
#include <cassert>

#include "registry/changes.hpp"

namespace registry {
namespace {

void put_bitmaps(Transaction& tx, LedgerKind kind, std::uint32_t hub, const std::string& id,
                 const std::vector<Bitmap>& bitmaps) {
    for (std::size_t p = 0; p < bitmaps.size(); ++p) {
        if (bitmaps[p].isEmpty()) continue;
        const auto partition = static_cast<std::uint16_t>(p);
        tx.batch().put(Family::ledger, ledger_key(kind, hub, id, partition),
                       encode_bitmap(bitmaps[p]));
    }
}

void numbers_frozen_changed(Transaction& tx, std::uint32_t hub) {
    auto& numbers = tx.memory().numbers;
    for (auto entry = numbers.lower_bound({hub, 0});
         entry != numbers.end() && entry->first.first == hub; ++entry) {
        entry->second.frozen_changed();
    }
}

void forget_selection(Transaction& tx, std::uint32_t hub, const std::string& id,
                      std::uint16_t partitions) {
    tx.batch().erase(Family::ledger, ledger_key(LedgerKind::open, hub, id));
    for (std::uint16_t p = 0; p < partitions; ++p) {
        tx.batch().erase(Family::ledger, ledger_key(LedgerKind::selection, hub, id, p));
        tx.batch().erase(Family::ledger, ledger_key(LedgerKind::done, hub, id, p));
    }
}

}  // namespace

Result<void> accept(Transaction& tx, std::uint32_t hub, const Send& send,
                    const Selection& selection, const Progress& progress) {
    if (tx.hub(hub) == nullptr) return make_error_code(errc::not_found);
    const std::string key = ledger_key(LedgerKind::send, hub, send.id);
    const bool known = tx.get(Family::ledger, key).has_value();
    if (tx.fault()) return tx.fault();
    const auto open = tx.memory().open.find({hub, send.id});
    const bool fires = open != tx.memory().open.end() && open->second.state == SendState::scheduled;
    if (known && !fires) return make_error_code(errc::exists);

    assert(selection.partitions.size() <= 0xffff && progress.done.size() <= 0xffff);
    const bool final = is_final(progress.state);
    const auto partitions = static_cast<std::uint16_t>(final ? 0 : selection.partitions.size());
    tx.batch().put(Family::ledger, key, encode_send(send, partitions));
    Progress first = progress;
    first.audience = selection.count();
    tx.batch().put(Family::ledger, ledger_key(LedgerKind::progress, hub, send.id),
                   encode_progress(first));
    if (final) {
        if (fires) {
            forget_selection(tx, hub, send.id, open->second.selection_partitions);
            tx.memory().open.erase(open);
        }
        return {};
    }
    put_bitmaps(tx, LedgerKind::selection, hub, send.id, selection.partitions);
    put_bitmaps(tx, LedgerKind::done, hub, send.id, progress.done);
    tx.batch().put(Family::ledger, ledger_key(LedgerKind::open, hub, send.id), encode_version());
    OpenEntry entry{{}, partitions, progress.state};
    if (send.direct_handles.empty()) entry.frozen = selection.partitions;
    tx.memory().open.insert_or_assign({hub, send.id}, std::move(entry));
    numbers_frozen_changed(tx, hub);
    return {};
}

Result<void> checkpoint(Transaction& tx, std::uint32_t hub, const std::string& send_id,
                        const Progress& progress) {
    const auto open = tx.memory().open.find({hub, send_id});
    if (open == tx.memory().open.end()) return make_error_code(errc::not_found);
    tx.batch().put(Family::ledger, ledger_key(LedgerKind::progress, hub, send_id),
                   encode_progress(progress));
    if (is_final(progress.state)) {
        const auto partitions = std::max(open->second.selection_partitions,
                                         static_cast<std::uint16_t>(progress.done.size()));
        forget_selection(tx, hub, send_id, partitions);
        tx.memory().open.erase(open);
        numbers_frozen_changed(tx, hub);
        return {};
    }
    put_bitmaps(tx, LedgerKind::done, hub, send_id, progress.done);
    for (std::size_t p = 0; p < progress.done.size(); ++p) {  // marks may have been taken back
        if (!progress.done[p].isEmpty()) continue;
        const auto partition = static_cast<std::uint16_t>(p);
        tx.batch().erase(Family::ledger, ledger_key(LedgerKind::done, hub, send_id, partition));
    }
    open->second.state = progress.state;
    return {};
}

}  // namespace registry
