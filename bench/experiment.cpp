#include "bench/experiment.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <thread>

#include "bench/process.hpp"
#include "bench/sink.hpp"
#include "hub/cli/terminal.hpp"
#include "pns/exit_code.hpp"
#include "pns/sim/arguments.hpp"

namespace bench {
namespace {

constexpr double saturated = 0.97;  ///< of the sink's threads

/// Waits for a signal or the end of the time, and then ends everything at once.
class Watchdog {
  public:
    Watchdog(std::string name, double limit_s, std::filesystem::path dir)
        : name_(std::move(name)), limit_s_(limit_s), dir_(std::move(dir)) {
        sigemptyset(&signals_);
        for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals_, signal);
        pthread_sigmask(SIG_BLOCK, &signals_, &before_);
        thread_ = std::thread([this] { watch(); });
    }
    ~Watchdog() {
        over_ = true;
        thread_.join();
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    Watchdog(const Watchdog&) = delete;
    Watchdog& operator=(const Watchdog&) = delete;

  private:
    void watch() {
        using Clock = std::chrono::steady_clock;
        const auto until = Clock::now() + std::chrono::duration<double>(limit_s_);
        const timespec step{0, 50'000'000};
        while (!over_) {
            const int signal = sigtimedwait(&signals_, nullptr, &step);
            if (signal < 0 && Clock::now() < until) continue;
            kill_children();
            std::error_code ignored;
            std::filesystem::remove_all(dir_, ignored);
            if (signal < 0)
                std::fprintf(stderr, "\npushhub bench %s: not done after %.0f s (--limit)\n",
                             name_.c_str(), limit_s_);
            ::_exit(signal < 0 ? 1 : 128 + signal);
        }
    }

    std::string name_;
    double limit_s_;
    std::filesystem::path dir_;
    sigset_t signals_{}, before_{};
    std::atomic<bool> over_ = false;
    std::thread thread_;
};

}  // namespace

Experiment::Experiment(std::string name, const std::string& what, Bounds bounds)
    : name_(std::move(name)),
      bounds_(bounds),
      app_(std::make_unique<CLI::App>(what, "pushhub bench " + name_)),
      runs_(bounds.runs),
      limit_s_(bounds.limit_s),
      parent_(".") {
    app_->add_option("--runs", runs_, "how often; medians are reported")
        ->capture_default_str()
        ->check(CLI::Range(1U, bounds_.runs_max));
    app_->add_option("--json", json_file_, "write the figures to this file");
    app_->add_option("--limit", limit_s_, "seconds after which it is given up")
        ->capture_default_str()
        ->check(CLI::Range(1.0, 86'400.0));
    app_->add_option("--dir", parent_, "where its own directory is made, and removed at the end")
        ->capture_default_str()
        ->check(CLI::ExistingDirectory);
}

Experiment::~Experiment() = default;

int Experiment::run(int argc, char** argv, const std::function<void()>& body) {
    if (const auto ended = pns::sim::read_arguments(*app_, argc, argv)) return *ended;
    dir_ = std::filesystem::absolute(parent_) /
           ("pushhub-" + name_ + "-" + std::to_string(::getpid()));
    int code = pns::exit_failed;
    try {
        std::filesystem::create_directories(dir_);
        const Watchdog watchdog(name_, limit_s_, dir_);
        body();
        results_.print(runs_);
        if (!json_file_.empty()) results_.write(name_, runs_, json_file_);
        code = pns::exit_done;
    } catch (const std::exception& error) {
        std::fflush(stdout);
        std::fprintf(stderr, "%s pushhub bench %s: %s\n", hub::red("FAIL").c_str(), name_.c_str(),
                     error.what());
    }
    std::error_code ignored;
    std::filesystem::remove_all(dir_, ignored);
    return code;
}

void Experiment::check_sink(const std::string& what, const Usage& usage, const Sink& sink) {
    const double share = usage.cpu_s() / usage.wall_s() / sink.threads();
    results_.add("sink_cpu_share_" + what, share);
    if (share < saturated) return;
    throw std::runtime_error("the sink was the bottleneck of " + what + ": it used " +
                             hub::fixed(share * 100, 0) + " % of its " +
                             std::to_string(sink.threads()) +
                             " threads. Give it more with --sink-threads.");
}

void print_run(unsigned run, const std::string& what, const std::string& figures) {
    std::printf("  run %u: %s %s\n", run, hub::padded(what, 10).c_str(), figures.c_str());
    std::fflush(stdout);
}

}  // namespace bench
