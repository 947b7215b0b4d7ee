// What back ends write on the wire besides what they mean to: lists that were empty, typos,
// encodings and forms of other clients. Each is done as it was meant or refused with the reason.

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "hub/access/sas.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/send/send_request.hpp"
#include "hub/text/times.hpp"
#include "pns/http_date.hpp"
#include "tests/support/hub_world.hpp"
#include "tests/support/just_now.hpp"
#include "tests/support/world.hpp"

using support::apple_body;
using support::handle_of;
using support::World;

namespace {

using HeaderPairs = std::vector<std::pair<std::string, std::string>>;

const std::pair<std::string, std::string> apple{"servicebusnotification-format", "apple"};
const std::string tags_header = "servicebusnotification-tags";

HeaderPairs with(HeaderPairs more) {
    more.insert(more.begin(), apple);
    return more;
}

std::uint64_t sends(World& world) {
    return nlohmann::json::parse(world.call("GET", "/app/sends").body)["sends"].size();
}

void refused(const hub::ClientReply& reply, const std::string& why) {
    INFO(reply.body);
    CHECK(reply.status == 400);
    CHECK(reply.body.find(why) != std::string::npos);
    CHECK(reply.body.find("..") == std::string::npos);
}

std::string utf16(const std::string& ascii, bool mark) {
    std::string out = mark ? "\xFF\xFE" : "";
    for (const char c : ascii) {
        out += c;
        out += '\0';
    }
    return out;
}

std::string part_of(const std::string& name, const std::string& content) {
    return "--b\r\nContent-Disposition: inline; name=" + name + "\r\n\r\n" + content + "\r\n";
}

}  // namespace

TEST_CASE("only an absent header of tags is a broadcast", "[hub]") {
    World world({}, {"apns"});
    world.install("one", "apns", handle_of("apns", 1));
    const auto send = [&](const HeaderPairs& headers, const std::string& query = "") {
        return world.call("POST", "/app/messages" + query, apple_body, with(headers));
    };
    for (const std::string blank : {"", " ", " \t "}) {
        hub::Request request;
        request.headers.emplace_back(tags_header, blank);
        CHECK_FALSE(hub::ok(hub::read_tag_expression(request)));
    }
    CHECK(std::get<std::string>(hub::read_tag_expression({})).empty());
    refused(send({{tags_header, ""}}), "ServiceBusNotification-Tags is blank");
    refused(send({{tags_header, ""}}, "?test"), "ServiceBusNotification-Tags is blank");
    refused(world.call("POST", "/app/schedulednotifications", apple_body,
                       with({{"servicebusnotification-scheduletime", support::just_now()},
                             {tags_header, ""}})),
            "ServiceBusNotification-Tags is blank");
    refused(send({{tags_header, "a"}, {tags_header, "b"}}),
            "servicebusnotification-tags is there twice");
    refused(send({{"servicebusnotification-format", "template"}}),
            "servicebusnotification-format is there twice");
    refused(send({{tags_header, "a\xC2\xA0&& b"}}), "column 2");
    refused(world.call("POST", "/app/audience", R"({"tagExpression":""})"),
            "tagExpression is blank");
    refused(world.call("POST", "/app/audience", R"({"tagExpression":" "})"),
            "tagExpression is blank");
    CHECK(world.call("POST", "/app/audience", R"({"tagExpression":null})").status == 200);
    refused(world.call("GET", "/app/devices?tag="), "'tag' is blank");
    refused(world.call("GET", "/app/registrations?$filter="), "$filter is blank");
    refused(world.call("GET", "/app/registrations?%24filter=+"), "$filter is blank");
    refused(world.call("GET", "/app/tags/%20/registrations"), "tag in the path is blank");
    CHECK(sends(world) == 0);
    CHECK(send({}).status == 201);
    CHECK(sends(world) == 1);
}

TEST_CASE("a handle without direct, and a flag that says false, send to nobody by mistake",
          "[hub]") {
    World world({}, {"apns"});
    world.install("one", "apns", handle_of("apns", 1));
    const HeaderPairs handle{{"servicebusnotification-devicehandle", handle_of("apns", 7)}};
    const auto send = [&](const std::string& query, const HeaderPairs& headers) {
        return world.call("POST", "/app/messages" + query, apple_body, with(headers));
    };
    refused(send("", handle), "add ?direct");
    refused(send("?direct=false", handle), "add ?direct");
    refused(send("?direct=0", handle), "direct=true");
    refused(send("?direct&direct=false", handle), "direct=true");
    refused(send("?test=maybe", {}), "test=true");
    refused(
        world.call("POST", "/app/schedulednotifications", apple_body,
                   with({handle[0], {"servicebusnotification-scheduletime", support::just_now()}})),
        "cannot be scheduled");
    CHECK(sends(world) == 0);
    CHECK(send("?direct", handle).status == 201);
    CHECK(send("?direct=true", handle).status == 201);
    const auto plain = send("?direct=false&test=False", {});
    CHECK(plain.status == 201);
    CHECK(plain.body.empty());  // no test send
    CHECK(send("?test=true", {}).body.find("NotificationOutcome") != std::string::npos);
}

