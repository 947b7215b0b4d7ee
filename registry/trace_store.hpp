#pragma once

// What became of single pushes, the failures of sends in words, why handles were retired, and
// retirements that wait for evidence: a RocksDB of its own beside the registry, so that its loss
// costs no registration and no send.
//
// Events that tell all of their push are kept in blocks of one send if there are enough of them,
// others as rows: trace_block.hpp, trace_keys.hpp. Whoever reads sees no difference.
//
// Pushes and details of failures lie in families with FIFO compaction: whole files are dropped by
// age and by size, oldest first, without being read. Compaction drops retirements by age. Reads
// never show what is too old, even while its file is still there. Writes are logged but not synced,
// so they survive the end of the process and not that of the machine; those of details are synced.
//
// Any thread may read and write. Everything blocks on disk.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "registry/trace_keys.hpp"

namespace rocksdb {
class Env;
}

namespace registry {

struct TraceOptions {
    std::filesystem::path directory;            ///< the store is `directory`/trace
    std::uint64_t pushes_bytes_max = 1u << 30;  ///< and one file more
    std::int64_t pushes_kept_ms = std::int64_t{7} * 86'400'000;
    std::uint64_t details_bytes_max = 1u << 30;  ///< and one file more
    std::int64_t details_kept_ms = std::int64_t{30} * 86'400'000;
    std::uint64_t retirements_bytes_max = 256u << 20;
    std::int64_t retirements_kept_ms = std::int64_t{30} * 86'400'000;
    std::size_t memtable_bytes = 16u << 20;  ///< about the size of one file of pushes
    std::size_t block_events_min = 16;       ///< fewer of a send are written as rows
    /// Of sends that were enqueued until then an earlier process may have written pushes.
    std::int64_t opened_at_ms = 0;
    rocksdb::Env* env = nullptr;  ///< tests move its clock; not owned
};

/// One attempt of a traced push.
struct TracedAttempt {
    std::uint8_t attempt = 1;
    std::int64_t at_ms = 0;
    std::uint64_t took_ms = 0;
    std::int64_t retry_at_ms = 0;  ///< 0 = final
    std::string outcome, reason, provider_id;
    friend bool operator==(const TracedAttempt&, const TracedAttempt&) = default;
};

/// One push to one device, with its attempts in order of time.
struct TracedPush {
    std::string send_id;
    std::int64_t enqueued_at_ms = 0;
    DeviceKind kind = DeviceKind::installation;
    std::string device_id;
    std::string registration_id;
    std::string platform;
    bool templated = false;
    std::vector<TracedAttempt> attempts;
    friend bool operator==(const TracedPush&, const TracedPush&) = default;
};

/// `next` is where the next page starts: opaque bytes, empty = last page. A page may hold less
/// than was asked for and still have a next one, because what a lookup examines is bounded.
struct TracePage {
    std::vector<TracedPush> pushes;
    std::string next;
};

/// What is to be kept of the failures of one send.
struct NewDetails {
    std::uint32_t hub = 0;
    std::string name;  ///< without zero bytes
    std::int64_t at_ms = 0;
    std::string text;
};
struct DetailsEntry {
    std::string name;
    DetailsHead head;
};

class TraceStore {
  public:
    static constexpr std::size_t attempts_max = 64;      ///< shown of one push
    static constexpr std::size_t examined_max = 20'000;  ///< entries a page may look at

    /// Opens or creates. A store that is damaged or unknown is refused and left as it is; `why`
    /// says what the operator can do.
    static Result<std::unique_ptr<TraceStore>> open(const TraceOptions& options, std::string& why);
    ~TraceStore();
    TraceStore(const TraceStore&) = delete;
    TraceStore& operator=(const TraceStore&) = delete;

    // --- pushes ---
    /// `events`: any number of events as append_trace_event() left them. How many were written.
    /// What tells_all() must be all that is told of its push by this process.
    Result<std::size_t> write_events(std::string_view events);
    /// Newest event first. `outcome` empty = all; "Pending" = those that wait for another attempt.
    /// errc::not_found: `after` is not what a page of this send gave.
    Result<TracePage> of_send(std::uint32_t hub, std::string_view send_id, std::string_view outcome,
                              std::string_view after, std::size_t count_max,
                              std::int64_t now_ms) const;
    /// Newest send first.
    Result<TracePage> of_device(std::uint32_t hub, DeviceKind kind, std::string_view id,
                                std::string_view after, std::size_t count_max,
                                std::int64_t now_ms) const;
    /// Removes every event of the device; how many.
    Result<std::size_t> erase_device(std::uint32_t hub, DeviceKind kind, std::string_view id);

    // --- details of failures ---
    static constexpr std::uint64_t details_text_max = std::uint64_t{details_piece_bytes} << 16;
    /// One synced write.
    Result<void> write_details(std::span<const NewDetails> details);
    /// errc::not_found: none, or too old.
    Result<DetailsHead> details(std::uint32_t hub, std::string_view name,
                                std::int64_t now_ms) const;
    /// Up to `bytes` from `offset`. errc::not_found: they have been dropped.
    Result<std::string> read_details(std::uint32_t hub, std::string_view name, std::uint64_t offset,
                                     std::size_t bytes) const;
    /// By name, those that begin with `prefix` and sort behind `after`.
    Result<std::vector<DetailsEntry>> list_details(std::uint32_t hub, std::string_view prefix,
                                                   std::string_view after, std::size_t count_max,
                                                   std::int64_t now_ms) const;

    // --- retirements ---
    Result<void> write_retirements(std::span<const RetirementRecord> records);
    struct RetirementPage {
        std::vector<RetirementRecord> records;
        std::string next;
    };
    /// Newest first.
    Result<RetirementPage> retirements_of_handle(std::uint32_t hub, const HandleHash& hash,
                                                 std::string_view after, std::size_t count_max,
                                                 std::int64_t now_ms) const;
    /// `id` is that of an installation or of a plain registration.
    Result<RetirementPage> retirements_of_device(std::uint32_t hub, std::string_view id,
                                                 std::string_view after, std::size_t count_max,
                                                 std::int64_t now_ms) const;
    Result<std::size_t> erase_retirements_of_device(std::uint32_t hub, std::string_view id);
    Result<std::size_t> erase_retirements_of_handle(std::uint32_t hub, const HandleHash& hash);

    // --- held retirements ---
    struct HeldChange {
        std::optional<HeldRetirement> added;  ///< else what `hub` and `ticket` name is removed
        std::uint32_t hub = 0;
        std::uint64_t ticket = 0;
    };
    Result<void> write_held(std::span<const HeldChange> changes);
    /// All, by hub and ticket.
    Result<std::vector<HeldRetirement>> held() const;

    // --- upkeep ---
    /// Lets files leave whose time is over: without writes nothing else would. Now and then.
    Result<void> tidy(std::int64_t now_ms);
    /// Writes memory to files.
    Result<void> flush();
    struct Figures {
        std::uint64_t pushes_bytes = 0, retirements_bytes = 0, details_bytes = 0, files = 0;
    };
    Figures figures() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
    explicit TraceStore(std::unique_ptr<Impl> impl);
};

}  // namespace registry
