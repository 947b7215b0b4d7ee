#pragma once

// Child processes of the benchmark: start, measure, stop. Linux only. One thread, but for
// kill_children().

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace bench {

class Process {
  public:
    enum class Input { none, lines };  ///< lines: what say() writes

    /// Starts `arguments[0]` (looked up in PATH) with output and errors in `log`, and with
    /// `environment` (NAME=VALUE) added to ours. Throws std::runtime_error.
    Process(const std::vector<std::string>& arguments, std::filesystem::path log,
            const std::vector<std::string>& environment = {}, Input input = Input::none);
    ~Process();  ///< stop()
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    bool running();
    pid_t pid() const { return pid_; }
    double cpu_seconds() const;   ///< user and system, all threads, so far
    double user_seconds() const;  ///< of them outside of the kernel, in its ticks
    double rss_mib() const;       ///< VmRSS
    double peak_rss_mib() const;  ///< VmHWM
    /// From now on peak_rss_mib() counts anew. Needs Linux 4.0.
    void forget_peak_rss() const;
    std::string output() const;  ///< the log so far
    /// Writes `line` to its input. Throws std::runtime_error when it does not read any more.
    void say(const std::string& line) const;
    /// Waits up to `timeout_s` for a line of the log that starts with `prefix`; the rest of that
    /// line. Throws when the process ends or the time is over.
    std::string wait_for(const std::string& prefix, double timeout_s);
    /// SIGTERM, then after ten seconds SIGKILL. Idempotent.
    void stop();
    void interrupt();  ///< SIGINT, and waits for the end
    void kill();       ///< SIGKILL, and waits for the end
    /// Waits for the end by itself; the CPU seconds it took. Throws if it failed.
    double finish();

  private:
    void forget();

    pid_t pid_ = -1;
    int input_ = -1;  ///< our end; open until the process is known to have ended
    std::filesystem::path log_;
    std::string name_;
};

/// What a process used since this was made.
class Usage {
  public:
    explicit Usage(const Process& process)
        : process_(process),
          cpu_before_s_(process.cpu_seconds()),
          user_before_s_(process.user_seconds()),
          begun_(Clock::now()) {}
    double cpu_s() const { return process_.cpu_seconds() - cpu_before_s_; }
    double user_s() const { return process_.user_seconds() - user_before_s_; }
    double wall_s() const { return std::chrono::duration<double>(Clock::now() - begun_).count(); }

  private:
    using Clock = std::chrono::steady_clock;
    const Process& process_;
    double cpu_before_s_, user_before_s_;
    Clock::time_point begun_;
};

/// SIGKILL to every child that runs. Any thread; for an end in a hurry.
void kill_children();

std::string own_program();  ///< path of this executable
std::string hub_program();  ///< path of the pushhub beside it
std::uint16_t free_port();  ///< of 127.0.0.1, free at this moment

}  // namespace bench
