#pragma once

// Where a hub's processor time goes: `perf record` runs beside the hub, and each sample counts for
// the stage of its innermost frame that belongs to a stage. Sampling costs the hub something, so it
// has a run of its own and only its shares are used. One thread.

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/process.hpp"

namespace bench {

/// (stage, share of all samples), in the order of a send's life, "other" last. Sums to 1.
using StageShares = std::vector<std::pair<std::string, double>>;

class StageProfile {
  public:
    /// Starts to sample `process`. active() is false where perf is missing or not allowed.
    StageProfile(const std::filesystem::path& dir, const Process& process);
    bool active() const { return perf_ != nullptr; }
    StageShares finish();  ///< empty without samples

  private:
    std::filesystem::path data_, log_;
    std::unique_ptr<Process> perf_;
};

/// What `perf script -F ip,sym,dso` says, as shares. Pure.
class StageCount {
  public:
    void line(const std::string& text);
    StageShares shares();

  private:
    void end_sample();
    std::vector<std::string> frames_;  ///< innermost first, "symbol (library)"
    std::vector<double> samples_;
};

/// Counts the allocations of a hub that is started with environment(). available() says whether the
/// library to preload is there.
class AllocationCount {
  public:
    explicit AllocationCount(const std::filesystem::path& dir);
    bool available() const { return !library_.empty(); }
    std::vector<std::string> environment() const;
    double total() const;  ///< so far

  private:
    std::filesystem::path library_, file_;
};

}  // namespace bench
