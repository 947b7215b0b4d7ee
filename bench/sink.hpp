#pragma once

// Simulated providers as a process of their own: `pushhub sim`. Fast ones answer 200 to everything
// and count; the others check every request and keep a journal.

#include <map>
#include <string>
#include <vector>

#include "bench/process.hpp"
#include "bench/sim_control.hpp"
#include "pns/platform.hpp"

namespace bench {

struct SinkOptions {
    std::vector<std::string> platforms{"apns"};
    unsigned threads = 1;  ///< of each
    bool fast = true;
    /// Fast, HTTP/2: pushes whose path holds this are also recorded with the time of their arrival.
    std::string watch;
};

class Sink {
  public:
    /// Starts it with its files under `dir`. Throws std::runtime_error.
    explicit Sink(const std::filesystem::path& dir, SinkOptions options = {});

    const std::string& ca_file() const { return ca_file_; }
    const std::vector<std::string>& connect_to() const { return connect_to_; }
    const std::vector<pns::Credential>& credentials() const { return credentials_; }

    const pns::Credential& credential(const std::string& platform) const;
    const std::string& origin(const std::string& platform) const;  ///< https://ADDRESS:PORT
    /// A host name that this platform's pushes go to.
    const std::string& host(const std::string& platform) const;
    const SimControl& control(const std::string& platform) const;

    unsigned threads() const { return threads_; }  ///< of all platforms
    const Process& process() const { return process_; }

  private:
    struct Platform {
        std::string origin, host;
        SimControl control;
    };
    const Platform& at(const std::string& platform) const;

    unsigned threads_;
    Process process_;
    std::string ca_file_;
    std::vector<std::string> connect_to_;
    std::vector<pns::Credential> credentials_;
    std::map<std::string, Platform> platforms_;
};

}  // namespace bench
