#pragma once

// Whether a provider's "this handle is dead" is believed (docs/contracts/pns.md 0 and 11, P-31,
// P-32): one wrong setting makes every handle look dead, and a base that was deleted does not come
// back. One gate per credential of a hub. Pure: no clock, no I/O; the owner serialises calls.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "registry/registry.hpp"

namespace hub {

class PruneGate {
  public:
    static constexpr std::uint64_t dead_free = 10;                ///< so many are never "in bulk"
    static constexpr std::uint64_t dead_percent_max = 30;         ///< of recent answers
    static constexpr std::uint64_t recent_answers_max = 100'000;  ///< older answers fade by halving
    static constexpr std::size_t held_max =
        100'000;  ///< retirements waiting for evidence; older ones are dropped
    static constexpr unsigned suspicions_needed =
        2;  ///< sends that must suspect a handle before it is dead
    static constexpr std::size_t suspects_max = 100'000;

    void accepted(std::uint64_t count);
    void dead(registry::Retirement retirement);
    /// Evidence that may be a configuration fault: becomes dead() at the second send that says so.
    /// An app that presents its handle in between keeps it.
    void suspect(registry::Retirement retirement, std::string_view send_id);
    /// One that was held before, by an earlier process or until its writing failed.
    void hold_again(registry::Retirement retirement);

    /// What may be retired now; empty while the gate is shut.
    std::vector<registry::Retirement> release();
    /// Everything held, on somebody's word: it speaks against the credential no longer.
    std::vector<registry::Retirement> take_held();
    /// Takes out what is held of these devices.
    std::vector<registry::Retirement> take_held_if(
        const std::function<bool(const registry::Retirement&)>& wanted);

    /// Those held since the last call and not yet known by a ticket; each gets one from
    /// `next_ticket`.
    std::vector<registry::Retirement> take_unsaved(std::uint64_t& next_ticket);
    /// Tickets of what was dropped over held_max since the last call.
    std::vector<std::uint64_t> take_dropped();

    const std::deque<registry::Retirement>& held_list() const { return held_; }
    std::size_t held() const { return held_.size(); }
    bool open() const;
    std::uint64_t recent_accepted() const { return accepted_; }
    std::uint64_t recent_dead() const { return dead_; }

  private:
    struct Suspicion {
        unsigned count = 0;
        std::string last_send;
        std::int64_t since_ms = 0;  ///< of the push that was the first to say so
    };
    std::uint64_t accepted_ = 0;
    std::uint64_t dead_ = 0;
    std::deque<registry::Retirement> held_;
    std::size_t unsaved_ = 0;  ///< at the back of held_
    std::vector<std::uint64_t> dropped_;
    std::unordered_map<std::string, Suspicion> suspects_;  ///< by handle

    void fade();
    void keep(registry::Retirement retirement);
};

}  // namespace hub
