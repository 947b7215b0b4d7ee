#pragma once

// The part of the fan-out that lives on one lane: its share of every open send, its senders, its
// windows. Every member runs on the lane's loop unless it says otherwise.
//
// Its sources: fanout_lane.cpp begins, walks and ends what it has of a send; fanout_chunk.cpp
// loads, renders, submits and takes the answers of one chunk; fanout_meant.cpp asks whether a row
// is still meant; fanout_retry.cpp keeps what goes out later; fanout_verdict.cpp tells the trace
// and acts on verdicts against handles; fanout_control.cpp obeys commands.

#include <array>
#include <atomic>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "hub/process/config.hpp"
#include "hub/process/loops.hpp"
#include "hub/process/metrics.hpp"
#include "hub/send/attempt_counts.hpp"
#include "hub/send/attempts.hpp"
#include "hub/send/lane_senders.hpp"
#include "hub/send/provider_health.hpp"
#include "hub/send/prune_gates.hpp"
#include "hub/send/push_window.hpp"
#include "hub/send/rendering.hpp"
#include "hub/send/send_run.hpp"
#include "hub/send/wait_list.hpp"
#include "pns/alarm.hpp"
#include "pns/bearer.hpp"
#include "pns/nursery.hpp"
#include "pns/sender.hpp"

namespace hub {

class Trace;

/// What all lanes work with. Outlives them.
struct FanoutParts {
    StorePool& store;
    registry::Registry& registry;
    Hubs& hubs;
    Metrics& metrics;
    const Config& config;
    PruneGates& gates;
    Trace& trace;
    pns::BearerCache& bearers;
    const pns::Clock& clock;  ///< that of the tokens and senders
    pns::Network network;
    std::atomic<std::int64_t> backlog{0};  ///< devices of open sends that are not final
    BrokenCredentials broken;
    ProviderHealth health{hubs, clock};
};

/// A part of a send's selection that is walked on its own, so that one stalled provider holds up
/// nobody else.
struct Strand {
    static constexpr std::size_t mixed = static_cast<std::size_t>(-1);
    std::size_t platform = mixed;  ///< index in pns::platforms()
    std::vector<registry::Bitmap> partitions;
};

class FanoutLane {
  public:
    /// All devices of a send are final, or all of its canary. On any lane.
    using Reached = std::function<void(const std::shared_ptr<SendRun>& run)>;

    FanoutLane(Loops& loops, std::size_t index, FanoutParts& parts, Reached reached);
    ~FanoutLane();
    FanoutLane(const FanoutLane&) = delete;
    FanoutLane& operator=(const FanoutLane&) = delete;

    /// Walks this lane's partitions of the strands.
    void begin(std::shared_ptr<SendRun> run, std::shared_ptr<const std::vector<Strand>> strands);
    /// Does what the run's mode says with this lane's share of it.
    void obey(const std::shared_ptr<SendRun>& run);
    void forget_senders(std::uint32_t hub) { senders_.forget(hub); }
    /// The sender of one platform of a hub, for a push that belongs to no send; null when there is
    /// no credential. Good until the next turn of the loop.
    pns::Sender* sender(std::uint32_t hub, std::size_t platform) {
        return senders_.slot(hub, platform).sender.get();
    }

    /// Now and then: tells what was learned, and sends what is due.
    void look();
    /// Phase one of stopping: no new chunks; pushes in flight get `drain_ms`, then their verdict;
    /// notes are flushed.
    pns::Task<void> drain(std::int64_t drain_ms);
    /// Phase two, after every lane has drained: nothing runs here any more.
    pns::Task<void> park();

    pns::Executor executor() { return loop_.get_executor(); }
    pns::Nursery& nursery() { return nursery_; }
    std::uint64_t pushes_in_flight() const { return in_flight_.load(std::memory_order_relaxed); }
    /// By platform, as the last tick found it.
    std::uint64_t waiting(std::size_t platform) const {
        return waiting_[platform].load(std::memory_order_relaxed);
    }
    std::uint64_t retries_waiting() const {
        return retries_waiting_.load(std::memory_order_relaxed);
    }

  private:
    using Timer =
        boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                          boost::asio::wait_traits<std::chrono::steady_clock>,
                                          pns::Executor>;

