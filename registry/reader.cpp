#include "registry/reader.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "registry/partition.hpp"

namespace registry {
namespace {

constexpr std::size_t listed_by_rows_max = 10'000;
constexpr int steps_before_seek = 8;

Result<Row> read_row(const View& view, std::uint32_t hub, Address address) {
    std::string bytes;
    const auto found =
        view.snapshot->get(Family::rows, row_key(hub, address.partition, address.number), bytes);
    if (!found) return found.error();
    if (!*found) return make_error_code(errc::corrupt);
    return decode_row(bytes);
}

/// The installation that a row says it is a part of.
Result<Installation> owner_of(const View& view, std::uint32_t hub, std::string_view id,
                              Reach reach) {
    auto owner = read_installation(view, hub, id, reach);
    if (!owner && owner.error() == errc::not_found) return make_error_code(errc::corrupt);
    return owner;
}

Result<Registration> registration_of(const View& view, std::uint32_t hub, const Row& row) {
    if (row.installation_id.empty()) return to_registration(row, nullptr);
    const auto owner = owner_of(view, hub, row.installation_id, Reach::disk);
    if (!owner) return owner.error();
    return to_registration(row, &*owner);
}

Result<Registration> registration_at(const View& view, std::uint32_t hub, Address address) {
    const auto row = read_row(view, hub, address);
    if (!row) return row.error();
    return registration_of(view, hub, *row);
}

/// Adds to a page and tells when it is full; one more row than fits shows that there is a next
/// page.
class PageBuilder {
  public:
    explicit PageBuilder(std::size_t count_max) : count_max_(std::max<std::size_t>(count_max, 1)) {}
    bool full() const { return more_; }
    Result<void> add(const View& view, std::uint32_t hub, Address address) {
        if (page_.registrations.size() == count_max_) {
            more_ = true;
            page_.next = page_.registrations.back().id;
            return {};
        }
        auto value = registration_at(view, hub, address);
        if (!value) return value.error();
        page_.registrations.push_back(std::move(*value));
        return {};
    }
    Page take() { return std::move(page_); }

