#pragma once

// What providers said about single devices, kept for the back end (docs/contracts/anh.md 6.1, 6.3):
// the container `feedback` has files named by date, with the handles that are dead or replaced;
// `errors` has one blob for each send, with every failure of that send and its reason. Each line is
// one PnsFeedback document. The blobs of `errors` lie packed in the store of the trace; files of
// them are from older versions.
//
// One thread of its own writes, what waits together at once; ended() only queues. Handles are in
// here: never log them.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/bulk/blobs.hpp"
#include "hub/process/shares.hpp"
#include "hub/send/device_results.hpp"
#include "pns/clock.hpp"
#include "registry/trace_store.hpp"

namespace hub {

/// Appends one line: the document of 6.3, its elements in the contract's order.
void append_feedback(std::string& out, const DeviceResult& result, std::string_view send_id);
/// The same with one more element at the end, if there is something to say: `Reason`.
void append_failure(std::string& out, const DeviceResult& result, std::string_view send_id);
/// Does the result belong into the feedback container: the handle is dead, wrong or replaced?
bool concerns_channel(const DeviceResult& result);
/// `MMddyyyy` in UTC: what names of feedback files begin with.
std::string feedback_day(std::int64_t time_ms);
/// The blob of a send's failures.
std::string error_details_name(std::string_view send_id);
std::string_view send_of_details(std::string_view blob_name);

class Feedback {
  public:
    struct Settings {
        std::uint64_t file_bytes_max = 4u << 20;     ///< then a new file is begun
        std::uint64_t details_bytes_max = 8u << 20;  ///< of one send's failures
        std::int64_t kept_ms = 30 * 86'400'000LL;
        std::uint64_t kept_bytes_max =
            1u << 30;  ///< on disk, of a hub's feedback; the oldest files go first
        std::size_t queue_results_max = 100'000;  ///< beyond it results are dropped and counted
        Shares::ReadRule share_rule = [] { return ShareRule(); };  ///< of these, for a hub
    };
    struct Figures {
        std::uint64_t queued = 0, written = 0, dropped = 0;
    };

    /// `blobs`, `errors` and `clock` outlive it. `errors` bounds what it keeps by itself.
    Feedback(const Blobs& blobs, registry::TraceStore& errors, const pns::Clock& clock,
             const Settings& settings);
    ~Feedback();  ///< stop()

    /// The failures of a send that has ended. Any thread; never blocks.
    void ended(std::uint32_t hub_number, std::string_view hub, std::string_view send_id,
               std::vector<DeviceResult> results);
    // The blobs of `errors`, on a store thread.
    bool has_details(const BlobPlace& place) const;
    std::optional<BlobFile> open_details(const BlobPlace& place) const;
    BlobPage list_details(const BlobPlace& container, std::string_view prefix,
                          std::string_view after, std::size_t count_max) const;

    /// Removes what is too old or too much. Hourly by itself; blocking.
    void sweep(std::int64_t now_ms);
    /// Returns when everything queued before is on disk.
    void flush();
    /// The same for one send: at once unless it has just ended.
    void flush(std::string_view send_id);
    void stop();  ///< flush() and the end; again: nothing
    Figures figures() const;
    const Shares& places() const;  ///< of results that wait to be written

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hub
