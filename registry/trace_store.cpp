// Tested by tests/registry_trace_test.cpp.
//
// Writers (the threads of the trace and of the feedback) append in batches; readers walk a prefix,
// newest first, and put the attempts of a push together. A shared lock keeps the database open
// under readers; a writer, one at a time, takes it alone only to open the database again after a
// failed write of the log. tidy() closes files by age, so FIFO compaction can drop them, and
// shortens the life of retirements when they take too much room.

#include "registry/trace_store.hpp"

#include <rocksdb/compaction_filter.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "registry/bytes.hpp"
#include "registry/keys.hpp"
#include "registry/page_fill.hpp"
#include "registry/rocks_log.hpp"
#include "registry/rocks_status.hpp"
#include "registry/rocks_watch.hpp"
#include "registry/trace_block.hpp"

namespace registry {
namespace {

constexpr const char* store_name = "trace";
constexpr std::uint64_t wal_bytes_max = 64u << 20;
constexpr int filter_bits_per_key = 10;
constexpr std::size_t probe_bytes = 256u << 10;
constexpr std::size_t batch_entries = 2'000;  // events or erasures written at once
constexpr std::size_t batch_bytes = 1u << 20;
constexpr const char* next_block_key = "next block";
constexpr std::string_view pending_name = "Pending";

enum TraceFamily : std::size_t { meta, pushes, retirements, held_ones, details_of, place_count };
/// On disk: never rename one.
constexpr std::array<const char*, place_count> place_names{"default", "pushes", "retirements",
                                                           "held", "details"};

rocksdb::Slice slice(std::string_view text) {
    return {text.data(), text.size()};
}
std::string_view view(const rocksdb::Slice& text) {
    return {text.data(), text.size()};
}

/// Drops retirements from before a moment that tidy() moves.
class OldRetirements final : public rocksdb::CompactionFilter {
  public:
    const char* Name() const override { return "pushhub.old_retirements"; }
    bool Filter(int, const rocksdb::Slice& key, const rocksdb::Slice&, std::string*,
                bool*) const override {
        const auto at = retirement_time(view(key));
        return at && *at < horizon_ms.load(std::memory_order_relaxed);
    }
    std::atomic<std::int64_t> horizon_ms{0};
};

bool same_name(std::string_view a, std::string_view b) {
    return fold(a) == fold(b);
}

TracedPush head_of(const TraceEvent& event) {
    TracedPush push;
    push.send_id = event.send_id;
    push.enqueued_at_ms = event.enqueued_at_ms;
    push.kind = event.kind;
    push.device_id = event.device_id;
    push.registration_id = event.registration_id;
    push.platform = event.platform;
    push.templated = event.templated;
    return push;
}

TracedAttempt attempt_of(const TraceEvent& event) {
    TracedAttempt attempt;
    attempt.attempt = event.attempt;
    attempt.at_ms = event.at_ms;
    attempt.took_ms = event.took_ms;
    attempt.retry_at_ms = event.retry_at_ms;
    attempt.outcome = event.outcome;
    attempt.reason = event.reason;
    attempt.provider_id = event.provider_id;
    return attempt;
}

/// What of a device key names the push: all but time and attempt.
constexpr std::size_t event_tail_bytes = 9;

}  // namespace

namespace {

/// An event within a block, and when its send was enqueued.
struct BlockPlace {
    std::int64_t enqueued_at_ms = 0;
    std::uint64_t block = 0;
    std::uint8_t event = 0;
    friend bool operator==(const BlockPlace&, const BlockPlace&) = default;
};

bool newer_send_first(const BlockPlace& a, const BlockPlace& b) {
    if (a.enqueued_at_ms != b.enqueued_at_ms) return a.enqueued_at_ms > b.enqueued_at_ms;
    return a.block != b.block ? a.block < b.block : a.event < b.event;
}

}  // namespace

struct TraceStore::Impl {
    explicit Impl(const TraceOptions& wanted) : options(wanted) {}
    ~Impl() { close(); }
    void close() {
        for (rocksdb::ColumnFamilyHandle*& place : places) {
            if (place != nullptr) db->DestroyColumnFamilyHandle(place);
            place = nullptr;
        }
        if (db != nullptr) db->Close();
        db.reset();
    }

    rocksdb::ColumnFamilyOptions place_options(TraceFamily place);
    enum class Access : std::uint8_t { all, reads };
    rocksdb::Status open(const std::string& path, Access wanted_access);
    std::unique_ptr<rocksdb::Iterator> cursor(TraceFamily place, bool within_prefix) const {
        rocksdb::ReadOptions reading;
        reading.prefix_same_as_start = within_prefix;
        reading.total_order_seek = !within_prefix;
        return std::unique_ptr<rocksdb::Iterator>(db->NewIterator(reading, places[place]));
    }
    /// After a failed flush RocksDB refuses all writes until it is told to go on.
    Result<void> write(rocksdb::WriteBatch& batch, bool sync = false) {
        rocksdb::WriteOptions how;
        how.sync = sync;
        rocksdb::Status status = db->Write(how, &batch);
        const bool may_resume = !status.ok() && !watch->log_failed();
        if (may_resume && db->Resume().ok()) status = db->Write(how, &batch);
        return as_result(status);
    }
    /// First thing of whatever writes, which holds `writing`: after a failed write of the log the
    /// database is opened again, once the disk takes something; where it takes nothing then, for
    /// reading.
    Result<void> mend();
    /// Erases what `keys_of(cursor, batch)` names for every entry under `prefix`.
    template <class KeysOf>
    Result<std::size_t> erase(TraceFamily place, const std::string& prefix, KeysOf keys_of);
    Result<RetirementPage> retirements_of(std::uint32_t hub, const std::string& prefix,
                                          std::string_view after, std::size_t count_max,
                                          std::int64_t now_ms) const;

    // --- blocks of events ---
    /// What the families say of blocks that were written before.
    Result<void> find_blocks();
    void put_row(rocksdb::WriteBatch& batch, const TraceEvent& event, std::string_view bytes);
    /// One block and what leads to it.
    void put_block(rocksdb::WriteBatch& batch, std::string_view block, const BlockMade& made,
                   std::span<const TraceEvent* const> events);
    /// Makes one index of each full segment of the indices of its blocks.
    Result<void> seal_segments();
    bool exists(const std::string& key) const {
        rocksdb::PinnableSlice value;
        return db->Get({}, places[pushes], slice(key), &value).ok();
    }
    /// Where blocks speak of the device: newest send first, and each place once. Only of sends
    /// enqueued at or before `enqueued_max`; about `count_max` of them, if there are more.
    Result<std::vector<BlockPlace>> places_of(std::uint32_t hub, DeviceKind kind,
                                              std::string_view id, std::int64_t enqueued_max,
                                              std::size_t count_max) const;
    /// The events of a block; nothing if it is gone.
    struct OpenBlock {
        std::string bytes, texts;
        std::vector<TraceEvent> events;  ///< views into both
    };
    Result<std::shared_ptr<const OpenBlock>> open_block(std::uint64_t block) const;
    class DeviceBlocks;
    class SendBlocks;
    /// What blocks before it say of the device is erased.
    Result<std::uint64_t> erased_before(std::uint32_t hub, DeviceKind kind,
                                        std::string_view id) const;

