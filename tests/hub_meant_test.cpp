// A push goes to whom its send meant, however long it waited and whatever restarted meanwhile.

#include <catch2/catch.hpp>

#include "hub/api/parts.hpp"
#include "hub/send/fanout.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/world.hpp"

namespace {

using support::apple_body;
using support::handle_of;
using support::World;

void take_provider_away(World& world, std::int64_t ms) {
    pns::sim::Fault fault;
    fault.row = pns::sim::fault_row(29, "refused");
    fault.ms = ms;
    std::vector<pns::sim::Fault> faults(1, fault);
    world.sim("apns").set_faults(std::move(faults), 7);
}

std::size_t pushes_to(World& world, int device) {
    std::size_t count = 0;
    for (const auto& entry : world.sim("apns").entries(true))
        count += entry.handle == handle_of("apns", device);
    return count;
}

std::string held_send(World& world, const std::string& format, const std::string& body) {
    return world.send_with(format, "all", body, {{"pushhub-canary", "1%; hold"}});
}

void wait_until_held(World& world, const std::string& id) {
    REQUIRE(support::comes_true([&] {
        return world.call("GET", "/app/sends/" + id).body.find("\"Held\"") != std::string::npos;
    }));
}

/// The installation whose row comes first of those with this handle.
std::string first_with(World& world, const std::string& handle) {
    auto& parts = world.service().parts();
    const auto hub = parts.hubs.find("app")->row.number;
    const auto places = parts.registry.places_of_handle(hub, "apns", handle, 8);
    REQUIRE(places.has_value());
    REQUIRE_FALSE(places->empty());
    registry::DeviceChunk chunk;
    const std::vector<std::uint32_t> numbers{places->front().number};
    REQUIRE(parts.registry.load(hub, places->front().partition, numbers, 0, chunk).has_value());
    return std::string(chunk.devices.front().installation_id);
}

}  // namespace

TEST_CASE("who changed while a push waited gets what is meant for him and nothing else", "[hub]") {
    World world({}, {"apns"});
    const auto with = [](const std::string& user) {
        return R"("tags":["all"],"userId":")" + user + "\"";
    };
    for (int i = 0; i < 6; ++i)
        world.install("d-" + std::to_string(i), "apns", handle_of("apns", i), with("old"));
    take_provider_away(world, 2'500);
    const auto id = world.send("apple", "all", apple_body);
    world.install("d-0", "apns", handle_of("apns", 0), with("new"));  // another user
    world.install("d-1", "apns", handle_of("apns", 1), R"("tags":["other"],"userId":"old")");
    REQUIRE(world.call("DELETE", "/app/installations/d-2").status == 204);
    world.install("d-3", "apns", handle_of("apns", 33), with("old"));  // a new handle
    world.install("d-4", "apns", handle_of("apns", 4), with("old"));   // only presented again
    const auto told = world.finish(id);
    CHECK(told.devices("Success") == 3);
    CHECK(told.devices("Skipped") == 3);
    CHECK(pushes_to(world, 0) == 0);
    CHECK(pushes_to(world, 1) == 0);
    CHECK(pushes_to(world, 2) == 0);
    CHECK(pushes_to(world, 3) == 0);
    CHECK(pushes_to(world, 33) == 1);
    CHECK(pushes_to(world, 4) == 1);
    CHECK(pushes_to(world, 5) == 1);
}

