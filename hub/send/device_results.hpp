#pragma once

// What became of single devices of one send: for test sends (docs/contracts/anh.md 5.6), for
// PnsErrorDetails and for feedback (6.1, 6.3). Lanes add as devices become final; any thread may
// read. In memory; the ledger has what failed of an open send for the time after a restart. Handles
// are in here: never log it.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "hub/process/shares.hpp"
#include "pns/platform.hpp"
#include "registry/send.hpp"

namespace hub {

struct DeviceResult {
    std::uint16_t partition = 0;  ///< with `number` its bit in the send's selection
    std::uint32_t number = 0;
    std::string platform;  ///< stored name
    std::string handle;
    std::string registration_id;  ///< empty: direct send
    std::string installation_id;  ///< empty: a plain registration or a direct send
    bool templated = false;
    pns::Outcome outcome = pns::Outcome::success;
    std::string reason;      ///< the provider's or the hub's word; may be empty
    std::string new_handle;  ///< the provider named this in place of `handle`
    std::int64_t at_ms = 0;
};

/// A device that neither got the message nor was left out on purpose.
inline bool is_failure(pns::Outcome outcome) {
    return outcome != pns::Outcome::success && outcome != pns::Outcome::skipped;
}

/// For the ledger, those that failed or were renamed. Back from there a result does not say whether
/// it was templated.
std::vector<registry::DeviceFailure> failures_of(const std::vector<DeviceResult>& results);
DeviceResult failed_before(registry::DeviceFailure&& failure);

class DeviceResults {
  public:
    enum class Keep : std::uint8_t { none, failures, all };
    static constexpr std::size_t results_max = 10'000;  ///< per send; more are not kept

    /// `room`: of the results that all sends together may keep.
    DeviceResults(Keep keep, Shares room, std::uint32_t hub);
    DeviceResults(const DeviceResults&) = delete;
    DeviceResults& operator=(const DeviceResults&) = delete;

    /// Is a result of this kind kept? Ask before building one. A named new handle always is.
    bool wants(pns::Outcome outcome, bool renamed) const {
        if (keep_ == Keep::none) return false;
        return keep_ == Keep::all || renamed || is_failure(outcome);
    }
    /// Somebody waits for the word about each device.
    bool wants_all() const { return keep_ == Keep::all; }
    void add(DeviceResult&& result);
    /// Is there no place left? Then add() does nothing: no result need be built.
    bool full() const { return full_.load(std::memory_order_relaxed); }

    /// In the order of add(), without the first `from`.
    std::vector<DeviceResult> snapshot(std::size_t from = 0) const;

  private:
    const Keep keep_;
    Shares room_;
    const std::uint32_t hub_;
    mutable std::mutex mutex_;
    Shares::Place place_;  ///< for `results_`; this and the next: under the mutex
    std::vector<DeviceResult> results_;
    std::atomic<bool> full_{false};  ///< this send's own bound only
};

}  // namespace hub
