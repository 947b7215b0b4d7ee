#include "hub/send/send_run.hpp"

#include <mutex>
#include <utility>

#include "hub/template/gcm_alias.hpp"
#include "pns/mixing.hpp"

namespace hub {

Mode mode_of(registry::SendState state) {
    if (state == registry::SendState::canceling) return Mode::drop;
    const bool waits = state == registry::SendState::held || state == registry::SendState::paused;
    return waits ? Mode::hold : Mode::go;
}

void SendRun::prepare(std::size_t lanes, bool gcm_alias) {
    gcm_through_fcmv1 = gcm_alias;
    native.headers = send.headers;
    if (send.format == "template") {
        auto parsed = parse_properties(send.body);
        if (ok(parsed)) properties = std::get<Properties>(std::move(parsed));
    } else if (send.format == "gcm" && gcm_through_fcmv1) {
        auto converted = gcm_to_fcmv1(send.body);
        if (ok(converted)) {
            native.body = std::get<std::string>(std::move(converted));
        } else {
            native_refusal = {pns::Outcome::invalid_notification_format,
                              std::get<Refusal>(std::move(converted)).message};
        }
    } else {
        native.body = send.body;
    }
    for (std::size_t p = 0; p < todo.partitions.size(); ++p) {
        if (!todo.partitions[p].isEmpty()) {
            home = p % lanes;
            break;
        }
    }
}

void write_progress(registry::Registry& registry, const pns::Clock& clock,
                    const std::shared_ptr<SendRun>& run, bool may_end, registry::Done<void> done) {
    std::lock_guard lock(run->checkpoint_mutex);
    auto [progress, told] = run->tally.snapshot(clock.wall_ms(), may_end);
    if (!registry::is_final(progress.state)) {
        // Results come before the tally counts them: what this progress counts is among them.
        progress.failures_anew = run->failures_anew.exchange(false);
        if (progress.failures_anew) run->failures_kept = 0;
        const auto results = run->results->snapshot(run->failures_kept);
        run->failures_kept += results.size();
        progress.failures = failures_of(results);
    }
    auto written = [run, figures = std::move(told),
                    done = std::move(done)](registry::Result<void> result) {
        if (result) run->tally.written(figures);
        if (!result) run->failures_anew = true;
        done(std::move(result));
    };
    registry.checkpoint(run->hub->row.number, run->send.id, std::move(progress),
                        std::move(written));
}

}  // namespace hub
