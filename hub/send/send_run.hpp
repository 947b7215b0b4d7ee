#pragma once

// One accepted send while its pushes go out: what the lanes share. Immutable but for the parts that
// say otherwise.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "hub/device/hubs.hpp"
#include "hub/process/shares.hpp"
#include "hub/send/device_results.hpp"
#include "hub/send/handle_claims.hpp"
#include "hub/send/rounds.hpp"
#include "hub/send/tally.hpp"
#include "hub/template/templates.hpp"
#include "pns/clock.hpp"
#include "pns/rate_bucket.hpp"
#include "registry/registry.hpp"

namespace hub {

/// What lanes may do with a send now.
enum class Mode : std::uint8_t {
    go,
    hold,  ///< nothing new goes out; what is out gets its verdict
    drop,  ///< what is not out ends as abandoned
};
Mode mode_of(registry::SendState state);

/// When a send gives up. Shown in wall time; kept in steady time, so that a wall clock that is set
/// neither ends it nor prolongs it. Set on the home lane; any thread reads.
class Deadline {
  public:
    void set(std::int64_t wall_ms, std::int64_t now_wall_ms, std::int64_t now_steady_ms) {
        wall_ms_ = wall_ms;
        steady_ms_ = wall_ms == registry::never_ms ? registry::never_ms
                                                   : now_steady_ms + (wall_ms - now_wall_ms);
    }
    std::int64_t wall_ms() const { return wall_ms_; }
    std::int64_t steady_ms() const { return steady_ms_; }

  private:
    std::atomic<std::int64_t> wall_ms_{registry::never_ms}, steady_ms_{registry::never_ms};
};

/// The places of a send's devices in the backlog: one for each that is not final, as far as there
/// were places when it began. None while the send is held or paused. Thread-safe.
class BacklogPlaces {
  public:
    /// `devices` are not final; before any lane sees the send.
    void begin(std::uint64_t devices) { left_ = devices; }
    void take(Shares& shares, std::uint32_t hub) {
        std::lock_guard lock(mutex_);
        if (left_ > 0) place_ = shares.take(hub, left_);
    }
    void give_back() {
        std::lock_guard lock(mutex_);
        place_.give_back();
    }
    /// So many devices became final.
    void ended(std::uint64_t devices) {
        std::lock_guard lock(mutex_);
        left_ -= std::min(left_, devices);
        place_.shrink(left_);
    }

  private:
    std::mutex mutex_;
    std::uint64_t left_ = 0;
    Shares::Place place_;
};

struct SendRun {
    /// `frozen_send` has the frozen selection without what was done before a restart.
    SendRun(std::shared_ptr<const HubState> hub_state,
            std::shared_ptr<const registry::FrozenSend> frozen_send, std::uint64_t audience,
            registry::Progress progress)
        : hub(std::move(hub_state)),
          frozen(std::move(frozen_send)),
          send(frozen->send),
          todo(frozen->selection),
          tally(audience, std::move(progress)) {}

    /// Once, before any lane sees it: parses what the send's body and headers say for all devices.
    /// `gcm_alias` is Config::gcm_through_fcmv1.
    void prepare(std::size_t lanes, bool gcm_alias);

    const std::shared_ptr<const HubState> hub;
    const std::shared_ptr<const registry::FrozenSend> frozen;
    const registry::Send& send;
    const registry::Selection& todo;  ///< the devices that are not done
    Properties properties;            ///< template sends: the message's values
    pns::Message native;              ///< native sends: the message, the same for every device
    std::optional<pns::Refusal> native_refusal;  ///< set = no device can get the native message
    bool gcm_through_fcmv1 = false;              ///< gcm bodies become FCM v1 bodies
    std::size_t home = 0;                        ///< the lane that writes its checkpoints
    bool at_home = false;                        ///< small: its home lane walks all its devices

    std::uint32_t flow = 0;  ///< Push::flow of its pushes; set before any lane sees the run
    std::atomic<Mode> mode{Mode::go};  ///< set on the home lane
    Deadline deadline;
    /// Its time ran out: what waits ends as what it waited for. Set on the home lane.
    std::atomic<bool> overdue{false};
    std::optional<pns::RateBucket> rate;        ///< the send's own limit
    std::shared_ptr<pns::RateBucket> hub_rate;  ///< the hub's, shared by its sends; may be null
    /// Among the sends at work; `waits`: among those that are held or paused. Home lane only.
    Shares::Place place;
    bool waits = false;
    BacklogPlaces backlog;
    /// As the lanes last told; a part of a second old while it runs, exact while it waits.
    std::atomic<std::int64_t> in_flight{0}, retries{0};

    Tally tally;                             ///< thread-safe
    std::shared_ptr<DeviceResults> results;  ///< thread-safe; set before any lane sees the run
    std::function<void()> on_ended;  ///< after its last checkpoint; any thread; may be empty

    /// Was this device in the selection when it was frozen?
    bool meant(std::uint16_t partition, std::uint32_t number) const {
        const auto in = [&](const std::vector<registry::Bitmap>& devices) {
            return partition < devices.size() && devices[partition].contains(number);
        };
        return in(todo.partitions) || in(finished_before);
    }
    std::vector<registry::Bitmap> finished_before;  ///< devices that were final before a restart
    HandleClaims claims;                            ///< thread-safe
    /// A row whose tags and user have not changed since this position of the store is meant. A send
    /// of a store before format 6 has none: its rows count as unchanged.
    std::uint64_t selected_at() const {
        return send.selected_at != 0 ? send.selected_at : std::numeric_limits<std::uint64_t>::max();
    }

    /// Orders snapshots: whoever takes one hands it to the registry under this lock.
    std::mutex checkpoint_mutex;
    std::size_t failures_kept = 0;  ///< of `results`, handed to the registry; under the same lock
    /// What the registry has of them is not what `results` begins with: after a restart, or when a
    /// checkpoint failed.
    std::atomic<bool> failures_anew{false};
    bool checkpoint_in_flight = false;  ///< home lane only
    Rounds rounds;                      ///< home lane only
    /// Its last progress could not be written: nothing more goes out until one is, or a crash would
    /// repeat it all. Set on the home lane.
    std::atomic<bool> stalled{false};
    std::atomic<bool> dropped{false};  ///< the hub or the send is gone: stop working on it
};

/// One checkpoint, with the failures since the last one. `may_end`: as Tally::snapshot. Any thread.
void write_progress(registry::Registry& registry, const pns::Clock& clock,
                    const std::shared_ptr<SendRun>& run, bool may_end, registry::Done<void> done);

}  // namespace hub
