// Chunks of a selection on their way: loaded, rendered, submitted, judged. Tested by
// tests/hub_fanout_test.cpp.
//
// walk() is one coroutine for each strand of a send on this lane; it awaits rates, windows and
// store threads. From build() to judge() everything is a plain call on the lane's loop. A chunk
// belongs to its lane and lives until its last push has a verdict, so pushes point into its rows;
// `open` counts them, plus one while the chunk is being filled. Each device leaves a chunk on
// exactly one way: finish() ends it, again(), put_off() and set_aside() make it wait. While a walk
// awaits, a command may change the mode and the sender may be replaced: what was looked at before
// must be looked at again.

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cassert>
#include <cstring>

#include "hub/process/log.hpp"
#include "hub/send/fanout_lane.hpp"
#include "hub/send/trace.hpp"
#include "pns/account.hpp"
#include "pns/mixing.hpp"

namespace asio = boost::asio;

namespace hub {

namespace {

using registry::Device;

constexpr std::int64_t no_room_wait_ms = 250;
constexpr std::chrono::seconds shut_wait{1};  // at most: the lane is told when a sender opens
constexpr std::size_t chunks_free_max = 32;
constexpr std::int64_t store_fault_wait_ms = 1'000;
/// A row that may turn out to be a copy is looked at again after a quarter of the time that the
/// send has taken so far.
constexpr std::int64_t copy_wait_ms_min = 250, copy_wait_ms_max = 30'000;
constexpr std::string_view no_sender_reason = "the hub cannot send to this platform";
constexpr std::string_view moved_reason =
    "the device has another user or no longer matches since the send was accepted";
constexpr std::string_view copy_reason = "another registration with this handle gets the push";
constexpr std::string_view no_credential_reason =
    "the hub has no usable credential for the platform";

std::size_t platform_index(std::string_view name, std::size_t otherwise) {
    const pns::Platform* platform = pns::platform_by_name(name);
    return platform ? static_cast<std::size_t>(platform - pns::platforms().data()) : otherwise;
}

DeviceResult result_of(const Device& device, std::uint16_t partition, std::uint32_t number,
                       std::size_t platform, pns::Outcome outcome, std::string_view reason,
                       std::string_view new_handle, std::int64_t now_ms) {
    DeviceResult result;
    result.partition = partition;
    result.number = number;
    result.platform = pns::platforms()[platform].name;
    result.handle = device.handle;
    result.registration_id = registry::id_of(device, partition);
    result.installation_id = device.installation_id;
    result.templated = !device.template_bytes.empty();
    result.outcome = outcome;
    result.reason = reason;
    result.new_handle = new_handle;
    result.at_ms = now_ms;
    return result;
}

/// Devices of a strand from `number` in `partition` on, in each `step`th partition.
std::uint64_t left_of(const Strand& strand, std::size_t partition, std::uint32_t number,
                      std::size_t step) {
    const registry::Bitmap& first = strand.partitions[partition];
    std::uint64_t left = first.cardinality() - first.rank(number) + 1;
    for (std::size_t p = partition + step; p < strand.partitions.size(); p += step)
        left += strand.partitions[p].cardinality();
    return left;
}

/// The push's dedupe identity: the same for every attempt and after every restart, different for
/// every device.
std::array<std::uint8_t, 16> push_id(std::uint64_t send_hash, std::uint16_t partition,
                                     std::uint32_t number) {
    const std::uint64_t device = (std::uint64_t{partition} << 32) | number;
    const std::uint64_t halves[2] = {pns::mixed(send_hash + device),
                                     pns::mixed(pns::mixed(send_hash ^ pns::golden_gap) + device)};
    std::array<std::uint8_t, 16> id;
    std::memcpy(id.data(), halves, id.size());
    id[6] = static_cast<std::uint8_t>((id[6] & 0x0F) | 0x40);  // the shape of a version 4 UUID
    id[8] = static_cast<std::uint8_t>((id[8] & 0x3F) | 0x80);
    return id;
}

}  // namespace

pns::Task<void> FanoutLane::walk(LaneRun& run, std::shared_ptr<const std::vector<Strand>> strands,
                                 std::size_t index) {
    const Strand& strand = (*strands)[index];
    const bool small = is_small(run);
    PushWindow* const window = window_of(run, strand);
    const std::size_t platform = strand.platform == Strand::mixed ? 0 : strand.platform;
    for (std::size_t p = first_partition(*run.run); p < strand.partitions.size();
         p += partition_step(*run.run)) {
        const auto partition = static_cast<std::uint16_t>(p);
        auto next = strand.partitions[p].begin();
        const auto end = strand.partitions[p].end();
        while (next != end && may_walk(run)) {
            if (run.mode == Mode::hold) {
                co_await sleep(run, std::chrono::steady_clock::duration::max());
                continue;
            }
            if (run.mode == Mode::drop) {
                co_await drop_rest(run, strand, partition, next, end);
                continue;
            }
            if (run.run->stalled) {
                co_await sleep(run, std::chrono::milliseconds(parts_.config.checkpoint_ms));
                continue;
            }
            std::size_t room = parts_.config.fanout_chunk_devices;
            if (strand.platform != Strand::mixed) {
                const Flow flow = is_watched(*run.run) ? Flow::open : flow_of(run, strand.platform);
                if (flow == Flow::shut) {
                    co_await wait_for_door(run, strand.platform,
                                           left_of(strand, p, *next, partition_step(*run.run)));
                    continue;
                }
                if (flow == Flow::probe) room = 1;
            }
            if (run.rated) {
                room = co_await take_rate(run, room);
                if (room == 0) continue;
            }
            const auto first = next;
            Chunk& chunk = take_chunk(run, partition);
            chunk.platform = platform;
            for (; next != end && chunk.numbers.size() < room; ++next) {
                chunk.numbers.push_back(*next);
            }
            bool taken = true;
            if (window != nullptr) taken = co_await window->take(chunk.numbers.size(), small, &run);
            if (run.rated) give_rate_back(run, room - (taken ? chunk.numbers.size() : 0));
            if (taken) {
                chunk.window = window;
                co_await send_chunk(chunk);
            } else {
                next = first;
                close_chunk(chunk);
            }
        }
    }
    --run.walks;
    end_soon(run);
}

pns::Task<void> FanoutLane::wait_for_door(LaneRun& run, std::size_t platform, std::uint64_t left) {
    unwalked_[platform] += left;
    co_await sleep(run, shut_wait);
    unwalked_[platform] -= left;
}

PushWindow* FanoutLane::window_of(const LaneRun& run, const Strand& strand) {
    if (strand.platform != Strand::mixed)
        return &senders_.slot(run.run->hub->row.number, strand.platform).window;
    // A small mixed send is bounded by its own size and the senders' room.
    return is_small(run) ? nullptr : &mixed_window_;
}

bool FanoutLane::try_send(LaneRun& run, const Strand& strand) {
    const SendRun& send = *run.run;
    const auto waits_for = [](const registry::Bitmap& rows) { return !rows.isEmpty(); };
    const auto first = std::find_if(strand.partitions.begin(), strand.partitions.end(), waits_for);
    const bool alone = first != strand.partitions.end() &&
                       std::none_of(first + 1, strand.partitions.end(), waits_for);
    if (!alone || run.mode != Mode::go || send.stalled || run.rated ||
        send.send.delivery == registry::Delivery::at_most_once) {
        return false;
    }
    PushWindow* const window = window_of(run, strand);
    const auto count = static_cast<std::size_t>(first->cardinality());
    if (window != nullptr && !window->try_take(count)) return false;
    Chunk& chunk = take_chunk(run, static_cast<std::uint16_t>(first - strand.partitions.begin()));
    chunk.window = window;
    chunk.platform = strand.platform == Strand::mixed ? 0 : strand.platform;
    chunk.numbers.assign(first->begin(), first->end());
    const auto filled = try_fill(chunk);
    if (filled && *filled) {
        build(chunk);
        submit(chunk);
    } else {
        if (window != nullptr) window->give_back(count);
        in_flight_.fetch_sub(count, std::memory_order_relaxed);
        run.in_flight -= static_cast<std::int64_t>(count);
    }
    close_chunk(chunk);
    return filled && *filled;
}

FanoutLane::Chunk& FanoutLane::take_chunk(LaneRun& run, std::uint16_t partition) {
    if (chunks_free_.empty()) chunks_free_.push_back(std::make_unique<Chunk>(*this));
    chunks_.splice(chunks_.begin(), chunks_free_, std::prev(chunks_free_.end()));
    Chunk& chunk = *chunks_.front();
    chunk.self = chunks_.begin();
    chunk.run = &run;
    chunk.window = nullptr;
    chunk.partition = partition;
    chunk.platform = 0;
    chunk.numbers.clear();
    chunk.before.clear();
    chunk.moved.clear();
    chunk.rivals.clear();
    chunk.marked = false;
    chunk.marked_as.clear();
    chunk.pushes.clear();
    chunk.epochs.clear();
    chunk.platforms.clear();
    chunk.open = 1;
    ++run.walks;
    return chunk;
}

void FanoutLane::close_chunk(Chunk& chunk) {
    if (--chunk.open != 0) return;
    LaneRun& run = *chunk.run;
    chunk.run = nullptr;
    for (pns::Push& push : chunk.pushes) push.prepared.reset();
    if (chunks_free_.size() < chunks_free_max) {
        chunks_free_.splice(chunks_free_.end(), chunks_, chunk.self);
    } else {
        chunks_.erase(chunk.self);  // a peak is over: its memory goes back
    }
    --run.walks;
    if (run.walks == 0 || run.todo == 0) end_soon(run);
}

std::optional<registry::Result<void>> FanoutLane::try_fill(Chunk& chunk) {
    const SendRun& run = *chunk.run->run;
    in_flight_.fetch_add(chunk.numbers.size(), std::memory_order_relaxed);
    chunk.run->in_flight += static_cast<std::int64_t>(chunk.numbers.size());
    chunk.read_ms = parts_.clock.wall_ms();
    chunk.stamp = parts_.registry.stamp();
    if (!run.send.direct_handles.empty()) {
        fill_direct(chunk);
        return registry::Result<void>();
    }
    auto loaded = parts_.registry.try_load(run.hub->row.number, chunk.partition, chunk.numbers,
                                           chunk.read_ms, chunk.rows);
    if (!loaded && loaded.error() == registry::errc::not_in_memory) return std::nullopt;
    if (loaded && needs_check(chunk)) return std::nullopt;
    return loaded;
}

pns::Task<void> FanoutLane::send_chunk(Chunk& chunk) {
    const SendRun& run = *chunk.run->run;
    auto filled = try_fill(chunk);
    if (!filled) {
        auto read = [this, &chunk, hub = run.hub->row.number] {
            auto loaded = parts_.registry.load(hub, chunk.partition, chunk.numbers, chunk.read_ms,
                                               chunk.rows);
            return loaded && needs_check(chunk) ? check_rows(chunk) : loaded;
        };
        filled = co_await on_store(parts_.store, std::move(read));
    }
    if (!*filled) {
        log_error("reading registrations for a send failed",
                  {{"send", run.send.id}, {"error", filled->error().message()}});
        chunk.rows.devices.assign(chunk.numbers.size(), Device{});
        if (chunk.platforms.empty()) chunk.platforms.assign(chunk.numbers.size(), chunk.platform);
        for (std::size_t i = 0; i < chunk.numbers.size(); ++i) {
            put_off(chunk, i, store_fault_wait_ms, {pns::Outcome::abandoned, {}, 0, 0});
        }
        close_chunk(chunk);
        co_return;
    }
    build(chunk);
    if (chunk.run->rated) give_rate_back(*chunk.run, chunk.numbers.size() - chunk.pushes.size());
    const bool mark =
        run.send.delivery == registry::Delivery::at_most_once && !chunk.pushes.empty();
    bool may_submit = true;
    if (mark) may_submit = co_await mark_before_submit(chunk);
    if (may_submit) submit(chunk);
    close_chunk(chunk);
}

void FanoutLane::fill_direct(Chunk& chunk) {
    const SendRun& run = *chunk.run->run;
    const pns::Platform* platform = pns::platform_by_format(run.send.format);
    chunk.rows.devices.resize(chunk.numbers.size());
    for (std::size_t i = 0; i < chunk.numbers.size(); ++i) {
        Device device;
        device.number = chunk.numbers[i];
        device.present = true;
        device.platform = platform->name;
        device.handle = run.send.direct_handles[device.number];
        chunk.rows.devices[i] = device;
    }
}

void FanoutLane::build(Chunk& chunk) {
    LaneRun& mine = *chunk.run;
    SendRun& run = *mine.run;
    const std::uint32_t hub = run.hub->row.number;
    const std::int64_t now = parts_.clock.wall_ms();
    const bool overdue = parts_.clock.steady_ms() >= run.deadline.steady_ms();
    const std::uint64_t send_hash = pns::fnv1a(run.send.id);
    assert(chunk.rows.devices.size() == chunk.numbers.size());
    chunk.built_ms = now;
    if (chunk.platforms.empty()) chunk.platforms.assign(chunk.numbers.size(), chunk.platform);
    if (mine.mode != Mode::go) {
        for (std::size_t i = 0; i < chunk.numbers.size(); ++i) set_aside(chunk, i);
        return;
    }
    chunk.pushes.reserve(chunk.numbers.size());
    std::string_view last_name;
    std::size_t last_platform = chunk.platform;
    for (std::size_t i = 0; i < chunk.numbers.size(); ++i) {
        const Device& device = chunk.rows.devices[i];
        if (!device.present) {
            finish(chunk, i, pns::Outcome::skipped);
            continue;
        }
        if (device.platform != last_name) {
            last_name = device.platform;
            last_platform = platform_index(last_name, chunk.platform);
        }
        chunk.platforms[i] = last_platform;
        if (device.channel_expired || device.expires_at_ms <= chunk.read_ms) {
            finish(chunk, i, pns::Outcome::expired_channel);
            continue;
        }
        if (overdue) {
            run.tally.set_abandoned();
            finish(chunk, i,
                   chunk.before.empty() ? pns::Outcome::abandoned : chunk.before[i].outcome);
            continue;
        }
        if (!chunk.moved.empty() && chunk.moved[i] != 0) {
            finish(chunk, i, pns::Outcome::skipped, moved_reason);
            continue;
        }
        if (!pns::platforms()[senders_.serving(last_platform)].has_sender) {
            finish(chunk, i, pns::Outcome::pns_interface_error, no_sender_reason);
            continue;
        }
        Slot& to = senders_.slot(hub, last_platform);
        if (!to.sender) {
            if (stopping_) {
                put_off(chunk, i, 0, {pns::Outcome::abandoned, {}, 0, 0});
            } else {
                finish(chunk, i, pns::Outcome::invalid_credentials, no_credential_reason);
            }
            continue;
        }
        const RenderedPush& rendered =
            run.send.direct_handles.empty()
                ? mine.rendering.get(device, last_platform, *to.sender, to.epoch)
                : mine.rendering.native(last_platform, *to.sender, to.epoch);
        if (!rendered.prepared) {
            finish(chunk, i, rendered.refusal.outcome, rendered.refusal.message);
            continue;
        }
        const std::shared_ptr<const pns::Prepared> prepared = rendered.prepared;
        const Copy copy = copy_of(chunk, i, to, *prepared);
        if (copy == Copy::yes) {
            finish(chunk, i, pns::Outcome::skipped, copy_reason);
            continue;
        }
        if (copy == Copy::maybe) {
            const std::int64_t age_ms = parts_.clock.steady_ms() - mine.begun_ms;
            const auto wait_ms = std::clamp(age_ms / 4, copy_wait_ms_min, copy_wait_ms_max);
            put_off(chunk, i, wait_ms, {pns::Outcome::skipped, std::string(copy_reason), 0, 0});
            continue;
        }
        chunk.epochs.push_back(to.epoch);
        pns::Push& push = chunk.pushes.emplace_back();
        push.handle = device.handle;
        push.prepared = prepared;
        push.id = push_id(send_hash, chunk.partition, device.number);
        push.owner = &chunk;
        push.index = static_cast<std::uint32_t>(i);
        push.flow = run.flow;
        push.faults = chunk.before.empty() ? 0 : chunk.before[i].faults;
    }
}

pns::Task<bool> FanoutLane::mark_before_submit(Chunk& chunk) {
    LaneRun& mine = *chunk.run;
    const std::shared_ptr<SendRun>& run = mine.run;
    flush(mine);  // marks that were taken back before these
    for (const pns::Push& push : chunk.pushes) {
        mine.notes.mark(chunk.platforms[push.index], pns::Outcome::unknown, chunk.partition,
                        chunk.numbers[push.index], true);
    }
    chunk.marked = true;
    chunk.marked_as = chunk.platforms;
    flush(mine);
    for (;;) {
        auto write = [this, &run](registry::Done<void> done) {
            write_progress(parts_.registry, parts_.clock, run, true, std::move(done));
        };
        const auto written = co_await committed<void>(std::move(write));
        if (written) co_return true;
        co_await sleep(mine, std::chrono::milliseconds(store_fault_wait_ms));
        if (!may_walk(mine)) break;
    }
    for (const pns::Push& push : chunk.pushes)
        put_off(chunk, push.index, 0, {pns::Outcome::abandoned, {}, 0, 0});
    co_return false;
}

void FanoutLane::submit(Chunk& chunk) {
    LaneRun& mine = *chunk.run;
    if (mine.mode != Mode::go) {  // a command came while the ledger wrote the marks
        for (const pns::Push& push : chunk.pushes) set_aside(chunk, push.index);
        return;
    }
    if (chunk.pushes.empty()) return;
    const std::uint32_t hub = mine.run->hub->row.number;
    chunk.open += chunk.pushes.size();
    chunk.submitted_us = parts_.clock.steady_us();
    mine.notes.pushed(chunk.built_ms);
    for (std::size_t k = 0; k < chunk.pushes.size(); ++k) {
        pns::Push& push = chunk.pushes[k];
        Slot& to = senders_.slot(hub, chunk.platforms[push.index]);
        // The sender may have been replaced while the ledger wrote the marks: what the old one
        // prepared is not for the new one.
        const bool prepared = to.epoch == chunk.epochs[k];
        if (prepared && to.sender && to.sender->room() > 0) {
            to.sender->submit(push, chunk.submitted_us / 1'000);
            continue;
        }
        --chunk.open;
        put_off(chunk, push.index, prepared ? no_room_wait_ms : 0,
                {pns::Outcome::throttled, {}, 0, 0});
    }
}

bool FanoutLane::still_meant(const Chunk& chunk, const pns::Push& push) const {
    SendRun& run = *chunk.run->run;
    if (!run.send.direct_handles.empty()) return true;
    const std::uint32_t number = chunk.numbers[push.index];
    if (parts_.registry.may_have_changed(run.hub->row.number, chunk.partition, number,
                                         chunk.stamp)) {
        return false;
    }
    const bool shared = chunk.rows.devices[push.index].shares_handle;
    if (!shared && !run.claims.any()) return true;
    return run.claims.take(push.handle, *push.prepared, {chunk.partition, number}, shared);
}

void FanoutLane::judge(Chunk& chunk, pns::Push& push, pns::Verdict&& verdict) {
    LaneRun& mine = *chunk.run;
    SendRun& run = *mine.run;
    const std::size_t i = push.index;
    const Device& device = chunk.rows.devices[i];
    if (run.claims.any()) {
        const bool at_most_once = run.send.delivery == registry::Delivery::at_most_once;
        const bool got =
            verdict.is<pns::Accepted>() || (verdict.is<pns::NoAnswer>() && at_most_once);
        if (!got) run.claims.release(push.handle, *push.prepared, {chunk.partition, device.number});
    }
    if (!withdrawing_) mine.attempts.add(chunk.platforms[i], verdict);
    if (const auto* unsent = verdict.get<pns::NotSent>()) {
        if (withdrawing_) {
            // What was met before says more than that it had to wait for its turn.
            const bool met = unsent->outcome == pns::Outcome::throttled && !chunk.before.empty();
            set_aside(chunk, i, met ? chunk.before[i].outcome : unsent->outcome, unsent->reason);
        } else if (unsent->after_ms == pns::never_ms ||
                   (unsent->outcome == pns::Outcome::invalid_credentials && is_watched(run))) {
            finish(chunk, i, unsent->outcome, unsent->reason);
        } else {
            put_off(chunk, i, unsent->after_ms, *unsent);
        }
        return close_chunk(chunk);
    }
    if (i % latency_sample == 0) {
        mine.notes.timed(parts_.clock.steady_us() - chunk.submitted_us);
        tell_times(chunk, push);
    }
    const bool registered = run.send.direct_handles.empty();
    std::string_view new_handle;
    bool ended = true;
    verdict_ = &verdict;
    if (const auto* accepted = verdict.get<pns::Accepted>()) {
        auto& learned = mine.learned_of(chunk.platforms[i], push.prepared->app);
        ++learned.accepted;
        if (parts_.gates.may_accuse(push.handle)) learned.alive.emplace_back(push.handle);
        new_handle = accepted->new_handle;
        if (!new_handle.empty() && registered) {
            mine.rotations.push_back({chunk.partition, device.number, device.generation,
                                      std::string(device.handle), accepted->new_handle,
                                      parts_.clock.wall_ms()});
        }
    } else if (verdict.is<pns::Dead>() || verdict.is<pns::Suspect>()) {
        std::optional<std::int64_t> ask_again_ms;
        if (registered) ask_again_ms = accuse(chunk, push, verdict);
        ended = !ask_again_ms;
        if (!ended) again(chunk, i, {verdict.outcome(), true, *ask_again_ms}, verdict.reason());
    } else if (verdict.blames_credential() && !is_watched(run)) {
        ended = false;
        const bool own_fault = verdict.get<pns::Refused>()->others_taken;
        again(chunk, i, {verdict.outcome(), own_fault, 0}, verdict.reason());
    } else if (const auto* later = verdict.get<pns::RetryLater>()) {
        ended = false;
        again(chunk, i, {later->outcome, !later->of_provider, later->after_ms}, later->reason);
    } else if (const auto* lost = verdict.get<pns::NoAnswer>()) {
        ended = run.send.delivery == registry::Delivery::at_most_once;
        if (!ended) again(chunk, i, {pns::Outcome::unknown, lost->own_fault, 0}, lost->reason);
    }
    if (ended) finish(chunk, i, verdict.outcome(), verdict.reason(), new_handle);
    verdict_ = nullptr;
    close_chunk(chunk);
}

void FanoutLane::finish(Chunk& chunk, std::size_t device, pns::Outcome outcome,
                        std::string_view reason, std::string_view new_handle) {
    LaneRun& run = *chunk.run;
    const std::size_t platform = chunk.platforms[device];
    DeviceResults* results = run.run->results.get();
    const Device& row = chunk.rows.devices[device];
    if (results != nullptr && row.present && !results->full() &&
        results->wants(outcome, !new_handle.empty())) {
        results->add(result_of(row, chunk.partition, chunk.numbers[device], platform, outcome,
                               reason, new_handle, parts_.clock.wall_ms()));
    }
    if (parts_.trace.on()) tell_trace(chunk, device, outcome, reason, 0);
    run.finals.add(platform, outcome);
    if (chunk.marked) {
        run.notes.settle(chunk.marked_as[device], platform, outcome);
    } else {
        run.notes.mark(platform, outcome, chunk.partition, chunk.numbers[device]);
    }
    // What a provider answered, or may have got, now or before, was out.
    if (verdict_ == nullptr && (chunk.before.empty() || chunk.before[device].attempts == 0))
        run.notes.never_out();
    assert(run.todo > 0);
    --run.todo;
    if (chunk.window != nullptr) chunk.window->give_back(1);
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
    if (--run.in_flight == 0 && run.mode != Mode::go) end_soon(run);
}

}  // namespace hub
