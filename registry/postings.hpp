#pragma once

// Postings: which device numbers of a partition carry a name. Names are tags
// (canonical) or our own.
//
// A posting lives in RocksDB, one chunk per 65,536 numbers; big ones are also kept whole in a
// bounded cache. The writer collects the deltas of a batch, writes one operand per chunk, and after
// the commit tells the cache. Bitmaps there are never changed: a reader asks for a posting at the
// position of its view, and the deltas up to it are put on a copy then.

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "registry/bitmap.hpp"
#include "registry/store.hpp"
#include "tagexpr/keyed_hash.hpp"

namespace registry {

// Our own names. A row is in `alive` as long as it exists, and in `parts` if an installation owns
// it; in the others either unless its channel expired, or, in expired_name(), if it has.
constexpr std::string_view alive_name = "alive";
constexpr std::string_view parts_name = "parts";
constexpr std::string_view native_name = "native";
constexpr std::string_view templated_name = "templated";
std::string platform_name(std::string_view platform, bool templated);
/// Parts of installations of this user whose channel expired: no tag leads to them.
std::string expired_name(std::string_view user_id);

std::string internal_prefix(std::uint32_t hub, std::uint16_t partition, std::string_view name);
std::string tag_prefix(std::uint32_t hub, std::uint16_t partition, std::string_view tag);

/// The posting under `prefix`, read with a cursor of Family::postings that stays within prefixes.
Result<Bitmap> read_posting(Cursor& cursor, std::string_view prefix);

/// The postings of a tag, by partition, with one seek. Tags of installations have none, and those
/// of users only if many rows carry them.
Result<std::map<std::uint16_t, Bitmap>> read_tag(Cursor& cursor, std::uint32_t hub,
                                                 std::string_view tag);

/// What one batch does to one posting: numbers ascending, each once; true = added.
struct PostingDelta {
    std::string prefix;
    std::vector<std::pair<std::uint32_t, bool>> numbers;
};

/// Collects additions and removals; the last word on a number counts.
class PostingDeltas {
  public:
    void add(std::string_view prefix, std::uint32_t number) { touch(prefix, number, true); }
    void remove(std::string_view prefix, std::uint32_t number) { touch(prefix, number, false); }
    std::vector<PostingDelta> take();  ///< ordered by prefix; leaves this empty

  private:
    void touch(std::string_view prefix, std::uint32_t number, bool added);
    std::unordered_map<std::string, std::vector<std::pair<std::uint32_t, bool>>, tagexpr::KeyedHash,
                       std::equal_to<>>
        changes_;
};

/// The numbers of one posting as a selection works on them: the cached bitmap itself as long as
/// nothing is taken from it or added to it.
class PostingSet {
  public:
    PostingSet() = default;
    explicit PostingSet(std::shared_ptr<const Bitmap> cached) : cached_(std::move(cached)) {}
    explicit PostingSet(Bitmap own) : own_(std::move(own)) {}

    const Bitmap& bitmap() const { return cached_ ? *cached_ : own_; }
    Bitmap take() {
        if (cached_) return *cached_;
        return std::move(own_);
    }
    std::uint64_t cardinality() const { return bitmap().cardinality(); }
    bool empty() const { return bitmap().isEmpty(); }
    PostingSet& operator&=(const PostingSet& other) {
        if (!cached_) {
            own_ &= other.bitmap();
        } else {
            become(*cached_ & other.bitmap());
        }
        return *this;
    }
    PostingSet& operator|=(const PostingSet& other) {
        if (!cached_) {
            own_ |= other.bitmap();
        } else {
            become(*cached_ | other.bitmap());
        }
        return *this;
    }
    PostingSet& operator-=(const PostingSet& other) {
        if (!cached_) {
            own_ -= other.bitmap();
        } else {
            become(*cached_ - other.bitmap());
        }
        return *this;
    }

  private:
    void become(Bitmap own) {
        own_ = std::move(own);
        cached_.reset();
    }
    std::shared_ptr<const Bitmap> cached_;  ///< null: own_
    Bitmap own_;
};

/// Writes deltas as merge operands and, every so often, as a folded value in place of one, so that
/// no read ever meets thousands of operands. Writer thread only.
class PostingFolder {
  public:
    Result<void> write(const std::vector<PostingDelta>& deltas, Batch& batch);

  private:
    static constexpr std::size_t slots = 1u << 16;
    static constexpr std::uint8_t operands_max = 64;
    // Operands since the last fold, by hash of the key: names that share a slot only fold earlier.
    std::vector<std::uint8_t> operands_ = std::vector<std::uint8_t>(slots);
};

/// Least recently used big postings. Any thread; nothing blocks for longer than it takes to copy
/// what is due of one posting.
class PostingCache {
  public:
    explicit PostingCache(std::size_t bytes_max) : bytes_max_(bytes_max) {}
    /// The posting as the view at `position` has it; null: the store has to be read.
    std::shared_ptr<const Bitmap> find(const std::string& prefix, std::uint64_t position) {
        return at(prefix, position, true);
    }
    /// `bitmap` was read from the view at `position`. Small postings are not worth a place: RocksDB
    /// reads them in microseconds.
    void offer(const std::string& prefix, const Bitmap& bitmap, std::uint64_t position);
    /// What the batch at `position` changed, before anybody can have its view. Writer.
    void apply(const std::vector<PostingDelta>& deltas, std::uint64_t position);
    void clear();
    std::size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  private:
    struct Change {
        std::uint64_t position;
        std::uint32_t number;
        bool added;
    };
    struct Entry {
        std::string prefix;
        std::shared_ptr<const Bitmap> bitmap;
        std::uint64_t since = 0;      ///< the position that `bitmap` is of
        std::vector<Change> changes;  ///< since then, ascending by position
        std::size_t bitmap_bytes = 0, bytes = 0;
    };
    std::shared_ptr<const Bitmap> at(const std::string& prefix, std::uint64_t position, bool used);
    void resize(Entry& entry);
    void evict();

    static constexpr std::size_t slots = 1u << 16;
    const std::size_t bytes_max_;
    std::atomic<std::size_t> bytes_ = 0;
    std::mutex mutex_;  ///< for what follows
    // Position of the last change, by hash of the prefix: what was read before it comes too late.
    // Prefixes that share a slot are only refused more often.
    std::vector<std::uint64_t> changed_at_ = std::vector<std::uint64_t>(slots);
    std::list<Entry> entries_;  // front = used last
    std::unordered_map<std::string_view, std::list<Entry>::iterator, tagexpr::KeyedHash> index_;
};

}  // namespace registry
