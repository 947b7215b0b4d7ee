#pragma once

// The yardstick of the REST benchmarks: the hub's own listeners and dispatcher over a table of
// routes that answer at once. Parsing, TLS and HTTP are the hub's; credentials, store and fan-out
// are left out.

#include <filesystem>
#include <string>

#include "bench/process.hpp"

namespace bench {

/// `pushhub bench bare`, the process behind BareServer. argv[0] is the verb.
int bare_main(int argc, char** argv);

class BareServer {
  public:
    /// Starts it with its files under `dir`/bare and waits until it listens. `lanes` 0: one per
    /// core. Throws std::runtime_error.
    BareServer(const std::filesystem::path& dir, unsigned lanes);

    const std::string& connection_string() const { return connection_string_; }
    std::string ca_file() const { return (data_ / "tls" / "ca.pem").string(); }
    Process& process() { return process_; }

  private:
    std::filesystem::path data_;
    Process process_;
    std::string connection_string_;
};

}  // namespace bench
