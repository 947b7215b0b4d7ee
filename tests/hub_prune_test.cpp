// From a provider's word against a handle to its retirement, and why.

#include <catch2/catch.hpp>
#include <cctype>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "hub/api/parts.hpp"
#include "hub/process/metrics.hpp"
#include "hub/send/fanout.hpp"
#include "hub/send/prune_gates.hpp"
#include "hub/send/prune_proof.hpp"
#include "hub/send/trace.hpp"
#include "tests/support/hub_world.hpp"
#include "tests/support/world.hpp"

namespace {

using hub::Accusation;
using hub::Proof;
using hub::PruneGate;
using hub::PruneGates;
using hub::Trace;
using nlohmann::json;
using pns::sim::Act;
using pns::sim::Behaviour;
using support::apple_body;
using support::handle_of;
using support::id_of;
using support::World;

constexpr std::int64_t no_time = std::numeric_limits<std::int64_t>::max();
const std::string fcm_body = R"({"message":{"data":{"a":"b"}}})";

registry::Retirement dead_handle(std::uint32_t number) {
    registry::Retirement retirement;
    retirement.number = number;
    retirement.handle = "handle-" + std::to_string(number);
    retirement.installation_id = "device-" + std::to_string(number);
    retirement.asked_at_ms = 1'000;
    return retirement;
}

std::unique_ptr<Trace> trace_in(const support::Folder& folder) {
    registry::TraceOptions options;
    options.directory = folder.path;
    std::string why;
    auto opened = registry::TraceStore::open(options, why);
    INFO(why);
    REQUIRE(opened);
    Trace::Settings settings;
    settings.key = "a key";
    settings.now = [] { return std::int64_t{1'800'000'000'000}; };
    return std::make_unique<Trace>(std::move(*opened), std::move(settings), 1);
}

json call(World& world, const std::string& method, const std::string& path) {
    const auto reply = world.call(method, path);
    INFO(reply.body);
    REQUIRE(reply.status == 200);
    return json::parse(reply.body);
}

void make_gone(World& world, const std::string& platform, int first, int count,
               std::int64_t timestamp_ms = 0) {
    pns::sim::Rules rules;
    Behaviour gone;
    gone.act = Act::gone;
    gone.timestamp_ms = timestamp_ms;
    for (int i = first; i < first + count; ++i) rules.handles[handle_of(platform, i)] = gone;
    world.sim(platform).set_rules(rules);
}

}  // namespace

