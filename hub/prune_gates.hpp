#pragma once

// The prune gates of a process, one per (hub, platform): all lanes feed one gate, because one
// credential has one truth. Thread-safe.

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/prune_gate.hpp"

namespace hub {

class PruneGates {
  public:
    struct Suspect {
        registry::Retirement retirement;
        bool certain = false;  ///< false: Verdict::Kind::suspect
    };

    /// Feeds what a lane learned and takes what may be retired now.
    std::vector<registry::Retirement> pass(std::uint32_t hub, std::size_t platform,
                                           std::string_view send_id, std::uint64_t accepted,
                                           std::vector<Suspect> dead) {
        std::lock_guard lock(mutex_);
        PruneGate& gate = gates_[{hub, platform}];
        gate.accepted(accepted);
        for (Suspect& s : dead) {
            if (s.certain) {
                gate.dead(std::move(s.retirement));
            } else {
                gate.suspect(std::move(s.retirement), send_id);
            }
        }
        return gate.release();
    }
    /// Retirements that wait for evidence, over all gates.
    std::size_t held() const {
        std::lock_guard lock(mutex_);
        std::size_t held = 0;
        for (const auto& [key, gate] : gates_) held += gate.held();
        return held;
    }
    void forget(std::uint32_t hub) {
        std::lock_guard lock(mutex_);
        std::erase_if(gates_, [hub](const auto& entry) { return entry.first.first == hub; });
    }

  private:
    mutable std::mutex mutex_;
    std::map<std::pair<std::uint32_t, std::size_t>, PruneGate> gates_;
};

}  // namespace hub
