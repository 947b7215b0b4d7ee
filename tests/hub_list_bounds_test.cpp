// What a list answers is bounded in bytes, whatever is stored and asked for.
#include <catch2/catch.hpp>
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
