// Tested by tests/hub_job_lines_test.cpp.

#include "hub/bulk/job_record.hpp"

#include <array>
#include <nlohmann/json.hpp>

#include "hub/http/http.hpp"

namespace hub {

std::string_view job_status_name(JobStatus status) {
    constexpr std::array names{"Started", "Running", "Completed", "Failed"};
    return names[static_cast<std::size_t>(status)];
}

std::string job_json(const JobRecord& job) {
    nlohmann::ordered_json out;
    out["version"] = 1;
    out["id"] = job.id;
    out["hubNumber"] = job.hub_number;
    out["hub"] = job.hub;
    out["type"] = job_type_name(job.type);
    out["outputContainerUri"] = job.output_container_uri;
    out["importFileUri"] = job.import_file_uri;
    out["inputProperties"] = job.input_properties;
    out["outputContainer"] = job.output_container;
    out["importContainer"] = job.import_container;
    out["importName"] = job.import_name;
    out["outputFolder"] = job.output_folder;
    out["status"] = static_cast<int>(job.status);
    out["failure"] = job.failure;
    out["progress"] = job.progress;
    out["createdAt"] = job.created_at_ms;
    out["updatedAt"] = job.updated_at_ms;
    out["offset"] = job.offset;
    out["inputBytes"] = job.input_bytes;
    out["inputETag"] = job.input_etag;
    // The registry's token is bytes: JSON keeps it as numbers.
    out["listAfter"] = std::vector<int>();
    for (const char c : job.list_after) out["listAfter"].push_back(static_cast<unsigned char>(c));
    out["readAll"] = job.read_all;
    out["line"] = job.line;
    out["succeeded"] = job.succeeded;
    out["rejected"] = job.rejected;
    out["outputBytes"] = job.output_bytes;
    out["failedBytes"] = job.failed_bytes;
    return out.dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Parsed<JobRecord> read_job_json(std::string_view text) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    JobRecord job;
    try {
        if (json.at("version") != 1) return Refusal{500, "The job is of another version."};
        job.id = json.at("id");
        job.hub_number = json.at("hubNumber");
        job.hub = json.at("hub");
        const auto type = job_type_of(json.at("type").get<std::string>());
        if (!type) return Refusal{500, "The job is of no known type."};
        job.type = *type;
        job.output_container_uri = json.at("outputContainerUri");
        job.import_file_uri = json.at("importFileUri");
        job.input_properties = json.at("inputProperties");
        job.output_container = json.at("outputContainer");
        job.import_container = json.at("importContainer");
        job.import_name = json.at("importName");
        job.output_folder = json.at("outputFolder");
        const int status = json.at("status");
        if (status < 0 || status > static_cast<int>(JobStatus::failed))
            return Refusal{500, "The job has no known status."};
        job.status = static_cast<JobStatus>(status);
        job.failure = json.at("failure");
        job.progress = json.at("progress");
        job.created_at_ms = json.at("createdAt");
        job.updated_at_ms = json.at("updatedAt");
        job.offset = json.at("offset");
        job.input_bytes = json.at("inputBytes");
        job.input_etag = json.at("inputETag");
        for (const int byte : json.at("listAfter")) job.list_after += static_cast<char>(byte);
        job.read_all = json.at("readAll");
        job.line = json.at("line");
        job.succeeded = json.at("succeeded");
        job.rejected = json.at("rejected");
        job.output_bytes = json.at("outputBytes");
        job.failed_bytes = json.at("failedBytes");
    } catch (const nlohmann::json::exception&) {
        return Refusal{500, "The job cannot be read."};
    }
    return job;
}

std::string new_job_id(std::int64_t now_ms) {
    constexpr std::int64_t last_tick = 3'155'378'975'999'999'999;  // of .NET's DateTime
    constexpr std::int64_t ticks_1970 = 621'355'968'000'000'000;
    const Request nobody;  // has no TrackingId: a fresh GUID
    return std::to_string(last_tick - (ticks_1970 + now_ms * 10'000)) + choose_tracking_id(nobody);
}

}  // namespace hub
