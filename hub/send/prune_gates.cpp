// Tested by tests/hub_prune_test.cpp.
//
// One mutex guards all gates; under it nothing is called but a gate and the queues of the trace.
// A retirement goes the way lane -> pass() -> retire() -> writer of the registry -> settled(),
// which runs on the writer's thread. What was stored as held stays so until then: a process that
// ends meanwhile holds it again, and so does settled() if the write failed.

#include "hub/send/prune_gates.hpp"

#include <algorithm>
#include <atomic>
#include <iterator>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_set>

#include "hub/device/hubs.hpp"
#include "hub/process/log.hpp"
#include "hub/send/trace.hpp"
#include "pns/alarm.hpp"
#include "pns/platform.hpp"

namespace hub {

using registry::Retirement;

namespace {

constexpr std::size_t step_handles = 1'000;            // retired in one change
constexpr std::string_view further_apps = "(others)";  // no app is called so

}  // namespace

PruneGates::PruneGates(Trace* trace, const Hubs* hubs) : trace_(trace), hubs_(hubs) {
    if (trace_ == nullptr) return;
    const auto& table = pns::platforms();
    for (registry::HeldRetirement& one : trace_->take_held_at_start()) {
        next_ticket_ = std::max(next_ticket_, one.ticket + 1);
        const pns::Platform* platform = pns::platform_by_name(one.platform);
        if (platform == nullptr) continue;
        const auto index = static_cast<std::size_t>(platform - table.data());
        PruneGate& gate = gate_of({one.hub, index, std::move(one.app)}, 0).second;
        if (one.suspicion) {
            gate.suspect_again(std::move(one.retirement));
        } else {
            gate.hold_again(std::move(one.retirement));
        }
    }
    std::vector<Turn> turns;
    for (auto& entry : gates_) {
        save(entry);
        look(entry, 0, turns);
    }
    tell(turns, 0);
    trace_->set_held_eraser([this](std::uint32_t hub, std::string_view installation_id,
                                   std::string_view registration_id, std::string_view handle) {
        return forget_device(hub, installation_id, registration_id, handle);
    });
}

PruneGates::~PruneGates() {
    if (trace_ != nullptr) trace_->set_held_eraser(nullptr);
}

void PruneGates::look(const Gates::value_type& entry, std::int64_t now_ms,
                      std::vector<Turn>& turns) {
    const auto& [subject, gate] = entry;
    const bool shut = !gate.open(now_ms);
    if (!shut && told_shut_.empty()) return;
    const bool news = shut ? told_shut_.insert(subject).second : told_shut_.erase(subject) > 0;
    if (news) turns.push_back({subject, shut, gate.held(), gate.recent(now_ms)});
}

void PruneGates::tell(const std::vector<Turn>& turns, std::int64_t now_ms) {
    for (const Turn& turn : turns) {
        const Subject& subject = turn.subject;
        const std::string_view platform = pns::platforms()[subject.platform].name;
        const auto hub = hubs_ == nullptr ? nullptr : hubs_->find(subject.hub);
        const std::string name = hub ? hub->row.name : std::to_string(subject.hub);
        const auto left_out = lines_.allow(name + '/' + std::string(platform), now_ms);
        if (!left_out) continue;
        const LogFields fields{{"hub", name},
                               {"platform", std::string(platform)},
                               {"app", subject.app},
                               {"held", std::to_string(turn.held)},
                               {"recent_accepted", std::to_string(turn.recent.accepted)},
                               {"recent_dead", std::to_string(turn.recent.accused)},
                               {"lines_left_out", lines_left_out(*left_out)}};
        if (turn.shut) {
            log_warn("the prune gate is shut: dead handles are held", fields);
        } else {
            log_info("the prune gate is open again", fields);
        }
    }
}

void PruneGates::unhold(std::uint32_t hub, const std::vector<Retirement>& gone) {
    if (trace_ == nullptr) return;
    for (const Retirement& one : gone) {
        if (one.ticket != 0) trace_->unhold(hub, one.ticket);
    }
}

PruneGates::Gates::value_type& PruneGates::gate_of(const Subject& subject, std::int64_t now_ms) {
    const auto known = gates_.find(subject);
    if (known != gates_.end()) return *known;
    std::size_t apps = 0;
    auto idle = gates_.end();
    for (auto it = gates_.lower_bound({subject.hub, subject.platform, {}});
         it != gates_.end() && it->first.hub == subject.hub &&
         it->first.platform == subject.platform;
         ++it) {
        const PruneGate& gate = it->second;
        const auto recent = gate.recent(now_ms);
        const bool knows = recent.accepted + recent.accused + gate.held() + gate.suspects() > 0;
        if (!knows) idle = it;
        ++apps;
    }
    if (apps < apps_max) return *gates_.try_emplace(subject, accused_).first;
    if (idle != gates_.end()) {
        told_shut_.erase(idle->first);
        gates_.erase(idle);
        return *gates_.try_emplace(subject, accused_).first;
    }
    const Subject shared{subject.hub, subject.platform, std::string(further_apps)};
    return *gates_.try_emplace(shared, accused_).first;
}

void PruneGates::save(Gates::value_type& entry) {
    auto& [subject, gate] = entry;
    for (const std::uint64_t ticket : gate.take_dropped()) {
        if (trace_ != nullptr) trace_->unhold(subject.hub, ticket);
    }
    for (PruneGate::Unsaved& one : gate.take_unsaved(next_ticket_)) {
        if (trace_ == nullptr) continue;
        registry::HeldRetirement held;
        held.hub = subject.hub;
        held.ticket = one.retirement.ticket;
        held.platform = pns::platforms()[subject.platform].name;
        held.app = subject.app;
        held.suspicion = one.suspicion;
        held.retirement = std::move(one.retirement);
        trace_->hold(std::move(held));
    }
}

std::vector<Retirement> PruneGates::pass(const Subject& subject, std::string_view send_id,
                                         std::uint64_t accepted, std::vector<Suspect> dead,
                                         std::int64_t now_ms,
                                         const std::vector<std::string>& alive) {
    std::vector<Turn> turns;
    std::unique_lock lock(mutex_);
    auto& entry = gate_of(subject, now_ms);
    PruneGate& gate = entry.second;
    gate.alive(alive);
    const std::unordered_set<std::string_view, tagexpr::KeyedHash> living(alive.begin(),
                                                                          alive.end());
    for (Suspect& s : dead) {
        if (!s.certain && living.contains(s.retirement.handle)) continue;
        s.retirement.send_id = send_id;
        if (s.certain) {
            gate.dead(std::move(s.retirement), now_ms);
        } else {
            gate.suspect(std::move(s.retirement), now_ms);
        }
    }
    gate.accepted(accepted, now_ms);
    auto released = gate.release(now_ms);
    save(entry);
    look(entry, now_ms, turns);
    lock.unlock();
    tell(turns, now_ms);
    return released;
}

void PruneGates::retire(registry::Registry& registry, const Subject& subject, std::string_view by,
                        std::vector<Retirement> dead, std::int64_t now_ms,
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
        registry.retire(subject.hub, *given,
                        [this, subject, by = std::string(by), given, now_ms, sum,
                         done](registry::Result<std::vector<registry::Retired>> retired) {
                            if (retired) {
                                sum->retired += retired->size();
                            } else {
                                sum->failure = retired.error().value();
                            }
                            settled(subject, by, std::move(*given), now_ms, retired);
                            if (--sum->steps_left != 0) return;
                            if (sum->failure == 0) return done(sum->retired.load());
                            const auto code = static_cast<registry::errc>(sum->failure.load());
                            done(registry::make_error_code(code));
                        });
    }
}

