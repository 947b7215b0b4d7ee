// Devices that wait for another attempt, and what lets them go again. Tested by
// tests/hub_outage_test.cpp, tests/hub_fanout_test.cpp and tests/hub_control_test.cpp.
//
// A device waits for a time (hub/send/attempts.hpp) or for a door of the sender that is shut
// (hub/send/wait_list.hpp), until the send's deadline. Runs on the lane's loop.
//
// At-most-once. A push is marked, and the mark is on disk, before it is handed to a sender
// (mark_before_submit); whoever starts after a crash counts what is marked as Unknown. What waits
// bears no mark, since it is known not to have been taken: it was never out, or the provider
// answered and did not take it. A push whose answer was lost never waits, it ends. The mark is
// taken back in memory and leaves the disk with the next checkpoint, a part of a second later, with
// the answer to a pause, or with the last one of a stop; the next attempt writes it anew. A crash
//   - between the mark and the submit, or before the mark that was taken back has left the disk:
//     the device is Unknown and got nothing. One push less, never one more;
//   - while it waits without a mark: it goes out after the restart, for the first time;
//   - after it was marked again: as at first.
// Checkpoints reach the disk in the order of their snapshots, so an old one without the mark cannot
// come behind the one that was waited for. Within one batch for the tally what is taken back comes
// before what is marked.

#include "hub/send/fanout_lane.hpp"
#include "hub/send/trace.hpp"

