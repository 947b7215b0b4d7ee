// Opening refuses what it cannot read and says what to do; a log whose end was torn is cut there,
// one that is broken earlier is refused. A new store is made beside its place and renamed. Batch
// collects changes in the order of their keys and shows them to its own cursors before they are
// written. reopen() closes the database and opens it again after a failed write of the log,
// without what the failed batch left there; it waits for readers, a bounded time, and where nothing
// can be written it opens what is there for reading. How RocksDB is
// tuned is in rocks_rules.cpp.
#include "registry/store.hpp"

#include <fcntl.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/memtablerep.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/table_properties_collectors.h>
#include <rocksdb/write_batch.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "registry/durable.hpp"
#include "registry/keys.hpp"
#include "registry/rocks_log.hpp"
#include "registry/rocks_rules.hpp"
#include "registry/rocks_status.hpp"
#include "registry/rocks_watch.hpp"
#include "registry/wal_tail.hpp"

namespace registry {
namespace {

constexpr std::size_t row_block_bytes = 16u << 10;
constexpr std::uint64_t wal_bytes_max = 128u << 20;  // bounds the replay after a crash
constexpr std::size_t memtable_bytes = 32u << 20;
constexpr std::size_t handle_buckets = 1u << 18;
constexpr int filter_bits_per_key = 10;
constexpr std::size_t deletions_window = 16'384, deletions_trigger = 8'192;
constexpr int cache_shard_bits = 4;  // shards of 16 MiB: no block comes near
constexpr std::size_t probe_bytes = 1u << 20;
constexpr std::uint64_t room_bytes_min = 4u << 20;  // a new log and manifest, and some writes
constexpr int readers_wait_ms_max = 2'000;

constexpr const char* store_name = "store";

/// In the order of Family. On disk: never rename one.
constexpr std::array<const char*, family_count> family_names{
    "default", "rows", "ids", "installations", "users", "handles", "postings", "ledger"};

rocksdb::Slice slice(std::string_view text) {
    return {text.data(), text.size()};
}
std::string_view view(const rocksdb::Slice& text) {
    return {text.data(), text.size()};
}

rocksdb::ColumnFamilyOptions family_options(Family family,
                                            const std::shared_ptr<rocksdb::Cache>& cache) {
    rocksdb::ColumnFamilyOptions options;
    options.write_buffer_size = memtable_bytes;
    options.compression = rocksdb::kLZ4Compression;
    options.level_compaction_dynamic_level_bytes = true;
    options.force_consistency_checks = true;
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = cache;
    table.format_version = 5;
    table.cache_index_and_filter_blocks = true;
    // Whatever is asked of the store by key costs one block of data, cold or not.
    table.metadata_cache_options.top_level_index_pinning = rocksdb::PinningTier::kAll;
    table.metadata_cache_options.partition_pinning = rocksdb::PinningTier::kAll;
    // The filter of a file of handles has 3 MiB: read and checked as a whole it would cost more
    // than everything else a new device needs.
    table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
    table.partition_filters = true;
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(filter_bits_per_key, false));
    if (family == Family::rows) {
        table.block_size = row_block_bytes;
        options.optimize_filters_for_hits = true;  // a row is read where something leads to it
    }
    if (family == Family::rows || family == Family::users || family == Family::installations) {
        // A send to a user, and a start of an app, are reads of one key each.
        table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
    }
    if (family == Family::ids || family == Family::users || family == Family::ledger) {
        // Every new registration, user or send asks for a key that is not there.
        options.memtable_prefix_bloom_size_ratio = 0.05;
        options.memtable_whole_key_filtering = true;
    }
    if (family == Family::ledger) {
        // Old sends leave from one end. Tables that hold little but what says so are compacted at
        // once: their room comes back, and walks do not go over them.
        options.table_properties_collector_factories.push_back(
            rocksdb::NewCompactOnDeletionCollectorFactory(deletions_window, deletions_trigger));
    }
    if (family == Family::installations) options.prefix_extractor = installation_prefix_extractor();
    if (family == Family::handles) {
        options.prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(handle_prefix_bytes));
        // Hashes come in no order: in a list of skips each would be twenty places away from the
        // last. Nobody but verify() and a flush walks over all of them, and these make a sorted
        // copy, for which the table is half as large.
        options.write_buffer_size = memtable_bytes / 2;
        options.memtable_factory.reset(rocksdb::NewHashLinkListRepFactory(handle_buckets));
    }
    if (family == Family::postings) {
        options.write_buffer_size = 2 * memtable_bytes;
        options.merge_operator = posting_merge_operator();
        options.prefix_extractor = posting_prefix_extractor();
        options.compaction_filter = empty_chunk_filter();
    }
    if (options.prefix_extractor != nullptr) {
        if (family != Family::handles) options.memtable_prefix_bloom_size_ratio = 0.05;
        table.whole_key_filtering = false;
    }
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    return options;
}

