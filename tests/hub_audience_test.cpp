// Audiences: the guards of a send, and the count without sending, against an oracle.

#include <catch2/catch.hpp>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "hub/api/parts.hpp"
#include "hub/process/config.hpp"
#include "hub/send/audience_bounds.hpp"
#include "hub/send/audience_request.hpp"
#include "hub/send/expected_audience.hpp"
#include "pns/clock.hpp"
#include "tests/support/hub_world.hpp"
#include "tests/support/just_now.hpp"
#include "tests/support/registry_fixture.hpp"

namespace {

using Json = nlohmann::json;
using support::Answer;
using support::HeaderList;

class World : public support::HubWorld {
  public:
    explicit World(hub::Config config = {}) : support::HubWorld(std::move(config)) {
        put_hub("orders");
    }
    void install(const std::string& id, const std::string& platform, const std::string& handle,
                 const Json& tags, int templates = 0) {
        Json body{{"installationId", id}, {"platform", platform}, {"pushChannel", handle}};
        body["tags"] = tags;
        for (int i = 0; i < templates; ++i) {
            body["templates"]["t" + std::to_string(i)] = {
                {"body", platform == "apns" ? R"x({"aps":{"alert":"$(m)"}})x"
                                            : R"x({"message":{"notification":{"body":"$(m)"}}})x"}};
        }
        const auto answer =
            client().request("PUT", "/orders/installations/" + id, root_headers(), body.dump());
        INFO(answer.body);
        REQUIRE(answer.status == 200);
    }
    Answer audience(const Json& body) {
        return client().request("POST", "/orders/audience", root_headers(), body.dump());
    }
    Answer send(const std::string& path, HeaderList more) {
        HeaderList headers = root_headers();
        headers.emplace_back("ServiceBusNotification-Format", "apple");
        headers.insert(headers.end(), more.begin(), more.end());
        return client().request("POST", path, headers, R"({"aps":{}})");
    }
    std::size_t sends() {
        const auto number = service().parts().hubs.find("orders")->row.number;
        return service().parts().registry.list_sends(number, {}).value().sends.size();
    }
};

std::string handle_of(int i) {
    char text[65];
    std::snprintf(text, sizeof text, "%064X", i);
    return text;
}

}  // namespace

