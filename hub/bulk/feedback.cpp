// Tested by tests/hub_feedback_test.cpp.
//
// The queue is bounded in results; what does not fit is dropped and counted, because a fan-out
// must never wait for this disk. The thread takes what waits, up to a bound, and writes it with one
// sync of the details and one of each hub's feedback; once an hour it removes files by age and by
// size. A document is appended as a whole or cut off again, so a reader never meets half of one.
// stop() writes what is queued.

#include "hub/bulk/feedback.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "hub/bulk/job_lines.hpp"
#include "hub/process/log.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "hub/text/xml.hpp"
#include "pns/clock.hpp"
#include "registry/durable.hpp"

namespace hub {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t sweep_every_ms = 3'600'000;
constexpr std::size_t together_results_max = 10'000;  // written at once, but for a single send
constexpr std::string_view open_tag =
    "<PnsFeedback xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\" "
    "xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\">";

void append_line(std::string& out, std::string_view name, std::string_view text) {
    std::string element;
    append_element(element, name, text);
    out += one_line(element);
}

void append_present(std::string& out, std::string_view name, std::string_view text) {
    if (!text.empty()) append_line(out, name, text);
}

/// Names of .NET's PnsError only: a replaced handle that was accepted has none of its own.
std::string_view error_name(const DeviceResult& result) {
    if (!result.new_handle.empty() && !is_failure(result.outcome)) return "RefreshToken";
    if (result.outcome == pns::Outcome::unknown) return "UnknownError";
    return pns::outcome_name(result.outcome);
}

struct Job {
    BlobPlace container;  // without its container's name
    std::string send_id;
    std::int64_t at_ms = 0;
    std::vector<DeviceResult> results;
    Shares::Place place;
};

BlobFacts facts_of(const registry::DetailsEntry& entry) {
    BlobFacts facts;
    facts.name = entry.name;
    facts.bytes = entry.head.bytes;
    facts.modified_ms = entry.head.at_ms;
    std::array<char, 48> etag{};
    std::snprintf(etag.data(), etag.size(), "\"0x%llX%llX\"",
                  static_cast<unsigned long long>(entry.head.at_ms),
                  static_cast<unsigned long long>(entry.head.bytes));
    facts.etag = etag.data();
    return facts;
}

void append_document(std::string& out, const DeviceResult& result, std::string_view send_id,
                     std::string_view reason) {
    const auto* platform = pns::platform_by_name(result.platform);
    out += open_tag;
    append_element(out, "FeedbackTime", iso_ms(result.at_ms));
    append_element(out, "NotificationSystemError", error_name(result));
    append_element(out, "Platform",
                   platform != nullptr ? platform->format : std::string_view(result.platform));
    append_line(out, "PnsHandle", result.handle);
    append_present(out, "RegistrationId", result.registration_id);
    append_present(out, "InstallationId", result.installation_id);
    append_present(out, "NotificationId", send_id);
    append_present(out, "NewPnsHandle", result.new_handle);
    append_present(out, "Reason", reason);
    out += "</PnsFeedback>\n";
}

}  // namespace

void append_feedback(std::string& out, const DeviceResult& result, std::string_view send_id) {
    append_document(out, result, send_id, {});
}

void append_failure(std::string& out, const DeviceResult& result, std::string_view send_id) {
    append_document(out, result, send_id, result.reason);
}

bool concerns_channel(const DeviceResult& result) {
    using pns::Outcome;
    constexpr std::array channel{Outcome::bad_channel,   Outcome::expired_channel,
                                 Outcome::wrong_channel, Outcome::invalid_token,
                                 Outcome::wrong_token,   Outcome::refresh_token};
    return !result.new_handle.empty() ||
           std::find(channel.begin(), channel.end(), result.outcome) != channel.end();
}

std::string feedback_day(std::int64_t time_ms) {
    const std::string iso = iso_seconds(time_ms);  // 2026-11-21T...
    return iso.substr(5, 2) + iso.substr(8, 2) + iso.substr(0, 4);
}

