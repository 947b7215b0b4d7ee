// What the fan-out tells the trace, and what it makes of a verdict against a handle. Tested by
// tests/hub_trace_test.cpp and tests/hub_prune_test.cpp.

#include <algorithm>

#include "hub/send/fanout_lane.hpp"
#include "hub/send/prune_proof.hpp"
#include "hub/send/trace.hpp"
#include "pns/account.hpp"

namespace hub {

using registry::Device;

void FanoutLane::tell_trace(const Chunk& chunk, std::size_t device, pns::Outcome outcome,
                            std::string_view reason, std::int64_t retry_at_ms) {
    const SendRun& run = *chunk.run->run;
    const unsigned before = chunk.before.empty() ? 0 : chunk.before[device].attempts;
    if (retry_at_ms == 0 && !parts_.trace.wants(outcome, before > 0)) return;
    const Device& row = chunk.rows.devices[device];
    registry::TraceEvent event;
    event.hub = run.hub->row.number;
    event.send_id = run.send.id;
    event.enqueued_at_ms = run.send.enqueued_at_ms;
    std::string hashed, registration_id;
    if (!run.send.direct_handles.empty()) {
        hashed = parts_.trace.handle_id(row.handle);
        event.kind = registry::DeviceKind::handle;
        event.device_id = hashed;
    } else {
        // A row that is gone or could not be read says nothing of whose it was.
        if (!row.present) return;
        const bool installed = !row.installation_id.empty();
        registration_id = registry::id_of(row, chunk.partition);
        event.kind =
            installed ? registry::DeviceKind::installation : registry::DeviceKind::registration;
        event.device_id = installed ? row.installation_id : row.registration_id;
        event.registration_id = registration_id;
    }
    event.partition = chunk.partition;
    event.number = chunk.numbers[device];
    event.templated = !row.template_bytes.empty();
    event.platform = pns::platforms()[chunk.platforms[device]].name;
    const bool answered = verdict_ != nullptr;
    event.attempt = static_cast<std::uint8_t>(std::min(before + (answered ? 1U : 0U), 255U));
    event.at_ms = parts_.clock.wall_ms();
    if (answered) {
        const std::int64_t took_us = parts_.clock.steady_us() - chunk.submitted_us;
        event.took_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(took_us / 1'000, 1));
        if (const auto* accepted = verdict_->get<pns::Accepted>())
            event.provider_id = accepted->provider_id;
    }
    event.retry_at_ms = retry_at_ms;
    event.outcome = pns::outcome_name(outcome);
    event.reason = reason;
    parts_.trace.record(index_, event);
}

std::optional<std::int64_t> FanoutLane::accuse(Chunk& chunk, const pns::Push& push,
                                               const pns::Verdict& verdict) {
    const std::size_t device = push.index;
    const Device& row = chunk.rows.devices[device];
    const std::size_t platform = chunk.platforms[device];
    Accusation accusation;
    accusation.platform = pns::platforms()[platform].name;
    const auto* death = verdict.get<pns::Dead>();
    accusation.suspected = death == nullptr;
    if (death != nullptr) accusation.dead_since_ms = death->dead_since_ms;
    accusation.registered_at_ms = row.registered_at_ms;
    accusation.now_ms = parts_.clock.wall_ms();
    accusation.attempts_before = chunk.before.empty() ? 0 : chunk.before[device].attempts;
    const Weighed weighed = weigh(accusation, parts_.config.web_push_grace_s * 1'000);
    parts_.metrics.accused(accusation.platform, proof_name(weighed.proof));
    if (weighed.proof == Proof::none) return std::nullopt;
    if (weighed.proof == Proof::not_yet) return weighed.wait_ms;
    registry::Retirement dead;
    dead.partition = chunk.partition;
    dead.number = row.number;
    dead.generation = row.generation;
    dead.handle = row.handle;
    dead.dead_since_ms = accusation.dead_since_ms;
    dead.reason = verdict.reason();
    dead.at_ms = accusation.now_ms;
    dead.asked_at_ms = chunk.read_ms;
    dead.installation_id = row.installation_id;
    dead.registration_id = registry::id_of(row, chunk.partition);
    auto& learned = chunk.run->learned_of(platform, push.prepared->app);
    learned.dead.push_back({std::move(dead), weighed.proof == Proof::certain});
    return std::nullopt;
}

}  // namespace hub