  private:
    const std::size_t count_max_;
    bool more_ = false;
    Page page_;
};

/// Few enough to look at each: their rows say the ids, which are then put in order.
Result<Page> list_few(const View& view, std::uint32_t hub, const std::vector<Bitmap>& wanted,
                      std::string_view after, std::size_t count_max) {
    std::vector<std::pair<std::string, Address>> ids;
    for (std::size_t p = 0; p < wanted.size(); ++p) {
        for (const std::uint32_t number : wanted[p]) {
            const Address address{static_cast<std::uint16_t>(p), number};
            auto row = read_row(view, hub, address);
            if (!row) return row.error();
            if (row->registration_id > after) {
                ids.emplace_back(std::move(row->registration_id), address);
            }
        }
    }
    std::sort(ids.begin(), ids.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    PageBuilder page(count_max);
    for (const auto& [id, address] : ids) {
        if (auto added = page.add(view, hub, address); !added) return added.error();
        if (page.full()) break;
    }
    return page.take();
}

/// All, or so many that walking the ids meets them soon. `wanted` null: all.
Result<Page> list_many(const View& view, std::uint32_t hub, const std::vector<Bitmap>* wanted,
                       std::string_view after, std::size_t count_max) {
    PageBuilder page(count_max);
    const std::string prefix = hub_prefix(hub);
    const std::string start = id_key(hub, after);
    const auto cursor = view.snapshot->cursor(Family::ids);
    for (cursor->seek(start); cursor->valid() && !page.full(); cursor->next()) {
        if (!cursor->key().starts_with(prefix)) break;
        if (!after.empty() && cursor->key() == start) continue;
        const auto entry = decode_id(cursor->value());
        if (!entry) return entry.error();
        if (entry->gone) continue;
        if (wanted != nullptr) {
            if (entry->partition >= wanted->size()) return make_error_code(errc::corrupt);
            if (!(*wanted)[entry->partition].contains(entry->number)) continue;
        }
        const auto added = page.add(view, hub, {entry->partition, entry->number});
        if (!added) return added.error();
    }
    if (auto status = cursor->status(); !status) return status.error();
    return page.take();
}

}  // namespace

Result<Registration> read_registration(const View& view, std::uint32_t hub, std::string_view id) {
    if (view.hubs->find(hub) == nullptr) return make_error_code(errc::not_found);
    std::string bytes;
    const auto found = view.snapshot->get(Family::ids, id_key(hub, id), bytes);
    if (!found) return found.error();
    if (!*found) return make_error_code(errc::not_found);
    const auto entry = decode_id(bytes);
    if (!entry) return entry.error();
    if (entry->gone) return make_error_code(errc::not_found);
    return registration_at(view, hub, {entry->partition, entry->number});
}

Result<Installation> read_installation(const View& view, std::uint32_t hub, std::string_view id,
                                       Reach reach) {
    if (view.hubs->find(hub) == nullptr) return make_error_code(errc::not_found);
    std::string bytes;
    const auto found = view.snapshot->get(Family::installations, id_key(hub, id), bytes, reach);
    if (!found) return found.error();
    if (!*found) return make_error_code(errc::not_found);
    auto record = decode_installation(id, bytes);
    if (!record) return record.error();
    return std::move(record->value);
}

Result<Page> list_registrations(const View& view, std::uint32_t hub, std::string_view tag,
                                std::string_view after, std::size_t count_max) {
    const HubRow* const row = view.hubs->find(hub);
    if (row == nullptr) return make_error_code(errc::not_found);
    if (tag.empty()) return list_many(view, hub, nullptr, after, count_max);
    std::vector<Bitmap> wanted;
    std::uint64_t total = 0;
    const auto cursor = view.snapshot->cursor(Family::postings, true);
    for (std::uint16_t p = 0; p < row->partitions; ++p) {
        auto bitmap = read_posting(*cursor, tag_prefix(hub, p, tag));
        if (!bitmap) return bitmap.error();
        total += bitmap->cardinality();
        wanted.push_back(std::move(*bitmap));
    }
    if (total <= listed_by_rows_max) return list_few(view, hub, wanted, after, count_max);
    return list_many(view, hub, &wanted, after, count_max);
}

Result<std::vector<Registration>> find_handle(const View& view, std::uint32_t hub,
                                              std::string_view handle, std::size_t count_max) {
    if (view.hubs->find(hub) == nullptr) return make_error_code(errc::not_found);
    std::vector<Registration> found;
    const std::string prefix = handle_prefix(hub, handle);
    const auto cursor = view.snapshot->cursor(Family::handles, true);
    for (cursor->seek(prefix); cursor->valid() && found.size() < count_max; cursor->next()) {
        if (!cursor->key().starts_with(prefix)) break;
        const auto place = address_at_end(cursor->key());
        if (!place) return place.error();
        auto value = registration_at(view, hub, {place->first, place->second});
        if (!value) return value.error();
        if (value->handle == handle) found.push_back(std::move(*value));
    }
    if (auto status = cursor->status(); !status) return status.error();
    std::sort(found.begin(), found.end(),
              [](const Registration& a, const Registration& b) { return a.id < b.id; });
    return found;
}

namespace {

/// Up to here rows are asked for one by one, which spares two cursors and lets filters answer.
constexpr std::size_t loaded_singly_max = 4;

using Place = std::pair<std::size_t, std::size_t>;  // offset and size in the arena

Result<void> load_few(const View& view, std::uint32_t hub, std::uint16_t partition,
                      std::span<const std::uint32_t> numbers, std::vector<Place>& places,
                      std::string& arena, Bitmap& shared, Reach reach) {
    const std::string prefix = internal_prefix(hub, partition, shares_name);
    std::string bytes;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const auto found =
            view.snapshot->get(Family::rows, row_key(hub, partition, numbers[i]), bytes, reach);
        if (!found) return found.error();
        if (!*found) continue;
        places[i] = {arena.size(), bytes.size()};
        arena.append(bytes);
        const auto chunk = static_cast<std::uint16_t>(numbers[i] >> 16);
        const auto sharers =
            view.snapshot->get(Family::postings, chunk_key(prefix, chunk), bytes, reach);
        if (!sharers) return sharers.error();
        Chunk members;
        if (*sharers && !decode_chunk(bytes, members)) return make_error_code(errc::corrupt);
        if (*sharers && members.contains(static_cast<std::uint16_t>(numbers[i] & 0xffff)))
            shared.add(numbers[i]);
    }
    return {};
}

Result<void> load_many(const View& view, std::uint32_t hub, std::uint16_t partition,
                       std::span<const std::uint32_t> numbers, std::vector<Place>& places,
                       std::string& arena, Bitmap& shared) {
    const auto postings = view.snapshot->cursor(Family::postings, true);
    auto sharers = read_posting(*postings, internal_prefix(hub, partition, shares_name));
    if (!sharers) return sharers.error();
    shared = std::move(*sharers);
    const auto rows = view.snapshot->cursor(Family::rows);
    bool placed = false;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const std::string key = row_key(hub, partition, numbers[i]);
        int steps = placed ? 0 : steps_before_seek;
        while (steps < steps_before_seek && rows->valid() && rows->key() < key) {
            rows->next();
            ++steps;
        }
        if (steps == steps_before_seek) rows->seek(key);
        placed = true;
        if (auto status = rows->status(); !status) return status.error();
        if (!rows->valid() || rows->key() != key) continue;
        const std::string_view value = rows->value();
        places[i] = {arena.size(), value.size()};
        arena.append(value);
    }
    return {};
}

Result<void> load(const View& view, std::uint32_t hub, std::uint16_t partition,
                  std::span<const std::uint32_t> numbers, std::int64_t now_ms, DeviceChunk& chunk,
                  Reach reach) {
    chunk.devices.assign(numbers.size(), {});
    chunk.bytes.resize(1);
    std::string& arena = chunk.bytes.front();
    arena.clear();
    if (numbers.empty()) return {};
    // First the bytes, then the views into them: the arena moves while it grows.
    std::vector<Place> places(numbers.size());
    Bitmap shared;
    const auto found = numbers.size() <= loaded_singly_max
                           ? load_few(view, hub, partition, numbers, places, arena, shared, reach)
                           : load_many(view, hub, partition, numbers, places, arena, shared);
    if (!found) return found.error();
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        Device& device = chunk.devices[i];
        device.number = numbers[i];
        if (places[i].second == 0) continue;
        const auto bytes = std::string_view(arena).substr(places[i].first, places[i].second);
        if (auto decoded = decode_device(bytes, device); !decoded) return decoded.error();
        device.present = true;
        device.shares_handle = shared.contains(numbers[i]);
        if (device.expires_at_ms > now_ms || device.installation_id.empty()) continue;
        // A row does not follow its installation through every start of the app: where its time
        // seems to be over, the installation knows.
        const auto owner = owner_of(view, hub, device.installation_id, reach);
        if (!owner) return owner.error();
        device.registered_at_ms = owner->registered_at_ms;
        device.expires_at_ms = owner->expires_at_ms;
    }
    return {};
}

}  // namespace