TEST_CASE("a guard that is blank, misspelt or out of place sends to nobody", "[hub]") {
    World world({}, {"apns"});
    world.install("one", "apns", handle_of("apns", 1));
    const auto send = [&](const HeaderPairs& headers, const std::string& path = "/app/messages") {
        return world.call("POST", path, apple_body, with(headers));
    };
    for (const std::string name : {"pushhub-canary", "pushhub-expect-audience", "pushhub-rate",
                                   "pushhub-deadline", "pushhub-delivery", "pushhub-allow"}) {
        refused(send({{name, ""}}), "The header " + name + " is blank");
        refused(world.call("POST", "/app/sends/x/resume", {}, {{name, "1"}}),
                name + " steers a send, and this request is none");
    }
    refused(send({{"pushhub-allow", "broadcast"}, {"pushhub-allow", "broadcast"}}),
            "pushhub-allow is there twice");
    for (const std::string path :
         {"/app/messages", "/app/messages/$batch?direct", "/app/schedulednotifications",
          "/app/fcmv1/messages?topic=t", "/app/registrationids", "/app/audience"}) {
        INFO(path);
        refused(send({{"pushhub-expected-audience", "1"}}, path),
                "pushhub-expected-audience is not known. There are pushhub-allow, pushhub-canary");
    }
    refused(world.call("GET", "/app/sends", {}, {{"pushhub-foo", "1"}}), "pushhub-foo");
    refused(world.call("GET", "/app", {}, {{"pushhub-foo", "1"}}), "pushhub-foo");
    const auto key = send({{"idempotency-key", ""}});
    refused(key, "idempotency-key-invalid");
    const HeaderPairs soon{{"servicebusnotification-scheduletime", support::just_now()}};
    refused(send(soon, "/app/schedulednotifications?test"), "cannot be a test");
    CHECK(sends(world) == 0);
    CHECK(send(soon, "/app/schedulednotifications?test=false").status == 201);
    CHECK(world.call("GET", "/healthz", {}, {{"pushhub-foo", "1"}}).status == 200);
}

TEST_CASE("If-Match that is blank or there twice changes nothing", "[hub]") {
    World world({}, {"apns"});
    world.install("one", "apns", handle_of("apns", 1));
    const auto with_matches = [&](const std::string& method, const std::string& path,
                                  const std::vector<std::string>& values) {
        HeaderPairs headers;
        for (const std::string& value : values) headers.emplace_back("if-match", value);
        return world.call(method, path, {}, headers);
    };
    for (const std::string path : {"/app", "/app/registrations/1-2-3"}) {
        INFO(path);
        for (const std::string blank : {"", "\"\""})
            refused(with_matches("DELETE", path, {blank}), "If-Match must be");
        refused(with_matches("DELETE", path, {"*", "W/\"77\""}), "If-Match is there twice");
    }
    CHECK(world.call("GET", "/app").status == 200);
}

TEST_CASE("a token goes on with its own list only", "[hub]") {
    World world({}, {"apns"});
    hub::create_hub(world.client(), "other", {});
    for (int i = 1; i <= 3; ++i)
        world.install("i" + std::to_string(i), "apns",
                      handle_of("apns", static_cast<std::uint32_t>(i)));
    for (int i = 0; i < 3; ++i) world.send("apple", "all", apple_body);
    const auto field = [](const hub::ClientReply& reply) {
        INFO(reply.body);
        REQUIRE(reply.status == 200);
        return nlohmann::json::parse(reply.body).at("continuation").get<std::string>();
    };
    struct List {
        std::string path, name, filter;
        std::string token;
    };
    const std::vector<List> lists{
        {"/registrations?$top=1",
         "continuationtoken",
         {},
         std::string(
             world.call("GET", "/app/registrations?$top=1").header("x-ms-continuationtoken"))},
        {"/devices?top=1", "continuation", "tag=all",
         field(world.call("GET", "/app/devices?top=1"))},
        {"/sends?top=1", "continuation", "format=apple",
         field(world.call("GET", "/app/sends?top=1"))}};
    for (const List& list : lists) {
        INFO(list.path);
        const std::string next = list.path + "&" + list.name + "=" + list.token;
        CHECK(world.call("GET", "/app" + next).status == 200);
        refused(world.call("GET", "/other" + next), "continuation");
        if (!list.filter.empty())
            refused(world.call("GET", "/app" + next + "&" + list.filter), "continuation");
    }
}

