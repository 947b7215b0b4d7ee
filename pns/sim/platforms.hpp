#pragma once

// The one table of simulated providers. Adding a simulator is one .cpp (checks, answers, a
// credential made for a run) and one row in platforms.cpp. Pure values; any thread.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pns/sim/credentials.hpp"
#include "pns/sim/provider.hpp"

namespace pns::sim {

struct SimPlatform {
    std::string_view name;  ///< Platform::name
    std::unique_ptr<Provider> (*make)(const SimOptions& options, RuleBook& rules, Journal& journal);
    MadeCredential (*credential)();            ///< Credential::platform is filled in by the caller
    std::vector<std::string> hosts;            ///< whom it stands in for; "*." for any label
    std::vector<std::string> alpn;             ///< protocols it offers, best first
    std::vector<std::uint16_t> ports = {443};  ///< at which the provider is reached
};

const std::vector<SimPlatform>& sim_platforms();
/// Null for a platform without simulator.
const SimPlatform* sim_platform(std::string_view name);
std::vector<std::string> sim_platform_names();

}  // namespace pns::sim
