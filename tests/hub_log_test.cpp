#include "hub/process/log.hpp"

#include <catch2/catch.hpp>

#include <chrono>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "hub/cli/hub_setup.hpp"
#include "hub/device/hub_changes.hpp"
#include "hub/process/log_limit.hpp"
#include "hub/send/provider_health.hpp"
#include "hub/send/prune_gates.hpp"
#include "hub/text/ids.hpp"
#include "tests/support/log_sink.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/world.hpp"

using hub::redacted;

TEST_CASE("what looks like a secret does not reach the log", "[hub]") {
    const std::string key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const std::string apns = std::string(32, 'a') + std::string(32, '7');
    const std::vector<std::string> secrets{
        "Authorization: SharedAccessSignature sr=x&sig=S3cret&se=1&skn=R",
        "sharedaccesssignature sr=x&sig=S3cret&se=1",
        "GET /h/messages?a=b&sig=S3cret HTTP/1.1",
        "Endpoint=sb://h/;SharedAccessKeyName=R;SharedAccessKey=S3cret",
        "Bearer S3cret.x.y rest",
        "https://wns.example/?token=S3cret",
        "-----BEGIN PRIVATE KEY-----\nS3cret\n-----END PRIVATE KEY-----",
        "key S3cret" + key,
        "device S3cret" + apns + " is gone",
        "fcm S3cretAbCdEf:APA91bH" + std::string(120, 'x'),
    };
    for (const auto& text : secrets) {
        const auto safe = redacted(text);
        INFO(text << " -> " << safe);
        CHECK(safe.find("S3cret") == std::string::npos);
        CHECK(safe.find("***") != std::string::npos);
    }
}

TEST_CASE("ids and plain words stay readable", "[hub]") {
    for (const std::string text :
         {"7f190000-0000-4000-8000-0123456789ab", "8372532934391117237-1873246577402391230-1",
          "PUT /{hub}/installations/{id} 200", "cannot listen on 127.0.0.1:8443: Address in use"}) {
        CHECK(redacted(text) == text);
    }
    CHECK(redacted("one\nline\x1b[0m") == "one line [0m");
    for (const std::string text : {"rule DefaultFullSharedAccessSignature has another primary key",
                                   "rule DefaultListenSharedAccessSignature gone",
                                   "gr\u00fc\u00dfe \u65e5\u672c \U0001f680"})
        CHECK(redacted(text) == text);
}

