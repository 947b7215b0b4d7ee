#include "hub/send/trace.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "hub/api/parts.hpp"
#include "hub/api/routes.hpp"
#include "hub/process/metrics.hpp"
#include "tests/support/hub_world.hpp"
#include "tests/support/world.hpp"

namespace {

using hub::Trace;
using nlohmann::json;
using pns::sim::Act;
using pns::sim::Behaviour;
using support::apple_body;
using support::handle_of;
using support::id_of;
using support::World;

constexpr std::int64_t now_fixed_ms = 1'800'000'000'000;

std::unique_ptr<registry::TraceStore> store_in(const support::Folder& folder) {
    registry::TraceOptions options;
    options.directory = folder.path;
    std::string why;
    auto opened = registry::TraceStore::open(options, why);
    INFO(why);
    REQUIRE(opened);
    return std::move(*opened);
}

Trace::Settings settings_of(Trace::Keep keep, std::size_t buffer_bytes_max = 1u << 20) {
    Trace::Settings settings;
    settings.keep = keep;
    settings.buffer_bytes_max = buffer_bytes_max;
    settings.key = "a key";
    settings.now = [] { return now_fixed_ms; };
    return settings;
}

registry::TraceEvent event_of(std::string_view device, std::uint32_t number) {
    registry::TraceEvent event;
    event.hub = 1;
    event.send_id = "send";
    event.enqueued_at_ms = now_fixed_ms - 10;
    event.device_id = device;
    event.number = number;
    event.platform = "apns";
    event.at_ms = now_fixed_ms;
    event.outcome = "Success";
    return event;
}

json get(World& world, const std::string& path) {
    const auto reply = world.call("GET", path);
    INFO(reply.body);
    REQUIRE(reply.status == 200);
    return json::parse(reply.body);
}

/// Outcomes by installation; every page, of `top` devices each.
std::map<std::string, std::string> outcomes_of(World& world, const std::string& send,
                                               const std::string& filter = {}, int top = 100) {
    std::map<std::string, std::string> out;
    std::string more;
    do {
        const auto page = get(
            world, "/app/sends/" + send + "/devices?top=" + std::to_string(top) + filter + more);
        for (const auto& device : page["devices"]) {
            out[device["installation"].get<std::string>()] = device["outcome"].get<std::string>();
        }
        more = page.contains("continuation")
                   ? "&continuation=" + page["continuation"].get<std::string>()
                   : "";
    } while (!more.empty());
    return out;
}

/// Devices 0 to 5 of apns: 1 is dead, 2 is refused, 3 needs a second attempt.
void install_mixed(World& world) {
    pns::sim::Rules rules;
    for (int i = 0; i < 6; ++i) world.install(id_of("apns", i), "apns", handle_of("apns", i));
    Behaviour gone, bad, once;
    gone.act = Act::gone;
    bad.act = Act::answer;
    bad.status = 400;
    bad.reason = "BadCollapseId";
    once.act = Act::unavailable;
    once.times = 1;
    rules.handles[handle_of("apns", 1)] = gone;
    rules.handles[handle_of("apns", 2)] = bad;
    rules.handles[handle_of("apns", 3)] = once;
    world.sim("apns").set_rules(rules);
}

hub::Config with_trace(const std::string& keep) {
    hub::Config config;
    config.trace = keep;
    return config;
}

}  // namespace

TEST_CASE("what is kept of a push follows from the setting", "[hub]") {
    const support::Folder folder;
    struct Row {
        Trace::Keep keep;
        bool on, success, retried_success, skipped, failure;
    };
    for (const Row& row : {Row{Trace::Keep::off, false, false, false, false, false},
                           Row{Trace::Keep::failures, true, false, true, false, true},
                           Row{Trace::Keep::all, true, true, true, true, true}}) {
        Trace trace(store_in(folder), settings_of(row.keep), 1);
        CHECK(trace.on() == row.on);
        CHECK(trace.wants(pns::Outcome::success, false) == row.success);
        CHECK(trace.wants(pns::Outcome::success, true) == row.retried_success);
        CHECK(trace.wants(pns::Outcome::skipped, false) == row.skipped);
        CHECK(trace.wants(pns::Outcome::bad_channel, false) == row.failure);
    }
}

