#pragma once

// The frame of a benchmark: its command line, a directory of its own, a bound on its time, and the
// report at the end. A signal or the bound ends the benchmark at once, with its children and its
// directory.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "bench/results.hpp"

namespace CLI {
class App;
}

namespace bench {

class Sink;
class Usage;

class Experiment {
  public:
    struct Bounds {
        unsigned runs = 3, runs_max = 50;
        double limit_s = 900;  ///< unless --limit says otherwise
    };
    Experiment(std::string name, const std::string& what, Bounds bounds);
    ~Experiment();
    Experiment(const Experiment&) = delete;
    Experiment& operator=(const Experiment&) = delete;

    CLI::App& app() { return *app_; }  ///< for options of its own
    /// Reads the command line, runs `body` and reports. The exit code: 0 when `body` returned
    /// without exception, 1 when it did not, 2 for a wrong command line.
    int run(int argc, char** argv, const std::function<void()>& body);

    // --- inside the body ---
    unsigned runs() const { return runs_; }
    const std::filesystem::path& dir() const { return dir_; }  ///< exists, goes away afterwards
    Results& results() { return results_; }
    /// Notes how busy the sink was since `usage` of it began. Throws when it was the bottleneck: a
    /// figure measured then is the sink's. `what` ran meanwhile.
    void check_sink(const std::string& what, const Usage& usage, const Sink& sink);

  private:
    std::string name_;
    Bounds bounds_;
    std::unique_ptr<CLI::App> app_;
    unsigned runs_;
    double limit_s_;
    std::string json_file_, parent_;
    std::filesystem::path dir_;
    Results results_;
};

/// Progress of a broadcast or load as one line: "  run 2: hub  ...".
void print_run(unsigned run, const std::string& what, const std::string& figures);

}  // namespace bench
