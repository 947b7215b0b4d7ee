// The whole way of a send: a hub, real TLS, four simulated providers, and what the registry says
// afterwards.

#include "hub/send/fanout.hpp"

#include <catch2/catch.hpp>
#include <future>
#include <pugixml.hpp>
#include <set>
#include <sstream>

#include "hub/api/parts.hpp"
#include "hub/process/log.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/world.hpp"

namespace {

using pns::sim::Act;
using pns::sim::Behaviour;
using support::all_platforms;
using support::apple_body;
using support::handle_of;
using support::id_of;
using support::World;

constexpr double wait_s = support::world_wait_s;

const std::string with_template =
    R"("tags":["all"],"templates":{"t":{"body":"{\"aps\":{\"alert\":\"$(text)\"}}"}})";

std::string template_of(const std::string& platform) {
    if (platform == "apns") return with_template;
    if (platform == "fcmv1") {
        return R"("tags":["all"],"templates":{"t":{"body":"{\"message\":{\"data\":{\"m\":\"$(text)\"}}}"}})";
    }
    if (platform == "adm")
        return R"("tags":["all"],"templates":{"t":{"body":"{\"data\":{\"m\":\"$(text)\"}}"}})";
    return R"("tags":["all"],"templates":{"t":{"headers":{"X-WNS-Type":"wns/toast"},"body":"<toast><visual><binding template=\"ToastText01\"><text id=\"1\">$(text)</text></binding></visual></toast>"}})";
}

std::multiset<std::string> accepted(World& world, const std::string& platform) {
    std::multiset<std::string> handles;
    for (const auto& entry : world.sim(platform).entries(true)) handles.insert(entry.handle);
    return handles;
}

/// Changes the hub's APNs credential where senders look for it.
void set_apns(World& world, const std::string& property, const std::string& value) {
    auto& parts = world.service().parts();
    const auto hub = parts.hubs.find("app");
    hub::HubDescription changed = hub->description;
    changed.credentials.at("apns").at(property) = value;
    parts.hubs.put(hub->row, std::move(changed));
    parts.fanout.forget_senders(hub->row.number);
}

}  // namespace

TEST_CASE("a template send reaches every living device once and prunes the dead", "[hub]") {
    World world;
    constexpr int per_platform = 60, dead_per_platform = 6;
    for (const auto& platform : all_platforms) {
        pns::sim::Rules rules;
        for (int i = 0; i < per_platform; ++i) {
            world.install(id_of(platform, i), platform, handle_of(platform, i),
                          template_of(platform));
            if (i < dead_per_platform) {
                Behaviour gone;
                gone.act = Act::gone;
                rules.handles[handle_of(platform, i)] = gone;
            }
        }
        world.sim(platform).set_rules(rules);
    }
    const auto told = world.finish(world.send("template", "all && !nobody", R"({"text":"Storm"})"));
    CHECK(told.state == "Completed");
    CHECK(told.devices() == per_platform * all_platforms.size());
    CHECK(told.devices("Success") == (per_platform - dead_per_platform) * all_platforms.size());
    for (const auto& platform : all_platforms) {
        INFO(platform);
        const auto received = accepted(world, platform);
        CHECK(received.size() == per_platform - dead_per_platform);
        CHECK(std::set(received.begin(), received.end()).size() == received.size());
        CHECK(world.sim(platform).counters().doubles == 0);
        for (int i = 0; i < per_platform; ++i) {
            CHECK(world.expired(id_of(platform, i)) == (i < dead_per_platform));
            CHECK(received.count(handle_of(platform, i)) == (i < dead_per_platform ? 0u : 1u));
        }
    }
    // The dead are not selected any more.
    const auto again = world.finish(world.send("template", "all", R"({"text":"Again"})"));
    CHECK(again.devices() == (per_platform - dead_per_platform) * all_platforms.size());
    CHECK(again.devices("Success") == again.devices());
    world.check_registry();
}

