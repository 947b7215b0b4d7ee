// What a lane does about a command to a send, and about rates. Tested by
// tests/hub_control_test.cpp.
//
// The send's home decides and sets the mode (hub/send/send_home.cpp); then each lane obeys on its
// own loop: it wakes its walks, and drops or keeps what waits. No lane touches the walks of
// another.

#include <algorithm>
#include <cassert>

#include "hub/send/fanout_lane.hpp"

namespace hub {

namespace {

constexpr std::size_t drops_between_breaths = 65'536;
/// Rates are looked at this often at most, so that fast ones still go out in chunks worth a read.
constexpr std::int64_t rate_wait_us_min = 10'000;

}  // namespace

void FanoutLane::obey(const std::shared_ptr<SendRun>& run) {
    for (LaneRun& mine : runs_) {
        if (mine.run != run) continue;
        mine.mode = run->mode;
        wake(mine);
        if (mine.mode != Mode::go) {
            mixed_window_.withdraw(&mine);
            withdrawing_ = true;
            senders_.withdraw(&mine, run->hub->row.number, run->flow);
            withdrawing_ = false;
        }
        if (mine.mode == Mode::drop) drop_waiting(mine);
        flush(mine);
        end_soon(mine);
    }
}

void FanoutLane::tell_figures(LaneRun& run) {
    const auto retries = static_cast<std::int64_t>(run.waiting());
    run.run->in_flight.fetch_add(run.in_flight - run.in_flight_told, std::memory_order_relaxed);
    run.run->retries.fetch_add(retries - run.retries_told, std::memory_order_relaxed);
    run.in_flight_told = run.in_flight;
    run.retries_told = retries;
}

void FanoutLane::set_aside(Chunk& chunk, std::size_t device, pns::Outcome overdue,
                           std::string_view reason) {
    if (chunk.run->mode == Mode::drop) {
        const bool late = chunk.run->run->overdue;
        finish(chunk, device, late ? overdue : pns::Outcome::abandoned, late ? reason : "");
    } else {
        put_off(chunk, device, 0, {});
    }
}

void FanoutLane::drop_device(LaneRun& run, std::size_t platform, std::uint16_t partition,
                             std::uint32_t number, unsigned attempts, pns::Outcome outcome) {
    run.finals.add(platform, outcome);
    run.notes.mark(platform, outcome, partition, number);
    if (attempts == 0) run.notes.never_out();
    assert(run.todo > 0);
    --run.todo;
}

pns::Outcome FanoutLane::untried(LaneRun& run, const Strand& strand) {
    const bool shut = run.run->overdue && strand.platform != Strand::mixed &&
                      flow_of(run, strand.platform) != Flow::open;
    return shut ? waits_of(run, strand.platform).latest : pns::Outcome::abandoned;
}

pns::Task<void> FanoutLane::drop_rest(LaneRun& run, const Strand& strand, std::uint16_t partition,
                                      registry::Bitmap::const_iterator& next,
                                      registry::Bitmap::const_iterator end) {
    const std::size_t platform = strand.platform == Strand::mixed ? 0 : strand.platform;
    const pns::Outcome outcome = untried(run, strand);
    for (std::size_t i = 0; next != end && i < drops_between_breaths; ++i, ++next) {
        drop_device(run, platform, partition, *next, 0, outcome);
    }
    flush(run);
    co_await sleep(run, std::chrono::steady_clock::duration::zero());
}

pns::Task<void> FanoutLane::sleep(LaneRun& run, std::chrono::steady_clock::duration time) {
    if (stopping_) co_return;
    Timer timer(loop_.get_executor(), time);
    run.sleepers.push_back(&timer);
    co_await timer.async_wait(pns::as_result);
    std::erase(run.sleepers, &timer);
}

void FanoutLane::wake(LaneRun& run) {
    for (Timer* timer : run.sleepers) timer->cancel();
}

pns::Task<std::size_t> FanoutLane::take_rate(LaneRun& run, std::size_t want) {
    const auto most = static_cast<std::uint32_t>(want);
    while (run.mode == Mode::go && may_walk(run)) {
        const std::int64_t now = parts_.clock.steady_us();
        std::int64_t wait_us = 0;
        std::uint32_t got = most;
        if (run.run->hub_rate) got = run.run->hub_rate->take(most, now, wait_us);
        if (run.run->rate && got > 0) {
            const std::uint32_t passed = run.run->rate->take(got, now, wait_us);
            if (run.run->hub_rate) run.run->hub_rate->give_back(got - passed);
            got = passed;
        }
        if (got > 0) co_return got;
        const std::chrono::microseconds wait(std::max(wait_us, rate_wait_us_min));
        co_await sleep(run, wait);
    }
    co_return 0;
}

void FanoutLane::give_rate_back(LaneRun& run, std::size_t count) {
    if (count == 0) return;
    const auto tokens = static_cast<std::uint32_t>(count);
    if (run.run->hub_rate) run.run->hub_rate->give_back(tokens);
    if (run.run->rate) run.run->rate->give_back(tokens);
}

}  // namespace hub
