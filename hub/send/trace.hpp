#pragma once

// Who got what and why not, device by device; why handles were retired; and what the prune gates
// hold, over restarts. The service owns it.
//
// Lanes append to a buffer of their own, bounded in bytes; one writer thread moves the buffers to
// the store in batches. What does not fit is dropped and counted, never waited for. With
// Keep::off a push costs the test of on(). Handles are kept as keyed hashes only, except those
// that are held, which the registry has anyway, and those in details of failures, which
// hub/bulk/feedback.hpp writes.

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "pns/platform.hpp"
#include "registry/trace_store.hpp"

namespace hub {

class Trace {
  public:
    enum class Keep : std::uint8_t { off, failures, all };
    struct Settings {
        Keep keep = Keep::failures;
        std::size_t buffer_bytes_max = 32u << 20;  ///< all lanes together
        std::int64_t kept_ms = std::int64_t{7} * 86'400'000;
        std::string key;                    ///< secret: keys the hashes of handles
        std::function<std::int64_t()> now;  ///< wall clock, ms
    };
    struct Figures {
        std::uint64_t written = 0, dropped = 0, buffered_bytes = 0, retirements = 0,
                      retirements_dropped = 0, disk_bytes = 0;
    };
    static constexpr std::size_t queue_max = 200'000;  ///< retirements and held changes waiting

    Trace(std::unique_ptr<registry::TraceStore> store, Settings settings, std::size_t lanes);
    ~Trace();
    Trace(const Trace&) = delete;
    Trace& operator=(const Trace&) = delete;

    // --- the fan-out ---
    bool on() const { return keep_ != Keep::off; }
    /// Is the end of a push kept? One that was attempted before is, or it would look unfinished.
    bool wants(pns::Outcome outcome, bool attempted_before) const {
        if (keep_ == Keep::all) return true;
        const bool failed = outcome != pns::Outcome::success && outcome != pns::Outcome::skipped;
        return keep_ == Keep::failures && (failed || attempted_before);
    }
    /// On the loop of `lane`.
    void record(std::size_t lane, const registry::TraceEvent& event);

    // --- the prune gates; any thread ---
    void retired(std::vector<registry::RetirementRecord> records);
    void hold(registry::HeldRetirement held);
    void unhold(std::uint32_t hub, std::uint64_t ticket);
    /// What an earlier process held. Once.
    std::vector<registry::HeldRetirement> take_held_at_start();
    using HeldEraser =
        std::function<std::size_t(std::uint32_t hub, std::string_view installation,
                                  std::string_view registration, std::string_view handle)>;
    void set_held_eraser(HeldEraser eraser);

    // --- readers; on a store thread ---
    const registry::TraceStore& store() const { return *store_; }
    /// For who keeps details of failures there.
    registry::TraceStore& details_store() { return *store_; }
    registry::HandleHash hash_of(std::string_view handle) const;
    /// How a device is known that has no registration.
    std::string handle_id(std::string_view handle) const;
    /// Removes everything kept of a device: pushes, retirements, what is held. Empty texts are
    /// skipped. How many entries. A push still in flight may write one more.
    registry::Result<std::size_t> erase_device(std::uint32_t hub, std::string_view installation_id,
                                               std::string_view registration_id,
                                               std::string_view handle);
    /// Returns when what was recorded before is in the store. Blocks.
    void flush();

    std::int64_t now_ms() const { return settings_.now(); }
    Figures figures() const;
    /// Writes what is left and ends the writer. What comes later is dropped.
    void stop();

  private:
    struct alignas(64) Lane {
        std::mutex mutex;  ///< contended only while the writer swaps
        std::string bytes;
        std::uint64_t events = 0;
    };

    const Settings settings_;
    const Keep keep_;
    const std::size_t lane_bytes_max_;
    std::unique_ptr<registry::TraceStore> store_;
    std::vector<std::unique_ptr<Lane>> lanes_;

    std::mutex mutex_;  ///< the queues below
    std::condition_variable wake_;
    std::vector<registry::RetirementRecord> retired_;
    std::vector<registry::TraceStore::HeldChange> held_;
    bool stopping_ = false;

    std::mutex write_mutex_;  ///< one writes at a time
    std::string spare_;       ///< swapped with the buffer of a lane
    bool failing_ = false;
    std::mutex eraser_mutex_;
    HeldEraser eraser_;
    std::atomic<std::uint64_t> written_{0}, dropped_{0}, retirements_{0}, retirements_dropped_{0};
    std::thread writer_;

    void run();
    void write_all();  ///< under write_mutex_
    void report(const boost::system::error_code& failure, std::string_view what);
};

}  // namespace hub
