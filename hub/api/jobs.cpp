// Bulk jobs and the containers they and feedback live in (docs/contracts/anh.md 6.3, 9). Tested by
// tests/hub_jobs_test.cpp.
//
// post_job() checks where the input and the output lie: in the hub's own blob area, or at a host
// that the operator named. The job's id is written before the job, so a client that repeats its
// request after a crash finds the same job. The work itself is in hub/bulk/. The rest hands out
// signed URLs of containers; signing never touches the disk.

#include <algorithm>

#include "hub/api/handlers.hpp"
#include "hub/api/idempotency.hpp"
#include "hub/api/parts.hpp"
#include "hub/bulk/blob_client.hpp"
#include "hub/bulk/blobs.hpp"
#include "hub/bulk/feedback.hpp"
#include "hub/bulk/job_xml.hpp"
#include "hub/bulk/jobs.hpp"
#include "hub/device/atom.hpp"
#include "hub/http/http.hpp"
#include "hub/http/responses.hpp"
#include "hub/text/text.hpp"

namespace hub {

namespace {

std::string jobs_url(const Call& call) {
    return "https://" + call.request.host + "/" + call.hub->row.name + "/jobs";
}

BlobPlace container_of(const Call& call, std::string_view container) {
    BlobPlace place;
    place.hub_number = call.hub->row.number;
    place.hub = lower(call.hub->row.name);
    place.container = container;
    return place;
}

/// Does the URL lead into this hub's own blob area? Then `place` says where.
bool is_own(const Call& call, const BlobUrl& url, BlobPlace& place, bool& another_hub) {
    const auto names_us = [&](const std::string& host) {
        std::string name = lower(host);
        if (const auto colon = name.rfind(':');
            colon != std::string::npos && name.find(']', colon) == std::string::npos) {
            name.resize(colon);
        }
        return name == url.host;
    };
    const auto& hosts = call.parts.config.host_names;
    if (!names_us(call.request.host) && !std::any_of(hosts.begin(), hosts.end(), names_us))
        return false;
    Request parsed;
    parsed.host = url.host;
    parsed.target = url.path;
    if (!parse_target(parsed) || parsed.segments.size() < 3 ||
        !same_ignoring_case(parsed.segments[0], "$blobs")) {
        return false;
    }
    another_hub = !same_ignoring_case(parsed.segments[1], call.hub->row.name);
    place = container_of(call, lower(parsed.segments[2]));
    for (std::size_t i = 3; i < parsed.segments.size(); ++i) {
        if (i > 3) place.name += '/';
        place.name += parsed.segments[i];
    }
    return true;
}

/// Where the files of the job are; or why they cannot be there.
std::optional<Refusal> locate(const Call& call, JobRecord& job) {
    const auto look = [&](const std::string& text, BlobPlace& place,
                          bool& own) -> std::optional<Refusal> {
        auto url = parse_blob_url(text);
        if (!ok(url)) return std::get<Refusal>(std::move(url));
        bool another_hub = false;
        own = is_own(call, std::get<BlobUrl>(url), place, another_hub);
        if (own && another_hub) return bad_request("The URL names the blob area of another hub.");
        if (own && !Blobs::is_container(place.container))
            return bad_request("The blob area has the containers feedback, errors, jobs, uploads.");
        if (!own &&
            !is_allowed_host(std::get<BlobUrl>(url), call.parts.config.jobs_external_hosts)) {
            return bad_request("The host " + std::get<BlobUrl>(url).host +
                               " is not allowed for jobs: use the hub's own blob area or the "
                               "setting jobs_external_hosts.");
        }
        return std::nullopt;
    };
    BlobPlace output;
    bool own = false;
    if (auto refusal = look(job.output_container_uri, output, own)) return refusal;
    if (own) {
        if (!output.name.empty())
            return bad_request("OutputContainerUri must be the URL of a container.");
        if (output.container != "jobs" && output.container != "uploads")
            return bad_request("Jobs write into the containers jobs and uploads.");
        job.output_container = output.container;
    }
    if (job.type == JobType::export_registrations) return std::nullopt;
    BlobPlace import;
    if (auto refusal = look(job.import_file_uri, import, own)) return refusal;
    if (!own) return std::nullopt;
    auto name = Blobs::blob_name(import.name);
    if (!ok(name)) return std::get<Refusal>(std::move(name));
    import.name = std::get<std::string>(std::move(name));
    job.import_container = import.container;
    job.import_name = import.name;
    return std::nullopt;
}

Response entry(const Call& call, int status, const JobRecord& job) {
    const std::string query = version_query(call.request);
    const std::string tail = "/" + job.id + (query.empty() ? "" : "?" + query);
    const std::string url = jobs_url(call) + tail;
    Response response;
    response.status = status;
    response.headers.emplace_back("Content-Type", std::string(atom_entry_type));
    if (status == 201) {
        response.headers.emplace_back("Location", collection_url(call.request) + tail);
    } else {
        response.headers.emplace_back("Content-Location", url);
    }
    response.body = job_entry(job, url);
    return response;
}

}  // namespace

pns::Task<Response> post_job(Call call) {
    const Request& request = call.request;
    auto parsed = parse_job_request(request.body);
    if (!ok(parsed)) co_return refused(request, std::get<Refusal>(parsed));
    auto& wanted = std::get<JobRequest>(parsed);
    JobRecord job;
    // The id is on disk before the job is, so that a repeat after a crash finds the job.
    if (call.once != nullptr && !call.once->planned().empty()) {
        job.id = call.once->planned();
        if (auto begun = call.parts.jobs.find(call.hub->row.number, job.id))
            co_return entry(call, 201, *begun);
    } else {
        job.id = new_job_id(request.received_at_ms);
    }
    job.hub_number = call.hub->row.number;
    job.hub = call.hub->row.name;
    job.type = wanted.type;
    job.output_container_uri = std::move(wanted.output_container_uri);
    job.import_file_uri = std::move(wanted.import_file_uri);
    job.input_properties = std::move(wanted.input_properties);
    job.output_folder = call.parts.config.namespace_name + "//" + job.hub + "/" + job.id;
    job.created_at_ms = job.updated_at_ms = request.received_at_ms;
    if (auto refusal = locate(call, job)) co_return refused(request, *refusal);
    auto work = [&call, &job] {
        if (!job.import_container.empty()) {
            BlobPlace file = container_of(call, job.import_container);
            file.name = job.import_name;
            if (!call.parts.blobs.exists(file)) return 404;
        }
        return call.parts.jobs.submit(job) ? 201 : 429;
    };
    if (call.once != nullptr && call.once->planned().empty()) {
        auto plan = [&call, &job](registry::Done<void> done) {
            call.parts.registry.keep_answer(call.hub->row.number, call.once->plan(job.id),
                                            std::move(done));
        };
        const auto planned = co_await committed<void>(std::move(plan));
        if (!planned) co_return refused(request, planned.error(), "");
    }
    const int status = co_await on_store(call.parts.store, std::move(work));
    if (status == 404) co_return error(request, 400, "The import file does not exist.");
    if (status == 429) co_return busy(request, "Too many jobs of this hub are open.");
    co_return entry(call, 201, job);
}

pns::Task<Response> get_job(Call call) {
    const auto job = call.parts.jobs.find(call.hub->row.number, call.args.back());
    if (!job) co_return error(call.request, 404, "No job with this id is known.");
    co_return entry(call, 200, *job);
}

pns::Task<Response> list_jobs(Call call) {
    Response response;
    response.headers.emplace_back("Content-Type", std::string(atom_feed_type));
    // Some hundred jobs with their addresses: more than a lane should write.
    auto write = [&call] {
        return job_feed(call.parts.jobs.list(call.hub->row.number), jobs_url(call),
                        version_query(call.request), call.request.received_at_ms);
    };
    response.body = co_await on_store(call.parts.store, std::move(write));
    co_return response;
}

namespace {

Response container_url(const Call& call, std::string_view container, std::string_view rights) {
    const BlobPlace place = container_of(call, container);
    const std::int64_t until =
        call.request.received_at_ms + call.parts.config.blob_url_valid_s * 1'000;
    Response response;
    response.headers.emplace_back("Content-Type", "text/plain; charset=utf-8");
    response.body = "https://" + call.request.host + "/$blobs/" + place.hub + "/" +
                    place.container + "?" + call.parts.blobs.sign(place, rights, until);
    return response;
}

}  // namespace

pns::Task<std::string> error_details_url(const Call& call, const std::string& send_id) {
    std::string url;
    BlobPlace place = container_of(call, "errors");
    place.name = error_details_name(send_id);
    auto look = [&call, &place, &send_id] {
        call.parts.feedback.flush(send_id);
        return call.parts.feedback.has_details(place);
    };
    const bool there = co_await on_store(call.parts.store, std::move(look));
    if (!there) co_return url;
    url = "https://" + call.request.host + "/$blobs/" + place.hub + "/" + place.container + "/";
    append_percent_encoded(url, place.name);
    const std::int64_t until =
        call.request.received_at_ms + call.parts.config.blob_url_valid_s * 1'000;
    co_return url + "?" + call.parts.blobs.sign(place, "r", until);
}

pns::Task<Response> get_feedback_container(Call call) {
    co_return container_url(call, "feedback", "rl");
}

pns::Task<Response> get_blob_container(Call call) {
    const std::string name = lower(call.args.back());
    if (!Blobs::is_container(name)) {
        co_return error(call.request, 404,
                        "The blob area has the containers feedback, errors, jobs, uploads.");
    }
    const bool ours = name == "feedback" || name == "errors";
    co_return container_url(call, name, ours ? "rl" : "rwl");
}

}  // namespace hub
