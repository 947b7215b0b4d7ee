#pragma once

// What a simulator received: a bounded record per push and counters, from which tests derive losses
// and doubles. Any thread; sharded by handle so that loops seldom meet.

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace pns::sim {

/// One request for a push, however it ended.
struct Entry {
    std::int64_t arrival_us = 0;  ///< wall clock
    std::int64_t answer_us = 0;   ///< when its answer was due; 0 = none
    std::uint64_t connection = 0;
    std::int32_t stream = 0;  ///< HTTP/1.1: the ordinal on its connection
    std::string handle;
    std::uint64_t id_hash = 0;  ///< of apns-id; where a provider has no message id, of the body
    std::uint64_t body_hash = 0;
    std::uint64_t credential_hash = 0;
    std::uint32_t body_bytes = 0;
    std::int16_t status = 0;  ///< 0 = no answer
    bool accepted = false;    ///< the push was taken, whether or not the sender heard so
    std::uint8_t fault = 0;   ///< FaultRow::number of what struck it; 0 = none
};

/// Something that happened to a connection.
struct Happening {
    std::int64_t at_us = 0;
    std::uint64_t connection = 0;
    std::string what;  ///< "accept", "tls h2", "goaway sent 0", "ping", "closed", …
};

struct Counters {
    std::uint64_t received = 0;  ///< requests for a push, however they ended
    std::uint64_t accepted = 0;
    std::map<std::string, std::uint64_t> refused;  ///< by status and reason
    std::uint64_t refused_total = 0;
    std::uint64_t doubles = 0;           ///< accepted again with the same handle and id
    std::uint64_t order_violations = 0;  ///< SimOptions::order_key went down for a handle
    std::uint64_t to_dead = 0;           ///< pushes to a handle that was called gone before
    std::uint64_t above_limit = 0;       ///< streams beyond the limit the peer had acknowledged
    std::uint64_t after_goaway = 0;      ///< streams begun after the peer had seen our GOAWAY
    std::uint64_t streams_peak = 0;
    std::uint64_t connects = 0, connections = 0;
    std::uint64_t connects_minute_peak = 0;  ///< most in any 60 s
    std::uint64_t handshakes_failed = 0;
    std::uint64_t tokens_minted = 0, tokens_refused = 0;
    std::uint64_t tokens_hour_peak = 0;                ///< most mints in any hour
    std::uint64_t provider_tokens_seen = 0;            ///< APNs: distinct JWTs
    std::uint64_t pings = 0, goaways = 0, resets = 0;  ///< received from peers
    std::map<std::string, std::uint64_t> faults;       ///< struck, by name
    std::uint64_t faults_total = 0;
    std::uint64_t journal_left_out =
        0;  ///< pushes beyond the journal's bound: counted, not recorded
    std::int64_t first_push_us = 0, last_push_us = 0;  ///< wall clock; 0 = none
    double cpu_seconds = 0;                            ///< of the simulator's own threads
    std::array<std::uint64_t, 24> service_us{};  ///< decisions that took at most 2^i µs, by i
};

class Journal {
  public:
    explicit Journal(std::size_t entries_max, std::size_t bodies_max);

    void received(std::int64_t now_us);
    /// `entry` without handle, hashes and size. `id`: what makes two pushes to a handle the same
    /// one; empty = the body. `gone`: the answer called the handle dead. `order`: of the message.
    struct Told {
        std::string_view handle, id, body, word, credential;
        bool gone = false;
        std::optional<std::int64_t> order;
    };
    void record(Entry entry, const Told& told);
    void served(std::int64_t us);
    void token(bool minted, std::int64_t now_us);
    void provider_token() { provider_tokens_.fetch_add(1, relaxed); }
    /// The connection's ordinal, from 1.
    std::uint64_t connection_opened(std::int64_t now_us);
    void connection_closed() { connections_.fetch_sub(1, relaxed); }
    void handshake_failed() { handshakes_failed_.fetch_add(1, relaxed); }
    void streams(std::size_t open);
    void above_limit() { above_limit_.fetch_add(1, relaxed); }
    void after_goaway() { after_goaway_.fetch_add(1, relaxed); }
    void ping() { pings_.fetch_add(1, relaxed); }
    void goaway() { goaways_.fetch_add(1, relaxed); }
    void reset_received() { resets_.fetch_add(1, relaxed); }
    void fault(const std::string& name);
    void happened(std::uint64_t connection, std::string what);

    Counters counters() const;
    std::vector<Entry> entries(bool accepted) const;  ///< by arrival
    std::vector<Entry> all_entries() const;           ///< by arrival
    std::vector<Happening> happenings() const;
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
        std::unordered_set<std::uint64_t> dead;
        std::unordered_map<std::uint64_t, std::int64_t> order;
        std::unordered_map<std::string, std::string> bodies;
        std::map<std::string, std::uint64_t, std::less<>> refused;
    };
    std::vector<Entry> select(bool all, bool accepted) const;

    std::size_t entries_max_, bodies_max_;  ///< per shard
    std::array<Shard, shards> shards_;
    std::atomic<std::uint64_t> received_{0}, accepted_{0}, doubles_{0}, order_violations_{0},
        to_dead_{0}, above_limit_{0}, after_goaway_{0}, streams_peak_{0}, connects_{0},
        connections_{0}, ordinal_{0}, handshakes_failed_{0}, tokens_minted_{0}, tokens_refused_{0},
        provider_tokens_{0}, pings_{0}, goaways_{0}, resets_{0}, left_out_{0};
    std::atomic<std::int64_t> first_us_{0}, last_us_{0};
    std::array<std::atomic<std::uint64_t>, 24> service_us_{};
    mutable std::mutex rare_mutex_;  ///< guards what follows
    std::map<std::string, std::uint64_t> faults_;
    std::deque<std::int64_t> connects_us_, mints_us_;
    std::deque<Happening> happenings_;
};

}  // namespace pns::sim
