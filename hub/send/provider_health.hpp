#pragma once

// What goes wrong with the providers and credentials of all hubs, for the log and the metrics: a
// line when a trouble begins, changes or ends, however many loops hear of it. Thread-safe, bounded.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/device/hubs.hpp"
#include "pns/clock.hpp"
#include "pns/health.hpp"

namespace hub {

/// "throttled", "unreachable", "refused".
std::string_view trouble_name(pns::Trouble trouble);

class ProviderHealth {
  public:
    /// Hosts of one credential that are unwell at a time; further ones are not told of.
    static constexpr std::size_t hosts_max = 32;

    /// Both outlive it, and its listeners.
    ProviderHealth(const Hubs& hubs, const pns::Clock& clock) : hubs_(hubs), clock_(clock) {}

    /// The same for all loops. `platform`: index in pns::platforms().
    std::shared_ptr<pns::HealthListener> listener(std::uint32_t hub, std::size_t platform);
    /// Tells of providers that are well again. Called several times a second.
    void look();
    /// The hub is gone or its credentials are others: what was wrong is wrong no longer.
    void forget(std::uint32_t hub);

    struct Unwell {
        std::string hub;
        std::size_t platform = 0;
        pns::Trouble trouble = pns::Trouble::unreachable;
    };
    /// One for each trouble of a credential, as it was last heard.
    std::vector<Unwell> unwell() const;

  private:
    class Listener;
    const Hubs& hubs_;
    const pns::Clock& clock_;
    mutable std::mutex mutex_;
    std::map<std::pair<std::uint32_t, std::size_t>, std::shared_ptr<Listener>> listeners_;
};

}  // namespace hub
