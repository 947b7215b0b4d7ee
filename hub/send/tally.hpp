#pragma once

// The running result of one send: which devices are final and how they ended. Lanes add what they
// learned in batches; the ledger takes snapshots. Thread-safe. At every moment the counts add up to
// `finished`.
//
// What is told to people is what the ledger has on disk, less the marks that at-most-once sets
// before a push goes out: so no figure goes back, neither when a mark is taken back nor after a
// crash.

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "hub/process/latency_buckets.hpp"
#include "hub/send/send_states.hpp"
#include "pns/platform.hpp"
#include "registry/send.hpp"

namespace hub {

constexpr std::size_t outcomes_count = static_cast<std::size_t>(pns::Outcome::unknown) + 1;

/// As the ledger has it; of a name that no outcome has, unknown_error.
pns::Outcome outcome_by_name(std::string_view name);

/// Of the counted devices, those whose push was never out: no attempt was made that a provider
/// answered or may have got. Progress from before this was counted knows only those that were
/// skipped or abandoned.
std::uint64_t never_out_of(const registry::Progress& progress);

/// Devices by platform and outcome. Few of the many pairs occur in one send: a short list.
class OutcomeCounts {
  public:
    struct Entry {
        std::uint8_t platform = 0;
        pns::Outcome outcome = pns::Outcome::unknown;
        std::int64_t count = 0;
    };
    void add(std::size_t platform, pns::Outcome outcome, std::int64_t count = 1) {
        for (Entry& entry : entries_) {
            if (entry.platform != platform || entry.outcome != outcome) continue;
            entry.count += count;
            return;
        }
        entries_.push_back({static_cast<std::uint8_t>(platform), outcome, count});
    }
    const std::vector<Entry>& entries() const { return entries_; }
    void clear() { entries_.clear(); }

  private:
    std::vector<Entry> entries_;
};

/// What one lane learned about one send since it last told the Tally. One lane only; reused after
/// each flush.
class Notes {
  public:
    explicit Notes(std::size_t partitions) : finished_(partitions), unfinished_(partitions) {}

    /// The device is marked and counted. Not final yet if `open` (at-most-once: marked before the
    /// submit).
    void mark(std::size_t platform, pns::Outcome outcome, std::uint16_t partition,
              std::uint32_t number, bool open = false) {
        counts_.add(platform, outcome);
        finished_[partition].push_back(number);
        ++marked_;
        if (open) {
            open_.add(platform, pns::Outcome::unknown);
        } else {
            ++final_;
        }
    }
    /// A device marked open before, as Unknown of the platform it had then, has ended.
    void settle(std::size_t was_platform, std::size_t platform, pns::Outcome now) {
        counts_.add(was_platform, pns::Outcome::unknown, -1);
        open_.add(was_platform, pns::Outcome::unknown, -1);
        counts_.add(platform, now);
        ++final_;
    }
    /// A device marked open before the last Tally::add never went out and may go out later. It may
    /// be marked again at once.
    void unmark(std::size_t was_platform, std::uint16_t partition, std::uint32_t number) {
        counts_.add(was_platform, pns::Outcome::unknown, -1);
        open_.add(was_platform, pns::Outcome::unknown, -1);
        unfinished_[partition].push_back(number);
        ++marked_;
    }
    /// A device that is marked or settled in this batch ended, and its push was never out.
    void never_out() { ++never_out_; }
    /// Pushes were handed to a sender.
    void pushed(std::int64_t now_ms) {
        if (first_push_ms_ == 0) first_push_ms_ = now_ms;
        last_push_ms_ = now_ms;
    }
    /// A push was answered this long after it was handed over.
    void timed(std::int64_t us) { ++latency_[latency_bucket(us)]; }
    bool empty() const { return marked_ == 0 && final_ == 0 && last_push_ms_ == 0; }
    std::uint64_t marked() const { return marked_; }
    std::uint64_t ended() const { return final_; }

