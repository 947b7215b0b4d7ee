// Providers and credentials that fail for a while, through real sockets: what was not sent is not
// lost, and costs no attempt.

#include <catch2/catch.hpp>

#include <future>
#include <nlohmann/json.hpp>
#include <set>

#include "hub/api/parts.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/send/fanout.hpp"
#include "pns/clock.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/log_sink.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/world.hpp"

namespace {

using pns::sim::Act;
using pns::sim::Behaviour;
using support::apple_body;
using support::handle_of;
using support::id_of;
using support::World;

constexpr int devices = 300;

void install_all(World& world, const std::string& platform, int count = devices) {
    for (int i = 0; i < count; ++i)
        world.install(id_of(platform, i), platform, handle_of(platform, i));
}

void strike(World& world, const std::string& platform, pns::sim::Fault fault) {
    std::vector<pns::sim::Fault> faults;
    faults.push_back(std::move(fault));
    world.sim(platform).set_faults(std::move(faults), 7);
}

pns::sim::Fault answers(Act act, std::int64_t for_ms, const std::string& retry_after = {}) {
    pns::sim::Fault fault;
    fault.rule.emplace();
    fault.rule->act = act;
    fault.rule->retry_after = retry_after;
    fault.for_ms = for_ms;
    return fault;
}

nlohmann::json figures_of(World& world, const std::string& id) {
    return nlohmann::json::parse(world.call("GET", "/app/sends/" + id).body);
}

pns::sim::Fault refuses_credential() {
    pns::sim::Fault fault = answers(Act::answer, 600'000);
    fault.rule->status = 403;
    fault.rule->reason = "InvalidProviderToken";
    return fault;
}

pns::sim::Fault connection(int number, std::string_view variant, std::int64_t ms) {
    pns::sim::Fault fault;
    fault.row = pns::sim::fault_row(number, variant);
    REQUIRE(fault.row != nullptr);
    if (fault.row->point == pns::sim::FaultPoint::now) {
        fault.ms = ms;
    } else {
        fault.for_ms = ms;
    }
    return fault;
}

}  // namespace

TEST_CASE("a provider that is away for seconds gets every push when it is back, once", "[hub]") {
    World world({}, {"apns", "fcmv1"});
    const std::string platform = GENERATE(as<std::string>(), "apns", "fcmv1");
    install_all(world, platform);
    const auto [number, variant] = GENERATE(std::pair<int, std::string_view>{29, "refused"},
                                            std::pair<int, std::string_view>{29, ""},
                                            std::pair<int, std::string_view>{27, "ca"});
    CAPTURE(platform, number, variant);
    strike(world, platform, connection(number, variant, 3'000));
    const bool apns = platform == "apns";
    const auto told = world.finish(
        world.send(apns ? "apple" : "fcmv1", "all",
                   apns ? apple_body : R"({"message":{"notification":{"title":"t","body":"b"}}})"));
    CHECK(told.state == "Completed");
    CHECK(told.devices("Success") == devices);
    CHECK(world.sim(platform).counters().doubles == 0);
}

TEST_CASE("a provider that answers 503 or throttles for seconds loses no push", "[hub]") {
    World world({}, {"apns", "fcmv1"});
    install_all(world, "apns");
    install_all(world, "fcmv1");
    strike(world, "apns", answers(Act::unavailable, 3'000));
    strike(world, "fcmv1", answers(Act::throttled, 2'500, "1"));
    const auto apple = world.send("apple", "all", apple_body);
    const auto google =
        world.send("fcmv1", "all", R"({"message":{"notification":{"title":"t","body":"b"}}})");
    CHECK(world.finish(apple).devices("Success") == devices);
    CHECK(world.finish(google).devices("Success") == devices);
    CHECK(world.sim("apns").counters().doubles == 0);
    CHECK(world.sim("fcmv1").counters().doubles == 0);
}

TEST_CASE("one hot device does not stop the others of its project", "[hub]") {
    World world({}, {"fcmv1"});
    install_all(world, "fcmv1", 32);
    pns::sim::Rules rules;
    Behaviour hot;
    hot.act = Act::throttled;
    hot.retry_after = "600";
    rules.handles[handle_of("fcmv1", 3)] = hot;
    world.sim("fcmv1").set_rules(rules);
    const std::string body = R"({"message":{"notification":{"title":"t","body":"b"}}})";
    const auto to_all = world.send("fcmv1", "all", body);
    REQUIRE(support::comes_true([&] { return world.sim("fcmv1").counters().accepted == 31; }));
    // A later send reaches the others at once, too.
    world.install("late", "fcmv1", handle_of("fcmv1", 99), R"("tags":["late"])");
    CHECK(world.finish(world.send("fcmv1", "late", body)).devices("Success") == 1);
    REQUIRE(world.call("POST", "/app/sends/" + to_all + "/cancel").status == 200);
    CHECK(world.finish(to_all).devices("Success") == 31);
}

TEST_CASE("an outage is in the log once, and in the metrics before a push is final", "[hub]") {
    const support::LogSink log;
    World world({}, {"apns"});
    install_all(world, "apns", 100);
    strike(world, "apns", connection(29, "refused", 3'000));
    const auto id = world.send("apple", "all", apple_body);
    const auto page = [&] { return world.call("GET", "/metrics").body; };
    REQUIRE(support::comes_true([&] {
        const auto text = page();
        return text.find(R"(platform="apns",result="put_off")") != std::string::npos &&
               text.find(
                   R"(pushhub_provider_unwell{hub="app",platform="apns",trouble="unreachable"} 1)") !=
                   std::string::npos &&
               text.find("pushhub_pushes_total{") == std::string::npos;
    }));
    CHECK(page().find("pushhub_devices_waiting{platform=\"apns\"} 0") == std::string::npos);
    CHECK(world.finish(id).devices("Success") == 100);
    CHECK(support::comes_true([&] { return log.lines("a provider is well again").size() == 1; }));
    REQUIRE(log.lines("a provider is unreachable").size() == 1);
    const auto began = log.lines("a provider is unreachable").front();
    CHECK(began["hub"] == "app");
    CHECK(began["platform"] == "apns");
    CHECK(began["why"].get<std::string>().size() > 3);
    CHECK(page().find("pushhub_provider_unwell{") == std::string::npos);

    strike(world, "apns", refuses_credential());
    const auto refused = world.send("apple", "all", apple_body);
    REQUIRE(support::comes_true(
        [&] { return !log.lines("a provider refuses the credential").empty(); }));
    CHECK(log.lines("a provider refuses the credential").front()["why"] == "InvalidProviderToken");
    CHECK(support::comes_true([&] {
        return page().find(R"(platform="apns",reason="InvalidProviderToken")") != std::string::npos;
    }));
    world.sim("apns").set_faults({});
    hub::HubClient client(world.service().connection_string(), world.service().ca_file().string());
    hub::create_hub(client, "app", world.credentials());
    world.finish(refused);
    CHECK(log.lines("a provider refuses the credential").size() == 1);
    world.stop();  // ends connections, and is no trouble
    CHECK(log.lines("a provider is unreachable").size() == 1);
}

TEST_CASE("a provider that throttles everything is told of, however short its waits are", "[hub]") {
    const support::LogSink log;
    World world({}, {"fcmv1"});
    install_all(world, "fcmv1");
    strike(world, "fcmv1", answers(Act::throttled, 600'000, "1"));
    const auto id =
        world.send("fcmv1", "all", R"({"message":{"notification":{"title":"t","body":"b"}}})");
    const auto page = [&] { return world.call("GET", "/metrics").body; };
    CHECK(support::comes_true([&] {
        return page().find(
                   R"(pushhub_provider_unwell{hub="app",platform="fcmv1",trouble="throttled"} 1)") !=
               std::string::npos;
    }));
    REQUIRE(log.lines("a provider throttles").size() == 1);
    CHECK(log.lines("a provider throttles").front()["platform"] == "fcmv1");
    CHECK(support::comes_true([&] {
        return page().find(R"(platform="fcmv1",reason="QUOTA_EXCEEDED"})") != std::string::npos;
    }));
    CHECK(page().find(R"(reason="other")") == std::string::npos);
    world.sim("fcmv1").set_faults({});
    CHECK(world.finish(id).devices("Success") == devices);
    CHECK(support::comes_true([&] { return log.lines("a provider is well again").size() == 1; }));
    CHECK(page().find("pushhub_provider_unwell{") == std::string::npos);
}

TEST_CASE("what waits for a refused credential is in the metrics, loaded or not", "[hub]") {
    World world({}, {"apns"});
    install_all(world, "apns");
    strike(world, "apns", refuses_credential());
    const auto all = [&] { return "\n" + world.call("GET", "/metrics").body; };
    const auto figure = [](const std::string& page, const std::string& name) {
        const auto at = page.find("\n" + name + " ");
        REQUIRE(at != std::string::npos);
        return std::stoll(page.substr(at + name.size() + 2));
    };
    const auto first = world.send("apple", "all", apple_body);
    const std::string waiting = R"(pushhub_devices_waiting{platform="apns"})";
    REQUIRE(support::comes_true([&] { return figure(all(), waiting) >= devices - 40; }));
    // The stop is known when these are accepted: nothing of them is read before it is over.
    const auto second = world.send("apple", "all", apple_body);
    const auto third = world.send("apple", "all", apple_body);
    CHECK(support::comes_true([&] {
        const auto page = all();
        const auto open = figure(page, "pushhub_backlog_devices");
        return open > 2 * devices &&
               figure(page, waiting) + figure(page, "pushhub_pushes_in_flight") == open;
    }));
    for (const auto& id : {first, second, third})
        CHECK(world.call("POST", "/app/sends/" + id + "/cancel").status == 200);
    for (const auto& id : {first, second, third}) world.finish(id);
    CHECK(support::comes_true([&] {
        const auto page = all();
        return figure(page, waiting) == 0 && figure(page, "pushhub_provider_queued") == 0;
    }));
    world.sim("apns").set_faults({});
}

TEST_CASE("what waits for a refused credential goes out when the credential is mended", "[hub]") {
    World world({}, {"apns"});
    install_all(world, "apns");
    const support::LogSink log;
    strike(world, "apns", refuses_credential());
    const auto id = world.send("apple", "all", apple_body, GENERATE("", "at-most-once"));
    REQUIRE(support::comes_true(
        [&] { return !log.lines("a provider refuses the credential").empty(); }));
    CHECK(world.call("GET", "/app/sends/" + id).body.find("InvalidCredentials") ==
          std::string::npos);
    world.sim("apns").set_faults({});
    hub::HubClient client(world.service().connection_string(), world.service().ca_file().string());
    hub::create_hub(client, "app", world.credentials());
    CHECK(world.finish(id).devices("Success") == devices);
    CHECK(world.sim("apns").counters().doubles == 0);
}

TEST_CASE("a credential that is refused for seconds loses no push, of single sends neither",
          "[hub]") {
    World world({}, {"apns", "fcmv1"});
    const bool apns = GENERATE(true, false);
    const std::string platform = apns ? "apns" : "fcmv1", format = apns ? "apple" : "fcmv1";
    const std::string body =
        apns ? apple_body : R"({"message":{"notification":{"title":"t","body":"b"}}})";
    install_all(world, platform, 100);
    for (int i = 0; i < 6; ++i)
        world.install("one-" + std::to_string(i), platform, handle_of(platform, 1'000 + i),
                      R"("tags":["one-)" + std::to_string(i) + R"("])");
    strike(world, platform, connection(26, "", 0));
    std::vector<std::string> sends{world.send(format, "all", body)};
    for (int i = 0; i < 6; ++i)
        sends.push_back(world.send(format, "one-" + std::to_string(i), body));
    const auto received = [&] { return world.sim(platform).counters().received; };
    REQUIRE(support::comes_true([&] { return received() >= 20; }));
    for (const auto& id : sends)
        CHECK(world.call("GET", "/app/sends/" + id).body.find("InvalidCredentials") ==
              std::string::npos);
    world.sim(platform).set_faults({});
    const auto back_ms = pns::system_clock().steady_ms();
    REQUIRE(support::comes_true([&] { return world.sim(platform).counters().accepted > 0; }));
    CHECK(pns::system_clock().steady_ms() - back_ms < 3'000);  // two, and a slow machine
    CHECK(world.finish(sends.front()).devices("Success") == 100);
    for (std::size_t i = 1; i < sends.size(); ++i)
        CHECK(world.finish(sends[i]).devices("Success") == 1);
    CHECK(world.sim(platform).counters().doubles == 0);
}

TEST_CASE("a test send tells of a refused credential at once", "[hub]") {
    World world({}, {"apns"});
    install_all(world, "apns", 8);
    strike(world, "apns", refuses_credential());
    const auto test = [&] {
        return world
            .call("POST", "/app/messages?test=true", apple_body,
                  {{"servicebusnotification-format", "apple"}})
            .body;
    };
    const auto patient = world.send("apple", "all", apple_body);
    for (int round = 0; round < 2; ++round) {
        const auto told = test();
        INFO(told);
        CHECK(told.find("<Failure>8</Failure>") != std::string::npos);
        CHECK(told.find("The Token obtained from the Token Provider is wrong") !=
              std::string::npos);
    }
    world.sim("apns").set_faults({});
    CHECK(world.finish(patient).devices("Success") == 8);
}

TEST_CASE("a provider that answers 500 to everybody for a while loses no push", "[hub]") {
    support::ManualClock clock(pns::system_clock().wall_ms());
    World world({}, {"apns"}, clock);
    install_all(world, "apns", 40);
    pns::sim::Fault fails = answers(Act::answer, 0);
    fails.rule->status = 500;
    fails.rule->reason = "InternalServerError";
    strike(world, "apns", std::move(fails));
    const auto id = world.send("apple", "all", apple_body);
    const auto begun_ms = clock.steady_ms();
    REQUIRE(support::comes_true([&] {
        clock.pass_ms(50);
        return clock.steady_ms() - begun_ms > 120'000;
    }));
    CHECK(world.sim("apns").counters().received < 400);  // one a second and lane
    world.sim("apns").set_faults({});
    REQUIRE(support::comes_true([&] {
        clock.pass_ms(10);
        return world.sim("apns").counters().accepted == 40;
    }));
    CHECK(world.finish(id).devices("Success") == 40);
}

TEST_CASE("a device whose pushes alone get 500 is given up after a few attempts", "[hub]") {
    support::ManualClock clock(pns::system_clock().wall_ms());
    World world({}, {"apns"}, clock);
    install_all(world, "apns", 40);
    pns::sim::Rules rules;
    pns::sim::Behaviour fails;
    fails.act = Act::answer;
    fails.status = 500;
    fails.reason = "InternalServerError";
    rules.handles[handle_of("apns", 7)] = fails;
    world.sim("apns").set_rules(rules);
    const auto id = world.send("apple", "all", apple_body);
    REQUIRE(support::comes_true([&] {
        clock.pass_ms(50);
        return world.call("GET", "/app/sends/" + id).body.find(R"("endedAt":")") !=
               std::string::npos;
    }));
    const auto told = world.finish(id);
    CHECK(told.devices("Success") == 39);
    CHECK(told.devices("PnsServerError") == 1);
    CHECK(world.sim("apns").counters().received == 39 + 5);
}

TEST_CASE("what could not be sent by the deadline ends as what stood in its way", "[hub]") {
    support::ManualClock clock(pns::system_clock().wall_ms());
    World world({}, {"apns"}, clock);
    install_all(world, "apns", 20);
    strike(world, "apns", connection(29, "refused", 60'000));
    const auto id = world.send_with("apple", "all", apple_body, {{"pushhub-deadline", "PT1H"}});
    // One is kept to try the provider with; what was never loaded waits for it, too.
    REQUIRE(support::comes_true([&] {
        clock.pass_ms(10);
        const auto figures = world.service().parts().fanout.figures();
        return figures.retries_waiting > 0 && figures.pushes_in_flight <= 2;  // one a lane
    }));
    clock.pass_ms(3'600'000);
    const auto told = world.finish(id);
    CHECK(told.devices("PnsUnreachable") == 20);
    CHECK(told.devices() == 20);
    CHECK(figures_of(world, id)["out"] == 0);
    world.sim("apns").set_faults({});
}

TEST_CASE("what a provider turned away to the end was out, what it never got was not", "[hub]") {
    support::ManualClock clock(pns::system_clock().wall_ms());
    World world({}, {"apns"}, clock);
    install_all(world, "apns", 4);
    strike(world, "apns", answers(Act::unavailable, 600'000));
    const auto id = world.send("apple", "all", apple_body);
    REQUIRE(support::comes_true(
        [&] { return world.service().parts().fanout.figures().retries_waiting == 4; }));
    REQUIRE(world.call("POST", "/app/sends/" + id + "/cancel").status == 200);
    const auto told = world.finish(id);
    const std::string dropped = "AbandonedNotificationMessages";
    CHECK(told.devices(dropped) + told.devices("PnsUnavailable") == 4);
    CHECK(figures_of(world, id)["out"] == 4);
    // Whose row is gone was never out, nor what the hub refuses itself.
    world.sim("apns").set_faults({});
    const std::string body = R"({"aps":{"alert":")" + std::string(5'000, 'a') + R"("}})";
    const auto large = world.send("apple", "all", body);
    CHECK(world.finish(large).devices("InvalidNotificationSize") == 4);
    CHECK(figures_of(world, large)["out"] == 0);
    CHECK(figures_of(world, large)["done"] == 4);
}

TEST_CASE("a provider that asks for half an hour and is well after seconds gets every push",
          "[hub]") {
    support::ManualClock clock(pns::system_clock().wall_ms());
    World world({}, {"apns"}, clock);
    const int count = GENERATE(3, 60);  // with the breaker shut, and without
    CAPTURE(count);
    install_all(world, "apns", count);
    strike(world, "apns", answers(Act::unavailable, 600'000, "1700"));
    const auto id = world.send("apple", "all", apple_body);  // it has half an hour
    REQUIRE(support::comes_true([&] {
        const auto figures = world.service().parts().fanout.figures();
        clock.pass_ms(1);
        const auto out = static_cast<std::uint64_t>(count > 3 ? 2 : 0);  // to try it with
        return figures.retries_waiting >= static_cast<std::uint64_t>(count) - out;
    }));
    world.sim("apns").set_faults({});
    clock.pass_ms(204'000);
    nlohmann::json last;
    const bool ended = support::comes_true([&] {
        clock.pass_ms(20);
        last = figures_of(world, id);
        return last.contains("endedAt");
    });
    const auto figures = world.service().parts().fanout.figures();
    CAPTURE(last.dump(), figures.retries_waiting, figures.pushes_in_flight);
    REQUIRE(ended);
    CHECK(world.finish(id).devices("Success") == static_cast<std::uint64_t>(count));
    CHECK(world.sim("apns").counters().doubles == 0);
}

TEST_CASE("what was answered with 503 is not lost by a stop or a pause, at most once", "[hub]") {
    World world({}, {"apns"});
    world.config().drain_ms_max = 30'000;
    world.stop();
    world.start();
    install_all(world, "apns", 100);
    strike(world, "apns", answers(Act::unavailable, 600'000));
    const auto id = world.send("apple", "all", apple_body, "at-most-once");
    auto* sim = &world.sim("apns");
    REQUIRE(support::comes_true([&] { return sim->counters().received >= 12; }));
    // What a pause was answered with is on disk, so this is what a kill would leave.
    REQUIRE(world.call("POST", "/app/sends/" + id + "/pause").status == 200);
    auto& parts = world.service().parts();
    const auto kept = parts.registry.send(parts.hubs.find("app")->row.number, id);
    REQUIRE(kept.has_value());
    CHECK(kept->second.counts.empty());
    REQUIRE(world.call("POST", "/app/sends/" + id + "/resume").status == 200);
    const auto before = sim->counters().received;
    REQUIRE(support::comes_true([&] { return sim->counters().received >= before + 1; }));
    world.stop();
    sim->set_faults({});
    world.start();
    const auto told = world.finish(id);
    CHECK(told.devices("Success") == 100);
    CHECK(told.devices() == 100);
    CHECK(sim->counters().doubles == 0);
    CHECK(sim->counters().accepted == 100);
}

TEST_CASE("a push that ends its connection each time ends as unknown, soon", "[hub]") {
    support::ManualClock clock(pns::system_clock().wall_ms());
    World world({}, {"fcmv1"}, clock);
    world.config().lanes = 1;  // each has connections of its own, and judges by them
    world.stop();
    world.start();
    world.install("well", "fcmv1", handle_of("fcmv1", 0), R"("tags":["well"])");
    world.install("poison", "fcmv1", handle_of("fcmv1", 1), R"("tags":["poison"])");
    pns::sim::Rules rules;
    rules.handles[handle_of("fcmv1", 1)].act = Act::close;
    world.sim("fcmv1").set_rules(rules);
    const std::string body = R"({"message":{"data":{"a":"b"}}})";
    const auto over = [&](const std::string& send) {
        return figures_of(world, send).contains("endedAt");
    };
    const auto send_others = [&] {
        const auto well = world.send("fcmv1", "well", body);
        // It may lose its answer with the other's.
        return support::comes_true([&] {
            clock.pass_ms(100);
            return over(well);
        });
    };
    REQUIRE(send_others());
    const auto id = world.send_with("fcmv1", "poison", body, {{"pushhub-deadline", "P14D"}});
    const auto begun_ms = clock.steady_ms();
    constexpr std::int64_t day_ms = 86'400'000;  // of 14; a busy machine sees few of its moments
    while (!over(id) && clock.steady_ms() - begun_ms < day_ms) REQUIRE(send_others());
    REQUIRE(over(id));
    CHECK(world.finish(id).devices("Unknown") == 1);
    // Others that lost their answers with its are sent again, too: only its own count.
    const auto all = world.sim("fcmv1").all_entries();
    const auto attempts = std::count_if(all.begin(), all.end(), [](const pns::sim::Entry& entry) {
        return entry.handle == handle_of("fcmv1", 1);
    });
    CHECK(attempts <= 12);
}

TEST_CASE("what was in a sender's queue when its send was paused is no success at the deadline",
          "[hub]") {
    World world({}, {"apns"});
    install_all(world, "apns", 20);
    strike(world, "apns", connection(29, "refused", 60'000));
    const auto id = world.send_with("apple", "all", apple_body, {{"pushhub-deadline", "PT2S"}});
    CHECK(world.call("POST", "/app/sends/" + id + "/pause").status == 200);
    const auto told = world.finish(id);
    CHECK(told.devices() == 20);
    CHECK(told.devices("Success") == 0);
    CHECK(told.devices("AbandonedNotificationMessages") + told.devices("PnsUnreachable") == 20);
    world.sim("apns").set_faults({});
}

TEST_CASE("a stop waits for what is with the provider, and for nothing that was never sent",
          "[hub]") {
    World world({}, {"apns", "fcmv1"});
    world.config().drain_ms_max = 150'000;
    world.stop();
    world.start();
    install_all(world, "apns", 20);
    install_all(world, "fcmv1", 1);
    strike(world, "apns", connection(27, "ca", 600'000));
    pns::sim::Rules rules;
    rules.handles[handle_of("fcmv1", 0)].delay_ms = 3'000;
    world.sim("fcmv1").set_rules(rules);
    const auto apple = world.send("apple", "all", apple_body);
    const auto google =
        world.send("fcmv1", "all", R"({"message":{"notification":{"title":"t","body":"b"}}})");
    REQUIRE(support::comes_true([&] {
        return world.service().parts().fanout.figures().retries_waiting > 0 &&
               world.sim("fcmv1").counters().received == 1;
    }));
    auto stopping = std::async(std::launch::async, [&] { world.stop(); });
    const bool stopped = support::comes_true(
        [&] { return stopping.wait_for(std::chrono::seconds(0)) == std::future_status::ready; });
    CHECK(stopped);
    stopping.get();
    world.sim("apns").set_faults({});
    world.start();
    CHECK(world.finish(apple).devices("Success") == 20);
    CHECK(world.finish(google).devices("Success") == 1);
    CHECK(world.sim("fcmv1").counters().received == 1);
}
