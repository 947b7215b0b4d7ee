#pragma once

// The one thread that changes the store. It takes what waits, up to a bound, applies it in order to
// one transaction, writes that with one sync, publishes the view, and then answers.
//
// A failed write changes nothing: every change of the batch gets the error, and what the writer had
// in memory is read back from the store before the next batch. A change whose data cannot be read
// fails alone: the batch is given up and its changes are applied one by one.
//
// After a failed write of the log the database is opened again as soon as files can be written,
// without what the failed batch left in the log; reads in that moment answer errc::closed. The disk
// is tried at every write, and once a second while there is none. Only if the process ends before
// that may a batch whose sync failed turn out to have been written after all.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

#include "registry/transaction.hpp"

namespace registry {

/// A queued change. apply() may be called more than once, on a fresh transaction each time.
class Change {
  public:
    virtual ~Change() = default;
    virtual void apply(Transaction& tx) = 0;
    /// Answers with the result of the last apply(), or with `failure`.
    virtual void finish(boost::system::error_code failure) = 0;
};

/// `Apply` is callable as Result<T>(Transaction&) and leaves its record as it is.
template <class T, class Apply>
class PendingChange final : public Change {
  public:
    PendingChange(Apply apply, Done<T> done) : apply_(std::move(apply)), done_(std::move(done)) {}
    void apply(Transaction& tx) override { result_.emplace(apply_(tx)); }
    void finish(boost::system::error_code failure) override {
        if (failure) result_.emplace(boost::system::in_place_error, failure);
        if (done_) done_(std::move(*result_));
    }

  private:
    Apply apply_;
    Done<T> done_;
    std::optional<Result<T>> result_;
};

/// A change whose answer is its record, completed. `Apply` is callable as
/// Result<void>(Transaction&, Record&) and completes the record anew each time; `Value` gives the
/// answer out of it.
template <class T, class Record, class Apply, class Value>
class PendingRecord final : public Change {
  public:
    PendingRecord(Record record, Apply apply, Value value, Done<T> done)
        : record_(std::move(record)),
          apply_(std::move(apply)),
          value_(std::move(value)),
          done_(std::move(done)) {}
    void apply(Transaction& tx) override { result_ = apply_(tx, record_); }
    void finish(boost::system::error_code failure) override {
        if (!done_) return;
        if (!failure && !result_) failure = result_.error();
        if (failure) {
            done_(Result<T>(boost::system::in_place_error, failure));
        } else {
            done_(Result<T>(boost::system::in_place_value, value_(std::move(record_))));
        }
    }

  private:
    Record record_;
    Apply apply_;
    Value value_;
    Done<T> done_;
    Result<void> result_;
};

class Writer {
  public:
    Writer(const Options& options, Store& store, Views& views, RowChanges& row_changes,
           Memory memory);
    ~Writer() { close(); }

    /// Any thread. If the change cannot be queued it is answered at once, on the calling thread.
    void submit(std::unique_ptr<Change> change);
    /// All of them, in their order; each that cannot be queued is answered at once.
    void submit(std::vector<std::unique_ptr<Change>> changes);
    /// Finishes what is queued and ends the thread; not from a callback.
    void close();

    std::size_t queued() const;
    std::uint64_t batches() const { return batches_; }
    std::uint64_t changes() const { return changes_; }
    std::uint64_t registrations() const { return registrations_; }
    std::uint64_t installations() const { return installations_; }
    std::uint64_t answers() const { return answers_; }
    AnswerUse answer_use(std::uint32_t hub, std::string_view scope) const;
    std::map<std::uint32_t, std::uint64_t> answer_units() const;
    std::uint64_t ended_sends_bytes() const { return ended_sends_bytes_; }

  private:
    using Changes = std::span<const std::unique_ptr<Change>>;
    void run();
    void commit(Changes changes);
    /// One batch. `split`: the failure lies in one of the changes, the others may succeed without
    /// it.
    boost::system::error_code attempt(Changes changes, bool& split);
    boost::system::error_code ready();
    bool mend_store();
    /// Reads again what is on disk, and shows it where nothing is shown.
    boost::system::error_code reload_memory();
    void set_write_failure(boost::system::error_code failure);
    void publish(const std::vector<PostingDelta>& deltas);
    void publish_answers();

    const Options& options_;
    Store& store_;
    Views& views_;
    RowChanges& row_changes_;
    Memory memory_;
    PostingFolder folder_;
    std::uint64_t published_ = 0;
    bool memory_stale_ = false;
    boost::system::error_code write_failure_;  // of the last write, until recovery

    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::unique_ptr<Change>> queue_;  // guarded by mutex_
    bool closing_ = false;                       // guarded by mutex_
    std::atomic<std::uint64_t> batches_ = 0, changes_ = 0, registrations_ = 0, installations_ = 0,
                               answers_ = 0, ended_sends_bytes_ = 0;
    mutable std::mutex answers_mutex_;
    std::map<std::uint32_t, AnswerCounts> answers_told_;  // as published; under answers_mutex_
    std::uint64_t answer_units_ = 0;                      // of all of them; likewise
    std::thread thread_;
};

}  // namespace registry
