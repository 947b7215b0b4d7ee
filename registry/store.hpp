#pragma once

// RocksDB behind a narrow face: column families by name, snapshots to read from, one batch to
// write. In the registry only this, rocks_rules, rocks_log and rocks_watch know RocksDB;
// trace_store has a database of its own.
//
// Any thread may read; one thread at a time builds and writes batches. Snapshots keep the database
// open: close() on the Store takes effect when the last of them is gone.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "registry/errc.hpp"
#include "registry/options.hpp"

namespace registry {

enum class Family : std::uint8_t {
    meta,
    rows,
    ids,
    installations,
    users,
    handles,
    postings,
    ledger
};
constexpr std::size_t family_count = 8;

/// How far a read may go: not beyond memory (errc::not_in_memory if that is not enough), or to the
/// disk, which blocks.
enum class Reach : std::uint8_t { memory, disk };

/// Walks keys in one direction. key() and value() are valid until the next move.
class Cursor {
  public:
    virtual ~Cursor() = default;
    virtual void seek(std::string_view key) = 0;
    virtual void next() = 0;
    virtual bool valid() const = 0;  ///< false at the end and after an error
    virtual std::string_view key() const = 0;
    virtual std::string_view value() const = 0;
    virtual Result<void> status() const = 0;
};

class StoreHandles;  // database and column families

/// The store as it was at one moment.
class Snapshot {
  public:
    explicit Snapshot(std::shared_ptr<StoreHandles> handles);
    ~Snapshot();
    Snapshot(const Snapshot&) = delete;
    Snapshot& operator=(const Snapshot&) = delete;

    /// False: no such key.
    Result<bool> get(Family family, std::string_view key, std::string& value,
                     Reach reach = Reach::disk) const;
    /// `within_prefix` (postings, handles, installations): every seek is to a posting, a handle
    /// hash or an id, keys beyond it may be missing, and filters answer for those that are absent.
    std::unique_ptr<Cursor> cursor(Family family, bool within_prefix = false,
                                   Reach reach = Reach::disk) const;
    /// Walks down; seek() goes to the last key below the one it is given.
    std::unique_ptr<Cursor> cursor_down(Family family) const;

    // Figures of now, not of the snapshot's moment.
    std::uint64_t disk_bytes() const;
    std::uint64_t block_cache_bytes() const;

  private:
    struct Pin;
    std::shared_ptr<StoreHandles> handles_;
    std::unique_ptr<Pin> pin_;
};

/// Changes on top of the store that become durable together, the last one of each key. Reads see
/// the changes made so far, but for merges and erased ranges, which take effect when the batch is
/// written.
class Batch {
  public:
    ~Batch();
    Batch(Batch&&) noexcept;
    Batch& operator=(Batch&&) = delete;

    Result<bool> get(Family family, std::string_view key, std::string& value) const;
    /// Sees changes made after its creation once it seeks again.
    std::unique_ptr<Cursor> cursor(Family family, bool within_prefix = false) const;
    void put(Family family, std::string key, std::string value);
    void erase(Family family, std::string key);
    /// Nothing else in the batch may change this key.
    void merge(Family family, std::string key, std::string operand);
    /// Erases all keys with this prefix, also those that the batch puts.
    void erase_prefix(Family family, std::string prefix);

  private:
    friend class Store;
    struct Changes;
    explicit Batch(std::shared_ptr<StoreHandles> handles);
    std::shared_ptr<StoreHandles> handles_;
    std::unique_ptr<Changes> changes_;
};

class Store {
  public:
    /// Opens the store in options.directory, creates it if there is none. On failure `why` says
    /// what is wrong, where, and what the operator can do; nothing on disk was changed then. On
    /// success it is empty, or says what the operator should know.
    static Result<std::unique_ptr<Store>> open(const Options& options, std::string& why);
    ~Store();

    std::shared_ptr<const Snapshot> snapshot() const;
    Batch batch() const;
    /// One synced write; on failure nothing of the batch is visible and `recover` may help.
    Result<void> write(const Batch& batch);
    /// Tries to leave the state that a failed flush or compaction put RocksDB in. After a failed
    /// write of the log only reopen() helps.
    Result<void> recover();
    /// Whether files can be written and synced in the directory of the store, and there is room:
    /// 4 MiB after a failed write of the log, else also for tables with what the logs hold.
    bool writable() const;
    /// Closes the database and opens it again. What a failed write left in the log is taken back
    /// before, or it would come to life beside what is written later; what the log holds stays in
    /// memory. All snapshots must be on their way out. On failure reopen() may be called again;
    /// what is there can be read meanwhile, unless is_open() is false.
    Result<void> reopen();
    bool is_open() const { return handles_ != nullptr; }
    /// Moves the log into tables, so that the next open has nothing to replay.
    void flush();

  private:
    Store(const Options& options, std::shared_ptr<StoreHandles> handles);
    std::shared_ptr<StoreHandles> handles_;
    std::optional<std::uint64_t> written_;  ///< the log is to be cut behind this sequence number
    const Options options_;
};

}  // namespace registry
