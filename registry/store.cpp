#include "registry/store.hpp"

#include <fcntl.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/write_batch_with_index.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <thread>

#include "registry/keys.hpp"
#include "registry/postings_merge.hpp"
#include "registry/rocks_log.hpp"
#include "registry/rocks_status.hpp"
#include "registry/rocks_watch.hpp"
#include "registry/wal_tail.hpp"

namespace registry {
namespace {

constexpr std::size_t row_block_bytes = 16u << 10;
constexpr std::uint64_t wal_bytes_max = 128u << 20;  // bounds the replay after a crash
constexpr std::size_t memtable_bytes = 32u << 20;
constexpr int filter_bits_per_key = 10;
constexpr int cache_shard_bits = 4;  // shards of 16 MiB: no block comes near
constexpr std::size_t probe_bytes = 1u << 20;
constexpr int readers_wait_ms_max = 2'000;

constexpr const char* store_name = "store";

/// In the order of Family. On disk: never rename one.
constexpr std::array<const char*, family_count> family_names{
    "default", "rows", "ids", "installations", "handles", "postings", "expiry", "ledger"};

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
    table.pin_l0_filter_and_index_blocks_in_cache = true;
    // The filter of a file of handles has 3 MiB: read and checked as a whole it would cost more
    // than everything else a new device needs.
    table.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
    table.partition_filters = true;
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(filter_bits_per_key, false));
    if (family == Family::rows) table.block_size = row_block_bytes;
    if (family == Family::ids || family == Family::installations || family == Family::ledger) {
        // Every new device or send asks for an id that is not there.
        options.memtable_prefix_bloom_size_ratio = 0.05;
        options.memtable_whole_key_filtering = true;
    }
    if (family == Family::handles) {
        options.prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(handle_prefix_bytes));
        options.memtable_prefix_bloom_size_ratio = 0.05;
        table.whole_key_filtering = false;
    }
    if (family == Family::postings) {
        options.write_buffer_size = 2 * memtable_bytes;
        options.merge_operator = posting_merge_operator();
        options.prefix_extractor = posting_prefix_extractor();
        options.compaction_filter = empty_chunk_filter();
        options.memtable_prefix_bloom_size_ratio = 0.05;
        table.whole_key_filtering = false;
    }
    options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    return options;
}

rocksdb::DBOptions database_options(const Options& wanted) {
    rocksdb::DBOptions options;
    if (wanted.env != nullptr) options.env = wanted.env;
    options.paranoid_checks = true;
    options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
    options.track_and_verify_wals_in_manifest = true;
    options.max_total_wal_size = wal_bytes_max;
    options.max_background_jobs = 4;
    options.bytes_per_sync = 1u << 20;
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
    rocksdb::Status open(rocksdb::DBOptions options, const std::string& path) {
        options.listeners = {watch};
        std::vector<rocksdb::ColumnFamilyDescriptor> wanted;
        for (std::size_t i = 0; i < family_count; ++i) {
            wanted.emplace_back(family_names[i], family_options(static_cast<Family>(i), cache));
        }
        std::vector<rocksdb::ColumnFamilyHandle*> opened;
        rocksdb::DB* raw = nullptr;
        rocksdb::Status status = rocksdb::DB::Open(options, path, wanted, &opened, &raw);
        db.reset(raw);
        std::copy(opened.begin(), opened.end(), families.begin());
        return status;
    }

    std::shared_ptr<rocksdb::Cache> cache;
    std::shared_ptr<RocksWatch> watch = std::make_shared<RocksWatch>();
    std::unique_ptr<rocksdb::DB> db;
    std::array<rocksdb::ColumnFamilyHandle*, family_count> families{};
};

// --- cursor ---

namespace {

class RocksCursor final : public Cursor {
  public:
    explicit RocksCursor(rocksdb::Iterator* iterator) : iterator_(iterator) {}
    void seek(std::string_view key) override { iterator_->Seek(slice(key)); }
    void next() override { iterator_->Next(); }
    void seek_before(std::string_view key) override {
        iterator_->SeekForPrev(slice(key));
        if (iterator_->Valid() && view(iterator_->key()) == key) iterator_->Prev();
    }
    void previous() override { iterator_->Prev(); }
    bool valid() const override { return iterator_->Valid(); }
    std::string_view key() const override { return view(iterator_->key()); }
    std::string_view value() const override { return view(iterator_->value()); }
    Result<void> status() const override { return as_result(iterator_->status()); }

