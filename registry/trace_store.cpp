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
#include <mutex>
#include <shared_mutex>

#include "registry/keys.hpp"
#include "registry/page_fill.hpp"
#include "registry/rocks_log.hpp"
#include "registry/rocks_status.hpp"
#include "registry/rocks_watch.hpp"

namespace registry {
namespace {

constexpr const char* store_name = "trace";
constexpr std::uint64_t wal_bytes_max = 64u << 20;
constexpr int filter_bits_per_key = 10;
constexpr std::size_t probe_bytes = 256u << 10;
constexpr std::size_t batch_entries = 2'000;  // events or erasures written at once
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
    const auto status = access == Access::reads
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
    }
    return std::unique_ptr<TraceStore>(new TraceStore(std::move(impl)));
}

// --- pushes ---

Result<std::size_t> TraceStore::write_events(std::string_view events) {
    const std::lock_guard turn(impl_->writing);
    if (const auto mended = impl_->mend(); !mended) return mended.error();
    rocksdb::WriteBatch batch;
    std::size_t count = 0;
    while (!events.empty()) {
        const std::string_view before = events;
        const auto event = take_trace_event(events);
        if (!event) return event.error();
        const std::string_view bytes = before.substr(0, before.size() - events.size());
        batch.Put(impl_->places[pushes], slice(trace_device_key(*event)), slice(bytes));
        batch.Put(impl_->places[pushes], slice(trace_send_key(*event)),
                  slice(encode_trace_reference(*event)));
        if (++count % batch_entries != 0) continue;
        if (const auto written = impl_->write(batch); !written) return written.error();
        batch.Clear();
    }
    if (const auto written = impl_->write(batch); !written) return written.error();
    return count;
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

Result<TracePage> TraceStore::of_send(std::uint32_t hub, std::string_view send_id,
                                      std::string_view outcome, std::string_view after,
                                      std::size_t count_max, std::int64_t now_ms) const {
    const std::shared_lock lock(impl_->mutex);
    if (impl_->db == nullptr) return make_error_code(errc::closed);
    if (!after.empty() && after.size() != send_tail_bytes) return make_error_code(errc::not_found);
    const std::int64_t oldest_ms = now_ms - impl_->options.pushes_kept_ms;
    const std::string prefix = trace_send_prefix(hub, send_id);
    const std::string start = prefix + std::string(after);
    const auto at = impl_->cursor(pushes, true);
    const auto devices = impl_->cursor(pushes, true);
    TracePage page;
    PageFill fill(count_max);
    std::size_t examined = 0;
    for (at->Seek(slice(start)); at->Valid() && at->key().starts_with(slice(prefix)); at->Next()) {
        const std::string_view tail = view(at->key()).substr(prefix.size());
        if (tail == after) continue;
        const auto place = decode_send_tail(tail);
        if (!place) return place.error();
        if (place->at_ms < oldest_ms) break;
        if (++examined > examined_max) return page;
        const auto reference = decode_trace_reference(view(at->value()));
        if (!reference) return reference.error();
        page.next = tail;
        const std::string_view named = reference->final ? reference->outcome : pending_name;
        if (!outcome.empty() && !same_name(outcome, named)) continue;
        auto push =
            read_push(*devices, trace_push_prefix(hub, reference->kind, reference->device_id,
                                                  reference->enqueued_at_ms, send_id,
                                                  place->partition, place->number));
        if (!push) return push.error();
        // Erased, or a later attempt has its own reference.
        if (!*push || (*push)->attempts.back().at_ms != place->at_ms ||
            (*push)->attempts.back().attempt != place->attempt)
            continue;
        fill.add(bytes_of(**push));
        page.pushes.push_back(std::move(**push));
        if (fill.full()) return page;
    }
    if (const auto status = as_result(at->status()); !status) return status.error();
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
    const auto at = impl_->cursor(pushes, true);
    TracePage page;
    PageFill fill(count_max);
    std::size_t examined = 0;
    std::string group;
    std::optional<TracedPush> push;
    const auto close = [&] {
        if (push && push->attempts.back().at_ms >= oldest_ms) {
            fill.add(bytes_of(*push));
            page.pushes.push_back(std::move(*push));
        }
        push.reset();
    };
    // `after` names the last push shown; its own events all lie before this.
    const std::string start = after.empty() ? prefix : after_prefix(prefix + std::string(after));
    for (at->Seek(slice(start)); at->Valid() && at->key().starts_with(slice(prefix)); at->Next()) {
        const std::string_view key = view(at->key());
        if (key.size() < prefix.size() + event_tail_bytes) return make_error_code(errc::corrupt);
        const std::string_view named = key.substr(0, key.size() - event_tail_bytes);
        if (named != group) {
            close();
            if (!group.empty()) page.next = group.substr(prefix.size());
            if (fill.full() || examined > examined_max) return page;
            group = named;
        }
        ++examined;
        const auto event = decode_trace_event(view(at->value()));
        if (!event) return event.error();
        if (!push) push = head_of(*event);
        if (push->attempts.size() == attempts_max) push->attempts.erase(push->attempts.begin());
        push->attempts.push_back(attempt_of(*event));
    }
    if (const auto status = as_result(at->status()); !status) return status.error();
    close();
    page.next.clear();
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
    return impl_->erase(pushes, trace_device_prefix(hub, kind, id), reference_of);
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
