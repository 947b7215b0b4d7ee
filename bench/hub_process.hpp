#pragma once

// A hub of the benchmark as a process of its own: `pushhub serve` on a free port of 127.0.0.1, and
// what its clients need to reach it. It may be stopped and started again on the same data.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "bench/process.hpp"
#include "bench/sink.hpp"

namespace bench {

struct HubOptions {
    unsigned lanes = 0;                  ///< 0: one per core
    std::vector<std::string> arguments;  ///< more of `pushhub serve`
    std::string program = {};            ///< empty: hub_program()
};

class HubProcess {
  public:
    /// Starts it with its data under `dir`/hub and its pushes going to `sink`, and waits until it
    /// takes requests. Throws std::runtime_error.
    HubProcess(const std::filesystem::path& dir, const Sink& sink, HubOptions options = {});

    /// Starts it again after stop() or kill(); the seconds from the start of the process to the
    /// first 200 of /readyz.
    double start(const std::vector<std::string>& environment = {});
    void stop();  ///< as an operator would: SIGTERM
    void kill();  ///< SIGKILL

    Process& process() { return *process_; }
    const std::string& connection_string() const { return connection_string_; }
    std::string ca_file() const { return (data_ / "tls" / "ca.pem").string(); }
    const std::filesystem::path& data_dir() const { return data_; }
    double metric(const std::string& name) const;  ///< of /metrics, without labels; 0 = not there

  private:
    std::uint16_t port_, plain_port_;
    std::filesystem::path data_, log_;
    std::vector<std::string> command_;
    std::unique_ptr<Process> process_;
    std::string connection_string_;
};

}  // namespace bench
