#include "pns/fair_queue.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <random>
#include <vector>

namespace {

using pns::FairQueue;
using pns::Push;

// Pushes that stay where they are.
struct Pushes {
    std::deque<Push> all;
    Push& make(std::uint32_t flow, std::int64_t queued_at_ms = 0) {
        Push& push = all.emplace_back();
        push.flow = flow;
        push.index = static_cast<std::uint32_t>(all.size() - 1);
        push.queued_at_ms = queued_at_ms;
        return push;
    }
};

}  // namespace

TEST_CASE("one flow is served in order", "[pns]") {
    FairQueue queue;
    Pushes pushes;
    CHECK(queue.front() == nullptr);
    for (int i = 0; i < 100; ++i) queue.push_back(pushes.make(7));
    queue.push_front(pushes.make(7));
    CHECK(queue.pop().index == 100);
    for (std::uint32_t i = 0; i < 100; ++i) {
        REQUIRE(queue.front() == &pushes.all[i]);
        CHECK(queue.pop().index == i);
    }
    CHECK(queue.front() == nullptr);
    CHECK(queue.size() == 0);
    CHECK(queue.flows() == 0);
}

TEST_CASE("a small send passes a broadcast that waits, and goes out whole", "[pns]") {
    FairQueue queue;
    Pushes pushes;
    for (int i = 0; i < 5'000; ++i) queue.push_back(pushes.make(1));
    for (int i = 0; i < 10; ++i) CHECK(queue.pop().flow == 1);
    for (int i = 0; i < FairQueue::turn_pushes; ++i) queue.push_back(pushes.make(2));
    for (int i = 0; i < FairQueue::turn_pushes; ++i) CHECK(queue.pop().flow == 2);
    CHECK(queue.pop().flow == 1);
    // It has had its turn: coming back at once it waits for the turn of the other.
    queue.push_back(pushes.make(2));
    int before = 0;
    while (queue.pop().flow == 1) ++before;
    CHECK(before < FairQueue::turn_pushes);
}

TEST_CASE("a resend is the next of its flow", "[pns]") {
    FairQueue queue;
    Pushes pushes;
    for (int i = 0; i < 20; ++i) queue.push_back(pushes.make(1));
    Push& first = queue.pop();
    queue.push_front(first);
    CHECK(&queue.pop() == &first);
}

TEST_CASE("waiting flows get equal shares, whatever they have queued", "[pns]") {
    FairQueue queue;
    Pushes pushes;
    const std::vector<int> sizes{4'000, 400, 2'000, 900};
    for (std::uint32_t f = 0; f < sizes.size(); ++f) {
        for (int i = 0; i < sizes[f]; ++i) queue.push_back(pushes.make(f));
    }
    std::map<std::uint32_t, int> served;
    for (int i = 0; i < 1'600; ++i) {
        ++served[queue.pop().flow];
        for (std::uint32_t a = 0; a < sizes.size(); ++a) {
            for (std::uint32_t b = 0; b < sizes.size(); ++b) {
                REQUIRE(served[a] - served[b] <= 2 * FairQueue::turn_pushes);
            }
        }
    }
}

TEST_CASE("sends to single users that never end leave a broadcast its share", "[pns]") {
    FairQueue queue;
    Pushes pushes;
    std::uint32_t fresh = 100;
    for (int i = 0; i < 500; ++i) queue.push_back(pushes.make(1));
    int broadcast = 0;
    for (int i = 0; i < 20'000 && broadcast < 500; ++i) {
        while (queue.size() < 600) queue.push_back(pushes.make(++fresh));
        if (queue.pop().flow == 1) ++broadcast;
        REQUIRE(queue.flows() < 1'000);
    }
    CHECK(broadcast == 500);
}

TEST_CASE("what waited too long is taken out of every flow", "[pns]") {
    FairQueue queue;
    Pushes pushes;
    for (std::int64_t t = 0; t < 90; ++t) {
        queue.push_back(pushes.make(static_cast<std::uint32_t>(t % 3), t));
    }
    std::size_t taken = 0;
    for (Push* p = queue.detach_older(59); p != nullptr; p = p->next, ++taken) {
        CHECK(p->queued_at_ms <= 59);
    }
    CHECK(taken == 60);
    CHECK(queue.size() == 30);
    CHECK(queue.detach_older(59) == nullptr);
    for (int i = 0; i < 30; ++i) CHECK(queue.pop().queued_at_ms >= 60);
    CHECK(queue.front() == nullptr);
    CHECK(queue.flows() == 0);
}

// The model: per flow an ordinary list. Any order between flows is right as long as nothing is lost
// or doubled, a flow keeps its order, and nobody who waits is passed over for long.
TEST_CASE("random calls keep every push, the order of flows and bounded waits", "[pns]") {
    const unsigned seed = GENERATE(1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U);
    CAPTURE(seed);
    std::mt19937 random(seed);
    FairQueue queue;
    Pushes pushes;
    std::map<std::uint32_t, std::deque<std::uint32_t>> model;
    std::map<std::uint32_t, int> passed_over;  // pops of others since a flow began to wait
    std::size_t size = 0;
    std::int64_t now = 0;
    for (int step = 0; step < 30'000; ++step) {
        now += random() % 3;
        const auto what = random() % 100;
        const auto flow = static_cast<std::uint32_t>(random() % (seed % 2 == 0 ? 4 : 40));
        if (what < 48) {
            Push& push = pushes.make(flow, now);
            queue.push_back(push);
            model[flow].push_back(push.index);
            ++size;
        } else if (what < 51) {
            Push& push = pushes.make(flow, now);
            queue.push_front(push);
            model[flow].push_front(push.index);
            ++size;
        } else if (what < 98) {
            Push* const front = queue.front();
            REQUIRE((front == nullptr) == (size == 0));
            if (front == nullptr) continue;
            Push& push = queue.pop();
            REQUIRE(&push == front);
            auto& list = model[push.flow];
            REQUIRE(!list.empty());
            REQUIRE(list.front() == push.index);
            list.pop_front();
            --size;
            int longest = 0;
            for (const auto& [id, l] : model) {
                int& passes = passed_over[id];
                passes = l.empty() || id == push.flow ? 0 : passes + 1;
                longest = std::max(longest, passes);
            }
            // Newcomers in a row, then at worst a turn of every other flow.
            REQUIRE(longest <= FairQueue::newcomers_in_row_max + 2 * FairQueue::turn_pushes * 40);
        } else if (what == 98) {
            std::deque<std::uint32_t> taken;
            for (Push* p = queue.detach_flow(flow); p != nullptr; p = p->next) {
                taken.push_back(p->index);
            }
            REQUIRE(taken == model[flow]);
            size -= taken.size();
            model[flow].clear();
        } else {
            const std::int64_t old = now - 400;
            for (Push* p = queue.detach_older(old); p != nullptr; p = p->next) {
                auto& list = model[p->flow];
                REQUIRE(list.front() == p->index);
                list.pop_front();
                --size;
            }
            for (const auto& [id, list] : model) {
                if (!list.empty()) CHECK(pushes.all[list.front()].queued_at_ms > old);
            }
        }
        REQUIRE(queue.size() == size);
        REQUIRE(queue.flows() <= 40);
    }
}
