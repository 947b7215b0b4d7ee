#pragma once

// The pushes that wait for one origin, served fairly between flows (Push::flow): deficit round
// robin over one list per flow, and flows that have just come are served first. So a send to one
// user passes a broadcast of millions that waits before it, and the broadcast still gets its share
// while such sends go on and on. Every call is O(1), amortised, except detach_older. One loop;
// pushes are linked through Push::next and never copied. The bound is the caller's.

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "pns/push.hpp"

namespace pns {

class FairQueue {
  public:
    static constexpr int turn_pushes = 8;  ///< of one flow before the next one has its turn
    /// Pushes of new flows in a row while older flows wait.
    static constexpr int newcomers_in_row_max = 64;

    FairQueue() = default;
    FairQueue(const FairQueue&) = delete;
    FairQueue& operator=(const FairQueue&) = delete;

    void push_back(Push& push);
    /// Puts a push that has waited before in front of all others of its flow.
    void push_front(Push& push);
    /// Whose turn it is; null if none waits. The same until the next change.
    Push* front();
    /// Takes front(), which is not null.
    Push& pop();
    /// Takes out, from the front of each flow, what was queued at or before `queued_at_ms`: a list
    /// through Push::next, null if empty. O(flows + taken).
    Push* detach_older(std::int64_t queued_at_ms);
    /// Takes out all pushes of one flow, as a list like detach_older(). O(taken).
    Push* detach_flow(std::uint32_t id);
    std::size_t size() const { return size_; }
    std::size_t flows() const { return flows_.size(); }

  private:
    struct Flow {
        std::uint32_t id = 0;
        Push* head = nullptr;
        Push* tail = nullptr;
        int credit = 0;
        Flow* next = nullptr;
    };
    using Flows = std::unordered_map<std::uint32_t, Flow>;
    struct List {
        Flow* head = nullptr;
        Flow* tail = nullptr;
        void append(Flow& flow);
        Flow& take_first();
    };

    Flow& flow_of(std::uint32_t id);
    void forget(Flow& flow);
    List* turn();

    // A flow is in exactly one of the two lists, also while it is empty: it loses its place only
    // when its turn comes, so that it cannot gain by coming back as a new one.
    Flows flows_;
    List newcomers_, settled_;
    int newcomers_in_row_ = 0;
    std::size_t size_ = 0;
    std::vector<Flows::node_type>
        spare_;  // of flows forgotten: one that trickles allocates nothing
};

}  // namespace pns
