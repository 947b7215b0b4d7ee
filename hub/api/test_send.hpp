#pragma once

// Test sends (docs/contracts/anh.md 5.6): an ordinary send to few devices whose answer waits for
// the verdicts and tells them device by device.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "hub/api/handlers.hpp"
#include "registry/registry.hpp"

namespace hub {

constexpr std::size_t test_devices_max = 10;
constexpr std::size_t test_calls_max = 10;  ///< per hub and period
constexpr std::int64_t test_period_ms = 60'000;
constexpr std::int64_t test_wait_ms_max = 25'000;  ///< what has no verdict by then is not listed

/// Leaves the first `devices` of a selection.
void keep_first(registry::Selection& selection, std::size_t devices);

/// Starts a send that the ledger has accepted and tells what became of its devices.
pns::Task<Response> answer_test_send(Call call, std::shared_ptr<const registry::FrozenSend> frozen);

}  // namespace hub
