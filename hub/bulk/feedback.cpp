// Tested by tests/hub_feedback_test.cpp.
//
// The queue is bounded in results; what does not fit is dropped and counted, because a fan-out
// must never wait for this disk. The thread writes one send after the other, and once an hour
// removes files by age and by size. A document is appended as a whole or cut off again, so a
// reader never meets half of one. stop() writes what is queued.

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
#include <map>
#include <mutex>
#include <thread>

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
    std::vector<DeviceResult> results;
};

}  // namespace

void append_feedback(std::string& out, const DeviceResult& result, std::string_view send_id) {
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
    out += "</PnsFeedback>\n";
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

struct Feedback::Impl {
    Impl(const Blobs& area, const pns::Clock& given_clock, const Settings& given)
        : blobs(area), clock(given_clock), settings(given) {}

    void run();
    void sweep(std::int64_t now);
    void write(const Job& job);
    void append_channels(const Job& job, const std::string& text);
    bool append(const BlobPlace& place, std::string_view text, std::uint64_t bytes_max);
    std::string file_name(const BlobPlace& hub, std::size_t bytes);
    void sweep_container(const fs::path& folder, std::int64_t now);

    const Blobs& blobs;
    const pns::Clock& clock;
    const Settings settings;
    mutable std::mutex mutex;
    std::condition_variable changed;
    std::deque<Job> queue;
    bool busy = false;
    std::string writing;  // the send at work
    bool stopping = false;
    Figures figures;  // under the mutex
    std::map<std::string, std::pair<std::string, unsigned>>
        files;  // hub -> day, number; writer only
    std::thread thread;
};

Feedback::Feedback(const Blobs& blobs, const pns::Clock& clock, const Settings& settings)
    : impl_(std::make_unique<Impl>(blobs, clock, settings)) {
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
    if (impl_->stopping || figures.queued + results.size() > impl_->settings.queue_results_max) {
        figures.dropped += results.size();
        return;
    }
    figures.queued += results.size();
    BlobPlace place;
    place.hub_number = hub_number;
    place.hub = lower(hub);
    impl_->queue.push_back({std::move(place), std::string(send_id), std::move(results)});
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
        return impl_->writing != send_id &&
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

Feedback::Figures Feedback::figures() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->figures;
}

void Feedback::Impl::run() {
    std::int64_t sweep_at_ms = clock.steady_ms();
    std::unique_lock lock(mutex);
    for (;;) {
        const std::chrono::milliseconds left(
            std::max<std::int64_t>(0, sweep_at_ms - clock.steady_ms()));
        changed.wait_for(lock, left, [this] { return stopping || !queue.empty(); });
        if (!queue.empty()) {
            const Job job = std::move(queue.front());
            queue.pop_front();
            busy = true;
            writing = job.send_id;
            lock.unlock();
            write(job);
            lock.lock();
            busy = false;
            writing.clear();
            figures.queued -= job.results.size();
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
        for (const char* container : {"feedback", "errors"})
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
        const auto size = static_cast<std::uint64_t>(info.st_size);
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

void Feedback::Impl::write(const Job& job) {
    std::string channels;
    std::string failures;
    std::size_t cut = 0;
    for (const auto& result : job.results) {
        if (concerns_channel(result)) append_feedback(channels, result, job.send_id);
        if (!is_failure(result.outcome)) continue;
        if (failures.size() < settings.details_bytes_max) {
            append_feedback(failures, result, job.send_id);
        } else {
            ++cut;
        }
    }
    bool written = true;
    if (!failures.empty()) {
        BlobPlace place = job.container;
        place.container = "errors";
        place.name = error_details_name(job.send_id);
        written = append(place, failures, settings.details_bytes_max + failures.size());
    }
    if (!channels.empty()) append_channels(job, channels);
    const std::lock_guard lock(mutex);
    figures.written += written ? job.results.size() - cut : 0;
    figures.dropped += written ? cut : job.results.size();
}

/// Whole lines go to files of at most file_bytes_max each, so that a reader of a file never sees
/// half a document.
void Feedback::Impl::append_channels(const Job& job, const std::string& text) {
    std::string_view rest = text;
    while (!rest.empty()) {
        std::size_t take = rest.size();
        if (take > settings.file_bytes_max) {
            const auto end = rest.rfind('\n', settings.file_bytes_max - 1);
            take = (end == std::string_view::npos ? rest.find('\n') : end) + 1;
        }
        BlobPlace place = job.container;
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