std::string error_details_name(std::string_view send_id) {
    return std::string(send_id) + ".xml";
}

std::string_view send_of_details(std::string_view blob_name) {
    return blob_name.substr(0, blob_name.rfind('.'));
}

struct Feedback::Impl {
    Impl(const Blobs& area, registry::TraceStore& store, const pns::Clock& given_clock,
         const Settings& given)
        : blobs(area),
          errors(store),
          clock(given_clock),
          settings(given),
          places(
              "feedback", "results of devices that wait to be written",
              [most = given.queue_results_max]() -> std::uint64_t { return most; },
              given.share_rule) {}

    void run();
    void sweep(std::int64_t now);
    std::vector<Job> take();
    void write(const std::vector<Job>& jobs);
    void append_channels(const BlobPlace& hub, const std::string& text);
    bool append(const BlobPlace& place, std::string_view text, std::uint64_t bytes_max);
    std::string file_name(const BlobPlace& hub, std::size_t bytes);
    void sweep_container(const fs::path& folder, std::int64_t now);

    const Blobs& blobs;
    registry::TraceStore& errors;
    const pns::Clock& clock;
    const Settings settings;
    Shares places;
    mutable std::mutex mutex;
    std::condition_variable changed;
    std::deque<Job> queue;
    bool busy = false;
    std::set<std::string, std::less<>> writing;  // the sends at work
    bool failing = false;                        // writer only: the last details were not written
    bool stopping = false;
    Figures figures;  // under the mutex
    std::map<std::string, std::pair<std::string, unsigned>>
        files;  // hub -> day, number; writer only
    std::thread thread;
};

Feedback::Feedback(const Blobs& blobs, registry::TraceStore& errors, const pns::Clock& clock,
                   const Settings& settings)
    : impl_(std::make_unique<Impl>(blobs, errors, clock, settings)) {
    impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
}

Feedback::~Feedback() {
    stop();
}

void Feedback::ended(std::uint32_t hub_number, std::string_view hub, std::string_view send_id,
                     std::vector<DeviceResult> results) {
    if (results.empty()) return;
    const std::lock_guard lock(impl_->mutex);
    auto& figures = impl_->figures;
    Shares::Place room = impl_->places.take(hub_number, results.size());
    if (impl_->stopping || room.count() < results.size()) {
        figures.dropped += results.size();
        return;
    }
    figures.queued += results.size();
    BlobPlace place;
    place.hub_number = hub_number;
    place.hub = lower(hub);
    impl_->queue.push_back({std::move(place), std::string(send_id), impl_->clock.wall_ms(),
                            std::move(results), std::move(room)});
    impl_->changed.notify_all();
}

void Feedback::flush() {
    std::unique_lock lock(impl_->mutex);
    impl_->changed.wait(lock, [this] { return impl_->queue.empty() && !impl_->busy; });
}

void Feedback::flush(std::string_view send_id) {
    std::unique_lock lock(impl_->mutex);
    impl_->changed.wait(lock, [&] {
        const auto& queue = impl_->queue;
        return !impl_->writing.contains(send_id) &&
               std::none_of(queue.begin(), queue.end(),
                            [&](const Job& job) { return job.send_id == send_id; });
    });
}

void Feedback::stop() {
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
        impl_->changed.notify_all();
    }
    if (impl_->thread.joinable()) impl_->thread.join();
}

const Shares& Feedback::places() const {
    return impl_->places;
}

Feedback::Figures Feedback::figures() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->figures;
}

bool Feedback::has_details(const BlobPlace& place) const {
    const auto now_ms = impl_->clock.wall_ms();
    return impl_->errors.details(place.hub_number, place.name, now_ms).has_value() ||
           impl_->blobs.exists(place);
}