TEST_CASE("a word against a handle is worth what its proof is", "[hub]") {
    using Kind = pns::Verdict::Kind;
    struct Row {
        const char* what;
        Accusation accusation;
        Proof proof;
        std::int64_t wait_ms;
    };
    const auto told = [](const char* platform, Kind kind, std::int64_t dead_since,
                         std::int64_t registered, std::int64_t now, unsigned before = 0) {
        Accusation out;
        out.platform = platform;
        out.suspected = kind == Kind::suspect;
        out.dead_since_ms = dead_since;
        out.registered_at_ms = registered;
        out.now_ms = now;
        out.attempts_before = before;
        return out;
    };
    for (const Row& row : std::vector<Row>{
             {"registered before", told("apns", Kind::dead, 5'000, 4'999, 9'000), Proof::certain,
              0},
             {"registered at that moment", told("apns", Kind::dead, 5'000, 5'000, 9'000),
              Proof::none, 0},
             {"registered after", told("apns", Kind::dead, 5'000, 6'000, 9'000), Proof::none, 0},
             {"no time named", told("fcmv1", Kind::dead, no_time, 8'999, 9'000), Proof::certain, 0},
             {"suspect", told("apns", Kind::suspect, no_time, 1'000, 9'000), Proof::suspicion, 0},
             {"suspect, but it came back", told("apns", Kind::suspect, 900, 1'000, 9'000),
              Proof::none, 0},
             {"fresh subscription", told("browser", Kind::dead, no_time, 100'000, 130'000),
              Proof::not_yet, 30'000},
             {"asked twice", told("browser", Kind::dead, no_time, 100'000, 130'000, 1),
              Proof::certain, 0},
             {"old subscription", told("browser", Kind::dead, no_time, 100'000, 160'000),
              Proof::certain, 0},
             {"clock went back", told("browser", Kind::dead, no_time, 200'000, 130'000),
              Proof::not_yet, 60'000},
             {"other platforms know no grace", told("apns", Kind::dead, no_time, 8'999, 9'000),
              Proof::certain, 0}}) {
        INFO(row.what);
        const auto weighed = hub::weigh(row.accusation, 60'000);
        CHECK(weighed.proof == row.proof);
        CHECK(weighed.wait_ms == row.wait_ms);
    }
    CHECK(hub::weigh(told("browser", Kind::dead, no_time, 100'000, 100'001), 0).proof ==
          Proof::certain);
}

TEST_CASE("a suspicion that is confirmed speaks of the time of the first one", "[hub]") {
    hub::AccusedHandles accused;
    PruneGate gate(accused);
    gate.accepted(100, 0);
    auto suspected = dead_handle(1);
    suspected.send_id = "send-a";
    gate.suspect(suspected, 0);
    suspected.asked_at_ms = 2'000;
    suspected.send_id = "send-b";
    gate.suspect(suspected, 0);
    const auto released = gate.release(0);
    REQUIRE(released.size() == 1);
    CHECK(released[0].asked_at_ms == 1'000);  // presented since: the registry keeps it
    suspected.send_id = "send-c";
    gate.suspect(suspected, 0);
    CHECK(gate.release(0).empty());
}

TEST_CASE("what the operator took no longer speaks against the credential", "[hub]") {
    hub::AccusedHandles accused;
    PruneGate gate(accused);
    for (std::uint32_t i = 0; i < 50; ++i) gate.dead(dead_handle(i), 0);
    gate.accepted(10, 0);
    CHECK_FALSE(gate.open(0));
    CHECK(gate.take_held().size() == 50);
    CHECK(gate.held() == 0);
    gate.dead(dead_handle(50), 0);
    CHECK(gate.release(0).size() == 1);
}

TEST_CASE("held retirements agree with a model over random events and restarts", "[hub]") {
    const auto seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const support::Folder folder;
    auto trace = trace_in(folder);
    auto gates = std::make_unique<PruneGates>(trace.get());
    std::map<std::uint32_t, std::multiset<std::string>> model;  // by hub: handles held
    std::uint32_t number = 0;
    for (int step = 0; step < 120; ++step) {
        const std::uint32_t hub = 1 + static_cast<std::uint32_t>(random() % 2);
        const auto what = random() % 12;
        if (what == 0) {
            gates.reset();
            trace.reset();
            trace = trace_in(folder);
            gates = std::make_unique<PruneGates>(trace.get());
        } else if (what == 1) {
            CHECK(gates->discard(hub, std::nullopt) == model[hub].size());
            model[hub].clear();
        } else if (what == 2) {
            gates->forget(hub);
            model[hub].clear();
        } else if (what == 3 && !model[hub].empty()) {
            const std::string handle = *model[hub].begin();
            const auto count = model[hub].erase(handle);
            CHECK(trace->erase_device(hub, {}, {}, handle).value() == count);
        } else {
            // Nothing was ever accepted: all is held. Suspicions come and go beside it.
            std::vector<PruneGates::Suspect> dead;
            for (auto left = random() % 4; left > 0; --left) {
                dead.push_back({dead_handle(++number), true});
                model[hub].insert(dead.back().retirement.handle);
            }
            for (auto left = random() % 3; left > 0; --left)
                dead.push_back({dead_handle(++number), false});
            const PruneGates::Subject subject{hub, 0, random() % 2 == 0 ? "app" : ""};
            CHECK(gates->pass(subject, "send", 0, std::move(dead), 0).empty());
        }
        std::multiset<std::string> held;
        std::uint64_t after = 0;
        for (;;) {
            const auto page = gates->list(hub, after, 3);
            for (const auto& one : page) held.insert(one.retirement.handle);
            if (page.size() < 3) break;
            after = page.back().retirement.ticket;
        }
        REQUIRE(held == model[hub]);
    }
    trace->flush();
    std::map<std::uint32_t, std::multiset<std::string>> stored;
    for (const auto& one : trace->store().held().value()) {
        if (!one.suspicion) stored[one.hub].insert(one.retirement.handle);
    }
    for (const auto& [hub, handles] : model) CHECK(stored[hub] == handles);
}

TEST_CASE("a suspicion is remembered over a restart, and erased with its device", "[hub]") {
    const support::Folder folder;
    const PruneGates::Subject subject{1, 0, "app"};
    for (const bool erased : {false, true}) {
        INFO(erased);
        const auto handle = dead_handle(erased ? 2 : 1);
        {
            auto trace = trace_in(folder);
            PruneGates gates(trace.get());
            CHECK(gates.pass(subject, "send-a", 50, {{handle, false}}, 0).empty());
            CHECK(gates.held() == 0);
            if (erased) CHECK(trace->erase_device(1, {}, {}, handle.handle).value() == 1);
        }
        auto trace = trace_in(folder);
        PruneGates gates(trace.get());
        const auto retired = gates.pass(subject, "send-b", 50, {{handle, false}}, 0);
        CHECK(retired.size() == (erased ? 0 : 1));
        if (erased) gates.forget(1);
        trace->flush();
        CHECK(trace->store().held().value().empty());
    }
}

TEST_CASE("a success ends a suspicion for good, within its batch and over a restart", "[hub]") {
    const support::Folder folder;
    const PruneGates::Subject subject{1, 0, "app"};
    const auto one = dead_handle(1), two = dead_handle(2);
    {
        auto trace = trace_in(folder);
        PruneGates gates(trace.get());
        CHECK_FALSE(gates.may_accuse(one.handle));
        CHECK(gates.pass(subject, "send-a", 50, {{one, false}, {two, false}}, 0).empty());
        CHECK(gates.may_accuse(one.handle));
        CHECK(gates.pass(subject, "send-b", 50, {}, 0, {one.handle}).empty());
        CHECK_FALSE(gates.may_accuse(one.handle));
        // Told together the success weighs more: nobody knows which came first.
        CHECK(gates.pass(subject, "send-c", 50, {{two, false}}, 0, {two.handle}).empty());
        CHECK_FALSE(gates.may_accuse(two.handle));
    }
    auto trace = trace_in(folder);
    PruneGates gates(trace.get());
    CHECK_FALSE(gates.may_accuse(one.handle));
    CHECK(gates.pass(subject, "send-d", 50, {{one, false}, {two, false}}, 0).empty());
    CHECK(gates.pass(subject, "send-e", 50, {{one, false}}, 0).size() == 1);
    CHECK_FALSE(gates.may_accuse(one.handle));
    CHECK(gates.may_accuse(two.handle));
}

TEST_CASE("a handle that is refused now and then between successes stays", "[hub]") {
    World world({}, {"apns"});
    constexpr int devices = 5;
    for (int i = 0; i < devices; ++i) world.install(id_of("apns", i), "apns", handle_of("apns", i));
    const auto send_once_refused = [&] {
        pns::sim::Rules rules;
        Behaviour bad;
        bad.act = Act::bad_handle;
        for (int i = 0; i < devices; ++i) rules.handles[handle_of("apns", i)] = bad;
        world.sim("apns").set_rules(rules);
        CHECK(world.finish(world.send("apple", "all", apple_body)).devices("Success") == 0);
        world.sim("apns").set_rules({});
    };
    const auto send = [&] {
        return world.finish(world.send("apple", "all", apple_body)).devices("Success");
    };
    CHECK(send() == devices);
    send_once_refused();
    for (int i = 0; i < 3; ++i) CHECK(send() == devices);
    send_once_refused();
    CHECK(send() == devices);
    for (int i = 0; i < devices; ++i) CHECK_FALSE(world.expired(id_of("apns", i)));
}

TEST_CASE("successes of one app do not speak for another, and apps are bounded", "[hub]") {
    PruneGates gates;
    const PruneGates::Subject good{1, 0, "good"}, bad{1, 0, "bad"};
    const auto suspects = [](std::uint32_t count) {
        std::vector<PruneGates::Suspect> dead;
        for (std::uint32_t i = 0; i < count; ++i) dead.push_back({dead_handle(i), true});
        return dead;
    };
    for (std::int64_t now_ms = 0; now_ms < 60'000; now_ms += 1'000) {
        CHECK(gates.pass(good, "a", 1'000, {}, now_ms).empty());
        CHECK(gates.pass(bad, "a", 0, suspects(10), now_ms).empty());
    }
    CHECK(gates.pass(good, "a", 1'000, suspects(20), 60'000).size() == 20);
    for (std::size_t i = 0; i < 3 * PruneGates::apps_max; ++i)
        gates.pass({1, 0, std::to_string(i)}, "a", 1, {}, 60'000);
    CHECK(gates.gates(1, 60'000).size() <= PruneGates::apps_max + 1);
    CHECK(gates.held() == 600);
    // Gates that know nothing any more make room.
    gates.pass({1, 0, "later"}, "a", 1, {}, 9'000'000);
    CHECK(gates.gates(1, 9'000'000).size() <= PruneGates::apps_max + 1);
    CHECK(gates.held() == 600);
}

TEST_CASE("why a handle was retired can be read by handle and by installation", "[hub]") {
    World world(hub::Config(), {"apns"});
    for (int i = 0; i < 20; ++i) world.install(id_of("apns", i), "apns", handle_of("apns", i));
    make_gone(world, "apns", 0, 2);
    const auto send = world.send("apple", "all", apple_body);
    world.finish(send);
    REQUIRE(world.expired("apns-0"));
    const auto by_device = call(world, "GET", "/app/retirements?installation=apns-0");
    REQUIRE(by_device["retirements"].size() == 1);
    const auto& record = by_device["retirements"][0];
    CHECK(record["send"] == send);
    CHECK(record["by"] == "provider");
    CHECK(record["platform"] == "apns");
    CHECK(record["installation"] == "apns-0");
    CHECK(record["reason"].get<std::string>().find("Unregistered") != std::string::npos);
    CHECK(record.contains("deadSince"));
    CHECK(by_device.dump().find(handle_of("apns", 0)) == std::string::npos);
    world.stop();
    world.start();
    std::string spelled = handle_of("apns", 1);
    for (char& c : spelled) c = static_cast<char>(std::tolower(c));
    for (const std::string& handle : {handle_of("apns", 1), spelled}) {
        const auto by_handle = call(world, "GET", "/app/retirements?handle=" + handle);
        REQUIRE(by_handle["retirements"].size() == 1);
        CHECK(by_handle["retirements"][0]["installation"] == "apns-1");
    }
    CHECK(call(world, "GET", "/app/retirements?installation=apns-5")["retirements"].empty());
    for (const char* path : {"/app/retirements", "/app/retirements?handle=a&installation=b",
                             "/app/retirements?handle=a&continuation=00"}) {
        INFO(path);
        CHECK(world.call("GET", path).status == 400);
    }
}

TEST_CASE("a handle that came back after the provider's moment is kept", "[hub]") {
    World world(hub::Config(), {"apns"});
    for (int i = 0; i < 20; ++i) world.install(id_of("apns", i), "apns", handle_of("apns", i));
    make_gone(world, "apns", 0, 1, 1'600'000'000'000);
    world.finish(world.send("apple", "all", apple_body));
    CHECK_FALSE(world.expired("apns-0"));
    CHECK(call(world, "GET", "/app/retirements?installation=apns-0")["retirements"].empty());
    const auto page = world.service().parts().metrics.text();
    CHECK(page.find(R"(pushhub_handles_accused_total{platform="apns",proof="kept"} 1)") !=
          std::string::npos);
}

TEST_CASE("a refused message prunes nobody, an answer that names the token does", "[hub]") {
    World world(hub::Config(), {"fcmv1"});
    for (int i = 0; i < 20; ++i) world.install(id_of("fcmv1", i), "fcmv1", handle_of("fcmv1", i));
    pns::sim::Rules rules;
    Behaviour message, token, gone, lost_project;
    message.act = Act::answer;
    message.status = 400;
    message.body =
        R"({"error":{"code":400,"message":"Invalid JSON payload received.","status":)"
        R"("INVALID_ARGUMENT","details":[{"@type":)"
        R"("type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"INVALID_ARGUMENT"}]}})";
    token.act = Act::bad_handle;
    gone.act = Act::gone;
    lost_project.act = Act::answer;
    lost_project.status = 404;
    lost_project.body = "<html>Not Found</html>";
    rules.handles[handle_of("fcmv1", 0)] = message;
    rules.handles[handle_of("fcmv1", 1)] = token;
    rules.handles[handle_of("fcmv1", 2)] = gone;
    world.sim("fcmv1").set_rules(rules);
    for (int round = 0; round < 3; ++round) {
        INFO(round);
        world.finish(world.send("fcmv1", "all", fcm_body));
        CHECK_FALSE(world.expired("fcmv1-0"));
        CHECK(world.expired("fcmv1-1") == (round >= 1));
        CHECK(world.expired("fcmv1-2"));
    }
    rules.handles = {{handle_of("fcmv1", 3), lost_project}};
    world.sim("fcmv1").set_rules(rules);
    world.finish(world.send_with("fcmv1", "all", fcm_body, {{"pushhub-deadline", "PT3S"}}));
    CHECK_FALSE(world.expired("fcmv1-3"));
}

TEST_CASE("a bulk of dead handles is held over a restart until the operator decides", "[hub]") {
    World world(hub::Config(), {"apns", "wns"});
    constexpr int devices = 15;
    for (int i = 0; i < devices; ++i) {
        world.install(id_of("apns", i), "apns", handle_of("apns", i));
    }
    make_gone(world, "apns", 0, devices);
    const auto send = world.send("apple", "all", apple_body);
    world.finish(send);
    world.stop();
    world.start();
    auto held = call(world, "GET", "/app/retirements/held?top=10");
    REQUIRE(held["held"].size() == 10);
    CHECK(held["held"][0]["send"] == send);
    CHECK(held["gates"][0]["platform"] == "apns");
    CHECK(held["gates"][0]["open"] == false);
    CHECK(held["gates"][0]["held"] == devices);
    CHECK(held.dump().find(handle_of("apns", 0)) == std::string::npos);
    const auto more = held["continuation"].get<std::string>();
    held = call(world, "GET", "/app/retirements/held?top=10&continuation=" + more);
    CHECK(held["held"].size() == 5);
    CHECK_FALSE(held.contains("continuation"));
    CHECK(world.service().parts().metrics.text().find("pushhub_retirements_held 15") !=
          std::string::npos);
    CHECK_FALSE(world.expired("apns-0"));
    CHECK(world.call("POST", "/app/retirements/held/release?platform=nonsense").status == 400);
    CHECK(call(world, "POST", "/app/retirements/held/release?platform=wns")["released"] == 0);

    // One device comes back: it stays although it is released.
    world.install(id_of("apns", 3), "apns", handle_of("apns", 99));
    const auto released = call(world, "POST", "/app/retirements/held/release");
    CHECK(released["released"] == devices);
    CHECK(released["retired"] == devices - 1);
    CHECK(world.expired("apns-0"));
    CHECK_FALSE(world.expired("apns-3"));
    const auto why = call(world, "GET", "/app/retirements?installation=apns-0");
    REQUIRE(why["retirements"].size() == 1);
    CHECK(why["retirements"][0]["by"] == "operator");
    CHECK(why["retirements"][0]["send"] == send);
    world.stop();
    world.start();
    CHECK(call(world, "GET", "/app/retirements/held")["held"].empty());
    world.check_registry();
}

TEST_CASE("what is discarded stays until a provider says it again", "[hub]") {
    World world(hub::Config(), {"apns"});
    constexpr int devices = 12;
    for (int i = 0; i < devices; ++i) {
        world.install(id_of("apns", i), "apns", handle_of("apns", i));
    }
    make_gone(world, "apns", 0, devices);
    world.finish(world.send("apple", "all", apple_body));
    CHECK(call(world, "POST", "/app/retirements/held/discard")["discarded"] == devices);
    CHECK(call(world, "GET", "/app/retirements/held")["held"].empty());
    for (int i = 0; i < devices; ++i) CHECK_FALSE(world.expired(id_of("apns", i)));
    world.finish(world.send("apple", "all", apple_body));
    CHECK(call(world, "GET", "/app/retirements/held")["held"].size() == devices);
}