  private:
    friend class Tally;
    std::vector<std::vector<std::uint32_t>> finished_, unfinished_;
    OutcomeCounts counts_;
    OutcomeCounts open_;  ///< of counts_: marked, not final
    std::uint64_t marked_ = 0;
    std::uint64_t final_ = 0;
    std::uint64_t never_out_ = 0;  ///< of final_
    std::int64_t first_push_ms_ = 0, last_push_ms_ = 0;
    std::array<std::uint32_t, latency_buckets> latency_{};
};

class Tally {
  public:
    /// `start` as the ledger has it: fresh, or from before a restart.
    Tally(std::uint64_t audience, registry::Progress start);

    /// Takes the notes in and empties them. True if with them all devices are final, or those of
    /// the goal.
    bool add(Notes& notes);
    /// How many devices are final when the canary share is; set once, before any add().
    void set_goal(std::uint64_t devices);
    void set_started(std::int64_t now_ms);
    /// Devices were given up because the send's time was over: the send will end as abandoned.
    void set_abandoned();
    /// Moves on by an event that was asked for, or that the canary share is final. False: it has no
    /// place in the present state.
    bool apply(SendEvent event, std::int64_t now_ms);
    /// The rest after the canary may go out.
    void set_released();
    void set_deadline(std::int64_t deadline_ms);
    /// Takes a sample for the rate; as often as the caller likes. Steady clock: a wall clock that
    /// is set would make a rate of it.
    void note_pace(std::int64_t steady_ms);

    std::uint64_t audience() const { return audience_; }
    std::uint64_t final_devices() const;
    /// The device is final, or marked before its push goes out, as far as lanes have told.
    bool is_done(std::uint16_t partition, std::uint32_t number) const;
    registry::SendState state() const;
    bool released() const;
    std::int64_t waits_since_ms() const;
    /// Devices that became final per second, over the last few seconds.
    double rate_per_s() const;
    bool complete() const;
    bool goal_reached() const;
    /// True once a snapshot carried a final state.
    bool ended() const;
    /// Something changed since the last call (or touch() asked for one more checkpoint).
    bool take_touched();
    void touch();
    /// Figures that may be told once a snapshot is on disk.
    struct Told {
        registry::Progress figures;  ///< without `finished`
        std::uint64_t changes = 0;
    };
    struct Snapshot {
        registry::Progress progress;  ///< for the ledger
        /// For written(); null if the snapshot ends the send: from then on the ledger tells.
        std::shared_ptr<const Told> told;
    };
    /// A copy for the ledger, `finished` in run-length form; final state and end time are set if
    /// complete, unless `may_end` is false: then the end is left to a later snapshot.
    Snapshot snapshot(std::int64_t now_ms, bool may_end = true);
    /// The snapshot that came with this is on disk. In any order; null does nothing.
    void written(std::shared_ptr<const Told> told);
    /// Counts, state and start as they are on disk, cheap enough for polling. Never final: that is
    /// the ledger's word.
    registry::Progress summary() const;
    /// Nothing has changed since what summary() tells.
    bool told_all() const;

  private:
    const std::uint64_t audience_;
    mutable std::mutex mutex_;
    registry::Progress progress_;
    OutcomeCounts counts_;
    OutcomeCounts open_;  ///< of counts_: marked before they go out, not final
    std::array<std::uint64_t, latency_buckets> latency_{};
    std::uint64_t final_ = 0;
    std::uint64_t goal_ = 0;  ///< 0 = none
    bool touched_ = false;
    std::uint64_t changes_ = 0;  ///< ever
    std::shared_ptr<const Told> told_;
    struct Sample {
        std::int64_t at_ms = 0;  ///< steady clock
        std::uint64_t final_devices = 0;
    };
    std::array<Sample, 8> pace_{};  ///< a ring, half a second apart
    std::size_t pace_next_ = 0;

    void changed();
    registry::Progress figures() const;
    static registry::Counts named(const OutcomeCounts& counts);
    std::map<std::uint8_t, std::uint64_t> latency_counts() const;
};

}  // namespace hub