    const TraceOptions options;
    OldRetirements old_retirements;
    std::shared_ptr<RocksLog> info_log;
    std::mutex writing;               ///< held by who writes; before `mutex`
    mutable std::shared_mutex mutex;  ///< readers hold the database open with it
    std::shared_ptr<RocksWatch> watch;
    std::unique_ptr<rocksdb::DB> db;  ///< null: it could not be opened again yet
    Access access = Access::all;
    std::array<rocksdb::ColumnFamilyHandle*, place_count> places{};
    std::int64_t retirements_kept_ms = 0;  ///< shorter than wanted while they take too much room
    std::atomic<std::uint64_t> next_block{0};      ///< only who writes changes it and the next two
    std::atomic<std::uint64_t> first_unsealed{0};  ///< segment
    std::atomic<bool> has_erasures{false};         ///< of devices in blocks, perhaps
};

rocksdb::ColumnFamilyOptions TraceStore::Impl::place_options(TraceFamily place) {
    rocksdb::ColumnFamilyOptions out;
    out.compression = rocksdb::kLZ4Compression;
    out.write_buffer_size = 4u << 20;
    rocksdb::BlockBasedTableOptions table;
    table.format_version = 5;
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(filter_bits_per_key, false));
    if (place == pushes || place == retirements) {
        out.prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(trace_prefix_bytes));
        out.memtable_prefix_bloom_size_ratio = 0.05;
        table.whole_key_filtering = false;
    }
    if (place == pushes || place == details_of) {
        const std::uint64_t bytes_max =
            place == pushes ? options.pushes_bytes_max : options.details_bytes_max;
        out.write_buffer_size = options.memtable_bytes;
        if (place == details_of)
            out.write_buffer_size = std::clamp<std::size_t>(bytes_max / 16, 256u << 10, 8u << 20);
        out.compaction_style = rocksdb::kCompactionStyleFIFO;
        out.compaction_options_fifo.max_table_files_size = bytes_max;
        out.compaction_options_fifo.allow_compaction = false;
        // A file is as old as its first entry; tidy() sees to it that none spans more than this.
        const std::int64_t kept_s =
            (place == pushes ? options.pushes_kept_ms : options.details_kept_ms) / 1'000;
        out.ttl = static_cast<std::uint64_t>(kept_s + kept_s / 32 + 1);
        out.level0_slowdown_writes_trigger = out.level0_stop_writes_trigger = 1 << 20;
    }
    if (place == retirements) out.compaction_filter = &old_retirements;
    out.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    return out;
}

rocksdb::Status TraceStore::Impl::open(const std::string& path, Access wanted_access) {
    access = wanted_access;
    rocksdb::DBOptions wanted;
    if (options.env != nullptr) wanted.env = options.env;
    wanted.create_if_missing = true;
    wanted.create_missing_column_families = true;
    // Nothing here is synced: after a power cut the log may end anywhere.
    wanted.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
    wanted.max_total_wal_size = wal_bytes_max;
    wanted.allow_fallocate = false;       // leaves a full disk to the registry
    wanted.max_file_opening_threads = 1;  // RocksDB ends the process if it gets fewer than it wants
    if (!info_log) info_log = std::make_shared<RocksLog>(path);
    wanted.info_log = info_log;
    watch = std::make_shared<RocksWatch>();
    wanted.listeners = {watch};
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (std::size_t i = 0; i < place_count; ++i) {
        families.emplace_back(place_names[i], place_options(static_cast<TraceFamily>(i)));
    }
    std::vector<rocksdb::ColumnFamilyHandle*> opened;
    rocksdb::DB* raw = nullptr;
    auto status = access == Access::reads
                      ? rocksdb::DB::OpenForReadOnly(wanted, path, families, &opened, &raw)
                      : rocksdb::DB::Open(wanted, path, families, &opened, &raw);
    db.reset(raw);
    std::copy(opened.begin(), opened.end(), places.begin());
    return status;
}

Result<void> TraceStore::Impl::mend() {
    if (db != nullptr && access == Access::all && !watch->log_failed()) return {};
    rocksdb::Env* const env = options.env != nullptr ? options.env : rocksdb::Env::Default();
    const std::string probe = (options.directory / "trace.probe").string();
    std::unique_ptr<rocksdb::WritableFile> file;
    rocksdb::Status status = env->NewWritableFile(probe, &file, rocksdb::EnvOptions());
    if (status.ok()) status = file->Append(std::string(probe_bytes, 'x'));
    file.reset();
    env->DeleteFile(probe).PermitUncheckedError();
    if (!status.ok()) return as_result(status);
    const std::unique_lock lock(mutex);
    close();
    const std::string path = (options.directory / store_name).string();
    status = open(path, Access::all);
    if (!status.ok()) open(path, Access::reads).PermitUncheckedError();
    return as_result(status);
}

TraceStore::TraceStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TraceStore::~TraceStore() = default;

Result<std::unique_ptr<TraceStore>> TraceStore::open(const TraceOptions& options,
                                                     std::string& why) {
    const std::filesystem::path path = options.directory / store_name;
    const auto refuse = [&](errc code, const std::string& what) {
        why = "The trace in " + path.string() + " cannot be opened: " + what +
              ". Nothing was changed. Registrations and sends are not in it: moving the directory "
              "away gives up only the trace, error details, the reasons of retirements and those "
              "still "
              "held.";
        return make_error_code(code);
    };
    std::error_code failure;
    std::filesystem::create_directories(options.directory, failure);
    if (failure) return refuse(errc::io_error, failure.message());
    auto impl = std::make_unique<Impl>(options);
    impl->retirements_kept_ms = options.retirements_kept_ms;
    const auto status = impl->open(path.string(), Impl::Access::all);
    if (!status.ok()) {
        return refuse(status.IsCorruption() ? errc::corrupt : errc::io_error, status.ToString());
    }
    std::string bytes;
    const auto found = impl->db->Get({}, impl->places[meta], version_key, &bytes);
    if (found.IsNotFound()) {
        const auto put = impl->db->Put({}, impl->places[meta], version_key,
                                       std::string(1, static_cast<char>(trace_format_version)));
        if (!put.ok()) return refuse(errc::io_error, put.ToString());
    } else {
        const auto version = decode_version(bytes);
        const bool known =
            version && *version >= oldest_trace_format_version && *version <= trace_format_version;
        if (!found.ok() || !known) {
            return refuse(errc::corrupt,
                          "its format version is not " + std::to_string(trace_format_version));
        }
        if (*version < trace_format_version) {
            const auto put = impl->db->Put({}, impl->places[meta], version_key,
                                           std::string(1, static_cast<char>(trace_format_version)));
            if (!put.ok()) return refuse(errc::io_error, put.ToString());
        }
    }
    if (const auto ready = impl->find_blocks(); !ready)
        return refuse(errc::corrupt, ready.error().message());
    return std::unique_ptr<TraceStore>(new TraceStore(std::move(impl)));
}

