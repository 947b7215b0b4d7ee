// Three parts. PostingDeltas collects what a batch adds and removes. PostingFolder turns that into
// one operand for each chunk, and every so often into a whole chunk, so reads never meet a long
// row of operands. PostingCache keeps big postings whole, least recently used out first. Deltas
// and folder belong to the writer's thread; the cache has a lock, and the bitmaps in it change
// only while no selection runs.
#include "registry/postings.hpp"

#include <algorithm>
#include <optional>

#include "registry/keys.hpp"
#include "tagexpr/expression.hpp"

namespace registry {
namespace {

constexpr std::size_t cached_count_min = 512;
// Changes of a cached posting are kept apart until they take so much and a quarter of the bitmap:
// the writer copies it then, which costs a change a few bytes.
constexpr std::size_t changes_bytes_min = 1u << 10;

/// The numbers of one chunk, from `at` on; moves `at` behind them.
Operand next_operand(const PostingDelta& delta, std::size_t& at) {
    Operand operand;
    const std::uint32_t chunk = delta.numbers[at].first >> 16;
    for (; at < delta.numbers.size() && delta.numbers[at].first >> 16 == chunk; ++at) {
        const auto low = static_cast<std::uint16_t>(delta.numbers[at].first & 0xffff);
        (delta.numbers[at].second ? operand.added : operand.removed).push_back(low);
    }
    return operand;
}

}  // namespace

std::string platform_name(std::string_view platform, bool templated) {
    return std::string(templated ? templated_name : native_name) + ":" + std::string(platform);
}

std::string expired_name(std::string_view user_id) {
    return "dead:" + std::string(user_id);
}

std::string internal_prefix(std::uint32_t hub, std::uint16_t partition, std::string_view name) {
    return posting_prefix(hub, partition, PostingSpace::internal, name);
}

std::string tag_prefix(std::uint32_t hub, std::uint16_t partition, std::string_view tag) {
    return posting_prefix(hub, partition, PostingSpace::tag, tagexpr::canonical_tag(tag));
}

Result<Bitmap> read_posting(Cursor& cursor, std::string_view prefix) {
    BitmapBuilder builder;
    for (cursor.seek(chunk_key(prefix, 0)); cursor.valid(); cursor.next()) {
        const std::string_view key = cursor.key();
        if (!key.starts_with(prefix) || key.size() != prefix.size() + 2) break;
        if (!builder.add(posting_place(key).chunk, cursor.value()))
            return make_error_code(errc::corrupt);
    }
    if (auto status = cursor.status(); !status) return status.error();
    return builder.finish();
}

Result<std::map<std::uint16_t, Bitmap>> read_tag(Cursor& cursor, std::uint32_t hub,
                                                 std::string_view tag) {
    const std::string prefix =
        posting_name_prefix(hub, PostingSpace::tag, tagexpr::canonical_tag(tag));
    std::map<std::uint16_t, Bitmap> postings;
    BitmapBuilder builder;
    std::optional<std::uint16_t> building;
    const auto finish = [&] {
        if (!building) return;
        Bitmap bitmap = builder.finish();
        if (!bitmap.isEmpty()) postings.emplace(*building, std::move(bitmap));
        building.reset();
    };
    for (cursor.seek(prefix); cursor.valid(); cursor.next()) {
        const std::string_view key = cursor.key();
        if (!key.starts_with(prefix) || key.size() != prefix.size() + 4) break;
        const auto [partition, chunk] = posting_place(key);
        if (building != partition) finish();
        building = partition;
        if (!builder.add(chunk, cursor.value())) return make_error_code(errc::corrupt);
    }
    if (auto status = cursor.status(); !status) return status.error();
    finish();
    return postings;
}

// --- deltas ---

void PostingDeltas::touch(std::string_view prefix, std::uint32_t number, bool added) {
    auto at = changes_.find(prefix);
    if (at == changes_.end()) at = changes_.try_emplace(std::string(prefix)).first;
    at->second.emplace_back(number, added);
}

namespace {

/// Ascending, the last word on each number.
void settle(std::vector<std::pair<std::uint32_t, bool>>& numbers) {
    const auto before = [](const auto& a, const auto& b) { return a.first < b.first; };
    const auto not_before = [&](const auto& a, const auto& b) { return !before(a, b); };
    if (std::adjacent_find(numbers.begin(), numbers.end(), not_before) == numbers.end()) return;
    std::stable_sort(numbers.begin(), numbers.end(), before);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (kept > 0 && numbers[kept - 1].first == numbers[i].first) --kept;
        numbers[kept++] = numbers[i];
    }
    numbers.resize(kept);
}

}  // namespace

std::vector<PostingDelta> PostingDeltas::take() {
    std::vector<PostingDelta> deltas;
    deltas.reserve(changes_.size());
    while (!changes_.empty()) {
        auto change = changes_.extract(changes_.begin());
        settle(change.mapped());
        deltas.push_back({std::move(change.key()), std::move(change.mapped())});
    }
    std::sort(deltas.begin(), deltas.end(),
              [](const PostingDelta& a, const PostingDelta& b) { return a.prefix < b.prefix; });
    return deltas;
}

