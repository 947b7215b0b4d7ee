// Tested by tests/hub_wait_list_test.cpp.

#include "hub/send/wait_list.hpp"

#include <algorithm>
#include <limits>

namespace hub {

void WaitList::add(const Waiting& device, std::int64_t due_ms) {
    ++size_;
    if (device.door == 0 && timed_.size() < timed_max_) {
        timed_.emplace(due_ms, device);
        return;
    }
    Past past{device.door, device.attempts, device.faults, device.losses, device.outcome};
    if (crowds_.size() >= crowds_max && !crowds_.contains(past)) {
        // What tells them apart least goes first; what bounds a push (faults, losses) stays exact.
        past.attempts = std::max(past.faults, std::min<std::uint8_t>(past.attempts, 1));
        past.door = 0;
    }
    Crowd& crowd = crowds_[past];
    if (crowd.partitions.size() <= device.partition) crowd.partitions.resize(device.partition + 1u);
    crowd.partitions[device.partition].add(device.number);
    if (crowd.devices++ == 0) {
        crowd.sampled = past.door != 0;
        crowd.due_ms = due_ms;
    } else if (!crowd.sampled) {
        crowd.due_ms = std::max(crowd.due_ms, due_ms);
    }
}

std::int64_t WaitList::next_due_ms() const {
    std::int64_t next = std::numeric_limits<std::int64_t>::max();
    if (!timed_.empty()) next = timed_.begin()->first;
    for (const auto& [past, crowd] : crowds_) next = std::min(next, crowd.due_ms);
    return next;
}

void WaitList::open(std::uint32_t door, std::int64_t now_ms) {
    for (auto& [past, crowd] : crowds_) {
        if (past.door != door) continue;
        crowd.sampled = false;
        crowd.due_ms = now_ms;
    }
}

void WaitList::open_all(std::int64_t now_ms) {
    for (auto& [past, crowd] : crowds_) {
        crowd.sampled = false;
        crowd.due_ms = now_ms;
    }
    std::multimap<std::int64_t, Waiting> due;
    for (auto& [at_ms, device] : timed_) due.emplace(std::min(at_ms, now_ms), device);
    timed_.swap(due);
}

std::vector<Waiting> WaitList::take_due(std::int64_t now_ms, std::size_t count_max) {
    if (!timed_.empty() && timed_.begin()->first <= now_ms) return take_timed(now_ms, count_max);
    for (auto crowd = crowds_.begin(); crowd != crowds_.end(); ++crowd) {
        if (crowd->second.due_ms <= now_ms) return take_crowd(crowd, now_ms, count_max);
    }
    return {};
}

// Those that are due with the first one and lie in its partition.
std::vector<Waiting> WaitList::take_timed(std::int64_t now_ms, std::size_t count_max) {
    const Waiting first = timed_.begin()->second;
    const auto looked_at_max = static_cast<std::ptrdiff_t>(8 * count_max);
    std::vector<Waiting> taken;
    std::ptrdiff_t looked_at = 0;
    for (auto it = timed_.begin(); it != timed_.end() && it->first <= now_ms &&
                                   taken.size() < count_max && looked_at < looked_at_max;
         ++looked_at) {
        const auto next = std::next(it);
        if (it->second.partition == first.partition) {
            taken.push_back(it->second);
            timed_.erase(it);
        }
        it = next;
    }
    std::sort(taken.begin(), taken.end(),
              [](const Waiting& a, const Waiting& b) { return a.number < b.number; });
    size_ -= taken.size();
    return taken;
}

std::vector<Waiting> WaitList::take_crowd(Crowds::iterator it, std::int64_t now_ms,
                                          std::size_t count_max) {
    auto& [past, crowd] = *it;
    if (crowd.sampled) count_max = std::min(count_max, sample_devices);
    std::vector<Waiting> taken;
    for (std::size_t p = 0; p < crowd.partitions.size() && taken.empty(); ++p) {
        registry::Bitmap& devices = crowd.partitions[p];
        auto number = devices.begin();
        for (; number != devices.end() && taken.size() < count_max; ++number)
            taken.push_back(device_of(past, static_cast<std::uint16_t>(p), *number));
        if (taken.empty()) continue;
        for (const Waiting& device : taken) devices.remove(device.number);
    }
    crowd.devices -= taken.size();
    size_ -= taken.size();
    if (crowd.sampled) crowd.due_ms = now_ms + sample_every_ms;
    if (crowd.devices == 0) crowds_.erase(it);
    return taken;
}

}  // namespace hub
