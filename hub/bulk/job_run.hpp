#pragma once

// One bulk job at work, on the thread that calls it: reads lines or registrations, writes through
// the registry in batches, two of them under way, and puts rows into its output files. At every
// checkpoint the files are on disk and the record says where to go on; lines behind it are done
// again after a stop, with the same result (docs/contracts/anh.md 9).

#include <atomic>
#include <functional>

#include "hub/bulk/blobs.hpp"
#include "hub/bulk/job_record.hpp"
#include "hub/device/hubs.hpp"
#include "hub/process/config.hpp"
#include "pns/clock.hpp"
#include "registry/registry.hpp"

namespace hub {

struct JobTools {
    registry::Registry& registry;
    const Blobs& blobs;
    const Hubs& hubs;
    const Config& config;
    const pns::Clock& clock;
    std::filesystem::path spool;  ///< folder for outputs that go to another service
};

struct JobCalls {
    std::function<void(const JobRecord&)> show;  ///< progress, not durable
    std::function<void(const JobRecord&)> keep;  ///< a checkpoint; throws if it cannot be written
    /// Is the job to make way for another hub's? Asked between lines: a lock at most.
    std::function<bool()> turn_over;
};

/// Works on `job` until it has ended, its turn is over, or `stop` became true. The record that is
/// returned has been given to `keep`: final, or where the next run goes on. Each turn does one line
/// or page at least.
JobRecord run_job(const JobTools& tools, JobRecord job, const std::atomic<bool>& stop,
                  const JobCalls& calls);

}  // namespace hub