TEST_CASE("a filter without a value, or with one that there is not, is refused", "[hub]") {
    World world({}, {"apns"});
    refused(world.call("GET", "/app/sends?format=appel"), "'appel' is not known");
    CHECK(world.call("GET", "/app/sends?format=Apple").status == 200);
    CHECK(world.call("GET", "/app/sends?format=template").status == 200);
    for (const std::string name :
         {"sends?state", "sends?from", "sends?to", "sends?top", "sends?format", "devices?handle",
          "devices?platform", "sends/x/devices?outcome", "retirements?handle"}) {
        for (const std::string value : {"", "=", "=%20"})
            refused(world.call("GET", "/app/" + name + value), " is blank");
    }
    CHECK(world.call("GET", "/app/sends?continuation=").status == 200);
}

TEST_CASE("routes know their parameters", "[hub]") {
    World world({}, {"apns"});
    refused(world.call("POST", "/app/retirements/held/release?platfrom=apns"),
            "There are these: platform");
    refused(world.call("POST", "/app/sends/x/pause?top=1"), "There are none");
    refused(world.call("POST", "/app/audience?format=apple", "{}"), "'format' is not known");
    refused(world.call("GET", "/app/sends?staet=Held"), "'staet'");
    refused(world.call("GET", "/app/devices?tag=a&tag=b"), "'tag' is there twice");
    CHECK(world.call("GET", "/app/sends?api-version=2020-06&Top=5").status == 200);
    refused(world.call("GET", "/app/registrations?api-version=2020-06&$tpo=1"),
            "There are these: $filter, $top, $skip, continuationtoken");
    refused(world.call("GET", "/app/registrations?$top=1&$top=2"), "'$top' is there twice");
    refused(world.call("POST", "/app/messages?drect", apple_body), "'drect' is not known");
    refused(world.call("POST", "/app/messages?direct&delay=5", apple_body), "'delay'");
    refused(world.call("PUT", "/app/installations/i1?tags=a", "{}"), "There are none");
    refused(world.call("GET", "/app/jobs?$skip=1"), "'$skip' is not known");
    refused(world.call("GET", "/?$filter=a"), "'$filter' is not known");
    for (const std::string path :
         {"/app/registrations?continuationtoken=garbage", "/app/sends?continuation=garbage",
          "/app/registrations?continuationtoken=Z2FyYmFnZQ%3D%3D",
          "/app/sends?continuation=NH-2026", "/app/devices?continuation=aWE",
          "/app/retirements?handle=a&continuation=00ff",
          "/app/devices/x/pushes?continuation=garbage"}) {
        INFO(path);
        CHECK(world.call("GET", path).status == 400);
    }
}

TEST_CASE("what clients of Azure append to addresses is taken", "[hub]") {
    World world({}, {"apns"});
    world.install("i1", "apns", handle_of("apns", 1));
    // .NET with EnableTestSend; Java; azure-sb; old mobile SDKs; a second version.
    for (const std::string path :
         {"/app/registrations?api-version=2020-06&test", "/app/tags/all/registrations?test&$top=5",
          "/app/installations/i1?api-version=2020-06&test", "/app/jobs?api-version=2020-06&test",
          "/app/feedbackcontainer?test=true", "/app?api-version=2014-09",
          "/$Resources/NotificationHubs/?api-version=2014-09&$skip=0&$top=2147483647", "/",
          "/app/registrations?api-version=2016-07&%24top=1&%24skip=0",
          "/app/Registrations/?$filter=deviceToken+eq+'AA'&api-version=2013-04",
          "/app/registrations?ContinuationToken=&API-Version=2020-06&api-version=2015-01"}) {
        INFO(path);
        CHECK(world.call("GET", path).status == 200);
    }
    CHECK(world.call("GET", "/healthz?at=1&anything").status == 200);
}

