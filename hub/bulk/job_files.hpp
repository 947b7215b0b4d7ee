#pragma once

// The files of one bulk job: what it reads and what it writes. They lie in our own blob area, or
// pass through a spool file to another service. Blocking; one thread.

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "hub/bulk/blob_client.hpp"
#include "hub/bulk/blobs.hpp"
#include "hub/bulk/job_run.hpp"

namespace hub {

BlobClient::Settings blob_client_settings(const Config& config);

/// The import file. What went wrong is in `why`.
class JobInput {
  public:
    JobInput(const JobTools& tools, JobRecord& job, const std::atomic<bool>& stop);
    /// False: it cannot be read.
    bool open();
    /// Bytes from `offset`; none: its end. Fills the job's input_bytes and input_etag.
    boost::system::result<std::string> read(std::uint64_t offset);
    const std::string& why() const { return why_; }

  private:
    const JobTools& tools_;
    JobRecord& job_;
    std::optional<BlobFile> file_;
    BlobUrl url_;
    std::optional<BlobClient> client_;
    const std::atomic<bool>& stop_;
    std::string why_;
};

/// Output.txt or Failed.txt.
class JobOutput {
  public:
    JobOutput(const JobTools& tools, const JobRecord& job, std::string_view name);
    ~JobOutput();
    JobOutput(const JobOutput&) = delete;
    JobOutput& operator=(const JobOutput&) = delete;

    /// Cuts the file to what the last checkpoint knew of it.
    bool open(std::uint64_t bytes);
    bool write(std::string_view rows);
    /// Why write() refused: there is no room (Config::blobs_mib_max), also for what goes to
    /// another service later.
    bool full() const { return full_; }
    bool sync();
    std::uint64_t bytes() const { return bytes_; }
    /// Sends the file to the other service, if the job named one.
    Parsed<bool> deliver(const std::atomic<bool>& stop);

  private:
    const JobTools& tools_;
    const JobRecord& job_;
    const std::string name_;
    std::optional<BlobRoom::Hold> hold_;
    int file_ = -1;
    std::uint64_t bytes_ = 0;
    bool full_ = false;

    std::filesystem::path spool() const;
    bool take(std::uint64_t bytes);
};

}  // namespace hub
