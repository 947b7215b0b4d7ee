// Changes of hubs and installations by many clients at once, black box over TLS.

#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "hub/api/parts.hpp"
#include "hub/device/hubs.hpp"
#include "tests/support/hub_entry.hpp"
#include "tests/support/world.hpp"

namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

std::string rule_xml(const std::string& key) {
    return "<AuthorizationRules><AuthorizationRule "
           "i:type=\"SharedAccessAuthorizationRule\"><Rights>"
           "<AccessRights>Send</AccessRights></Rights><KeyName>sender</KeyName><PrimaryKey>" +
           key + "</PrimaryKey></AuthorizationRule></AuthorizationRules>";
}

std::string description(const std::string& children) {
    return support::hub_entry(children);
}

/// Runs `job` for 0..count-1, each on a thread and with a client of its own, all at once.
void together(support::World& world, int count,
              const std::function<void(hub::HubClient&, int)>& job) {
    std::atomic<int> waiting = count;
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i) {
        threads.emplace_back([&, i] {
            hub::HubClient client(world.service().connection_string(),
                                  world.service().ca_file().string());
            hub::ClientRequest first;
            first.path = "/healthz";
            client.call(first);
            --waiting;
            if (support::comes_true([&] { return waiting == 0; })) job(client, i);
        });
    }
    for (auto& thread : threads) thread.join();
}

hub::ClientReply put(hub::HubClient& client, const std::string& body, const std::string& match) {
    hub::ClientRequest request;
    request.method = "PUT";
    request.path = "/app";
    request.body = body;
    if (!match.empty()) request.headers.emplace_back("if-match", match);
    return client.call(request);
}

}  // namespace

TEST_CASE("whoever changes a hub at the same time, memory has what the disk has", "[hub]") {
    support::World world({}, {});
    for (int round = 0; round < 12; ++round) {
        INFO("round " << round);
        const std::string fresh = "key-of-round-" + std::to_string(round);
        std::atomic<int> other_answers = 0;
        together(world, 6, [&](hub::HubClient& client, int i) {
            // One brings a new key; what the others leave out stays as it is on disk.
            for (int turn = 0; turn < 4; ++turn) {
                const bool rotates = i == 0 && turn == 1;
                const std::string other =
                    "<UserMetadata>" + std::to_string(10 * i + turn) + "</UserMetadata>";
                const auto reply = put(client, description(rotates ? rule_xml(fresh) : other), "*");
                if (reply.status != 200) ++other_answers;
            }
        });
        CHECK(other_answers == 0);
        const auto memory = world.parts().hubs.find("app");
        REQUIRE(memory);
        const auto disk = world.parts().registry.hubs();
        REQUIRE(disk.size() == 1);
        CHECK(memory->row.etag == disk.front().etag);
        CHECK(hub::hub_description_json(memory->description) == disk.front().description);
        REQUIRE(memory->description.rules.size() == 1);
        CHECK(memory->description.rules.front().primary_key == fresh);
    }
    // One of those that create or delete at the same time does it, and both places agree.
    for (int round = 0; round < 6; ++round) {
        std::atomic<int> made = 0, removed = 0, others = 0;
        together(world, 6, [&](hub::HubClient& client, int i) {
            hub::ClientRequest request;
            request.method = i % 2 == 0 ? "PUT" : "DELETE";
            request.path = "/App2";
            if (i % 2 == 0) request.body = description("");
            const int status = client.call(request).status;
            if (status == 201) ++made;
            if (status == 200) ++removed;
            if (status != 201 && status != 200 && status != 409 && status != 404) ++others;
        });
        CHECK(others == 0);
        const bool in_memory = world.parts().hubs.find("app2") != nullptr;
        CHECK(in_memory == (world.parts().registry.hubs().size() == 2));
        CHECK(made - removed == (in_memory ? 1 : 0));
        if (in_memory) CHECK(world.call("DELETE", "/app2").status == 200);
    }
}

TEST_CASE("a hub is changed and deleted only under the ETag that If-Match names", "[hub]") {
    support::World world({}, {});
    const auto change = [&](const std::string& match) {
        return world.call("PUT", "/app", description(""), {{"if-match", match}});
    };
    CHECK(change("*").status == 200);
    const auto second = change("W/\"2\"");
    CHECK(second.status == 200);
    CHECK(second.header("etag") == "W/\"3\"");
    for (const char* other : {"W/\"999\"", "\"2\"", "4", "0"}) CHECK(change(other).status == 412);
    CHECK(change("yesterday").status == 400);
    CHECK(world.call("GET", "/app").header("etag") == "W/\"3\"");
    CHECK(world.call("DELETE", "/app", "", {{"if-match", "W/\"2\""}}).status == 412);
    CHECK(world.call("PUT", "/none", description(""), {{"if-match", "*"}}).status == 404);
    CHECK(world.call("PUT", "/app", description("")).status == 409);
    CHECK(world.call("DELETE", "/app", "", {{"if-match", "\"3\""}}).status == 200);
    CHECK(world.call("GET", "/app").status == 404);
}

