#pragma once

// The fast APNs sink of the benchmark: `pushhub sim apns --fast` as a process of its own.

#include <filesystem>
#include <string>
#include <vector>

#include "bench/client.hpp"
#include "bench/process.hpp"
#include "pns/platform.hpp"

namespace bench {

class Sink {
  public:
    /// Starts it with its files under `dir`. Throws std::runtime_error.
    explicit Sink(const std::filesystem::path& dir);

    const std::string& ca_file() const { return ca_file_; }
    const std::vector<std::string>& connect_to() const { return connect_to_; }
    const std::string& origin() const { return origin_; }  ///< https://ADDRESS:PORT
    const pns::Credential& credential() const { return credential_; }
    /// Request headers of the same names and sizes as the hub sends.
    std::vector<std::string> h2load_headers() const;
    double cpu_seconds() const { return process_.cpu_seconds(); }

  private:
    Process process_;
    std::string ca_file_, origin_;
    std::vector<std::string> connect_to_;
    pns::Credential credential_;
};

}  // namespace bench
