#pragma once

// The home of sends on one lane: each open send has one, which obeys commands to it, ends it when
// its time is over, and writes its checkpoints. What the lanes do about a command is theirs
// (hub/send/fanout_control.cpp).

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "hub/process/config.hpp"
#include "hub/process/mailbox.hpp"
#include "hub/send/send_places.hpp"
#include "hub/send/send_run.hpp"
#include "hub/send/send_states.hpp"
#include "pns/clock.hpp"
#include "pns/task.hpp"
#include "registry/registry.hpp"

namespace hub {

/// When a send without a deadline of its own gives up, counted from `from_ms`: later if its rate
/// asks for it.
std::int64_t undelivered_after_ms(const registry::Send& send, std::uint64_t devices,
                                  std::int64_t from_ms);

/// What a home has all lanes do.
class SendLanes {
  public:
    /// Opens the next round of the run: its canary, or what is left. On its home lane.
    virtual void open_round(const std::shared_ptr<SendRun>& run) = 0;
    /// Has every lane obey the run's mode, then calls `told` on the run's home lane.
    virtual void tell_lanes(const std::shared_ptr<SendRun>& run, std::function<void()> told) = 0;
    /// The last checkpoint is on disk. On its home lane.
    virtual void ended(const std::shared_ptr<SendRun>& run) = 0;

  protected:
    ~SendLanes() = default;
};

/// Runs on its lane's loop. What it is given outlives it.
class SendHome {
  public:
    struct Parts {
        registry::Registry& registry;
        const pns::Clock& clock;
        const Config& config;
        SendPlaces& places;
    };

    SendHome(SendLanes& lanes, Mailbox& mailbox, const Parts& parts)
        : lanes_(lanes), mailbox_(mailbox), parts_(parts) {}

    void adopt(std::shared_ptr<SendRun> run) { runs_.push_back(std::move(run)); }
    /// Writes the run's progress unless a write is on its way; ends the run if it is complete.
    void checkpoint(const std::shared_ptr<SendRun>& run);
    /// Pauses, resumes or cancels; `done` once all lanes obey and the ledger has it.
    void control(const std::shared_ptr<SendRun>& run, SendEvent event,
                 registry::Done<ControlAnswer> done);
    /// All devices are final, or those of the canary.
    void reached(const std::shared_ptr<SendRun>& run);
    /// Now and then: deadlines, and checkpoints of what has changed.
    void look();
    /// No more commands and deadlines.
    void close() { stopping_ = true; }
    /// After every lane has drained: the last checkpoint of every run.
    pns::Task<void> park();

  private:
    void expire(const std::shared_ptr<SendRun>& run);
    void write(const std::shared_ptr<SendRun>& run, bool may_end, registry::Done<void> done) {
        write_progress(parts_.registry, parts_.clock, run, may_end, std::move(done));
    }

    SendLanes& lanes_;
    Mailbox& mailbox_;
    const Parts parts_;
    std::vector<std::shared_ptr<SendRun>> runs_;
    bool stopping_ = false;
};

}  // namespace hub
