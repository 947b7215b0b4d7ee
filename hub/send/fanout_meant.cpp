// Whether a row is still what the send meant, and which of several rows with one handle gets the
// push. Tested by tests/hub_meant_test.cpp.
//
// A send freezes device numbers, and days may pass before a push goes out. A row that has another
// user since, or whose tags no longer match the expression, is skipped. Of rows with one handle the
// first by partition and number gets the push: a rule that needs no memory, so that it holds over
// lanes and restarts. The others wait until the first is final, and go themselves if it is deleted
// before it got its push. That a row got its push and was deleted then is known by the run's claims
// (hub/send/handle_claims.hpp). Everything but copy_of() runs on a store thread and reads the disk;
// only rows that changed or share their handle come here.

#include <array>

#include "hub/send/fanout_lane.hpp"
#include "hub/send/send_request.hpp"
#include "pns/account.hpp"

namespace hub {

using registry::Device;

namespace {

constexpr std::size_t rivals_max = 64;  // of one handle; the first ones are looked at

bool same_push(const pns::Prepared& a, const pns::Prepared& b) {
    const auto text = [](const pns::Prepared& one) -> std::string_view {
        return one.body ? std::string_view(*one.body) : std::string_view();
    };
    return a.headers == b.headers && text(a) == text(b) && a.body_head == b.body_head &&
           a.body_tail == b.body_tail;
}

}  // namespace

bool FanoutLane::needs_check(const Chunk& chunk) const {
    const std::uint64_t selected_at = chunk.run->run->selected_at();
    for (const Device& row : chunk.rows.devices) {
        if (row.shares_handle || row.audience_at > selected_at) return true;
    }
    return false;
}

registry::Result<bool> FanoutLane::has_moved(const SendRun& run, std::uint16_t partition,
                                             const Device& row) const {
    if (row.audience_at <= run.selected_at()) return false;
    if (row.user_at > run.selected_at()) return true;
    const auto plan = plan_of(run.send.tag_expression, parts_.config);
    if (!ok(plan)) return false;  // it was read when the send was accepted
    const auto matches = parts_.registry.matches(run.hub->row.number, partition, row.number,
                                                 std::get<tagexpr::Plan>(plan),
                                                 universe_of(run.send, parts_.config));
    if (!matches) return {boost::system::in_place_error, matches.error()};
    return !*matches;
}

registry::Result<void> FanoutLane::check_rows(Chunk& chunk) const {
    const SendRun& run = *chunk.run->run;
    const auto& rows = chunk.rows.devices;
    chunk.moved.assign(rows.size(), 0);
    chunk.rivals.clear();
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (!rows[i].present) continue;
        const auto moved = has_moved(run, chunk.partition, rows[i]);
        if (!moved) return moved.error();
        chunk.moved[i] = *moved ? 1 : 0;
        if (*moved || !rows[i].shares_handle) continue;
        if (const auto found = find_rivals(chunk, i); !found) return found.error();
    }
    return {};
}

registry::Result<void> FanoutLane::find_rivals(Chunk& chunk, std::size_t device) const {
    const SendRun& run = *chunk.run->run;
    const std::uint32_t hub = run.hub->row.number;
    const Device& mine = chunk.rows.devices[device];
    const bool pooled =
        run.gcm_through_fcmv1 && (mine.platform == "gcm" || mine.platform == "fcmv1");
    const std::array<std::string_view, 2> names{
        mine.platform, pooled ? (mine.platform == "gcm" ? "fcmv1" : "gcm") : std::string_view()};
    Rivals rivals{device, {}};
    for (const std::string_view platform : names) {
        if (platform.empty()) continue;
        const auto places =
            parts_.registry.places_of_handle(hub, platform, mine.handle, rivals_max);
        if (!places) return places.error();
        for (const registry::Place& place : *places) {
            const bool before =
                std::pair(place.partition, place.number) < std::pair(chunk.partition, mine.number);
            if (!before || place.templated == mine.template_bytes.empty() ||
                !run.meant(place.partition, place.number)) {
                continue;
            }
            const bool done = run.tally.is_done(place.partition, place.number);
            auto row = std::make_unique<registry::DeviceChunk>();
            const std::array<std::uint32_t, 1> number{place.number};
            const auto loaded =
                parts_.registry.load(hub, place.partition, number, chunk.read_ms, *row);
            if (!loaded) return loaded.error();
            const Device& other = row->devices.front();
            if (!other.present || other.channel_expired || other.handle != mine.handle ||
                other.expires_at_ms <= chunk.read_ms) {
                continue;
            }
            const auto moved = has_moved(run, place.partition, other);
            if (!moved) return moved.error();
            if (!*moved) rivals.rows.push_back({done, std::move(row)});
        }
    }
    if (!rivals.rows.empty()) chunk.rivals.push_back(std::move(rivals));
    return {};
}

FanoutLane::Copy FanoutLane::copy_of(Chunk& chunk, std::size_t device, const Slot& to,
                                     const pns::Prepared& push) {
    const SendRun& run = *chunk.run->run;
    const Device& row = chunk.rows.devices[device];
    Copy found = Copy::no;
    const auto mine = std::find_if(chunk.rivals.begin(), chunk.rivals.end(),
                                   [device](const Rivals& one) { return one.device == device; });
    if (mine != chunk.rivals.end()) {
        for (const Rival& rival : mine->rows) {
            const Device& other = rival.row->devices.front();
            const RenderedPush& theirs =
                chunk.run->rendering.get(other, chunk.platforms[device], *to.sender, to.epoch);
            if (!theirs.prepared || !same_push(*theirs.prepared, push)) continue;
            if (rival.done) return Copy::yes;
            found = Copy::maybe;
        }
    }
    if (run.claims.any()) {
        const auto holder = run.claims.holder(row.handle, push);
        if (holder && *holder != HandleClaims::Holder{chunk.partition, row.number}) {
            if (run.tally.is_done(holder->partition, holder->number)) return Copy::yes;
            found = Copy::maybe;
        }
    }
    // A canary does not wait for a row that may come after it.
    const bool canary = run.send.canary_ppm != 0 && !run.tally.released();
    return found == Copy::maybe && canary ? Copy::yes : found;
}

}  // namespace hub