// --- pushes ---

Result<void> TraceStore::Impl::find_blocks() {
    std::string bytes;
    std::uint64_t next = 0;
    const auto noted = db->Get({}, places[meta], next_block_key, &bytes);
    if (!noted.ok() && !noted.IsNotFound()) return as_result(noted);
    if (noted.ok()) {
        const auto bound = decode_block_bound(bytes);
        if (!bound) return bound.error();
        next = *bound;
    }
    const auto at = cursor(pushes, false);
    const auto key_has = [&](char letter) { return at->Valid() && at->key()[0] == letter; };
    at->SeekForPrev(slice(std::string(1, block_letter + 1)));
    if (key_has(block_letter)) {
        const auto last = block_of(view(at->key()));
        if (!last) return last.error();
        next = std::max(next, *last + 1);
    }
    at->SeekForPrev(slice(std::string(1, block_index_letter + 1)));
    if (key_has(block_index_letter)) {
        const auto last = block_of_index(view(at->key()));
        if (!last) return last.error();
        next = std::max(next, *last + 1);
    }
    next_block = next;
    first_unsealed = next / segment_blocks;
    at->Seek(slice(std::string(1, block_index_letter)));
    if (key_has(block_index_letter)) {
        const auto first = block_of_index(view(at->key()));
        if (!first) return first.error();
        first_unsealed = *first / segment_blocks;
    }
    at->Seek(slice(std::string(1, erasure_letter)));
    has_erasures = key_has(erasure_letter);
    return as_result(at->status());
}

void TraceStore::Impl::put_row(rocksdb::WriteBatch& batch, const TraceEvent& event,
                               std::string_view bytes) {
    batch.Put(places[pushes], slice(trace_device_key(event)), slice(bytes));
    batch.Put(places[pushes], slice(trace_send_key(event)), slice(encode_trace_reference(event)));
}

void TraceStore::Impl::put_block(rocksdb::WriteBatch& batch, std::string_view bytes,
                                 const BlockMade& made, std::span<const TraceEvent* const> events) {
    const std::uint64_t block = next_block++;
    const TraceEvent& first = *events[0];
    const auto place = static_cast<std::uint8_t>(block % segment_blocks);
    std::array<IndexEntry, block_events_max> entries;
    for (std::size_t i = 0; i < events.size(); ++i) {
        const TraceEvent& event = *events[i];
        entries[i] = {first.enqueued_at_ms, device_mark(event.hub, event.kind, event.device_id),
                      place, static_cast<std::uint8_t>(i)};
    }
    batch.Put(places[pushes], slice(block_key(block)), slice(bytes));
    batch.Put(places[pushes],
              slice(send_block_key(first.hub, first.send_id, made.newest_ms, block)),
              slice(encode_send_block(made.newest_ms - made.oldest_ms)));
    batch.Put(places[pushes], slice(block_index_key(block)),
              slice(encode_index(std::span(entries).first(events.size()))));
}

Result<void> TraceStore::Impl::seal_segments() {
    const std::uint64_t end = next_block / segment_blocks;
    for (std::uint64_t segment = first_unsealed; segment < end; ++segment) {
        rocksdb::WriteBatch batch;
        std::vector<IndexEntry> entries;
        const std::string prefix = block_index_prefix(segment);
        const auto at = cursor(pushes, true);
        for (at->Seek(slice(prefix)); at->Valid() && at->key().starts_with(slice(prefix));
             at->Next()) {
            if (const auto read = read_index(view(at->value()), nullptr, entries); !read)
                return read.error();
            batch.Delete(places[pushes], at->key());
        }
        if (const auto status = as_result(at->status()); !status) return status.error();
        std::vector<std::vector<IndexEntry>> buckets(mark_buckets);
        for (const IndexEntry& entry : entries) buckets[bucket_of(entry.mark)].push_back(entry);
        for (std::uint64_t bucket = 0; bucket < mark_buckets; ++bucket) {
            if (buckets[bucket].empty()) continue;
            batch.Put(places[pushes], slice(segment_index_key(bucket, segment)),
                      slice(encode_index(buckets[bucket])));
        }
        batch.Put(places[meta], next_block_key, slice(encode_block_bound(next_block)));
        if (const auto written = write(batch); !written) return written.error();
        first_unsealed = segment + 1;
    }
    return {};
}

Result<std::size_t> TraceStore::write_events(std::string_view bytes) {
    struct Parsed {
        TraceEvent event;
        std::string_view bytes;
    };
    std::vector<Parsed> parsed;
    while (!bytes.empty()) {
        const std::string_view before = bytes;
        const auto event = take_trace_event(bytes);
        if (!event) return event.error();
        parsed.push_back({*event, before.substr(0, before.size() - bytes.size())});
    }
    // Sends whose pushes may be in blocks of an earlier process get rows, so that what happened to
    // a push again is found by its key.
    std::map<std::pair<std::uint32_t, std::string_view>, std::vector<const Parsed*>> by_send;
    std::vector<const Parsed*> rows;
    auto same = by_send.end();
    for (const Parsed& one : parsed) {
        const TraceEvent& event = one.event;
        const bool taken_up = event.enqueued_at_ms <= impl_->options.opened_at_ms;
        if (taken_up || !tells_all(event)) {
            rows.push_back(&one);
            continue;
        }
        const bool as_before = same != by_send.end() && same->first.first == event.hub &&
                               same->first.second == event.send_id;
        if (!as_before) same = by_send.try_emplace({event.hub, event.send_id}).first;
        const bool fits = same->second.empty() ||
                          same->second.front()->event.enqueued_at_ms == event.enqueued_at_ms;
        (fits ? same->second : rows).push_back(&one);
    }

    const std::lock_guard turn(impl_->writing);
    if (const auto mended = impl_->mend(); !mended) return mended.error();
    rocksdb::WriteBatch batch;
    std::string block;
    std::vector<const TraceEvent*> events;
    for (const auto& [send, ones] : by_send) {
        events.clear();
        for (const Parsed* one : ones) events.push_back(&one->event);
        for (std::size_t at = 0; at < ones.size();) {
            const auto rest = std::span(events).subspan(at);
            BlockMade made;
            if (rest.size() >= impl_->options.block_events_min) made = encode_block(block, rest);
            if (made.events < impl_->options.block_events_min) {
                const std::size_t few = std::max<std::size_t>(made.events, 1);
                rows.insert(rows.end(), ones.begin() + static_cast<std::ptrdiff_t>(at),
                            ones.begin() + static_cast<std::ptrdiff_t>(at + few));
                at += few;
                continue;
            }
            impl_->put_block(batch, block, made, rest.first(made.events));
            at += made.events;
            if (batch.GetDataSize() < batch_bytes) continue;
            if (const auto written = impl_->write(batch); !written) return written.error();
            batch.Clear();
        }
    }
    std::size_t count = 0;
    std::string_view told;
    for (const Parsed* one : rows) {
        const TraceEvent& event = one->event;
        impl_->put_row(batch, event, one->bytes);
        if (event.enqueued_at_ms <= impl_->options.opened_at_ms && event.send_id != told) {
            told = event.send_id;
            batch.Put(impl_->places[pushes], slice(taken_up_key(event.hub, told)),
                      slice(encode_taken_up()));
        }
        if (++count % batch_entries != 0) continue;
        if (const auto written = impl_->write(batch); !written) return written.error();
        batch.Clear();
    }
    if (const auto written = impl_->write(batch); !written) return written.error();
    // The events are written: what cannot be sealed now is sealed with a later segment.
    if (impl_->first_unsealed < impl_->next_block / segment_blocks)
        static_cast<void>(impl_->seal_segments());
    return parsed.size();
}

