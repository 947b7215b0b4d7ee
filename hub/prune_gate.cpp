#include "hub/prune_gate.hpp"

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

void PruneGate::dead(registry::Retirement retirement) {
    ++dead_;
    fade();
    if (held_.size() == held_max) held_.pop_front();
    held_.push_back(std::move(retirement));
}

void PruneGate::suspect(registry::Retirement retirement, std::string_view send_id) {
    if (suspects_.size() == suspects_max && !suspects_.contains(retirement.handle))
        suspects_.clear();
    Suspicion& suspicion = suspects_[retirement.handle];
    if (suspicion.last_send == send_id) return;
    suspicion.last_send = send_id;
    if (++suspicion.count < suspicions_needed) {
        ++dead_;  // speaks for a shut gate as much as a dead handle does
        fade();
        return;
    }
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
    return released;
}

}  // namespace hub