TEST_CASE("lanes record at once and everything told is written or counted as dropped", "[hub]") {
    const support::Folder folder;
    constexpr std::size_t lanes = 3;
    constexpr std::uint32_t per_lane = 2'000;
    Trace trace(store_in(folder), settings_of(Trace::Keep::all), lanes);
    std::vector<std::thread> threads;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
        threads.emplace_back([&trace, lane] {
            for (std::uint32_t i = 0; i < per_lane; ++i) {
                const auto number = static_cast<std::uint32_t>(lane) * per_lane + i;
                const std::string device = "device-" + std::to_string(number);
                trace.record(lane, event_of(device, number));
            }
        });
    }
    for (auto& thread : threads) thread.join();
    trace.flush();
    CHECK(trace.figures().written + trace.figures().dropped == lanes * per_lane);
    CHECK(trace.figures().buffered_bytes == 0);
    std::set<std::string> found;
    std::string after;
    do {
        const auto page = trace.store().of_send(1, "send", {}, after, 1'000, now_fixed_ms).value();
        for (const auto& push : page.pushes) found.insert(push.device_id);
        after = page.next;
    } while (!after.empty());
    CHECK(found.size() == trace.figures().written);
}

TEST_CASE("a full buffer drops and counts, and never grows", "[hub]") {
    const support::Folder folder;
    Trace trace(store_in(folder), settings_of(Trace::Keep::all, 1'024), 1);
    constexpr std::uint64_t told = 20'000;
    for (std::uint32_t i = 0; i < told; ++i) trace.record(0, event_of("device", i));
    CHECK(trace.figures().buffered_bytes < 2'048);
    trace.stop();
    CHECK(trace.figures().dropped > 0);
    CHECK(trace.figures().written + trace.figures().dropped == told);
}

TEST_CASE("handles are hashed under the key", "[hub]") {
    const support::Folder one, two;
    const Trace a(store_in(one), settings_of(Trace::Keep::all), 1);
    auto other = settings_of(Trace::Keep::all);
    other.key = "another key";
    const Trace b(store_in(two), std::move(other), 1);
    CHECK(a.hash_of("handle") == a.hash_of("handle"));
    CHECK(a.hash_of("handle") != a.hash_of("handlf"));
    CHECK(a.hash_of("handle") != b.hash_of("handle"));
    CHECK(a.handle_id("handle").size() == 32);
}

TEST_CASE("erasing a device takes what is buffered and what is stored", "[hub]") {
    const support::Folder folder;
    Trace trace(store_in(folder), settings_of(Trace::Keep::all), 1);
    trace.record(0, event_of("phone", 1));
    trace.flush();
    auto second = event_of("phone", 1);
    second.attempt = 2;
    trace.record(0, second);
    trace.record(0, event_of("tablet", 2));
    registry::RetirementRecord record;
    record.hub = 1;
    record.at_ms = now_fixed_ms;
    record.installation_id = "phone";
    record.handle = trace.hash_of("the handle");
    trace.retired({record});
    CHECK(trace.erase_device(1, "phone", {}, {}).value() == 3);
    const auto left = trace.store().of_send(1, "send", {}, {}, 10, now_fixed_ms).value();
    REQUIRE(left.pushes.size() == 1);
    CHECK(left.pushes[0].device_id == "tablet");
    CHECK(trace.store()
              .retirements_of_handle(1, trace.hash_of("the handle"), {}, 10, now_fixed_ms)
              .value()
              .records.empty());
}

TEST_CASE("every failure of a send can be read, device by device", "[hub]") {
    World world(hub::Config(), {"apns"});
    install_mixed(world);
    const auto send = world.send("apple", "all", apple_body);
    CHECK(world.finish(send).devices() == 6);
    const std::map<std::string, std::string> all{{"apns-1", "ExpiredChannel"},
                                                 {"apns-2", "InvalidNotificationFormat"},
                                                 {"apns-3", "Success"}};
    CHECK(outcomes_of(world, send) == all);
    CHECK(outcomes_of(world, send, {}, 1) == all);
    CHECK(outcomes_of(world, send, "&outcome=expiredchannel") ==
          std::map<std::string, std::string>{{"apns-1", "ExpiredChannel"}});

    const auto retried = get(world, "/app/devices/apns-3/pushes");
    REQUIRE(retried["pushes"].size() == 1);
    const auto& push = retried["pushes"][0];
    CHECK(push["send"] == send);
    CHECK(push["platform"] == "apns");
    REQUIRE(push["attempts"].size() == 2);
    CHECK(push["attempts"][0]["attempt"] == 1);
    CHECK(push["attempts"][0]["final"] == false);
    CHECK(push["attempts"][0].contains("retryAt"));
    CHECK(push["attempts"][0]["tookMs"] > 0);
    CHECK(push["attempts"][1]["attempt"] == 2);
    CHECK(push["attempts"][1]["final"] == true);
    CHECK(get(world, "/app/devices/apns-0/pushes")["pushes"].empty());
    const auto refused = get(world, "/app/devices/apns-2/pushes")["pushes"][0];
    CHECK(refused["attempts"][0]["reason"].get<std::string>().find("BadCollapseId") !=
          std::string::npos);

    for (const auto& [path, status] : std::vector<std::pair<std::string, int>>{
             {"/app/sends/nothing/devices", 404},
             {"/app/sends/" + send + "/devices?top=0", 400},
             {"/app/sends/" + send + "/devices?top=1001", 400},
             {"/app/sends/" + send + "/devices?continuation=xyz", 400},
             {"/app/sends/" + send + "/devices?continuation=00", 400},
             {"/app/sends/" + send + "/devices?outcome=Nonsense", 400}}) {
        INFO(path);
        const auto reply = world.call("GET", path);
        CHECK(reply.status == status);
        CHECK(reply.header("content-type").find("application/problem+json") == 0);
    }
    const auto page = world.service().parts().metrics.text();
    CHECK(page.find("pushhub_trace_dropped_total 0") != std::string::npos);
}

TEST_CASE("with all kept, successes and direct sends are there, over a restart", "[hub]") {
    World world(with_trace("all"), {"apns"});
    install_mixed(world);
    const auto send = world.send("apple", "all", apple_body);
    world.finish(send);
    const auto reply = world.call("POST", "/app/messages?direct", apple_body,
                                  {{"servicebusnotification-format", "apple"},
                                   {"servicebusnotification-devicehandle", handle_of("apns", 77)}});
    REQUIRE(reply.status == 201);
    std::string direct(reply.header("location"));
    direct = direct.substr(0, direct.find('?'));
    direct = direct.substr(direct.rfind('/') + 1);
    world.finish(direct);
    world.stop();
    world.start();
    CHECK(outcomes_of(world, send).size() == 6);
    CHECK(outcomes_of(world, send, "&outcome=Success").size() == 4);
    const auto page = get(world, "/app/sends/" + direct + "/devices");
    REQUIRE(page["devices"].size() == 1);
    CHECK(page["devices"][0]["outcome"] == "Success");
    CHECK(page["devices"][0]["handleHash"] ==
          world.service().parts().trace.handle_id(handle_of("apns", 77)));
    CHECK(page.dump().find(handle_of("apns", 77)) == std::string::npos);
    const auto pushes = get(world, "/app/devices/apns-0/pushes")["pushes"];
    REQUIRE(pushes.size() == 1);
    CHECK(pushes[0]["attempts"][0].contains("providerId"));
}

TEST_CASE("with the trace off nothing is kept and the answer says so", "[hub]") {
    World world(with_trace("off"), {"apns"});
    install_mixed(world);
    const auto send = world.send("apple", "all", apple_body);
    world.finish(send);
    const auto page = get(world, "/app/sends/" + send + "/devices");
    CHECK(page["devices"].empty());
    CHECK(page["trace"] == "off");
    CHECK(world.service().parts().trace.figures().written == 0);
}

TEST_CASE("no route of the trace is open to Listen", "[hub]") {
    int found = 0;
    for (const auto& route : hub::routes()) {
        const bool mine = route.pattern.find("/retirements") != std::string_view::npos ||
                          route.pattern == "/{hub}/sends/{id}/devices" ||
                          route.pattern == "/{hub}/devices/{id}/pushes";
        if (!mine) continue;
        ++found;
        const bool guarded =
            route.right == hub::Right::send_or_manage || route.right == hub::Right::manage;
        CHECK(guarded);
    }
    CHECK(found == 6);
}