namespace {

/// Of the texts of a page; an attempt has times and names besides.
std::size_t bytes_of(const TracedPush& push) {
    constexpr std::size_t attempt_bytes = 128;
    std::size_t bytes = push.send_id.size() + push.device_id.size() + push.registration_id.size();
    for (const TracedAttempt& attempt : push.attempts)
        bytes += attempt_bytes + attempt.reason.size() + attempt.provider_id.size();
    return bytes;
}

/// The push that `prefix` names; nothing if its events are gone.
Result<std::optional<TracedPush>> read_push(rocksdb::Iterator& at, const std::string& prefix) {
    std::optional<TracedPush> push;
    for (at.Seek(slice(prefix)); at.Valid() && at.key().starts_with(slice(prefix)); at.Next()) {
        const auto event = decode_trace_event(view(at.value()));
        if (!event) return event.error();
        if (!push) push = head_of(*event);
        if (push->attempts.size() == TraceStore::attempts_max)
            push->attempts.erase(push->attempts.begin());
        push->attempts.push_back(attempt_of(*event));
    }
    if (const auto status = as_result(at.status()); !status) return status.error();
    return push;
}

}  // namespace

Result<std::vector<BlockPlace>> TraceStore::Impl::places_of(std::uint32_t hub, DeviceKind kind,
                                                            std::string_view id,
                                                            std::int64_t enqueued_max,
                                                            std::size_t count_max) const {
    const std::uint32_t mark = device_mark(hub, kind, id);
    std::vector<BlockPlace> found;
    std::vector<IndexEntry> entries;
    const auto sort_out = [&] {
        std::sort(found.begin(), found.end(), newer_send_first);
        found.erase(std::unique(found.begin(), found.end()), found.end());
        if (found.size() > count_max) found.resize(count_max);
    };
    // Read before the cursor shows a state: what is sealed meanwhile is found in either.
    const std::uint64_t unsealed = first_unsealed, end = next_block / segment_blocks;
    const auto at = cursor(pushes, true);
    const auto scan = [&](const std::string& prefix, auto&& segment_of_key) -> Result<void> {
        for (at->Seek(slice(prefix)); at->Valid() && at->key().starts_with(slice(prefix));
             at->Next()) {
            entries.clear();
            if (const auto read = read_index(view(at->value()), &mark, entries); !read)
                return read.error();
            if (entries.empty()) continue;
            const Result<std::uint64_t> segment = segment_of_key(view(at->key()));
            if (!segment) return segment.error();
            for (const IndexEntry& entry : entries) {
                if (entry.enqueued_at_ms > enqueued_max) continue;
                found.push_back(
                    {entry.enqueued_at_ms, *segment * segment_blocks + entry.block, entry.event});
            }
            if (found.size() / 2 > count_max) sort_out();
        }
        return as_result(at->status());
    };
    for (std::uint64_t segment = unsealed; segment <= end; ++segment) {
        const auto scanned =
            scan(block_index_prefix(segment),
                 [&](std::string_view) -> Result<std::uint64_t> { return segment; });
        if (!scanned) return {boost::system::in_place_error, scanned.error()};
    }
    const auto scanned = scan(segment_index_prefix(bucket_of(mark)), segment_of);
    if (!scanned) return {boost::system::in_place_error, scanned.error()};
    sort_out();
    return {boost::system::in_place_value, std::move(found)};
}

Result<std::shared_ptr<const TraceStore::Impl::OpenBlock>> TraceStore::Impl::open_block(
    std::uint64_t block) const {
    auto open = std::make_shared<OpenBlock>();
    const auto status = db->Get({}, places[pushes], slice(block_key(block)), &open->bytes);
    if (status.IsNotFound()) return std::shared_ptr<const OpenBlock>();
    if (!status.ok()) return as_result(status).error();
    auto events = decode_block(open->bytes, open->texts);
    if (!events) return events.error();
    open->events = std::move(*events);
    return std::shared_ptr<const OpenBlock>(std::move(open));
}

Result<std::uint64_t> TraceStore::Impl::erased_before(std::uint32_t hub, DeviceKind kind,
                                                      std::string_view id) const {
    if (!has_erasures) return std::uint64_t{0};
    std::string bytes;
    const auto status = db->Get({}, places[pushes], slice(erasure_key(hub, kind, id)), &bytes);
    if (status.IsNotFound()) return std::uint64_t{0};
    if (!status.ok()) return as_result(status).error();
    return decode_block_bound(bytes);
}

namespace {

bool older_attempt(const TracedAttempt& a, const TracedAttempt& b) {
    return a.at_ms != b.at_ms ? a.at_ms < b.at_ms : a.attempt < b.attempt;
}

/// Adds what another place of the trace says of the same push.
void add_attempts(TracedPush& push, std::vector<TracedAttempt> more) {
    push.attempts.insert(push.attempts.end(), std::make_move_iterator(more.begin()),
                         std::make_move_iterator(more.end()));
    std::sort(push.attempts.begin(), push.attempts.end(), older_attempt);
    if (push.attempts.size() > TraceStore::attempts_max)
        push.attempts.erase(push.attempts.begin(), push.attempts.end() - TraceStore::attempts_max);
}

/// A push, and what all keys of its rows begin with.
struct NamedPush {
    std::string name;
    TracedPush push;
};

std::string name_of(const TraceEvent& event) {
    return trace_push_prefix(event.hub, event.kind, event.device_id, event.enqueued_at_ms,
                             event.send_id, event.partition, event.number);
}

/// The push that the rows under the cursor speak of; nothing: no row under `prefix` is left.
Result<std::optional<NamedPush>> take_rows(rocksdb::Iterator& at, const std::string& prefix,
                                           std::size_t& examined) {
    std::optional<NamedPush> found;
    for (; at.Valid() && at.key().starts_with(slice(prefix)); at.Next()) {
        const std::string_view key = view(at.key());
        if (key.size() < prefix.size() + event_tail_bytes) return make_error_code(errc::corrupt);
        const std::string_view name = key.substr(0, key.size() - event_tail_bytes);
        if (found && name != found->name) return found;
        ++examined;
        const auto event = decode_trace_event(view(at.value()));
        if (!event) return event.error();
        if (!found) found = NamedPush{std::string(name), head_of(*event)};
        auto& attempts = found->push.attempts;
        if (attempts.size() == TraceStore::attempts_max) attempts.erase(attempts.begin());
        attempts.push_back(attempt_of(*event));
    }
    if (const auto status = as_result(at.status()); !status) return status.error();
    return found;
}

}  // namespace

