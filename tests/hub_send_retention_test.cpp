// How long a hub keeps ended sends and what belongs to them, by a clock that the test moves.

#include <catch2/catch.hpp>
#include <string>

#include "hub/text/times.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/world.hpp"

namespace {

using support::apple_body;
using support::handle_of;
using support::World;

constexpr std::int64_t day_ms = 86'400'000;

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
    const auto from = text.find(begin);
    if (from == std::string::npos) return {};
    const auto to = text.find(end, from + begin.size());
    return text.substr(from + begin.size(), to - from - begin.size());
}

}  // namespace

TEST_CASE("ended sends go with all that belongs to them, bodies and handles before", "[hub]") {
    support::ManualClock clock(pns::system_clock().wall_ms() - 20 * day_ms);
    hub::Config config;
    config.sends_kept_days = 3;
    config.send_bodies_kept_days = 1;
    World world(config, {"apns"}, clock);
    world.install("phone", "apns", handle_of("apns", 1));
    world.install("gone", "apns", handle_of("apns", 2), R"("tags":["dead"])");
    pns::sim::Fault fault;
    fault.rule.emplace();
    fault.rule->act = pns::sim::Act::answer;
    fault.rule->status = 400;
    fault.rule->reason = "PayloadEmpty";
    const auto well = world.send("apple", "all", apple_body);
    world.finish(well);
    world.sim("apns").set_faults({fault}, 7);
    const auto ill = world.send("apple", "dead", apple_body);
    CHECK(world.finish(ill).devices("Success") == 0);
    const auto later = world.call(
        "POST", "/app/schedulednotifications", apple_body,
        {{"servicebusnotification-format", "apple"},
         {"servicebusnotification-scheduletime", hub::iso_seconds(clock.wall_ms() + 6 * day_ms)}});
    REQUIRE(later.status == 201);
    const auto waits =
        between(std::string(later.header("location")), "schedulednotifications/", "?");

    std::string details;
    REQUIRE(support::comes_true([&] {
        const auto told = world.call("GET", "/app/messages/" + ill).body;
        details = between(between(told, "<PnsErrorDetailsUri>", "</"), "/$blobs/", "\n");
        if (details.empty()) details = between(told, "/$blobs/", "</PnsErrorDetailsUri>");
        return !details.empty();
    }));
    for (std::size_t at; (at = details.find("&amp;")) != std::string::npos;)
        details.replace(at, 5, "&");
    const auto blob = world.call("GET", "/$blobs/" + details);
    REQUIRE(blob.status == 200);
    CHECK(blob.body.find("<PnsHandle>" + handle_of("apns", 2) + "<") != std::string::npos);
    CHECK(between(blob.body, "<Reason>", "</Reason>") == "PayloadEmpty");
    const auto body_of = [&](const std::string& id) {
        return between(world.call("GET", "/app/messages/" + id).body, "<NotificationBody>", "<");
    };
    CHECK(!body_of(well).empty());

    const auto days_pass = [&](int days) {
        world.stop();
        clock.pass_ms(days * day_ms);
        world.start();  // the first sweep is a second away
    };
    days_pass(2);
    REQUIRE(support::comes_true([&] { return body_of(well).empty(); }));
    CHECK(world.call("GET", "/app/messages/" + well).body.find("<State>Completed<") !=
          std::string::npos);
    CHECK(!body_of(waits).empty());

    days_pass(2);
    REQUIRE(support::comes_true(
        [&] { return world.call("GET", "/app/messages/" + well).status == 404; }));
    REQUIRE(support::comes_true(
        [&] { return world.call("GET", "/app/messages/" + ill).status == 404; }));
    const auto unknown = world.call("GET", "/app/messages/" + well).body;
    CHECK(unknown.find("3 days") != std::string::npos);
    CHECK(world.call("GET", "/app/sends/" + ill).status == 404);
    CHECK(world.call("POST", "/app/sends/" + ill + "/cancel").status == 404);
    CHECK(world.call("GET", "/$blobs/" + details).status != 200);
    const auto list = world.call("GET", "/app/sends").body;
    CHECK(list.find(waits) != std::string::npos);
    CHECK(list.find(well) == std::string::npos);
    const auto metrics = world.call("GET", "/metrics").body;
    CHECK(metrics.find("\npushhub_sends_removed_total 2\n") != std::string::npos);
    CHECK(between(metrics, "\npushhub_sends_removed_bytes_total ", "\n") != "0");
    world.check_registry();

    world.sim("apns").set_faults({});
    days_pass(3);  // the schedule is due
    CHECK(world.finish(waits).devices("Success") == 2);
    world.check_registry();
}
