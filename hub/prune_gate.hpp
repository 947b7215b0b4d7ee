#pragma once

// Whether a provider's "this handle is dead" is believed (contracts/pns.md 0 and 11, P-31, P-32):
// one wrong setting makes every handle look dead, and a base that was deleted does not come back.
// One gate per credential of a hub. Pure: no clock, no I/O; the owner serialises calls.

#include <cstddef>
#include <cstdint>
#include <deque>
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
    void suspect(registry::Retirement retirement, std::string_view send_id);

    /// What may be retired now; empty while the gate is shut.
    std::vector<registry::Retirement> release();
    std::size_t held() const { return held_.size(); }
    bool open() const;

  private:
    struct Suspicion {
        unsigned count = 0;
        std::string last_send;
    };
    std::uint64_t accepted_ = 0;
    std::uint64_t dead_ = 0;
    std::deque<registry::Retirement> held_;
    std::unordered_map<std::string, Suspicion> suspects_;  ///< by handle

    void fade();
};

}  // namespace hub
