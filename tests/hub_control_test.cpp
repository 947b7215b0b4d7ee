// Steering a send: states, headers, rounds, and the whole way with pauses, cancels and restarts.

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "hub/process/latency_buckets.hpp"
#include "hub/send/send_options.hpp"
#include "hub/send/send_run.hpp"
#include "hub/send/send_states.hpp"
#include "hub/text/times.hpp"
#include "pns/clock.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/world.hpp"

namespace {

using hub::SendEvent;
using nlohmann::json;
using registry::SendState;
using support::apple_body;
using support::handle_of;
using support::World;
using HeaderPairs = std::vector<std::pair<std::string, std::string>>;

constexpr std::int64_t now_ms = 1'795'255'200'000;  // 2026-11-21T10:00:00Z

registry::Send options_of(const HeaderPairs& headers) {
    hub::Request request;
    request.received_at_ms = now_ms;
    request.headers = headers;
    registry::Send send;
    const auto refusal = hub::read_send_options(request, send);
    if (refusal) FAIL(refusal->message);
    return send;
}

std::string refusal_of(const HeaderPairs& headers) {
    hub::Request request;
    request.received_at_ms = now_ms;
    request.headers = headers;
    registry::Send send;
    const auto refusal = hub::read_send_options(request, send);
    REQUIRE(refusal.has_value());
    CHECK(refusal->status == 400);
    return refusal->message;
}

/// A direct send to `devices` APNs handles from `first` on, which needs no registrations.
struct Desk {
    explicit Desk(hub::Config config = {}) : world(std::move(config)) {}

    std::string send(int devices, HeaderPairs headers = {}, int expected = 201, int first = 0) {
        std::string handles;
        for (int i = first; i < first + devices; ++i) {
            handles += (handles.empty() ? "\"" : ",\"") + handle_of("apns", i) + '"';
        }
        const std::string body =
            "--b\r\nContent-Type: application/json\r\nContent-Disposition: inline; "
            "name=\"notification\"\r\n\r\n" +
            apple_body +
            "\r\n--b\r\nContent-Type: application/json\r\nContent-Disposition: inline; "
            "name=\"devices\"\r\n\r\n[" +
            handles + "]\r\n--b--\r\n";
        headers.emplace_back("servicebusnotification-format", "apple");
        headers.emplace_back("content-type", "multipart/mixed; boundary=\"b\"");
        const auto reply = world.call("POST", "/app/messages/$batch?direct", body, headers);
        INFO(reply.body);
        REQUIRE(reply.status == expected);
        if (expected != 201) return std::string(reply.header("retry-after"));
        std::string id(reply.header("location"));
        id = id.substr(0, id.find('?'));
        return id.substr(id.rfind('/') + 1);
    }

    /// The figures of a send, with what must hold of them at every moment.
    json checked(const std::string& body) {
        const json figures = json::parse(body);
        std::uint64_t counted = 0, by_platform = 0;
        for (const auto& [outcome, count] : figures["outcomes"].items())
            counted += count.get<std::uint64_t>();
        if (figures.contains("platforms")) {
            for (const auto& [platform, outcomes] : figures["platforms"].items()) {
                for (const auto& [outcome, count] : outcomes.items())
                    by_platform += count.get<std::uint64_t>();
            }
            CHECK(by_platform == counted);
        }
        INFO(body);
        CHECK(counted == figures["done"]);
        CHECK(figures["audience"] == figures["pending"].get<std::uint64_t>() + counted);
        return figures;
    }
    json figures(const std::string& id) {
        const auto reply = world.call("GET", "/app/sends/" + id);
        INFO(reply.body);
        REQUIRE(reply.status == 200);
        return checked(reply.body);
    }
    json command(const std::string& id, const std::string& verb, int expected = 200) {
        const auto reply = world.call("POST", "/app/sends/" + id + "/" + verb);
        INFO(reply.body);
        REQUIRE(reply.status == expected);
        if (expected == 200) return checked(reply.body);
        CHECK(reply.header("content-type") == "application/problem+json");
        return json::parse(reply.body);
    }
    template <class Predicate>
    json wait(const std::string& id, Predicate until) {
        json now;
        const bool came = support::comes_true([&] {
            now = figures(id);
            return until(now);
        });
        INFO(now.dump());
        REQUIRE(came);
        return now;
    }
    json ended(const std::string& id) {
        return wait(id, [](const json& now) { return now.contains("endedAt"); });
    }
    json done_at_least(const std::string& id, std::uint64_t devices) {
        return wait(id, [&](const json& now) { return now["done"] >= devices; });
    }
    std::uint64_t accepted() { return world.sim("apns").counters().accepted; }

