// Pushes that belong to no send: broadcast channels and FCM topics over the wire; and HMS, the
// provider that was added last, through the whole hub.

#include <nlohmann/json.hpp>

#include "tests/support/world.hpp"

using nlohmann::json;
using support::World;

namespace {

const std::string update =
    R"({"aps":{"timestamp":1795200000,"event":"update","content-state":{"score":"2:1"}}})";

std::string escaped(std::string id) {
    std::string out;
    for (const char c : id) {
        if (c == '/')
            out += "%2F";
        else if (c == '+')
            out += "%2B";
        else if (c == '=')
            out += "%3D";
        else
            out += c;
    }
    return out;
}

std::string code_of(const support::ClientReply& reply) {
    const json body = json::parse(reply.body, nullptr, false);
    return body.is_object() ? body.value("code", "") : "no problem: " + reply.body;
}

}  // namespace

TEST_CASE("broadcast channels are managed and reached through the hub", "[hub]") {
    World world({}, {"apns"});
    auto made = world.call("POST", "/app/apns/channels", R"({"storage":"latest"})");
    INFO(made.body);
    REQUIRE(made.status == 201);
    const std::string id = json::parse(made.body).at("id");
    CHECK(json::parse(made.body).at("storage") == "latest");
    CHECK(std::string(made.header("location")).find("/app/apns/channels/") != std::string::npos);
    const std::string path = "/app/apns/channels/" + escaped(id);

    const auto list = world.call("GET", "/app/apns/channels");
    REQUIRE(list.status == 200);
    CHECK(json::parse(list.body).at("channels") == json::array({id}));
    const auto one = world.call("GET", path);
    REQUIRE(one.status == 200);
    CHECK(json::parse(one.body) == json({{"id", id}, {"storage", "latest"}}));

    const auto sent = world.call("POST", path + "/messages", update,
                                 {{"apns-priority", "5"}, {"apns-expiration", "1995286400"}});
    INFO(sent.body);
    REQUIRE(sent.status == 201);
    CHECK(json::parse(sent.body).at("outcome") == "Success");
    CHECK_FALSE(json::parse(sent.body).at("providerId").get<std::string>().empty());
    std::string body;
    REQUIRE(world.sim("apns").body_of("channel:" + id, body));
    CHECK(body == update);

    CHECK(code_of(world.call("POST", path + "/messages", R"({"aps":{}})")) == "invalid-message");
    CHECK(world.call("POST", path + "/messages", "{").status == 400);
    CHECK(world.call("POST", "/app/apns/channels", R"({"storage":"all"})").status == 400);
    CHECK(world.call("POST", "/app/apns/channels", R"({"policy":1})").status == 400);
    CHECK(code_of(world.call("GET", "/app/apns/channels/a%20b")) == "invalid-channel-id");

    CHECK(world.call("DELETE", path).status == 204);
    CHECK(code_of(world.call("GET", path)) == "unknown-target");
    CHECK(code_of(world.call("POST", path + "/messages", update)) == "unknown-target");
    CHECK(json::parse(world.call("GET", "/app/apns/channels").body).at("channels").empty());
    CHECK(world.sim("apns").counters().accepted == 1);
}

