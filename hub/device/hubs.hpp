#pragma once

// All hubs of the process in memory: what the registry stores of them, parsed. Immutable snapshots,
// replaced whole on a change; any thread may take one.

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "hub/device/hub_description.hpp"
#include "registry/registry.hpp"

namespace hub {

/// One hub as it was at one moment.
struct HubState {
    registry::HubRow row;
    HubDescription description;
};

class Hubs {
  public:
    /// Reads every hub of the registry; throws std::runtime_error naming a hub whose description
    /// cannot be read.
    explicit Hubs(registry::Registry& registry);

    std::shared_ptr<const HubState> find(
        std::string_view name) const;  ///< ignoring ASCII case; null if absent
    std::shared_ptr<const HubState> find(std::uint32_t number) const;
    std::vector<std::shared_ptr<const HubState>> all() const;  ///< by name
    std::size_t count() const { return count_.load(std::memory_order_relaxed); }

    /// After the registry has committed the change.
    void put(const registry::HubRow& row, HubDescription description);
    void erase(std::string_view name);

  private:
    mutable std::mutex mutex_;
    std::vector<std::shared_ptr<const HubState>> hubs_;
    std::atomic<std::size_t> count_{0};  ///< of hubs_
};

}  // namespace hub
