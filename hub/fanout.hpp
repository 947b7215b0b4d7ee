#pragma once

// From an accepted send to the last verdict (design: life of a send, steps 4 to 9).
//
// Each lane walks the partitions that are its own (partition mod lanes), chunk by chunk: load rows,
// render, submit, collect verdicts, checkpoint. Everything in flight is bounded by
// Config::fanout_window_pushes per lane. Sends take turns by chunk, small ones first. After a
// restart, sends that were open go on from `selection - done`.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "hub/hubs.hpp"
#include "hub/loops.hpp"
#include "pns/bearer.hpp"
#include "pns/sender.hpp"
#include "registry/registry.hpp"

namespace hub {

struct Config;
class Metrics;

class Fanout {
  public:
    struct Figures {
        std::uint64_t sends_open = 0, pushes_in_flight = 0, retries_waiting = 0,
                      retirements_held = 0;
    };

    Fanout(Loops& loops, StorePool& store, registry::Registry& registry, Hubs& hubs,
           Metrics& metrics, const Config& config);
    ~Fanout();

    /// Takes up what an earlier process left open. Before the listeners start.
    void resume(std::vector<registry::OpenSend> open);
    /// May one more send be accepted now (Config::sends_open_max)?
    bool may_accept() const;
    /// Starts the pushes of a send that the ledger has accepted. Any thread.
    void start(std::shared_ptr<const HubState> hub, registry::Send send,
               registry::Selection selection);
    /// Progress of an open send as of now, fresher than its last checkpoint; null if it is not open
    /// here.
    std::unique_ptr<registry::Progress> progress(std::uint32_t hub,
                                                 const std::string& send_id) const;
    /// A credential of the hub changed or the hub was deleted: its senders finish what they have
    /// and are replaced.
    void forget_senders(std::uint32_t hub);

    Figures figures() const;
    /// No new chunks; waits at most `drain_ms` for pushes in flight, checkpoints every open send.
    /// Called on a lane.
    pns::Task<void> stop(std::int64_t drain_ms);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hub