/// What blocks say of one device, push by push in the order of the keys of rows.
class TraceStore::Impl::DeviceBlocks {
  public:
    DeviceBlocks(const Impl& impl, std::uint32_t hub, DeviceKind kind, std::string_view id)
        : impl_(impl), hub_(hub), kind_(kind), id_(id) {}
    Result<void> find(std::int64_t enqueued_max, std::size_t count_max) {
        auto found = impl_.places_of(hub_, kind_, id_, enqueued_max, count_max);
        if (!found) return found.error();
        places_ = std::move(*found);
        cut_short_ = places_.size() == count_max;
        const auto erased = impl_.erased_before(hub_, kind_, id_);
        if (!erased) return erased.error();
        erased_before_ = *erased;
        return {};
    }
    /// The next push; nothing: there is none left.
    Result<std::optional<NamedPush>> take(std::size_t& examined) {
        while (ready_.empty() && at_ < places_.size()) {
            const std::int64_t enqueued_at_ms = places_[at_].enqueued_at_ms;
            for (; at_ < places_.size() && places_[at_].enqueued_at_ms == enqueued_at_ms; ++at_) {
                ++examined;
                if (const auto read = read_event(places_[at_]); !read) return read.error();
            }
        }
        std::optional<NamedPush> out;
        if (!ready_.empty()) {
            auto first = ready_.begin();
            out = NamedPush{first->first, std::move(first->second)};
            ready_.erase(first);
        }
        return out;
    }
    /// There are more places than find() was to look for.
    bool cut_short() const { return cut_short_; }

  private:
    Result<void> read_event(const BlockPlace& place) {
        if (place.block < erased_before_) return {};
        const auto open = impl_.open_block(place.block);
        if (!open) return open.error();
        if (!*open || place.event >= (*open)->events.size()) return {};
        const TraceEvent& event = (*open)->events[place.event];
        if (event.hub != hub_ || event.kind != kind_ || event.device_id != id_) return {};
        const auto [at, added] = ready_.try_emplace(name_of(event));
        if (added) at->second = head_of(event);
        add_attempts(at->second, {attempt_of(event)});
        return {};
    }

    const Impl& impl_;
    const std::uint32_t hub_;
    const DeviceKind kind_;
    const std::string id_;
    std::vector<BlockPlace> places_;
    std::size_t at_ = 0;
    bool cut_short_ = false;
    std::uint64_t erased_before_ = 0;
    std::map<std::string, TracedPush> ready_;  ///< of the send that places_ is at
};

/// The events of a send's blocks, newest first, in the order of the keys of rows.
class TraceStore::Impl::SendBlocks {
  public:
    SendBlocks(const Impl& impl, std::uint32_t hub, std::string_view send_id,
               std::string_view after)
        : impl_(impl),
          prefix_(send_blocks_prefix(hub, send_id)),
          after_(after),
          at_(impl.cursor(pushes, true)) {
        std::string start = prefix_;
        if (const auto place = decode_send_tail(after_)) {
            after_ms_ = place->at_ms;
            const std::int64_t from_ms =
                place->at_ms > std::numeric_limits<std::int64_t>::max() - block_span_ms
                    ? std::numeric_limits<std::int64_t>::max()
                    : place->at_ms + block_span_ms;
            ByteWriter(start).u64_be(later(from_ms));
        }
        at_->Seek(slice(start));
    }
    struct Item {
        std::string tail;  ///< of the row that the event would have
        TraceEvent event;
        std::uint64_t block = 0;
        std::shared_ptr<const OpenBlock> bytes;  ///< what `event` shows
    };
    bool any() const { return in_send() || !waiting_.empty(); }
    /// The next event; nothing: there is none left.
    Result<const Item*> first() {
        while (in_send()) {
            const auto next = decode_send_block(view(at_->key()).substr(prefix_.size()));
            if (!next) return next.error();
            if (!waiting_.empty() && next->newest_ms < waiting_.begin()->second.event.at_ms) break;
            const auto span_ms = decode_send_block_span(view(at_->value()));
            if (!span_ms) return span_ms.error();
            if (next->newest_ms - *span_ms <= after_ms_) {
                if (const auto added = add(next->block); !added) return added.error();
            }
            at_->Next();
        }
        if (const auto status = as_result(at_->status()); !status) return status.error();
        return waiting_.empty() ? nullptr : &waiting_.begin()->second;
    }
    void drop_first() { waiting_.erase(waiting_.begin()); }

  private:
    bool in_send() const {
        return at_->Valid() && at_->key().starts_with(slice(prefix_)) &&
               at_->key().size() == prefix_.size() + send_block_tail_bytes;
    }
    Result<void> add(std::uint64_t block) {
        const auto open = impl_.open_block(block);
        if (!open) return open.error();
        if (!*open) return {};
        for (const TraceEvent& event : (*open)->events) {
            const std::string key = trace_send_key(event);
            std::string tail = key.substr(key.size() - send_tail_bytes);
            if (tail <= after_) continue;
            Item item{tail, event, block, *open};
            waiting_.insert_or_assign(std::move(tail), std::move(item));
        }
        return {};
    }

    const Impl& impl_;
    const std::string prefix_;
    const std::string after_;
    std::int64_t after_ms_ = std::numeric_limits<std::int64_t>::max();
    std::unique_ptr<rocksdb::Iterator> at_;
    std::map<std::string, Item> waiting_;  ///< by tail
};