void PruneGates::settled(const Subject& subject, std::string_view by, std::vector<Retirement> given,
                         std::int64_t now_ms,
                         const registry::Result<std::vector<registry::Retired>>& retired) {
    const std::uint32_t hub = subject.hub;
    if (!retired && retired.error() != registry::errc::not_found) {
        std::vector<Turn> turns;
        std::unique_lock lock(mutex_);
        auto& entry = gate_of(subject, now_ms);
        unhold(hub, given);
        for (Retirement& one : given) {
            one.ticket = 0;  // behind those that came meanwhile: tickets ascend within a gate
            entry.second.hold_again(std::move(one));
        }
        save(entry);
        look(entry, now_ms, turns);
        lock.unlock();
        tell(turns, now_ms);
        return;
    }
    unhold(hub, given);
    if (!retired || trace_ == nullptr) return;
    std::vector<registry::RetirementRecord> records;
    records.reserve(retired->size());
    for (const registry::Retired& row : *retired) {
        const Retirement& one = given[row.index];
        registry::RetirementRecord record;
        record.hub = hub;
        record.at_ms = trace_->now_ms();
        record.platform = pns::platforms()[subject.platform].name;
        record.reason = one.reason;
        record.send_id = one.send_id;
        record.by = by;
        record.installation_id = row.installation_id;
        record.registration_id = row.registration_id;
        const bool timed = one.dead_since_ms != std::numeric_limits<std::int64_t>::max();
        record.dead_since_ms = timed ? one.dead_since_ms : 0;
        record.registered_at_ms = row.registered_at_ms;
        record.partition = row.partition;
        record.number = row.number;
        record.handle = trace_->hash_of(one.handle);
        records.push_back(std::move(record));
    }
    trace_->retired(std::move(records));
}

