#include "hub/send/prune_gate.hpp"

#include <catch2/catch.hpp>

using hub::PruneGate;

namespace {

registry::Retirement dead_handle(std::uint32_t number) {
    registry::Retirement retirement;
    retirement.number = number;
    retirement.handle = "handle-" + std::to_string(number);
    return retirement;
}

}  // namespace

TEST_CASE("a gate without a single success releases nothing", "[hub]") {
    PruneGate gate;
    for (std::uint32_t i = 0; i < 5; ++i) gate.dead(dead_handle(i));
    CHECK(gate.release().empty());
    CHECK(gate.held() == 5);
    gate.accepted(1);
    CHECK(gate.release().size() == 5);
    CHECK(gate.held() == 0);
}

TEST_CASE("a bulk of dead handles stays held until the share of the living is credible", "[hub]") {
    PruneGate gate;
    gate.accepted(10);
    for (std::uint32_t i = 0; i < 50; ++i) gate.dead(dead_handle(i));
    CHECK(gate.release().empty());
    gate.accepted(1'000);
    CHECK(gate.release().size() == 50);
}

TEST_CASE("two per cent dead among many pass at once", "[hub]") {
    PruneGate gate;
    gate.accepted(9'800);
    for (std::uint32_t i = 0; i < 200; ++i) gate.dead(dead_handle(i));
    CHECK(gate.release().size() == 200);
}

TEST_CASE("a suspected handle is dead at the second send that says so", "[hub]") {
    PruneGate gate;
    gate.accepted(100);
    gate.suspect(dead_handle(1), "send-a");
    gate.suspect(dead_handle(1), "send-a");
    CHECK(gate.release().empty());
    gate.suspect(dead_handle(1), "send-b");
    const auto released = gate.release();
    REQUIRE(released.size() == 1);
    CHECK(released[0].number == 1);
}

TEST_CASE("suspicions alone keep the gate shut", "[hub]") {
    PruneGate gate;
    gate.accepted(20);
    for (std::uint32_t i = 0; i < 100; ++i) gate.suspect(dead_handle(i), "send-a");
    CHECK_FALSE(gate.open());
    gate.dead(dead_handle(1'000));
    CHECK(gate.release().empty());
}

TEST_CASE("what is held is bounded and old answers fade", "[hub]") {
    PruneGate gate;
    for (std::uint32_t i = 0; i < PruneGate::held_max + 10; ++i) gate.dead(dead_handle(i));
    CHECK(gate.held() == PruneGate::held_max);
    gate.accepted(10 * PruneGate::recent_answers_max);
    CHECK(gate.open());
    const auto released = gate.release();
    CHECK(released.size() == PruneGate::held_max);
    CHECK(released.front().number == 10);
}