TEST_CASE("FCM topics and conditions are reached through the hub", "[hub]") {
    World world({}, {"fcmv1"});
    const std::string message = R"({"message":{"notification":{"title":"News"}}})";
    const auto topic = world.call("POST", "/app/fcmv1/messages?topic=news", message);
    INFO(topic.body);
    REQUIRE(topic.status == 201);
    CHECK(json::parse(topic.body).at("outcome") == "Success");
    const auto condition = world.call(
        "POST",
        "/app/fcmv1/messages?condition=%27a%27%20in%20topics%20%26%26%20%27b%27%20in%20topics",
        message);
    INFO(condition.body);
    REQUIRE(condition.status == 201);
    const auto dry =
        world.call("POST", "/app/fcmv1/messages?topic=news",
                   R"({"validate_only":true,"message":{"notification":{"title":"News"}}})");
    REQUIRE(dry.status == 201);
    CHECK(json::parse(dry.body).at("providerId") == "fake_message_id");

    for (const char* query : {"", "?topic=a&condition=%27a%27%20in%20topics",
                              "?topic=%2Ftopics%2Fa", "?condition=news"}) {
        INFO(query);
        CHECK(code_of(world.call("POST", std::string("/app/fcmv1/messages") + query, message)) ==
              "invalid-target");
    }
    CHECK(code_of(world.call("POST", "/app/fcmv1/messages?topic=", message)) == "bad-request");
    CHECK(code_of(world.call("POST", "/app/fcmv1/messages?topic=a",
                             R"({"message":{"token":"t"}})")) == "invalid-message");
    CHECK(code_of(world.call("POST", "/app/apns/channels")) == "no-credential");
}

TEST_CASE("an FCM registration may name a Firebase Installation ID", "[hub]") {
    World world({}, {"fcmv1"});
    world.install("one", "fcmv1", "fid:c4wzJ8pLRE6iXoM1Wf0e9A");
    world.install("two", "fcmv1", support::handle_of("fcmv1", 2));
    const auto refused =
        world.call("PUT", "/app/installations/three",
                   R"({"installationId":"three","platform":"fcmv1","pushChannel":"fid:"})");
    CHECK(refused.status == 400);
    const auto outcome =
        world.finish(world.send("fcmv1", "all", R"({"message":{"data":{"a":"b"}}})"));
    CHECK(outcome.state == "Completed");
    CHECK(world.sim("fcmv1").counters().accepted == 2);
}

TEST_CASE("HMS devices are registered, reached and pruned like all others", "[hub]") {
    World world({}, {"hms"});
    for (int i = 0; i < 20; ++i)
        world.install(support::id_of("hms", i), "hms", support::handle_of("hms", i));
    auto rules = pns::sim::read_rules({{"handles", {{support::handle_of("hms", 3), "gone"}}}},
                                      *pns::platform_by_name("hms"));
    REQUIRE(std::holds_alternative<pns::sim::Rules>(rules));
    world.sim("hms").set_rules(std::get<pns::sim::Rules>(std::move(rules)));
    const auto outcome = world.finish(world.send("hms", "all", R"({"message":{"data":"hello"}})"));
    CHECK(outcome.state == "Completed");
    CHECK(world.sim("hms").counters().accepted == 19);
    CHECK(world.expired(support::id_of("hms", 3)));
    CHECK_FALSE(world.expired(support::id_of("hms", 4)));

    // A template, rendered per device, and the form of ANH's registrations by its own pattern.
    world.install("templated", "hms", "templatedtoken",
                  R"("tags":["t"],"templates":{"main":{"body":)"
                  R"("{\"message\":{\"data\":\"$(text)\"}}"}})");
    CHECK(world.finish(world.send("template", "t", R"({"text":"hi"})")).state == "Completed");
    std::string body;
    REQUIRE(world.sim("hms").body_of("templatedtoken", body));
    CHECK(body == R"({"message":{"token":["templatedtoken"],"data":"hi"}})");

    const auto atom =
        world.call("POST", "/app/registrations",
                   R"(<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">)"
                   R"(<HmsRegistrationDescription )"
                   R"(xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">)"
                   R"(<Tags>x</Tags><HmsRegistrationId>atomtoken</HmsRegistrationId>)"
                   R"(</HmsRegistrationDescription></content></entry>)");
    INFO(atom.body);
    CHECK(atom.status == 200);
    CHECK(atom.body.find("<HmsRegistrationId>atomtoken</HmsRegistrationId>") != std::string::npos);
    const auto found =
        world.call("GET", "/app/registrations?$filter=HmsRegistrationId%20eq%20'atomtoken'");
    CHECK(found.status == 200);
    CHECK(found.body.find("atomtoken") != std::string::npos);
}