TEST_CASE("pages of registrations follow each other by their tokens", "[hub]") {
    World world({}, {"apns"});
    for (int i = 0; i < 5; ++i)
        world.install("i" + std::to_string(i), "apns", handle_of("apns", i));
    std::size_t rows = 0, pages = 0;
    std::string token;
    do {
        const auto page =
            world.call("GET", "/app/tags/all/registrations?%24top=2" +
                                  (token.empty() ? "" : "&continuationtoken=" + token));
        REQUIRE(page.status == 200);
        for (auto at = page.body.find("<entry"); at != std::string::npos;
             at = page.body.find("<entry", at + 1))
            ++rows;
        token = page.header("x-ms-continuationtoken");
        REQUIRE(++pages < 5);
        // A token is of one list.
        if (!token.empty())
            CHECK(world.call("GET", "/app/registrations?continuationtoken=" + token).status == 400);
    } while (!token.empty());
    CHECK(rows == 5);
}

TEST_CASE("times long past are refused, times as languages print them are taken", "[hub]") {
    World world({}, {"apns"});
    const auto put = [&](const std::string& time) {
        return world.call("PUT", "/app/installations/one",
                          R"({"installationId":"one","platform":"apns","pushChannel":")" +
                              handle_of("apns", 1) + R"(","expirationTime":")" + time + "\"}");
    };
    refused(put("0001-01-01T00:00:00"), "0001-01-01T00:00:00.000Z is more than a day past");
    refused(put("2020-05-05T00:00:00Z"), "more than a day past");
    CHECK(put("2099-01-01T00:00:00.1234567Z").status == 200);
    world.check_registry();
    CHECK(world.call("GET", "/app/installations/one").body.find("2099-01-01T00:00:00.1234567Z") !=
          std::string::npos);
    refused(
        world.call("PATCH", "/app/installations/one",
                   R"([{"op":"replace","path":"/expirationTime","value":"0001-01-01T00:00:00"}])"),
        "more than a day past");
    const auto now = pns::system_clock().wall_ms();
    const auto schedule = [&](const std::string& time) {
        return world.call("POST", "/app/schedulednotifications", apple_body,
                          with({{"servicebusnotification-scheduletime", time}}));
    };
    refused(schedule("0001-01-01T00:00:00"), "more than a day past");
    CHECK(schedule(pns::http_date(now + 3'600'000)).status == 201);
    CHECK(schedule(hub::error_stamp(now + 3'600'000)).status == 201);  // 11/21/2026 1:00:00 PM
}

TEST_CASE("JSON is read with a byte order mark and in UTF-16", "[hub]") {
    World world({}, {"apns", "fcmv1"});
    const std::string body = R"({"installationId":"one","platform":"apns","pushChannel":")" +
                             handle_of("apns", 1) + R"("})";
    for (const std::string& text : {"\xEF\xBB\xBF" + body, utf16(body, true), utf16(body, false)})
        CHECK(world.call("PUT", "/app/installations/one", text).status == 200);
    CHECK(world.call("POST", "/app/audience", utf16(R"({"explain":true})", true)).status == 200);
    for (const std::string& text :
         {"\xEF\xBB\xBF" + apple_body, utf16(apple_body, true), utf16(apple_body, false)}) {
        const auto told = world.finish(world.send("apple", "", text));
        CHECK(told.devices("Success") == 1);
    }
    refused(world.call("POST", "/app/messages", utf16(apple_body, true) + "x", with({})), "JSON");
    world.install("two", "fcmv1", handle_of("fcmv1", 2));
    const auto told = world.finish(
        world.send("fcmv1", "all", R"({"message":{"data":null,"notification":{"title":"x"}}})"));
    CHECK(told.devices("Success") == 1);
    refused(world.call("POST", "/app/messages", R"({"badge":1e400})",
                       {{"servicebusnotification-format", "template"}}),
            "a number that is too large");
}

