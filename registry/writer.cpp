// The thread takes up to `batch_changes_max` changes, applies them to one Transaction, writes it
// with one sync, publishes a new view and answers. Nobody else changes Memory or the store.
// Callbacks run here: one that blocks stops all writes. While the store refuses writes, ready()
// tries each time to mend it, and once a second when nothing comes in. The lock of the queue is
// not held while a batch is written.
#include "registry/writer.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace registry {
namespace {

constexpr std::chrono::seconds mend_every{1};  // while no write asks for it

/// This thread does not push another one aside when it is woken (sched(7), SCHED_BATCH). On busy
/// cores the lanes hand in more before the next batch is written; an idle core takes it up at once.
/// Where the system refuses, batches are smaller and nothing else.
void gather_while_others_work() {
    const sched_param none{};
    ::sched_setscheduler(0, SCHED_BATCH, &none);
}

}  // namespace

Writer::Writer(const Options& options, Store& store, Views& views, RowChanges& row_changes,
               Memory memory)
    : options_(options),
      store_(store),
      views_(views),
      row_changes_(row_changes),
      memory_(std::move(memory)) {
    publish({});
    thread_ = std::thread([this] { run(); });
}

void Writer::submit(std::unique_ptr<Change> change) {
    std::unique_lock lock(mutex_);
    if (!closing_ && queue_.size() < options_.write_queue_changes_max) {
        queue_.push_back(std::move(change));
        wake_.notify_one();
        return;
    }
    const errc refusal = closing_ ? errc::closed : errc::overloaded;
    lock.unlock();
    change->finish(make_error_code(refusal));
}

void Writer::submit(std::vector<std::unique_ptr<Change>> changes) {
    std::unique_lock lock(mutex_);
    const std::size_t room = options_.write_queue_changes_max - queue_.size();
    const std::size_t taken = closing_ ? 0 : std::min(room, changes.size());
    const auto refused = changes.begin() + static_cast<std::ptrdiff_t>(taken);
    std::move(changes.begin(), refused, std::back_inserter(queue_));
    if (taken > 0) wake_.notify_one();
    const errc refusal = closing_ ? errc::closed : errc::overloaded;
    lock.unlock();
    for (auto at = refused; at != changes.end(); ++at) (*at)->finish(make_error_code(refusal));
}

