// Devices that wait for another attempt. Tested by tests/hub_fanout_test.cpp and
// tests/hub_control_test.cpp.

#include <algorithm>
#include <tuple>

#include "hub/process/clock.hpp"
#include "hub/send/fanout_lane.hpp"
#include "hub/send/trace.hpp"
#include "pns/retry_policy.hpp"

namespace hub {

void FanoutLane::later(Chunk& chunk, std::size_t device, std::int64_t wait_ms, Attempt attempt,
                       pns::Outcome otherwise, std::string_view reason) {
    LaneRun& run = *chunk.run;
    if (run.mode == Mode::drop) {
        finish(chunk, device, pns::Outcome::abandoned, reason);
        return;
    }
    unsigned attempts = chunk.attempts.empty() ? 0 : chunk.attempts[device];
    bool possible =
        attempt == Attempt::put_off || run.retries.size() < parts_.config.retries_waiting_max;
    if (attempt == Attempt::made) {
        const auto limits =
            pns::retry_limits(pns::platforms()[serving(chunk.platforms[device])].name);
        const auto delay = pns::retry_delay_ms(limits, ++attempts, wait_ms, random_());
        possible = possible && delay.has_value();
        wait_ms = delay.value_or(0);
    }
    const std::int64_t due = now_ms() + wait_ms;
    if (!possible || due >= run.run->deadline_ms) {
        finish(chunk, device, otherwise, reason);
        return;
    }
    if (parts_.trace.on() && attempt == Attempt::made)
        tell_trace(chunk, device, otherwise, reason, due);
    const std::size_t platform = chunk.marked ? chunk.marked_as[device] : chunk.platforms[device];
    bool marked = chunk.marked;
    if (marked && attempt != Attempt::made && attempts == 0) {  // it was never out
        run.notes.unmark(platform, chunk.partition, chunk.numbers[device]);
        marked = false;
    }
    const bool claimed = chunk.built || (!chunk.claimed.empty() && chunk.claimed[device] != 0);
    run.retries.emplace(
        due, Retry{chunk.partition, chunk.numbers[device], static_cast<std::uint8_t>(attempts),
                   static_cast<std::uint8_t>(platform), marked, claimed});
    retries_waiting_.fetch_add(1, std::memory_order_relaxed);
    if (chunk.window != nullptr) chunk.window->give_back(1);
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
    if (--run.in_flight == 0 && run.mode != Mode::go) end_soon(run);
}

void FanoutLane::start_due_retries(LaneRun& run, std::int64_t now) {
    const auto due_end = run.retries.upper_bound(now);
    std::vector<Retry> due;
    for (auto it = run.retries.begin(); it != due_end; ++it) due.push_back(it->second);
    if (due.empty()) return;
    run.retries.erase(run.retries.begin(), due_end);
    retries_waiting_.fetch_sub(due.size(), std::memory_order_relaxed);
    std::sort(due.begin(), due.end(), [](const Retry& a, const Retry& b) {
        return std::tie(a.marked, a.partition, a.number) <
               std::tie(b.marked, b.partition, b.number);
    });
    for (std::size_t i = 0; i < due.size();) {
        const Retry& first = due[i];
        Chunk& chunk = take_chunk(run, first.partition);
        chunk.marked = first.marked;
        for (; i < due.size() && due[i].partition == first.partition &&
               due[i].marked == first.marked &&
               chunk.numbers.size() < parts_.config.fanout_chunk_devices;
             ++i) {
            chunk.numbers.push_back(due[i].number);
            chunk.attempts.push_back(due[i].attempts);
            chunk.platforms.push_back(due[i].platform);
            chunk.claimed.push_back(due[i].claimed ? 1 : 0);
        }
        if (chunk.marked) chunk.marked_as = chunk.platforms;
        ++run.walks;
        nursery_.start(walk_retries(run, chunk));
    }
}

pns::Task<void> FanoutLane::walk_retries(LaneRun& run, Chunk& chunk) {
    const std::size_t count = chunk.numbers.size();
    std::size_t passed = run.rated ? 0 : count;
    while (passed < count && run.mode == Mode::go && may_walk(run)) {
        passed += co_await take_rate(run, count - passed);
    }
    bool open = passed == count && run.mode == Mode::go;
    if (open) open = co_await mixed_window_.take(count, false, &run);
    if (open) {
        chunk.window = &mixed_window_;
        co_await send_chunk(chunk);
    } else {
        if (run.rated) give_rate_back(run, passed);
        return_retries(chunk);
        close_chunk(chunk);
    }
    --run.walks;
    end_soon(run);
}

void FanoutLane::return_retries(Chunk& chunk) {
    LaneRun& run = *chunk.run;
    const std::int64_t now = now_ms();
    for (std::size_t i = 0; i < chunk.numbers.size(); ++i) {
        if (run.mode == Mode::drop) {
            drop_device(run, chunk.platforms[i], chunk.partition, chunk.numbers[i], chunk.marked);
            continue;
        }
        run.retries.emplace(now, Retry{chunk.partition, chunk.numbers[i], chunk.attempts[i],
                                       static_cast<std::uint8_t>(chunk.platforms[i]), chunk.marked,
                                       chunk.claimed[i] != 0});
        retries_waiting_.fetch_add(1, std::memory_order_relaxed);
    }
}

void FanoutLane::drop_retries(LaneRun& run) {
    for (const auto& [due, retry] : run.retries) {
        drop_device(run, retry.platform, retry.partition, retry.number, retry.marked);
    }
    retries_waiting_.fetch_sub(run.retries.size(), std::memory_order_relaxed);
    run.retries.clear();
}

}  // namespace hub
