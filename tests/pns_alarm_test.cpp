#include "pns/alarm.hpp"

#include <catch2/catch.hpp>
#include <random>

#include "pns/nursery.hpp"
#include "pns/running_clock.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/run_until.hpp"

namespace {

namespace asio = boost::asio;
using pns::RunningClock;
using support::run_until;

constexpr std::int64_t late_ms = RunningClock::late_ms_max;

}  // namespace

TEST_CASE("a running clock counts sleep that was meant, and no gap", "[pns]") {
    RunningClock clock(1'000);
    CHECK(clock.at(61'000) == 61'000);
    clock.expect(71'000);
    CHECK(clock.at(71'000 + late_ms) == 71'000 + late_ms);
    CHECK(clock.look(71'000 + late_ms));

    SECTION("the look that ends a gap judges nothing and counts nothing, the next one does") {
        clock.expect(80'000);
        CHECK(clock.at(79'000) == 79'000);
        CHECK(clock.is_late(109'000));
        CHECK(clock.at(109'000) == 79'000);
        CHECK_FALSE(clock.look(109'000));
        CHECK(clock.at(109'000) == 79'000);
        CHECK(clock.behind_ms() == 30'000);
        clock.expect(109'250);
        CHECK(clock.at(109'200) == 79'200);
        CHECK(clock.look(109'250));
        CHECK(clock.at(109'250) == 79'250);
        clock.expect(110'000);
        CHECK_FALSE(clock.look(200'000));
    }
    SECTION("a loop that is always late is slow: its deadlines come") {
        std::int64_t steady_ms = 80'000;
        for (int i = 0; i < 10; ++i) {
            clock.expect(steady_ms + 1'000);
            steady_ms += 3'000;
            CHECK(clock.look(steady_ms) == (i > 0));
        }
        CHECK(clock.at(steady_ms) == 71'000 + late_ms + 9 * (1'000 + late_ms));
    }
}

TEST_CASE("a running clock never goes back and never ahead of the steady one", "[pns]") {
    const auto seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937 random(seed);
    RunningClock clock(0);
    std::int64_t steady_ms = 0, running_ms = 0;
    for (int i = 0; i < 20'000; ++i) {
        steady_ms += static_cast<std::int64_t>(random() % (i % 7 == 0 ? 3'000 : 60));
        if (random() % 3 == 0) {
            clock.look(steady_ms);
            clock.expect(steady_ms + static_cast<std::int64_t>(random() % 500));
        }
        const auto now_ms = clock.at(steady_ms);
        REQUIRE(now_ms >= running_ms);
        REQUIRE(now_ms <= steady_ms);
        running_ms = now_ms;
    }
    CHECK(running_ms > 0);
}

TEST_CASE("a running alarm lets the loop read before it judges what came due in a gap", "[pns]") {
    support::ManualClock clock;
    asio::io_context loop(1);
    const auto start_ms = clock.steady_ms();
    std::int64_t deadline_ms = start_ms + 100;
    std::int64_t ticks = 0, expired_at_ms = 0;
    pns::RunningAlarm alarm(
        loop.get_executor(),
        [&](std::int64_t now_ms) {
            ++ticks;
            if (deadline_ms > now_ms) return deadline_ms;
            expired_at_ms = now_ms;
            return pns::never_ms;
        },
        clock);
    pns::Nursery nursery(loop.get_executor());
    nursery.start(alarm.run());
    REQUIRE(run_until(loop, [&] { return ticks == 1; }));
    clock.pass_ms(30'000);
    CHECK(alarm.now_ms() == start_ms);
    loop.poll();
    CHECK(ticks == 1);
    // Its own timer ends the time for reading.
    clock.pass_ms(100);
    CHECK(alarm.now_ms() == start_ms + 100);
    REQUIRE(run_until(loop, [&] { return expired_at_ms != 0; }));
    CHECK(expired_at_ms == start_ms + 100);
    alarm.stop();
    REQUIRE(run_until(loop, [&] { return nursery.size() == 0; }));
}
