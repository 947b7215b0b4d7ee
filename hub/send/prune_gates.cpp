// Tested by tests/hub_prune_test.cpp.

#include "hub/send/prune_gates.hpp"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <limits>
#include <memory>

#include "hub/process/clock.hpp"
#include "hub/send/trace.hpp"
#include "pns/platform.hpp"

namespace hub {

using registry::Retirement;

namespace {

constexpr std::size_t step_handles = 1'000;  // retired in one change

}  // namespace

PruneGates::PruneGates(Trace* trace) : trace_(trace) {
    if (trace_ == nullptr) return;
    const auto& table = pns::platforms();
    for (registry::HeldRetirement& one : trace_->take_held_at_start()) {
        next_ticket_ = std::max(next_ticket_, one.ticket + 1);
        const pns::Platform* platform = pns::platform_by_name(one.platform);
        if (platform == nullptr) continue;
        const auto index = static_cast<std::size_t>(platform - table.data());
        gates_[{one.hub, index}].hold_again(std::move(one.retirement));
    }
    trace_->set_held_eraser([this](std::uint32_t hub, std::string_view installation_id,
                                   std::string_view registration_id, std::string_view handle) {
        return forget_device(hub, installation_id, registration_id, handle);
    });
}

PruneGates::~PruneGates() {
    if (trace_ != nullptr) trace_->set_held_eraser(nullptr);
}

void PruneGates::unhold(std::uint32_t hub, const std::vector<Retirement>& gone) {
    if (trace_ == nullptr) return;
    for (const Retirement& one : gone) {
        if (one.ticket != 0) trace_->unhold(hub, one.ticket);
    }
}

void PruneGates::save(const Key& key, PruneGate& gate) {
    for (const std::uint64_t ticket : gate.take_dropped()) {
        if (trace_ != nullptr) trace_->unhold(key.first, ticket);
    }
    for (Retirement& one : gate.take_unsaved(next_ticket_)) {
        if (trace_ == nullptr) continue;
        registry::HeldRetirement held;
        held.hub = key.first;
        held.ticket = one.ticket;
        held.platform = pns::platforms()[key.second].name;
        held.retirement = std::move(one);
        trace_->hold(std::move(held));
    }
}

std::vector<Retirement> PruneGates::pass(std::uint32_t hub, std::size_t platform,
                                         std::string_view send_id, std::uint64_t accepted,
                                         std::vector<Suspect> dead) {
    std::lock_guard lock(mutex_);
    const Key key{hub, platform};
    PruneGate& gate = gates_[key];
    gate.accepted(accepted);
    for (Suspect& s : dead) {
        s.retirement.send_id = send_id;
        if (s.certain) {
            gate.dead(std::move(s.retirement));
        } else {
            gate.suspect(std::move(s.retirement), send_id);
        }
    }
    auto released = gate.release();
    save(key, gate);
    return released;
}

void PruneGates::retire(registry::Registry& registry, std::uint32_t hub, std::size_t platform,
                        std::string_view by, std::vector<Retirement> dead,
                        registry::Done<std::size_t> done) {
    struct Sum {
        std::atomic<std::size_t> steps_left{0}, retired{0};
        std::atomic<int> failure{0};
    };
    const std::size_t steps = (dead.size() + step_handles - 1) / step_handles;
    if (steps == 0) return done(std::size_t{0});
    const auto sum = std::make_shared<Sum>();
    sum->steps_left = steps;
    for (std::size_t first = 0; first < dead.size(); first += step_handles) {
        const auto begin = dead.begin() + static_cast<std::ptrdiff_t>(first);
        const auto end =
            begin + static_cast<std::ptrdiff_t>(std::min(step_handles, dead.size() - first));
        const auto given = std::make_shared<std::vector<Retirement>>(std::make_move_iterator(begin),
                                                                     std::make_move_iterator(end));
        registry.retire(hub, *given,
                        [this, key = Key{hub, platform}, by = std::string(by), given, sum,
                         done](registry::Result<std::vector<registry::Retired>> retired) {
                            if (retired) {
                                sum->retired += retired->size();
                            } else {
                                sum->failure = retired.error().value();
                            }
                            settled(key, by, std::move(*given), retired);
                            if (--sum->steps_left != 0) return;
                            if (sum->failure == 0) return done(sum->retired.load());
                            const auto code = static_cast<registry::errc>(sum->failure.load());
                            done(registry::make_error_code(code));
                        });
    }
}

void PruneGates::settled(const Key& key, std::string_view by, std::vector<Retirement> given,
                         const registry::Result<std::vector<registry::Retired>>& retired) {
    const auto [hub, platform] = key;
    if (!retired && retired.error() != registry::errc::not_found) {
        std::lock_guard lock(mutex_);
        PruneGate& gate = gates_[key];
        unhold(hub, given);
        for (Retirement& one : given) {
            one.ticket = 0;  // behind those that came meanwhile: tickets ascend within a gate
            gate.hold_again(std::move(one));
        }
        save(key, gate);
        return;
    }
    unhold(hub, given);
    if (!retired || trace_ == nullptr) return;
    std::vector<registry::RetirementRecord> records;
    records.reserve(retired->size());
    for (const registry::Retired& done : *retired) {
        const Retirement& one = given[done.index];
        registry::RetirementRecord record;
        record.hub = hub;
        record.at_ms = trace_->now_ms();
        record.platform = pns::platforms()[platform].name;
        record.reason = one.reason;
        record.send_id = one.send_id;
        record.by = by;
        record.installation_id = done.installation_id;
        record.registration_id = done.registration_id;
        const bool timed = one.dead_since_ms != std::numeric_limits<std::int64_t>::max();
        record.dead_since_ms = timed ? one.dead_since_ms : 0;
        record.registered_at_ms = done.registered_at_ms;
        record.partition = done.partition;
        record.number = done.number;
        record.handle = trace_->hash_of(one.handle);
        records.push_back(std::move(record));
    }
    trace_->retired(std::move(records));
}

std::map<std::size_t, std::vector<Retirement>> PruneGates::take(
    std::uint32_t hub, std::optional<std::size_t> platform) {
    std::map<std::size_t, std::vector<Retirement>> out;
    std::lock_guard lock(mutex_);
    for (auto& [key, gate] : gates_) {
        if (key.first != hub || (platform && key.second != *platform) || gate.held() == 0) continue;
        out[key.second] = gate.take_held();
    }
    return out;
}

std::uint64_t PruneGates::discard(std::uint32_t hub, std::optional<std::size_t> platform) {
    std::uint64_t count = 0;
    for (const auto& [index, gone] : take(hub, platform)) {
        unhold(hub, gone);
        count += gone.size();
    }
    std::lock_guard lock(mutex_);
    discarded_ += count;
    return count;
}

std::vector<PruneGates::Gate> PruneGates::gates(std::uint32_t hub) const {
    std::vector<Gate> out;
    std::lock_guard lock(mutex_);
    for (const auto& [key, gate] : gates_) {
        if (key.first != hub) continue;
        out.push_back(
            {key.second, gate.open(), gate.held(), gate.recent_accepted(), gate.recent_dead()});
    }
    return out;
}

std::vector<PruneGates::Held> PruneGates::list(std::uint32_t hub, std::uint64_t after,
                                               std::size_t count_max) const {
    std::vector<Held> out;
    std::lock_guard lock(mutex_);
    for (const auto& [key, gate] : gates_) {
        if (key.first != hub) continue;
        std::size_t taken = 0;  // tickets ascend within a gate
        for (const Retirement& one : gate.held_list()) {
            if (one.ticket <= after) continue;
            if (taken++ == count_max) break;
            out.push_back({key.second, one});
        }
    }
    std::sort(out.begin(), out.end(), [](const Held& a, const Held& b) {
        return a.retirement.ticket < b.retirement.ticket;
    });
    if (out.size() > count_max) out.resize(count_max);
    return out;
}

PruneGates::Figures PruneGates::figures() const {
    Figures out;
    std::lock_guard lock(mutex_);
    for (const auto& [key, gate] : gates_) {
        out.held += gate.held();
        if (gate.held() > 0 && !gate.open()) ++out.gates_shut;
    }
    out.discarded = discarded_;
    return out;
}

void PruneGates::forget(std::uint32_t hub) {
    discard(hub, std::nullopt);
    std::lock_guard lock(mutex_);
    std::erase_if(gates_, [hub](const auto& entry) { return entry.first.first == hub; });
}

std::size_t PruneGates::forget_device(std::uint32_t hub, std::string_view installation_id,
                                      std::string_view registration_id, std::string_view handle) {
    const auto same = [&](const Retirement& one) {
        return (!installation_id.empty() && one.installation_id == installation_id) ||
               (!registration_id.empty() && one.registration_id == registration_id) ||
               (!handle.empty() && one.handle == handle);
    };
    std::vector<Retirement> gone;
    std::lock_guard lock(mutex_);
    for (auto& [key, gate] : gates_) {
        if (key.first != hub) continue;
        for (Retirement& one : gate.take_held_if(same)) gone.push_back(std::move(one));
    }
    unhold(hub, gone);
    return gone.size();
}

}  // namespace hub
