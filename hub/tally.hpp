#pragma once

// The running result of one send: which devices are final and how they ended. Lanes add what they
// learned in batches; the ledger and telemetry read snapshots. Thread-safe. At every moment the
// counts add up to `done`.

#include <array>
#include <cstdint>
#include <mutex>
#include <vector>

#include "pns/platform.hpp"
#include "registry/send.hpp"

namespace hub {

constexpr std::size_t outcomes_count = static_cast<std::size_t>(pns::Outcome::unknown) + 1;
constexpr std::size_t platforms_max = 16;

/// What one lane learned about one send since it last told the Tally. One lane only; reused after
/// each flush.
class Notes {
  public:
    explicit Notes(std::size_t partitions) : done_(partitions) {}

    /// The device is marked and counted. Not final yet if `open` (at-most-once: marked before the
    /// submit).
    void mark(std::size_t platform, pns::Outcome outcome, std::uint16_t partition,
              std::uint32_t number, bool open = false) {
        ++counts_[platform][static_cast<std::size_t>(outcome)];
        done_[partition].push_back(number);
        ++marked_;
        if (!open) ++final_;
    }
    /// A device marked open before has ended.
    void settle(std::size_t platform, pns::Outcome was, pns::Outcome now) {
        --counts_[platform][static_cast<std::size_t>(was)];
        ++counts_[platform][static_cast<std::size_t>(now)];
        ++final_;
    }
    bool empty() const { return marked_ == 0 && final_ == 0; }
    std::uint64_t marked() const { return marked_; }

  private:
    friend class Tally;
    std::vector<std::vector<std::uint32_t>> done_;
    std::array<std::array<std::int64_t, outcomes_count>, platforms_max> counts_{};
    std::uint64_t marked_ = 0;
    std::uint64_t final_ = 0;
};

class Tally {
  public:
    /// `start` as the ledger has it: fresh, or from before a restart.
    Tally(std::uint64_t audience, registry::Progress start);

    /// Takes the notes in and empties them. True if this completed the send.
    bool add(Notes& notes);
    void set_started(std::int64_t now_ms);
    /// Devices were given up because the send's time was over: the send will end as abandoned.
    void set_abandoned();

    std::uint64_t audience() const { return audience_; }
    bool complete() const;
    /// True once a snapshot carried a final state.
    bool ended() const;
    /// Something changed since the last call (or touch() asked for one more checkpoint).
    bool take_touched();
    void touch();
    /// A copy for the ledger, `done` in run-length form; final state and end time are set if
    /// complete.
    registry::Progress snapshot(std::int64_t now_ms);
    /// Counts, state and start only, cheap enough for polling. Never final: that is the ledger's
    /// word.
    registry::Progress summary() const;

  private:
    const std::uint64_t audience_;
    mutable std::mutex mutex_;
    registry::Progress progress_;
    std::array<std::array<std::int64_t, outcomes_count>, platforms_max> counts_{};
    std::uint64_t final_ = 0;
    bool abandoned_ = false;
    bool touched_ = false;

    registry::Counts named_counts() const;
};

}  // namespace hub
