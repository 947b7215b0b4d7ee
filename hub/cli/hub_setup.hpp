#pragma once

// Creates hubs through the hub's own management surface (docs/contracts/anh.md 10.1).

#include <string>
#include <vector>

#include "hub/cli/client.hpp"
#include "hub/cli/winter_games.hpp"
#include "pns/platform.hpp"

namespace hub {

/// Creates the hub, or replaces its credentials if it exists. Throws std::runtime_error when the
/// hub refuses.
void create_hub(HubClient& client, const std::string& name,
                const std::vector<pns::Credential>& credentials);

/// Puts one installation per device of the model, showing a progress bar. Throws as create_hub().
void register_devices(HubClient& client, const std::string& name, const WinterGames& games);

}  // namespace hub
