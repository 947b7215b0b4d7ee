// Commands to a running send: what its home lane decides and what every lane does about it.
// Tested by tests/hub_control_test.cpp.
//
// The home lane of a send applies a command to the tally and sets the mode; then each lane obeys on
// its own loop: it wakes its walks, and drops or keeps what waits. The answer comes last, when the
// figures after the command are on disk. Deadlines are of this kind, too: the home lane finds them
// over and drops the rest. No lane touches the walks of another.

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cassert>
#include <filesystem>

#include "hub/process/log.hpp"
#include "hub/send/fanout_lane.hpp"
#include "hub/send/send_request.hpp"

namespace asio = boost::asio;

namespace hub {

namespace {

constexpr std::size_t drops_between_breaths = 65'536;
/// Rates are looked at this often at most, so that fast ones still go out in chunks worth a read.
constexpr std::int64_t rate_wait_us_min = 10'000;

void set_deadline(SendRun& run, std::int64_t wall_ms, const pns::Clock& clock) {
    run.deadline.set(wall_ms, clock.wall_ms(), clock.steady_ms());
    run.tally.set_deadline(wall_ms);
}

bool canary_open(const SendRun& run) {
    return run.send.canary_ppm != 0 && !run.tally.released();
}

}  // namespace

std::int64_t undelivered_after_ms(const registry::Send& send, std::uint64_t devices,
                                  std::int64_t from_ms) {
    const std::int64_t at_rate_ms =
        send.rate.count == 0
            ? 0
            : static_cast<std::int64_t>(devices * 1'000 * send.rate.period_s / send.rate.count);
    return from_ms + undelivered_ms_max + at_rate_ms;
}

// --- the home lane ---

void FanoutLane::control(const std::shared_ptr<SendRun>& run, SendEvent event,
                         registry::Done<ControlAnswer> done) {
    if (run->dropped) return done(registry::make_error_code(registry::errc::not_found));
    if (stopping_) return done(registry::make_error_code(registry::errc::closed));
    const std::int64_t now = parts_.clock.wall_ms();
    Tally& tally = run->tally;
    const bool waited = tally.waits_since_ms() != 0;
    // After a restart the state knows it before the goal is found again.
    const bool canary_over =
        canary_open(*run) && (tally.goal_reached() || tally.state() == registry::SendState::held);
    const bool late = run->mode == Mode::drop && event != SendEvent::cancel;
    ControlAnswer refused;
    if (!late && event == SendEvent::resume && next_state(tally.state(), event))
        refused.busy = owner_.ends_waiting(*run);
    if (late || !refused.busy.empty() || !tally.apply(event, now)) {
        refused.state = tally.state();
        return done(refused);
    }
    const bool waits = tally.waits_since_ms() != 0;
    if (waits) owner_.begins_to_wait(*run);
    if (!run->send.deadline_given && waits != waited) {
        const std::uint64_t left = tally.audience() - tally.final_devices();
        const std::int64_t hours = parts_.config.sends_paused_hours_max;
        set_deadline(*run,
                     waits ? now + hours * 3'600'000 : undelivered_after_ms(run->send, left, now),
                     parts_.clock);
    }
    const bool releases = event == SendEvent::cancel || (event == SendEvent::resume && canary_over);
    if (releases && canary_open(*run)) {
        tally.set_released();
        if (run->rounds.begun()) owner_.open_round(run);
    }
    if (run->mode != Mode::drop) run->mode = mode_of(tally.state());
    auto told = [this, run, done = std::move(done)] {
        write_progress(run, false, [run, done](registry::Result<void> written) {
            // Not found: it has become final meanwhile, and that is on disk.
            if (!written && written.error() != registry::errc::not_found) {
                return done(written.error());
            }
            ControlAnswer taken;
            taken.allowed = true;
            taken.state = run->tally.state();
            done(taken);
        });
    };
    owner_.tell_lanes(run, std::move(told));
}

void FanoutLane::reached(const std::shared_ptr<SendRun>& run) {
    if (run->tally.complete()) return checkpoint(run);
    if (!canary_open(*run) || !run->tally.goal_reached()) return;
    const std::int64_t now = parts_.clock.wall_ms();
    const bool waited = run->tally.waits_since_ms() != 0;
    if (!run->tally.apply(SendEvent::canary_final, now)) return;
    if (run->tally.waits_since_ms() != 0) owner_.begins_to_wait(*run);
    if (!waited && !run->send.deadline_given) {
        set_deadline(*run, now + parts_.config.sends_paused_hours_max * 3'600'000, parts_.clock);
    }
    if (run->mode != Mode::drop) run->mode = mode_of(run->tally.state());
    owner_.tell_lanes(run, [this, run] { checkpoint(run); });
}

void FanoutLane::expire(const std::shared_ptr<SendRun>& run) {
    if (run->mode == Mode::drop) return;
    log_info("a send's time is over: what is not out is abandoned", {{"send", run->send.id}});
    run->tally.set_abandoned();
    run->overdue = true;
    run->mode = Mode::drop;
    if (canary_open(*run)) {
        run->tally.set_released();
        if (run->rounds.begun()) owner_.open_round(run);
    }
    owner_.tell_lanes(run, [] {});
}

void FanoutLane::look_at_disk() {
    constexpr std::int64_t apart_ms = 1'000;
    const std::int64_t now = parts_.clock.steady_ms();
    if (parts_.config.disk_free_mib_min == 0 || now - disk_looked_ms_ < apart_ms) return;
    disk_looked_ms_ = now;
    std::error_code failure;
    const auto space = std::filesystem::space(parts_.config.data_dir, failure);
    const auto least = static_cast<std::uintmax_t>(parts_.config.disk_free_mib_min) << 20;
    const bool low = !failure && space.available < least;
    if (low && !parts_.disk_low) log_warn("little free disk: sends are refused", {});
    parts_.disk_low = low;
}

// --- every lane ---

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