TEST_CASE("a native send counts what each device's provider said", "[hub]") {
    World world;
    for (int i = 0; i < 12; ++i) world.install(id_of("apns", i), "apns", handle_of("apns", i));
    pns::sim::Rules rules;
    Behaviour fails_once, bad;
    fails_once.act = Act::unavailable;
    fails_once.times = 1;
    bad.act = Act::answer;
    bad.status = 400;
    bad.reason = "BadCollapseId";
    rules.handles[handle_of("apns", 1)] = fails_once;
    rules.handles[handle_of("apns", 2)] = bad;
    world.sim("apns").set_rules(rules);
    const auto told = world.finish(world.send("apple", "all", apple_body));
    CHECK(told.devices() == 12);
    CHECK(told.devices("Success") == 11);
    CHECK(accepted(world, "apns").count(handle_of("apns", 1)) == 1);
    CHECK_FALSE(world.expired(id_of("apns", 2)));
}

TEST_CASE("nobody there, no credentials and no sender end in honest outcomes", "[hub]") {
    World world;
    CHECK(world.finish(world.send("apple", "nobody", apple_body)).state == "NoTargetFound");
    hub::create_hub(*std::make_unique<hub::HubClient>(world.service().connection_string(),
                                                      world.service().ca_file().string()),
                    "bare", {});
    const std::string installation = R"({"installationId":"x","platform":"apns","pushChannel":")" +
                                     handle_of("apns", 1) + R"("})";
    REQUIRE(world.call("PUT", "/bare/installations/x", installation).status == 200);
    const auto reply = world.call("POST", "/bare/messages", apple_body,
                                  {{"servicebusnotification-format", "apple"}});
    REQUIRE(reply.status == 201);
    std::string id(reply.header("location"));
    id = id.substr(0, id.find('?'));
    hub::HubClient client(world.service().connection_string(), world.service().ca_file().string());
    CHECK(bench::wait_until_final(client, "bare", id.substr(id.rfind('/') + 1), wait_s)
              .devices("InvalidCredentials") == 1);

    world.install("old", "gcm", "legacy-token-1");
    CHECK(
        world.finish(world.send("gcm", "", R"({"data":{"a":"b"}})")).devices("PnsInterfaceError") ==
        1);
}

TEST_CASE("of native registrations with one handle a single one gets the push", "[hub]") {
    World world;
    for (int i = 0; i < 5; ++i)
        world.install("same-" + std::to_string(i), "apns", handle_of("apns", 7));
    world.install("other", "apns", handle_of("apns", 8));
    const auto told = world.finish(world.send("apple", "all", apple_body));
    CHECK(told.devices("Success") == 2);
    CHECK(told.devices("Skipped") == 4);
    CHECK(accepted(world, "apns").count(handle_of("apns", 7)) == 1);
}

TEST_CASE("a send goes on after a restart and misses nobody", "[hub]") {
    World world;
    constexpr int devices = 40, silent = 10;
    pns::sim::Rules rules;
    for (int i = 0; i < devices; ++i) {
        world.install(id_of("apns", i), "apns", handle_of("apns", i));
        if (i >= silent) continue;
        Behaviour never;
        never.act = Act::never;
        rules.handles[handle_of("apns", i)] = never;
    }
    world.sim("apns").set_rules(rules);
    const auto id = world.send("apple", "all", apple_body);
    world.stop();
    world.sim("apns").set_rules({});
    world.start();
    const auto told = world.finish(id);
    CHECK(told.state == "Completed");
    CHECK(told.devices("Success") == devices);
    const auto received = accepted(world, "apns");
    CHECK(std::set(received.begin(), received.end()).size() == devices);
}

