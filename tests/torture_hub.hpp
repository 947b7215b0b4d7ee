#pragma once

// The hub that torture kills: a process of its own, with simulated providers in this one. Calls
// from one thread, but connect(), metric() and plain() from any.

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "bench/process.hpp"
#include "hub/cli/client.hpp"
#include "pns/platform.hpp"
#include "pns/sim/simulator.hpp"

namespace torture {

/// Providers whose request body is the message as it was posted.
struct Provider {
    const char* platform;  ///< of the simulator
    const char* format;    ///< of the send
    const char* name;      ///< in an installation
};
constexpr Provider providers[] = {
    {"apns", "apple", "apns"}, {"adm", "adm", "adm"}, {"wns", "windows", "wns"}};

constexpr int checkpoint_ms = 50;
constexpr const char* hub_name = "torture";

/// What processes say, through a pipe: it is not held up by limits that are set for them.
class LogPipe {
  public:
    explicit LogPipe(std::filesystem::path pipe);
    ~LogPipe();
    const std::filesystem::path& path() const { return path_; }
    std::string text() const;  ///< so far
    /// Everything so far, and waits up to five seconds for `words` after `from`.
    bool says(const std::string& words, std::size_t from) const;
    std::size_t size() const;

  private:
    std::filesystem::path path_;
    int read_end_ = -1;
    mutable std::mutex mutex_;
    std::string text_;  // guarded by mutex_
    std::atomic<bool> closing_ = false;
    std::thread thread_;
};

class Hub {
  public:
    /// `data` is the data directory of the hub; `directory` takes what else there is.
    Hub(const std::string& program, std::filesystem::path directory, std::filesystem::path data,
        std::uint64_t seed);

    /// Seconds until /readyz said yes. Throws if it never did.
    double start();
    /// Whether it came up. If not, it has ended with a reason in the log.
    bool try_start();
    void kill() { process_->kill(); }
    void stop() { process_->stop(); }
    bool running() { return process_->running(); }
    pid_t pid() const { return process_->pid(); }

    std::unique_ptr<hub::HubClient> connect() const;
    /// Status of a path that needs no credentials; 0: no answer.
    int plain(const std::string& path) const;
    double metric(const std::string& name) const;  ///< -1: there is none
    std::filesystem::path store() const { return data_ / "store" / "store"; }
    std::filesystem::path trace() const { return data_ / "trace"; }
    const std::filesystem::path& data() const { return data_; }
    const LogPipe& log() const { return log_; }
    const std::vector<pns::Credential>& credentials() const { return credentials_; }
    pns::sim::Simulator& sim(const std::string& platform) { return *sims_.at(platform); }

  private:
    std::filesystem::path data_;
    LogPipe log_;
    std::map<std::string, std::unique_ptr<pns::sim::Simulator>> sims_;
    std::vector<pns::Credential> credentials_;
    std::vector<std::string> command_;
    std::string plain_url_, endpoint_;
    std::unique_ptr<bench::Process> process_;
};

}  // namespace torture
