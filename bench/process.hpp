#pragma once

// Child processes of the benchmark: start, measure, stop. Linux only. One thread.

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace bench {

class Process {
  public:
    /// Starts `arguments[0]` (looked up in PATH) with output and errors in `log`. Throws
    /// std::runtime_error.
    Process(const std::vector<std::string>& arguments, std::filesystem::path log);
    ~Process();  ///< stop()
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    bool running();
    double cpu_seconds() const;   ///< user and system so far, from /proc/<pid>/stat
    double peak_rss_mib() const;  ///< VmHWM
    std::string output() const;   ///< the log so far
    /// Waits up to `timeout_s` for a line of the log that starts with `prefix`; the rest of that
    /// line. Throws when the process ends or the time is over.
    std::string wait_for(const std::string& prefix, double timeout_s);
    /// SIGTERM, then after ten seconds SIGKILL. Idempotent.
    void stop();
    /// Waits for the end by itself; the CPU seconds it took. Throws if it failed.
    double finish();

  private:
    pid_t pid_ = -1;
    std::filesystem::path log_;
    std::string name_;
};

std::string own_program();          ///< path of this executable
std::uint16_t free_port();          ///< of 127.0.0.1, free at this moment
std::string machine_description();  ///< processor, cores, memory
std::string commit_description();   ///< of the tree the process runs in, or "unknown"

}  // namespace bench
