#pragma once

// A closed loop of requests for some seconds, and what the REST benchmarks make of it: rates,
// percentiles, medians over runs, and the file of figures. One thread.

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bench/client.hpp"
#include "bench/terminal.hpp"

namespace bench {

struct Load {
    double seconds = 3;
    int status = 200;                ///< of an answer that counts
    int status_when_busy = 0;        ///< of one that does not count and is no error; 0 = none
    std::size_t per_connection = 1;  ///< requests open on each connection
};

struct Measured {
    double per_s = 0;
    double p50_ms = 0, p99_ms = 0;  ///< of the answers that count
    double cpu_us = 0;              ///< of the server, per answer that counts; left to the caller
    std::uint64_t counted = 0, busy = 0;
    std::string last_location;  ///< of the last answer that counts
};

/// Keeps the connections of `client` busy with what `make` makes until the time is over, then waits
/// for the answers that are due. Throws std::runtime_error on any other status, and when no answer
/// counts.
Measured run_load(HubClient& client, const Load& load,
                  const std::function<void(ClientRequest&)>& make, ProgressBar& bar,
                  double seconds_before);

double median(std::vector<double> values);
/// `share` of 0.5 is the median; sorts `values`.
double percentile(std::vector<double>& values, double share);

using Metrics = std::vector<std::pair<std::string, double>>;
/// Prints the figures and, unless `file` is empty, writes {bench, commit, machine, date, runs,
/// metrics} to it. Throws std::runtime_error when that fails.
void report(const std::string& bench, unsigned runs, const Metrics& metrics,
            const std::string& file);

}  // namespace bench
