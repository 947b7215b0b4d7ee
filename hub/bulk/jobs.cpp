// Tested by tests/hub_jobs_test.cpp.
//
// All jobs are in one map under one mutex. `jobs_running_max` threads each take the oldest open
// job of a hub that has none at work (hubs take turns), run it with run_job() to its end or to the
// end of its turn, and write its record at every checkpoint. A record is on disk before submit()
// returns. The mutex is never held while a job works or a file is written by one. forget_hub()
// waits until no thread works for that hub.

#include "hub/bulk/jobs.hpp"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "hub/process/log.hpp"
#include "hub/process/private_file.hpp"

namespace hub {

namespace fs = std::filesystem;

struct Jobs::Impl {
    /// One job; lives on while its thread works on it.
    struct Entry {
        JobRecord record;
        std::atomic<bool> stop = false;
        bool forgotten = false;
    };

    Impl(registry::Registry& registry, const Blobs& blobs, const Hubs& hubs, const Config& config,
         const pns::Clock& clock, fs::path folder)
        : tools{registry, blobs, hubs, config, clock, folder}, directory(std::move(folder)) {}

    fs::path file_of(const JobRecord& job) const { return directory / (job.id + ".json"); }
    void load();
    void work();
    std::shared_ptr<Entry> next();
    void run(Entry& entry);
    void trim(std::uint32_t hub);
    void remove_files(const JobRecord& job) const;
    void remove_spool(const JobRecord& job) const;

