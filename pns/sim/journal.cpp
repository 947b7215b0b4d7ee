// Tested by tests/pns_sim_test.cpp.
#include "pns/sim/journal.hpp"

#include <algorithm>
#include <functional>

namespace pns::sim {

namespace {

void raise(std::atomic<std::uint64_t>& peak, std::uint64_t value) {
    std::uint64_t seen = peak.load(std::memory_order_relaxed);
    while (seen < value && !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
}

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    std::uint64_t x = a * 0x9e3779b97f4a7c15U ^ b;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93U;
    return x ^ (x >> 29);
}

std::uint64_t hash_of(std::string_view text) {
    return std::hash<std::string_view>()(text);
}

}  // namespace

Journal::Journal(std::size_t entries_max, std::size_t bodies_max)
    : entries_max_(entries_max / shards), bodies_max_(bodies_max / shards) {}

void Journal::received(std::int64_t now_us) {
    received_.fetch_add(1, relaxed);
    std::int64_t none = 0;
    first_us_.compare_exchange_strong(none, now_us, relaxed);
    last_us_.store(now_us, relaxed);
}

void Journal::record(std::int64_t now_us, std::string_view handle, std::string_view id,
                     std::string_view body, int status, std::string_view word, bool accepted) {
    const std::uint64_t handle_hash = hash_of(handle), body_hash = hash_of(body);
    const std::uint64_t id_hash = id.empty() ? body_hash : hash_of(id);
    Shard& shard = shards_[handle_hash % shards];
    const std::lock_guard lock(shard.mutex);
    if (accepted) {
        accepted_.fetch_add(1, relaxed);
    } else {
        auto found = shard.refused.find(word);
        if (found == shard.refused.end()) found = shard.refused.emplace(word, 0).first;
        ++found->second;
    }
    if (shard.entries.size() >= entries_max_) {
        left_out_.fetch_add(1, relaxed);
        return;
    }
    if (accepted && !shard.seen.insert(mix(handle_hash, id_hash)).second)
        doubles_.fetch_add(1, relaxed);
    Entry& entry = shard.entries.emplace_back();
    entry.arrival_us = now_us;
    entry.handle = handle;
    entry.id_hash = id_hash;
    entry.body_hash = body_hash;
    entry.body_bytes = static_cast<std::uint32_t>(body.size());
    entry.status = static_cast<std::int16_t>(status);
    entry.accepted = accepted;
    auto kept = shard.bodies.find(entry.handle);
    if (kept != shard.bodies.end())
        kept->second = body;
    else if (shard.bodies.size() < bodies_max_)
        shard.bodies.emplace(entry.handle, body);
}

void Journal::connection_opened() {
    connects_.fetch_add(1, relaxed);
    connections_.fetch_add(1, relaxed);
}

void Journal::streams(std::size_t open) {
    raise(streams_peak_, open);
}

Counters Journal::counters() const {
    Counters out;
    out.received = received_.load(relaxed);
    out.accepted = accepted_.load(relaxed);
    out.doubles = doubles_.load(relaxed);
    out.streams_peak = streams_peak_.load(relaxed);
    out.connects = connects_.load(relaxed);
    out.connections = connections_.load(relaxed);
    out.tokens_minted = tokens_minted_.load(relaxed);
    out.tokens_refused = tokens_refused_.load(relaxed);
    out.journal_left_out = left_out_.load(relaxed);
    out.first_push_us = first_us_.load(relaxed);
    out.last_push_us = last_us_.load(relaxed);
    for (const Shard& shard : shards_) {
        const std::lock_guard lock(shard.mutex);
        for (const auto& [word, count] : shard.refused) {
            out.refused[word] += count;
            out.refused_total += count;
        }
    }
    return out;
}

std::vector<Entry> Journal::entries(bool accepted) const {
    std::vector<Entry> out;
    for (const Shard& shard : shards_) {
        const std::lock_guard lock(shard.mutex);
        for (const Entry& entry : shard.entries)
            if (entry.accepted == accepted) out.push_back(entry);
    }
    std::stable_sort(out.begin(), out.end(),
                     [](const Entry& a, const Entry& b) { return a.arrival_us < b.arrival_us; });
    return out;
}

bool Journal::body_of(std::string_view handle, std::string& out) const {
    const Shard& shard = shards_[hash_of(handle) % shards];
    const std::lock_guard lock(shard.mutex);
    const auto found = shard.bodies.find(std::string(handle));
    if (found == shard.bodies.end()) return false;
    out = found->second;
    return true;
}

void Journal::reset() {
    for (Shard& shard : shards_) {
        const std::lock_guard lock(shard.mutex);
        shard.entries = {};
        shard.seen.clear();
        shard.bodies.clear();
        shard.refused.clear();
    }
    for (auto* count : {&received_, &accepted_, &doubles_, &streams_peak_, &connects_,
                        &tokens_minted_, &tokens_refused_, &left_out_})
        count->store(0, relaxed);
    first_us_.store(0, relaxed);
    last_us_.store(0, relaxed);
}

}  // namespace pns::sim
