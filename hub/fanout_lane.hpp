#pragma once

// The part of the fan-out that lives on one lane: its share of every open send, its senders, its
// windows. Every member runs on the lane's loop unless it says otherwise.

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "hub/config.hpp"
#include "hub/loops.hpp"
#include "hub/metrics.hpp"
#include "hub/prune_gates.hpp"
#include "hub/push_window.hpp"
#include "hub/rendering.hpp"
#include "hub/send_run.hpp"
#include "pns/bearer.hpp"
#include "pns/nursery.hpp"
#include "pns/sender.hpp"

namespace hub {

/// What all lanes work with. Outlives them.
struct FanoutParts {
    StorePool& store;
    registry::Registry& registry;
    Hubs& hubs;
    Metrics& metrics;
    const Config& config;
    PruneGates& gates;
    pns::BearerCache& bearers;
    pns::Network network;
    std::function<void(const std::shared_ptr<SendRun>&)>
        on_ended;  ///< final checkpoint is on disk; any thread
    std::function<void(const std::shared_ptr<SendRun>&)>
        on_complete;  ///< every device is final; any thread
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
    FanoutLane(boost::asio::io_context& loop, std::size_t index, std::size_t lanes,
               FanoutParts& parts);
    ~FanoutLane();
    FanoutLane(const FanoutLane&) = delete;
    FanoutLane& operator=(const FanoutLane&) = delete;

    /// Walks this lane's partitions of the strands.
    void begin(std::shared_ptr<SendRun> run, std::shared_ptr<const std::vector<Strand>> strands);
    /// Makes this lane the home of the run: it writes its checkpoints.
    void adopt(std::shared_ptr<SendRun> run);
    /// Writes the run's progress unless a write is on its way; ends the run if it is complete. Home
    /// lane only.
    void checkpoint(const std::shared_ptr<SendRun>& run);
    void forget_senders(std::uint32_t hub);

    /// Until cancelled: flushes notes, sends due retries, writes checkpoints.
    pns::Task<void> tick();
    /// Phase one of stopping: no new chunks; pushes in flight get `drain_ms`, then their verdict;
    /// notes are flushed.
    pns::Task<void> drain(std::int64_t drain_ms);
    /// Phase two, after every lane has drained: the last checkpoint of every run that has its home
    /// here.
    pns::Task<void> park();

    pns::Executor executor() { return loop_.get_executor(); }
    pns::Nursery& nursery() { return nursery_; }
    std::uint64_t pushes_in_flight() const { return in_flight_.load(std::memory_order_relaxed); }
    std::uint64_t retries_waiting() const {
        return retries_waiting_.load(std::memory_order_relaxed);
    }

  private:
    struct Retry {
        std::uint16_t partition = 0;
        std::uint32_t number = 0;
        std::uint8_t attempts = 0;
        bool marked = false;  ///< at-most-once: already in `done` as Unknown
    };

    /// One send on this lane. Lives until none of its devices, walks and chunks is left here.
    struct LaneRun {
        LaneRun(std::shared_ptr<SendRun> shared, std::size_t partitions)
            : run(std::move(shared)), notes(partitions), rendering(*run) {}
        std::shared_ptr<SendRun> run;
        Notes notes;
        Rendering rendering;
        std::uint64_t todo = 0;                      ///< devices of this lane that are not final
        std::size_t walks = 0;                       ///< coroutines and chunks that refer to this
        std::multimap<std::int64_t, Retry> retries;  ///< by due time, ms
        struct Learned {
            std::uint64_t accepted = 0;
            std::vector<PruneGates::Suspect> dead;
            std::array<std::uint32_t, outcomes_count> finals{};
        };
        std::array<Learned, platforms_max> learned;
        std::vector<registry::Rotation> rotations;
    };

    /// The sender of one (hub, platform) on this lane and what bounds it. The slot stays, the
    /// sender may be replaced.
    struct Slot {
        Slot(pns::Executor executor, std::size_t pushes_max) : window(executor, pushes_max) {}
        PushWindow window;
        std::unique_ptr<pns::Sender> sender;
        std::uint64_t epoch = 0;
    };

