// Tested by tests/pns_fair_queue_test.cpp.

#include "pns/fair_queue.hpp"

#include <cassert>
#include <utility>

namespace pns {

namespace {

constexpr std::size_t spare_max = 16;

}  // namespace

void FairQueue::List::append(Flow& flow) {
    flow.next = nullptr;
    (tail != nullptr ? tail->next : head) = &flow;
    tail = &flow;
}

FairQueue::Flow& FairQueue::List::take_first() {
    Flow& flow = *head;
    head = flow.next;
    if (head == nullptr) tail = nullptr;
    flow.next = nullptr;
    return flow;
}

FairQueue::Flow& FairQueue::flow_of(std::uint32_t id) {
    const auto found = flows_.find(id);
    if (found != flows_.end()) return found->second;
    Flow* flow = nullptr;
    if (spare_.empty()) {
        flow = &flows_[id];
    } else {
        auto node = std::move(spare_.back());
        spare_.pop_back();
        node.key() = id;
        flow = &flows_.insert(std::move(node)).position->second;
    }
    *flow = Flow();
    flow->id = id;
    flow->credit = turn_pushes;
    newcomers_.append(*flow);
    return *flow;
}

void FairQueue::forget(Flow& flow) {
    auto node = flows_.extract(flow.id);
    if (spare_.size() < spare_max) spare_.push_back(std::move(node));
}

void FairQueue::push_back(Push& push) {
    Flow& flow = flow_of(push.flow);
    push.next = nullptr;
    (flow.tail != nullptr ? flow.tail->next : flow.head) = &push;
    flow.tail = &push;
    ++size_;
}

void FairQueue::push_front(Push& push) {
    Flow& flow = flow_of(push.flow);
    push.next = flow.head;
    flow.head = &push;
    if (flow.tail == nullptr) flow.tail = &push;
    ++size_;
}

// The list whose first flow has a push and may send it; null if nothing waits.
FairQueue::List* FairQueue::turn() {
    while (size_ > 0) {
        const bool newcomer =
            newcomers_.head != nullptr &&
            (settled_.head == nullptr || newcomers_in_row_ < newcomers_in_row_max);
        List& list = newcomer ? newcomers_ : settled_;
        Flow& flow = *list.head;
        if (flow.head != nullptr && flow.credit > 0) return &list;
        list.take_first();
        if (flow.head == nullptr && (!newcomer || settled_.head == nullptr)) {
            forget(flow);
            continue;
        }
        if (flow.credit <= 0) flow.credit += turn_pushes;
        settled_.append(flow);
        if (!newcomer) newcomers_in_row_ = 0;  // that was a whole turn
    }
    for (List* list : {&newcomers_, &settled_}) {
        while (list->head != nullptr) forget(list->take_first());
    }
    newcomers_in_row_ = 0;
    return nullptr;
}

Push* FairQueue::front() {
    const List* list = turn();
    return list == nullptr ? nullptr : list->head->head;
}

Push& FairQueue::pop() {
    const List* list = turn();
    assert(list != nullptr);
    Flow& flow = *list->head;
    Push& push = *flow.head;
    flow.head = push.next;
    if (flow.head == nullptr) flow.tail = nullptr;
    push.next = nullptr;
    --flow.credit;
    --size_;
    if (list == &newcomers_) ++newcomers_in_row_;
    if (size_ == 0) turn();  // forgets the flows
    return push;
}

Push* FairQueue::detach_older(std::int64_t queued_at_ms) {
    Push* first = nullptr;
    Push** end = &first;
    for (auto& [id, flow] : flows_) {
        while (flow.head != nullptr && flow.head->queued_at_ms <= queued_at_ms) {
            *end = flow.head;
            end = &flow.head->next;
            flow.head = flow.head->next;
            --size_;
        }
        if (flow.head == nullptr) flow.tail = nullptr;
    }
    *end = nullptr;
    return first;
}

Push* FairQueue::detach_flow(std::uint32_t id) {
    const auto found = flows_.find(id);
    if (found == flows_.end()) return nullptr;
    Flow& flow = found->second;
    Push* const first = flow.head;
    for (Push* push = first; push != nullptr; push = push->next) --size_;
    flow.head = flow.tail = nullptr;
    return first;
}

}  // namespace pns