TEST_CASE("an expected audience is a count with a tolerance", "[hub]") {
    struct Row {
        std::string text;
        std::uint64_t least, most;
    };
    const std::vector<Row> good{
        {"1000", 1'000, 1'000},
        {" 1000 ", 1'000, 1'000},
        {"0", 0, 0},
        {"1000\xc2\xb1"
         "5%",
         950, 1'050},
        {"1000\xb1"
         "5%",
         950, 1'050},
        {"1000+-5%", 950, 1'050},
        {"1000+/-5%", 950, 1'050},
        {"1000 +- 2.5 %", 975, 1'025},
        {"1000+-0.125%", 999, 1'001},
        {"1000+-50", 950, 1'050},
        {"10+-50", 0, 60},
        {"10+-200%", 0, 30},
        {"10000000000+-100000%", 0, 10'010'000'000'000},
    };
    for (const Row& row : good) {
        INFO(row.text);
        const auto parsed = hub::parse_expected_audience(row.text);
        REQUIRE(hub::ok(parsed));
        CHECK(std::get<hub::ExpectedAudience>(parsed) ==
              hub::ExpectedAudience{row.least, row.most});
    }
    for (const std::string bad : {"", "many", "-5", "1000+5%", "1000+-", "1000+-%", "1000+-5%%",
                                  "1000+-1.5", "1e3", "1000+-1.%", "1000+-1.2345%", "10000000001",
                                  "1+-100001%", "99999999999999999999", "1000 5%"}) {
        INFO(bad);
        CHECK_FALSE(hub::ok(hub::parse_expected_audience(bad)));
    }
}

TEST_CASE("a ceiling names a hub and a count", "[hub]") {
    CHECK(hub::parse_ceiling("orders=100").value() ==
          std::pair<std::string, std::uint64_t>("orders", 100));
    for (const char* bad : {"", "orders", "=5", "orders=", "orders=x", "orders=5x", "gam es=5",
                            " orders=5", "orders =5", "orders=-1", "=orders=5", "a/b=5"})
        CHECK_FALSE(hub::parse_ceiling(bad));
    hub::Config config;
    config.audience_ceiling = 7;
    config.audience_ceilings = {"Orders=100", "free=0"};
    CHECK(hub::audience_ceiling(config, "orders") == 100);
    CHECK(hub::audience_ceiling(config, "free") == 0);
    CHECK(hub::audience_ceiling(config, "other") == 7);
}

TEST_CASE("the body of an audience request is read strictly", "[hub]") {
    const auto full = hub::parse_audience_request(
        R"({"tagExpression":"a && b","format":"Apple","explain":true,"sample":5,"max":10})");
    REQUIRE(hub::ok(full));
    const auto& read = std::get<hub::AudienceRequest>(full);
    CHECK(read.tag_expression == "a && b");
    CHECK(read.format == "apple");
    CHECK(read.explain);
    CHECK(read.sample == 5);
    CHECK(read.most == 10);
    CHECK(hub::ok(hub::parse_audience_request("{}")));
    for (const char* bad :
         {"", "[]", "7", R"({"tagExpression":7})", R"({"format":"smoke"})", R"({"explain":1})",
          R"({"sample":101})", R"({"sample":-1})", R"({"max":"10"})", R"({"maximum":10})"}) {
        INFO(bad);
        CHECK_FALSE(hub::ok(hub::parse_audience_request(bad)));
    }
}

TEST_CASE("audiences are counted as an oracle counts them", "[registry]") {
    const unsigned seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    const registry_test::TempDirectory directory;
    registry_test::Opened store(registry_test::options_in(directory.path()));
    const auto hub = store.hub("orders", 4);
    struct Known {
        std::string platform;
        std::set<std::string> tags;
        bool templated;
    };
    std::map<std::string, Known> known;
    const std::vector<std::string> platforms{"apns", "fcmv1"};
    for (int i = 0; i < 300; ++i) {
        std::vector<std::string> tags;
        for (const char* tag : {"a", "b", "c"}) {
            if (random() % 2 == 0) tags.emplace_back(tag);
        }
        auto value =
            registry_test::registration("7-" + std::to_string(i) + "-" + std::to_string(i % 4 + 1),
                                        "h" + std::to_string(i), tags);
        value.platform = platforms[random() % 2];
        if (random() % 3 == 0) {
            value.body.emplace();
            value.body->body = "{}";
        }
        known[value.id] = {value.platform, {tags.begin(), tags.end()}, value.body.has_value()};
        REQUIRE(store.put(hub, value).has_value());
    }
    struct Row {
        std::string expression;
        std::function<bool(const std::set<std::string>&)> holds;
    };
    const std::vector<Row> rows{
        {"", [](const auto&) { return true; }},
        {"a", [](const auto& t) { return t.contains("a"); }},
        {"!a", [](const auto& t) { return !t.contains("a"); }},
        {"a && !b", [](const auto& t) { return t.contains("a") && !t.contains("b"); }},
        {"a || b && !c",
         [](const auto& t) { return t.contains("a") || (t.contains("b") && !t.contains("c")); }},
        {"(a || !b) && c",
         [](const auto& t) { return (t.contains("a") || !t.contains("b")) && t.contains("c"); }},
        {"a && !a", [](const auto&) { return false; }},
    };
    using Kind = registry::Universe::Kind;
    for (const Row& row : rows) {
        for (const Kind kind : {Kind::any, Kind::native, Kind::templated}) {
            for (const bool only_apns : {false, true}) {
                registry::AudienceQuery query;
                query.plan = registry_test::plan_of(row.expression);
                query.universe.kind = kind;
                if (only_apns) query.universe.platforms = {"apns"};
                query.platforms = platforms;
                std::int64_t clock = 0;
                query.clock_ns = [&clock] { return clock += 1'000; };
                const auto audience = store->audience(hub, query).value();
                std::map<std::pair<std::string, bool>, std::uint64_t> expected;
                std::uint64_t total = 0;
                for (const auto& [id, device] : known) {
                    const bool in_universe =
                        (kind == Kind::any || device.templated == (kind == Kind::templated)) &&
                        (!only_apns || device.platform == "apns");
                    if (!in_universe || !row.holds(device.tags)) continue;
                    ++expected[{device.platform, device.templated}];
                    ++total;
                }
                INFO("'" << row.expression << "' kind " << static_cast<int>(kind));
                CHECK(audience.selection.count() == total);
                for (const auto& counted : audience.platforms) {
                    CHECK(counted.native == expected[{counted.platform, false}]);
                    CHECK(counted.templated == expected[{counted.platform, true}]);
                }
                REQUIRE(audience.nodes.size() == query.plan.nodes.size());
                std::int64_t spent = 0;
                for (std::size_t i = 0; i < audience.nodes.size(); ++i) {
                    spent += audience.nodes[i].spent_ns;
                    if (query.plan.nodes[i].op != tagexpr::Op::tag) continue;
                    std::uint64_t with_tag = 0;
                    for (const auto& [id, device] : known)
                        with_tag += device.tags.contains(query.plan.nodes[i].tag);
                    CHECK(audience.nodes[i].devices == with_tag);
                }
                CHECK(spent > 0);
                // The same devices as a send's.
                const auto sent = store->select(hub, query.plan, query.universe).value();
                for (std::size_t p = 0; p < sent.partitions.size(); ++p)
                    CHECK(sent.partitions[p] == audience.selection.partitions[p]);
            }
        }
    }
}

TEST_CASE("an audience is told by platform and kind, explained and sampled", "[hub]") {
    World world;
    for (int i = 0; i < 20; ++i) {
        world.install("i" + std::to_string(i), i % 2 == 0 ? "apns" : "fcmv1",
                      i % 2 == 0 ? handle_of(i) : "fcm" + std::to_string(i) + ":APA91bExample",
                      i % 4 == 0 ? Json::array({"a", "rare"}) : Json::array({"a"}),
                      i % 5 == 0 ? 2 : 0);
    }
    auto answer = world.audience({{"tagExpression", "a"}});
    INFO(answer.body);
    REQUIRE(answer.status == 200);
    auto body = Json::parse(answer.body);
    CHECK(body["audience"] == 28);
    CHECK(body["native"] == 20);
    CHECK(body["template"] == 8);
    CHECK(body["platforms"] == Json::parse(R"({"apns":{"native":10,"template":4},)"
                                           R"("fcmv1":{"native":10,"template":4}})"));
    CHECK_FALSE(body.contains("explain"));

    body = Json::parse(
        world.audience({{"tagExpression", "a && !rare"}, {"format", "apple"}, {"explain", true}})
            .body);
    CHECK(body["audience"] == 5);
    CHECK(body["explain"]["plan"] == "a && !rare");
    const auto& nodes = body["explain"]["nodes"];
    REQUIRE(nodes.size() == 4);
    CHECK(nodes[0]["tag"] == "a");
    CHECK(nodes[0]["devices"] == 28);
    CHECK(nodes[2]["op"] == "not");
    CHECK(nodes[3]["operands"] == Json::array({0, 2}));

    body = Json::parse(world.audience({{"format", "template"}, {"sample", 100}}).body);
    CHECK(body["audience"] == 8);
    REQUIRE(body["sample"].size() == 8);
    for (const auto& row : body["sample"]) {
        CHECK(row["kind"] == "template");
        CHECK(row.contains("installationId"));
        CHECK_FALSE(row.contains("handle"));
    }
    CHECK(Json::parse(world.audience({{"sample", 3}}).body)["sample"].size() == 3);
    CHECK(Json::parse(world.audience({{"tagExpression", "nobody"}, {"sample", 3}}).body)["sample"]
              .empty());

    answer = world.audience({{"tagExpression", "a"}, {"max", 27}});
    CHECK(answer.status == 409);
    body = Json::parse(answer.body);
    CHECK(body["code"] == "audience-over-max");
    CHECK(body["audience"] == 28);
    CHECK(world.audience({{"tagExpression", "a"}, {"max", 28}}).status == 200);
    answer = world.audience({{"tagExpression", "a &&"}});
    CHECK(answer.status == 400);
    CHECK(Json::parse(answer.body)["code"] == "tag-expression-invalid");
}

TEST_CASE("who may only listen may not count, list or erase", "[hub]") {
    World world;
    const auto state = world.service().parts().hubs.find("orders");
    const hub::Rule* listen = nullptr;
    for (const auto& rule : state->description.rules) {
        if (rule.listen && !rule.send) listen = &rule;
    }
    REQUIRE(listen != nullptr);
    const HeaderList headers{
        {"Authorization",
         hub::make_sas("https://localhost/orders", listen->name, listen->primary_key,
                       pns::system_clock().wall_ms() / 1'000 + 600)}};
    struct Row {
        const char *method, *path;
    };
    for (const Row& row : {Row{"POST", "/orders/audience"}, Row{"GET", "/orders/devices"},
                           Row{"DELETE", "/orders/users/u"}}) {
        const auto answer = world.client().request(row.method, row.path, headers, "{}");
        INFO(row.path);
        CHECK(answer.status == 403);
        CHECK(answer.header("content-type") == "application/problem+json");
        CHECK(Json::parse(answer.body)["code"] == "forbidden");
    }
    const auto unsigned_call = world.client().request("POST", "/orders/audience", {}, "{}");
    CHECK(unsigned_call.status == 401);
    CHECK(Json::parse(unsigned_call.body)["trackingId"] == unsigned_call.header("trackingid"));
    const auto nowhere =
        world.client().request("POST", "/nothing/audience", world.root_headers(), "{}");
    CHECK(nowhere.status == 404);
    CHECK(Json::parse(nowhere.body)["code"] == "not-found");
}

TEST_CASE("a send to another audience than expected is refused with the count", "[hub]") {
    hub::Config config;
    config.audience_ceilings = {"other=1"};
    World world(config);
    for (int i = 0; i < 10; ++i)
        world.install("i" + std::to_string(i), "apns", handle_of(i), Json::array({"a"}));
    const auto expect = [&](const std::string& text) {
        return world.send("/orders/messages", {{"PushHub-Expect-Audience", text}});
    };
    auto refused = expect("12+-10%");
    CHECK(refused.status == 409);
    CHECK(Json::parse(refused.body)["code"] == "audience-unexpected");
    CHECK(Json::parse(refused.body)["audience"] == 10);
    CHECK(expect("ten").status == 400);
    CHECK(world.sends() == 0);
    CHECK(expect("12+-20%").status == 201);
    CHECK(expect("10").status == 201);
    CHECK(world.sends() == 2);
    // A send that waits is held against the audience of now.
    const HeaderList later{{"ServiceBusNotification-ScheduleTime", support::just_now()},
                           {"PushHub-Expect-Audience", "11"}};
    CHECK(world.send("/orders/schedulednotifications", later).status == 409);
    CHECK(world.sends() == 2);
}

TEST_CASE("above the ceiling only an explicit broadcast goes out", "[hub]") {
    hub::Config config;
    config.audience_ceiling = 100;
    config.audience_ceilings = {"Orders=5"};
    World world(config);
    for (int i = 0; i < 6; ++i)
        world.install("i" + std::to_string(i), "apns", handle_of(i),
                      i == 0 ? Json::array({"a", "vip"}) : Json::array({"a"}));
    auto refused = world.send("/orders/messages", {});
    CHECK(refused.status == 409);
    CHECK(Json::parse(refused.body)["code"] == "audience-over-ceiling");
    CHECK(Json::parse(refused.body)["audience"] == 6);
    CHECK(world.send("/orders/messages", {{"ServiceBusNotification-Tags", "!vip"}}).status == 201);
    CHECK(world.send("/orders/messages", {{"PushHub-Allow", "everything"}}).status == 400);
    const HeaderList time{{"ServiceBusNotification-ScheduleTime", support::just_now()}};
    CHECK(world.send("/orders/schedulednotifications", time).status == 409);
    CHECK(world.sends() == 1);
    CHECK(world.send("/orders/messages", {{"PushHub-Allow", "Broadcast"}}).status == 201);
    HeaderList allowed = time;
    allowed.emplace_back("PushHub-Allow", "broadcast");
    CHECK(world.send("/orders/schedulednotifications", allowed).status == 201);
    CHECK(world.sends() == 3);
}
