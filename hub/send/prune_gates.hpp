#pragma once

// The prune gates of a process, one per (hub, platform): all lanes feed one gate, because one
// credential has one truth. What a gate holds is stored, what was retired is recorded with its
// reason. Thread-safe; nothing here blocks on disk, the trace's writer does that.

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/send/prune_gate.hpp"

namespace hub {

class Trace;

class PruneGates {
  public:
    struct Suspect {
        registry::Retirement retirement;
        bool certain = false;  ///< false: Verdict::Kind::suspect
    };
    /// One gate as the operator sees it.
    struct Gate {
        std::size_t platform = 0;
        bool open = false;
        std::uint64_t held = 0, recent_accepted = 0, recent_dead = 0;
    };
    struct Held {
        std::size_t platform = 0;
        registry::Retirement retirement;
    };
    struct Figures {
        std::uint64_t held = 0, gates_shut = 0, discarded = 0;
    };

    /// `trace` null: nothing outlives the process.
    explicit PruneGates(Trace* trace = nullptr);
    ~PruneGates();
    PruneGates(const PruneGates&) = delete;
    PruneGates& operator=(const PruneGates&) = delete;

    /// Feeds what a lane learned and takes what may be retired now.
    std::vector<registry::Retirement> pass(std::uint32_t hub, std::size_t platform,
                                           std::string_view send_id, std::uint64_t accepted,
                                           std::vector<Suspect> dead);
    /// Retires what pass() or take() gave out, in steps, and records why; what the registry cannot
    /// write is held again. `by`: "provider" or "operator". `done` comes once, on any thread, with
    /// how many were retired.
    void retire(registry::Registry& registry, std::uint32_t hub, std::size_t platform,
                std::string_view by, std::vector<registry::Retirement> dead,
                registry::Done<std::size_t> done);
    /// Takes everything a hub's gates hold, of one platform or of all, to be given to retire().
    std::map<std::size_t, std::vector<registry::Retirement>> take(
        std::uint32_t hub, std::optional<std::size_t> platform);
    /// Drops it: the handles stay until a provider calls them dead again.
    std::uint64_t discard(std::uint32_t hub, std::optional<std::size_t> platform);

    std::vector<Gate> gates(std::uint32_t hub) const;
    /// By ticket, from the first after `after`.
    std::vector<Held> list(std::uint32_t hub, std::uint64_t after, std::size_t count_max) const;
    /// Retirements that wait for evidence, over all gates.
    std::uint64_t held() const { return figures().held; }
    Figures figures() const;
    /// The evidence of a hub is void: its credentials changed, or it is gone.
    void forget(std::uint32_t hub);
    /// The device was erased; how many retirements were held of it.
    std::size_t forget_device(std::uint32_t hub, std::string_view installation_id,
                              std::string_view registration_id, std::string_view handle);

  private:
    using Key = std::pair<std::uint32_t, std::size_t>;
    Trace* const trace_;
    mutable std::mutex mutex_;
    std::map<Key, PruneGate> gates_;
    std::uint64_t next_ticket_ = 1;
    std::uint64_t discarded_ = 0;

    void save(const Key& key, PruneGate& gate);
    void settled(const Key& key, std::string_view by, std::vector<registry::Retirement> given,
                 const registry::Result<std::vector<registry::Retired>>& retired);
    void unhold(std::uint32_t hub, const std::vector<registry::Retirement>& gone);
};

}  // namespace hub
