#pragma once

// What a simulator received: a bounded record per push and counters, from which tests derive losses
// and doubles. Any thread; sharded by handle so that loops seldom meet.

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace pns::sim {

struct Entry {
    std::int64_t arrival_us = 0;  ///< wall clock
    std::string handle;
    std::uint64_t id_hash = 0;  ///< of apns-id; where a provider has no message id, of the body
    std::uint64_t body_hash = 0;
    std::uint32_t body_bytes = 0;
    std::int16_t status = 0;
    bool accepted = false;
};

struct Counters {
    std::uint64_t received = 0;  ///< requests for a push, however they ended
    std::uint64_t accepted = 0;
    std::map<std::string, std::uint64_t> refused;  ///< by status and reason
    std::uint64_t refused_total = 0;
    std::uint64_t doubles = 0;  ///< accepted again with the same handle and id
    std::uint64_t streams_peak = 0;
    std::uint64_t connects = 0, connections = 0;
    std::uint64_t tokens_minted = 0, tokens_refused = 0;
    std::uint64_t journal_left_out =
        0;  ///< pushes beyond the journal's bound: counted, not recorded
    std::int64_t first_push_us = 0, last_push_us = 0;  ///< wall clock; 0 = none
    double cpu_seconds = 0;                            ///< of the simulator's own threads
};

class Journal {
  public:
    explicit Journal(std::size_t entries_max, std::size_t bodies_max);

    void received(std::int64_t now_us);
    /// `id`: what makes two pushes to a handle the same one; empty = the body.
    void record(std::int64_t now_us, std::string_view handle, std::string_view id,
                std::string_view body, int status, std::string_view word, bool accepted);
    void token(bool minted) { (minted ? tokens_minted_ : tokens_refused_).fetch_add(1, relaxed); }
    void connection_opened();
    void connection_closed() { connections_.fetch_sub(1, relaxed); }
    void streams(std::size_t open);

    Counters counters() const;
    std::vector<Entry> entries(bool accepted) const;  ///< by arrival
    /// The last body that arrived for a handle, if it is still kept.
    bool body_of(std::string_view handle, std::string& out) const;
    /// Forgets pushes and counts; connections stay counted.
    void reset();

  private:
    static constexpr auto relaxed = std::memory_order_relaxed;
    static constexpr std::size_t shards = 16;
    struct alignas(64) Shard {
        mutable std::mutex mutex;
        std::vector<Entry> entries;
        std::unordered_set<std::uint64_t> seen;
        std::unordered_map<std::string, std::string> bodies;
        std::map<std::string, std::uint64_t, std::less<>> refused;
    };

    std::size_t entries_max_, bodies_max_;  ///< per shard
    std::array<Shard, shards> shards_;
    std::atomic<std::uint64_t> received_{0}, accepted_{0}, doubles_{0}, streams_peak_{0},
        connects_{0}, connections_{0}, tokens_minted_{0}, tokens_refused_{0}, left_out_{0};
    std::atomic<std::int64_t> first_us_{0}, last_us_{0};
};

}  // namespace pns::sim