TEST_CASE("error details have what failed before a restart and after it, once each", "[hub]") {
    World world;
    constexpr int devices = 40, early = 10, late = 15, silent = 20;  // later ones get it at once
    Behaviour bad, never;
    bad.act = Act::answer;
    bad.status = 400;
    bad.reason = "BadCollapseId";
    never.act = Act::never;
    pns::sim::Rules rules;
    std::multiset<std::string> failing;
    for (int i = 0; i < devices; ++i) {
        const std::string handle = handle_of("apns", i);
        world.install(id_of("apns", i), "apns", handle);
        if (i < late) failing.insert(handle);
        if (i < silent) rules.handles[handle] = i < early ? bad : never;
    }
    world.sim("apns").set_rules(rules);
    const std::uint32_t hub = world.service().parts().hubs.find("app")->row.number;
    const auto id = world.send("apple", "all", apple_body);
    const auto final_devices = [&] {
        const auto progress = world.service().parts().fanout.progress(hub, id);
        std::uint64_t count = 0;
        for (const auto& [key, some] : progress->counts) count += some;
        return count;
    };
    REQUIRE(support::comes_true([&] { return final_devices() >= devices - (silent - early); }));
    world.stop();
    {
        // As if it had been killed between a failure and the checkpoint that counts its device.
        registry::Options options;
        options.directory = world.config().data_dir / "store";
        std::string why;
        const auto store = registry::Registry::open(options, why).value();
        auto open = store->open_sends().value();
        REQUIRE(open.size() == 1);
        auto& progress = open[0].progress;
        CHECK(progress.failures.size() == early);
        progress.failures.clear();
        const auto& selected = open[0].selection.partitions;
        for (std::size_t p = 0; p < selected.size(); ++p) {
            for (const std::uint32_t number : selected[p] - progress.finished.at(p)) {
                auto& failure = progress.failures.emplace_back();
                failure.partition = static_cast<std::uint16_t>(p);
                failure.number = number;
                failure.platform = "apns";
                failure.outcome = "PnsServerError";
                failure.handle = "told too early";
            }
        }
        CHECK(progress.failures.size() == silent - early);
        std::promise<bool> written;
        store->checkpoint(hub, id, progress, [&](auto done) { written.set_value(bool(done)); });
        REQUIRE(written.get_future().get());
        store->close();
    }
    rules.handles.clear();
    for (int i = early; i < late; ++i) rules.handles[handle_of("apns", i)] = bad;
    world.sim("apns").set_rules(rules);
    world.start();
    CHECK(world.finish(id).devices("Success") == devices - late);
    std::string url;
    REQUIRE(support::comes_true([&] {
        pugi::xml_document told;
        REQUIRE(told.load_string(world.call("GET", "/app/messages/" + id).body.c_str()));
        url = told.document_element().child_value("PnsErrorDetailsUri");
        return !url.empty();
    }));
    const auto blob = world.call("GET", url.substr(url.find("/$blobs/")));
    REQUIRE(blob.status == 200);
    std::multiset<std::string> listed;
    std::istringstream lines(blob.body);
    for (std::string line; std::getline(lines, line);) {
        pugi::xml_document failure;
        REQUIRE(failure.load_string(line.c_str()));
        const auto root = failure.document_element();
        listed.insert(root.child_value("PnsHandle"));
        CHECK(root.child_value("NotificationSystemError") ==
              std::string("InvalidNotificationFormat"));
        CHECK(root.child_value("InstallationId") != std::string());
        CHECK(root.child_value("NotificationId") == id);
    }
    CHECK(listed == failing);
}

TEST_CASE("at most once never doubles over a restart", "[hub]") {
    World world;
    constexpr int devices = 40, silent = 10;
    pns::sim::Rules rules;
    for (int i = 0; i < devices; ++i) {
        world.install(id_of("apns", i), "apns", handle_of("apns", i));
        if (i >= silent) continue;
        Behaviour never;
        never.act = Act::never;
        rules.handles[handle_of("apns", i)] = never;
    }
    world.sim("apns").set_rules(rules);
    const auto id = world.send("apple", "all", apple_body, "at-most-once");
    REQUIRE(support::comes_true([&] { return world.sim("apns").counters().received >= devices; }));
    world.stop();
    world.sim("apns").set_rules({});
    world.start();
    const auto told = world.finish(id);
    CHECK(told.devices() == devices);
    CHECK(told.devices("Unknown") == silent);
    CHECK(told.devices("Success") == devices - silent);
    CHECK(world.sim("apns").counters().received == devices);
}

