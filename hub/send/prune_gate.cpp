// Tested by tests/hub_prune_gate_test.cpp and tests/hub_prune_test.cpp.
//
// Evidence lies in a ring of steps, so what is older than an hour falls out without a timer; `all`
// is of the hour, `round` of the round. What is held or suspected has a ticket once it is stored:
// take_unsaved() gives tickets to what came since, take_dropped() names those that are no longer
// needed. Both queues keep their order, since unsaved entries are found as the last of them.

#include "hub/send/prune_gate.hpp"

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <utility>

namespace hub {

using registry::Retirement;

namespace {

std::int64_t step_of(std::int64_t now_ms, std::size_t steps) {
    return now_ms / (PruneGate::evidence_ms_max / static_cast<std::int64_t>(steps));
}

}  // namespace

PruneGate::Minutes& PruneGate::minutes_of(std::int64_t now_ms) {
    const std::int64_t step = step_of(now_ms, steps);
    Minutes& minutes = evidence_[static_cast<std::size_t>(step) % steps];
    // A lane that read the clock a little earlier adds to what is there.
    if (minutes.step < step) minutes = {step, {}, {}};
    return minutes;
}

PruneGate::Evidence PruneGate::sum(Evidence Minutes::*which, std::int64_t now_ms) const {
    const std::int64_t after = step_of(now_ms, steps) - static_cast<std::int64_t>(steps);
    Evidence out;
    for (const Minutes& minutes : evidence_) {
        if (minutes.step <= after) continue;
        out.accepted += (minutes.*which).accepted;
        out.accused += (minutes.*which).accused;
    }
    return out;
}

void PruneGate::accepted(std::uint64_t count, std::int64_t now_ms) {
    count -= std::min(count, std::exchange(refuted_, 0));
    if (count == 0) return;
    success_told_ = true;
    const std::uint64_t known = sum(&Minutes::round, now_ms).accepted;
    Minutes& minutes = minutes_of(now_ms);
    minutes.all.accepted += count;
    const std::uint64_t room = carried_max - std::min(known, carried_max);
    minutes.round.accepted += held_.empty() ? std::min(count, room) : count;
}

void PruneGate::keep(Retirement retirement) {
    if (held_.size() == held_max) {
        if (held_.front().ticket != 0) dropped_.push_back(held_.front().ticket);
        accused_.remove(held_.front().handle);
        held_.pop_front();
        unsaved_ = std::min(unsaved_, held_.size());
    }
    accused_.add(retirement.handle);
    held_.push_back(std::move(retirement));
    ++unsaved_;
}

void PruneGate::dead(Retirement retirement, std::int64_t now_ms) {
    Minutes& minutes = minutes_of(now_ms);
    ++minutes.all.accused;
    ++minutes.round.accused;
    keep(std::move(retirement));
}

void PruneGate::hold_again(Retirement retirement) {
    const bool known = retirement.ticket != 0;
    if (!known || unsaved_ > 0) {
        // What is known already is saved once more under a new ticket only if it must queue behind
        // others that are not.
        if (known) dropped_.push_back(std::exchange(retirement.ticket, 0));
        keep(std::move(retirement));
        return;
    }
    keep(std::move(retirement));
    --unsaved_;
}

void PruneGate::drop_suspect(std::list<Retirement>::iterator suspect) {
    if (suspect->ticket != 0) {
        dropped_.push_back(suspect->ticket);
    } else {
        --unsaved_suspects_;
    }
    suspect_of_.erase(suspect->handle);
    accused_.remove(suspect->handle);
    suspects_.erase(suspect);
}

void PruneGate::keep_suspect(Retirement retirement) {
    if (suspects_.size() == suspects_max) drop_suspect(suspects_.begin());
    if (retirement.ticket == 0) ++unsaved_suspects_;
    accused_.add(retirement.handle);
    const auto place = suspects_.insert(suspects_.end(), std::move(retirement));
    suspect_of_[place->handle] = place;
}

void PruneGate::suspect_again(Retirement retirement) {
    const bool known = suspect_of_.contains(retirement.handle);
    if (known) {
        dropped_.push_back(retirement.ticket);
    } else {
        keep_suspect(std::move(retirement));
    }
}

void PruneGate::suspect(Retirement retirement, std::int64_t now_ms) {
    const auto known = suspect_of_.find(retirement.handle);
    if (known != suspect_of_.end()) {
        const auto first = known->second;
        if (first->send_id == retirement.send_id) return;
        const bool counts = retirement.at_ms - first->at_ms < suspicion_ms_max;
        const std::int64_t asked_at_ms = first->asked_at_ms;
        drop_suspect(first);
        if (counts) {
            retirement.asked_at_ms = asked_at_ms;
            return dead(std::move(retirement), now_ms);
        }
    }
    Minutes& minutes = minutes_of(now_ms);
    ++minutes.all.accused;  // speaks for a shut gate as much as a dead handle does
    ++minutes.round.accused;
    keep_suspect(std::move(retirement));
}

bool PruneGate::may_release(std::int64_t now_ms) const {
    const Evidence hour = recent(now_ms);
    if (hour.accepted > 0 && std::max<std::uint64_t>(hour.accused, held_.size()) <= dead_free)
        return true;
    const Evidence round = sum(&Minutes::round, now_ms);
    const std::uint64_t alive =
        success_told_ ? round.accepted : std::min(round.accepted, carried_max);
    const std::uint64_t accused = std::max<std::uint64_t>(round.accused, held_.size());
    return alive > 0 && accused * 100 < dead_percent_max * (alive + accused);
}

void PruneGate::end_round() {
    for (Minutes& minutes : evidence_) minutes.round = {};
}

std::vector<Retirement> PruneGate::release(std::int64_t now_ms) {
    const bool may = !held_.empty() && may_release(now_ms);
    success_told_ = false;
    refuted_ = 0;
    if (!may) return {};
    std::vector<Retirement> released(std::make_move_iterator(held_.begin()),
                                     std::make_move_iterator(held_.end()));
    held_.clear();
    unsaved_ = 0;
    for (const Retirement& one : released) accused_.remove(one.handle);
    end_round();
    return released;
}

std::vector<Retirement> PruneGate::take_held() {
    return take_held_if([](const Retirement&) { return true; });
}

std::vector<Retirement> PruneGate::take_out(const Wanted& wanted) {
    std::vector<Retirement> taken;
    std::deque<Retirement> left;
    std::size_t unsaved_left = 0;
    for (Retirement& one : held_) {
        if (wanted(one)) {
            accused_.remove(one.handle);
            taken.push_back(std::move(one));
            continue;
        }
        if (one.ticket == 0) ++unsaved_left;
        left.push_back(std::move(one));
    }
    held_ = std::move(left);
    unsaved_ = unsaved_left;
    return taken;
}

std::vector<Retirement> PruneGate::take_held_if(const Wanted& wanted) {
    std::vector<Retirement> taken = take_out(wanted);
    std::uint64_t forgiven_all = taken.size(), forgiven_round = taken.size();
    const auto forgive = [](std::uint64_t& accused, std::uint64_t& forgiven) {
        const std::uint64_t less = std::min(accused, forgiven);
        accused -= less;
        forgiven -= less;
    };
    for (Minutes& minutes : evidence_) {
        forgive(minutes.all.accused, forgiven_all);
        forgive(minutes.round.accused, forgiven_round);
    }
    if (held_.empty() && !taken.empty()) end_round();
    return taken;
}

void PruneGate::alive(const std::vector<std::string>& handles) {
    if (handles.empty()) return;
    for (const std::string& handle : handles) {
        const auto suspect = suspect_of_.find(handle);
        if (suspect != suspect_of_.end()) drop_suspect(suspect->second);
    }
    const std::unordered_set<std::string_view, tagexpr::KeyedHash> taken(handles.begin(),
                                                                         handles.end());
    const auto lives = [&](const Retirement& one) { return taken.contains(one.handle); };
    if (std::none_of(held_.begin(), held_.end(), lives)) return;
    for (const Retirement& one : take_out(lives)) {
        if (one.ticket != 0) dropped_.push_back(one.ticket);
        ++refuted_;
    }
    if (held_.empty()) end_round();
}

std::size_t PruneGate::forget_suspects_if(const Wanted& wanted) {
    const std::size_t before = suspects_.size();
    for (auto it = suspects_.begin(); it != suspects_.end();) {
        const auto suspect = it++;
        if (wanted(*suspect)) drop_suspect(suspect);
    }
    return before - suspects_.size();
}

std::vector<PruneGate::Unsaved> PruneGate::take_unsaved(std::uint64_t& next_ticket) {
    std::vector<Unsaved> out;
    out.reserve(unsaved_ + unsaved_suspects_);
    for (std::size_t i = held_.size() - unsaved_; i < held_.size(); ++i) {
        held_[i].ticket = next_ticket++;
        out.push_back({held_[i], false});
    }
    auto suspect = std::prev(suspects_.end(), static_cast<std::ptrdiff_t>(unsaved_suspects_));
    for (; suspect != suspects_.end(); ++suspect) {
        suspect->ticket = next_ticket++;
        out.push_back({*suspect, true});
    }
    unsaved_ = unsaved_suspects_ = 0;
    return out;
}

std::vector<std::uint64_t> PruneGate::take_dropped() {
    return std::exchange(dropped_, {});
}

}  // namespace hub
