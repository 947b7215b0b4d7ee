#pragma once

// A hub of the benchmark as a process of its own: `pushhub serve` on a free port of 127.0.0.1, and
// what its clients need to reach it.

#include <cstdint>
#include <filesystem>
#include <string>

#include "bench/process.hpp"
#include "bench/sink.hpp"

namespace bench {

class HubProcess {
  public:
    /// Starts it with its data under `dir`/hub and its pushes going to `sink`, and waits until it
    /// takes requests. `lanes` 0: one per core. Throws std::runtime_error.
    HubProcess(const std::filesystem::path& dir, const Sink& sink, unsigned lanes);

    Process& process() { return process_; }
    const std::string& connection_string() const { return connection_string_; }
    std::string ca_file() const { return (data_ / "tls" / "ca.pem").string(); }

  private:
    void wait_until_ready();

    std::uint16_t port_;
    std::filesystem::path data_;
    Process process_;
    std::string connection_string_;
};

}  // namespace bench
