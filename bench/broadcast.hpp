#pragma once

// One send through a hub of the benchmark into a fast sink: rate, cost, times, and the rate over
// time as the sink saw it. Blocks; one thread, and one of its own that looks at the sink.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "bench/hub_process.hpp"
#include "bench/sink.hpp"
#include "hub/cli/client.hpp"

namespace bench {

struct BroadcastOrder {
    std::string hub, platform, format, expression, body;
    std::vector<std::pair<std::string, std::string>> headers;
    std::uint64_t devices = 0;  ///< that must be reached; anything else throws
    double timeout_s = 900;
};

struct Broadcast {
    double seconds = 0;  ///< from acceptance to the last verdict, by the hub's own clock
    double pushes_per_s = 0, cpu_us_per_push = 0;
    double first_ms = 0, last_ms = 0;             ///< of pushes at the sink, from acceptance
    std::vector<std::pair<double, double>> rate;  ///< (s since acceptance, pushes/s)
};

/// Throws std::runtime_error unless every device got its push.
Broadcast run_broadcast(HubProcess& hub, hub::HubClient& client, const Sink& sink,
                        const BroadcastOrder& order);
std::string describe(const Broadcast& broadcast);

}  // namespace bench