TEST_CASE("bodies that are not what they seem are refused", "[hub]") {
    World world({}, {"apns", "wns"});
    const auto windows = [&](const std::string& body, HeaderPairs headers) {
        headers.emplace_back("servicebusnotification-format", "windows");
        return world.call("POST", "/app/messages", body, std::move(headers));
    };
    refused(windows("<toast/>garbage", {{"x-wns-type", "wns/toast"}}), "text outside");
    refused(windows("<toast/><toast/>", {{"x-wns-type", "wns/toast"}}), "2 root elements");
    refused(
        windows("<x/>", {{"x-wns-type", "wns/raw"}, {"content-type", "text/xml; charset=utf-8"}}),
        "application/octet-stream");
    CHECK(
        windows("<x/>y", {{"x-wns-type", "wns/raw"}, {"content-type", "application/octet-stream"}})
            .status == 201);
    const HeaderPairs phone{{"servicebusnotification-format", "windowsphone"}};
    HeaderPairs toast = phone;
    toast.emplace_back("x-windowsphone-target", "toast");
    refused(world.call("POST", "/app/messages", "<a/><b/>", toast), "2 root elements");
    CHECK(world.call("POST", "/app/messages", "raw text", phone).status == 201);
    const auto coded = [&](const std::string& coding) {
        return world.call("POST", "/app/messages", apple_body,
                          with({{"content-encoding", coding}}));
    };
    CHECK(world
              .call("POST", "/app/messages", apple_body,
                    with({{"content-encoding", "identity"}, {"content-encoding", "gzip"}}))
              .status == 415);
    for (const std::string coding : {"gzip", "x-GZIP", "identity, br", "snappy"}) {
        const auto zipped = coded(coding);
        CHECK(zipped.status == 415);
        CHECK(zipped.header("accept-encoding") == "identity");
        CHECK(zipped.body.find("is not understood") != std::string::npos);
    }
    for (const std::string no_coding : {"identity", "utf-8", ""})  // the Java SDK's is utf-8
        CHECK(coded(no_coding).status == 201);
    const auto batch = world.call("POST", "/app/messages/$batch?direct",
                                  part_of("notification", apple_body) +
                                      part_of("devices", "[\"" + handle_of("apns", 3) + "\"]"),
                                  with({{"content-type", "multipart/mixed; boundary=b"}}));
    INFO(batch.body);
    CHECK(batch.status == 201);
}

TEST_CASE("an answer repeats the spelling of the path, a list of hubs is paged", "[hub]") {
    World world({}, {"apns"});
    const auto location = [&](const std::string& path, const HeaderPairs& headers) {
        const auto reply = world.call("POST", path, apple_body, headers);
        INFO(path << reply.body);
        CHECK(reply.status == 201);
        return std::string(reply.header("location"));
    };
    CHECK(location("/App/Messages/", with({})).find("/App/Messages/NH-") != std::string::npos);
    CHECK(location("/APP/registrationIDs", {}).find("/APP/registrationIDs/") != std::string::npos);
    CHECK(location("/app/ScheduledNotifications",
                   with({{"servicebusnotification-scheduletime", support::just_now()}}))
              .find("/app/ScheduledNotifications/NH-") != std::string::npos);

    hub::create_hub(world.client(), "b", world.credentials());
    hub::create_hub(world.client(), "c", world.credentials());
    const auto titles = [&](const std::string& query) {
        const auto reply = world.call("GET", "/" + query);
        std::string names;
        for (const char* name : {"app", "b", "c"})
            if (reply.body.find("<title type=\"text\">" + std::string(name) + "<") !=
                std::string::npos)
                names += name;
        return std::to_string(reply.status) + " " + names;
    };
    CHECK(titles("") == "200 appbc");
    CHECK(titles("?$top=2") == "200 appb");
    CHECK(titles("?%24skip=1&%24top=1") == "200 b");
    CHECK(titles("?$skip=3") == "200 ");
    CHECK(titles("$Resources/NotificationHubs/?$skip=2&$top=2147483647") == "200 c");
    CHECK(titles("?$top=x") == "400 ");
}

TEST_CASE("a key of the hub is told that it is not one of the namespace", "[hub]") {
    support::HubWorld world;
    world.put_hub("orders");
    auto client = world.client();
    const auto rules = world.service().parts().hubs.find("orders")->description.rules;
    const auto signed_by = [&](const hub::Rule& rule, const std::string& key) {
        const auto expiry_s = pns::system_clock().wall_ms() / 1'000 + 600;
        return support::HeaderList{
            {"Authorization", hub::make_sas("https://localhost/", rule.name, key, expiry_s)}};
    };
    for (const auto& rule : rules) {
        for (const std::string method : {"PUT", "DELETE"}) {
            const auto reply = client.request(method, "/orders", signed_by(rule, rule.primary_key));
            INFO(reply.body);
            CHECK(reply.status == 401);
            CHECK(reply.body.find("a rule of the namespace") != std::string::npos);
            CHECK(reply.body.find("InvalidSignature") == std::string::npos);
        }
    }
    const auto reply = client.request("DELETE", "/orders", signed_by(rules[0], "wrong"));
    CHECK(reply.status == 401);
    CHECK(reply.body.find("InvalidSignature") != std::string::npos);
}