  private:
    std::unique_ptr<rocksdb::Iterator> iterator_;
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
    rocksdb::WriteBatchWithIndex index{rocksdb::BytewiseComparator(), 0, true};
};

Batch::Batch(std::shared_ptr<StoreHandles> handles)
    : handles_(std::move(handles)), changes_(std::make_unique<Changes>()) {}
Batch::~Batch() = default;
Batch::Batch(Batch&&) noexcept = default;

Result<bool> Batch::get(Family family, std::string_view key, std::string& value) const {
    const auto status = changes_->index.GetFromBatchAndDB(
        handles_->db.get(), rocksdb::ReadOptions(), handles_->of(family), slice(key), &value);
    if (status.ok()) return true;
    if (status.IsNotFound()) return false;
    return {boost::system::in_place_error, as_result(status).error()};
}

std::unique_ptr<Cursor> Batch::cursor(Family family, bool within_prefix) const {
    rocksdb::ReadOptions options;
    options.total_order_seek = !within_prefix;
    rocksdb::ColumnFamilyHandle* handle = handles_->of(family);
    rocksdb::Iterator* base = handles_->db->NewIterator(options, handle);
    return std::make_unique<RocksCursor>(changes_->index.NewIteratorWithBase(handle, base));
}

// A batch in memory takes every change; what can fail is writing it.
void Batch::put(Family family, std::string_view key, std::string_view value) {
    const auto status = changes_->index.Put(handles_->of(family), slice(key), slice(value));
    assert(status.ok());
}

void Batch::erase(Family family, std::string_view key) {
    const auto status = changes_->index.Delete(handles_->of(family), slice(key));
    assert(status.ok());
}

void Batch::merge(Family family, std::string_view key, std::string_view operand) {
    const auto status =
        changes_->index.GetWriteBatch()->Merge(handles_->of(family), slice(key), slice(operand));
    assert(status.ok());
}

void Batch::erase_prefix(Family family, const std::string& prefix) {
    const auto status = changes_->index.GetWriteBatch()->DeleteRange(
        handles_->of(family), slice(prefix), slice(after_prefix(prefix)));
    assert(status.ok());
}

// --- store ---

Store::Store(const Options& options, std::shared_ptr<StoreHandles> handles)
    : handles_(std::move(handles)), options_(options) {}
Store::~Store() = default;

namespace {

/// A rename is durable only once its directory is.
void sync_directory(const std::filesystem::path& directory) {
    const int file = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return;
    ::fsync(file);
    ::close(file);
}

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
        rocksdb::Status status = handles.open(options, aside.string());
        if (!status.ok()) return status;
        rocksdb::WriteOptions synced;
        synced.sync = true;
        status =
            handles.db->Put(synced, handles.of(Family::meta), slice(version_key), encode_version());
        if (!status.ok()) return status;
    }
    std::filesystem::rename(aside, path);
    sync_directory(path.parent_path());
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
                          "Restore the last backup.");
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

OpenedHandles open_handles(const Options& options) {
    const std::filesystem::path path = options.directory / store_name;
    rocksdb::DBOptions database = database_options(options);
    auto handles = std::make_shared<StoreHandles>();
    handles->cache = rocksdb::NewLRUCache(options.block_cache_bytes, cache_shard_bits);
    rocksdb::Status status = handles->open(database, path.string());
    const bool torn = status.IsCorruption() && log_is_torn(path);
    if (torn) {
        database.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
        auto again = std::make_shared<StoreHandles>();
        again->cache = handles->cache;
        status = again->open(database, path.string());
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
    auto [handles, status, torn] = open_handles(options);
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
    if (*version != format_version) {
        return refuse(why, path, errc::corrupt,
                      "it has format version " + std::to_string(*version) +
                          ", this program reads version " + std::to_string(format_version),
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

Result<void> Store::write(Batch& batch) {
    rocksdb::WriteOptions options;
    options.sync = options_.sync;
    return as_result(handles_->db->Write(options, batch.changes_->index.GetWriteBatch()));
}

Result<void> Store::recover() {
    if (handles_->watch->log_failed()) return make_error_code(errc::io_error);
    return as_result(handles_->db->Resume());
}

bool Store::writable() const {
    std::error_code failure;
    std::uintmax_t replayed = probe_bytes;
    for (const auto& entry :
         std::filesystem::directory_iterator(options_.directory / store_name, failure)) {
        std::error_code ignored;
        const auto bytes = entry.path().extension() == ".log" ? entry.file_size(ignored) : 0;
        if (!ignored) replayed += bytes;
    }
    const auto space = std::filesystem::space(options_.directory, failure);
    if (failure || space.available < replayed) return false;
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
    auto [handles, status, torn] = open_handles(options_);
    if (status.ok()) handles_ = std::move(handles);
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
