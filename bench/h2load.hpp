#pragma once

// h2load (package nghttp2-client) against the sink: what the same requests cost without a hub.

#include <cstdint>
#include <filesystem>

#include "bench/sink.hpp"
#include "bench/targets.hpp"

namespace bench {

struct H2loadOptions {
    std::uint32_t requests = 100'000;
    /// Threads and connections: a pair for each lane of the hub, so that both have the same means.
    /// HTTP/1.1: one stream, clients * 16.
    unsigned clients = 2, streams = 1'000, threads = 2;
    double start_cpu_s = 0;  ///< as h2load_start_cpu_s() has found it; is taken off
};

struct H2loadFigures {
    double requests_per_s = 0;
    double cpu_us_per_request = 0;  ///< without its start
    double mean_ms = 0;             ///< of one request
};

/// Writes the requests for `target` under `dir`. Once, before run_h2load().
void write_h2load_files(const std::filesystem::path& dir, const Sink& sink, const Target& target,
                        std::uint32_t requests);
/// What h2load needs before its first request: it reads and parses all paths.
double h2load_start_cpu_s(const std::filesystem::path& dir, const Sink& sink, const Target& target,
                          const H2loadOptions& options);
/// Throws std::runtime_error unless every request was answered 2xx.
H2loadFigures run_h2load(const std::filesystem::path& dir, const Sink& sink, const Target& target,
                         const H2loadOptions& options);

}  // namespace bench
