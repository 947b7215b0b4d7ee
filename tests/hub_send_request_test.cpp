#include "hub/send/send_request.hpp"

#include <catch2/catch.hpp>

#include "tests/support/world.hpp"

using hub::Refusal;
using registry::Send;

namespace {

constexpr std::int64_t now_ms = 1'795'255'200'000;  // 2026-11-21T10:00:00Z

hub::Request request_with(hub::Headers headers) {
    hub::Request request;
    request.method = "POST";
    request.received_at_ms = now_ms;
    request.headers = std::move(headers);
    return request;
}

Send read(hub::Headers headers, const std::string& body = R"({"aps":{"alert":"x"}})") {
    const auto parsed = hub::read_send(request_with(std::move(headers)), body, hub::Config{});
    if (const auto* refusal = std::get_if<Refusal>(&parsed)) FAIL(refusal->message);
    return std::get<Send>(parsed);
}

std::string refusal_of(hub::Headers headers, const std::string& body = R"({"aps":{}})") {
    const auto parsed = hub::read_send(request_with(std::move(headers)), body, hub::Config{});
    REQUIRE(std::holds_alternative<Refusal>(parsed));
    CHECK(std::get<Refusal>(parsed).status == 400);
    return std::get<Refusal>(parsed).message;
}

const std::pair<std::string, std::string> apple{"servicebusnotification-format", "apple"};

}  // namespace

TEST_CASE("headers for providers pass through and nothing else does", "[hub]") {
    const auto send = read({apple,
                            {"apns-topic", "org.x"},
                            {"apns-push-type", "voip"},
                            {"apns-priority", "10"},
                            {"x-apns-priority", "5"},
                            {"x-apns-collapse-id", "c"},
                            {"x-wns-type", "wns/raw"},
                            {"content-type", "application/json"},
                            {"x-custom", "1"}});
    CHECK(send.headers == registry::Headers{{"apns-topic", "org.x"},
                                            {"apns-push-type", "voip"},
                                            {"apns-priority", "10"},
                                            {"x-wns-type", "wns/raw"},
                                            {"apns-collapse-id", "c"}});
    CHECK(send.enqueued_at_ms == now_ms);
    CHECK(send.deadline_ms == now_ms + hub::undelivered_ms_max);
    const auto huawei = read({{"servicebusnotification-format", "hms"}, {"push-type", "7"}},
                             R"({"payload":{"a":1}})");
    CHECK(huawei.headers == registry::Headers{{"push-type", "7"}});
    CHECK(read({apple, {"push-type", "7"}}).headers.empty());
}

TEST_CASE("an expiry is understood in every form of the wire", "[hub]") {
    const auto [name, value, expected] = GENERATE(table<const char*, const char*, const char*>({
        {"apns-expiration", "1795300000", "1795300000"},
        {"apns-expiration", "0", "0"},
        {"apns-expiration", "2026-11-21T11:00:00Z", "1795258800"},
        {"x-apns-expiration", "2026-11-21T11:00:00.000Z", "1795258800"},
        {"servicebusnotification-apns-expiry", "11/21/2026 11:00:00", "1795258800"},
        {"servicebusnotification-apns-expiry", "2026-11-21T11:00:00", "1795258800"},
        {"servicebusnotification-apns-expiry", "2026-11-21T11:00:00.5Z", "1795258800"},
        {"servicebusnotification-apns-expiry", "2026-11-21T12:00:00+01:00", "1795258800"},
        {"servicebusnotification-apns-expiry", "2026-11-22", "1795305600"},
        {"servicebusnotification-apns-expiry", "11/21/2026 09:00:00", "0"},
    }));
    INFO(name << ": " << value);
    const auto send = read({apple, {name, value}});
    REQUIRE(send.headers.size() == 1);
    CHECK(send.headers[0].first == "apns-expiration");
    CHECK(send.headers[0].second == expected);
}

TEST_CASE("an expiry that cannot be read is ignored, and apns-expiration goes first", "[hub]") {
    CHECK(read({apple, {"servicebusnotification-apns-expiry", "soon"}}).headers.empty());
    const auto send = read({apple,
                            {"servicebusnotification-apns-expiry", "2026-11-21T11:00:00Z"},
                            {"apns-expiration", "7"}});
    CHECK(send.headers == registry::Headers{{"apns-expiration", "7"}});
}

TEST_CASE("formats are read ignoring case and inferred from apns headers", "[hub]") {
    CHECK(read({{"servicebusnotification-format", " Apple "}}).format == "apple");
    CHECK(read({{"servicebusnotification-format", "fcmV1"}}, R"({"message":{}})").format ==
          "fcmv1");
    CHECK(read({{"apns-topic", "x"}}).format == "apple");
    CHECK(refusal_of({}).find("missing") != std::string::npos);
    CHECK(refusal_of({{"servicebusnotification-format", "nokiax"}}).find("nokiax") !=
          std::string::npos);
    CHECK(refusal_of({{"servicebusnotification-format", "fcmv1"}}).find("message") !=
          std::string::npos);
    CHECK(refusal_of({apple}, "").find("no body") != std::string::npos);
    CHECK(refusal_of({apple}, "[1]").find("JSON object") != std::string::npos);
    CHECK(refusal_of({apple, {"apns-topic", std::string(5'000, 'x')}}).find("apns-topic") !=
          std::string::npos);
}

TEST_CASE("a send says on which side it errs", "[hub]") {
    CHECK(read({apple}).delivery == registry::Delivery::at_least_once);
    CHECK(read({apple, {"pushhub-delivery", "At-Least-Once"}}).delivery ==
          registry::Delivery::at_least_once);
    CHECK(read({apple, {"pushhub-delivery", "at-most-once"}}).delivery ==
          registry::Delivery::at_most_once);
    CHECK(refusal_of({apple, {"pushhub-delivery", "exactly-once"}}).find("PushHub-Delivery") !=
          std::string::npos);
}

TEST_CASE("a send addresses its platform, and both FCM platforms with the alias", "[hub]") {
    using Kind = registry::Universe::Kind;
    hub::Config config;
    Send send;
    send.format = "template";
    CHECK(hub::universe_of(send, config).kind == Kind::templated);
    send.format = "gcm";
    CHECK(hub::universe_of(send, config).platforms == std::vector<std::string>{"gcm"});
    config.gcm_through_fcmv1 = true;
    CHECK(hub::universe_of(send, config).platforms == std::vector<std::string>{"fcmv1", "gcm"});
    send.format = "windows";
    CHECK(hub::universe_of(send, config).platforms == std::vector<std::string>{"wns"});
}

TEST_CASE("sends over 64 KiB are refused", "[hub]") {
    support::World world;
    const std::string large = R"({"aps":{"alert":")" + std::string(64 * 1024, 'x') + "\"}}";
    CHECK(world.call("POST", "/app/messages", large, {apple}).status == 413);
    CHECK(world.call("POST", "/app/schedulednotifications", large, {apple}).status == 413);
}
