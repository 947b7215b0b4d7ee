// The whole hub by a clock that the test moves: hours pass in moments.

#include <algorithm>
#include <catch2/catch.hpp>
#include <utility>

#include "hub/api/parts.hpp"
#include "hub/send/fanout.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/world.hpp"

namespace {

using support::apple_body;
using support::handle_of;
using support::id_of;
using support::World;

constexpr int devices = 20;
constexpr std::int64_t minute_ms = 60'000;

void make_unwell(World& world) {
    pns::sim::Fault fault;
    fault.rule.emplace();
    fault.rule->act = pns::sim::Act::unavailable;
    world.sim("apns").set_faults({fault}, 7);
}

bool is_over(World& world, const std::string& id) {
    return world.call("GET", "/app/sends/" + id).body.find(R"("endedAt":")") != std::string::npos;
}

}  // namespace

TEST_CASE("an hour of outage, a deadline in it and a push after it take no hour to see", "[hub]") {
    support::ManualClock clock(pns::system_clock().wall_ms());
    World world({}, {"apns"}, clock);
    for (int i = 0; i < devices; ++i) world.install(id_of("apns", i), "apns", handle_of("apns", i));
    make_unwell(world);
    const auto patient =
        world.send_with("apple", "all", apple_body, {{"pushhub-deadline", "PT2H"}});
    const auto hasty = world.send("apple", "all", apple_body);  // gives up after half an hour
    REQUIRE(support::comes_true([&] { return world.sim("apns").counters().received >= 8; }));
    clock.pass_ms(29 * minute_ms);
    CHECK_FALSE(is_over(world, hasty));
    clock.pass_ms(2 * minute_ms);
    REQUIRE(support::comes_true([&] { return is_over(world, hasty); }));
    const auto given_up = world.finish(hasty);
    CHECK(given_up.devices() == devices);
    CHECK(given_up.devices("Success") == 0);
    CHECK(given_up.ended_at_ms - given_up.enqueued_at_ms >= 30 * minute_ms);
    clock.pass_ms(29 * minute_ms);
    CHECK_FALSE(is_over(world, patient));
    world.sim("apns").set_faults({});
    REQUIRE(support::comes_true([&] {
        clock.pass_ms(10);
        return is_over(world, patient);
    }));
    const auto told = world.finish(patient);
    CHECK(told.devices("Success") == devices);
    CHECK(told.ended_at_ms - told.enqueued_at_ms >= 60 * minute_ms);
    CHECK(world.sim("apns").counters().accepted == devices);
}

TEST_CASE("the pace of a send does not depend on a clock that somebody sets", "[hub]") {
    support::ManualClock clock(pns::system_clock().wall_ms());
    World world({}, {"apns"}, clock);
    for (int i = 0; i < 300; ++i) world.install(id_of("apns", i), "apns", handle_of("apns", i));
    const auto id = world.send_with("apple", "all", apple_body, {{"pushhub-rate", "40/s"}});
    // A client's token ends by the clock that is set.
    const auto hub = world.service().parts().hubs.find("app")->row.number;
    const auto now = [&] {
        clock.pass_ms(5);
        const auto watched = world.service().parts().fanout.watch(hub, id);
        REQUIRE(watched);
        std::uint64_t done = 0;
        for (const auto& [key, count] : watched->progress.counts) done += count;
        return std::pair(watched->rate_per_s, done);
    };
    REQUIRE(support::comes_true([&] { return now().first > 20; }));
    const std::int64_t step_ms = GENERATE(120 * minute_ms, -120 * minute_ms);
    clock.step_ms(step_ms);
    const auto from = now().second;
    double lowest = 1'000, highest = 0;
    REQUIRE(support::comes_true([&] {
        const auto [pace, done] = now();
        lowest = std::min(lowest, pace);
        highest = std::max(highest, pace);
        return done >= from + 120;
    }));
    CHECK(lowest > 10);
    CHECK(highest < 160);
    clock.step_ms(-step_ms);
    REQUIRE(world.call("POST", "/app/sends/" + id + "/cancel").status == 200);
}

TEST_CASE("a refused credential is waited out until the deadline of each send", "[hub]") {
    support::ManualClock clock(pns::system_clock().wall_ms());
    World world({}, {"apns"}, clock);
    for (int i = 0; i < devices; ++i) world.install(id_of("apns", i), "apns", handle_of("apns", i));
    pns::sim::Fault fault;
    fault.row = pns::sim::fault_row(26, "");
    world.sim("apns").set_faults({fault}, 7);
    const auto patient =
        world.send_with("apple", "all", apple_body, {{"pushhub-deadline", "PT2H"}});
    const auto hasty =
        world.send("apple", "$InstallationId:{" + id_of("apns", 3) + "}", apple_body);
    const auto pass = [&](std::int64_t ms) {
        const auto end_ms = clock.steady_ms() + ms;
        return support::comes_true([&] {
            clock.pass_ms(50);
            return clock.steady_ms() >= end_ms;
        });
    };
    REQUIRE(pass(60'000));
    const auto in_a_minute = world.sim("apns").counters().received;
    CHECK(in_a_minute >= 8);  // the loops see fewer seconds than pass
    CHECK(in_a_minute <= 200);
    clock.pass_ms(27 * minute_ms);
    CHECK_FALSE(is_over(world, hasty));
    clock.pass_ms(3 * minute_ms);
    REQUIRE(support::comes_true([&] { return is_over(world, hasty); }));
    CHECK(world.finish(hasty).devices("InvalidCredentials") == 1);
    CHECK_FALSE(is_over(world, patient));
    world.sim("apns").set_faults({});
    REQUIRE(pass(20'000));  // a hundredth of half an hour, the longest wait of a probe
    REQUIRE(support::comes_true([&] {
        clock.pass_ms(10);
        return is_over(world, patient);
    }));
    CHECK(world.finish(patient).devices("Success") == devices);
}

TEST_CASE("whom a push is meant for does not depend on a clock that somebody sets", "[hub]") {
    support::ManualClock clock(pns::system_clock().wall_ms());
    World world({}, {"apns"}, clock);
    const auto install = [&world](int i, const std::string& user) {
        world.install(id_of("apns", i), "apns", handle_of("apns", i),
                      R"("tags":["all"],"userId":")" + user + "\"");
    };
    for (int i = 0; i < 8; ++i) install(i, "old");
    const auto held = world.send_with("apple", "all", apple_body, {{"pushhub-canary", "1%; hold"}});
    REQUIRE(support::comes_true([&] {
        return world.call("GET", "/app/sends/" + held).body.find("\"Held\"") != std::string::npos;
    }));
    clock.step_ms(-3 * 60 * minute_ms);  // it was fast, and is set right
    for (int i = 0; i < 8; ++i) install(i, "new");
    REQUIRE(world.call("POST", "/app/sends/" + held + "/resume").status == 200);
    const auto told = world.finish(held);
    CHECK(told.devices("Success") == 1);
    CHECK(told.devices("Skipped") == 7);

    clock.step_ms(50 * minute_ms);  // fast for a moment
    for (int i = 0; i < 8; ++i) install(i, "next");
    clock.step_ms(-50 * minute_ms);
    const auto by_user = world.finish(world.send("apple", "$UserId:{next}", apple_body));
    CHECK(by_user.devices("Success") == 8);
    const auto by_tag = world.finish(world.send("apple", "all", apple_body));
    CHECK(by_tag.devices("Success") == 8);
}