TEST_CASE("nothing in the log acts on a terminal or turns a line around", "[hub]") {
    CHECK(redacted("a\u009b31mb\u0085c\x7f") == "a 31mb c ");
    CHECK(redacted("a\u202eb\u2066c\u2028d\u061ce\u200ff") == "a b c d e f");
    CHECK(redacted("a\x9b\xc2") == "a??");
    CHECK(redacted("\xe2\x80") == "??");
    std::ostringstream out;
    hub::open_log("info", "text", &out);
    // Cut in the middle of a character.
    hub::log_info("m", {{"hub", "h\u009b2J"}, {"why", std::string(4'095, '.') + "\u00e9"}});
    hub::open_log("warn", "text");
    CHECK(out.str().find("hub=\"h 2J\" why=" + std::string(4'095, '.') + "?\n") !=
          std::string::npos);
}

TEST_CASE("names that operators chose stay readable, however long they are", "[hub]") {
    std::ostringstream out;
    hub::open_log("info", "text", &out);
    const std::string hub = "contoso-production-notification-hub-west-europe";
    const std::string handle = std::string(32, 'a') + std::string(32, '7');
    hub::log_info("m", {{"hub", hub},
                        {"changes", "rule Bearer gone, rule " + hub + " new"},
                        {"rule", hub},
                        {"by", hub},
                        {"what", handle},
                        {"why", std::string(4'080, '.') + ' ' + handle},
                        {"client", handle}});
    hub::open_log("warn", "text");
    const auto line = out.str();
    CHECK(line.find("m hub=" + hub + " changes=\"rule Bearer gone, rule " + hub +
                    " new\" rule=" + hub + " by=" + hub + " what=*** why=") != std::string::npos);
    CHECK(line.find("client=***") != std::string::npos);
    CHECK(line.find("aaaaaaaa") == std::string::npos);
}

// A client may have mistaken what goes where.
TEST_CASE("a name that a refused caller gives is told only if it is no secret", "[hub]") {
    const support::LogSink log;
    support::World world({}, {"apns"});
    const auto given = hub::ConnectionString::parse(world.service().connection_string());
    const auto refused_as = [&](const std::string& rule) {
        hub::HubClient stranger("Endpoint=sb://" + given.host + ":" + given.port +
                                    "/;SharedAccessKeyName=" + rule +
                                    ";SharedAccessKey=VGhpcyBpcyBhIHdyb25nIGtleQ",
                                world.service().ca_file().string());
        hub::ClientRequest request;
        request.path = "/app/registrations";
        REQUIRE(stranger.call(std::move(request)).status == 401);
        const auto lines = log.lines("access refused");
        REQUIRE_FALSE(lines.empty());
        return lines.back()["rule"].get<std::string>();
    };
    CHECK(refused_as(std::string(32, 'a') + std::string(32, '7')) == "***");
    CHECK(refused_as("a\u009b31m") == "a 31m");
    CHECK(refused_as("RootManageSharedAccessKey") == "RootManageSharedAccessKey");
}

TEST_CASE("a line is text or one JSON object, from its level on", "[hub]") {
    std::ostringstream out;
    hub::open_log("info", "text", &out);
    hub::log_debug("not this");
    hub::log_info("hub put",
                  {{"hub", "my hub"}, {"count", "3"}, {"root_key", "abc"}, {"what", "a\"b"}});
    const auto line = out.str();
    CHECK(line.find("not this") == std::string::npos);
    CHECK(line.ends_with(" info hub put hub=\"my hub\" count=3 root_key=*** what=\"a\\\"b\"\n"));

    out.str("");
    hub::open_log("warn", "json", &out);
    hub::log_info("not this");
    hub::log_warn("odd \"one\"", {{"why", "new\nline \xff"}, {"handle", "abc"}});
    const auto object = nlohmann::json::parse(out.str());
    CHECK(object["message"] == "odd \"one\"");
    CHECK(object["level"] == "warning");
    CHECK(object["handle"] == "***");
    CHECK(object["at"].get<std::string>().ends_with("Z"));
    hub::open_log("warn", "text");
}

TEST_CASE("the id of a send stays readable in the log", "[hub]") {
    const std::string id = hub::new_send_id(1'795'000'000'123);
    CHECK(hub::redacted("send " + id) == "send " + id);
}

TEST_CASE("lines that strangers can cause are bounded, and those left out are counted", "[hub]") {
    hub::LogLimit limit(2, 5, 1'000);
    CHECK(limit.allow("a", 0) == 0);
    CHECK(limit.allow("a", 1) == 0);
    CHECK_FALSE(limit.allow("a", 2));
    CHECK_FALSE(limit.allow("a", 999));
    CHECK(limit.allow("b", 999) == 0);
    CHECK(limit.allow("a", 1'000) == 2);
    CHECK(limit.allow("c", 1'001) == 0);
    unsigned told = 0;
    for (int i = 0; i < 5'000; ++i)
        told += limit.allow("key" + std::to_string(i), 1'002).has_value() ? 1 : 0;
    CHECK(told == 3);
    CHECK(limit.allow("new", 2'002).has_value());
    CHECK(limit.allow("new", 0).has_value());  // a clock that went back
}

TEST_CASE("lanes whose times are a little apart get no lines of their own", "[hub]") {
    hub::LogLimit limit(2, 10, 1'000);
    int lines = 0;
    for (int i = 0; i < 10'000; ++i) {
        const std::int64_t now_ms = 50'000 + i / 100;  // a tenth of a second in all
        if (limit.allow("a", now_ms - (i % 2) * 3)) ++lines;
    }
    CHECK(lines == 2);
}

TEST_CASE("the log tells of hubs and of refused callers, without secrets", "[hub]") {
    const support::LogSink log;
    support::World world({}, {"apns"});
    REQUIRE(log.lines("a hub was created").size() == 1);
    const auto created = log.lines("a hub was created").front();
    CHECK(created["hub"] == "app");
    CHECK(created["by"] == "RootManageSharedAccessKey");
    CHECK(created["client"] == "127.0.0.1");

    const std::string ca = world.service().ca_file().string();
    hub::HubClient client(world.service().connection_string(), ca);
    hub::create_hub(client, "app", {});
    REQUIRE(log.lines("a hub was changed").size() == 1);
    CHECK(log.lines("a hub was changed").front()["changes"] == "apns gone");
    hub::create_hub(client, "app", {});
    CHECK(log.lines("a hub was changed").size() == 1);  // nothing was

    const auto given = hub::ConnectionString::parse(world.service().connection_string());
    hub::HubClient stranger("Endpoint=sb://" + given.host + ":" + given.port +
                                "/;SharedAccessKeyName=Backend;SharedAccessKey=" +
                                "VGhpcyBpcyBhIHdyb25nIGtleSBvZiBhIHN0cmFuZ2Vy",
                            ca);
    constexpr int calls = 40;
    const auto begun = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) {
        hub::ClientRequest request;
        request.path = "/app/registrations";
        CHECK(stranger.call(std::move(request)).status == 401);
    }
    const auto seconds =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begun)
            .count();
    const auto refused = log.lines("access refused");
    REQUIRE_FALSE(refused.empty());
    CHECK(refused.size() <= static_cast<std::size_t>(3 * (seconds + 2)));
    CHECK(refused.front()["hub"] == "app");
    CHECK(refused.front()["rule"] == "Backend");
    CHECK(refused.front()["client"] == "127.0.0.1");

    CHECK(world.call("DELETE", "/app").status == 200);
    CHECK(log.lines("a hub was deleted").size() == 1);
    for (const auto& [name, value] : world.credentials().front().properties)
        if (value.size() >= 16) CHECK(log.text().find(value) == std::string::npos);
    CHECK(log.text().find(given.key) == std::string::npos);
}

TEST_CASE("what an update changed of a hub is named, and never told", "[hub]") {
    hub::HubDescription before, after;
    before.credentials["apns"] = {{"Token", "old"}};
    before.credentials["wns"] = {{"SecretKey", "same"}};
    hub::Rule rule;
    rule.name = "Backend";
    rule.primary_key = "old";
    before.rules.push_back(rule);
    CHECK(hub::hub_changes(before, before).empty());
    after.credentials["apns"] = {{"Token", "new"}};
    after.credentials["adm"] = {{"ClientId", "new"}};
    rule.primary_key = "new";
    rule.send = true;
    after.rules.push_back(rule);
    after.disabled = true;
    CHECK(
        hub::hub_changes(before, after) ==
        "adm new, apns replaced, wns gone, rule Backend has another primary key, rule Backend has "
        "other rights, disabled");
}

TEST_CASE("a trouble with a provider is one line however many hear of it", "[hub]") {
    const support::LogSink log;
    support::ManualClock clock;
    support::World world({}, {"apns"});
    hub::ProviderHealth health(world.parts().hubs, clock);
    const auto number = world.parts().hubs.find("app")->row.number;
    const auto listener = health.listener(number, 0);
    CHECK(listener == health.listener(number, 0));
    using pns::Trouble;
    CHECK_FALSE(listener->any_unwell());
    listener->unwell(Trouble::unreachable, "api.test", "no route");
    listener->unwell(Trouble::unreachable, "api.test", "no route");
    listener->unwell(Trouble::throttled, "api.test", "less than that");
    REQUIRE(log.lines("a provider is unreachable").size() == 1);
    CHECK(log.lines("a provider is unreachable").front()["host"] == "api.test");
    CHECK(log.lines("a provider is unreachable").front()["why"] == "no route");
    CHECK(log.lines("a provider throttles").empty());
    REQUIRE(health.unwell().size() == 1);
    CHECK(health.unwell().front().hub == "app");
    listener->well("api.test");  // another loop's answer of the same moment
    CHECK(health.unwell().size() == 1);
    clock.pass_ms(90'000);
    listener->unwell(Trouble::refused, "", "BadKey");
    clock.pass_ms(10'000);
    listener->well("api.test");
    listener->well("other.test");
    REQUIRE(log.lines("a provider is well again").size() == 1);
    CHECK(log.lines("a provider is well again").front()["seconds"] == "100");
    CHECK(log.lines("a provider refuses the credential").size() == 1);
    CHECK(listener->any_unwell());
    for (int i = 0; i < 1'000; ++i)
        listener->unwell(Trouble::unreachable, "host" + std::to_string(i), "x");
    CHECK(log.lines("a provider is unreachable").size() < 40);
    health.forget(number);
    CHECK_FALSE(listener->any_unwell());
    CHECK(health.unwell().empty());
    listener->unwell(Trouble::refused, "", "old");
    CHECK(health.unwell().empty());
}

TEST_CASE("the log tells when a prune gate shuts and when it opens", "[hub]") {
    const support::LogSink log;
    hub::PruneGates gates;
    const hub::PruneGates::Subject subject{7, 0, "com.test.app"};
    const auto dead = [](int i) {
        hub::PruneGates::Suspect out;
        out.retirement.number = static_cast<std::uint32_t>(i);
        out.retirement.handle = "h" + std::to_string(i);
        out.certain = true;
        return out;
    };
    for (int i = 0; i < 20; ++i) {
        std::vector<hub::PruneGates::Suspect> one;
        one.push_back(dead(i));
        gates.pass(subject, "NH-1", 0, std::move(one), 1'000 + i);
    }
    REQUIRE(log.lines("the prune gate is shut: dead handles are held").size() == 1);
    CHECK(log.lines("the prune gate is shut: dead handles are held").front()["hub"] == "7");
    CHECK_FALSE(gates.pass(subject, "NH-1", 1'000, {}, 2'000).empty());
    CHECK(log.lines("the prune gate is open again").size() == 1);
}
