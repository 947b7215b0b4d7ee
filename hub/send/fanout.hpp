#pragma once

// From an accepted send to the last verdict (design: life of a send, steps 4 to 9).
//
// Each lane walks the partitions that are its own (partition mod lanes; a small send is all of the
// lane that accepted it), chunk by chunk: load rows, render, submit, collect verdicts, checkpoint.
// Everything in flight is bounded by Config::fanout_window_pushes per lane. Sends take turns by
// chunk, small ones first. After a restart, sends that were open go on from `selection - finished`.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "hub/device/hubs.hpp"
#include "hub/process/loops.hpp"
#include "hub/process/shares.hpp"
#include "hub/send/device_results.hpp"
#include "hub/send/provider_health.hpp"
#include "hub/send/send_states.hpp"
#include "pns/bearer.hpp"
#include "pns/sender.hpp"
#include "registry/registry.hpp"

namespace hub {

struct Config;
class Metrics;
class PruneGates;
class Trace;

class Fanout {
  public:
    struct Figures {
        std::uint64_t sends_open = 0, sends_waiting = 0, pushes_in_flight = 0, retries_waiting = 0,
                      retirements_held = 0, device_results_held = 0, backlog_devices = 0,
                      disk_low = 0;
    };
    /// An open send as it is on disk; in flight and retries a part of a second old while it runs,
    /// exact while it waits.
    struct Watched {
        bool settled = false;         ///< nothing has happened since that is not on disk
        registry::Progress progress;  ///< without `finished`
        std::uint64_t in_flight = 0, retries = 0;
        double rate_per_s = 0;
        std::int64_t deadline_ms = registry::never_ms;
    };
    /// Why no send can be accepted now.
    struct Busy {
        std::string why;
        std::int64_t wait_ms = 1'000;
    };

    /// Told when a send has ended, with what was kept of its devices.
    using Ended = std::function<void(const std::shared_ptr<const HubState>& hub,
                                     const registry::Send& send, DeviceResults& results)>;

    /// `descriptors_below`: of connections to providers (DescriptorShares::connections_below).
    Fanout(Loops& loops, StorePool& store, registry::Registry& registry, Hubs& hubs,
           Metrics& metrics, const Config& config, Trace& trace, pns::BearerCache& bearers,
           int descriptors_below);
    ~Fanout();

    /// For every send that ends from now on, once its last checkpoint is on disk; any thread, must
    /// not block. Once, before resume().
    void set_on_ended(Ended ended);
    /// Takes up what an earlier process left open. Before the listeners start.
    void resume(std::vector<registry::OpenSend> open);
    /// May the hub begin one more send now (Config::sends_open_max, backlog_devices_max,
    /// disk_free_mib_min, and its shares)? Nothing: yes. `canary`: it will be held, too
    /// (sends_waiting_max).
    std::optional<Busy> busy(std::uint32_t hub, bool canary) const;
    /// The same, and the place of one send.
    std::variant<Shares::Place, Busy> take_place(std::uint32_t hub, bool canary);
    /// Is less than Config::disk_free_mib_min free, as of a second ago?
    bool disk_low() const;
    /// Starts the pushes of a send that the ledger has accepted, and that has a `place`. Any
    /// thread. `ended` is called once its last checkpoint is on disk, on any thread; never if the
    /// process stops before.
    void start(std::shared_ptr<const HubState> hub,
               std::shared_ptr<const registry::FrozenSend> frozen, Shares::Place place,
               std::shared_ptr<DeviceResults> results = nullptr,
               std::function<void()> ended = nullptr);
    /// For start(): keeps all devices of a send instead of the failures only. Bounded for all sends
    /// together by Config::device_results_max.
    std::shared_ptr<DeviceResults> results_of_all(std::uint32_t hub) const;
    /// What is kept of the devices of an open send; null if it is not open here.
    std::shared_ptr<DeviceResults> results(std::uint32_t hub, const std::string& send_id) const;
    /// Progress of an open send as of its last checkpoint; null if it is not open here.
    std::unique_ptr<registry::Progress> progress(std::uint32_t hub,
                                                 const std::string& send_id) const;
    std::optional<Watched> watch(std::uint32_t hub, const std::string& send_id) const;
    /// Pauses, resumes or cancels an open send: `done` on any thread, once every lane obeys and the
    /// ledger has it. errc::not_found: it is not open here.
    void control(std::uint32_t hub, const std::string& send_id, SendEvent event,
                 registry::Done<ControlAnswer> done);
    /// A credential of the hub changed or the hub was deleted: its senders finish what they have
    /// and are replaced.
    void forget_senders(std::uint32_t hub);

    /// What pushes and calls outside of any send need: the sender of this lane, good until the next
    /// turn of its loop (null: no credential, or no lane of ours), and what all senders share.
    pns::Sender* sender(const pns::Executor& lane, std::uint32_t hub,
                        const pns::Platform& platform);
    const pns::Network& network() const;
    pns::BearerCache& bearers();

    PruneGates& prune_gates();
    Figures figures() const;
    /// What hubs share here: sends at work, sends that wait, the backlog, results of devices.
    std::vector<Shares> shares() const;
    /// Devices that wait for another attempt, by index in pns::platforms(); a part of a second old.
    std::vector<std::uint64_t> waiting_by_platform() const;
    std::vector<ProviderHealth::Unwell> unwell() const;
    /// No new chunks; waits at most `drain_ms` for pushes in flight, checkpoints every open send.
    /// Called on a lane.
    pns::Task<void> stop(std::int64_t drain_ms);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hub
