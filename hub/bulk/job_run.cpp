// Tested by tests/hub_jobs_test.cpp.
//
// Run belongs to the thread that calls run_job(); only the answers of the registry come on the
// writer's thread, and these just fill in a batch and count. Import: read a batch of lines, submit
// it, and settle the batch before, so the writer always has one to work on. Rows are written in
// the order of lines. What an overloaded writer refuses is submitted again. Export walks the list
// of registrations page by page. Broken ends a job as Failed; a stop and the end of a turn end
// nothing: the record of the last checkpoint says where to go on. A delivery to another service
// would begin anew, so the end of a turn does not cut it.

#include "hub/bulk/job_run.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_set>

#include "hub/bulk/job_files.hpp"
#include "hub/bulk/line_reader.hpp"
#include "hub/device/atom.hpp"
#include "hub/process/log.hpp"
#include "hub/text/xml.hpp"
#include "tagexpr/expression.hpp"
#include "tagexpr/keyed_hash.hpp"

namespace hub {

namespace {

using registry::Registration;

constexpr std::size_t batch_lines_max = 2'048;
constexpr std::size_t export_page = 1'000;
constexpr std::int64_t checkpoint_every_ms = 1'000;
constexpr auto overload_pause = std::chrono::milliseconds(20);

constexpr const char* full_area =
    "The output does not fit: the blobs of the hub take all that it may have on disk.";

/// What ends a job as Failed.
struct Broken {
    std::string why;
};

/// Lines under way. The registry's callbacks fill in the answers.
struct Batch {
    struct Item {
        std::uint64_t line = 0;
        Registration registration;  ///< what to write, then what was written
        std::string refused;        ///< not empty: not written
        std::string known;          ///< not empty: nothing to write, this is the answer
        boost::system::error_code error;
    };
    std::vector<Item> items;
    std::uint64_t offset = 0, line = 0;  ///< behind its last line
    std::mutex mutex;
    std::condition_variable all_in;
    std::size_t left = 0;  ///< answers that have not come

    void answered() {
        const std::lock_guard lock(mutex);
        if (--left == 0) all_in.notify_all();
    }
    void wait() {
        std::unique_lock lock(mutex);
        all_in.wait(lock, [this] { return left == 0; });
    }
};

bool says_the_same(const Registration& a, const Registration& b) {
    return a.platform == b.platform && a.handle == b.handle && a.tags == b.tags &&
           a.body == b.body && a.push_variables == b.push_variables &&
           a.secondary_tile == b.secondary_tile;
}

tagexpr::Plan everything() {
    tagexpr::Plan plan;
    plan.nodes.push_back({tagexpr::Op::everything, 0, {}});
    return plan;
}

class Run {
  public:
    Run(const JobTools& tools, JobRecord& job, const std::atomic<bool>& stop, const JobCalls& calls)
        : tools_(tools),
          job_(job),
          stop_(stop),
          calls_(calls),
          rule_(handle_rule(tools.config.push_services)),
          input_(tools, job, stop),
          output_(tools, job, "Output.txt"),
          failed_(tools, job, "Failed.txt"),
          checkpoint_at_ms_(tools.clock.steady_ms() + checkpoint_every_ms) {}

    /// Returns when the job has ended or was told to stop; throws Broken.
    void work();

  private:
    using Registry = registry::Registry;

    void import_lines();
    void export_rows();
    void read_batch(LineReader& reader, Batch& batch, bool& ended);
    void submit(const std::shared_ptr<Batch>& batch);
    void send(const std::shared_ptr<Batch>& batch, const std::vector<std::size_t>& indices);
    void erase(const std::shared_ptr<Batch>& batch, std::size_t index);
    void settle(const std::shared_ptr<Batch>& batch);
    void check_new(Batch::Item& item);
    std::string row_of(Batch::Item& item);
    void write(JobOutput& file, std::string_view rows);
    void checkpoint();
    void checkpoint_if_due();
    void refresh_hub();