std::map<PruneGates::Subject, std::vector<Retirement>> PruneGates::take(
    std::uint32_t hub, std::optional<std::size_t> platform) {
    std::map<Subject, std::vector<Retirement>> out;
    std::vector<Turn> turns;
    std::unique_lock lock(mutex_);
    for (auto& entry : gates_) {
        auto& [subject, gate] = entry;
        const bool asked = subject.hub == hub && (!platform || subject.platform == *platform);
        if (!asked || gate.held() == 0) continue;
        out[subject] = gate.take_held();
        look(entry, 0, turns);
    }
    lock.unlock();
    tell(turns, 0);
    return out;
}

std::uint64_t PruneGates::discard(std::uint32_t hub, std::optional<std::size_t> platform) {
    std::uint64_t count = 0;
    for (const auto& [subject, gone] : take(hub, platform)) {
        unhold(hub, gone);
        count += gone.size();
    }
    std::lock_guard lock(mutex_);
    discarded_ += count;
    return count;
}

std::vector<PruneGates::Gate> PruneGates::gates(std::uint32_t hub, std::int64_t now_ms) const {
    std::vector<Gate> out;
    std::lock_guard lock(mutex_);
    for (const auto& [subject, gate] : gates_) {
        if (subject.hub != hub) continue;
        const auto recent = gate.recent(now_ms);
        out.push_back({subject, gate.open(now_ms), gate.held(), recent.accepted, recent.accused});
    }
    return out;
}

std::vector<PruneGates::Held> PruneGates::list(std::uint32_t hub, std::uint64_t after,
                                               std::size_t count_max) const {
    std::vector<Held> out;
    std::lock_guard lock(mutex_);
    for (const auto& [subject, gate] : gates_) {
        if (subject.hub != hub) continue;
        std::size_t taken = 0;  // tickets ascend within a gate
        for (const Retirement& one : gate.held_list()) {
            if (one.ticket <= after) continue;
            if (taken++ == count_max) break;
            out.push_back({subject.platform, one});
        }
    }
    std::sort(out.begin(), out.end(), [](const Held& a, const Held& b) {
        return a.retirement.ticket < b.retirement.ticket;
    });
    if (out.size() > count_max) out.resize(count_max);
    return out;
}

std::uint64_t PruneGates::held() const {
    std::uint64_t out = 0;
    std::lock_guard lock(mutex_);
    for (const auto& [subject, gate] : gates_) out += gate.held();
    return out;
}

PruneGates::Figures PruneGates::figures(std::int64_t now_ms) const {
    Figures out;
    std::lock_guard lock(mutex_);
    for (const auto& [subject, gate] : gates_) {
        out.held += gate.held();
        if (!gate.open(now_ms)) ++out.gates_shut;
    }
    out.discarded = discarded_;
    return out;
}

void PruneGates::forget(std::uint32_t hub) {
    discard(hub, std::nullopt);
    std::lock_guard lock(mutex_);
    for (auto& entry : gates_) {
        if (entry.first.hub != hub) continue;
        entry.second.forget_suspects_if([](const Retirement&) { return true; });
        save(entry);
    }
    std::erase_if(gates_, [hub](const auto& entry) { return entry.first.hub == hub; });
    std::erase_if(told_shut_, [hub](const Subject& subject) { return subject.hub == hub; });
}

std::size_t PruneGates::forget_device(std::uint32_t hub, std::string_view installation_id,
                                      std::string_view registration_id, std::string_view handle) {
    const auto same = [&](const Retirement& one) {
        return (!installation_id.empty() && one.installation_id == installation_id) ||
               (!registration_id.empty() && one.registration_id == registration_id) ||
               (!handle.empty() && one.handle == handle);
    };
    std::size_t count = 0;
    std::lock_guard lock(mutex_);
    for (auto& entry : gates_) {
        if (entry.first.hub != hub) continue;
        const auto gone = entry.second.take_held_if(same);
        unhold(hub, gone);
        count += gone.size() + entry.second.forget_suspects_if(same);
        save(entry);
    }
    return count;
}

}  // namespace hub