/// RocksDB ends the process if it gets fewer of these threads than it wants: only a store with many
/// tables has them.
int opening_threads(const std::filesystem::path& store) {
    constexpr std::size_t tables_per_thread = 64, threads_max = 16;
    std::size_t tables = 0;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(store, ignored))
        tables += entry.path().extension() == ".sst" ? 1 : 0;
    return static_cast<int>(std::clamp<std::size_t>(tables / tables_per_thread, 1, threads_max));
}

rocksdb::DBOptions database_options(const Options& wanted) {
    rocksdb::DBOptions options;
    if (wanted.env != nullptr) options.env = wanted.env;
    options.paranoid_checks = true;
    options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
    options.track_and_verify_wals_in_manifest = true;
    options.max_total_wal_size = wal_bytes_max;
    options.max_open_files = wanted.open_tables_max;
    options.max_background_jobs = 4;
    options.allow_concurrent_memtable_write = false;  // one thread writes
    options.bytes_per_sync = 1u << 20;
    // Files that nobody needs any more are removed by a thread for it, not by the lane whose read
    // was the last to need them.
    options.avoid_unnecessary_blocking_io = true;
    options.max_file_opening_threads = opening_threads(wanted.directory / store_name);
    // A log reserved ahead would take what a full disk needs to become well. Appends cost the same:
    // the size of a file is written with every sync, reserved or not.
    options.allow_fallocate = false;
    options.info_log = std::make_shared<RocksLog>(wanted.directory / store_name);
    return options;
}

}  // namespace

class StoreHandles {
  public:
    ~StoreHandles() {
        for (rocksdb::ColumnFamilyHandle* family : families) {
            if (family != nullptr) db->DestroyColumnFamilyHandle(family);
        }
        if (db != nullptr) db->Close();
    }
    rocksdb::ColumnFamilyHandle* of(Family family) const {
        return families[static_cast<std::size_t>(family)];
    }
    /// Where the changes in the logs go. In memory they need no room on the disk; to read_only
    /// nothing can be written, and opening writes nothing.
    enum class Replay : std::uint8_t { to_tables, to_memory, read_only };
    rocksdb::Status open(rocksdb::DBOptions options, const std::string& path, Replay replay) {
        const bool in_memory = replay != Replay::to_tables;
        read_only = replay == Replay::read_only;
        options.listeners = {watch};
        options.avoid_flush_during_recovery = in_memory;
        std::vector<rocksdb::ColumnFamilyDescriptor> wanted;
        for (std::size_t i = 0; i < family_count; ++i) {
            wanted.emplace_back(family_names[i], family_options(static_cast<Family>(i), cache));
            if (in_memory) wanted.back().options.write_buffer_size = 2 * wal_bytes_max;
        }
        std::vector<rocksdb::ColumnFamilyHandle*> opened;
        rocksdb::DB* raw = nullptr;
        rocksdb::Status status =
            read_only ? rocksdb::DB::OpenForReadOnly(options, path, wanted, &opened, &raw)
                      : rocksdb::DB::Open(options, path, wanted, &opened, &raw);
        db.reset(raw);
        std::copy(opened.begin(), opened.end(), families.begin());
        if (replay == Replay::to_memory && status.ok()) bound_memtables();
        return status;
    }
    /// What is too large for them now is written to tables as soon as there is room.
    void bound_memtables() {
        for (std::size_t i = 0; i < family_count; ++i) {
            const auto bytes = family_options(static_cast<Family>(i), cache).write_buffer_size;
            db->SetOptions(families[i], {{"write_buffer_size", std::to_string(bytes)}})
                .PermitUncheckedError();  // they are larger until the next start then
        }
    }

