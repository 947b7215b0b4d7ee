// Test sends: the document on its own, and over the wire.

#include "hub/api/test_send.hpp"

#include <catch2/catch.hpp>
#include <pugixml.hpp>
#include <set>

#include "hub/api/outcome_xml.hpp"
#include "tests/support/world.hpp"

using hub::DeviceResult;
using pns::Outcome;
using support::apple_body;
using support::handle_of;
using support::World;

namespace {

DeviceResult result(const std::string& platform, const std::string& id, Outcome outcome,
                    bool templated = false, const std::string& reason = {}) {
    DeviceResult made;
    made.platform = platform;
    made.handle = "handle<" + id;
    made.registration_id = id;
    made.outcome = outcome;
    made.templated = templated;
    made.reason = reason;
    return made;
}

struct Told {
    int success = 0, failure = 0;
    std::multiset<std::string> platforms, handles, outcomes;
    std::size_t results = 0;
};

Told read(const std::string& body) {
    pugi::xml_document document;
    INFO(body);
    REQUIRE(document.load_string(body.c_str()));
    const auto root = document.child("NotificationOutcome");
    REQUIRE(root);
    Told told;
    told.success = root.child("Success").text().as_int(-1);
    told.failure = root.child("Failure").text().as_int(-1);
    REQUIRE(root.child("Results"));
    for (const auto& one : root.child("Results").children("RegistrationResult")) {
        ++told.results;
        told.platforms.insert(one.child("ApplicationPlatform").text().get());
        told.handles.insert(one.child("PnsHandle").text().get());
        told.outcomes.insert(one.child("Outcome").text().get());
        CHECK(one.child("RegistrationId"));
    }
    return told;
}

hub::ClientReply test_send(World& world, const std::string& format, const std::string& tags,
                           const std::string& body, const std::string& query = "test=true") {
    std::vector<std::pair<std::string, std::string>> headers{
        {"servicebusnotification-format", format}};
    if (!tags.empty()) headers.emplace_back("servicebusnotification-tags", tags);
    return world.call("POST", "/app/messages/?api-version=2020-06&" + query, body,
                      std::move(headers));
}

const std::string sent = "The Notification was successfully sent to the Push Notification System";
const std::string dead = "The Push Notification System handle for the registration is invalid";

}  // namespace

TEST_CASE("the outcome of a test send is the document that every SDK reads", "[hub]") {
    CHECK(hub::notification_outcome({}) ==
          R"(<NotificationOutcome xmlns="http://schemas.microsoft.com/netservices/2010/10/)"
          R"(servicebus/connect" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">)"
          R"(<Success>0</Success><Failure>0</Failure><Results/></NotificationOutcome>)");
    CHECK(
        hub::notification_outcome({result("wns", "2-1-1", Outcome::throttled, true, "slow & down"),
                                   result("apns", "1-1-1", Outcome::success),
                                   result("fcmv1", "1-1-2", Outcome::bad_channel)}) ==
        R"(<NotificationOutcome xmlns="http://schemas.microsoft.com/netservices/2010/10/)"
        R"(servicebus/connect" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">)"
        R"(<Success>1</Success><Failure>2</Failure><Results>)"
        R"(<RegistrationResult><ApplicationPlatform>apple</ApplicationPlatform>)"
        R"(<PnsHandle>handle&lt;1-1-1</PnsHandle><RegistrationId>1-1-1</RegistrationId>)"
        R"(<Outcome>)" +
            sent +
            R"(</Outcome></RegistrationResult>)"
            R"(<RegistrationResult><ApplicationPlatform>fcmv1</ApplicationPlatform>)"
            R"(<PnsHandle>handle&lt;1-1-2</PnsHandle><RegistrationId>1-1-2</RegistrationId>)"
            R"(<Outcome>)" +
            dead +
            R"(</Outcome></RegistrationResult>)"
            R"(<RegistrationResult><ApplicationPlatform>windowstemplate</ApplicationPlatform>)"
            R"(<PnsHandle>handle&lt;2-1-1</PnsHandle><RegistrationId>2-1-1</RegistrationId>)"
            R"(<Outcome>Throttled: slow &amp; down</Outcome></RegistrationResult>)"
            R"(</Results></NotificationOutcome>)");
    CHECK(hub::outcome_text(result("apns", "1", Outcome::invalid_credentials)) ==
          "The Token obtained from the Token Provider is wrong");
}

