#pragma once

// NotificationHubJob as Atom (docs/contracts/anh.md 9). Pure, any thread.

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "hub/bulk/job_record.hpp"
#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::size_t job_url_bytes_max = 4'096;
constexpr std::size_t job_properties_max = 32;
constexpr std::size_t job_property_bytes_max =
    4'096;  ///< all keys and values: each list of jobs has them

struct JobRequest {
    JobType type = JobType::export_registrations;
    std::string output_container_uri;
    std::string import_file_uri;  ///< empty for an export
    std::map<std::string, std::string> input_properties;
};
/// Body of POST /<hub>/jobs, with or without its Atom wrapper.
Parsed<JobRequest> parse_job_request(std::string_view body);

/// `url` is the job's own. Output files are named once the job has ended well.
std::string job_entry(const JobRecord& job, std::string_view url);
/// `feed_url` is the list's; a job's own URL is made of it and `query`.
std::string job_feed(std::span<const JobRecord> jobs, std::string_view jobs_url,
                     std::string_view query, std::int64_t now_ms);

}  // namespace hub