    std::shared_ptr<rocksdb::Cache> cache;
    std::shared_ptr<RocksWatch> watch = std::make_shared<RocksWatch>();
    std::unique_ptr<rocksdb::DB> db;
    std::array<rocksdb::ColumnFamilyHandle*, family_count> families{};
    bool read_only = false;
};

// --- cursor ---

namespace {

class RocksCursor : public Cursor {
  public:
    explicit RocksCursor(rocksdb::Iterator* iterator) : iterator_(iterator) {}
    void seek(std::string_view key) override { iterator_->Seek(slice(key)); }
    void next() override { iterator_->Next(); }
    bool valid() const override { return iterator_->Valid(); }
    std::string_view key() const override { return view(iterator_->key()); }
    std::string_view value() const override { return view(iterator_->value()); }
    Result<void> status() const override { return as_result(iterator_->status()); }

  protected:
    std::unique_ptr<rocksdb::Iterator> iterator_;
};

class CursorDown final : public RocksCursor {
  public:
    using RocksCursor::RocksCursor;
    void seek(std::string_view key) override {
        iterator_->SeekForPrev(slice(key));
        if (iterator_->Valid() && view(iterator_->key()) == key) iterator_->Prev();
    }
    void next() override { iterator_->Prev(); }
};

/// What a batch does to one key.
struct KeyChange {
    enum class Kind : std::uint8_t { put, erase, merge } kind;
    std::string bytes;  ///< value or operand
};
using KeyChanges = std::map<std::string, KeyChange, std::less<>>;

/// The store with the changes of a batch on top of it.
class BatchCursor final : public Cursor {
  public:
    BatchCursor(rocksdb::Iterator* stored, const KeyChanges& changes)
        : stored_(stored), changes_(changes), change_(changes.end()) {}
    void seek(std::string_view key) override {
        stored_->Seek(slice(key));
        change_ = changes_.lower_bound(key);
        settle();
    }
    void next() override {
        if (changed_) {
            ++change_;
        } else {
            stored_->Next();
        }
        settle();
    }
    bool valid() const override { return changed_ || stored_->Valid(); }
    std::string_view key() const override {
        return changed_ ? std::string_view(change_->first) : view(stored_->key());
    }
    std::string_view value() const override {
        return changed_ ? std::string_view(change_->second.bytes) : view(stored_->value());
    }
    Result<void> status() const override { return as_result(stored_->status()); }

  private:
    /// Moves on to the first key that is there.
    void settle() {
        for (changed_ = false; change_ != changes_.end(); ++change_) {
            if (change_->second.kind == KeyChange::Kind::merge) continue;
            if (!stored_->Valid() && !stored_->status().ok()) return;
            const auto order = stored_->Valid() ? view(stored_->key()).compare(change_->first) : 1;
            if (order < 0) return;
            if (order == 0) stored_->Next();
            changed_ = change_->second.kind == KeyChange::Kind::put;
            if (changed_) return;
        }
    }

    std::unique_ptr<rocksdb::Iterator> stored_;
    const KeyChanges& changes_;
    KeyChanges::const_iterator change_;
    bool changed_ = false;  ///< the key is change_'s, not stored_'s
};

}  // namespace

// --- snapshot ---

struct Snapshot::Pin {
    const rocksdb::Snapshot* snapshot = nullptr;
};