    /// Rows that were read together and their pushes in flight.
    struct Chunk final : pns::PushOwner {
        explicit Chunk(FanoutLane& owner) : lane(owner) {}
        void on_verdict(pns::Push& push, pns::Verdict&& verdict) override {
            lane.judge(*this, push, std::move(verdict));
        }
        FanoutLane& lane;
        LaneRun* run = nullptr;
        PushWindow* window = nullptr;  ///< null: not counted in any
        std::uint16_t partition = 0;
        std::size_t platform = 0;  ///< counted under this if the device is gone
        std::vector<std::uint32_t> numbers;
        std::vector<std::uint8_t> attempts;  ///< empty: all first attempts
        bool marked = false;                 ///< at-most-once: already in `done` as Unknown
        registry::DeviceChunk rows;
        std::vector<pns::Push> pushes;
        std::vector<std::size_t> platforms;  ///< by device
        std::size_t open = 0;  ///< pushes without a verdict, plus one while being filled
    };

    boost::asio::io_context& loop_;
    const std::size_t index_, lanes_;
    FanoutParts& parts_;
    pns::Nursery nursery_;
    bool stopping_ = false;
    bool senders_stopped_ = false;
    bool end_posted_ = false;
    std::mt19937_64 random_{std::random_device{}()};
    std::list<LaneRun> runs_;
    std::vector<std::shared_ptr<SendRun>> home_runs_;
    std::map<std::pair<std::uint32_t, std::size_t>, std::unique_ptr<Slot>> slots_;
    std::vector<std::unique_ptr<Chunk>> chunks_;
    std::vector<Chunk*> chunks_free_;
    PushWindow
        mixed_window_;  ///< pushes whose platform is not known before they are loaded, and retries
    std::atomic<std::uint64_t> in_flight_{0}, retries_waiting_{0};

    pns::Task<void> walk(LaneRun& run, std::shared_ptr<const std::vector<Strand>> strands,
                         std::size_t strand);
    pns::Task<void> walk_retries(LaneRun& run, Chunk& chunk);
    /// Loads, renders and submits what `chunk.numbers` names; places in its window are taken
    /// already.
    pns::Task<void> send_chunk(Chunk& chunk);
    pns::Task<bool> mark_before_submit(Chunk& chunk);
    pns::Task<void> retire_sender(std::unique_ptr<pns::Sender> sender);

    Chunk& take_chunk(LaneRun& run, std::uint16_t partition);
    void close_chunk(Chunk& chunk);  ///< gives up its last hold; recycles it when no push is open
    void fill_direct(Chunk& chunk);
    void submit(Chunk& chunk);
    void build(Chunk& chunk);
    void judge(Chunk& chunk, pns::Push& push, pns::Verdict&& verdict);
    /// `reason` is the provider's or our word, `new_handle` what the provider named instead.
    void finish(Chunk& chunk, std::size_t device, pns::Outcome outcome,
                std::string_view reason = {}, std::string_view new_handle = {});
    enum class Attempt : std::uint8_t { made, not_made };
    /// Keeps the device for another attempt, or finishes it with `otherwise` if its time, its
    /// attempts or the list's bound are used up.
    void later(Chunk& chunk, std::size_t device, std::int64_t wait_ms, Attempt attempt,
               pns::Outcome otherwise, std::string_view reason = {});
    void start_due_retries(LaneRun& run, std::int64_t now);
    void flush(LaneRun& run);
    void prune(LaneRun& run);
    void end_if_done();
    void end_soon();  ///< from inside a walk or a verdict, which still use their run
    /// The platform through which registrations of `platform` are served: itself but for gcm
    /// behind the alias.
    std::size_t serving(std::size_t platform) const;
    Slot& slot(std::uint32_t hub, std::size_t platform);
    void open_sender(Slot& slot, std::uint32_t hub, std::size_t platform);
};

}  // namespace hub