void Writer::close() {
    {
        const std::lock_guard lock(mutex_);
        closing_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
}

std::size_t Writer::queued() const {
    const std::lock_guard lock(mutex_);
    return queue_.size();
}

void Writer::run() {
    gather_while_others_work();
    std::vector<std::unique_ptr<Change>> taken;
    while (true) {
        {
            std::unique_lock lock(mutex_);
            const auto asked = [this] { return closing_ || !queue_.empty(); };
            while (write_failure_ && !wake_.wait_for(lock, mend_every, asked)) {
                lock.unlock();
                ready();
                lock.lock();
            }
            wake_.wait(lock, asked);
            if (queue_.empty()) return;
            const std::size_t count =
                std::min(queue_.size(), std::max<std::size_t>(options_.batch_changes_max, 1));
            const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(count);
            std::move(queue_.begin(), end, std::back_inserter(taken));
            queue_.erase(queue_.begin(), end);
        }
        commit(taken);
        taken.clear();
    }
}

void Writer::commit(Changes changes) {
    bool split = false;
    const auto failure = attempt(changes, split);
    if (split && changes.size() > 1) {
        for (std::size_t i = 0; i < changes.size(); ++i) commit(changes.subspan(i, 1));
        return;
    }
    if (options_.on_answering) options_.on_answering(true);
    for (const auto& change : changes) change->finish(failure);
    if (options_.on_answering) options_.on_answering(false);
}

bool Writer::mend_store() {
    if (store_.is_open() && store_.recover()) return true;
    if (!store_.writable()) return false;
    views_.publish(nullptr, {});
    const bool reopened = store_.reopen().has_value();
    views_.cache.clear();
    return reopened;
}

boost::system::error_code Writer::reload_memory() {
    auto memory = Memory::load(store_, &memory_);
    if (!memory) return memory.error();
    memory_ = std::move(*memory);
    memory_stale_ = false;
    if (!views_.current()) publish({});
    return {};
}

boost::system::error_code Writer::ready() {
    if (write_failure_ && !mend_store()) {
        const bool readable = store_.is_open() && !views_.current();
        // What fails here is tried again with the next write, or in a second.
        if (readable) static_cast<void>(reload_memory());
        return write_failure_;
    }
    if (memory_stale_) {
        if (const auto failure = reload_memory()) return failure;
    }
    set_write_failure({});
    return {};
}

void Writer::set_write_failure(boost::system::error_code failure) {
    const bool changed = failure.failed() != write_failure_.failed();
    write_failure_ = failure;
    if (changed && options_.on_writable) options_.on_writable(failure);
}

boost::system::error_code Writer::attempt(Changes changes, bool& split) {
    split = false;
    if (const auto failure = ready()) return failure;
    Transaction tx(store_, memory_, std::min(published_, views_.pins->oldest()));
    memory_stale_ = true;  // until the batch is on disk
    for (const auto& change : changes) {
        tx.next_position();
        change->apply(tx);
        if (tx.fault()) break;
    }
    std::vector<PostingDelta> deltas;
    if (!tx.fault()) deltas = tx.finish(folder_);
    if (tx.fault()) {
        split = true;
        return tx.fault();
    }
    if (auto written = store_.write(tx.batch()); !written) {
        set_write_failure(written.error());
        return write_failure_;
    }
    memory_stale_ = false;
    ++batches_;
    changes_ += changes.size();
    row_changes_.written(tx.changed_rows(), tx.erases_hub(), memory_.state.applied);
    publish(deltas);
    return {};
}

void Writer::publish(const std::vector<PostingDelta>& deltas) {
    published_ = memory_.state.applied;
    views_.publish(std::make_shared<const View>(View{store_.snapshot(), memory_.hubs, published_}),
                   deltas);
    row_changes_.visible(published_);
    std::uint64_t registrations = 0, installations = 0;
    for (const auto& [hub, count] : memory_.registrations) registrations += count;
    for (const auto& [hub, count] : memory_.installations) installations += count;
    publish_answers();
    std::uint64_t ended_bytes = 0;
    for (const auto& [hub, bytes] : memory_.ended_bytes) ended_bytes += bytes;
    ended_sends_bytes_ = ended_bytes;
    registrations_ = registrations;
    installations_ = installations;
}

namespace {
std::uint64_t units_of(const AnswerCounts& counts) {
    std::uint64_t sum = 0;
    for (const auto& [scope, units] : counts.units) sum += units;
    return sum;
}
}  // namespace

void Writer::publish_answers() {
    if (memory_.answers_changed.empty() && !memory_.answers_anew) return;
    const std::lock_guard lock(answers_mutex_);
    if (std::exchange(memory_.answers_anew, false)) {
        answers_told_.clear();
        answer_units_ = answers_ = 0;
        for (const auto& [hub, counts] : memory_.answers) memory_.answers_changed.insert(hub);
    }
    for (const std::uint32_t hub : std::exchange(memory_.answers_changed, {})) {
        AnswerCounts& told = answers_told_[hub];
        answers_ -= told.answers;
        answer_units_ -= units_of(told);
        const auto now = memory_.answers.find(hub);
        if (now == memory_.answers.end()) {
            answers_told_.erase(hub);
            continue;
        }
        told = now->second;
        answers_ += told.answers;
        answer_units_ += units_of(told);
    }
}

std::map<std::uint32_t, std::uint64_t> Writer::answer_units() const {
    const std::lock_guard lock(answers_mutex_);
    std::map<std::uint32_t, std::uint64_t> units;
    for (const auto& [hub, counts] : answers_told_) units[hub] = units_of(counts);
    return units;
}

AnswerUse Writer::answer_use(std::uint32_t hub, std::string_view scope) const {
    const std::lock_guard lock(answers_mutex_);
    AnswerUse use;
    use.all = answer_units_;
    const auto kept = answers_told_.find(hub);
    if (kept == answers_told_.end()) return use;
    use.hub = units_of(kept->second);
    const auto mine = kept->second.units.find(scope);
    if (mine != kept->second.units.end()) use.scope = mine->second;
    return use;
}

}  // namespace registry