Snapshot::Snapshot(std::shared_ptr<StoreHandles> handles)
    : handles_(std::move(handles)), pin_(std::make_unique<Pin>()) {
    pin_->snapshot = handles_->db->GetSnapshot();
}

Snapshot::~Snapshot() {
    handles_->db->ReleaseSnapshot(pin_->snapshot);
}

namespace {

rocksdb::ReadOptions read_options(const rocksdb::Snapshot* snapshot, Reach reach) {
    rocksdb::ReadOptions options;
    options.snapshot = snapshot;
    if (reach == Reach::memory) options.read_tier = rocksdb::kBlockCacheTier;
    return options;
}

}  // namespace

Result<bool> Snapshot::get(Family family, std::string_view key, std::string& value,
                           Reach reach) const {
    const auto options = read_options(pin_->snapshot, reach);
    const auto status = handles_->db->Get(options, handles_->of(family), slice(key), &value);
    if (status.ok()) return true;
    if (status.IsNotFound()) return false;
    return {boost::system::in_place_error, as_result(status).error()};
}

std::unique_ptr<Cursor> Snapshot::cursor(Family family, bool within_prefix, Reach reach) const {
    auto options = read_options(pin_->snapshot, reach);
    options.prefix_same_as_start = within_prefix;
    options.total_order_seek = !within_prefix;
    return std::make_unique<RocksCursor>(handles_->db->NewIterator(options, handles_->of(family)));
}

std::unique_ptr<Cursor> Snapshot::cursor_down(Family family) const {
    auto options = read_options(pin_->snapshot, Reach::disk);
    options.total_order_seek = true;
    return std::make_unique<CursorDown>(handles_->db->NewIterator(options, handles_->of(family)));
}

std::uint64_t Snapshot::disk_bytes() const {
    std::uint64_t total = 0;
    for (rocksdb::ColumnFamilyHandle* family : handles_->families) {
        std::uint64_t bytes = 0;
        handles_->db->GetIntProperty(family, rocksdb::DB::Properties::kTotalSstFilesSize, &bytes);
        total += bytes;
    }
    rocksdb::VectorLogPtr logs;
    if (handles_->db->GetSortedWalFiles(logs).ok()) {
        for (const auto& log : logs) total += log->SizeFileBytes();
    }
    return total;
}

std::uint64_t Snapshot::block_cache_bytes() const {
    return handles_->cache->GetUsage();
}

// --- batch ---

struct Batch::Changes {
    std::array<KeyChanges, family_count> keys;
    std::vector<std::pair<Family, std::string>> erased_prefixes;

    KeyChanges& of(Family family) { return keys[static_cast<std::size_t>(family)]; }
    /// Many keys come in their order.
    void set(Family family, std::string key, KeyChange change) {
        KeyChanges& all = of(family);
        all.insert_or_assign(all.end(), std::move(key), std::move(change));
    }
};

Batch::Batch(std::shared_ptr<StoreHandles> handles)
    : handles_(std::move(handles)), changes_(std::make_unique<Changes>()) {}
Batch::~Batch() = default;
Batch::Batch(Batch&&) noexcept = default;

Result<bool> Batch::get(Family family, std::string_view key, std::string& value) const {
    const KeyChanges& changes = changes_->of(family);
    const auto change = changes.find(key);
    if (change != changes.end() && change->second.kind != KeyChange::Kind::merge) {
        value = change->second.bytes;
        return change->second.kind == KeyChange::Kind::put;
    }
    const auto status =
        handles_->db->Get(rocksdb::ReadOptions(), handles_->of(family), slice(key), &value);
    if (status.ok()) return true;
    if (status.IsNotFound()) return false;
    return {boost::system::in_place_error, as_result(status).error()};
}

std::unique_ptr<Cursor> Batch::cursor(Family family, bool within_prefix) const {
    rocksdb::ReadOptions options;
    options.prefix_same_as_start = within_prefix;
    options.total_order_seek = !within_prefix;
    return std::make_unique<BatchCursor>(handles_->db->NewIterator(options, handles_->of(family)),
                                         changes_->of(family));
}