TEST_CASE("a new credential takes effect without a restart", "[hub]") {
    World world;
    world.install("one", "apns", handle_of("apns", 1));
    CHECK(world.finish(world.send("apple", "", apple_body)).devices("Success") == 1);
    auto wrong = pns::sim::make_credential("apns");
    hub::HubClient client(world.service().connection_string(), world.service().ca_file().string());
    hub::create_hub(client, "app", {wrong.credential});
    const auto hasty = world.send_with("apple", "", apple_body, {{"pushhub-deadline", "PT3S"}});
    const auto patient = world.send("apple", "", apple_body);
    CHECK(world.finish(hasty).devices("InvalidCredentials") == 1);
    CHECK_FALSE(world.expired("one"));
    hub::create_hub(client, "app", world.credentials());
    CHECK(world.finish(patient).devices("Success") == 1);
}

TEST_CASE("a stored credential that does not open is told once, and again when it changed",
          "[hub]") {
    std::ostringstream log;
    hub::open_log("error", "text", &log);
    World world({}, {"apns"});
    constexpr int devices = 50;
    for (int i = 0; i < devices; ++i) world.install(id_of("apns", i), "apns", handle_of("apns", i));
    const auto lines = [&] {
        const std::string text = log.str(), line = "a stored credential cannot be used";
        int count = 0;
        for (auto at = text.find(line); at != std::string::npos; at = text.find(line, at + 1))
            ++count;
        return count;
    };
    const auto key =
        world.service().parts().hubs.find("app")->description.credentials.at("apns").at("Token");
    set_apns(world, "Token", "no key");
    for (int i = 0; i < 3; ++i) {
        CHECK(world.finish(world.send("apple", "all", apple_body)).devices("InvalidCredentials") ==
              devices);
    }
    CHECK(lines() == 1);
    set_apns(world, "Token", key);
    CHECK(world.finish(world.send("apple", "all", apple_body)).devices("Success") == devices);
    set_apns(world, "Token", "another one");
    CHECK(world.finish(world.send("apple", "all", apple_body)).devices("InvalidCredentials") ==
          devices);
    world.stop();
    CHECK(lines() == 2);
    hub::open_log("off", "text");
}

TEST_CASE("a push at most once goes out as the new credential wants it", "[hub]") {
    World world({}, {"apns"});
    for (int i = 0; i < 2; ++i) world.install(id_of("apns", i), "apns", handle_of("apns", i));
    auto& parts = world.service().parts();
    const auto app = parts.hubs.find("app")->description.credentials.at("apns").at("AppName");
    const auto id =
        world.send_with("apple", "all", apple_body,
                        {{"pushhub-delivery", "at-most-once"}, {"pushhub-canary", "0.01%; hold"}});
    REQUIRE(support::comes_true([&] {
        return world.call("GET", "/app/sends/" + id).body.find("\"Held\"") != std::string::npos;
    }));
    set_apns(world, "AppName", "com.example.wrong");
    // The writer stands still, so that the mark of the second push waits for the disk.
    std::promise<void> stands, release;
    const auto hub = parts.hubs.find("app")->row.number;
    parts.registry.rotate(hub, {}, [&](registry::Result<std::size_t>) {
        stands.set_value();
        release.get_future().wait();
    });
    stands.get_future().wait();
    const auto queued = [&] { return parts.registry.figures().write_queue_changes; };
    const auto before = queued();
    auto resumed = std::async(std::launch::async, [&] {
        return world.call("POST", "/app/sends/" + id + "/resume").status;
    });
    const bool marked = support::comes_true([&] { return queued() >= before + 2; });
    set_apns(world, "AppName", app);
    release.set_value();
    CHECK(marked);
    CHECK(resumed.get() == 200);
    const auto told = world.finish(id);
    CHECK(told.devices("Success") == 2);
    CHECK(told.devices() == 2);
}
