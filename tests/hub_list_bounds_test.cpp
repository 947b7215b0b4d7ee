// What a list answers is bounded in bytes, whatever is stored and asked for.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "hub/http/responses.hpp"
#include "tests/support/hub_world.hpp"

namespace {

constexpr int devices = 60;
constexpr std::size_t page_bytes = 8u
                                   << 20;  // a mebibyte of texts, each of them five times as long

/// Registrations of one handle, each as large as a request may be; every other one of what CDATA
/// makes five times as much.
void register_devices(support::HubWorld& world) {
    std::string ends;
    while (ends.size() < 55'000) ends += "]]&gt;";
    for (int i = 0; i < devices; ++i) {
        const std::string text = i % 2 == 0 ? std::string(55'000, 'x') : ends;
        const auto answer = world.client().request(
            "POST", "/orders/registrations?api-version=2020-06", world.root_headers(),
            "<GcmTemplateRegistrationDescription><Tags>all,t" + std::to_string(i) +
                "</Tags><GcmRegistrationId>one</GcmRegistrationId><BodyTemplate>{\"a\":\"" + text +
                "\"}</BodyTemplate></GcmTemplateRegistrationDescription>");
        INFO(answer.body.substr(0, 500));
        REQUIRE(answer.status == 200);
    }
}

std::size_t entries_of(const std::string& feed, std::set<std::string>& ids) {
    std::size_t count = 0;
    const std::string open = "<RegistrationId>";
    for (auto at = feed.find(open); at != std::string::npos; at = feed.find(open, at + 1)) {
        const auto begin = at + open.size();
        ids.insert(feed.substr(begin, feed.find('<', begin) - begin));
        ++count;
    }
    return count;
}

}  // namespace

TEST_CASE("pages of registrations are bounded in bytes and lead to all", "[hub][bounds]") {
    support::HubWorld world;
    world.put_hub("orders");
    register_devices(world);
    // 8 KB of a query, which no address of an answer may repeat.
    const std::string noise = "&test=" + std::string(6'000, '"');
    for (const std::string list :
         {"/orders/registrations?api-version=2020-06&$top=1000",
          "/orders/tags/all/registrations?api-version=2020-06&$top=1000",
          "/orders/registrations?api-version=2020-06&$filter=GcmRegistrationId%20eq%20'one'"}) {
        INFO(list);
        std::set<std::string> ids;
        std::string token;
        std::size_t pages = 0, entries = 0;
        do {
            const auto answer = world.client().request(
                "GET", list + noise + (token.empty() ? "" : "&continuationtoken=" + token),
                world.root_headers());
            INFO(answer.body.substr(0, 500));
            REQUIRE(answer.status == 200);
            CHECK(answer.body.size() < page_bytes);
            CHECK(answer.body.find("&quot;&quot;") == std::string::npos);
            entries += entries_of(answer.body, ids);
            token = std::string(answer.header("x-ms-continuationtoken"));
        } while (!token.empty() && ++pages < 10);
        CHECK(pages >= 1);
        CHECK(entries == devices);
        CHECK(ids.size() == devices);
    }
}

TEST_CASE("pages of devices and of sends are bounded in bytes and lead to all", "[hub][bounds]") {
    support::HubWorld world;
    world.put_hub("orders");
    constexpr int installations = 40, sends = 100;
    auto client = world.client();
    for (int i = 0; i < installations; ++i) {
        const std::string id = "i" + std::to_string(i);
        nlohmann::json body{
            {"installationId", id},
            {"platform", "gcm"},
            {"pushChannel", "token-" + id},
            {"templates", {{"t", {{"body", R"({"a":")" + std::string(55'000, 'x') + R"("})"}}}}}};
        const auto answer =
            client.request("PUT", "/orders/installations/" + id, world.root_headers(), body.dump());
        INFO(answer.body);
        REQUIRE(answer.status == 200);
    }
    std::string expression = "t0";
    while (expression.size() < 16'000) expression += " || tag-that-nobody-has";
    for (int i = 0; i < sends; ++i) {
        auto headers = world.root_headers();
        headers.emplace_back("ServiceBusNotification-Format", "gcm");
        headers.emplace_back("ServiceBusNotification-Tags", expression);
        const auto answer = client.request("POST", "/orders/messages", headers, "{}");
        INFO(answer.body);
        REQUIRE(answer.status == 201);
    }
    struct List {
        std::string path, rows;
        std::size_t count;
    };
    for (const auto& [path, rows, count] :
         {List{"/orders/devices?top=1000", "devices", installations},
          List{"/orders/sends?top=100", "sends", sends}}) {
        INFO(path);
        std::set<std::string> ids;
        std::string token;
        std::size_t pages = 0;
        do {
            const auto answer =
                client.request("GET", path + (token.empty() ? "" : "&continuation=" + token),
                               world.root_headers());
            INFO(answer.body.substr(0, 500));
            REQUIRE(answer.status == 200);
            CHECK(answer.body.size() < 2u << 20);
            const auto page = nlohmann::json::parse(answer.body);
            for (const auto& row : page.at(rows))
                CHECK(ids.insert(row.at("id").get<std::string>()).second);
            token = page.value("continuation", "");
        } while (!token.empty() && ++pages < 10);
        CHECK(pages >= 1);
        CHECK(ids.size() == count);
    }
}

TEST_CASE("the feed of hubs is bounded in bytes and leads to all", "[hub][bounds]") {
    support::HubWorld world;
    constexpr std::size_t hubs = 200;
    std::string rules;
    for (int i = 0; i < 12; ++i) {
        rules += "<AuthorizationRule><KeyName>" + std::to_string(i) + std::string(250, 'k') +
                 "</KeyName><Rights><AccessRights>Listen</AccessRights></Rights></"
                 "AuthorizationRule>";
    }
    std::string metadata;  // as text five times as long as what it says
    for (int i = 0; i < 4'096; ++i) metadata += "&amp;";
    auto client = world.client();
    for (std::size_t i = 0; i < hubs; ++i) {
        const auto answer =
            client.request("PUT", "/hub" + std::to_string(i), world.root_headers(),
                           "<NotificationHubDescription><AuthorizationRules>" + rules +
                               "</AuthorizationRules><UserMetadata>" + metadata +
                               "</UserMetadata></NotificationHubDescription>");
        INFO(answer.body);
        REQUIRE(answer.status == 201);
    }
    for (const std::string path : {"/$Resources/NotificationHubs?$top=2147483647", "/?"}) {
        std::string token;
        std::size_t pages = 0, entries = 0;
        do {
            const auto answer =
                client.request("GET", path + (token.empty() ? "" : "&continuationtoken=" + token),
                               world.root_headers());
            INFO(answer.body.substr(0, 500));
            REQUIRE(answer.status == 200);
            CHECK(answer.body.size() < 5u << 20);
            for (auto at = answer.body.find("<entry"); at != std::string::npos;
                 at = answer.body.find("<entry", at + 1))
                ++entries;
            token = std::string(answer.header("x-ms-continuationtoken"));
            const bool linked = answer.body.find("rel=\"next\"") != std::string::npos;
            CHECK(linked == !token.empty());
        } while (!token.empty() && ++pages < 10);
        CHECK(pages >= 1);
        CHECK(entries == hubs);
    }
    const auto page = client.request("GET", "/?$top=3&$skip=1", world.root_headers());
    REQUIRE(page.status == 200);
    CHECK(page.body.find(">hub0<") == std::string::npos);
    const auto next = client.request(
        "GET", "/?$top=1&continuationtoken=" + std::string(page.header("x-ms-continuationtoken")),
        world.root_headers());
    CHECK(next.body.find(">hub101<") != std::string::npos);
    CHECK(client.request("GET", "/?continuationtoken=abc", world.root_headers()).status == 400);
}

TEST_CASE("addresses in answers repeat the version of a query and nothing else", "[hub][bounds]") {
    hub::Request request;
    request.query = {{"x", "y"}, {"api-version", "2020-06"}};
    CHECK(hub::version_query(request) == "api-version=2020-06");
    request.query = {{"x", "y"}};
    CHECK(hub::version_query(request).empty());
    for (const std::string& bad : {std::string(33, '1'), std::string("a&b"), std::string("\"")}) {
        request.query = {{"api-version", bad}};
        CHECK(hub::version_query(request).empty());
    }
}

TEST_CASE("a rule of a hub cannot have the name of the namespace's own", "[hub]") {
    support::HubWorld world;
    const auto put = [&](const std::string& name) {
        return world.client().request(
            "PUT", "/orders", world.root_headers(),
            "<NotificationHubDescription><AuthorizationRules><AuthorizationRule><KeyName>" + name +
                "</KeyName><Rights><AccessRights>Listen</AccessRights></Rights>"
                "</AuthorizationRule></AuthorizationRules></NotificationHubDescription>");
    };
    const auto refused = put("RootManageSharedAccessKey");
    CHECK(refused.status == 400);
    CHECK(refused.body.find("that of the namespace") != std::string::npos);
    CHECK(put("Listeners").status == 201);
}