std::optional<BlobFile> Feedback::open_details(const BlobPlace& place) const {
    const auto head = impl_->errors.details(place.hub_number, place.name, impl_->clock.wall_ms());
    if (!head) return impl_->blobs.open(place);
    auto read = [errors = &impl_->errors, place](std::uint64_t offset,
                                                 std::size_t bytes) -> std::optional<std::string> {
        auto text = errors->read_details(place.hub_number, place.name, offset, bytes);
        if (!text) return std::nullopt;
        return std::move(*text);
    };
    return BlobFile(BlobFile::Read(std::move(read)), facts_of({place.name, *head}));
}

BlobPage Feedback::list_details(const BlobPlace& container, std::string_view prefix,
                                std::string_view after, std::size_t count_max) const {
    BlobPage page = impl_->blobs.list(container, prefix, after, count_max);
    const bool more_files = !page.next.empty();
    const auto packed = impl_->errors.list_details(container.hub_number, prefix, after,
                                                   count_max + 1, impl_->clock.wall_ms());
    if (packed) {
        for (const auto& entry : *packed) page.blobs.push_back(facts_of(entry));
    }
    const auto by_name = [](const BlobFacts& a, const BlobFacts& b) { return a.name < b.name; };
    std::sort(page.blobs.begin(), page.blobs.end(), by_name);
    const bool more = more_files || page.blobs.size() > count_max;
    if (page.blobs.size() > count_max) page.blobs.resize(count_max);
    page.next = more && !page.blobs.empty() ? page.blobs.back().name : std::string();
    return page;
}

void Feedback::Impl::run() {
    std::int64_t sweep_at_ms = clock.steady_ms();
    std::unique_lock lock(mutex);
    for (;;) {
        const std::chrono::milliseconds left(
            std::max<std::int64_t>(0, sweep_at_ms - clock.steady_ms()));
        changed.wait_for(lock, left, [this] { return stopping || !queue.empty(); });
        if (!queue.empty()) {
            const std::vector<Job> jobs = take();
            busy = true;
            lock.unlock();
            write(jobs);
            lock.lock();
            busy = false;
            writing.clear();
            for (const Job& job : jobs) figures.queued -= job.results.size();
            changed.notify_all();
            continue;
        }
        if (stopping) return;
        if (clock.steady_ms() < sweep_at_ms) continue;
        sweep_at_ms = clock.steady_ms() + sweep_every_ms;
        busy = true;
        lock.unlock();
        sweep(clock.wall_ms());
        lock.lock();
        busy = false;
        changed.notify_all();
    }
}

void Feedback::sweep(std::int64_t now) {
    impl_->sweep(now);
}

void Feedback::Impl::sweep(std::int64_t now) {
    std::error_code failure;
    for (const auto& hub : fs::directory_iterator(blobs.root(), failure)) {
        for (const char* container : {"feedback", "errors"})  // files of older versions
            sweep_container(hub.path() / container, now);
    }
}

