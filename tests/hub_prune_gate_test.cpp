// The rules of a prune gate, in virtual time.

#include "hub/send/prune_gate.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <set>
#include <string>

using hub::PruneGate;

namespace {

constexpr std::int64_t minute_ms = 60'000;

registry::Retirement dead_handle(std::uint32_t number, const std::string& send = "send") {
    registry::Retirement retirement;
    retirement.number = number;
    retirement.handle = "handle-" + std::to_string(number);
    retirement.send_id = send;
    return retirement;
}

/// A gate whose clock the test moves.
struct Desk {
    hub::AccusedHandles accused;
    PruneGate gate{accused};
    std::int64_t now_ms = 5'000'000;
    std::uint32_t next = 0;

    /// One batch; how many may be retired after it.
    std::size_t tell(std::uint64_t accepted, std::uint32_t dead) {
        for (; dead > 0; --dead) gate.dead(dead_handle(next++), now_ms);
        gate.accepted(accepted, now_ms);
        return gate.release(now_ms).size();
    }
    bool suspect(std::uint32_t number, const std::string& send) {
        gate.suspect(dead_handle(number, send), now_ms);
        return !gate.release(now_ms).empty();
    }
};

}  // namespace

TEST_CASE("a gate without a single success releases nothing", "[hub]") {
    Desk desk;
    CHECK(desk.tell(0, 5) == 0);
    CHECK(desk.gate.held() == 5);
    CHECK(desk.tell(1, 0) == 5);
    CHECK(desk.gate.held() == 0);
}

TEST_CASE("a bulk of dead handles stays held until the share of the living is credible", "[hub]") {
    Desk desk;
    CHECK(desk.tell(10, 50) == 0);
    CHECK(desk.tell(100, 0) == 0);
    CHECK(desk.tell(10, 0) == 50);
}

