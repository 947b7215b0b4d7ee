#include "pns/pool_policy.hpp"

#include <catch2/catch.hpp>
#include <limits>

namespace {

pns::PoolNumbers h2(std::size_t queued, std::size_t ready, std::size_t window) {
    pns::PoolNumbers n;
    n.queued = queued;
    n.ready = ready;
    n.window = window;
    n.connections_max = 8;
    n.now_ms = 100'000;
    n.pressed_since_ms = 99'000;
    return n;
}

}  // namespace

TEST_CASE("a pool connects on need, grows under lasting pressure and never beyond its bound",
          "[pns]") {
    CHECK(pns::should_connect(h2(1, 0, 0)));
    CHECK_FALSE(pns::should_connect(h2(0, 0, 0)));
    CHECK_FALSE(pns::should_connect(h2(200, 1, 100)));
    CHECK(pns::should_connect(h2(201, 1, 100)));
    CHECK_FALSE(pns::should_connect(h2(10'000, 8, 800)));

    auto n = h2(1'000, 1, 100);
    n.pressed_since_ms = n.now_ms - 199;
    CHECK_FALSE(pns::should_connect(n));
    n.pressed_since_ms = n.now_ms - 200;
    CHECK(pns::should_connect(n));
    n.connecting = 1;
    CHECK_FALSE(pns::should_connect(n));
    n.connecting = 0;
    n.unproven = 1;
    CHECK_FALSE(pns::should_connect(n));
    n.unproven = 0;
    n.retry_at_ms = n.now_ms + 1;
    CHECK_FALSE(pns::should_connect(n));
}

TEST_CASE("a limit that shrinks is not answered by more connections", "[pns]") {
    auto n = h2(1'000, 1, 1);
    n.shrunk_ms = n.now_ms - 1'000;
    CHECK_FALSE(pns::should_connect(n));
    n.shrunk_ms = n.now_ms - 60'000;
    CHECK(pns::should_connect(n));
    n = h2(1'000, 0, 0);
    n.shrunk_ms = n.now_ms;
    CHECK(pns::should_connect(n));  // there is none at all
}

TEST_CASE("an HTTP/1.1 pool has one connection for each waiting push, within bounds", "[pns]") {
    auto n = h2(10, 1, 1);
    n.one_at_a_time = true;
    n.pressed_since_ms = 0;
    std::size_t opened = 0;
    while (pns::should_connect(n)) {
        ++n.connecting;
        ++opened;
    }
    CHECK(opened == 7);
    n = h2(2, 1, 1);
    n.one_at_a_time = true;
    n.connecting = 2;
    CHECK_FALSE(pns::should_connect(n));
}

TEST_CASE("connects back off from failures and recover with answers", "[pns]") {
    pns::ConnectionRecord dead, good, brief;
    good.answers = 1'000;
    good.lived_ms = 60'000;
    brief.answers = 2;
    brief.lived_ms = 100;
    unsigned demerits = 0;
    constexpr std::uint64_t random = std::numeric_limits<std::uint64_t>::max();
    CHECK(pns::connect_wait_ms(0, random) == 0);
    std::int64_t bound = 1'000;
    for (int i = 0; i < 50; ++i) {
        demerits = pns::demerits_after(demerits, dead);
        CHECK(pns::connect_wait_ms(demerits, 0) == 50);
        CHECK(pns::connect_wait_ms(demerits, random) <= bound);
        CHECK(pns::connect_wait_ms(demerits, static_cast<std::uint64_t>(bound)) == bound);
        bound = std::min<std::int64_t>(bound * 2, 60'000);
    }
    CHECK(pns::demerits_after(demerits, good) == 0);
    demerits = pns::demerits_after(0, brief);
    CHECK(pns::connect_wait_ms(demerits, random) == 0);  // once is no pattern
    demerits = pns::demerits_after(demerits, brief);
    CHECK(pns::connect_wait_ms(demerits, random) >= 50);
    brief.one_at_a_time = true;
    CHECK(pns::demerits_after(demerits, brief) == 0);
    dead.closed_by_us = true;
    CHECK(pns::demerits_after(4, dead) == 4);
}

TEST_CASE("a pool that needs little for minutes lets a connection go, one at a time", "[pns]") {
    auto n = h2(0, 3, 3'000);
    n.in_flight = 900;
    n.slack_since_ms = 1;
    n.now_ms = 300'001;
    CHECK(pns::is_slack(n));
    CHECK(pns::should_retire(n));
    n.now_ms = 300'000;
    CHECK_FALSE(pns::should_retire(n));
    n.now_ms = 300'001;
    n.in_flight = 1'000;  // two would be half full
    CHECK_FALSE(pns::should_retire(n));
    n.in_flight = 0;
    n.queued = 1;
    CHECK_FALSE(pns::should_retire(n));
    n.queued = 0;
    n.connecting = 1;
    CHECK_FALSE(pns::should_retire(n));
    CHECK_FALSE(pns::is_slack(h2(0, 1, 1'000)));
    n = h2(0, 3, 3);
    n.one_at_a_time = true;  // idle ones close by themselves
    CHECK_FALSE(pns::is_slack(n));
}

TEST_CASE("connections that a peer ends but holds open are not replaced without bound", "[pns]") {
    auto n = h2(1'000, 0, 0);
    n.draining = 17;
    CHECK(pns::should_connect(n));
    n.draining = 18;
    CHECK_FALSE(pns::should_connect(n));
}

TEST_CASE("connections opened together do not grow old together", "[pns]") {
    CHECK(pns::jittered_age_ms(1'000, 0) == 1'000);
    CHECK(pns::jittered_age_ms(1'000, 100) == 900);
    CHECK(pns::jittered_age_ms(1'000, 101) == 1'000);
    CHECK(pns::jittered_age_ms(0, 7) == 0);
    for (int i = 0; i < 100; ++i) {
        const auto age = pns::jittered_age_ms(3'600'000);
        CHECK((age >= 3'240'000 && age <= 3'600'000));
    }
}
