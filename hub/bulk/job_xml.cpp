// Tested by tests/hub_job_lines_test.cpp.
//
// Entries are written as text in the order of the contract; requests are read from the bounded
// tree of hub/text/xml.cpp. URLs of jobs hold signatures: they are answered to their owner and
// never logged.

#include "hub/bulk/job_xml.hpp"

#include <array>
#include <cstdio>

#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "hub/text/xml.hpp"

namespace hub {

namespace {

constexpr std::string_view atom_namespace = "http://www.w3.org/2005/Atom";

void append_properties(std::string& out, std::string_view element,
                       const std::map<std::string, std::string>& properties) {
    if (properties.empty()) return;
    out.append("<").append(element);
    // Clients look for this very prefix (docs/contracts/anh.md 9).
    out += " xmlns:d3p1=\"http://schemas.microsoft.com/2003/10/Serialization/Arrays\">";
    for (const auto& [key, value] : properties) {
        out += "<d3p1:KeyValueOfstringstring>";
        append_element(out, "d3p1:Key", key);
        append_element(out, "d3p1:Value", value);
        out += "</d3p1:KeyValueOfstringstring>";
    }
    out.append("</").append(element).append(">");
}

std::string percent(double progress) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.2f", progress);
    std::string out = text.data();
    while (out.ends_with('0')) out.pop_back();
    if (out.ends_with('.')) out.pop_back();
    return out;
}

std::map<std::string, std::string> output_properties(const JobRecord& job) {
    std::map<std::string, std::string> files;
    if (job.status != JobStatus::completed) return files;
    if (job.type != JobType::export_registrations)
        files["FailedFilePath"] = job.output_folder + "/Failed.txt";
    files["OutputFilePath"] = job.output_folder + "/Output.txt";
    return files;
}

std::string description(const JobRecord& job) {
    std::string out =
        "<NotificationHubJob "
        "xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\" "
        "xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\">";
    append_element(out, "JobId", job.id);
    append_element(out, "Progress", percent(job.progress));
    append_element(out, "Type", job_type_name(job.type));
    append_element(out, "Status", job_status_name(job.status));
    append_element(out, "OutputContainerUri", job.output_container_uri);
    if (!job.import_file_uri.empty()) append_element(out, "ImportFileUri", job.import_file_uri);
    append_properties(out, "InputProperties", job.input_properties);
    if (!job.failure.empty()) append_element(out, "Failure", job.failure);
    append_properties(out, "OutputProperties", output_properties(job));
    append_element(out, "CreatedAt", iso_ms(job.created_at_ms));
    append_element(out, "UpdatedAt", iso_ms(job.updated_at_ms));
    return out + "</NotificationHubJob>";
}

void append_head(std::string& out, std::string_view url, std::string_view title) {
    append_element(out, "id", url);
    out += "<title type=\"text\">";
    append_xml(out, title);
    out += "</title>";
}

void append_link(std::string& out, std::string_view url) {
    out += "<link rel=\"self\" href=\"";
    append_xml(out, url);
    out += "\"/>";
}

Parsed<std::map<std::string, std::string>> read_properties(const pugi::xml_node& node) {
    std::map<std::string, std::string> out;
    std::size_t bytes = 0;
    for (const auto& child : node.children()) {
        if (child.type() != pugi::node_element) continue;
        if (out.size() >= job_properties_max)
            return bad_request("InputProperties has more than " +
                               std::to_string(job_properties_max) + " entries.");
        const auto key = child_text(child, "Key").value_or("");
        auto value = child_text(child, "Value").value_or("");
        bytes += key.size() + value.size();
        if (bytes > job_property_bytes_max)
            return bad_request("InputProperties has more than " +
                               std::to_string(job_property_bytes_max) + " bytes.");
        out[key] = std::move(value);
    }
    return out;
}

Parsed<std::string> read_url(const pugi::xml_node& node, std::string_view name) {
    std::string url(trimmed(child_text(node, name).value_or("")));
    if (url.empty())
        return bad_request("The element " + std::string(name) + " is missing or empty.");
    if (url.size() > job_url_bytes_max)
        return bad_request("The element " + std::string(name) + " is longer than " +
                           std::to_string(job_url_bytes_max) + " bytes.");
    return url;
}

}  // namespace

Parsed<JobRequest> parse_job_request(std::string_view body) {
    pugi::xml_document document;
    if (auto refusal = read_xml(body, document)) return std::move(*refusal);
    const auto described = described_element(document);
    if (!ok(described)) return std::get<Refusal>(described);
    const auto node = std::get<pugi::xml_node>(described);
    if (local_name(node) != "NotificationHubJob")
        return invalid_description("The element <" + shown(local_name(node)) +
                                   "> is no NotificationHubJob.");
    if (auto refusal = check_no_child_twice(node)) return std::move(*refusal);
    JobRequest job;
    const std::string type_name(trimmed(child_text(node, "Type").value_or("")));
    const auto type = job_type_of(type_name);
    if (!type) {
        return bad_request("The job type '" + shown(type_name) +
                           "' is not known. Use ExportRegistrations or Import followed by Create, "
                           "Update, Upsert or Delete and Registrations.");
    }
    job.type = *type;
    auto output = read_url(node, "OutputContainerUri");
    if (!ok(output)) return std::get<Refusal>(std::move(output));
    job.output_container_uri = std::get<std::string>(std::move(output));
    if (job.type != JobType::export_registrations) {
        auto import = read_url(node, "ImportFileUri");
        if (!ok(import)) return std::get<Refusal>(std::move(import));
        job.import_file_uri = std::get<std::string>(std::move(import));
    }
    auto properties = read_properties(child_element(node, "InputProperties"));
    if (!ok(properties)) return std::get<Refusal>(std::move(properties));
    job.input_properties = std::get<std::map<std::string, std::string>>(std::move(properties));
    return job;
}

std::string job_entry(const JobRecord& job, std::string_view url) {
    std::string out = "<entry xmlns=\"" + std::string(atom_namespace) + "\">";
    append_head(out, url, job.id);
    append_element(out, "published", iso_seconds(job.created_at_ms));
    append_element(out, "updated", iso_seconds(job.updated_at_ms));
    append_link(out, url);
    return out + "<content type=\"application/xml\">" + description(job) + "</content></entry>";
}

std::string job_feed(std::span<const JobRecord> jobs, std::string_view jobs_url,
                     std::string_view query, std::int64_t now_ms) {
    const std::string tail = query.empty() ? std::string() : "?" + std::string(query);
    const std::string url = std::string(jobs_url) + tail;
    std::string out = "<feed xmlns=\"" + std::string(atom_namespace) + "\">";
    append_head(out, url, "Jobs");
    append_element(out, "updated", iso_seconds(now_ms));
    append_link(out, url);
    for (const auto& job : jobs) out += job_entry(job, std::string(jobs_url) + "/" + job.id + tail);
    return out + "</feed>";
}

}  // namespace hub