    const JobTools& tools_;
    JobRecord& job_;
    const std::atomic<bool>& stop_;
    const JobCalls& calls_;
    NormaliseHandle rule_;
    JobInput input_;
    JobOutput output_, failed_;
    std::shared_ptr<const HubState> hub_;
    std::optional<LineIds> ids_;
    std::unordered_set<std::string, tagexpr::KeyedHash>
        under_way_;  // ids that lines of a create brought along
    std::int64_t checkpoint_at_ms_;
};

void Run::write(JobOutput& file, std::string_view rows) {
    if (file.write(rows)) return;
    throw Broken{file.full() ? full_area : "The output cannot be written."};
}

void Run::checkpoint() {
    const bool imports = job_.type != JobType::export_registrations;
    if (!output_.sync() || (imports && !failed_.sync()))
        throw Broken{"The output cannot be written."};
    job_.output_bytes = output_.bytes();
    job_.failed_bytes = failed_.bytes();
    job_.updated_at_ms = tools_.clock.wall_ms();
    calls_.keep(job_);
    checkpoint_at_ms_ = tools_.clock.steady_ms() + checkpoint_every_ms;
}

void Run::checkpoint_if_due() {
    if (tools_.clock.steady_ms() >= checkpoint_at_ms_) {
        checkpoint();
    } else {
        calls_.show(job_);
    }
}

void Run::refresh_hub() {
    hub_ = tools_.hubs.find(job_.hub_number);
    if (!hub_) throw Broken{"The hub was deleted."};
}

void Run::work() {
    refresh_hub();
    const bool imports = job_.type != JobType::export_registrations;
    if (imports && !input_.open()) throw Broken{input_.why()};
    if (!output_.open(job_.output_bytes) || (imports && !failed_.open(job_.failed_bytes)))
        throw Broken{output_.full() || failed_.full() ? full_area
                                                      : "The output files cannot be opened."};
    if (!job_.read_all && imports) import_lines();
    if (!job_.read_all && !imports) export_rows();
    if (!job_.read_all) return;  // told to stop, or to make way
    for (JobOutput* file : {&output_, &failed_}) {
        if (file == &failed_ && !imports) continue;
        auto sent = file->deliver(stop_);
        if (ok(sent)) continue;
        if (stop_) return;
        throw Broken{"The output cannot be written: " + std::get<Refusal>(sent).message};
    }
    job_.status = JobStatus::completed;
    job_.progress = 100;
}

void Run::import_lines() {
    LineReader reader([this](std::uint64_t offset) { return input_.read(offset); }, job_.offset,
                      xml_bytes_max);
    ids_.emplace(job_.id, hub_->row.partitions);
    std::shared_ptr<Batch> before;
    bool ended = false;
    std::uint64_t line = job_.line;
    while (!ended && !stop_ && (line == job_.line || !calls_.turn_over())) {
        refresh_hub();
        auto batch = std::make_shared<Batch>();
        batch->line = line;
        read_batch(reader, *batch, ended);
        line = batch->line;
        submit(batch);
        if (before) settle(before);
        before = std::move(batch);
    }
    if (before) settle(before);
    job_.read_all = ended;
    checkpoint();
}

void Run::read_batch(LineReader& reader, Batch& batch, bool& ended) {
    const std::size_t lines_max =
        std::clamp<std::size_t>(tools_.config.write_queue_changes_max / 8, 1, batch_lines_max);
    const std::int64_t now = tools_.clock.wall_ms();
    const std::int64_t ttl = hub_->description.registration_ttl_ms;
    const std::uint64_t first = batch.line;
    while (batch.items.size() < lines_max) {
        if (batch.line > first && calls_.turn_over()) break;
        LineReader::Line text;
        const auto step = reader.next(text);
        if (step == LineReader::Step::failed) {
            if (stop_) break;
            throw Broken{input_.why()};
        }
        ended = step == LineReader::Step::end;
        if (ended) break;
        ++batch.line;
        if (!text.too_long && is_blank_line(text.text)) continue;
        auto& item = batch.items.emplace_back();
        item.line = batch.line;
        if (text.too_long) {
            item.refused = "The line is longer than " + std::to_string(xml_bytes_max) + " bytes.";
            continue;
        }
        auto parsed = parse_job_line(job_.type, text.text, rule_);
        if (!ok(parsed)) {
            item.refused = std::move(std::get<Refusal>(parsed).message);
            continue;
        }
        item.registration = std::move(std::get<JobLine>(parsed).registration);
        // Not the app has presented this handle: whatever a provider says of it is newer.
        item.registration.registered_at_ms = 0;
        item.registration.expires_at_ms =
            ttl == registry::never_ms ? registry::never_ms : now + ttl;
        if (!item.registration.id.empty()) {
            if (job_.type == JobType::import_create) check_new(item);
        } else {
            item.registration.id = ids_->of(batch.line);
        }
    }
    batch.offset = reader.offset();
}

/// An id that a line of a create brings along must be free, or hold what this very line wrote.
void Run::check_new(Batch::Item& item) {
    constexpr const char* taken = "A registration with this id exists.";
    if (!under_way_.insert(item.registration.id).second) {
        item.refused = taken;
        return;
    }
    const auto known = tools_.registry.registration(job_.hub_number, item.registration.id);
    if (!known) return;
    if (says_the_same(*known, item.registration)) {
        item.registration = *known;
        item.known = "known";
    } else {
        item.refused = taken;
    }
}

void Run::submit(const std::shared_ptr<Batch>& batch) {
    std::vector<std::size_t> writes;
    for (std::size_t i = 0; i < batch->items.size(); ++i) {
        if (batch->items[i].refused.empty() && batch->items[i].known.empty()) writes.push_back(i);
    }
    send(batch, writes);
}

void Run::send(const std::shared_ptr<Batch>& batch, const std::vector<std::size_t>& indices) {
    batch->left = indices.size();
    if (job_.type == JobType::import_delete) {
        for (const std::size_t i : indices) erase(batch, i);
        return;
    }
    registry::Precondition match;
    if (job_.type == JobType::import_update) match.kind = registry::Precondition::Kind::any;
    std::vector<Registry::PutOfMany> puts;
    puts.reserve(indices.size());
    for (const std::size_t i : indices) {
        puts.push_back(
            {batch->items[i].registration, [batch, i](registry::Result<Registration> written) {
                 auto& place = batch->items[i];
                 place.error = boost::system::error_code();
                 if (written) {
                     place.registration = std::move(*written);
                 } else {
                     place.error = written.error();
                 }
                 batch->answered();
             }});
    }
    tools_.registry.put_registrations(job_.hub_number, std::move(puts), match);
}

void Run::erase(const std::shared_ptr<Batch>& batch, std::size_t index) {
    tools_.registry.erase_registration(
        job_.hub_number, batch->items[index].registration.id, {},
        [batch, index](registry::Result<void> erased) {
            batch->items[index].error = erased ? boost::system::error_code() : erased.error();
            batch->answered();
        });
}

/// Waits for the answers and writes the rows, in the order of the lines.
void Run::settle(const std::shared_ptr<Batch>& batch) {
    batch->wait();
    for (;;) {
        std::vector<std::size_t> again;
        for (std::size_t i = 0; i < batch->items.size(); ++i) {
            if (batch->items[i].error == registry::errc::overloaded) again.push_back(i);
        }
        if (again.empty()) break;
        std::this_thread::sleep_for(overload_pause);
        send(batch, again);
        batch->wait();
    }
    std::string rows;
    std::string rejected;
    for (auto& item : batch->items) {
        const std::string row = row_of(item);
        const bool good = item.refused.empty();
        append_row(good ? rows : rejected, item.line, good ? row : item.refused);
        ++(good ? job_.succeeded : job_.rejected);
        under_way_.erase(item.registration.id);
    }
    write(output_, rows);
    write(failed_, rejected);
    job_.offset = batch->offset;
    job_.line = batch->line;
    if (job_.input_bytes > 0) {
        job_.progress = std::min(99.99, 100.0 * static_cast<double>(job_.offset) /
                                            static_cast<double>(job_.input_bytes));
    }
    checkpoint_if_due();
}

/// The row of a line that was done; else why not is in `refused`.
std::string Run::row_of(Batch::Item& item) {
    using registry::errc;
    if (!item.refused.empty()) return {};
    const bool erases = job_.type == JobType::import_delete;
    if (!item.error) {
        return erases ? item.registration.id : one_line(typed_description(item.registration));
    }
    if (item.error == errc::not_found) {
        refresh_hub();
        item.refused = "There is no registration with this id.";
    } else if (item.error == errc::gone) {
        item.refused = "The registration id is used up: it expired, or its handle was retired.";
    } else if (item.error == errc::exists) {
        item.refused = "A registration with this id exists.";
    } else {
        throw Broken{"The store cannot write: " + item.error.message() + "."};
    }
    return {};
}

void Run::export_rows() {
    std::uint64_t total = 0;
    {
        const auto all = tools_.registry.select(job_.hub_number, everything(), {});
        if (all) total = all->count();
    }
    for (bool begun = false; !job_.read_all && !stop_; begun = true) {
        if (begun && calls_.turn_over()) break;
        const auto page = tools_.registry.list(job_.hub_number, {}, job_.list_after, export_page);
        if (!page) throw Broken{"The store cannot read: " + page.error().message() + "."};
        std::string rows;
        for (const auto& registration : page->registrations) {
            rows += one_line(typed_description(registration));
            rows += '\n';
        }
        write(output_, rows);
        job_.list_after = page->next;
        job_.line += page->registrations.size();
        job_.succeeded = job_.line;
        job_.read_all = page->next.empty();
        if (total > 0) {
            job_.progress = std::min(
                99.99, 100.0 * static_cast<double>(job_.line) / static_cast<double>(total));
        }
        checkpoint_if_due();
    }
    refresh_hub();
    checkpoint();
}

}  // namespace

JobRecord run_job(const JobTools& tools, JobRecord job, const std::atomic<bool>& stop,
                  const JobCalls& calls) {
    job.status = JobStatus::running;
    calls.show(job);
    JobRecord kept = job;  // as of the last checkpoint
    JobCalls watched = calls;
    watched.keep = [&](const JobRecord& record) {
        calls.keep(record);
        kept = record;
    };
    const auto fail = [&](const std::string& why) {
        job.status = JobStatus::failed;
        job.failure = why;
    };
    try {
        Run(tools, job, stop, watched).work();
    } catch (const Broken& broken) {
        if (!stop) fail(broken.why);
    } catch (const std::exception& bug) {
        if (!stop) fail(std::string("The job cannot go on: ") + bug.what() + ".");
    }
    if (!is_final(job.status)) return kept;
    job.updated_at_ms = tools.clock.wall_ms();
    try {
        calls.keep(job);
    } catch (const std::exception& failure) {
        log_error("cannot write the end of a job", {{"job", job.id}, {"what", failure.what()}});
    }
    return job;
}

}  // namespace hub
