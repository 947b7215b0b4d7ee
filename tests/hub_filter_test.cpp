#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "hub/device/filter.hpp"

TEST_CASE("every client's filter is understood", "[hub]") {
    struct Row {
        std::string text;
        std::string platform;
        std::vector<std::string> handles;
    };
    const std::vector<Row> table{
        {"ChannelUri eq 'APA91b-x'", "", {"APA91b-x"}},
        {"ChannelUri eq 'https%3A%2F%2Fa.notify.windows.com%2F%3Ftoken%3Dx%252b'",
         "",
         {"https%3A%2F%2Fa.notify.windows.com%2F%3Ftoken%3Dx%252b",
          "https://a.notify.windows.com/?token=x%2b"}},
        {"deviceToken eq '00fc13'", "apns", {"00FC13"}},
        {"DeviceToken eq '00FC13'", "apns", {"00FC13"}},
        {"GcmRegistrationId eq 'a:b'", "gcm", {"a:b"}},
        {"FcmV1RegistrationId eq 'a:b'", "fcmv1", {"a:b"}},
        {"AdmRegistrationId eq 'x.y'", "adm", {"x.y"}},
        {"XiaomiRegistrationId eq 'x'", "xiaomi", {"x"}},
        {"BaiduUserId-BaiduChannelId eq 'u-c'", "baidu", {"u-c"}},
        {"BaiduChannelId eq 77' and BaiduUserId eq '55'", "baidu", {"55-77"}},
        {"  channeluri   EQ   'it''s'  ", "", {"it's"}},
        {"ChannelUri eq bare", "", {"bare"}},
        {"Endpoint eq 'https%3A%2F%2Fp.test%2F1' and P256DH eq 'k' and Auth eq 'a'",
         "browser",
         {R"({"endpoint":"https%3A%2F%2Fp.test%2F1","p256dh":"k","auth":"a"})",
          R"({"endpoint":"https://p.test/1","p256dh":"k","auth":"a"})"}},
        {"auth eq 'a' and endpoint eq 'e' and p256dh eq 'k'",
         "browser",
         {R"({"endpoint":"e","p256dh":"k","auth":"a"})"}},
        {"AdmRegistrationId eq 'x' and admregistrationid eq 'x'", "adm", {"x"}},
    };
    for (const Row& row : table) {
        INFO(row.text);
        const auto parsed = hub::parse_filter(row.text);
        if (!hub::ok(parsed)) FAIL(std::get<hub::Refusal>(parsed).message);
        CHECK(std::get<hub::HandleQuery>(parsed).platform == row.platform);
        CHECK(std::get<hub::HandleQuery>(parsed).handles == row.handles);
    }
}

TEST_CASE("other filters are refused", "[hub]") {
    for (const std::string text :
         {"", " ", "ChannelUri", "ChannelUri eq", "ChannelUri eq ''", "ChannelUri eq 'x",
          "ChannelUri ne 'x'", "ChannelUri eq 'x' or DeviceToken eq 'y'", "ChannelUri eq 'x' and",
          "ChannelUri eq 'x' 'y'", "ChannelUri eq 'x' and ChannelUri eq 'y'",
          "ChannelUri eq 'x' and DeviceToken eq 'y'", "ExpirationTime eq 'x'",
          "startswith(ChannelUri,'x')", "Endpoint eq 'x'", "Endpoint eq 'x' and Auth eq 'y'",
          "BaiduUserId eq '1'", "\xFF eq 'x'"}) {
        INFO(text);
        const auto parsed = hub::parse_filter(text);
        REQUIRE_FALSE(hub::ok(parsed));
        CHECK(std::get<hub::Refusal>(parsed).status == 400);
        CHECK(std::get<hub::Refusal>(parsed).message.find("$filter") != std::string::npos);
    }
    CHECK_FALSE(hub::ok(hub::parse_filter("ChannelUri eq '" + std::string(9'000, 'x') + "'")));
}