Result<TracePage> TraceStore::of_send(std::uint32_t hub, std::string_view send_id,
                                      std::string_view outcome, std::string_view after,
                                      std::size_t count_max, std::int64_t now_ms) const {
    const std::shared_lock lock(impl_->mutex);
    if (impl_->db == nullptr) return make_error_code(errc::closed);
    if (!after.empty() && after.size() != send_tail_bytes) return make_error_code(errc::not_found);
    const std::int64_t oldest_ms = now_ms - impl_->options.pushes_kept_ms;
    const std::string prefix = trace_send_prefix(hub, send_id);
    const auto rows = impl_->cursor(pushes, true);
    const auto devices = impl_->cursor(pushes, true);
    Impl::SendBlocks blocks(*impl_, hub, send_id, after);
    const bool has_both = blocks.any() && impl_->exists(taken_up_key(hub, send_id));
    rows->Seek(slice(prefix + std::string(after)));
    const auto wanted = [&](std::string_view name) {
        return outcome.empty() || same_name(outcome, name);
    };

    // What a row says is the last of its push, if it is: then with all attempts.
    const auto push_of_row =
        [&](const SendTail& place,
            const TraceReference& reference) -> Result<std::optional<TracedPush>> {
        auto push = read_push(*devices, trace_push_prefix(hub, reference.kind, reference.device_id,
                                                          reference.enqueued_at_ms, send_id,
                                                          place.partition, place.number));
        if (!push || !*push) return push;
        // Erased, or a later attempt has its own reference.
        if ((*push)->attempts.back().at_ms != place.at_ms ||
            (*push)->attempts.back().attempt != place.attempt)
            return std::optional<TracedPush>();
        if (!has_both) return push;
        Impl::DeviceBlocks before(*impl_, hub, reference.kind, reference.device_id);
        if (const auto found = before.find(reference.enqueued_at_ms, examined_max); !found)
            return found.error();
        const std::string name =
            trace_push_prefix(hub, reference.kind, reference.device_id, reference.enqueued_at_ms,
                              send_id, place.partition, place.number);
        std::size_t ignored = 0;
        for (;;) {
            auto one = before.take(ignored);
            if (!one) return one.error();
            if (!*one || (*one)->name > name) return push;
            if ((*one)->name == name) add_attempts(**push, std::move((*one)->push.attempts));
        }
    };
    const auto push_of_block =
        [&](const Impl::SendBlocks::Item& item) -> Result<std::optional<TracedPush>> {
        const TraceEvent& event = item.event;
        std::optional<TracedPush> push;
        const auto erased = impl_->erased_before(hub, event.kind, event.device_id);
        if (!erased) return erased.error();
        if (item.block < *erased) return push;
        if (has_both) {
            const auto later_rows = read_push(*devices, name_of(event));
            if (!later_rows) return later_rows.error();
            if (*later_rows) return push;
        }
        push = head_of(event);
        push->attempts.push_back(attempt_of(event));
        return push;
    };

    TracePage page;
    PageFill fill(count_max);
    for (std::size_t examined = 1;; ++examined) {
        const auto block = blocks.first();
        if (!block) return block.error();
        std::string_view row;
        if (rows->Valid() && rows->key().starts_with(slice(prefix))) {
            row = view(rows->key()).substr(prefix.size());
            if (row == after) {
                rows->Next();
                continue;
            }
        }
        if (row.empty() && *block == nullptr) break;
        if (examined > examined_max) return page;
        const bool from_block = row.empty() || (*block != nullptr && (*block)->tail < row);
        const std::string tail(from_block ? std::string_view((*block)->tail) : row);
        const auto place = decode_send_tail(tail);
        if (!place) return place.error();
        if (place->at_ms < oldest_ms) break;
        page.next = tail;
        Result<std::optional<TracedPush>> push = std::optional<TracedPush>();
        if (from_block) {
            if (wanted((*block)->event.outcome)) push = push_of_block(**block);
            blocks.drop_first();
        } else {
            const auto reference = decode_trace_reference(view(rows->value()));
            if (!reference) return reference.error();
            if (wanted(reference->final ? reference->outcome : pending_name))
                push = push_of_row(*place, *reference);
            rows->Next();
        }
        if (!push) return push.error();
        if (!*push) continue;
        fill.add(bytes_of(**push));
        page.pushes.push_back(std::move(**push));
        if (fill.full()) return page;
    }
    if (const auto status = as_result(rows->status()); !status) return status.error();
    page.next.clear();
    return page;
}

Result<TracePage> TraceStore::of_device(std::uint32_t hub, DeviceKind kind, std::string_view id,
                                        std::string_view after, std::size_t count_max,
                                        std::int64_t now_ms) const {
    const std::shared_lock lock(impl_->mutex);
    if (impl_->db == nullptr) return make_error_code(errc::closed);
    const std::int64_t oldest_ms = now_ms - impl_->options.pushes_kept_ms;
    const std::string prefix = trace_device_prefix(hub, kind, id);
    // `after` names the last push shown; its own events all lie before this.
    const std::string start = after.empty() ? prefix : after_prefix(prefix + std::string(after));
    std::int64_t enqueued_max = std::numeric_limits<std::int64_t>::max();
    if (after.size() >= 8) {
        ByteReader in(after);
        enqueued_max = time_of_later(in.u64_be());
    }
    const auto at = impl_->cursor(pushes, true);
    at->Seek(slice(start));
    Impl::DeviceBlocks blocks(*impl_, hub, kind, id);
    if (const auto found = blocks.find(enqueued_max, examined_max); !found) return found.error();
    TracePage page;
    PageFill fill(count_max);
    std::size_t examined = 0;
    auto row = take_rows(*at, prefix, examined);
    if (!row) return row.error();
    auto block = blocks.take(examined);
    while (block && *block && (*block)->name < start) block = blocks.take(examined);
    if (!block) return block.error();
    while (*row || *block) {
        const bool enough = fill.full() || examined > examined_max;
        if (enough && !page.next.empty()) return page;
        const bool takes_row = *row && (!*block || (*row)->name <= (*block)->name);
        const bool takes_block = *block && (!*row || (*block)->name <= (*row)->name);
        NamedPush next = std::move(takes_row ? **row : **block);
        if (takes_row && takes_block) add_attempts(next.push, std::move((*block)->push.attempts));
        page.next = next.name.substr(prefix.size());
        if (next.push.attempts.back().at_ms >= oldest_ms) {
            fill.add(bytes_of(next.push));
            page.pushes.push_back(std::move(next.push));
        }
        if (takes_row) row = take_rows(*at, prefix, examined);
        if (!row) return row.error();
        if (takes_block) block = blocks.take(examined);
        if (!block) return block.error();
    }
    if (!blocks.cut_short()) page.next.clear();
    return page;
}

template <class KeysOf>
Result<std::size_t> TraceStore::Impl::erase(TraceFamily place, const std::string& prefix,
                                            KeysOf keys_of) {
    const std::lock_guard turn(writing);
    if (const auto mended = mend(); !mended) return mended.error();
    const auto at = cursor(place, true);
    rocksdb::WriteBatch batch;
    std::size_t erased = 0;
    for (at->Seek(slice(prefix)); at->Valid() && at->key().starts_with(slice(prefix)); at->Next()) {
        const Result<std::string> other = keys_of(view(at->value()));
        if (!other) return other.error();
        batch.Delete(places[place], at->key());
        if (!other->empty()) batch.Delete(places[place], slice(*other));
        if (++erased % batch_entries != 0) continue;
        if (const auto written = write(batch); !written) return written.error();
        batch.Clear();
    }
    if (const auto status = as_result(at->status()); !status) return status.error();
    if (const auto written = write(batch); !written) return written.error();
    return erased;
}