TEST_CASE("a hundred patches of one installation at once all arrive", "[hub]") {
    support::World world({}, {});
    world.install("phone", "apns", support::handle_of("apns", 1), R"("tags":["old"])");
    constexpr int clients = 4, each = 25;
    std::atomic<int> refused = 0;
    together(world, clients, [&](hub::HubClient& client, int i) {
        int asked = 0;
        client.call_many(
            [&](hub::ClientRequest& request) {
                if (asked == each) return false;
                const std::string tag = "t" + std::to_string(i * each + asked++);
                request.method = "PATCH";
                request.path = "/app/installations/phone";
                request.body = R"([{"op":"add","path":"/tags","value":")" + tag + R"("}])";
                return true;
            },
            [&](const hub::ClientRequest&, const hub::ClientReply& reply) {
                if (reply.status != 200) ++refused;
            });
    });
    CHECK(refused == 0);
    const auto found =
        world.parts().registry.installation(world.parts().hubs.find("app")->row.number, "phone");
    REQUIRE(found.has_value());
    CHECK(found->tags.size() == clients * each + 1);
    world.check_registry();
}

TEST_CASE("what cannot be sent is kept, and its pushes end with the reason", "[hub]") {
    hub::Config config;
    config.lanes = 1;
    support::World world(config, {"apns", "wns"});
    world.install(
        "phone", "apns", support::handle_of("apns", 1),
        R"("tags":["phones"],"templates":{"good":{"body":"{\"aps\":{\"alert\":\"$(m)\"}}"},)"
        R"("bad":{"body":"<toast/>"}})");
    CHECK_THAT(world.call("GET", "/app/installations/phone").body,
               Catch::Matchers::Contains("unsendable"));
    const auto sent = world.finish(world.send("template", "phones", R"({"m":"x"})"));
    CHECK(sent.devices("Success") == 1);
    CHECK(sent.devices("InvalidNotificationFormat") == 1);
    CHECK(world.sim("apns").counters().accepted == 1);

    // Channels of any host are registered; pushes go to the vendor's alone.
    world.install("pc", "wns", "https://some.url/a", R"("tags":["pcs"])");
    world.install("old-pc", "wns", "http://db3.notify.windows.com/?token=old", R"("tags":["pcs"])");
    const std::string atom =
        R"(<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">)"
        R"(<WindowsRegistrationDescription )"
        R"(xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">)"
        R"(<Tags>pcs</Tags><ChannelUri>https://127.evil.test:9/b</ChannelUri>)"
        R"(</WindowsRegistrationDescription></content></entry>)";
    CHECK(world.call("POST", "/app/registrations", atom).status == 200);
    const auto pcs = world.finish(world.send("windows", "pcs", "<toast/>"));
    CHECK(pcs.devices("BadChannel") == 2);
    CHECK(pcs.devices("Success") == 1);
    CHECK(world.sim("wns").counters().received == 1);
    CHECK_FALSE(world.expired("pc"));

    world.stop();
    world.config().strict_templates = true;
    world.start();
    const auto refused = world.call(
        "PUT", "/app/installations/other",
        R"({"installationId":"other","platform":"apns","pushChannel":"AA","templates":{"bad":{"body":"<a/>"}}})");
    CHECK(refused.status == 400);
    CHECK_THAT(refused.body, Catch::Matchers::Contains("'bad' is invalid"));
    world.check_registry();
}

TEST_CASE("credentials of a hub are complete, whatever the case of their names", "[hub]") {
    support::World world({}, {"adm"});
    const auto change = [&](const std::string& credential) {
        return world.call("PUT", "/app", description(credential), {{"if-match", "*"}});
    };
    const auto property = [](const std::string& name, const std::string& value) {
        return "<Property><Name>" + name + "</Name><Value>" + value + "</Value></Property>";
    };
    const auto adm = [&](const std::string& properties) {
        return "<AdmCredential><Properties>" + properties + "</Properties></AdmCredential>";
    };
    const auto taken =
        change(adm(property("clientId", "client-1") + property("clientsecret", "secret-1")));
    CHECK(taken.status == 200);
    CHECK_THAT(taken.body, Catch::Matchers::Contains("<Name>ClientId</Name><Value>client-1<"));
    CHECK(world.parts().hubs.find("app")->description.credentials.at("adm").size() == 2);
    for (const auto& [body, named] : std::vector<std::pair<std::string, std::string>>{
             {adm(property("ClientId", "client-1")), "AdmCredential: "},
             {adm(property("ClientId", "client-1")), "ClientSecret"},
             {adm(""), "ClientId"},
             {adm(property("client_id", "x")), "'client_id' of AdmCredential is unknown"},
             {"<GcmCredential><Properties/></GcmCredential>", "GoogleApiKey"},
             {"<BaiduCredential/>", "BaiduApiKey"},
             {"<XiaomiCredential/>", "AppSecret"},
             {"<NokiaXCredential>x</NokiaXCredential>", "'NokiaXCredential'"}}) {
        const auto refused = change(body);
        INFO(body);
        CHECK(refused.status == 400);
        CHECK_THAT(refused.body, Catch::Matchers::Contains(named));
    }
    const auto kept = change("<XiaomiCredential><Properties>" + property("appSecret", "s") +
                             "</Properties></XiaomiCredential><MpnsCredential/>");
    CHECK(kept.status == 200);
    CHECK_THAT(kept.body, Catch::Matchers::Contains("<Name>AppSecret</Name><Value>s<"));
}
