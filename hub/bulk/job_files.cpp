// Tested by tests/hub_jobs_test.cpp.

#include "hub/bulk/job_files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/text/text.hpp"
#include "registry/durable.hpp"

namespace hub {

namespace {

BlobPlace place_of(const JobRecord& job, const std::string& container, std::string name) {
    BlobPlace place;
    place.hub_number = job.hub_number;
    place.hub = lower(job.hub);
    place.container = container;
    place.name = std::move(name);
    return place;
}

}  // namespace

BlobClient::Settings blob_client_settings(const Config& config) {
    BlobClient::Settings settings;
    settings.ca_file = config.provider_ca_file;
    settings.connect_to = config.connect_to;
    settings.hosts = config.jobs_external_hosts;
    return settings;
}

JobInput::JobInput(const JobTools& tools, JobRecord& job, const std::atomic<bool>& stop)
    : tools_(tools), job_(job), stop_(stop) {}

bool JobInput::open() {
    if (!job_.import_container.empty()) {
        file_ = tools_.blobs.open(place_of(job_, job_.import_container, job_.import_name));
        if (!file_) {
            why_ = "The import file does not exist.";
            return false;
        }
        job_.input_bytes = file_->facts().bytes;
        return true;
    }
    auto url = parse_blob_url(job_.import_file_uri);
    if (!ok(url)) {
        why_ = std::get<Refusal>(url).message;
        return false;
    }
    url_ = std::get<BlobUrl>(std::move(url));
    if (!is_allowed_host(url_, tools_.config.jobs_external_hosts)) {
        why_ = "The host " + url_.host + " is not allowed for jobs.";
        return false;
    }
    client_.emplace(tools_.clock, blob_client_settings(tools_.config), stop_);
    return true;
}

boost::system::result<std::string> JobInput::read(std::uint64_t offset) {
    const auto failed = boost::system::errc::make_error_code(boost::system::errc::io_error);
    if (file_) {
        auto bytes = file_->read(offset, BlobClient::piece_bytes);
        if (bytes) return std::move(*bytes);
        why_ = "The import file cannot be read.";
        return failed;
    }
    auto got = client_->get(url_, offset, job_.input_etag);
    if (!ok(got)) {
        why_ = "The import file cannot be read: " + std::get<Refusal>(got).message;
        return failed;
    }
    auto& piece = std::get<BlobClient::Piece>(got);
    if (piece.total > 0) job_.input_bytes = piece.total;
    if (job_.input_etag.empty() && piece.etag.starts_with('"')) job_.input_etag = piece.etag;
    return std::move(piece.bytes);
}

JobOutput::JobOutput(const JobTools& tools, const JobRecord& job, std::string_view name)
    : tools_(tools), job_(job), name_(name) {}

JobOutput::~JobOutput() {
    if (file_ >= 0) ::close(file_);
}

std::filesystem::path JobOutput::spool() const {
    return tools_.spool / (job_.id + '.' + name_);
}

bool JobOutput::open(std::uint64_t bytes) {
    if (job_.output_container.empty()) {
        file_ = ::open(spool().c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    } else {
        const auto name = Blobs::blob_name(job_.output_folder + '/' + name_);
        if (!ok(name)) return false;
        const auto place = place_of(job_, job_.output_container, std::get<std::string>(name));
        hold_.emplace(tools_.blobs.room().of(place.hub));
        if (!tools_.blobs.exists(place) && !take(BlobRoom::file_bytes)) return false;
        file_ = tools_.blobs.open_for_append(place);
    }
    struct stat info {};
    if (file_ < 0 || ::fstat(file_, &info) != 0) return false;
    const auto size = static_cast<std::uint64_t>(info.st_size);
    if (size < bytes) return false;
    bytes_ = bytes;
    if (::ftruncate(file_, static_cast<off_t>(bytes)) != 0) return false;
    if (hold_) hold_->cut(size - bytes);
    return true;
}

bool JobOutput::take(std::uint64_t bytes) {
    if (hold_) {
        full_ = !hold_->take(bytes);
        if (!full_) hold_->keep();
    } else {
        full_ = bytes_ + bytes > tools_.blobs.room().bytes_max();
    }
    return !full_;
}

bool JobOutput::write(std::string_view rows) {
    if (!take(rows.size())) return false;
    bytes_ += rows.size();
    return registry::write_fully(file_, rows);
}

bool JobOutput::sync() {
    return ::fdatasync(file_) == 0;
}

Parsed<bool> JobOutput::deliver(const std::atomic<bool>& stop) {
    if (!job_.output_container.empty()) return true;
    auto container = parse_blob_url(job_.output_container_uri);
    if (!ok(container)) return std::get<Refusal>(std::move(container));
    const auto& url = std::get<BlobUrl>(container);
    if (!is_allowed_host(url, tools_.config.jobs_external_hosts))
        return Refusal{400, "The host " + url.host + " is not allowed for jobs."};
    BlobClient client(tools_.clock, blob_client_settings(tools_.config), stop);
    auto sent = client.put(blob_in(url, job_.output_folder + '/' + name_), spool());
    if (ok(sent)) ::unlink(spool().c_str());
    return sent;
}

}  // namespace hub
