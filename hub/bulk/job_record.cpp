// Tested by tests/hub_job_lines_test.cpp.

#include "hub/bulk/job_record.hpp"

#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

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

namespace {

/// Reads a whole number that fits. False: any other, which would become one that nobody wrote.
template <class Number>
bool read_whole(const nlohmann::json& value, Number& out) {
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<Number>::max());
    const bool fits = value.is_number_unsigned()
                          ? value.get<std::uint64_t>() <= most
                          : value.is_number_integer() && std::is_same_v<Number, std::int64_t>;
    if (fits) out = value.get<Number>();
    return fits;
}

}  // namespace

Parsed<JobRecord> read_job_json(std::string_view text) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    JobRecord job;
    bool sound = true;
    const auto whole = [&json, &sound](const char* name, auto& out) {
        sound = read_whole(json.at(name), out) && sound;
    };
    try {
        if (json.at("version") != 1) return Refusal{500, "The job is of another version."};
        job.id = json.at("id");
        whole("hubNumber", job.hub_number);
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
        std::uint32_t status = 0;
        whole("status", status);
        if (status > static_cast<std::uint32_t>(JobStatus::failed))
            return Refusal{500, "The job has no known status."};
        job.status = static_cast<JobStatus>(status);
        job.failure = json.at("failure");
        job.progress = json.at("progress");
        whole("createdAt", job.created_at_ms);
        whole("updatedAt", job.updated_at_ms);
        whole("offset", job.offset);
        whole("inputBytes", job.input_bytes);
        job.input_etag = json.at("inputETag");
        for (const auto& number : json.at("listAfter")) {
            unsigned char byte = 0;
            sound = read_whole(number, byte) && sound;
            job.list_after += static_cast<char>(byte);
        }
        job.read_all = json.at("readAll");
        whole("line", job.line);
        whole("succeeded", job.succeeded);
        whole("rejected", job.rejected);
        whole("outputBytes", job.output_bytes);
        whole("failedBytes", job.failed_bytes);
    } catch (const nlohmann::json::exception&) {
        sound = false;
    }
    if (!sound) return Refusal{500, "The job cannot be read."};
    return job;
}

std::string new_job_id(std::int64_t now_ms) {
    constexpr std::int64_t last_tick = 3'155'378'975'999'999'999;  // of .NET's DateTime
    constexpr std::int64_t ticks_1970 = 621'355'968'000'000'000;
    const Request nobody;  // has no TrackingId: a fresh GUID
    return std::to_string(last_tick - (ticks_1970 + now_ms * 10'000)) + choose_tracking_id(nobody);
}

}  // namespace hub
