#pragma once

// What the system says of this process, and what was built, as metrics.

#include "hub/process/metrics.hpp"
#include "pns/clock.hpp"

namespace hub {

/// Adds process_* with the names that Prometheus' clients share, and pushhub_build_info. `clock`
/// outlives `metrics`.
void add_process_figures(Metrics& metrics, const pns::Clock& clock);

}  // namespace hub