void Feedback::Impl::sweep_container(const fs::path& folder, std::int64_t now) {
    struct Kept {
        std::int64_t modified_ms;
        std::uint64_t bytes;
        fs::path path;
    };
    std::vector<Kept> kept;
    std::uint64_t bytes = 0;
    std::error_code failure;
    for (const auto& entry : fs::directory_iterator(folder, failure)) {
        struct stat info {};
        if (::lstat(entry.path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
        const auto modified = info.st_mtim.tv_sec * 1'000 + info.st_mtim.tv_nsec / 1'000'000;
        const auto size = static_cast<std::uint64_t>(info.st_blocks) * 512;  // what it takes
        bytes += size;
        kept.push_back({modified, size, entry.path()});
    }
    std::sort(kept.begin(), kept.end(),
              [](const Kept& a, const Kept& b) { return a.modified_ms < b.modified_ms; });
    for (const auto& file : kept) {
        if (file.modified_ms > now - settings.kept_ms && bytes <= settings.kept_bytes_max) break;
        fs::remove(file.path, failure);
        bytes -= file.bytes;
    }
}

/// What waits, as much as is written at once; under the mutex.
std::vector<Job> Feedback::Impl::take() {
    std::vector<Job> jobs;
    std::size_t results = 0;
    while (!queue.empty() &&
           (jobs.empty() || results + queue.front().results.size() <= together_results_max)) {
        results += queue.front().results.size();
        writing.insert(queue.front().send_id);
        jobs.push_back(std::move(queue.front()));
        queue.pop_front();
    }
    return jobs;
}

void Feedback::Impl::write(const std::vector<Job>& jobs) {
    std::map<std::string, std::pair<BlobPlace, std::string>> channels;  // by hub
    std::vector<registry::NewDetails> details;
    std::size_t kept = 0, cut = 0;
    for (const Job& job : jobs) {
        auto& [place, dead] = channels[job.container.hub];
        place = job.container;
        std::string failures;
        for (const auto& result : job.results) {
            if (concerns_channel(result)) append_feedback(dead, result, job.send_id);
            if (is_failure(result.outcome) && failures.size() >= settings.details_bytes_max) {
                ++cut;
                continue;
            }
            ++kept;
            if (is_failure(result.outcome)) append_failure(failures, result, job.send_id);
        }
        if (failures.empty()) continue;
        details.push_back({job.container.hub_number, error_details_name(job.send_id), job.at_ms,
                           std::move(failures)});
    }
    bool written = true;
    if (!details.empty()) {
        const auto done = errors.write_details(details);
        written = done.has_value();
        if (!written && !failing)
            log_error("cannot write error details", {{"what", done.error().message()}});
        failing = !written;
    }
    for (const auto& [hub, text] : channels) {
        if (!text.second.empty()) append_channels(text.first, text.second);
    }
    const std::lock_guard lock(mutex);
    figures.written += written ? kept : 0;
    figures.dropped += written ? cut : kept + cut;
}

/// Whole lines go to files of at most file_bytes_max each, so that a reader of a file never sees
/// half a document.
void Feedback::Impl::append_channels(const BlobPlace& hub, const std::string& text) {
    std::string_view rest = text;
    while (!rest.empty()) {
        std::size_t take = rest.size();
        if (take > settings.file_bytes_max) {
            const auto end = rest.rfind('\n', settings.file_bytes_max - 1);
            take = (end == std::string_view::npos ? rest.find('\n') : end) + 1;
        }
        BlobPlace place = hub;
        place.container = "feedback";
        place.name = file_name(place, take);
        append(place, rest.substr(0, take), settings.file_bytes_max + take);
        rest.remove_prefix(take);
    }
}

/// The file of today that has room for `bytes` more.
std::string Feedback::Impl::file_name(const BlobPlace& hub, std::size_t bytes) {
    const std::string day = feedback_day(clock.wall_ms());
    auto& [known_day, number] = files[hub.hub];
    if (known_day != day) {
        known_day = day;
        number = 1;
    }
    for (;; ++number) {
        std::array<char, 16> digits{};
        std::snprintf(digits.data(), digits.size(), "-%04u.xml", number);
        BlobPlace place = hub;
        place.name = day + digits.data();
        const auto file = blobs.open(place);
        if (!file || file->facts().bytes + bytes <= settings.file_bytes_max) return place.name;
    }
}

bool Feedback::Impl::append(const BlobPlace& place, std::string_view text,
                            std::uint64_t bytes_max) {
    const int file = blobs.open_for_append(place);
    struct stat info {};
    bool written = file >= 0 && ::fstat(file, &info) == 0;
    written = written && static_cast<std::uint64_t>(info.st_size) + text.size() <= bytes_max;
    if (written && !registry::write_fully(file, text)) {
        // Half a document would spoil the file for its readers.
        const bool undone = ::ftruncate(file, info.st_size) == 0;
        log_error("cannot write feedback",
                  {{"container", place.container}, {"undone", undone ? "yes" : "no"}});
        written = false;
    }
    if (written) written = ::fdatasync(file) == 0;
    if (file >= 0) ::close(file);
    return written;
}

}  // namespace hub