    const JobTools tools;
    const fs::path directory;
    mutable std::mutex mutex;
    std::condition_variable changed;
    std::map<std::string, std::shared_ptr<Entry>, std::greater<>> entries;  // oldest first: by id
    std::set<std::uint32_t> busy;                                           // hubs
    std::map<std::uint32_t, std::uint64_t> turns_had;  // by hub: when it had its last turn
    std::uint64_t turns = 0;
    std::atomic<bool> somebody_waits = false;  // next() has one, and no thread is free for it
    std::uint64_t lines = 0;                   // of jobs that have ended here
    bool stopping = false;
    std::vector<std::thread> threads;
};

Jobs::Jobs(registry::Registry& registry, const Blobs& blobs, const Hubs& hubs, const Config& config,
           const pns::Clock& clock, fs::path folder)
    : impl_(std::make_unique<Impl>(registry, blobs, hubs, config, clock, std::move(folder))) {
    impl_->load();
}

Jobs::~Jobs() {
    stop();
}

void Jobs::Impl::load() {
    fs::create_directories(directory);
    fs::permissions(directory, fs::perms::owner_all);
    for (const auto& file : fs::directory_iterator(directory)) {
        if (file.path().extension() != ".json") continue;
        auto read = read_job_json(read_small_file(file.path()));
        if (!ok(read)) {
            throw std::runtime_error(file.path().string() + " cannot be read as a job: " +
                                     std::get<Refusal>(read).message +
                                     " Remove it to go on without it.");
        }
        auto entry = std::make_shared<Entry>();
        entry->record = std::get<JobRecord>(std::move(read));
        if (!tools.hubs.find(entry->record.hub_number)) {
            remove_files(entry->record);
            continue;
        }
        entries.emplace(entry->record.id, std::move(entry));
    }
}

void Jobs::Impl::remove_files(const JobRecord& job) const {
    std::error_code ignored;
    fs::remove(directory / (job.id + ".json"), ignored);
    remove_spool(job);
}

/// Output that was to go to another service.
void Jobs::Impl::remove_spool(const JobRecord& job) const {
    std::error_code ignored;
    for (const char* end : {".Output.txt", ".Failed.txt"})
        fs::remove(directory / (job.id + end), ignored);
}

void Jobs::start() {
    const std::lock_guard lock(impl_->mutex);
    for (const auto& [id, entry] : impl_->entries) {
        if (is_final(entry->record.status)) continue;
        log_info("a job goes on", {{"job", id}, {"line", std::to_string(entry->record.line)}});
    }
    for (unsigned i = 0; i < impl_->tools.config.jobs_running_max; ++i)
        impl_->threads.emplace_back([impl = impl_.get()] { impl->work(); });
}

bool Jobs::submit(JobRecord job) {
    const auto file = impl_->file_of(job);
    auto entry = std::make_shared<Impl::Entry>();
    entry->record = std::move(job);
    const JobRecord& record = entry->record;
    {
        const std::lock_guard lock(impl_->mutex);
        std::size_t open = 0;
        for (const auto& [id, other] : impl_->entries) {
            open +=
                other->record.hub_number == record.hub_number && !is_final(other->record.status);
        }
        if (open >= open_max) return false;
    }
    write_private_file(file, job_json(record));
    const std::lock_guard lock(impl_->mutex);
    impl_->trim(record.hub_number);
    impl_->entries.emplace(record.id, std::move(entry));
    impl_->somebody_waits = impl_->next() != nullptr;
    impl_->changed.notify_all();
    return true;
}

/// Forgets the oldest of too many jobs that have ended. Under the mutex.
void Jobs::Impl::trim(std::uint32_t hub) {
    std::size_t ended = 0;
    for (const auto& [id, entry] : entries)
        ended += entry->record.hub_number == hub && is_final(entry->record.status);
    for (auto it = entries.begin(); it != entries.end() && ended > kept_max;) {
        const auto& record = it->second->record;
        if (record.hub_number == hub && is_final(record.status)) {
            remove_files(record);
            it = entries.erase(it);
            --ended;
        } else {
            ++it;
        }
    }
}

std::optional<JobRecord> Jobs::find(std::uint32_t hub_number, std::string_view id) const {
    const std::lock_guard lock(impl_->mutex);
    const auto found = impl_->entries.find(std::string(id));
    if (found == impl_->entries.end() || found->second->record.hub_number != hub_number)
        return std::nullopt;
    return found->second->record;
}

std::vector<JobRecord> Jobs::list(std::uint32_t hub_number) const {
    const std::lock_guard lock(impl_->mutex);
    std::vector<JobRecord> jobs;
    for (auto it = impl_->entries.rbegin(); it != impl_->entries.rend(); ++it) {
        if (it->second->record.hub_number == hub_number) jobs.push_back(it->second->record);
    }
    return jobs;
}

void Jobs::forget_hub(std::uint32_t hub_number) {
    std::unique_lock lock(impl_->mutex);
    for (auto it = impl_->entries.begin(); it != impl_->entries.end();) {
        auto& entry = *it->second;
        if (entry.record.hub_number != hub_number) {
            ++it;
            continue;
        }
        entry.forgotten = true;
        entry.stop = true;
        impl_->remove_files(entry.record);
        it = impl_->entries.erase(it);
    }
    impl_->changed.wait(lock, [&] { return !impl_->busy.contains(hub_number); });
    impl_->turns_had.erase(hub_number);
}

void Jobs::stop() {
    {
        const std::lock_guard lock(impl_->mutex);
        impl_->stopping = true;
        for (auto& [id, entry] : impl_->entries) entry->stop = true;
        impl_->changed.notify_all();
    }
    for (auto& thread : impl_->threads) thread.join();
    impl_->threads.clear();
}

Jobs::Figures Jobs::figures() const {
    const std::lock_guard lock(impl_->mutex);
    Figures figures;
    figures.lines = impl_->lines;
    figures.running = impl_->busy.size();
    for (const auto& [id, entry] : impl_->entries) {
        if (is_final(entry->record.status)) continue;
        ++figures.waiting;
        figures.lines += entry->record.line;
    }
    figures.waiting -= std::min(figures.waiting, figures.running);
    return figures;
}

/// The oldest open job of the hub whose last turn is the longest ago, of those that have none at
/// work. Under the mutex.
std::shared_ptr<Jobs::Impl::Entry> Jobs::Impl::next() {
    std::shared_ptr<Entry> best;
    std::uint64_t best_turn = 0;
    for (const auto& [id, entry] : entries) {
        const std::uint32_t hub = entry->record.hub_number;
        if (is_final(entry->record.status) || entry->stop || busy.contains(hub)) continue;
        const auto had = turns_had.find(hub);
        const std::uint64_t turn = had == turns_had.end() ? 0 : had->second;
        if (best != nullptr && turn >= best_turn) continue;
        best = entry;
        best_turn = turn;
    }
    return best;
}

void Jobs::Impl::work() {
    // Writing to another service that has hung up must fail, not end the process.
    sigset_t broken_pipe;
    ::sigemptyset(&broken_pipe);
    ::sigaddset(&broken_pipe, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
    std::unique_lock lock(mutex);
    for (;;) {
        std::shared_ptr<Entry> entry;
        changed.wait(lock, [&] { return stopping || (entry = next()) != nullptr; });
        if (stopping) return;
        const std::uint32_t hub = entry->record.hub_number;
        busy.insert(hub);
        turns_had[hub] = ++turns;
        somebody_waits = next() != nullptr;
        lock.unlock();
        run(*entry);
        lock.lock();
        busy.erase(hub);
        somebody_waits = next() != nullptr;
        changed.notify_all();
    }
}

void Jobs::Impl::run(Entry& entry) {
    JobRecord begun;
    {
        const std::lock_guard lock(mutex);
        begun = entry.record;
    }
    log_info(
        "a job runs",
        {{"job", begun.id}, {"hub", begun.hub}, {"type", std::string(job_type_name(begun.type))}});
    JobCalls calls;
    calls.show = [&](const JobRecord& record) {
        const std::lock_guard lock(mutex);
        entry.record = record;
        entry.record.status = JobStatus::running;  // the end is told when it is on disk
    };
    calls.keep = [&](const JobRecord& record) {
        {
            const std::lock_guard lock(mutex);
            if (entry.forgotten) return;
        }
        write_private_file(file_of(record), job_json(record));
        calls.show(record);
    };
    const std::int64_t since_ms = tools.clock.steady_ms();
    calls.turn_over = [this, since_ms] {
        return somebody_waits && tools.clock.steady_ms() - since_ms >= tools.config.jobs_turn_ms;
    };
    JobRecord ended = run_job(tools, std::move(begun), entry.stop, calls);
    const std::lock_guard lock(mutex);
    if (entry.forgotten) {
        remove_files(ended);
        return;
    }
    if (is_final(ended.status)) {
        log_info("a job has ended", {{"job", ended.id},
                                     {"status", std::string(job_status_name(ended.status))},
                                     {"succeeded", std::to_string(ended.succeeded)},
                                     {"rejected", std::to_string(ended.rejected)},
                                     {"failure", ended.failure}});
        lines += ended.line;
        remove_spool(ended);
    }
    entry.record = std::move(ended);
}

}  // namespace hub
