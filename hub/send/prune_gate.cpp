// Tested by tests/hub_prune_gate_test.cpp and tests/hub_prune_test.cpp.

#include "hub/send/prune_gate.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace hub {

void PruneGate::fade() {
    while (accepted_ + dead_ > recent_answers_max) {
        accepted_ /= 2;
        dead_ /= 2;
    }
}

void PruneGate::accepted(std::uint64_t count) {
    accepted_ += count;
    fade();
}

void PruneGate::keep(registry::Retirement retirement) {
    if (held_.size() == held_max) {
        if (held_.front().ticket != 0) dropped_.push_back(held_.front().ticket);
        held_.pop_front();
        unsaved_ = std::min(unsaved_, held_.size());
    }
    held_.push_back(std::move(retirement));
    ++unsaved_;
}

void PruneGate::dead(registry::Retirement retirement) {
    ++dead_;
    fade();
    keep(std::move(retirement));
}

void PruneGate::hold_again(registry::Retirement retirement) {
    const bool known = retirement.ticket != 0;
    ++dead_;
    fade();
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

void PruneGate::suspect(registry::Retirement retirement, std::string_view send_id) {
    if (suspects_.size() == suspects_max && !suspects_.contains(retirement.handle))
        suspects_.clear();
    Suspicion& suspicion = suspects_[retirement.handle];
    if (suspicion.last_send == send_id) return;
    if (suspicion.count == 0) suspicion.since_ms = retirement.asked_at_ms;
    suspicion.last_send = send_id;
    if (++suspicion.count < suspicions_needed) {
        ++dead_;  // speaks for a shut gate as much as a dead handle does
        fade();
        return;
    }
    retirement.asked_at_ms = suspicion.since_ms;
    suspects_.erase(retirement.handle);
    dead(std::move(retirement));
}

bool PruneGate::open() const {
    if (accepted_ == 0) return false;
    return dead_ <= dead_free || dead_ * 100 < dead_percent_max * (accepted_ + dead_);
}

std::vector<registry::Retirement> PruneGate::release() {
    if (held_.empty() || !open()) return {};
    std::vector<registry::Retirement> released(std::make_move_iterator(held_.begin()),
                                               std::make_move_iterator(held_.end()));
    held_.clear();
    unsaved_ = 0;
    return released;
}

std::vector<registry::Retirement> PruneGate::take_held() {
    return take_held_if([](const registry::Retirement&) { return true; });
}

std::vector<registry::Retirement> PruneGate::take_held_if(
    const std::function<bool(const registry::Retirement&)>& wanted) {
    std::vector<registry::Retirement> taken;
    std::deque<registry::Retirement> left;
    std::size_t unsaved_left = 0;
    for (registry::Retirement& one : held_) {
        if (wanted(one)) {
            taken.push_back(std::move(one));
            continue;
        }
        if (one.ticket == 0) ++unsaved_left;
        left.push_back(std::move(one));
    }
    held_ = std::move(left);
    unsaved_ = unsaved_left;
    dead_ -= std::min<std::uint64_t>(dead_, taken.size());
    return taken;
}

std::vector<registry::Retirement> PruneGate::take_unsaved(std::uint64_t& next_ticket) {
    std::vector<registry::Retirement> out;
    out.reserve(unsaved_);
    for (std::size_t i = held_.size() - unsaved_; i < held_.size(); ++i) {
        held_[i].ticket = next_ticket++;
        out.push_back(held_[i]);
    }
    unsaved_ = 0;
    return out;
}

std::vector<std::uint64_t> PruneGate::take_dropped() {
    return std::exchange(dropped_, {});
}

}  // namespace hub