void Batch::put(Family family, std::string key, std::string value) {
    changes_->set(family, std::move(key), {KeyChange::Kind::put, std::move(value)});
}

void Batch::erase(Family family, std::string key) {
    changes_->set(family, std::move(key), {KeyChange::Kind::erase, {}});
}

void Batch::merge(Family family, std::string key, std::string operand) {
    const std::size_t before = changes_->of(family).size();
    changes_->set(family, std::move(key), {KeyChange::Kind::merge, std::move(operand)});
    assert(changes_->of(family).size() > before);
}

void Batch::erase_prefix(Family family, std::string prefix) {
    changes_->erased_prefixes.emplace_back(family, std::move(prefix));
}

// --- store ---

Store::Store(const Options& options, std::shared_ptr<StoreHandles> handles)
    : handles_(std::move(handles)), options_(options) {}
Store::~Store() = default;

namespace {

/// Creates an empty store aside and renames it into place, so that no half-made one is ever found.
rocksdb::Status create(const rocksdb::DBOptions& wanted, const std::filesystem::path& path) {
    std::filesystem::path aside = path;
    aside += ".new";
    std::filesystem::remove_all(aside);
    rocksdb::DBOptions options = wanted;
    options.create_if_missing = true;
    options.create_missing_column_families = true;
    options.error_if_exists = true;
    {
        StoreHandles handles;
        handles.cache = rocksdb::NewLRUCache(1u << 20);
        auto status = handles.open(options, aside.string(), StoreHandles::Replay::to_tables);
        if (!status.ok()) return status;
        rocksdb::WriteOptions synced;
        synced.sync = true;
        status =
            handles.db->Put(synced, handles.of(Family::meta), slice(version_key), encode_version());
        if (!status.ok()) return status;
    }
    std::filesystem::rename(aside, path);
    sync_folder(path.parent_path());
    return rocksdb::Status::OK();
}

Result<void> refuse(std::string& why, const std::filesystem::path& path, errc code,
                    const std::string& what, const std::string& advice) {
    why = "The store in " + path.string() + " cannot be opened: " + what +
          ". Nothing was changed. " + advice;
    return make_error_code(code);
}

Result<void> refuse(std::string& why, const std::filesystem::path& path,
                    const rocksdb::Status& status) {
    const std::string text = status.ToString();
    if (status.IsIOError() && (text.find("lock file") != std::string::npos ||
                               text.find("lock hold") != std::string::npos)) {
        return refuse(why, path, errc::io_error, "another process has it open (" + text + ")",
                      "Stop that process, or give this one a directory of its own.");
    }
    if (status.IsCorruption() || status.IsInvalidArgument() || status.IsNotFound()) {
        return refuse(why, path, errc::corrupt,
                      "its files are damaged or incomplete (" + text + ")",
                      "Keep a copy of the directory as it is, then restore the last backup.");
    }
    return refuse(why, path,
                  as_result(status).error() == errc::disk_full ? errc::disk_full : errc::io_error,
                  "the file system refused (" + text + ")",
                  "Check that the directory is mounted, writable and has free space.");
}

Result<void> check_families(const rocksdb::DBOptions& options, const std::filesystem::path& path,
                            std::string& why) {
    std::vector<std::string> found;
    const auto status = rocksdb::DB::ListColumnFamilies(options, path.string(), &found);
    if (!status.ok()) return refuse(why, path, status);
    for (const std::string name : family_names) {
        if (std::find(found.begin(), found.end(), name) == found.end()) {
            return refuse(why, path, errc::corrupt, "column family '" + name + "' is missing",
                          "Restore the last backup, or register anew in an empty directory if "
                          "an early pushhub wrote it: formats 1 and 2 cannot be read.");
        }
    }
    for (const std::string& name : found) {
        if (std::find(family_names.begin(), family_names.end(), name) == family_names.end()) {
            return refuse(why, path, errc::corrupt,
                          "it has a column family '" + name + "' that this version does not know",
                          "Start the version of pushhub that wrote it.");
        }
    }
    return {};
}

}  // namespace