    World world;
};

const HeaderPairs slow{{"pushhub-rate", "40/s"}};

}  // namespace

TEST_CASE("the states of a send follow the table", "[hub]") {
    // Rows: a state and where pushes_begin, pause, resume, cancel, canary_final, all_final and
    // all_given_up lead; '-' is refused.
    const std::vector<std::vector<std::string>> table{
        {"Scheduled", "-", "-", "-", "Canceled", "-", "-", "-"},
        {"Enqueued", "Processing", "Paused", "Enqueued", "Canceling", "Held", "Completed",
         "Abandoned"},
        {"Processing", "Processing", "Paused", "Processing", "Canceling", "Held", "Completed",
         "Abandoned"},
        {"Held", "Held", "Held", "Processing", "Canceling", "Held", "Completed", "Abandoned"},
        {"Paused", "Paused", "Paused", "Processing", "Canceling", "Held", "Completed", "Abandoned"},
        {"Canceling", "Canceling", "-", "-", "Canceling", "Canceling", "Canceled", "Canceled"},
        {"Canceled", "-", "-", "-", "Canceled", "-", "-", "-"},
        {"Completed", "-", "-", "-", "-", "-", "-", "-"},
        {"NoTargetFound", "-", "-", "-", "-", "-", "-", "-"},
        {"Abandoned", "-", "-", "-", "-", "-", "-", "-"},
    };
    const SendEvent events[] = {
        SendEvent::pushes_begin, SendEvent::pause,     SendEvent::resume,      SendEvent::cancel,
        SendEvent::canary_final, SendEvent::all_final, SendEvent::all_given_up};
    for (const auto& row : table) {
        const auto from = hub::control_state_by_name(row[0]);
        REQUIRE(from.has_value());
        for (std::size_t e = 0; e < std::size(events); ++e) {
            INFO(row[0] << " and event " << e);
            const auto to = hub::next_state(*from, events[e]);
            CHECK((to ? std::string(hub::control_state_name(*to)) : "-") == row[e + 1]);
        }
        CHECK(hub::why_not(*from, SendEvent::pause).find(row[0]) != std::string::npos);
    }
}

