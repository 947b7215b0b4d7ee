// Tested by tests/pns_sim_test.cpp.
//
// Entries go to the shard of their handle, which also knows the handle's last state: so a double,
// or a push after "gone", is counted when it arrives. What is rare (connections, tokens, events)
// has a lock of its own. Everything is bounded: an entry that finds its shard full is left out and
// counted as such, and of times the oldest leave first.
#include "pns/sim/journal.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <functional>

#include "pns/clock.hpp"
#include "pns/mixing.hpp"

namespace pns::sim {

namespace {

void raise(std::atomic<std::uint64_t>& peak, std::uint64_t value) {
    std::uint64_t seen = peak.load(std::memory_order_relaxed);
    while (seen < value && !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
    }
}

constexpr std::size_t times_max = 100'000;
constexpr std::size_t happenings_max = 100'000;

/// Most of `times` (ascending) in any stretch of `width`.
std::uint64_t peak_in(const std::deque<std::int64_t>& times, std::int64_t width) {
    std::size_t peak = 0, from = 0;
    for (std::size_t to = 0; to < times.size(); ++to) {
        while (times[to] - times[from] >= width) ++from;
        peak = std::max(peak, to - from + 1);
    }
    return peak;
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

void Journal::record(Entry entry, const Told& told) {
    const std::uint64_t handle_hash = hash_of(told.handle);
    entry.body_hash = hash_of(told.body);
    entry.id_hash = told.id.empty() ? entry.body_hash : hash_of(told.id);
    entry.credential_hash = told.credential.empty() ? 0 : hash_of(told.credential);
    entry.body_bytes = static_cast<std::uint32_t>(told.body.size());
    entry.handle = told.handle;
    Shard& shard = shards_[handle_hash % shards];
    const std::lock_guard lock(shard.mutex);
    if (entry.accepted) {
        accepted_.fetch_add(1, relaxed);
    } else {
        auto found = shard.refused.find(told.word);
        if (found == shard.refused.end()) found = shard.refused.emplace(told.word, 0).first;
        ++found->second;
    }
    if (shard.entries.size() >= entries_max_) {
        left_out_.fetch_add(1, relaxed);
        return;
    }
    if (shard.dead.count(handle_hash) != 0) to_dead_.fetch_add(1, relaxed);
    if (told.gone) shard.dead.insert(handle_hash);
    if (entry.accepted) {
        shard.dead.erase(handle_hash);
        if (!shard.seen.insert(mixed(handle_hash * golden_gap ^ entry.id_hash)).second)
            doubles_.fetch_add(1, relaxed);
        if (told.order) {
            const auto [at, first] = shard.order.emplace(handle_hash, *told.order);
            if (*told.order < at->second) order_violations_.fetch_add(1, relaxed);
            at->second = std::max(at->second, *told.order);
        }
    }
    auto kept = shard.bodies.find(entry.handle);
    if (kept != shard.bodies.end())
        kept->second = told.body;
    else if (shard.bodies.size() < bodies_max_)
        shard.bodies.emplace(entry.handle, told.body);
    shard.entries.push_back(std::move(entry));
}

void Journal::served(std::int64_t us) {
    const auto bits = std::bit_width(static_cast<std::uint64_t>(std::max<std::int64_t>(us, 0)));
    const auto at = std::min<std::size_t>(static_cast<std::size_t>(bits), service_us_.size() - 1);
    service_us_[at].fetch_add(1, relaxed);
}

void Journal::token(bool minted, std::int64_t now_us) {
    (minted ? tokens_minted_ : tokens_refused_).fetch_add(1, relaxed);
    if (!minted) return;
    const std::lock_guard lock(rare_mutex_);
    mints_us_.push_back(now_us);
    if (mints_us_.size() > times_max) mints_us_.pop_front();
}

std::uint64_t Journal::connection_opened(std::int64_t now_us) {
    connects_.fetch_add(1, relaxed);
    connections_.fetch_add(1, relaxed);
    {
        const std::lock_guard lock(rare_mutex_);
        connects_us_.push_back(now_us);
        if (connects_us_.size() > times_max) connects_us_.pop_front();
    }
    return ordinal_.fetch_add(1, relaxed) + 1;
}

void Journal::streams(std::size_t open) {
    raise(streams_peak_, open);
}

void Journal::fault(const std::string& name) {
    const std::lock_guard lock(rare_mutex_);
    ++faults_[name];
}

void Journal::happened(std::uint64_t connection, std::string what) {
    Happening happening;
    happening.at_us = system_clock().wall_us();
    happening.connection = connection;
    happening.what = std::move(what);
    const std::lock_guard lock(rare_mutex_);
    happenings_.push_back(std::move(happening));
    if (happenings_.size() > happenings_max) happenings_.pop_front();
}

Counters Journal::counters() const {
    Counters out;
    out.received = received_.load(relaxed);
    out.accepted = accepted_.load(relaxed);
    out.doubles = doubles_.load(relaxed);
    out.order_violations = order_violations_.load(relaxed);
    out.to_dead = to_dead_.load(relaxed);
    out.above_limit = above_limit_.load(relaxed);
    out.after_goaway = after_goaway_.load(relaxed);
    out.handshakes_failed = handshakes_failed_.load(relaxed);
    out.provider_tokens_seen = provider_tokens_.load(relaxed);
    out.pings = pings_.load(relaxed);
    out.goaways = goaways_.load(relaxed);
    out.resets = resets_.load(relaxed);
    for (std::size_t i = 0; i < service_us_.size(); ++i)
        out.service_us[i] = service_us_[i].load(relaxed);
    {
        const std::lock_guard lock(rare_mutex_);
        out.faults = faults_;
        for (const auto& [name, count] : faults_) out.faults_total += count;
        out.connects_minute_peak = peak_in(connects_us_, 60'000'000);
        out.tokens_hour_peak = peak_in(mints_us_, 3'600'000'000);
    }
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

std::vector<Entry> Journal::select(bool all, bool accepted) const {
    std::vector<Entry> out;
    for (const Shard& shard : shards_) {
        const std::lock_guard lock(shard.mutex);
        for (const Entry& entry : shard.entries)
            if (all || entry.accepted == accepted) out.push_back(entry);
    }
    std::stable_sort(out.begin(), out.end(),
                     [](const Entry& a, const Entry& b) { return a.arrival_us < b.arrival_us; });
    return out;
}

std::vector<Entry> Journal::entries(bool accepted) const {
    return select(false, accepted);
}

std::vector<Entry> Journal::all_entries() const {
    return select(true, true);
}

std::vector<Happening> Journal::happenings() const {
    const std::lock_guard lock(rare_mutex_);
    return {happenings_.begin(), happenings_.end()};
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
        shard.dead.clear();
        shard.order.clear();
        shard.bodies.clear();
        shard.refused.clear();
    }
    for (auto* count :
         {&received_, &accepted_, &doubles_, &order_violations_, &to_dead_, &above_limit_,
          &after_goaway_, &streams_peak_, &connects_, &handshakes_failed_, &tokens_minted_,
          &tokens_refused_, &provider_tokens_, &pings_, &goaways_, &resets_, &left_out_})
        count->store(0, relaxed);
    for (auto& bucket : service_us_) bucket.store(0, relaxed);
    first_us_.store(0, relaxed);
    last_us_.store(0, relaxed);
    const std::lock_guard lock(rare_mutex_);
    faults_.clear();
    connects_us_.clear();
    mints_us_.clear();
    happenings_.clear();
}

}  // namespace pns::sim