    /// One send on this lane. Lives until none of its devices, walks and chunks is left here.
    struct LaneRun {
        LaneRun(std::shared_ptr<SendRun> shared, std::size_t partitions, std::int64_t now_ms)
            : run(std::move(shared)),
              mode(run->mode.load()),
              rated(run->rate.has_value() || run->hub_rate != nullptr),
              begun_ms(now_ms),
              notes(partitions),
              rendering(*run) {}
        std::shared_ptr<SendRun> run;
        Mode mode;
        const bool rated;
        const std::int64_t begun_ms;   ///< on this lane, by the steady clock
        std::vector<Timer*> sleepers;  ///< walks that wait for a command or for their rate
        std::int64_t in_flight = 0;    ///< loaded and neither final nor put off
        std::int64_t in_flight_told = 0, retries_told = 0;
        Notes notes;
        Rendering rendering;
        std::uint64_t todo = 0;  ///< devices of this lane that are not final
        std::size_t walks = 0;   ///< coroutines and chunks that refer to this
        bool ending = false;     ///< listed in ending_
        std::list<LaneRun>::iterator self;
        /// What waits for another attempt, by platform; few platforms occur in one send.
        struct Waits {
            Waits(std::size_t of_platform, std::size_t timed_max)
                : platform(of_platform), list(timed_max) {}
            std::size_t platform;
            WaitList list;
            pns::Outcome latest = pns::Outcome::abandoned;  ///< why the last one waits
            bool walked = false;                            ///< a walk sends what is due
        };
        std::list<Waits> waits;
        std::size_t waiting() const {
            std::size_t sum = 0;
            for (const Waits& one : waits) sum += one.list.size();
            return sum;
        }
        struct Learned {
            std::size_t platform = 0;
            std::string app;  ///< pns::Prepared::app
            std::uint64_t accepted = 0;
            std::vector<PruneGates::Suspect> dead;
            std::vector<std::string> alive;  ///< of the accepted: handles that may be accused
        };
        std::vector<Learned> learned;  ///< few platforms and apps occur in one send
        OutcomeCounts finals;          ///< for the metrics
        AttemptCounts attempts;        ///< for the metrics
        std::vector<registry::Rotation> rotations;

        Learned& learned_of(std::size_t platform, std::string_view app) {
            for (Learned& known : learned) {
                if (known.platform == platform && known.app == app) return known;
            }
            learned.push_back({platform, std::string(app), 0, {}, {}});
            return learned.back();
        }
    };

    using Slot = LaneSenders::Slot;

    /// A row of the same send with the handle of a device, that comes before it.
    struct Rival {
        bool done = false;  ///< it was final before it was read
        std::unique_ptr<registry::DeviceChunk> row;
    };
    struct Rivals {
        std::size_t device = 0;  ///< index in the chunk
        std::vector<Rival> rows;
    };
    /// Does another row with its handle get the same push?
    enum class Copy : std::uint8_t {
        no,
        maybe,  ///< it is that one's turn: what becomes of it is not known yet
        yes,
    };

    /// Rows that were read together and their pushes in flight.
    struct Chunk final : pns::PushOwner {
        explicit Chunk(FanoutLane& owner) : lane(owner) {}
        std::list<std::unique_ptr<Chunk>>::iterator self;
        void on_verdict(pns::Push& push, pns::Verdict&& verdict) override {
            lane.judge(*this, push, std::move(verdict));
        }
        bool still_meant(const pns::Push& push) const override {
            return lane.still_meant(*this, push);
        }
        FanoutLane& lane;
        LaneRun* run = nullptr;
        PushWindow* window = nullptr;  ///< null: not counted in any
        std::uint16_t partition = 0;
        std::size_t platform = 0;  ///< counted under this if the device is gone
        std::vector<std::uint32_t> numbers;
        std::vector<Waiting> before;             ///< by device; empty: all first attempts
        std::uint64_t stamp = 0;                 ///< Registry::stamp() before the rows were read
        std::vector<std::uint8_t> moved;         ///< by device: no longer meant; empty: none is
        std::vector<Rivals> rivals;              ///< of devices that share their handle
        bool marked = false;                     ///< at-most-once: already in `finished` as Unknown
        std::vector<std::size_t> marked_as;      ///< by device: the platform it was marked under
        std::int64_t read_ms = 0, built_ms = 0;  ///< wall clock
        std::int64_t submitted_us = 0;           ///< steady clock
        registry::DeviceChunk rows;
        std::vector<pns::Push> pushes;
        std::vector<std::uint64_t> epochs;  ///< by push: Slot::epoch of the sender that prepared it
        std::vector<std::size_t> platforms;  ///< by device
        std::size_t open = 0;  ///< pushes without a verdict, plus one while being filled
    };