TEST_CASE("the headers that steer a send are read or refused with the reason", "[hub]") {
    CHECK(options_of({{"pushhub-canary", "1%; hold"}}).canary_ppm == 10'000);
    CHECK(options_of({{"pushhub-canary", " 0.0001 % ;HOLD"}}).canary_ppm == 1);
    CHECK(options_of({{"pushhub-canary", "12.5%"}}).canary_ppm == 125'000);
    using registry::PushRate;
    CHECK(options_of({{"pushhub-rate", "500/s"}}).rate == PushRate{500, 1});
    CHECK(options_of({{"pushhub-rate", "30000 / m"}}).rate == PushRate{30'000, 60});
    CHECK(options_of({{"pushhub-rate", "61/m"}}).rate == PushRate{61, 60});
    CHECK(options_of({{"pushhub-rate", "1/H"}}).rate == PushRate{1, 3'600});
    CHECK(options_of({{"pushhub-rate", "3600000000/h"}}).rate == PushRate{3'600'000'000, 3'600});
    const auto deadline = options_of({{"pushhub-deadline", "2026-11-21T10:10:00Z"}});
    CHECK(deadline.deadline_given);
    CHECK(deadline.deadline_ms == now_ms + 600'000);
    CHECK(options_of({{"pushhub-deadline", "PT10M"}}).deadline_ms == now_ms + 600'000);
    CHECK(options_of({{"pushhub-deadline", "Sat, 21 Nov 2026 10:10:00 GMT"}}).deadline_ms ==
          now_ms + 600'000);
    CHECK(options_of({{"pushhub-deadline", "PT10M"},
                      {"servicebusnotification-scheduletime", "2026-11-21T11:00:00"}})
              .deadline_ms == now_ms + 4'200'000);
    CHECK_FALSE(options_of({}).deadline_given);
    for (const char* bad : {"1", "%", "0%", "100%", "100.5%", "1.00001%", "-1%", "1%; go", "1,5%",
                            "x%", "0.00000%", "99999999999%"}) {
        INFO(bad);
        CHECK(refusal_of({{"pushhub-canary", bad}}).find("PushHub-Canary") == 0);
    }
    for (const char* bad : {"500", "0/s", "/s", "0/m", "500/d", "1000001/s", "60000001/m",
                            "3600000001/h", "-5/s", "5.5/s", "99999999999/s"}) {
        INFO(bad);
        CHECK(refusal_of({{"pushhub-rate", bad}}).find("PushHub-Rate") == 0);
    }
    for (const char* bad :
         {"soon", "2026-11-21T09:59:59Z", "2027-11-21T10:00:00Z", "PT0S", "P20D"}) {
        INFO(bad);
        CHECK(refusal_of({{"pushhub-deadline", bad}}).find("PushHub-Deadline") == 0);
    }
}

TEST_CASE("latency buckets bound what they hold", "[hub]") {
    std::size_t before = 0;
    for (std::int64_t us = 0; us < 200'000'000; us = us * 21 / 20 + 1) {
        const std::size_t bucket = hub::latency_bucket(us);
        CHECK(bucket >= before);
        before = bucket;
        if (bucket + 1 == hub::latency_buckets) continue;
        CHECK(static_cast<std::uint64_t>(us) < hub::latency_bucket_end_us(bucket));
        if (bucket > 0)
            CHECK(static_cast<std::uint64_t>(us) >= hub::latency_bucket_end_us(bucket - 1));
    }
    CHECK(hub::latency_bucket(-5) == 0);
    const std::map<std::uint8_t, std::uint64_t> counts{{0, 90}, {20, 9}, {40, 1}};
    CHECK(hub::latency_ms(counts, 0.5) == Approx(0.064));
    CHECK(hub::latency_ms(counts, 0.99) ==
          Approx(static_cast<double>(hub::latency_bucket_end_us(20)) / 1'000));
    CHECK(hub::latency_ms(counts, 1) ==
          Approx(static_cast<double>(hub::latency_bucket_end_us(40)) / 1'000));
    CHECK(hub::latency_ms({}, 0.5) == 0);
}

TEST_CASE("a paused send stands still, survives a restart, and goes on where it was", "[hub]") {
    Desk desk;
    const std::string id = desk.send(30, slow);
    desk.done_at_least(id, 3);
    const json paused = desk.command(id, "pause");
    CHECK(paused["state"] == "Paused");
    CHECK(paused["inFlight"] == 0);
    const auto out = paused["out"].get<std::uint64_t>();
    CHECK(out < 30);
    CHECK(out == desk.accepted());
    CHECK(desk.command(id, "pause")["out"] == out);
    desk.world.stop();
    desk.world.start();
    const json again = desk.figures(id);
    CHECK(again["state"] == "Paused");
    CHECK(again["out"] == out);
    CHECK(desk.accepted() == out);
    CHECK(desk.command(id, "resume")["state"] == "Processing");
    const json end = desk.ended(id);
    CHECK(end["state"] == "Completed");
    CHECK(end["outcomes"]["Success"] == 30);
    CHECK(desk.accepted() == 30);
    CHECK(desk.world.sim("apns").counters().doubles == 0);
    CHECK(end["latencyMs"]["samples"] >= 1);
    CHECK(end["latencyMs"]["p50"] > 0);
    CHECK(end["firstPushAt"] <= end["lastPushAt"]);
    CHECK(desk.command(id, "resume", 409)["detail"].get<std::string>().find("Completed") !=
          std::string::npos);
    CHECK(desk.world.call("POST", "/app/sends/nothing/pause").status == 404);
}

TEST_CASE("no figure of a send goes back, and what was told is there after a crash", "[hub]") {
    const std::string delivery = GENERATE("at-least-once", "at-most-once");
    INFO(delivery);
    Desk desk;
    pns::sim::Rules rules;
    pns::sim::Behaviour slowly, gone;
    slowly.delay_ms = 20;
    gone.act = pns::sim::Act::gone;
    rules.shares = {{slowly, 0.5}, {gone, 0.1}};
    desk.world.sim("apns").set_rules(rules);
    constexpr int devices = 600;
    const std::string id =
        desk.send(devices, {{"pushhub-rate", "400/s"}, {"pushhub-delivery", delivery}});
    json before = desk.figures(id);
    const auto seen = [&before](const json& now) {
        INFO(before.dump() << " then " << now.dump());
        CHECK(now["done"] >= before["done"]);
        CHECK(now["out"] >= before["out"]);
        for (const auto& [outcome, count] : before["outcomes"].items()) {
            REQUIRE(now["outcomes"].contains(outcome));
            CHECK(now["outcomes"][outcome] >= count);
        }
        before = now;
    };
    const auto watched_until = [&](std::uint64_t done) {
        desk.wait(id, [&](const json& now) {
            seen(now);
            return now["done"] >= done || now.contains("endedAt");
        });
    };
    for (const std::uint64_t done : {60, 200}) {
        watched_until(done);
        seen(desk.command(id, "pause"));
        CHECK(before["state"] == "Paused");
        CHECK(before["inFlight"] == 0);
        CHECK(before["done"] < devices);
        CHECK(before["out"] == desk.world.sim("apns").counters().received);
        // A hub that finds what is on disk at this moment tells the same.
        hub::Config crashed = desk.world.config();
        crashed.data_dir += "-crashed";
        std::filesystem::copy(desk.world.config().data_dir, crashed.data_dir,
                              std::filesystem::copy_options::recursive);
        std::string why;
        auto second = hub::Service::start(crashed, why);
        INFO(why);
        REQUIRE(second);
        hub::HubClient client(second->connection_string(), second->ca_file().string());
        hub::ClientRequest request;
        request.path = "/app/sends/" + id;
        const json there = json::parse(client.call(std::move(request)).body);
        for (const char* figure : {"state", "done", "out", "pending", "outcomes", "platforms"}) {
            INFO(figure);
            CHECK(there[figure] == before[figure]);
        }
        second.reset();
        std::filesystem::remove_all(crashed.data_dir);
        seen(desk.command(id, "resume"));
    }
    watched_until(devices);
    CHECK(before["state"] == "Completed");
    CHECK(desk.world.sim("apns").counters().doubles == 0);
}

TEST_CASE("a canceled send says exactly what is out", "[hub]") {
    Desk desk;
    const std::string id = desk.send(200, slow);
    desk.done_at_least(id, 4);
    const json canceled = desk.command(id, "cancel");
    CHECK(canceled["state"] == "Canceled");
    CHECK(canceled["pending"] == 0);
    const auto out = canceled["out"].get<std::uint64_t>();
    CHECK(out == desk.accepted());
    CHECK(out < 200);
    CHECK(canceled["outcomes"]["AbandonedNotificationMessages"] == 200 - out);
    CHECK(desk.command(id, "cancel")["state"] == "Canceled");
    desk.command(id, "pause", 409);
    desk.world.stop();
    desk.world.start();
    CHECK(desk.figures(id)["state"] == "Canceled");
    CHECK(desk.accepted() == out);
}

TEST_CASE("a canary goes out first and the rest waits for resume", "[hub]") {
    Desk desk;
    const std::string id = desk.send(100, {{"pushhub-canary", "10%; hold"}});
    const json held = desk.wait(id, [](const json& now) { return now["state"] == "Held"; });
    const auto share = held["done"].get<std::uint64_t>();
    CHECK(share >= 1);
    CHECK(share < 40);
    CHECK(desk.accepted() == share);
    CHECK(held["canary"]["percent"] == 10.0);
    CHECK(held["canary"]["released"] == false);
    desk.world.stop();
    desk.world.start();
    CHECK(desk.figures(id)["state"] == "Held");
    desk.command(id, "resume");
    CHECK(desk.ended(id)["outcomes"]["Success"] == 100);
    CHECK(desk.world.sim("apns").counters().doubles == 0);

    const std::string other = desk.send(50, {{"pushhub-canary", "10%"}}, 201, 1'000);
    const json waits = desk.wait(other, [](const json& now) { return now["state"] == "Held"; });
    const json dropped = desk.command(other, "cancel");
    CHECK(dropped["state"] == "Canceled");
    CHECK(dropped["outcomes"]["Success"] == waits["done"]);
    CHECK(desk.accepted() == 100 + waits["done"].get<std::uint64_t>());
}

TEST_CASE("what is not out at the deadline is abandoned", "[hub]") {
    Desk desk;
    HeaderPairs headers = slow;
    headers.emplace_back("pushhub-deadline", "PT0.5S");
    const std::string id = desk.send(300, headers);
    const json end = desk.ended(id);
    CHECK(end["state"] == "Abandoned");
    // On a busy machine nothing may be out in time.
    CHECK(end["outcomes"].value("Success", json(0)) == desk.accepted());
    CHECK(end["outcomes"]["AbandonedNotificationMessages"] == 300 - desk.accepted());
    // A paused send ends at its deadline as well, one with a canary, too.
    headers.emplace_back("pushhub-canary", "5%");
    const std::string held = desk.send(40, headers, 201, 5'000);
    CHECK(desk.ended(held)["state"] == "Abandoned");
}

TEST_CASE("a rate holds over all lanes", "[hub]") {
    Desk desk;
    const auto begun = std::chrono::steady_clock::now();
    const std::string id = desk.send(60, {{"pushhub-rate", "100/s"}});
    CHECK(desk.ended(id)["outcomes"]["Success"] == 60);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    CHECK(took.count() >= 55.0 / 100);  // a burst of five is free
    CHECK(desk.figures(id)["rate"]["limitPerSecond"] == 100);
}

TEST_CASE("sends are listed newest first with filters and pages", "[hub]") {
    Desk desk;
    std::vector<std::string> ids;
    for (int i = 0; i < 5; ++i) ids.push_back(desk.send(1));
    for (const auto& id : ids) desk.ended(id);
    const std::string paused = desk.send(50, slow);
    desk.command(paused, "pause");
    ids.push_back(paused);
    std::vector<std::string> listed;
    std::string next;
    for (int pages = 0; pages < 10; ++pages) {
        const auto reply = desk.world.call("GET", "/app/sends?top=2&continuation=" + next);
        REQUIRE(reply.status == 200);
        const json page = json::parse(reply.body);
        for (const auto& one : page["sends"]) listed.push_back(desk.checked(one.dump())["id"]);
        if (!page.contains("continuation")) break;
        next = page["continuation"];
    }
    CHECK(std::set(listed.begin(), listed.end()) == std::set(ids.begin(), ids.end()));
    CHECK(std::is_sorted(listed.rbegin(), listed.rend()));
    const auto count = [&](const std::string& query) {
        const auto reply = desk.world.call("GET", "/app/sends?" + query);
        INFO(reply.body);
        REQUIRE(reply.status == 200);
        return json::parse(reply.body)["sends"].size();
    };
    CHECK(count("state=paused") == 1);
    CHECK(count("state=Paused,Completed") == 6);
    CHECK(count("format=apple") == 6);
    CHECK(count("format=adm") == 0);
    CHECK(count("from=2099-01-01T00:00:00Z") == 0);
    CHECK(count("to=2000-01-01T00:00:00Z") == 0);
    CHECK(count("from=2000-01-01T00:00:00Z&to=2099-01-01T00:00:00Z") == 6);
    for (const char* bad : {"top=0", "top=101", "top=x", "state=asleep", "from=soon"}) {
        const auto reply = desk.world.call("GET", std::string("/app/sends?") + bad);
        CHECK(reply.status == 400);
        CHECK(reply.header("content-type") == "application/problem+json");
    }
}

TEST_CASE("events tell the progress to the end, over both versions of HTTP", "[hub]") {
    Desk desk;
    const std::string id = desk.send(30, {{"pushhub-rate", "60/s"}});
    const auto h2 = desk.world.call("GET", "/app/sends/" + id + "/events");
    CHECK(h2.status == 200);
    CHECK(h2.header("content-type") == "text/event-stream");
    CHECK(h2.body.find("event: progress\ndata: {") != std::string::npos);
    const auto end = h2.body.find("event: end\ndata: ");
    REQUIRE(end != std::string::npos);
    const std::string last = h2.body.substr(end + 17);
    CHECK(desk.checked(last.substr(0, last.find('\n')))["state"] == "Completed");

    support::ClientOptions options;
    options.ca_file = desk.world.service().ca_file().string();
    options.alpn = "http/1.1";
    support::Wire wire(desk.world.service().port(), options);
    const auto& rule = desk.world.service().parts().namespace_rules.front();
    wire.send("GET /app/sends/" + id +
              "/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + "Authorization: " +
              hub::make_sas("https://localhost/", rule.name, rule.primary_key,
                            pns::system_clock().wall_ms() / 1'000 + 600) +
              "\r\n\r\n");
    const std::string raw = wire.receive_all();
    CHECK(raw.find("Transfer-Encoding: chunked") != std::string::npos);
    CHECK(raw.find("event: end\ndata: ") != std::string::npos);
    CHECK(raw.substr(raw.size() - 5) == "0\r\n\r\n");
    CHECK(desk.world.call("GET", "/app/sends/nothing/events").status == 404);
}

TEST_CASE("sends beyond the bounds are refused with a time to come back", "[hub]") {
    hub::Config config;
    config.sends_open_max = 1;
    Desk desk(config);
    const std::string id = desk.send(50, slow);
    CHECK(desk.send(1, {}, 429) == "1");
    desk.command(id, "cancel");
    desk.ended(desk.send(1));

    config.sends_open_max = 10;
    config.backlog_devices_max = 40;
    Desk small(config);
    const std::string big = small.send(60, slow);
    CHECK(small.send(1, {}, 429) == "5");
    small.command(big, "cancel");
    small.ended(small.send(1));
}

namespace {

/// What another hub gets for a send to nobody.
int send_of_other(Desk& desk, HeaderPairs headers = {}) {
    headers.emplace_back("servicebusnotification-format", "apple");
    return desk.world.call("POST", "/other/messages", apple_body, headers).status;
}

std::string metrics_of(Desk& desk) {
    return desk.world.call("GET", "/metrics").body;
}

}  // namespace

TEST_CASE("sends of one hub leave places to others, and those that wait to those that run",
          "[hub]") {
    hub::Config config;
    config.sends_open_max = config.sends_waiting_max = 5;  // a share of 80 % is 4
    Desk desk(config);
    hub::create_hub(desk.world.client(), "other", {});
    const HeaderPairs canary{{"pushhub-canary", "10%; hold"}};
    std::vector<std::string> held;
    for (int i = 0; i < 4; ++i) {
        held.push_back(desk.send(10, canary));
        desk.wait(held.back(), [](const json& now) { return now["state"] == "Held"; });
    }
    CHECK(desk.send(10, canary, 429) == "60");
    // Held sends take nothing from those that are at work.
    desk.ended(desk.send(1));
    CHECK(send_of_other(desk, canary) == 201);

    // A send is always paused, and counts as one at work if there is no place among the others.
    std::vector<std::string> paused;
    for (int i = 0; i < 4; ++i) {
        paused.push_back(desk.send(10, {{"pushhub-rate", "1/m"}}));
        CHECK(desk.command(paused.back(), "pause")["state"] == "Paused");
    }
    CHECK(desk.send(1, {}, 429) == "1");
    CHECK(send_of_other(desk) == 201);
    const auto text = metrics_of(desk);
    for (const char* line : {"pushhub_hub_places_used{places=\"sends_open\",hub=\"app\"} 4",
                             "pushhub_hub_places_share{places=\"sends_open\",hub=\"app\"} 4",
                             "pushhub_hub_places_used{places=\"sends_waiting\",hub=\"app\"} 4",
                             "pushhub_sends_waiting 4", "by=\"hub_share\"} 2"}) {
        INFO(line);
        CHECK(text.find(line) != std::string::npos);
    }
    // To go on takes a place among those at work.
    const auto refused = desk.command(held[0], "resume", 429);
    CHECK(refused["detail"].get<std::string>().find("its own share") != std::string::npos);
    CHECK(desk.figures(held[0])["state"] == "Held");
    desk.command(paused[0], "cancel");
    desk.ended(paused[0]);
    desk.command(held[0], "resume");
    CHECK(desk.ended(held[0])["state"] == "Completed");
    desk.wait(desk.send(10, canary), [](const json& now) { return now["state"] == "Held"; });

    for (int i = 1; i < 4; ++i) desk.command(paused[static_cast<std::size_t>(i)], "cancel");
    for (int i = 1; i < 4; ++i) desk.ended(paused[static_cast<std::size_t>(i)]);
    desk.world.stop();
    desk.world.start();
    CHECK(desk.send(10, canary, 429) == "60");  // as before the restart
    for (int i = 1; i < 4; ++i) desk.command(held[static_cast<std::size_t>(i)], "cancel");
    for (int i = 1; i < 4; ++i) desk.ended(held[static_cast<std::size_t>(i)]);
    desk.wait(desk.send(10, canary), [](const json& now) { return now["state"] == "Held"; });
}

TEST_CASE("devices of one hub's sends leave the backlog open to others", "[hub]") {
    hub::Config config;
    config.backlog_devices_max = 100;
    Desk desk(config);
    hub::create_hub(desk.world.client(), "other", {});
    const std::string big = desk.send(200, slow);
    CHECK(desk.send(1, {}, 429) == "5");
    CHECK(send_of_other(desk) == 201);
    desk.command(big, "pause");  // it waits: what it has left is no work
    desk.ended(desk.send(1));
    desk.command(big, "resume");
    CHECK(desk.send(1, {}, 429) == "5");
    desk.command(big, "cancel");
    desk.ended(big);
    desk.ended(desk.send(1));
}

TEST_CASE("the place of a reader of events is free when its connection has ended", "[hub]") {
    hub::Config config;
    config.event_streams_max = 1;
    Desk desk(config);
    const std::string id = desk.send(30, {{"pushhub-canary", "10%; hold"}});
    desk.wait(id, [](const json& now) { return now["state"] == "Held"; });
    const std::string target = "/app/sends/" + id + "/events";
    const auto& rule = desk.world.parts().namespace_rules.front();
    const support::HeaderList signed_by{
        {"Authorization", hub::make_sas("https://localhost/", rule.name, rule.primary_key,
                                        pns::system_clock().wall_ms() / 1'000 + 600)}};
    support::ClientOptions options;
    options.ca_file = desk.world.service().ca_file().string();
    const auto used = [&] { return desk.world.parts().event_streams.used(); };
    // Long before the hub has anything to say, which is after 15 s.
    constexpr double soon_s = 8;
    for (int round = 0; round < 3; ++round) {
        {
            options.alpn = "http/1.1";
            support::Wire wire(desk.world.service().port(), options);
            wire.send("GET " + target + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: " +
                      signed_by[0].second + "\r\n\r\n");
            REQUIRE(support::comes_true([&] { return used() == 1; }));
            CHECK(desk.world.call("GET", target).status == 429);
        }
        CHECK(support::comes_true([&] { return used() == 0; }, soon_s));
        options.alpn = "h2";
        support::H2Client h2(desk.world.service().port(), options);
        const int stream = h2.start("GET", target, signed_by);
        REQUIRE(support::comes_true([&] { return used() == 1; }));
        h2.reset(stream);
        CHECK(support::comes_true([&] { return used() == 0; }, soon_s));
        auto gone = std::make_unique<support::H2Client>(desk.world.service().port(), options);
        gone->start("GET", target, signed_by);
        REQUIRE(support::comes_true([&] { return used() == 1; }));
        gone.reset();
        CHECK(support::comes_true([&] { return used() == 0; }, soon_s));
    }
}

TEST_CASE("what a client sends while it reads events is answered after them", "[hub]") {
    Desk desk;
    const std::string id = desk.send(30, {{"pushhub-rate", "60/s"}});
    support::ClientOptions options;
    options.ca_file = desk.world.service().ca_file().string();
    options.alpn = "http/1.1";
    support::Wire wire(desk.world.service().port(), options);
    const auto& rule = desk.world.parts().namespace_rules.front();
    const std::string head = " HTTP/1.1\r\nHost: localhost\r\nAuthorization: " +
                             hub::make_sas("https://localhost/", rule.name, rule.primary_key,
                                           pns::system_clock().wall_ms() / 1'000 + 600) +
                             "\r\n";
    wire.send("GET /app/sends/" + id + "/events" + head + "\r\n");
    wire.send("GET /app/sends/" + id + head + "Connection: close\r\n\r\n");
    const std::string raw = wire.receive_all();
    const auto end = raw.find("event: end\ndata: ");
    REQUIRE(end != std::string::npos);
    CHECK(raw.find("HTTP/1.1 200", end) != std::string::npos);
}

TEST_CASE("a scheduled send is canceled where sends are controlled", "[hub]") {
    Desk desk;
    const auto reply = desk.world.call("POST", "/app/schedulednotifications", apple_body,
                                       {{"servicebusnotification-format", "apple"},
                                        {"pushhub-rate", "5/s"},
                                        {"servicebusnotification-scheduletime",
                                         hub::iso_ms(pns::system_clock().wall_ms() + 3'600'000)}});
    INFO(reply.body);
    REQUIRE(reply.status == 201);
    std::string id(reply.header("location"));
    id = id.substr(0, id.find('?'));
    id = id.substr(id.rfind('/') + 1);
    CHECK(desk.figures(id)["state"] == "Scheduled");
    desk.command(id, "pause", 409);
    CHECK(desk.command(id, "cancel")["state"] == "Canceled");
}

TEST_CASE("counts add up to the audience through faults, commands and restarts", "[hub]") {
    const auto seed = static_cast<unsigned>(GENERATE(11, 12));
    INFO("seed " << seed);
    std::mt19937 random(seed);
    Desk desk;
    pns::sim::Rules rules;
    for (int i = 0; i < 400; i += 7) {
        pns::sim::Behaviour fault;
        fault.act = i % 2 == 0 ? pns::sim::Act::unavailable : pns::sim::Act::gone;
        fault.times = 1;
        rules.handles[handle_of("apns", i)] = fault;
    }
    desk.world.sim("apns").set_rules(rules);
    std::vector<std::string> ids;
    const char* verbs[] = {"pause", "resume", "cancel"};
    for (int step = 0; step < 40; ++step) {
        const auto dice = random() % 10;
        if (dice < 3 && ids.size() < 8) {
            HeaderPairs headers;
            if (random() % 2 == 0) headers.emplace_back("pushhub-rate", "80/s");
            if (random() % 3 == 0) headers.emplace_back("pushhub-canary", "20%");
            if (random() % 3 == 0) headers.emplace_back("pushhub-delivery", "at-most-once");
            const int first = static_cast<int>(random() % 300);
            ids.push_back(desk.send(static_cast<int>(1 + random() % 80), headers, 201, first));
        } else if (dice == 3 && step % 2 == 0) {
            desk.world.stop();
            desk.world.start();
        } else if (!ids.empty()) {
            const std::string& id = ids[random() % ids.size()];
            const auto reply =
                desk.world.call("POST", "/app/sends/" + id + "/" + verbs[random() % 3]);
            CHECK((reply.status == 200 || reply.status == 409 || reply.status == 429));
            if (reply.status == 200) desk.checked(reply.body);
        }
        for (const auto& id : ids) desk.figures(id);
    }
    for (const auto& id : ids) {
        const json last = desk.wait(id, [&](const json& now) {
            if (now.contains("waitsSince")) desk.world.call("POST", "/app/sends/" + id + "/resume");
            return now.contains("endedAt");
        });
        CHECK(last["pending"] == 0);
        CHECK(last["inFlight"] == 0);
    }
}