TEST_CASE("two per cent dead among many pass at once", "[hub]") {
    Desk desk;
    CHECK(desk.tell(9'800, 200) == 200);
    CHECK(desk.tell(98, 2) == 2);
}

TEST_CASE("yesterday's successes do not speak for today's dead", "[hub]") {
    Desk desk;
    CHECK(desk.tell(20'000, 0) == 0);
    desk.now_ms += 24 * 60 * minute_ms;
    CHECK(desk.tell(0, 5) == 0);
    CHECK(desk.tell(0, 4'908) == 0);
    CHECK(desk.gate.held() == 4'913);
    CHECK_FALSE(desk.gate.open(desk.now_ms));
}

TEST_CASE("nor do those of a minute ago for more than ten", "[hub]") {
    Desk desk;
    CHECK(desk.tell(20'000, 0) == 0);
    desk.now_ms += minute_ms;
    CHECK(desk.tell(0, 4'913) == 0);
    // One that got through among thousands that did not changes nothing.
    CHECK(desk.tell(1, 0) == 0);
    CHECK(desk.tell(1, 500) == 0);

    Desk dripping;
    CHECK(dripping.tell(20'000, 0) == 0);
    std::size_t released = 0;
    for (int i = 0; i < 300; ++i, dripping.now_ms += minute_ms) released += dripping.tell(0, 1);
    CHECK(released == PruneGate::dead_free);
}

TEST_CASE("the last dead of a send go although no success follows", "[hub]") {
    Desk desk;
    CHECK(desk.tell(980, 20) == 20);
    CHECK(desk.tell(980, 0) == 0);
    CHECK(desk.tell(0, 9) == 9);
    CHECK(desk.tell(0, 1) == 0);
    CHECK(desk.tell(30, 0) == 1);
}

TEST_CASE("a wrong setting that was mended lets go of what is dead", "[hub]") {
    Desk desk;
    CHECK(desk.tell(0, 1'000) == 0);
    desk.now_ms += 24 * 60 * minute_ms;
    CHECK(desk.tell(2'000, 20) == 0);
    desk.now_ms += 2 * 60 * minute_ms;
    CHECK(desk.tell(2'000, 20) == 0);  // what was before the hour is over does not add up
    CHECK(desk.tell(1'000, 0) == 1'040);
}

TEST_CASE("answers that accuse only never retire more than ten, whatever came before", "[hub]") {
    const auto seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    for (int round = 0; round < 300; ++round) {
        Desk desk;
        const auto wait = [&] {
            desk.now_ms += static_cast<std::int64_t>(
                random() % (random() % 8 == 0 ? 90 * minute_ms : minute_ms));
        };
        const auto size = [&] {
            return static_cast<std::uint32_t>(random() % (random() % 4 == 0 ? 5'000 : 12));
        };
        for (auto left = random() % 40; left > 0; --left, wait()) {
            switch (random() % 4) {
                case 0:
                    desk.tell(size(), 0);
                    break;
                case 1:
                    desk.tell(0, size());
                    break;
                case 2:
                    desk.suspect(static_cast<std::uint32_t>(random() % 50),
                                 std::to_string(random() % 3));
                    break;
                default:
                    desk.tell(size(), size() / 20);
            }
        }
        const std::uint32_t accused_before = desk.next;
        std::size_t retired = 0;
        for (auto left = random() % 60; left > 0; --left, wait()) {
            for (auto dead = size(); dead > 0; --dead)
                desk.gate.dead(dead_handle(desk.next++), desk.now_ms);
            if (random() % 2 == 0)
                desk.gate.suspect(dead_handle(1'000'000 + static_cast<std::uint32_t>(random() % 50),
                                              std::to_string(random() % 3)),
                                  desk.now_ms);
            for (const auto& one : desk.gate.release(desk.now_ms))
                retired += one.number >= accused_before ? 1 : 0;
        }
        REQUIRE(retired <= PruneGate::dead_free);
    }
}

TEST_CASE("a suspected handle is dead at the second send that says so", "[hub]") {
    Desk desk;
    desk.tell(100, 0);
    CHECK_FALSE(desk.suspect(1, "send-a"));
    CHECK_FALSE(desk.suspect(1, "send-a"));
    CHECK(desk.gate.suspects() == 1);
    desk.gate.suspect(dead_handle(1, "send-b"), desk.now_ms);
    const auto released = desk.gate.release(desk.now_ms);
    REQUIRE(released.size() == 1);
    CHECK(released[0].number == 1);
    CHECK(desk.gate.suspects() == 0);
}

TEST_CASE("a handle whose push was taken is neither suspected nor held", "[hub]") {
    Desk desk;
    std::uint64_t ticket = 1;
    desk.tell(100, 0);
    CHECK_FALSE(desk.suspect(1, "send-a"));
    CHECK_FALSE(desk.suspect(2, "send-a"));
    CHECK(desk.accused.may_have("handle-1"));
    CHECK(desk.gate.take_unsaved(ticket).size() == 2);
    desk.gate.alive({"handle-1", "handle-77"});
    CHECK(desk.gate.suspects() == 1);
    CHECK(desk.gate.take_dropped() == std::vector<std::uint64_t>{1});
    CHECK_FALSE(desk.accused.may_have("handle-1"));
    CHECK(desk.accused.may_have("handle-2"));
    CHECK_FALSE(desk.suspect(1, "send-b"));  // the first again
    CHECK(desk.suspect(2, "send-b"));
    CHECK(desk.gate.take_dropped() == std::vector<std::uint64_t>{2});

    // A bulk that was wrong lets go of those that answer again.
    desk.now_ms += 2 * PruneGate::evidence_ms_max;
    desk.next = 100;
    CHECK(desk.tell(0, 50) == 0);
    CHECK(desk.gate.held() == 50);
    CHECK(desk.accused.may_have("handle-100"));
    CHECK(desk.gate.take_unsaved(ticket).size() == 51);  // and the suspicion of handle 1
    desk.gate.alive({"handle-100", "handle-149"});
    CHECK(desk.gate.held() == 48);
    CHECK(desk.gate.take_dropped().size() == 2);
    CHECK_FALSE(desk.accused.may_have("handle-100"));
    CHECK(desk.tell(1'000, 0) == 48);
    CHECK(desk.gate.suspects() == 1);
    desk.gate.alive({"handle-1"});
    for (int i = 0; i < 200; ++i) CHECK_FALSE(desk.accused.may_have("handle-" + std::to_string(i)));
}

TEST_CASE("a wrong bulk that is made good retires nobody on the way", "[hub]") {
    Desk desk;
    desk.tell(2'000, 0);
    CHECK(desk.tell(0, 2'000) == 0);
    for (int first = 0; first < 2'000; first += 100) {
        std::vector<std::string> handles;
        for (int i = first; i < first + 100; ++i) handles.push_back("handle-" + std::to_string(i));
        desk.gate.alive(handles);
        CHECK(desk.tell(100, 0) == 0);
        CHECK(desk.gate.held() == 1'900u - static_cast<std::size_t>(first));
    }
}

TEST_CASE("a suspicion that nobody repeated for a season is the first again", "[hub]") {
    Desk desk;
    desk.tell(100, 0);
    CHECK_FALSE(desk.suspect(1, "send-a"));
    auto late = dead_handle(1, "send-b");
    late.at_ms = PruneGate::suspicion_ms_max;
    desk.gate.suspect(late, desk.now_ms);
    CHECK(desk.gate.release(desk.now_ms).empty());
    late.send_id = "send-c";
    desk.gate.suspect(late, desk.now_ms);
    CHECK(desk.gate.release(desk.now_ms).size() == 1);
}

TEST_CASE("suspicions alone keep the gate shut", "[hub]") {
    Desk desk;
    desk.tell(20, 0);
    for (std::uint32_t i = 0; i < 100; ++i) CHECK_FALSE(desk.suspect(1'000 + i, "send-a"));
    CHECK(desk.tell(0, 1) == 0);
    CHECK_FALSE(desk.gate.open(desk.now_ms));
}

TEST_CASE("what is held and suspected is bounded, the oldest goes", "[hub]") {
    Desk desk;
    std::uint64_t ticket = 1;
    desk.tell(0, PruneGate::held_max);
    CHECK(desk.gate.take_unsaved(ticket).size() == PruneGate::held_max);
    desk.tell(0, 10);
    CHECK(desk.gate.held() == PruneGate::held_max);
    CHECK(desk.gate.take_dropped().size() == 10);
    desk.gate.accepted(1'000'000, desk.now_ms);
    const auto released = desk.gate.release(desk.now_ms);
    CHECK(released.size() == PruneGate::held_max);
    CHECK(released.front().number == 10);

    Desk other;
    for (std::uint32_t i = 0; i < PruneGate::suspects_max; ++i) other.suspect(i, "send-a");
    CHECK(other.gate.take_unsaved(ticket).size() == PruneGate::suspects_max);
    other.suspect(PruneGate::suspects_max, "send-a");
    CHECK(other.gate.suspects() == PruneGate::suspects_max);
    CHECK(other.gate.take_dropped().size() == 1);
    other.tell(10'000'000, 0);
    CHECK_FALSE(other.suspect(0, "send-b"));  // it was the oldest
}
