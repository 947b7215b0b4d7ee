#include <catch2/catch.hpp>

#include "pns/breaker.hpp"

using pns::Breaker;

namespace {

constexpr Breaker::Limits unwell{8, 300, 1'000, 1'000};

}  // namespace

TEST_CASE("a breaker shuts after enough bad news with no good news for a while", "[pns]") {
    Breaker breaker(unwell);
    for (int i = 0; i < 7; ++i) breaker.bad(1'000 + i, 0, false);
    breaker.bad(2'000, 0, false);
    CHECK(breaker.shut());
    SECTION("good news between keep it open, however much is bad") {
        Breaker busy(unwell);
        std::int64_t now = 0;
        for (int i = 0; i < 10'000; ++i) {
            ++now;
            i % 50 == 49 ? busy.good(now) : busy.bad(now, 0, false);
            CHECK_FALSE(busy.shut());
        }
    }
    SECTION("much bad news at once is not yet an outage") {
        Breaker fresh(unwell);
        for (int i = 0; i < 1'000; ++i) fresh.bad(5'000, 0, false);
        CHECK_FALSE(fresh.shut());
        fresh.bad(5'300, 0, false);
        CHECK(fresh.shut());
    }
}

TEST_CASE(
    "a shut breaker lets one probe out a second, for an hour, and opens with the first answer",
    "[pns]") {
    Breaker breaker(unwell);
    std::int64_t now = 10'000;
    breaker.trip(now, 0);
    unsigned probes = 0;
    for (const std::int64_t end = now + 3'600'000; now < end; now += 10) {
        if (!breaker.may_probe(now)) continue;
        breaker.probe_sent();
        CHECK_FALSE(breaker.may_probe(now));  // one at a time
        ++probes;
        breaker.bad(now + 5, 0, true);
    }
    CHECK(probes >= 3'500);
    CHECK(probes <= 3'700);
    while (!breaker.may_probe(now)) ++now;
    breaker.probe_sent();
    breaker.good(now + 20);
    CHECK_FALSE(breaker.shut());
}

TEST_CASE("a breaker asks soon at first, and then after a hundredth of the time it is shut",
          "[pns]") {
    Breaker breaker({8, 0, 1'000, 60'000});
    std::int64_t now = 5'000;
    for (int i = 0; i < 8; ++i) breaker.bad(now, 0, false);
    REQUIRE(breaker.shut());
    CHECK(breaker.probe_at_ms() == now + 1'000);
    const std::int64_t shut_ms = now;
    int probes = 0;
    while (now < shut_ms + 30 * 60'000) {
        now = breaker.probe_at_ms();
        REQUIRE(breaker.may_probe(now));
        breaker.probe_sent();
        breaker.bad(now, 0, true);
        ++probes;
        const std::int64_t wait_ms = breaker.probe_at_ms() - now;
        if (now < shut_ms + 2 * 60'000) CHECK(wait_ms <= 2'000);
        CHECK(wait_ms >= 1'000);
        CHECK(wait_ms <= 20'000);
    }
    CHECK(probes < 500);
    now += 5 * 3'600'000;
    breaker.bad(now, 0, true);
    CHECK(breaker.probe_at_ms() == now + 60'000);
    SECTION("what changed on our side is tried at once") {
        breaker.probe_now(now + 10);
        CHECK(breaker.may_probe(now + 10));
    }
    SECTION("as long as the other side asks, at least") {
        now = breaker.probe_at_ms();
        breaker.probe_sent();
        breaker.bad(now, 3'000'000, true);
        CHECK(breaker.probe_at_ms() == now + 3'000'000);
        // What is still on its way when it shuts only prolongs it.
        breaker.bad(now + 1, 4'000'000, false);
        CHECK(breaker.probe_at_ms() == now + 4'000'001);
    }
    SECTION("from the beginning when it shuts again") {
        breaker.good(now);
        for (int i = 0; i < 8; ++i) breaker.bad(now, 0, false);
        CHECK(breaker.probe_at_ms() == now + 1'000);
    }
}

TEST_CASE("a probe that says nothing is followed by another one", "[pns]") {
    Breaker breaker(unwell);
    breaker.trip(0, 0);
    REQUIRE(breaker.may_probe(0));
    breaker.probe_sent();
    breaker.probe_lost();
    CHECK(breaker.may_probe(0));
}

TEST_CASE("one hot target is no word about all of them, several within a short time are", "[pns]") {
    pns::ManyTargets many;
    for (int i = 0; i < 100; ++i) CHECK_FALSE(many.seen("hot", 1'000 + i));
    CHECK_FALSE(many.seen("b", 1'200));
    CHECK_FALSE(many.seen("c", 1'300));
    CHECK(many.seen("d", 1'400));
    CHECK_FALSE(many.seen("e", 60'000));  // the others were long ago
}
