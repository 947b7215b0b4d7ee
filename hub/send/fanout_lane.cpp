// Tested by tests/hub_fanout_test.cpp.
//
// The frame of one lane: it begins its share of a send, and moves what chunks have learned to the
// tally and the prune gates. All of it runs on the lane's loop and awaits only in drain() and
// park(). A LaneRun may be in use further up the stack, so end_soon() only posts its removal.

#include "hub/send/fanout_lane.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cassert>
#include <iterator>
#include <utility>

#include "hub/process/log.hpp"
#include "pns/account.hpp"

namespace asio = boost::asio;

namespace hub {

namespace {

constexpr std::int64_t drain_poll_ms = 10;

}  // namespace

FanoutLane::FanoutLane(Loops& loops, std::size_t index, FanoutParts& parts, Reached reached)
    : reached_(std::move(reached)),
      loop_(loops.lane(index)),
      index_(index),
      lanes_(loops.size()),
      parts_(parts),
      nursery_(loop_.get_executor()),
      senders_(loop_,
               {parts.hubs, parts.config, parts.bearers, parts.network, parts.broken, parts.health},
               [this](std::uint32_t hub, std::size_t platform, std::uint32_t door) {
                   opened(hub, platform, door);
               }),
      mixed_window_(loop_.get_executor(), parts.config.fanout_window_pushes),
      waiting_(pns::platforms().size()),
      unwalked_(pns::platforms().size()) {}

FanoutLane::~FanoutLane() = default;

void FanoutLane::begin(std::shared_ptr<SendRun> run,
                       std::shared_ptr<const std::vector<Strand>> strands) {
    if (stopping_) return;
    std::uint64_t todo = 0;
    std::size_t partitions = 0;
    for (const Strand& strand : *strands) {
        partitions = std::max(partitions, strand.partitions.size());
        for (std::size_t p = first_partition(*run); p < strand.partitions.size();
             p += partition_step(*run)) {
            todo += strand.partitions[p].cardinality();
        }
    }
    if (todo == 0) return;
    LaneRun& mine = runs_.emplace_back(std::move(run), partitions, parts_.clock.steady_ms());
    mine.self = std::prev(runs_.end());
    mine.todo = todo;
    mine.run->tally.set_started(parts_.clock.wall_ms());
    if (mine.run->at_home && try_send(mine, strands->front())) return;
    mine.walks += strands->size();
    for (std::size_t s = 0; s < strands->size(); ++s) nursery_.start(walk(mine, strands, s));
}

// --- what was learned goes to the tally, the gates, the ledger ---

namespace {

std::string_view result_name(pns::Verdict::Kind kind) {
    using Kind = pns::Verdict::Kind;
    switch (kind) {
        case Kind::accepted:
            return "accepted";
        case Kind::dead:
            return "dead";
        case Kind::suspect:
            return "suspect";
        case Kind::refused:
            return "refused";
        case Kind::retry_later:
            return "later";
        case Kind::lost:
            return "lost";
        case Kind::not_sent:
            return "put_off";
    }
    return {};
}

}  // namespace

// Also while nothing becomes final: an outage shows.
void FanoutLane::tell_attempts(LaneRun& run) {
    const std::string& hub = run.run->hub->row.name;
    const auto tell = [&](std::size_t platform, pns::Verdict::Kind kind, std::uint64_t count) {
        const std::string_view name = pns::platforms()[platform].name;
        parts_.metrics.attempts(hub, name, result_name(kind), count);
        if (kind == pns::Verdict::Kind::accepted)
            parts_.metrics.succeeded(hub, name, parts_.clock.wall_ms());
    };
    const auto tell_refused = [&](std::size_t platform, std::string_view why, std::uint64_t count) {
        parts_.metrics.refused(pns::platforms()[platform].name, why, count);
    };
    run.attempts.take(tell, tell_refused);
}

void FanoutLane::tell_waiting() {
    std::vector<std::uint64_t> sums = unwalked_;
    for (const LaneRun& run : runs_)
        for (const LaneRun::Waits& one : run.waits) sums[one.platform] += one.list.size();
    for (std::size_t p = 0; p < sums.size(); ++p)
        waiting_[p].store(sums[p], std::memory_order_relaxed);
}

void FanoutLane::tell_times(const Chunk& chunk, const pns::Push& push) {
    const auto seconds = [](std::int64_t ms) {
        return static_cast<double>(std::max<std::int64_t>(ms, 0)) / 1'000;
    };
    parts_.metrics.push_times(pns::platforms()[chunk.platforms[push.index]].name,
                              seconds(push.sent_at_ms - chunk.submitted_us / 1'000),
                              seconds(parts_.clock.steady_ms() - push.sent_at_ms));
}

void FanoutLane::flush(LaneRun& run) {
    tell_attempts(run);
    if (run.notes.empty()) return tell_figures(run);
    const auto ended = static_cast<std::int64_t>(run.notes.ended());
    if (!run.run->dropped && ended > 0) {
        parts_.backlog.fetch_sub(ended, std::memory_order_relaxed);
        run.run->backlog.ended(static_cast<std::uint64_t>(ended));
    }
    for (const auto& [platform, outcome, count] : run.finals.entries()) {
        parts_.metrics.pushes(run.run->hub->row.name, pns::platforms()[platform].name,
                              pns::outcome_name(outcome), static_cast<std::uint64_t>(count));
    }
    run.finals.clear();
    prune(run);
    const bool reached = run.run->tally.add(run.notes);
    tell_figures(run);  // last: who sees nothing in flight sees what became of it
    if (reached) reached_(run.run);
}

void FanoutLane::prune(LaneRun& run) {
    const std::uint32_t hub = run.run->hub->row.number;
    const std::int64_t now = parts_.clock.steady_ms();
    auto learned = std::exchange(run.learned, {});
    for (LaneRun::Learned& one : learned) {
        const PruneGates::Subject subject{hub, one.platform, one.app};
        auto dead = parts_.gates.pass(subject, run.run->send.id, one.accepted, std::move(one.dead),
                                      now, one.alive);
        if (dead.empty()) continue;
        auto told =
            [&metrics = parts_.metrics, of = run.run->hub,
             name = pns::platforms()[one.platform].name](registry::Result<std::size_t> retired) {
                if (retired) {
                    metrics.retired(of->row.name, name, *retired);
                } else {
                    log_error("retiring dead handles failed: they are held until the next send",
                              {{"error", retired.error().message()}});
                }
            };
        parts_.gates.retire(parts_.registry, subject, "provider", std::move(dead), now,
                            std::move(told));
    }
    if (run.rotations.empty()) return;
    parts_.registry.rotate(
        hub, std::move(run.rotations), [](registry::Result<std::size_t> rotated) {
            if (!rotated)
                log_error("storing rotated handles failed", {{"error", rotated.error().message()}});
        });
    run.rotations.clear();
}

void FanoutLane::end_soon(LaneRun& run) {
    if (!std::exchange(run.ending, true)) ending_.push_back(run.self);
    if (std::exchange(end_posted_, true)) return;
    asio::post(loop_, [this] {
        end_posted_ = false;
        end_if_done();
    });
}

void FanoutLane::end_if_done() {
    for (const auto run : std::exchange(ending_, {})) {
        run->ending = false;
        const bool settled = run->mode != Mode::go && run->in_flight == 0;
        if (run->todo == 0 || run->run->dropped || settled) flush(*run);
        if (run->walks != 0 || (run->todo != 0 && !run->run->dropped)) continue;
        retries_waiting_.fetch_sub(run->waiting(), std::memory_order_relaxed);
        run->waits.clear();
        tell_figures(*run);
        runs_.erase(run);
    }
}

void FanoutLane::look() {
    const std::int64_t now = parts_.clock.steady_ms();
    for (LaneRun& run : runs_) {
        flush(run);
        if (run.run->dropped) wake(run);
        start_due(run, now);
        end_soon(run);
    }
    tell_waiting();
}

pns::Task<void> FanoutLane::drain(std::int64_t drain_ms) {
    stopping_ = true;
    mixed_window_.close();
    senders_.close();
    for (LaneRun& run : runs_) wake(run);
    // What was never sent comes back at once; what is with the provider is waited for.
    pns::Nursery stops(loop_.get_executor());
    stops.start(senders_.stop(drain_ms));
    const std::int64_t until = parts_.clock.steady_ms() + drain_ms;
    Timer timer(loop_.get_executor());
    // The turns are counted, too: a clock that a test moves may stand still.
    for (std::int64_t waited_ms = 0;
         in_flight_ > 0 && waited_ms < drain_ms && parts_.clock.steady_ms() < until;
         waited_ms += drain_poll_ms) {
        timer.expires_after(std::chrono::milliseconds(drain_poll_ms));
        const auto [ec] = co_await timer.async_wait(pns::as_result);
        if (ec) break;
    }
    co_await stops.join();
    for (LaneRun& run : runs_) flush(run);
}

pns::Task<void> FanoutLane::park() {
    nursery_.cancel();
    co_await nursery_.join();
    co_await senders_.join();
}

}  // namespace hub