    const Reached reached_;
    boost::asio::io_context& loop_;
    const std::size_t index_, lanes_;
    FanoutParts& parts_;
    pns::Nursery nursery_;
    bool stopping_ = false;
    bool end_posted_ = false;
    bool withdrawing_ = false;  ///< verdicts of this moment are of pushes taken back
    std::mt19937_64 random_{std::random_device{}()};
    const pns::Verdict* verdict_ = nullptr;  ///< of the provider, while judge() deals with it
    std::list<LaneRun> runs_;
    std::vector<std::list<LaneRun>::iterator> ending_;
    LaneSenders senders_;
    using Chunks = std::list<std::unique_ptr<Chunk>>;
    Chunks chunks_;       ///< at work
    Chunks chunks_free_;  ///< a few, for their buffers
    PushWindow
        mixed_window_;  ///< pushes whose platform is not known before they are loaded, and retries
    std::atomic<std::uint64_t> in_flight_{0}, retries_waiting_{0};
    std::vector<std::atomic<std::uint64_t>> waiting_;  ///< by platform
    std::vector<std::uint64_t> unwalked_;  ///< by platform: walks stand before its shut door

    /// The partitions of a run that this lane walks: its share of them, or all.
    std::size_t first_partition(const SendRun& run) const { return run.at_home ? 0 : index_; }
    std::size_t partition_step(const SendRun& run) const { return run.at_home ? 1 : lanes_; }
    pns::Task<void> walk(LaneRun& run, std::shared_ptr<const std::vector<Strand>> strands,
                         std::size_t strand);
    /// Walks a strand whose few devices lie in one partition without waiting for anything. False:
    /// something would have to be waited for, and nothing was done.
    bool try_send(LaneRun& run, const Strand& strand);
    /// What bounds the pushes of a strand; null: its own size.
    PushWindow* window_of(const LaneRun& run, const Strand& strand);
    /// Sends what is due of one platform, until nothing is.
    pns::Task<void> walk_waiting(LaneRun& run, LaneRun::Waits& waits);
    /// The sender of a platform can send nothing now. One push may still go to find out whether it
    /// can again if none is on its way.
    enum class Flow : std::uint8_t { open, probe, shut };
    Flow flow_of(const LaneRun& run, std::size_t platform);
    /// A door of a sender is open again, or the sender is new.
    void opened(std::uint32_t hub, std::size_t platform, std::uint32_t door);
    /// Loads, renders and submits what `chunk.numbers` names; places in its window are taken
    /// already.
    pns::Task<void> send_chunk(Chunk& chunk);
    /// Counts what the chunk names as on its way and fills it in from what is at hand; without a
    /// value if it must be read.
    std::optional<registry::Result<void>> try_fill(Chunk& chunk);
    /// Does a row have to be held against what the send meant (check_rows)?
    bool needs_check(const Chunk& chunk) const;
    /// Finds which rows are no longer meant, and who shares a handle with whom. On a store thread.
    registry::Result<void> check_rows(Chunk& chunk) const;
    registry::Result<bool> has_moved(const SendRun& run, std::uint16_t partition,
                                     const registry::Device& row) const;
    registry::Result<void> find_rivals(Chunk& chunk, std::size_t device) const;
    Copy copy_of(Chunk& chunk, std::size_t device, const Slot& to, const pns::Prepared& push);
    /// At-most-once: the marks are on disk. False: they could not be written before the lane
    /// stopped, and nothing goes out.
    pns::Task<bool> mark_before_submit(Chunk& chunk);

