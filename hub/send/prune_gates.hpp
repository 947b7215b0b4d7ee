#pragma once

// The prune gates of a process, one per hub, platform and app: all lanes feed one gate, because one
// credential has one truth about one app. What a gate holds and suspects is stored, what was
// retired is recorded with its reason. Thread-safe; nothing here blocks on disk, the trace's writer
// does that. `now_ms` is of a clock that does not step.

#include <compare>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/process/log_limit.hpp"
#include "hub/send/prune_gate.hpp"

namespace hub {

class Hubs;
class Trace;

class PruneGates {
  public:
    /// Gates of one hub and platform; further apps share one. A gate that knows nothing of the last
    /// hour makes room.
    static constexpr std::size_t apps_max = 64;

    /// Whose answers speak for each other.
    struct Subject {
        std::uint32_t hub = 0;
        std::size_t platform = 0;  ///< index in pns::platforms()
        std::string app{};         ///< pns::Prepared::app; often empty
        friend auto operator<=>(const Subject&, const Subject&) = default;
    };
    struct Suspect {
        registry::Retirement retirement;
        bool certain = false;  ///< false: Verdict::Kind::suspect
    };
    /// One gate as the operator sees it.
    struct Gate {
        Subject subject;
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
    /// `hubs` names them for the log; null: by number.
    explicit PruneGates(Trace* trace = nullptr, const Hubs* hubs = nullptr);
    ~PruneGates();
    PruneGates(const PruneGates&) = delete;
    PruneGates& operator=(const PruneGates&) = delete;

    /// Feeds what a lane learned and takes what may be retired now. `alive`: of the accepted, the
    /// handles that may_accuse() was true for; what is suspected in the same batch only is not
    /// kept.
    std::vector<registry::Retirement> pass(const Subject& subject, std::string_view send_id,
                                           std::uint64_t accepted, std::vector<Suspect> dead,
                                           std::int64_t now_ms,
                                           const std::vector<std::string>& alive = {});
    /// May a gate hold or suspect this handle? Cheap, and takes no lock.
    bool may_accuse(std::string_view handle) const { return accused_.may_have(handle); }
    /// Retires what pass() or take() gave out, in steps, and records why; what the registry cannot
    /// write is held again. `by`: "provider" or "operator". `done` comes once, on any thread, with
    /// how many were retired.
    void retire(registry::Registry& registry, const Subject& subject, std::string_view by,
                std::vector<registry::Retirement> dead, std::int64_t now_ms,
                registry::Done<std::size_t> done);
    /// Takes everything a hub's gates hold, of one platform or of all, to be given to retire().
    std::map<Subject, std::vector<registry::Retirement>> take(std::uint32_t hub,
                                                              std::optional<std::size_t> platform);
    /// Drops it: the handles stay until a provider calls them dead again.
    std::uint64_t discard(std::uint32_t hub, std::optional<std::size_t> platform);

    std::vector<Gate> gates(std::uint32_t hub, std::int64_t now_ms) const;
    /// By ticket, from the first after `after`.
    std::vector<Held> list(std::uint32_t hub, std::uint64_t after, std::size_t count_max) const;
    /// Retirements that wait for evidence, over all gates.
    std::uint64_t held() const;
    Figures figures(std::int64_t now_ms) const;
    /// The evidence of a hub is void: its credentials changed, or it is gone.
    void forget(std::uint32_t hub);
    /// The device was erased; how many retirements were held of it, suspicions included.
    std::size_t forget_device(std::uint32_t hub, std::string_view installation_id,
                              std::string_view registration_id, std::string_view handle);

  private:
    using Gates = std::map<Subject, PruneGate>;
    Trace* const trace_;
    const Hubs* const hubs_;
    LogLimit lines_{6, 60, 60'000};
    mutable std::mutex mutex_;
    AccusedHandles accused_;  ///< changed under the mutex
    Gates gates_;
    std::uint64_t next_ticket_ = 1;
    std::uint64_t discarded_ = 0;
    std::set<Subject> told_shut_;  ///< the log has it, and not that it is open again

    /// The gate of a subject, or the one that stands in for it.
    Gates::value_type& gate_of(const Subject& subject, std::int64_t now_ms);
    void save(Gates::value_type& entry);
    void settled(const Subject& subject, std::string_view by,
                 std::vector<registry::Retirement> given, std::int64_t now_ms,
                 const registry::Result<std::vector<registry::Retired>>& retired);
    /// Whether a gate has shut or opened since the log was told.
    struct Turn {
        Subject subject;
        bool shut = false;
        std::uint64_t held = 0;
        PruneGate::Evidence recent;
    };
    void look(const Gates::value_type& entry, std::int64_t now_ms, std::vector<Turn>& turns);
    /// Not under the mutex.
    void tell(const std::vector<Turn>& turns, std::int64_t now_ms);
    void unhold(std::uint32_t hub, const std::vector<registry::Retirement>& gone);
};

}  // namespace hub