TEST_CASE("the first devices of a selection are kept, over partitions", "[hub]") {
    registry::Selection selection;
    selection.partitions.resize(4);
    selection.partitions[1].addRange(5, 9);
    selection.partitions[3].addRange(0, 100);
    hub::keep_first(selection, 10);
    CHECK(selection.count() == 10);
    CHECK(selection.partitions[1].cardinality() == 4);
    CHECK(selection.partitions[3].maximum() == 5);
    hub::keep_first(selection, 3);
    CHECK(selection.count() == 3);
    hub::keep_first(selection, 0);
    CHECK(selection.count() == 0);
}

TEST_CASE("a test send tells what became of each device", "[hub]") {
    World world;
    pns::sim::Rules rules;
    pns::sim::Behaviour gone;
    gone.act = pns::sim::Act::gone;
    rules.handles[handle_of("apns", 2)] = gone;
    world.sim("apns").set_rules(rules);
    world.install("good", "apns", handle_of("apns", 1));
    world.install("dead", "apns", handle_of("apns", 2));
    const auto reply = test_send(world, "apple", "all", apple_body);
    CHECK(reply.status == 201);
    CHECK(reply.header("content-type") == "application/xml; charset=utf-8");
    CHECK(reply.header("location").find("/app/messages/") != std::string_view::npos);
    const auto told = read(reply.body);
    CHECK(told.success == 1);
    CHECK(told.failure == 1);
    CHECK(told.platforms == std::multiset<std::string>{"apple", "apple"});
    CHECK(told.handles == std::multiset{handle_of("apns", 1), handle_of("apns", 2)});
    CHECK(told.outcomes == std::multiset{sent, dead});
    CHECK(world.expired("dead"));

    world.install("formed", "apns", handle_of("apns", 3),
                  R"("tags":["all"],"templates":{"t":{"body":"{\"aps\":{\"alert\":\"$(m)\"}}"}})");
    const auto templated = read(test_send(world, "template", "all", R"({"m":"x"})", "test").body);
    CHECK(templated.success == 1);
    CHECK(templated.platforms == std::multiset<std::string>{"appletemplate"});

    CHECK(read(test_send(world, "apple", "nobody", apple_body).body).results == 0);
}

TEST_CASE("a test send goes to ten devices at most", "[hub]") {
    World world;
    for (int i = 0; i < 13; ++i)
        world.install(support::id_of("adm", i), "adm", handle_of("adm", i));
    const auto told = read(test_send(world, "adm", "", R"({"data":{"a":"b"}})").body);
    CHECK(told.success == 10);
    CHECK(told.results == 10);
    CHECK(world.sim("adm").counters().accepted == 10);
}

TEST_CASE("direct sends of a client with test sends enabled are told, too", "[hub]") {
    World world;
    auto reply = world.call("POST", "/app/messages/?direct&test", apple_body,
                            {{"servicebusnotification-format", "apple"},
                             {"servicebusnotification-devicehandle", handle_of("apns", 1)}});
    CHECK(reply.status == 201);
    CHECK(read(reply.body).handles == std::multiset{handle_of("apns", 1)});

    const auto batch = [&](int handles) {
        std::string list;
        for (int i = 0; i < handles; ++i)
            list += (i == 0 ? "\"" : ",\"") + handle_of("apns", i) + "\"";
        const std::string body =
            "--b\r\nContent-Type: application/json\r\nContent-Disposition: inline; "
            "name=notification\r\n\r\n" +
            apple_body +
            "\r\n--b\r\nContent-Type: application/json\r\nContent-Disposition: inline; "
            "name=devices\r\n\r\n[" +
            list + "]\r\n--b--";
        return world.call("POST", "/app/messages/$batch?direct&test", body,
                          {{"servicebusnotification-format", "apple"},
                           {"content-type", "multipart/mixed; boundary=b"}});
    };
    CHECK(read(batch(10).body).success == 10);
    CHECK(batch(11).status == 400);
}

TEST_CASE("a hub may have ten test sends a minute; other requests ignore the word", "[hub]") {
    World world;
    for (std::size_t i = 0; i < hub::test_calls_max; ++i)
        CHECK(test_send(world, "apple", "", apple_body).status == 201);
    const auto refused = test_send(world, "apple", "", apple_body);
    CHECK(refused.status == 429);
    const std::string wait(refused.header("retry-after"));
    REQUIRE_FALSE(wait.empty());
    CHECK(wait.find_first_not_of("0123456789") == std::string::npos);
    CHECK(std::stoi(wait) <= 6);
    CHECK(world.call("GET", "/app/installations/nobody?test").status == 404);
    CHECK(
        world
            .call("POST", "/app/messages", apple_body, {{"servicebusnotification-format", "apple"}})
            .status == 201);
}