namespace hub {

FanoutLane::LaneRun::Waits& FanoutLane::waits_of(LaneRun& run, std::size_t platform) {
    for (LaneRun::Waits& one : run.waits) {
        if (one.platform == platform) return one;
    }
    return run.waits.emplace_back(platform, parts_.config.retries_waiting_max);
}

Waiting FanoutLane::past_of(const Chunk& chunk, std::size_t device) const {
    Waiting past;
    if (!chunk.before.empty()) past = chunk.before[device];
    past.partition = chunk.partition;
    past.number = chunk.numbers[device];
    past.door = 0;
    return past;
}

void FanoutLane::again(Chunk& chunk, std::size_t device, const FailedAttempt& failed,
                       std::string_view reason) {
    Waiting past = past_of(chunk, device);
    const std::int64_t now = parts_.clock.steady_ms();
    const auto limits =
        pns::retry_limits(pns::platforms()[senders_.serving(chunk.platforms[device])].name);
    const auto wait_ms =
        wait_after(failed, limits, chunk.run->run->deadline.steady_ms() - now, random_(), past);
    if (!wait_ms || chunk.run->mode == Mode::drop)
        return finish(chunk, device, failed.outcome, reason);
    if (parts_.trace.on())
        tell_trace(chunk, device, failed.outcome, reason, parts_.clock.wall_ms() + *wait_ms);
    wait(chunk, device, past, now + *wait_ms);
}

void FanoutLane::put_off(Chunk& chunk, std::size_t device, std::int64_t wait_ms,
                         const pns::NotSent& why) {
    LaneRun& run = *chunk.run;
    if (run.mode == Mode::drop) return set_aside(chunk, device, why.outcome, why.reason);
    Waiting past = past_of(chunk, device);
    past.outcome = why.outcome;
    past.door = why.door;
    wait(chunk, device, past, parts_.clock.steady_ms() + wait_ms);
}

void FanoutLane::wait(Chunk& chunk, std::size_t device, Waiting waiting, std::int64_t due_ms) {
    LaneRun& run = *chunk.run;
    if (chunk.marked)
        run.notes.unmark(chunk.marked_as[device], chunk.partition, chunk.numbers[device]);
    keep_waiting(run, chunk.platforms[device], waiting, due_ms);
    if (chunk.window != nullptr) chunk.window->give_back(1);
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
    if (--run.in_flight == 0 && run.mode != Mode::go) end_soon(run);
}

void FanoutLane::keep_waiting(LaneRun& run, std::size_t platform, const Waiting& device,
                              std::int64_t due_ms) {
    LaneRun::Waits& waits = waits_of(run, platform);
    waits.list.add(device, due_ms);
    waits.latest = device.outcome;
    retries_waiting_.fetch_add(1, std::memory_order_relaxed);
}

void FanoutLane::start_due(LaneRun& run, std::int64_t now_ms) {
    if (stopping_ || run.mode != Mode::go || run.run->stalled) return;
    for (LaneRun::Waits& waits : run.waits) {
        if (waits.walked || !waits.list.has_due(now_ms)) continue;
        waits.walked = true;
        ++run.walks;
        nursery_.start(walk_waiting(run, waits));
    }
}

FanoutLane::Flow FanoutLane::flow_of(const LaneRun& run, std::size_t platform) {
    const pns::Sender* sender = senders_.slot(run.run->hub->row.number, platform).sender.get();
    if (sender == nullptr || !sender->shut()) return Flow::open;
    return sender->figures().queued == 0 ? Flow::probe : Flow::shut;
}

pns::Task<void> FanoutLane::walk_waiting(LaneRun& run, LaneRun::Waits& waits) {
    const std::size_t platform = waits.platform;
    while (may_walk(run) && run.mode == Mode::go && !run.run->stalled) {
        const std::int64_t now = parts_.clock.steady_ms();
        if (!waits.list.has_due(now)) break;
        const Flow flow = flow_of(run, platform);
        if (flow == Flow::shut) break;  // looked at again when it opens, or by the tick
        std::size_t room = flow == Flow::probe ? 1 : parts_.config.fanout_chunk_devices;
        if (run.rated) {
            room = co_await take_rate(run, room);
            if (room == 0) break;
        }
        std::vector<Waiting> due = waits.list.take_due(parts_.clock.steady_ms(), room);
        if (run.rated) give_rate_back(run, room - due.size());
        if (due.empty()) continue;
        retries_waiting_.fetch_sub(due.size(), std::memory_order_relaxed);
        PushWindow& window = senders_.slot(run.run->hub->row.number, platform).window;
        const bool taken = co_await window.take(due.size(), is_small(run), &run);
        if (!taken) {
            if (run.rated) give_rate_back(run, due.size());
            for (const Waiting& device : due) {
                if (run.mode == Mode::drop) {
                    drop_device(run, platform, device.partition, device.number, device.attempts,
                                run.run->overdue ? device.outcome : pns::Outcome::abandoned);
                } else {
                    keep_waiting(run, platform, device, now);
                }
            }
            break;
        }
        Chunk& chunk = take_chunk(run, due.front().partition);
        chunk.window = &window;
        chunk.platform = platform;
        for (const Waiting& device : due) chunk.numbers.push_back(device.number);
        chunk.platforms.assign(due.size(), platform);
        chunk.before = std::move(due);
        co_await send_chunk(chunk);
    }
    waits.walked = false;
    --run.walks;
    end_soon(run);
}

void FanoutLane::opened(std::uint32_t hub, std::size_t platform, std::uint32_t door) {
    const std::int64_t now = parts_.clock.steady_ms();
    for (LaneRun& run : runs_) {
        if (run.run->hub->row.number != hub) continue;
        for (LaneRun::Waits& waits : run.waits) {
            if (senders_.serving(waits.platform) != platform) continue;
            door == 0 ? waits.list.open_all(now) : waits.list.open(door, now);
        }
        wake(run);
        start_due(run, now);
    }
}

void FanoutLane::drop_waiting(LaneRun& run) {
    std::size_t count = 0;
    const bool overdue = run.run->overdue;
    for (LaneRun::Waits& waits : run.waits) {
        waits.list.take_all([&](const Waiting& device) {
            drop_device(run, waits.platform, device.partition, device.number, device.attempts,
                        overdue ? device.outcome : pns::Outcome::abandoned);
            ++count;
        });
    }
    retries_waiting_.fetch_sub(count, std::memory_order_relaxed);
}

}  // namespace hub