Result<std::size_t> TraceStore::erase_device(std::uint32_t hub, DeviceKind kind,
                                             std::string_view id) {
    const auto reference_of = [](std::string_view value) -> Result<std::string> {
        const auto event = decode_trace_event(value);
        if (!event) return event.error();
        return trace_send_key(*event);
    };
    const auto rows = impl_->erase(pushes, trace_device_prefix(hub, kind, id), reference_of);
    if (!rows) return rows.error();

    const std::lock_guard turn(impl_->writing);
    if (const auto mended = impl_->mend(); !mended) return mended.error();
    Impl::DeviceBlocks blocks(*impl_, hub, kind, id);
    constexpr auto all = std::numeric_limits<std::int64_t>::max();
    if (const auto found = blocks.find(all, std::numeric_limits<std::size_t>::max()); !found)
        return found.error();
    std::size_t erased = 0, examined = 0;
    for (;;) {
        const auto one = blocks.take(examined);
        if (!one) return one.error();
        if (!*one) break;
        erased += (*one)->push.attempts.size();
    }
    if (erased > 0) {
        const std::string bound = encode_block_bound(impl_->next_block);
        rocksdb::WriteBatch batch;
        batch.Put(impl_->places[pushes], slice(erasure_key(hub, kind, id)), slice(bound));
        batch.Put(impl_->places[meta], next_block_key, slice(bound));
        impl_->has_erasures = true;
        if (const auto written = impl_->write(batch); !written) return written.error();
    }
    return *rows + erased;
}

// --- details of failures ---

Result<void> TraceStore::write_details(std::span<const NewDetails> details) {
    const std::lock_guard turn(impl_->writing);
    if (const auto mended = impl_->mend(); !mended) return mended.error();
    rocksdb::WriteBatch batch;
    for (const NewDetails& one : details) {
        const DetailsHead head{one.at_ms, one.text.size()};
        std::string_view rest = one.text;
        for (std::uint16_t piece = 0; piece == 0 || !rest.empty(); ++piece) {
            const std::string_view bytes = rest.substr(0, details_piece_bytes);
            rest.remove_prefix(bytes.size());
            batch.Put(impl_->places[details_of], slice(details_key(one.hub, one.name, piece)),
                      slice(encode_details(head, bytes)));
        }
    }
    return impl_->write(batch, true);
}

Result<DetailsHead> TraceStore::details(std::uint32_t hub, std::string_view name,
                                        std::int64_t now_ms) const {
    const std::shared_lock lock(impl_->mutex);
    if (impl_->db == nullptr) return make_error_code(errc::closed);
    std::string bytes;
    const auto status =
        impl_->db->Get({}, impl_->places[details_of], slice(details_key(hub, name, 0)), &bytes);
    if (status.IsNotFound()) return make_error_code(errc::not_found);
    if (!status.ok()) return as_result(status).error();
    std::string_view rest = bytes;
    const auto head = take_details_head(rest);
    if (head && head->at_ms < now_ms - impl_->options.details_kept_ms)
        return make_error_code(errc::not_found);
    return head;
}

Result<std::string> TraceStore::read_details(std::uint32_t hub, std::string_view name,
                                             std::uint64_t offset, std::size_t bytes) const {
    const std::shared_lock lock(impl_->mutex);
    if (impl_->db == nullptr) return {boost::system::in_place_error, make_error_code(errc::closed)};
    std::string out, piece;
    while (out.size() < bytes) {
        const std::uint64_t at = offset + out.size();
        const auto number = static_cast<std::uint16_t>(at / details_piece_bytes);
        const auto status = impl_->db->Get({}, impl_->places[details_of],
                                           slice(details_key(hub, name, number)), &piece);
        if (status.IsNotFound())
            return {boost::system::in_place_error, make_error_code(errc::not_found)};
        if (!status.ok()) return {boost::system::in_place_error, as_result(status).error()};
        std::string_view rest = piece;
        const auto head = take_details_head(rest);
        if (!head) return {boost::system::in_place_error, head.error()};
        const std::size_t skipped = std::min<std::size_t>(at % details_piece_bytes, rest.size());
        out += rest.substr(skipped, bytes - out.size());
        if (offset + out.size() >= head->bytes || rest.size() == skipped) break;
    }
    return {boost::system::in_place_value, std::move(out)};
}

Result<std::vector<DetailsEntry>> TraceStore::list_details(std::uint32_t hub,
                                                           std::string_view prefix,
                                                           std::string_view after,
                                                           std::size_t count_max,
                                                           std::int64_t now_ms) const {
    const std::shared_lock lock(impl_->mutex);
    if (impl_->db == nullptr) return make_error_code(errc::closed);
    const std::int64_t oldest_ms = now_ms - impl_->options.details_kept_ms;
    const std::string hub_key = details_hub_prefix(hub), begin = hub_key + std::string(prefix);
    // Names hold no zero byte, so this is behind every piece of `after`.
    const std::string behind = hub_key + std::string(after) + '\1';
    std::vector<DetailsEntry> found;
    const auto at = impl_->cursor(details_of, false);
    at->Seek(slice(after.empty() ? begin : std::max(begin, behind)));
    while (at->Valid() && at->key().starts_with(slice(begin)) && found.size() < count_max) {
        std::string_view bytes = view(at->value());
        auto name = details_name(view(at->key()));
        const auto head = take_details_head(bytes);
        if (!name || !head) return make_error_code(errc::corrupt);
        const std::string next = hub_key + *name + '\1';
        if (head->at_ms >= oldest_ms) found.push_back({std::move(*name), *head});
        at->Seek(slice(next));
    }
    if (const auto status = as_result(at->status()); !status) return status.error();
    return found;
}

// --- retirements ---

namespace {

std::size_t bytes_of(const RetirementRecord& record) {
    return record.reason.size() + record.send_id.size() + record.by.size() +
           record.installation_id.size() + record.registration_id.size();
}

std::string device_of(const RetirementRecord& record) {
    return record.installation_id.empty() ? record.registration_id : record.installation_id;
}

}  // namespace

Result<void> TraceStore::write_retirements(std::span<const RetirementRecord> records) {
    const std::lock_guard turn(impl_->writing);
    if (const auto mended = impl_->mend(); !mended) return mended.error();
    rocksdb::WriteBatch batch;
    for (const RetirementRecord& record : records) {
        const std::string tail = retirement_tail(record.at_ms, record.partition, record.number);
        const std::string bytes = encode_retirement(record);
        batch.Put(impl_->places[retirements],
                  slice(retirement_handle_prefix(record.hub, record.handle) + tail), slice(bytes));
        batch.Put(impl_->places[retirements],
                  slice(retirement_device_prefix(record.hub, device_of(record)) + tail),
                  slice(bytes));
    }
    return impl_->write(batch);
}