    Chunk& take_chunk(LaneRun& run, std::uint16_t partition);
    void close_chunk(Chunk& chunk);  ///< gives up its last hold; recycles it when no push is open
    void fill_direct(Chunk& chunk);
    void submit(Chunk& chunk);
    void build(Chunk& chunk);
    void judge(Chunk& chunk, pns::Push& push, pns::Verdict&& verdict);
    bool still_meant(const Chunk& chunk, const pns::Push& push) const;
    /// A client waits for the word about each device (a test send): a refused credential is told at
    /// once and not waited out.
    static bool is_watched(const SendRun& run) {
        return run.results != nullptr && run.results->wants_all();
    }
    /// `reason` is the provider's or our word, `new_handle` what the provider named instead.
    void finish(Chunk& chunk, std::size_t device, pns::Outcome outcome,
                std::string_view reason = {}, std::string_view new_handle = {});
    /// Tells the trace how an attempt, or the whole push if `retry_at_ms` is 0, has ended.
    void tell_trace(const Chunk& chunk, std::size_t device, pns::Outcome outcome,
                    std::string_view reason, std::int64_t retry_at_ms);
    /// Weighs a verdict against the device's handle. A time: ask once more after so many ms.
    std::optional<std::int64_t> accuse(Chunk& chunk, const pns::Push& push,
                                       const pns::Verdict& verdict);
    /// What is known of a device's attempts so far.
    Waiting past_of(const Chunk& chunk, std::size_t device) const;
    /// An attempt was made and may be made again; `reason` is told of it.
    void again(Chunk& chunk, std::size_t device, const FailedAttempt& failed,
               std::string_view reason);
    /// No attempt was made. `why` says what the device waits for, if it does.
    void put_off(Chunk& chunk, std::size_t device, std::int64_t wait_ms, const pns::NotSent& why);
    /// Keeps the device until `due_ms` (steady clock), without its mark.
    void wait(Chunk& chunk, std::size_t device, Waiting waiting, std::int64_t due_ms);
    void keep_waiting(LaneRun& run, std::size_t platform, const Waiting& device,
                      std::int64_t due_ms);
    LaneRun::Waits& waits_of(LaneRun& run, std::size_t platform);
    void start_due(LaneRun& run, std::int64_t now_ms);
    /// Puts a loaded device off or drops it, as the mode says, which is not `go`. `overdue`: what
    /// it ends as if its time is over.
    void set_aside(Chunk& chunk, std::size_t device, pns::Outcome overdue = pns::Outcome::abandoned,
                   std::string_view reason = {});
    /// Ends a device that is not loaded, after so many attempts.
    void drop_device(LaneRun& run, std::size_t platform, std::uint16_t partition,
                     std::uint32_t number, unsigned attempts, pns::Outcome outcome);
    void drop_waiting(LaneRun& run);
    /// What devices of the strand that were never loaded end as: what stands in their way.
    pns::Outcome untried(LaneRun& run, const Strand& strand);
    /// Ends what the iterators have left.
    pns::Task<void> drop_rest(LaneRun& run, const Strand& strand, std::uint16_t partition,
                              registry::Bitmap::const_iterator& next,
                              registry::Bitmap::const_iterator end);
    /// As many devices as are read at a time, or fewer.
    bool is_small(const LaneRun& run) const {
        return run.run->tally.audience() <= parts_.config.fanout_chunk_devices;
    }
    bool may_walk(const LaneRun& run) const { return !stopping_ && !run.run->dropped; }
    /// For `time`, or until a command comes.
    pns::Task<void> sleep(LaneRun& run, std::chrono::steady_clock::duration time);
    /// Sleeps before a shut door, `left` devices of the strand behind it.
    pns::Task<void> wait_for_door(LaneRun& run, std::size_t platform, std::uint64_t left);
    static void wake(LaneRun& run);
    /// Waits until the send's and the hub's rate let some of `want` pushes pass; how many. 0: a
    /// command came first.
    pns::Task<std::size_t> take_rate(LaneRun& run, std::size_t want);
    static void give_rate_back(LaneRun& run, std::size_t count);
    void tell_figures(LaneRun& run);
    void flush(LaneRun& run);
    void prune(LaneRun& run);
    void tell_attempts(LaneRun& run);
    void tell_waiting();
    /// An answer of the sample: how long it was queued and how long the provider took.
    void tell_times(const Chunk& chunk, const pns::Push& push);
    /// Looks soon whether this lane is done with the run; now it may still be in use.
    void end_soon(LaneRun& run);
    void end_if_done();
};

}  // namespace hub