Result<void> load_devices(const View& view, std::uint32_t hub, std::uint16_t partition,
                          std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                          DeviceChunk& chunk) {
    return load(view, hub, partition, numbers, now_ms, chunk, Reach::disk);
}

Result<void> load_at_once(const View& view, std::uint32_t hub, std::uint16_t partition,
                          std::span<const std::uint32_t> numbers, std::int64_t now_ms,
                          DeviceChunk& chunk) {
    if (numbers.size() > loaded_singly_max) return make_error_code(errc::not_in_memory);
    return load(view, hub, partition, numbers, now_ms, chunk, Reach::memory);
}

// --- ledger ---

namespace {

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
    std::uint16_t done_partitions = 0;
    bool progress_stored = false;  ///< beside the one in the record
};

Result<void> read_progress(const Snapshot& snapshot, std::uint32_t hub, StoredSend& stored) {
    std::string bytes;
    const auto key = ledger_key(LedgerKind::progress, hub, stored.record.send.id);
    const auto found = snapshot.get(Family::ledger, key, bytes);
    if (!found) return found.error();
    stored.progress_stored = *found;
    if (!*found) {
        stored.progress = stored.record.first;
        stored.done_partitions = stored.record.first_done;
        return {};
    }
    auto progress = decode_progress(bytes);
    if (!progress) return progress.error();
    std::tie(stored.progress, stored.done_partitions) = std::move(*progress);
    return {};
}

Result<StoredSend> stored_send(const Snapshot& snapshot, std::uint32_t hub, std::string_view id) {
    std::string bytes;
    const auto found = snapshot.get(Family::ledger, ledger_key(LedgerKind::send, hub, id), bytes);
    if (!found) return found.error();
    if (!*found) return make_error_code(errc::not_found);
    auto record = decode_send(bytes);
    if (!record) return record.error();
    StoredSend stored;
    stored.record = std::move(*record);
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
    if (auto read = read_frozen(snapshot, *stored, open); !read) return read.error();
    auto done = read_bitmaps(snapshot, LedgerKind::done, hub, id, stored->done_partitions,
                             open.done_stored);
    if (!done) return done.error();
    open.progress.done = std::move(*done);
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
    for (auto& [key, send] : open) sends.push_back(std::move(send));
    return sends;
}

Result<SendPage> read_sends(const View& view, std::uint32_t hub, const SendQuery& query) {
    SendPage page;
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
            page.sends.emplace_back(std::move(row), std::move(stored.progress));
        }
        if (page.sends.size() < query.count_max && reads + 1 < query.reads_max) continue;
        page.next = std::move(id);
        break;
    }
    if (auto status = cursor->status(); !status) return status.error();
    return page;
}

}  // namespace registry
