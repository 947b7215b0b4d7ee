// Chunks of a selection on their way: loaded, rendered, submitted, judged.

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cassert>
#include <cstring>
#include <tuple>

#include "hub/fanout_lane.hpp"
#include "hub/log.hpp"
#include "hub/parts.hpp"
#include "pns/retry_policy.hpp"

namespace asio = boost::asio;

namespace hub {

namespace {

using registry::Device;

constexpr std::int64_t no_room_wait_ms = 250;
constexpr std::int64_t store_fault_wait_ms = 1'000;
constexpr std::string_view no_sender_reason = "the hub cannot send to this platform";
constexpr std::string_view no_credential_reason =
    "the hub has no usable credential for the platform";

std::size_t platform_index(std::string_view name, std::size_t otherwise) {
    const pns::Platform* platform = pns::platform_by_name(name);
    return platform ? static_cast<std::size_t>(platform - pns::platforms().data()) : otherwise;
}

std::uint64_t mix(std::uint64_t x) {
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 27;
    x *= 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

DeviceResult result_of(const Device& device, std::size_t platform, pns::Outcome outcome,
                       std::string_view reason, std::string_view new_handle) {
    DeviceResult result;
    result.platform = pns::platforms()[platform].name;
    result.handle = device.handle;
    result.registration_id = device.registration_id;
    result.installation_id = device.installation_id;
    result.templated = !device.template_bytes.empty();
    result.outcome = outcome;
    result.reason = reason;
    result.new_handle = new_handle;
    result.at_ms = now_ms();
    return result;
}

/// The push's dedupe identity: the same for every attempt and after every restart, different for
/// every device.
std::array<std::uint8_t, 16> push_id(std::uint64_t send_hash, std::uint16_t partition,
                                     std::uint32_t number) {
    const std::uint64_t device = (std::uint64_t{partition} << 32) | number;
    const std::uint64_t halves[2] = {mix(send_hash + device),
                                     mix(mix(send_hash ^ 0x9E3779B97F4A7C15u) + device)};
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
    const bool small = run.run->tally.audience() <= parts_.config.fanout_chunk_devices;
    const bool mixed = strand.platform == Strand::mixed;
    PushWindow* window =
        nullptr;  // a small mixed send is bounded by its own size and the senders' room
    if (!mixed) window = &slot(run.run->hub->row.number, strand.platform).window;
    if (mixed && !small) window = &mixed_window_;
    bool open = true;
    for (std::size_t p = index_; open && p < strand.partitions.size(); p += lanes_) {
        auto next = strand.partitions[p].begin();
        const auto end = strand.partitions[p].end();
        while (open && next != end) {
            Chunk& chunk = take_chunk(run, static_cast<std::uint16_t>(p));
            chunk.platform = mixed ? 0 : strand.platform;
            for (; next != end && chunk.numbers.size() < parts_.config.fanout_chunk_devices;
                 ++next) {
                chunk.numbers.push_back(*next);
            }
            open = !stopping_ && !run.run->dropped;
            if (open && window != nullptr)
                open = co_await window->take(chunk.numbers.size(), small);
            if (open) {
                chunk.window = window;
                co_await send_chunk(chunk);
            } else {
                close_chunk(chunk);
            }
        }
    }
    --run.walks;
    end_soon();
}

pns::Task<void> FanoutLane::walk_retries(LaneRun& run, Chunk& chunk) {
    const bool open = co_await mixed_window_.take(chunk.numbers.size(), false);
    if (open) {
        chunk.window = &mixed_window_;
        co_await send_chunk(chunk);
    } else {
        close_chunk(chunk);
    }
    --run.walks;
    end_soon();
}

FanoutLane::Chunk& FanoutLane::take_chunk(LaneRun& run, std::uint16_t partition) {
    if (chunks_free_.empty()) {
        chunks_.push_back(std::make_unique<Chunk>(*this));
        chunks_free_.push_back(chunks_.back().get());
    }
    Chunk& chunk = *chunks_free_.back();
    chunks_free_.pop_back();
    chunk.run = &run;
    chunk.window = nullptr;
    chunk.partition = partition;
    chunk.platform = 0;
    chunk.numbers.clear();
    chunk.attempts.clear();
    chunk.marked = false;
    chunk.pushes.clear();
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
    chunks_free_.push_back(&chunk);
    --run.walks;
    if (run.walks == 0 || run.todo == 0) end_soon();
}

pns::Task<void> FanoutLane::send_chunk(Chunk& chunk) {
    const SendRun& run = *chunk.run->run;
    in_flight_.fetch_add(chunk.numbers.size(), std::memory_order_relaxed);
    if (!run.send.direct_handles.empty()) {
        fill_direct(chunk);
    } else {
        auto read = [this, &chunk, hub = run.hub->row.number] {
            return parts_.registry.load(hub, chunk.partition, chunk.numbers, chunk.rows);
        };
        const auto loaded = co_await on_store(parts_.store, std::move(read));
        if (!loaded) {
            log_error("reading registrations for a send failed",
                      {{"send", run.send.id}, {"error", loaded.error().message()}});
            chunk.rows.devices.assign(chunk.numbers.size(), Device{});
            chunk.platforms.assign(chunk.numbers.size(), chunk.platform);
            for (std::size_t i = 0; i < chunk.numbers.size(); ++i) {
                later(chunk, i, store_fault_wait_ms, Attempt::made, pns::Outcome::abandoned);
            }
            close_chunk(chunk);
            co_return;
        }
    }
    build(chunk);
    const bool mark = run.send.delivery == registry::Delivery::at_most_once && !chunk.marked &&
                      !chunk.pushes.empty();
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
    const std::int64_t now = now_ms();
    const std::uint64_t send_hash = std::hash<std::string>{}(run.send.id);
    assert(chunk.rows.devices.size() == chunk.numbers.size());
    chunk.platforms.assign(chunk.numbers.size(), chunk.platform);
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
        if (device.channel_expired || device.expires_at_ms <= now) {
            finish(chunk, i, pns::Outcome::expired_channel);
            continue;
        }
        if (now >= run.send.deadline_ms) {
            run.tally.set_abandoned();
            finish(chunk, i, pns::Outcome::abandoned);
            continue;
        }
        if (device.shares_handle && device.template_bytes.empty() && chunk.attempts.empty() &&
            !run.first_with_handle(device.platform, device.handle)) {
            finish(chunk, i, pns::Outcome::skipped);
            continue;
        }
        if (!pns::platforms()[serving(last_platform)].has_sender) {
            finish(chunk, i, pns::Outcome::pns_interface_error, no_sender_reason);
            continue;
        }
        Slot& to = slot(hub, last_platform);
        if (!to.sender) {
            if (stopping_) {
                later(chunk, i, 0, Attempt::not_made, pns::Outcome::abandoned);
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
        pns::Push& push = chunk.pushes.emplace_back();
        push.handle = device.handle;
        push.prepared = rendered.prepared;
        push.id = push_id(send_hash, chunk.partition, device.number);
        push.owner = &chunk;
        push.index = static_cast<std::uint32_t>(i);
    }
}

pns::Task<bool> FanoutLane::mark_before_submit(Chunk& chunk) {
    LaneRun& mine = *chunk.run;
    SendRun& run = *mine.run;
    for (const pns::Push& push : chunk.pushes) {
        mine.notes.mark(chunk.platforms[push.index], pns::Outcome::unknown, chunk.partition,
                        chunk.numbers[push.index], true);
    }
    chunk.marked = true;
    flush(mine);
    for (;;) {
        auto write = [this, &run](registry::Done<void> done) {
            std::lock_guard lock(run.checkpoint_mutex);
            parts_.registry.checkpoint(run.hub->row.number, run.send.id,
                                       run.tally.snapshot(now_ms()), std::move(done));
        };
        const auto written = co_await committed<void>(std::move(write));
        if (written) co_return true;
        asio::steady_timer wait(loop_, std::chrono::milliseconds(store_fault_wait_ms));
        const auto [ec] = co_await wait.async_wait(pns::as_result);
        if (ec || stopping_ || run.dropped) break;
    }
    // Marked but never sent: they stay Unknown, which is what at-most-once promises.
    for (const pns::Push& push : chunk.pushes) finish(chunk, push.index, pns::Outcome::unknown);
    co_return false;
}

void FanoutLane::submit(Chunk& chunk) {
    const std::uint32_t hub = chunk.run->run->hub->row.number;
    chunk.open += chunk.pushes.size();
    for (pns::Push& push : chunk.pushes) {
        Slot& to = slot(hub, chunk.platforms[push.index]);
        if (!senders_stopped_ && to.sender && to.sender->room() > 0) {
            to.sender->submit(push);
            continue;
        }
        --chunk.open;
        later(chunk, push.index, no_room_wait_ms, Attempt::not_made, pns::Outcome::throttled);
    }
}

void FanoutLane::judge(Chunk& chunk, pns::Push& push, pns::Verdict&& verdict) {
    using Kind = pns::Verdict::Kind;
    LaneRun& mine = *chunk.run;
    const SendRun& run = *mine.run;
    const std::size_t i = push.index;
    const Device& device = chunk.rows.devices[i];
    LaneRun::Learned& learned = mine.learned[chunk.platforms[i]];
    const bool registered = run.send.direct_handles.empty();
    pns::Outcome outcome = verdict.outcome;
    switch (verdict.kind) {
        case Kind::accepted:
            ++learned.accepted;
            if (!verdict.new_handle.empty() && registered) {
                mine.rotations.push_back({chunk.partition, device.number, device.generation,
                                          std::string(device.handle), verdict.new_handle,
                                          now_ms()});
            }
            break;
        case Kind::retire:
        case Kind::suspect:
            if (registered) {
                registry::Retirement dead{chunk.partition,
                                          device.number,
                                          device.generation,
                                          std::string(device.handle),
                                          verdict.dead_since_ms,
                                          verdict.reason,
                                          now_ms()};
                learned.dead.push_back({std::move(dead), verdict.kind == Kind::retire});
            }
            break;
        case Kind::refused:
            break;
        case Kind::lost:
            if (run.send.delivery == registry::Delivery::at_most_once) {
                outcome = pns::Outcome::unknown;
                break;
            }
            [[fallthrough]];
        case Kind::retry_later:
            later(chunk, i, verdict.retry_after_ms, Attempt::made, outcome, verdict.reason);
            close_chunk(chunk);
            return;
    }
    finish(chunk, i, outcome, verdict.reason, verdict.new_handle);
    close_chunk(chunk);
}

void FanoutLane::finish(Chunk& chunk, std::size_t device, pns::Outcome outcome,
                        std::string_view reason, std::string_view new_handle) {
    LaneRun& run = *chunk.run;
    const std::size_t platform = chunk.platforms[device];
    DeviceResults* results = run.run->results.get();
    const Device& row = chunk.rows.devices[device];
    if (results != nullptr && row.present && results->wants(outcome, !new_handle.empty())) {
        if (results->full()) {
            results->leave_out();
        } else {
            results->add(result_of(row, platform, outcome, reason, new_handle));
        }
    }
    ++run.learned[platform].finals[static_cast<std::size_t>(outcome)];
    if (chunk.marked) {
        run.notes.settle(platform, pns::Outcome::unknown, outcome);
    } else {
        run.notes.mark(platform, outcome, chunk.partition, chunk.numbers[device]);
    }
    assert(run.todo > 0);
    --run.todo;
    if (chunk.window != nullptr) chunk.window->give_back(1);
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
}

void FanoutLane::later(Chunk& chunk, std::size_t device, std::int64_t wait_ms, Attempt attempt,
                       pns::Outcome otherwise, std::string_view reason) {
    LaneRun& run = *chunk.run;
    unsigned attempts = chunk.attempts.empty() ? 0 : chunk.attempts[device];
    bool possible = run.retries.size() < parts_.config.retries_waiting_max;
    if (attempt == Attempt::made) {
        const auto limits =
            pns::retry_limits(pns::platforms()[serving(chunk.platforms[device])].name);
        const auto delay = pns::retry_delay_ms(limits, ++attempts, wait_ms, random_());
        possible = possible && delay.has_value();
        wait_ms = delay.value_or(0);
    }
    const std::int64_t due = now_ms() + wait_ms;
    if (!possible || due >= run.run->send.deadline_ms) {
        finish(chunk, device, otherwise, reason);
        return;
    }
    run.retries.emplace(due, Retry{chunk.partition, chunk.numbers[device],
                                   static_cast<std::uint8_t>(attempts), chunk.marked});
    retries_waiting_.fetch_add(1, std::memory_order_relaxed);
    if (chunk.window != nullptr) chunk.window->give_back(1);
    in_flight_.fetch_sub(1, std::memory_order_relaxed);
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
        }
        ++run.walks;
        nursery_.start(walk_retries(run, chunk));
    }
}

}  // namespace hub
