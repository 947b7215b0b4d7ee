#pragma once

// A bulk job: what was asked, where its files are and how far it is. Stored as JSON, one small file
// a job. Times in milliseconds since 1970 UTC. URLs may hold signatures: never log them.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "hub/bulk/job_lines.hpp"

namespace hub {

enum class JobStatus : std::uint8_t { started, running, completed, failed };
std::string_view job_status_name(JobStatus status);
inline bool is_final(JobStatus status) {
    return status >= JobStatus::completed;
}

struct JobRecord {
    std::string id;
    std::uint32_t hub_number = 0;
    std::string hub;
    JobType type = JobType::export_registrations;
    std::string output_container_uri;  ///< as given
    std::string import_file_uri;       ///< as given; empty for an export
    std::map<std::string, std::string> input_properties;
    /// The place in the hub's own blob area; empty if the URL leads to another service.
    std::string output_container;
    std::string import_container;
    std::string import_name;
    std::string output_folder;  ///< "<namespace>//<hub>/<job id>"

    JobStatus status = JobStatus::started;
    std::string failure;
    double progress = 0;  ///< 0 to 100
    std::int64_t created_at_ms = 0;
    std::int64_t updated_at_ms = 0;

    /// Where to go on: everything before this point is applied, and its rows are on disk within the
    /// sizes below.
    std::uint64_t offset = 0;       ///< import: bytes of the file
    std::uint64_t input_bytes = 0;  ///< of the whole import file, once known
    std::string input_etag;
    std::string list_after;  ///< export: the registry's token
    bool read_all = false;   ///< nothing is left to read: only delivering the output is
    std::uint64_t line = 0;  ///< lines read or registrations written
    std::uint64_t succeeded = 0;
    std::uint64_t rejected = 0;
    std::uint64_t output_bytes = 0;
    std::uint64_t failed_bytes = 0;

    friend bool operator==(const JobRecord&, const JobRecord&) = default;
};

std::string job_json(const JobRecord& job);
/// Refuses with 500: such bytes came from us.
Parsed<JobRecord> read_job_json(std::string_view json);

/// 19 digits that fall with time, then a GUID (docs/contracts/anh.md 9).
std::string new_job_id(std::int64_t now_ms);

}  // namespace hub