// --- folder ---

Result<void> PostingFolder::write(const std::vector<PostingDelta>& deltas, Batch& batch) {
    std::string stored, merged;
    for (const PostingDelta& delta : deltas) {
        for (std::size_t at = 0; at < delta.numbers.size();) {
            const auto number = static_cast<std::uint16_t>(delta.numbers[at].first >> 16);
            const std::string key = chunk_key(delta.prefix, number);
            const std::string operand = encode_operand(next_operand(delta, at));
            std::uint8_t& operands = operands_[hash64(key) % slots];
            if (++operands < operands_max) {
                batch.merge(Family::postings, key, operand);
                continue;
            }
            operands = 0;
            const auto found = batch.get(Family::postings, key, stored);
            if (!found) return found.error();
            const std::string_view value = *found ? std::string_view(stored) : "";
            const std::string_view one = operand;
            if (!merge_chunk(value, {&one, 1}, merged)) return make_error_code(errc::corrupt);
            batch.put(Family::postings, key, merged);
        }
    }
    return {};
}

// --- cache ---

std::shared_ptr<const Bitmap> PostingCache::at(const std::string& prefix, std::uint64_t position,
                                               bool used) {
    std::shared_ptr<const Bitmap> before;
    std::vector<Change> due;
    {
        const std::lock_guard lock(mutex_);
        const auto found = index_.find(prefix);
        if (found == index_.end()) return nullptr;
        if (used) entries_.splice(entries_.begin(), entries_, found->second);
        const Entry& entry = *found->second;
        if (entry.since > position) return nullptr;
        const auto later = [position](const Change& c) { return c.position > position; };
        due.assign(entry.changes.begin(),
                   std::find_if(entry.changes.begin(), entry.changes.end(), later));
        if (due.empty()) return entry.bitmap;
        before = entry.bitmap;
    }
    auto bitmap = std::make_shared<Bitmap>(*before);
    for (const Change& change : due) {
        if (change.added) {
            bitmap->add(change.number);
        } else {
            bitmap->remove(change.number);
        }
    }
    const std::lock_guard lock(mutex_);
    const auto found = index_.find(prefix);
    if (found == index_.end() || found->second->bitmap != before) return bitmap;  // another did it
    Entry& entry = *found->second;
    entry.bitmap = bitmap;
    entry.since = due.back().position;
    entry.changes.erase(entry.changes.begin(),
                        entry.changes.begin() + static_cast<std::ptrdiff_t>(due.size()));
    entry.bitmap_bytes = bitmap->getSizeInBytes(false);
    resize(entry);
    evict();
    return bitmap;
}

void PostingCache::offer(const std::string& prefix, const Bitmap& bitmap, std::uint64_t position) {
    if (bitmap.cardinality() < cached_count_min) return;
    auto kept = std::make_shared<Bitmap>(bitmap);
    kept->runOptimize();
    kept->shrinkToFit();
    const std::lock_guard lock(mutex_);
    if (changed_at_[hash64(prefix) % slots] > position || index_.contains(prefix)) return;
    Entry& entry = entries_.emplace_front();
    entry.prefix = prefix;
    entry.bitmap_bytes = kept->getSizeInBytes(false);
    entry.bitmap = std::move(kept);
    entry.since = position;
    index_.emplace(entry.prefix, entries_.begin());
    resize(entry);
    evict();
}

void PostingCache::apply(const std::vector<PostingDelta>& deltas, std::uint64_t position) {
    std::vector<const std::string*> grown;
    {
        const std::lock_guard lock(mutex_);
        for (const PostingDelta& delta : deltas) {
            changed_at_[hash64(delta.prefix) % slots] = position;
            const auto found = index_.find(delta.prefix);
            if (found == index_.end()) continue;
            Entry& entry = *found->second;
            for (const auto& [number, added] : delta.numbers)
                entry.changes.push_back({position, number, added});
            const std::size_t bytes = entry.changes.size() * sizeof(Change);
            if (bytes > changes_bytes_min + entry.bitmap_bytes / 4) grown.push_back(&delta.prefix);
            resize(entry);
        }
        evict();
    }
    for (const std::string* prefix : grown) at(*prefix, position, false);
}

void PostingCache::clear() {
    const std::lock_guard lock(mutex_);
    index_.clear();
    entries_.clear();
    bytes_ = 0;
}

void PostingCache::resize(Entry& entry) {
    bytes_ -= entry.bytes;
    entry.bytes = entry.bitmap_bytes + entry.changes.capacity() * sizeof(Change) +
                  entry.prefix.size() + sizeof(Entry);
    bytes_ += entry.bytes;
}

void PostingCache::evict() {
    while (bytes_ > bytes_max_ && !entries_.empty()) {
        bytes_ -= entries_.back().bytes;
        index_.erase(entries_.back().prefix);
        entries_.pop_back();
    }
}

}  // namespace registry
