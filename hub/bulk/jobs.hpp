#pragma once

// The bulk jobs of all hubs (docs/contracts/anh.md 9): accepts, keeps and runs them. At most one
// job of a hub runs at a time, oldest first, and hubs take turns, on threads of its own: a job that
// has had its time makes way while another hub's waits. A job that was accepted is on disk in
// data_dir/jobs; after a restart it goes on at its last checkpoint. Any thread.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/bulk/job_run.hpp"
#include "pns/clock.hpp"

namespace hub {

class Jobs {
  public:
    static constexpr std::size_t open_max = 100;  ///< per hub, not ended
    static constexpr std::size_t kept_max = 200;  ///< per hub, ended; the oldest go first

    struct Figures {
        std::uint64_t waiting = 0, running = 0, lines = 0;
    };

    /// `folder` is data_dir/jobs. Reads what is there; throws std::runtime_error if it cannot.
    Jobs(registry::Registry& registry, const Blobs& blobs, const Hubs& hubs, const Config& config,
         const pns::Clock& clock, std::filesystem::path folder);
    ~Jobs();  ///< stop()

    /// Begins to work. Once.
    void start();
    /// Durable when it returns. False: too many jobs of this hub are open. Throws if the disk
    /// refuses. Blocks on disk.
    bool submit(JobRecord job);
    std::optional<JobRecord> find(std::uint32_t hub_number, std::string_view id) const;
    std::vector<JobRecord> list(std::uint32_t hub_number) const;  ///< newest first
    /// The hub is gone: its jobs stop and are forgotten. Blocks on disk.
    void forget_hub(std::uint32_t hub_number);
    /// Running jobs write a checkpoint and end for now. Returns when the threads have ended.
    void stop();
    Figures figures() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace hub