TEST_CASE("who is erased while a push waits does not get it", "[hub]") {
    World world({}, {"apns"});
    for (int i = 0; i < 10; ++i)
        world.install("d-" + std::to_string(i), "apns", handle_of("apns", i),
                      R"("tags":["all"],"userId":"user-3")");
    take_provider_away(world, 2'000);
    const auto id = world.send("apple", "$UserId:{user-3}", apple_body);
    REQUIRE(world.call("DELETE", "/app/users/user-3").status == 200);
    const auto told = world.finish(id);
    CHECK(told.devices("Skipped") == 10);
    CHECK(world.sim("apns").counters().accepted == 0);
}

TEST_CASE("a held send reaches the user it meant, not the next one", "[hub]") {
    World world({}, {"apns"});
    for (int i = 0; i < 8; ++i)
        world.install("d-" + std::to_string(i), "apns", handle_of("apns", i),
                      R"("tags":["all"],"userId":"old")");
    const auto id = held_send(world, "apple", apple_body);
    wait_until_held(world, id);
    const auto first = world.sim("apns").counters().accepted;
    CHECK(first == 1);
    for (int i = 0; i < 8; ++i)
        world.install("d-" + std::to_string(i), "apns", handle_of("apns", i),
                      R"("tags":["all"],"userId":"new")");
    const bool restarts = GENERATE(false, true);
    if (restarts) {
        world.stop();
        world.start();
    }
    REQUIRE(world.call("POST", "/app/sends/" + id + "/resume").status == 200);
    const auto told = world.finish(id);
    CHECK(told.devices("Success") == 1);
    CHECK(told.devices("Skipped") == 7);
    CHECK(world.sim("apns").counters().accepted == 1);
}

TEST_CASE("one handle gets one copy of one rendering, over a hold and a restart", "[hub]") {
    World world({}, {"apns"});
    const bool templates = GENERATE(false, true);
    for (int i = 0; i < 8; ++i) {
        const std::string other = i < 4 ? "Hi $(name)" : "Bye $(name)";
        const std::string more =
            templates ? R"("tags":["all"],"templates":{"t":{"body":"{\"aps\":{\"alert\":\")" +
                            other + R"(\"}}","tags":["all"]}})"
                      : R"("tags":["all"])";
        world.install("same-" + std::to_string(i), "apns", handle_of("apns", 7), more);
    }
    const auto id = templates ? held_send(world, "template", R"({"name":"x"})")
                              : held_send(world, "apple", apple_body);
    wait_until_held(world, id);
    world.stop();
    world.start();
    REQUIRE(world.call("POST", "/app/sends/" + id + "/resume").status == 200);
    const auto told = world.finish(id);
    const std::size_t copies = templates ? 2 : 1;
    CHECK(told.devices("Success") == copies);
    CHECK(told.devices("Skipped") == 8 - copies);
    CHECK(pushes_to(world, 7) == copies);
}

TEST_CASE("of two rows with one handle the second gets the push if the first is deleted before it",
          "[hub]") {
    World world({}, {"apns"});
    for (int i = 0; i < 2; ++i)
        world.install("same-" + std::to_string(i), "apns", handle_of("apns", 7));
    pns::sim::Fault untrusted;
    untrusted.row = pns::sim::fault_row(27, "ca");
    world.sim("apns").set_faults({untrusted}, 7);
    const auto id = world.send("apple", "all", apple_body);
    REQUIRE(support::comes_true([&] {
        return world.service().parts().fanout.figures().retries_waiting > 0 ||
               world.call("GET", "/app/sends/" + id).body.find("Skipped") != std::string::npos;
    }));
    const auto first = first_with(world, handle_of("apns", 7));
    REQUIRE(world.call("DELETE", "/app/installations/" + first).status == 204);
    world.sim("apns").set_faults({});
    const auto told = world.finish(id);
    CHECK(told.state == "Completed");
    CHECK(told.devices("Success") == 1);
    CHECK(told.devices("Skipped") == 1);
    CHECK(pushes_to(world, 7) == 1);
}

TEST_CASE(
    "of two rows with one handle the second gets nothing if the first got the push and is gone",
    "[hub]") {
    World world({}, {"apns"});
    for (int i = 0; i < 2; ++i)
        world.install("same-" + std::to_string(i), "apns", handle_of("apns", 7));
    const auto id = world.send_with("apple", "all", apple_body, {{"pushhub-rate", "15/m"}});
    REQUIRE(support::comes_true([&] { return world.sim("apns").counters().accepted == 1; }));
    const auto first = first_with(world, handle_of("apns", 7));
    REQUIRE(world.call("DELETE", "/app/installations/" + first).status == 204);
    const auto told = world.finish(id);
    CHECK(told.state == "Completed");
    CHECK(told.devices("Success") == 1);
    CHECK(told.devices("Skipped") == 1);
    CHECK(pushes_to(world, 7) == 1);
}
