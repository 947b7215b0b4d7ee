// Reads the ledger: sends as they were accepted, and how they go. Tested by
// tests/registry_ledger_test.cpp.
//
// A send is its first value and, later, its second; a large selection lies beside them. At a start
// the marks lead to the sends that may be open, and those with a final progress are skipped. Lists
// go by id, newest first, a page at a time. Reads one view; blocks on disk; any thread.

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "registry/page_fill.hpp"
#include "registry/reader.hpp"

namespace registry {

namespace {

/// Of one send in a list: what a client gave it, and its figures.
std::size_t bytes_of(const Send& send) {
    constexpr std::size_t figures_bytes = 1'024;
    return figures_bytes + send.id.size() + send.tag_expression.size();
}

Result<std::vector<Bitmap>> read_bitmaps(const Snapshot& snapshot, LedgerKind kind,
                                         std::uint32_t hub, const std::string& id,
                                         std::uint16_t partitions, Bitmap& keys) {
    std::vector<Bitmap> bitmaps(partitions);
    std::string bytes;
    for (std::uint16_t p = 0; p < partitions; ++p) {
        const auto found = snapshot.get(Family::ledger, ledger_key(kind, hub, id, p), bytes);
        if (!found) return found.error();
        if (!*found) continue;
        auto bitmap = decode_bitmap(bytes);
        if (!bitmap) return bitmap.error();
        bitmaps[p] = std::move(*bitmap);
        keys.add(p);
    }
    return bitmaps;
}

/// A send and how it goes.
struct StoredSend {
    SendRecord record;
    Progress progress;
    std::uint16_t finished_partitions = 0;
    bool progress_stored = false;  ///< beside the one in the record
    std::uint64_t bytes = 0;
};

Result<void> read_progress(const Snapshot& snapshot, std::uint32_t hub, StoredSend& stored) {
    std::string bytes;
    const auto key = ledger_key(LedgerKind::progress, hub, stored.record.send.id);
    const auto found = snapshot.get(Family::ledger, key, bytes);
    if (!found) return found.error();
    stored.progress_stored = *found;
    if (!*found) {
        stored.progress = stored.record.first;
        stored.finished_partitions = stored.record.first_finished;
        return {};
    }
    auto progress = decode_progress(bytes);
    if (!progress) return progress.error();
    std::tie(stored.progress, stored.finished_partitions) = std::move(*progress);
    return {};
}

Result<StoredSend> stored_send(const Snapshot& snapshot, std::uint32_t hub, std::string_view id) {
    std::string bytes;
    const std::string key = ledger_key(LedgerKind::send, hub, id);
    const auto found = snapshot.get(Family::ledger, key, bytes);
    if (!found) return found.error();
    if (!*found) return make_error_code(errc::not_found);
    auto record = decode_send(bytes);
    if (!record) return record.error();
    StoredSend stored;
    stored.record = std::move(*record);
    stored.bytes = key.size() + bytes.size();
    if (auto read = read_progress(snapshot, hub, stored); !read) return read.error();
    return stored;
}

Result<void> read_frozen(const Snapshot& snapshot, StoredSend& stored, OpenRecord& open) {
    KeptSelection& kept = stored.record.selection;
    if (kept.apart) {
        auto selection = read_bitmaps(snapshot, LedgerKind::selection, open.hub, open.send.id,
                                      kept.partitions, open.selection_stored);
        if (!selection) return selection.error();
        open.selection = std::move(*selection);
        return {};
    }
    open.selection.resize(kept.partitions);
    for (auto& [partition, bitmap] : kept.here) open.selection[partition] = std::move(bitmap);
    return {};
}

Result<void> read_failures(const Snapshot& snapshot, OpenRecord& open) {
    std::string bytes;
    for (std::uint16_t& piece = open.failures_stored; piece < 0xffff; ++piece) {
        const auto found = snapshot.get(
            Family::ledger, ledger_key(LedgerKind::failures, open.hub, open.send.id, piece), bytes);
        if (!found) return found.error();
        if (!*found) break;
        auto failures = decode_failures(bytes);
        if (!failures) return failures.error();
        for (DeviceFailure& failure : *failures)
            open.progress.failures.push_back(std::move(failure));
    }
    return {};
}

/// Nothing if it is final.
Result<std::optional<OpenRecord>> read_open(const Snapshot& snapshot, std::uint32_t hub,
                                            const std::string& id) {
    auto stored = stored_send(snapshot, hub, id);
    if (!stored) {
        return stored.error() == errc::not_found ? make_error_code(errc::corrupt) : stored.error();
    }
    if (is_final(stored->progress.state)) return std::optional<OpenRecord>();
    OpenRecord open;
    open.hub = hub;
    open.send = std::move(stored->record.send);
    open.progress = std::move(stored->progress);
    open.progress_stored = stored->progress_stored;
    open.bytes = stored->bytes;
    if (auto read = read_frozen(snapshot, *stored, open); !read) return read.error();
    auto finished = read_bitmaps(snapshot, LedgerKind::finished, hub, id,
                                 stored->finished_partitions, open.finished_stored);
    if (!finished) return finished.error();
    open.progress.finished = std::move(*finished);
    if (auto read = read_failures(snapshot, open); !read) return read.error();
    return std::optional(std::move(open));
}

}  // namespace

Result<std::pair<Send, Progress>> read_send(const View& view, std::uint32_t hub,
                                            std::string_view id) {
    auto stored = stored_send(*view.snapshot, hub, id);
    if (!stored) return stored.error();
    return std::pair{std::move(stored->record.send), std::move(stored->progress)};
}

Result<void> each_open(const Snapshot& snapshot, const Hubs& hubs,
                       const std::function<void(OpenRecord&&)>& found) {
    const std::string prefix(1, static_cast<char>(LedgerKind::mark));
    const auto cursor = snapshot.cursor(Family::ledger);
    for (cursor->seek(prefix); cursor->valid(); cursor->next()) {
        if (!cursor->key().starts_with(prefix)) break;
        const auto position = decode_mark_key(cursor->key());
        const auto mark = decode_mark(cursor->value());
        if (!position || !mark) return make_error_code(errc::corrupt);
        for (const auto& [hub, id] : *mark) {
            if (hubs.find(hub) == nullptr) continue;  // its sends went with it
            auto open = read_open(snapshot, hub, id);
            if (!open) return open.error();
            if (!*open) continue;
            (*open)->mark = *position;
            found(std::move(**open));
        }
    }
    return cursor->status();
}

Result<std::vector<OpenSend>> read_open_sends(const View& view) {
    std::map<std::pair<std::uint32_t, std::string>, OpenSend> open;
    const auto read = each_open(*view.snapshot, *view.hubs, [&](OpenRecord&& found) {
        OpenSend& send = open[{found.hub, found.send.id}];
        send.hub = *view.hubs->find(found.hub);
        send.send = std::move(found.send);
        send.selection.partitions = std::move(found.selection);
        send.progress = std::move(found.progress);
    });
    if (!read) return read.error();
    std::vector<OpenSend> sends;
    sends.reserve(open.size());
    for (auto& [key, send] : open) sends.push_back(std::move(send));
    return sends;
}

Result<SendPage> read_sends(const View& view, std::uint32_t hub, const SendQuery& query) {
    SendPage page;
    PageFill fill(query.count_max);
    const std::string prefix = ledger_hub_prefix(LedgerKind::send, hub);
    const auto cursor = view.snapshot->cursor_down(Family::ledger);
    cursor->seek(query.below.empty() ? after_prefix(prefix)
                                     : ledger_key(LedgerKind::send, hub, query.below));
    for (std::size_t reads = 0; cursor->valid(); cursor->next(), ++reads) {
        if (!cursor->key().starts_with(prefix)) break;
        auto record = decode_send(cursor->value());
        if (!record) return record.error();
        StoredSend stored;
        stored.record = std::move(*record);
        if (auto read = read_progress(*view.snapshot, hub, stored); !read) return read.error();
        Send& row = stored.record.send;
        if (row.enqueued_at_ms < query.enqueued_from_ms) break;
        const auto& states = query.states;
        const bool wanted = row.enqueued_at_ms <= query.enqueued_to_ms &&
                            (query.format.empty() || row.format == query.format) &&
                            (states.empty() || std::find(states.begin(), states.end(),
                                                         stored.progress.state) != states.end());
        std::string id = row.id;
        if (wanted) {
            row.body.clear();
            row.direct_handles.clear();
            fill.add(bytes_of(row));
            page.sends.emplace_back(std::move(row), std::move(stored.progress));
        }
        if (!fill.full() && reads + 1 < query.reads_max) continue;
        page.next = std::move(id);
        break;
    }
    if (auto status = cursor->status(); !status) return status.error();
    return page;
}

}  // namespace registry
