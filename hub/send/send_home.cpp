// Commands to a send, its deadline and its checkpoints. Tested by tests/hub_control_test.cpp and
// tests/hub_fanout_test.cpp.
//
// A command is applied to the tally and sets the mode; then each lane obeys on its own loop. The
// answer comes last, when the figures after the command are on disk. A deadline is of this kind,
// too: what is not out then is dropped. Answers of the ledger's writer come through the mailbox.

#include "hub/send/send_home.hpp"

#include <utility>

#include "hub/process/log.hpp"
#include "hub/process/loops.hpp"
#include "hub/send/send_request.hpp"

namespace hub {

namespace {

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

void SendHome::control(const std::shared_ptr<SendRun>& run, SendEvent event,
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
        refused.busy = parts_.places.ends_waiting(*run);
    if (late || !refused.busy.empty() || !tally.apply(event, now)) {
        refused.state = tally.state();
        return done(refused);
    }
    const bool waits = tally.waits_since_ms() != 0;
    if (waits) parts_.places.begins_to_wait(*run);
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
        if (run->rounds.begun()) lanes_.open_round(run);
    }
    if (run->mode != Mode::drop) run->mode = mode_of(tally.state());
    auto told = [this, run, done = std::move(done)] {
        write(run, false, [run, done](registry::Result<void> written) {
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
    lanes_.tell_lanes(run, std::move(told));
}

void SendHome::reached(const std::shared_ptr<SendRun>& run) {
    if (run->tally.complete()) return checkpoint(run);
    if (!canary_open(*run) || !run->tally.goal_reached()) return;
    const std::int64_t now = parts_.clock.wall_ms();
    const bool waited = run->tally.waits_since_ms() != 0;
    if (!run->tally.apply(SendEvent::canary_final, now)) return;
    if (run->tally.waits_since_ms() != 0) parts_.places.begins_to_wait(*run);
    if (!waited && !run->send.deadline_given) {
        set_deadline(*run, now + parts_.config.sends_paused_hours_max * 3'600'000, parts_.clock);
    }
    if (run->mode != Mode::drop) run->mode = mode_of(run->tally.state());
    lanes_.tell_lanes(run, [this, run] { checkpoint(run); });
}

void SendHome::expire(const std::shared_ptr<SendRun>& run) {
    if (run->mode == Mode::drop) return;
    log_info("a send's time is over: what is not out is abandoned", {{"send", run->send.id}});
    run->tally.set_abandoned();
    run->overdue = true;
    run->mode = Mode::drop;
    if (canary_open(*run)) {
        run->tally.set_released();
        if (run->rounds.begun()) lanes_.open_round(run);
    }
    lanes_.tell_lanes(run, [] {});
}

void SendHome::checkpoint(const std::shared_ptr<SendRun>& run) {
    if (run->checkpoint_in_flight) return;
    run->checkpoint_in_flight = true;
    auto done = [this, run](registry::Result<void> written) {
        const auto code = written ? boost::system::error_code{} : written.error();
        mailbox_.put_call([this, run, code] {
            run->checkpoint_in_flight = false;
            const bool stalled_before = run->stalled.exchange(code.failed());
            if (code == registry::errc::not_found) run->dropped = true;
            if (code && !run->dropped) {
                run->tally.touch();
                if (!stalled_before) {
                    log_error("writing a send's progress failed: it waits until that succeeds",
                              {{"send", run->send.id}, {"error", code.message()}});
                }
                return;
            }
            if (run->dropped || run->tally.ended()) {
                std::erase(runs_, run);
                lanes_.ended(run);
            } else if (run->tally.complete()) {
                checkpoint(run);
            }
        });
    };
    write(run, true, std::move(done));
}

void SendHome::look() {
    const std::int64_t now = parts_.clock.steady_ms();
    const auto mine = runs_;
    for (const auto& run : mine) {
        run->tally.note_pace(now);
        if (!stopping_ && now >= run->deadline.steady_ms()) expire(run);
        if (run->tally.take_touched() || run->dropped) checkpoint(run);
    }
}

pns::Task<void> SendHome::park() {
    const auto mine = runs_;
    for (const auto& run : mine) {
        auto last = [this, &run](registry::Done<void> done) { write(run, true, std::move(done)); };
        const auto written = co_await committed<void>(std::move(last));
        // Not found: its last progress was being written already, and made it final.
        if (!written && written.error() != registry::errc::not_found) {
            log_error(
                "writing a send's progress at shutdown failed: some of its pushes may be repeated",
                {{"send", run->send.id}, {"error", written.error().message()}});
        }
    }
}

}  // namespace hub