namespace {

struct OpenedHandles {
    std::shared_ptr<StoreHandles> handles;
    rocksdb::Status status;
    bool torn = false;  ///< the end of the log was no whole batch, and was dropped
};

OpenedHandles open_handles(const Options& options, StoreHandles::Replay replay) {
    const std::filesystem::path path = options.directory / store_name;
    rocksdb::DBOptions database = database_options(options);
    auto handles = std::make_shared<StoreHandles>();
    handles->cache = rocksdb::NewLRUCache(options.block_cache_bytes, cache_shard_bits);
    rocksdb::Status status = handles->open(database, path.string(), replay);
    const bool torn = status.IsCorruption() && log_is_torn(path);
    if (torn) {
        database.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
        auto again = std::make_shared<StoreHandles>();
        again->cache = handles->cache;
        status = again->open(database, path.string(), replay);
        handles = std::move(again);
    }
    return {std::move(handles), std::move(status), torn};
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const Options& options, std::string& why) {
    const std::filesystem::path path = options.directory / store_name;
    const rocksdb::DBOptions wanted = database_options(options);
    try {
        std::filesystem::create_directories(options.directory);
        if (!std::filesystem::exists(path)) {
            const auto status = create(wanted, path);
            if (!status.ok()) return refuse(why, path, status).error();
        }
    } catch (const std::filesystem::filesystem_error& error) {
        return refuse(why, path, errc::io_error, error.what(),
                      "Check that the directory exists and is writable.")
            .error();
    }
    if (auto listed = check_families(wanted, path, why); !listed) return listed.error();
    const LogEnd end = newest_log_end(path);
    if (end == LogEnd::damaged) {
        return refuse(why, path, errc::corrupt,
                      "its files are damaged or incomplete (the log is broken before its end)",
                      "Keep a copy of the directory as it is, then restore the last backup.")
            .error();
    }
    auto [handles, status, torn] = open_handles(options, StoreHandles::Replay::to_tables);
    if (!status.ok()) return refuse(why, path, status).error();

    std::unique_ptr<Store> store(new Store(options, std::move(handles)));
    std::string bytes;
    const auto found = store->snapshot()->get(Family::meta, version_key, bytes);
    const auto version = decode_version(bytes);
    if (!found || !*found || !version) {
        return refuse(why, path, errc::corrupt, "its format version cannot be read",
                      "Restore the last backup.")
            .error();
    }
    if (*version < oldest_format_version || *version > format_version) {
        return refuse(why, path, errc::corrupt,
                      "it has format version " + std::to_string(*version) +
                          ", this program reads versions " + std::to_string(oldest_format_version) +
                          " to " + std::to_string(format_version),
                      "Start the version of pushhub that wrote it.")
            .error();
    }
    if (torn || end == LogEnd::torn) {
        why =
            "In " + path.string() +
            " the end of the log was torn: what was being written when the process or the machine "
            "stopped is dropped. Nobody was told that it was stored, unless the disk loses what "
            "it has called synced.";
    }
    return store;
}

std::shared_ptr<const Snapshot> Store::snapshot() const {
    return std::make_shared<const Snapshot>(handles_);
}

Batch Store::batch() const {
    return Batch(handles_);
}

namespace {

/// So much of the form of a write batch that it need not grow on the way.
std::size_t bytes_of(const KeyChanges& changes) {
    constexpr std::size_t around_each = 1 + 3 * 5;  // kind, three varints
    std::size_t bytes = 0;
    for (const auto& [key, change] : changes)
        bytes += around_each + key.size() + change.bytes.size();
    return bytes;
}

/// In the order of the keys, which spares the memtables most of their searching where neighbours
/// come together. A write batch in memory takes everything.
void add_changes(rocksdb::WriteBatch& out, rocksdb::ColumnFamilyHandle* family,
                 const KeyChanges& changes) {
    for (const auto& [key, change] : changes) {
        rocksdb::Status status;
        switch (change.kind) {
            case KeyChange::Kind::put:
                status = out.Put(family, slice(key), slice(change.bytes));
                break;
            case KeyChange::Kind::erase:
                status = out.Delete(family, slice(key));
                break;
            case KeyChange::Kind::merge:
                status = out.Merge(family, slice(key), slice(change.bytes));
                break;
        }
        assert(status.ok());
    }
}

}  // namespace

Result<void> Store::write(const Batch& batch) {
    std::size_t bytes = 64;
    for (const KeyChanges& of_family : batch.changes_->keys) bytes += bytes_of(of_family);
    rocksdb::WriteBatch changes(bytes);
    for (std::size_t i = 0; i < family_count; ++i) {
        add_changes(changes, handles_->families[i], batch.changes_->keys[i]);
    }
    for (const auto& [family, prefix] : batch.changes_->erased_prefixes) {
        const auto status =
            changes.DeleteRange(handles_->of(family), slice(prefix), slice(after_prefix(prefix)));
        assert(status.ok());
    }
    rocksdb::WriteOptions options;
    options.sync = options_.sync;
    return as_result(handles_->db->Write(options, &changes));
}

Result<void> Store::recover() {
    if (handles_->watch->log_failed() || handles_->read_only)
        return make_error_code(errc::io_error);
    return as_result(handles_->db->Resume());
}

bool Store::writable() const {
    std::error_code failure;
    std::uintmax_t needed = room_bytes_min;
    // What stands still because a table could not be written would do so again at once.
    const bool for_tables = handles_ && !handles_->watch->log_failed() && !handles_->read_only;
    for (const auto& entry :
         std::filesystem::directory_iterator(options_.directory / store_name, failure)) {
        std::error_code ignored;
        const bool counts = for_tables && entry.path().extension() == ".log";
        const auto bytes = counts ? entry.file_size(ignored) : 0;
        if (!ignored) needed += bytes;
    }
    const auto space = std::filesystem::space(options_.directory, failure);
    if (failure || space.available < needed) return false;
    rocksdb::Env* const env = options_.env != nullptr ? options_.env : rocksdb::Env::Default();
    const std::string path = (options_.directory / "probe").string();
    std::unique_ptr<rocksdb::WritableFile> file;
    bool works = env->NewWritableFile(path, &file, rocksdb::EnvOptions()).ok();
    works = works && file->Append(std::string(probe_bytes, 'x')).ok() && file->Sync().ok();
    if (file) works = file->Close().ok() && works;
    env->DeleteFile(path).PermitUncheckedError();
    return works;
}

Result<void> Store::reopen() {
    if (handles_ && handles_->watch->log_failed())
        written_ = handles_->db->GetLatestSequenceNumber();
    const std::weak_ptr<StoreHandles> last = handles_;
    handles_.reset();
    for (int waited = 0; !last.expired(); ++waited) {
        if (waited == readers_wait_ms_max) {
            handles_ = last.lock();
            return make_error_code(errc::io_error);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (written_ && !cut_log_after(options_.directory / store_name, *written_))
        return make_error_code(errc::io_error);
    written_.reset();
    auto [handles, status, torn] = open_handles(options_, StoreHandles::Replay::to_memory);
    if (status.ok()) {
        handles_ = std::move(handles);
    } else {
        handles.reset();
        auto readable = open_handles(options_, StoreHandles::Replay::read_only);
        if (readable.status.ok()) handles_ = std::move(readable.handles);
    }
    return as_result(status);
}

void Store::flush() {
    if (!handles_) return;
    const std::vector<rocksdb::ColumnFamilyHandle*> families(handles_->families.begin(),
                                                             handles_->families.end());
    // If it fails the log still has everything.
    handles_->db->Flush(rocksdb::FlushOptions(), families).PermitUncheckedError();
}

}  // namespace registry
