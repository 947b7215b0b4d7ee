#pragma once

// A closed loop of requests for some seconds: its rate and its latencies. One thread.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "bench/process.hpp"
#include "bench/results.hpp"
#include "hub/cli/client.hpp"
#include "hub/cli/terminal.hpp"

namespace bench {

struct Load {
    double seconds = 3;
    int status = 200;                ///< of an answer that counts
    int status_also = 0;             ///< another one, where requests are mixed; 0 = none
    int status_when_busy = 0;        ///< of one that does not count and is no error; 0 = none
    std::size_t per_connection = 1;  ///< requests open on each connection
    std::function<bool()> until;     ///< asked before each request: true ends it early
    /// Called for each answer that counts, with what `make` made.
    std::function<void(const hub::ClientRequest&, const hub::ClientReply&)> on_counted;
};

struct Measured {
    double per_s = 0;
    double seconds = 0;
    double p50_ms = 0, p99_ms = 0, p999_ms = 0;  ///< of the answers that count
    /// CPU time of the server for each answer that counts, set by run_in_turns(); `user_us` leaves
    /// out the kernel's.
    double cpu_us = 0, user_us = 0;
    std::uint64_t counted = 0, busy = 0;
    std::string last_location;         ///< of the last answer that counts
    std::vector<double> latencies_ms;  ///< sorted
};

/// Keeps the connections of `client` busy with what `make` makes until the time is over, then waits
/// for the answers that are due. Throws std::runtime_error on any other status, and when no answer
/// counts.
Measured run_load(hub::HubClient& client, const Load& load,
                  const std::function<void(hub::ClientRequest&)>& make);
/// The same, beside a bar of all the parts of a benchmark.
Measured run_load(hub::HubClient& client, const Load& load,
                  const std::function<void(hub::ClientRequest&)>& make, hub::ProgressBar& bar,
                  double seconds_before);

/// One of several loads that take turns.
struct Turn {
    std::string name;
    hub::HubClient& client;
    const Process& server;  ///< whose CPU counts
    Load load;              ///< `seconds` in all
    std::function<void(hub::ClientRequest&)> make;
};
/// Each load runs for a part of a second, in turns, until all have had their time: so a shared
/// machine treats them alike. Each begins when the servers are quiet.
std::vector<Measured> run_in_turns(const std::vector<Turn>& turns);

std::string describe(const Measured& measured);  ///< rate, percentiles, CPU, in one line

}  // namespace bench
