#pragma once

// Whether a provider's "this handle is dead" is believed (docs/contracts/pns.md 0 and 11, P-31,
// P-32): one wrong setting makes every handle look dead, and a base that was deleted does not come
// back. One gate per credential of a hub, and per app where the pushes of a credential name one.
// Pure: no clock, no I/O; the owner serialises calls. `now_ms` is of a clock that does not step.
//
// An accused handle is held. A round begins with the first that is held and ends when all that is
// held is released, which takes one of:
//   - not more than `dead_free` accused in the last hour, and one success in it;
//   - under `dead_percent_max` accused in the round, by answers of the last hour, and the answers
//     told last have a success among them.
// Successes before the round count as `carried_max` at most, for the last few dead of a send that
// no success follows. So answers that accuse only never release more than `dead_free` handles,
// whatever was accepted before.
//
// A suspicion is an accusation that may be a configuration fault. The second send that suspects a
// handle makes it a dead one. A push that the provider took for a handle ends what is held of it
// and what it is suspected of: a dead handle does not come back. Such a success is no evidence
// against the other handles, and the accusation still counts as one: where a wrong bulk is made
// good, some of them only answer later.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "hub/send/accused_handles.hpp"
#include "registry/registry.hpp"
#include "tagexpr/keyed_hash.hpp"

namespace hub {

class PruneGate {
  public:
    static constexpr std::uint64_t dead_free = 10;  ///< so many in an hour are never "in bulk"
    static constexpr std::uint64_t dead_percent_max = 30;  ///< of the answers of a round
    static constexpr std::uint64_t carried_max = 23;       ///< on these pass 9 dead, no more
    static constexpr std::int64_t evidence_ms_max = 3'600'000;
    /// Retirements waiting for evidence; older ones are dropped.
    static constexpr std::size_t held_max = 100'000;
    static constexpr std::size_t suspects_max = 100'000;  ///< the oldest are forgotten
    /// A suspicion that was not repeated for so long is none.
    static constexpr std::int64_t suspicion_ms_max = std::int64_t{90} * 86'400'000;

    struct Unsaved {
        registry::Retirement retirement;
        bool suspicion = false;
    };

    /// `accused` outlives the gate and has the handles of all that is held or suspected.
    explicit PruneGate(AccusedHandles& accused) : accused_(accused) {}

    /// What one batch of answers said: first whose pushes were taken, then the accused, then how
    /// many were accepted.
    void alive(const std::vector<std::string>& handles);
    void dead(registry::Retirement retirement, std::int64_t now_ms);
    /// An app that presents its handle between the two suspicions keeps it: asked_at_ms of the
    /// first one counts. Its send_id tells the sends apart.
    void suspect(registry::Retirement retirement, std::int64_t now_ms);
    void accepted(std::uint64_t count, std::int64_t now_ms);
    /// Ends the batch: what may be retired now; empty while the gate is shut.
    std::vector<registry::Retirement> release(std::int64_t now_ms);

    /// One that was held before, by an earlier process or until its writing failed.
    void hold_again(registry::Retirement retirement);
    /// One that an earlier process suspected; before any other suspicion.
    void suspect_again(registry::Retirement retirement);

    /// Everything held, on somebody's word: it speaks against the credential no longer.
    std::vector<registry::Retirement> take_held();
    using Wanted = std::function<bool(const registry::Retirement&)>;
    /// Takes out what is held of these devices.
    std::vector<registry::Retirement> take_held_if(const Wanted& wanted);
    std::size_t forget_suspects_if(const Wanted& wanted);

    /// Those held or suspected since the last call and not yet known by a ticket; each gets one
    /// from `next_ticket`.
    std::vector<Unsaved> take_unsaved(std::uint64_t& next_ticket);
    /// Tickets of what was dropped over a bound, or became something else, since the last call.
    std::vector<std::uint64_t> take_dropped();

    const std::deque<registry::Retirement>& held_list() const { return held_; }
    std::size_t held() const { return held_.size(); }
    std::size_t suspects() const { return suspects_.size(); }
    /// Nothing is held, or what is held could go now.
    bool open(std::int64_t now_ms) const { return held_.empty() || may_release(now_ms); }
    struct Evidence {
        std::uint64_t accepted = 0, accused = 0;
    };
    /// Of the last hour.
    Evidence recent(std::int64_t now_ms) const { return sum(&Minutes::all, now_ms); }

  private:
    AccusedHandles& accused_;
    static constexpr std::size_t steps = 12;  ///< of evidence_ms_max; what is told goes by steps
    struct Minutes {
        std::int64_t step = -1;
        Evidence all, round;
    };
    std::array<Minutes, steps> evidence_;  ///< a ring, by step
    bool success_told_ = false;            ///< in the batch that is being told
    std::uint64_t refuted_ = 0;            ///< accusations, by successes of this batch
    std::deque<registry::Retirement> held_;
    std::size_t unsaved_ = 0;                   ///< at the back of held_
    std::list<registry::Retirement> suspects_;  ///< in the order in which they came
    std::size_t unsaved_suspects_ = 0;          ///< at the back of suspects_
    /// By handle, a view into the suspicion.
    std::unordered_map<std::string_view, std::list<registry::Retirement>::iterator,
                       tagexpr::KeyedHash>
        suspect_of_;
    std::vector<std::uint64_t> dropped_;

    Minutes& minutes_of(std::int64_t now_ms);
    Evidence sum(Evidence Minutes::*which, std::int64_t now_ms) const;
    bool may_release(std::int64_t now_ms) const;
    void end_round();
    void keep(registry::Retirement retirement);
    std::vector<registry::Retirement> take_out(const Wanted& wanted);
    void drop_suspect(std::list<registry::Retirement>::iterator suspect);
    void keep_suspect(registry::Retirement retirement);
};

}  // namespace hub
