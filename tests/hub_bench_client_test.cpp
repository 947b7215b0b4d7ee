#include "hub/cli/client.hpp"

#include <catch2/catch.hpp>

#include <stdexcept>
#include <string>

#include "bench/telemetry.hpp"
#include "hub/cli/terminal.hpp"

TEST_CASE("the bench client reads every usual connection string", "[bench]") {
    struct Case {
        std::string text, host, port, name, key;
    };
    const Case cases[] = {
        {"Endpoint=sb://localhost:8443/;SharedAccessKeyName=r;SharedAccessKey=a=b=", "localhost",
         "8443", "r", "a=b="},
        {"SharedAccessKey=k;SharedAccessKeyName=r;Endpoint=https://push.example.test",
         "push.example.test", "443", "r", "k"},
        {"Endpoint=sb://h:1/path/;SharedAccessKeyName=r;SharedAccessKey=k;", "h", "1", "r", "k"},
    };
    for (const Case& c : cases) {
        INFO(c.text);
        const hub::ConnectionString parsed = hub::ConnectionString::parse(c.text);
        CHECK(parsed.host == c.host);
        CHECK(parsed.port == c.port);
        CHECK(parsed.key_name == c.name);
        CHECK(parsed.key == c.key);
    }
    for (const char* text : {"", "Endpoint=sb://h/", "SharedAccessKey=k;SharedAccessKeyName=r"})
        CHECK_THROWS_AS(hub::ConnectionString::parse(text), std::invalid_argument);
}

TEST_CASE("telemetry adds up what it reads", "[bench]") {
    const bench::Telemetry t = bench::parse_telemetry(
        R"(<NotificationDetails xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect">
        <State>Completed</State><EnqueueTime>2026-11-21T10:00:00.123Z</EnqueueTime>
        <EndTime>2026-11-21T10:00:01.123Z</EndTime>
        <ApnsOutcomeCounts><Outcome><Name>Success</Name><Count>31</Count></Outcome>
        <Outcome><Name>ExpiredChannel</Name><Count>1</Count></Outcome></ApnsOutcomeCounts>
        <FcmV1OutcomeCounts><Outcome><Name>Success</Name><Count>4</Count></Outcome></FcmV1OutcomeCounts>
        </NotificationDetails>)");
    CHECK(t.is_final());
    CHECK(t.devices() == 36);
    CHECK(t.devices("Success") == 35);
    CHECK(t.outcomes.at("apns").at("ExpiredChannel") == 1);
    CHECK(t.outcomes.at("fcmv1").at("Success") == 4);
    CHECK(t.ended_at_ms - t.enqueued_at_ms == 1000);
    CHECK_THROWS_AS(bench::parse_telemetry("<html/>"), std::runtime_error);
}

TEST_CASE("numbers are printed for people", "[bench]") {
    CHECK(hub::grouped(0) == "0");
    CHECK(hub::grouped(999) == "999");
    CHECK(hub::grouped(1'000) == "1,000");
    CHECK(hub::grouped(1'234'567) == "1,234,567");
    CHECK(hub::fixed(1.005, 1) == "1.0");
    CHECK(hub::padded("ab", 4) == "ab  ");
}