Result<TraceStore::RetirementPage> TraceStore::Impl::retirements_of(std::uint32_t hub,
                                                                    const std::string& prefix,
                                                                    std::string_view after,
                                                                    std::size_t count_max,
                                                                    std::int64_t now_ms) const {
    const std::shared_lock lock(mutex);
    if (db == nullptr) return make_error_code(errc::closed);
    if (!after.empty() && after.size() != retirement_tail_bytes)
        return make_error_code(errc::not_found);
    const std::int64_t oldest_ms = now_ms - options.retirements_kept_ms;
    const std::string start = prefix + std::string(after);
    const auto at = cursor(retirements, true);
    RetirementPage page;
    PageFill fill(count_max);
    for (at->Seek(slice(start)); at->Valid() && at->key().starts_with(slice(prefix)); at->Next()) {
        const std::string_view tail = view(at->key()).substr(prefix.size());
        if (tail == after) continue;
        auto record = decode_retirement(hub, view(at->value()));
        if (!record) return record.error();
        if (record->at_ms < oldest_ms) break;
        if (fill.full()) return page;
        fill.add(bytes_of(*record));
        page.next = tail;
        page.records.push_back(std::move(*record));
    }
    if (const auto status = as_result(at->status()); !status) return status.error();
    page.next.clear();
    return page;
}

Result<TraceStore::RetirementPage> TraceStore::retirements_of_handle(std::uint32_t hub,
                                                                     const HandleHash& hash,
                                                                     std::string_view after,
                                                                     std::size_t count_max,
                                                                     std::int64_t now_ms) const {
    return impl_->retirements_of(hub, retirement_handle_prefix(hub, hash), after, count_max,
                                 now_ms);
}

Result<TraceStore::RetirementPage> TraceStore::retirements_of_device(std::uint32_t hub,
                                                                     std::string_view id,
                                                                     std::string_view after,
                                                                     std::size_t count_max,
                                                                     std::int64_t now_ms) const {
    return impl_->retirements_of(hub, retirement_device_prefix(hub, id), after, count_max, now_ms);
}

Result<std::size_t> TraceStore::erase_retirements_of_device(std::uint32_t hub,
                                                            std::string_view id) {
    const auto other = [hub](std::string_view value) -> Result<std::string> {
        const auto record = decode_retirement(hub, value);
        if (!record) return record.error();
        return retirement_handle_prefix(hub, record->handle) +
               retirement_tail(record->at_ms, record->partition, record->number);
    };
    return impl_->erase(retirements, retirement_device_prefix(hub, id), other);
}

Result<std::size_t> TraceStore::erase_retirements_of_handle(std::uint32_t hub,
                                                            const HandleHash& hash) {
    const auto other = [hub](std::string_view value) -> Result<std::string> {
        const auto record = decode_retirement(hub, value);
        if (!record) return record.error();
        return retirement_device_prefix(hub, device_of(*record)) +
               retirement_tail(record->at_ms, record->partition, record->number);
    };
    return impl_->erase(retirements, retirement_handle_prefix(hub, hash), other);
}

// --- held retirements ---

Result<void> TraceStore::write_held(std::span<const HeldChange> changes) {
    const std::lock_guard turn(impl_->writing);
    if (const auto mended = impl_->mend(); !mended) return mended.error();
    rocksdb::WriteBatch batch;
    for (const HeldChange& change : changes) {
        if (change.added) {
            batch.Put(impl_->places[held_ones],
                      slice(held_key(change.added->hub, change.added->ticket)),
                      slice(encode_held(*change.added)));
        } else {
            batch.Delete(impl_->places[held_ones], slice(held_key(change.hub, change.ticket)));
        }
    }
    return impl_->write(batch);
}

Result<std::vector<HeldRetirement>> TraceStore::held() const {
    const std::shared_lock lock(impl_->mutex);
    if (impl_->db == nullptr) return make_error_code(errc::closed);
    std::vector<HeldRetirement> all;
    const auto at = impl_->cursor(held_ones, false);
    for (at->SeekToFirst(); at->Valid(); at->Next()) {
        auto one = decode_held(view(at->key()), view(at->value()));
        if (!one) return one.error();
        all.push_back(std::move(*one));
    }
    if (const auto status = as_result(at->status()); !status) return status.error();
    return all;
}

// --- upkeep ---

Result<void> TraceStore::flush() {
    const std::lock_guard turn(impl_->writing);
    if (const auto mended = impl_->mend(); !mended) return mended.error();
    return as_result(
        impl_->db->Flush({}, std::vector{impl_->places[pushes], impl_->places[details_of]}));
}

Result<void> TraceStore::tidy(std::int64_t now_ms) {
    if (const auto flushed = flush(); !flushed) return flushed.error();
    std::int64_t& kept_ms = impl_->retirements_kept_ms;
    const bool too_large = figures().retirements_bytes > impl_->options.retirements_bytes_max;
    // Takes long: who writes need not wait for it, only who has to open the database again.
    const std::shared_lock lock(impl_->mutex);
    if (impl_->db == nullptr) return make_error_code(errc::closed);
    for (const TraceFamily place : {pushes, details_of}) {  // by age and size
        const auto dropped = impl_->db->CompactRange({}, impl_->places[place], nullptr, nullptr);
        if (!dropped.ok()) return as_result(dropped);
    }

    kept_ms = too_large ? kept_ms / 4 * 3
                        : std::min(kept_ms + kept_ms / 3 + 1, impl_->options.retirements_kept_ms);
    impl_->old_retirements.horizon_ms = now_ms - kept_ms;
    rocksdb::CompactRangeOptions whole;
    whole.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
    return as_result(impl_->db->CompactRange(whole, impl_->places[retirements], nullptr, nullptr));
}

TraceStore::Figures TraceStore::figures() const {
    const std::shared_lock lock(impl_->mutex);
    if (impl_->db == nullptr) return {};
    const auto read = [this](TraceFamily place, const std::string& name) {
        std::uint64_t value = 0;
        impl_->db->GetIntProperty(impl_->places[place], name, &value);
        return value;
    };
    using P = rocksdb::DB::Properties;
    Figures out;
    out.pushes_bytes = read(pushes, P::kTotalSstFilesSize);
    out.retirements_bytes = read(retirements, P::kTotalSstFilesSize);
    out.details_bytes = read(details_of, P::kTotalSstFilesSize);
    std::string files;
    if (impl_->db->GetProperty(impl_->places[pushes], P::kNumFilesAtLevelPrefix + "0", &files))
        out.files = std::strtoull(files.c_str(), nullptr, 10);
    return out;
}

}  // namespace registry
