#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "hub/device/installation_json.hpp"
#include "hub/device/installation_patch.hpp"

namespace {

hub::Parsed<std::string> normalise(std::string_view platform, std::string_view handle) {
    if (handle == "bad") return hub::bad_request("The handle is malformed.");
    return platform == "apns" ? "N:" + std::string(handle) : std::string(handle);
}

registry::Installation parsed(const std::string& body, const std::string& id = "6b7f-01") {
    auto result = hub::parse_installation(body, id, normalise);
    INFO(body);
    if (!hub::ok(result)) FAIL(std::get<hub::Refusal>(result).message);
    return std::get<registry::Installation>(std::move(result));
}

std::string refused(const std::string& body, const std::string& id = "6b7f-01") {
    const auto result = hub::parse_installation(body, id, normalise);
    INFO(body.substr(0, 300));
    REQUIRE_FALSE(hub::ok(result));
    CHECK(std::get<hub::Refusal>(result).status == 400);
    return std::get<hub::Refusal>(result).message;
}

/// A valid installation with `more` members.
std::string with(const std::string& more, const std::string& platform = "gcm") {
    return R"_({"installationId":"6b7f-01","platform":")_" + platform + R"_(","pushChannel":"h")_" +
           (more.empty() ? "" : "," + more) + "}";
}

}  // namespace

TEST_CASE("the contract's installation is read and written", "[hub]") {
    const auto it = parsed(
        R"_({"installationId":"6b7f-01","userId":"u-42","platform":"FcmV1","pushChannel":"f0k3n:APA91b",
        "tags":["team:red"],"expirationTime":"2027-02-19T17:50:00Z","pushVariables":{"nick":"Kim"},
        "templates":{"alert":{"body":"{\"message\":{\"notification\":{\"body\":\"$(text)\"}}}","tags":["news"]}}})_");
    CHECK(it.id == "6b7f-01");
    CHECK(it.user_id == "u-42");
    CHECK(it.platform == "fcmv1");
    CHECK(it.push_channel == "f0k3n:APA91b");
    CHECK(it.tags == std::vector<std::string>{"team:red"});
    CHECK(it.expires_at_ms == 1'803'059'400'000);
    CHECK(it.push_variables.at("nick") == "Kim");
    CHECK(it.templates.at("alert").name == "alert");
    CHECK(it.templates.at("alert").tags == std::vector<std::string>{"news"});
    CHECK(
        hub::installation_json(it) ==
        R"_({"installationId":"6b7f-01","pushChannel":"f0k3n:APA91b","pushChannelExpired":false,)_"
        R"_("platform":"fcmv1","expirationTime":"2027-02-19T17:50:00.0000000Z","userId":"u-42",)_"
        R"_("tags":["team:red"],"pushVariables":{"nick":"Kim"},)_"
        R"_("templates":{"alert":{"body":"{\"message\":{\"notification\":{\"body\":\"$(text)\"}}}",)_"
        R"_("tags":["news"]}}})_");
    CHECK(parsed(hub::installation_json(it)) == it);
}

TEST_CASE("null and unknown members are as absent", "[hub]") {
    const auto it = parsed(
        R"_({"installationId":null,"userId":null,"pushChannelExpired":null,"expirationTime":null,)_"
        R"_("platform":"APNS","pushChannel":"h","tags":[null,"a"],"templates":{"x":null},"other":{"a":[1]},)_"
        R"_("pushVariables":null,"secondaryTiles":null,"lastUpdate":"x"})_");
    CHECK(it.platform == "apns");
    CHECK(it.push_channel == "N:h");
    CHECK(it.tags == std::vector<std::string>{"a"});
    CHECK(it.templates.empty());
    CHECK(it.expires_at_ms == registry::never_ms);
    CHECK(hub::installation_json(it) ==
          R"_({"installationId":"6b7f-01","pushChannel":"N:h","pushChannelExpired":false,)_"
          R"_("platform":"apns","expirationTime":"9999-12-31T23:59:59.9999999Z","tags":["a"]})_");
}

TEST_CASE("names of members ignore case, names that apps give keep it", "[hub]") {
    const auto it = parsed(
        R"_({"InstallationId":"6b7f-01","UserId":"u","Platform":"GCM","PushChannel":"h","Tags":["A"],
        "ExpirationTime":"2027-02-19T17:50:00Z","PushVariables":{"Nick":"Kim"},
        "Templates":{"Alert":{"Body":"{}","Tags":["News"]}}})_");
    CHECK(it.user_id == "u");
    CHECK(it.platform == "gcm");
    CHECK(it.tags == std::vector<std::string>{"A"});
    CHECK(it.expires_at_ms == 1'803'059'400'000);
    CHECK(it.push_variables.at("Nick") == "Kim");
    CHECK(it.templates.at("Alert").tags == std::vector<std::string>{"News"});
    CHECK(parsed(R"_({"TAGS":["no"],"tags":["yes"],"platform":"gcm","pushChannel":"h"})_").tags ==
          std::vector<std::string>{"yes"});
    const auto tile = parsed(with(
        R"_("SecondaryTiles":{"T1":{"PushChannel":"c","Tags":["x"],"Templates":{}}})_", "wns"));
    CHECK(tile.secondary_tiles.at("T1").push_channel == "c");
    const auto browser = parsed(
        R"_({"platform":"browser","pushChannel":{"Endpoint":"e","Keys":{"P256DH":"p","Auth":"a"}}})_");
    CHECK(browser.push_channel == R"_({"endpoint":"e","keys":{"auth":"a","p256dh":"p"}})_");
}

TEST_CASE("a template that cannot be sent is kept with the reason, unless that is refused",
          "[hub]") {
    const std::string body = with(R"_("templates":{"good":{"body":"{}"},
        "bad":{"body":"<toast/>"},"open":{"body":"{\"a\":\"$(\"}"},
        "header":{"body":"{}","headers":{"a":"b"}}})_");
    CHECK(refused(body).find("'bad' is invalid") != std::string::npos);
    const auto kept = hub::parse_installation(body, "6b7f-01", normalise, hub::BadTemplates::kept);
    REQUIRE(hub::ok(kept));
    const auto& it = std::get<registry::Installation>(kept);
    CHECK(it.templates.size() == 4);
    const auto shown = nlohmann::json::parse(hub::installation_json(it))["templates"];
    CHECK_FALSE(shown["good"].contains("unsendable"));
    CHECK_THAT(shown["bad"]["unsendable"], Catch::Matchers::Contains("'bad' is invalid"));
    CHECK_THAT(shown["open"]["unsendable"], Catch::Matchers::Contains("column"));
    CHECK_THAT(shown["header"]["unsendable"], Catch::Matchers::Contains("'Headers' are only"));
    // What is answered may be written again, and a patch of something else goes through.
    const auto again = hub::parse_installation(hub::installation_json(it), "6b7f-01", normalise,
                                               hub::BadTemplates::kept);
    REQUIRE(hub::ok(again));
    CHECK(std::get<registry::Installation>(again) == it);
    const std::string patch = R"_([{"Op":"add","Path":"/tags","Value":"x"}])_";
    CHECK(hub::ok(hub::patch_installation(it, patch, normalise, hub::BadTemplates::kept)));
    CHECK_FALSE(hub::ok(hub::patch_installation(it, patch, normalise)));
    // Never without a body or a sound name.
    for (const std::string templates :
         {R"_({"x":{}})_", R"_({"x":{"body":" "}})_", R"_({"a\u0001":{"body":"{}"}})_"}) {
        INFO(templates);
        CHECK_FALSE(hub::ok(hub::parse_installation(with("\"templates\":" + templates), "6b7f-01",
                                                    normalise, hub::BadTemplates::kept)));
    }
}

TEST_CASE("browser channels are answered in the form they came in", "[hub]") {
    const auto as_object = parsed(
        R"_({"platform":"browser","pushChannel":{"endpoint":"https://p","p256dh":"k","auth":"a"}})_");
    CHECK(as_object.push_channel_is_object);
    CHECK(nlohmann::json::parse(hub::installation_json(as_object)).at("pushChannel").at("auth") ==
          "a");
    const auto as_text = parsed(
        R"_({"platform":"browser","pushChannel":"{\"endpoint\":\"https://p\",\"p256dh\":\"k\",\"auth\":\"a\"}"})_");
    CHECK_FALSE(as_text.push_channel_is_object);
    CHECK(nlohmann::json::parse(hub::installation_json(as_text)).at("pushChannel").is_string());
    refused(R"_({"platform":"gcm","pushChannel":{"endpoint":"https://p"}})_");
    refused(R"_({"platform":"browser","pushChannel":")_" + std::string(100, '[') + "\"}");
}

TEST_CASE("secondary tiles belong to wns", "[hub]") {
    const std::string tiles =
        R"_("secondaryTiles":{"t1":{"pushChannel":"c2","tags":["x"],"templates":{"n":)_"
        R"_({"body":"<toast/>","headers":{"X-WNS-Type":"wns/toast"}}}}})_";
    const auto it = parsed(with(tiles, "wns"));
    CHECK(it.secondary_tiles.at("t1").push_channel == "c2");
    CHECK(it.secondary_tiles.at("t1").templates.at("n").headers ==
          registry::Headers{{"X-WNS-Type", "wns/toast"}});
    CHECK(parsed(hub::installation_json(it)) == it);
    CHECK(refused(with(tiles)).find("only possible on the platform wns") != std::string::npos);
    refused(with(R"_("secondaryTiles":{"t1":{}})_", "wns"));
    refused(with(R"_("secondaryTiles":{"":{"pushChannel":"c"}})_", "wns"));
    refused(with(R"_("secondaryTiles":{"t":{"pushChannel":"bad"}})_", "wns"));
}

TEST_CASE("wrong installations are refused with the member at fault", "[hub]") {
    struct Row {
        std::string body;
        std::string part;
    };
    const std::vector<Row> table{
        {"", "not valid JSON"},
        {"[]", "must be a JSON object"},
        {"{}", "'platform' is missing"},
        {R"_({"platform":7})_", "'platform' must be a string"},
        {R"_({"platform":"apple","pushChannel":"x"})_", "'apple' is unknown; use one of apns"},
        {R"_({"platform":"gcm"})_", "'pushChannel' is missing"},
        {R"_({"platform":"gcm","pushChannel":""})_", "'pushChannel' must be a non-empty string"},
        {R"_({"platform":"gcm","pushChannel":"bad"})_", "malformed"},
        {R"_({"installationId":"other","platform":"gcm","pushChannel":"h"})_", "differs"},
        {with(R"_("userId":"a b")_"), "userId has an illegal character at position 2"},
        {with(R"_("userId":7)_"), "'userId' must be a string"},
        {with(R"_("tags":"a,b")_"), "'tags' must be an array"},
        {with(R"_("tags":[1])_"), "'tags' must hold only strings"},
        {with(R"_("tags":["a,b"])_"), "illegal character at position 2"},
        {with(R"_("tags":["$UserId:{x}"])_"), "Tags can not start with $"},
        {with(R"_("tags":[""])_"), "must not be empty"},
        {with(R"_("expirationTime":"soon")_"), "expirationTime"},
        {with(R"_("expirationTime":7)_"), "expirationTime"},
        {with(R"_("pushVariables":[])_"), "pushVariables"},
        {with(R"_("pushVariables":{"a":{}})_"), "'a'"},
        {with(R"_("templates":[])_"), "'templates' must be an object"},
        {with(R"_("templates":{"x":7})_"), "'x' must be an object"},
        {with(R"_("templates":{"x":{}})_"), "Template 'x' is invalid: the body is empty"},
        {with(R"_("templates":{"":{"body":"{}"}})_"), "name must not be empty"},
        {with(R"_("templates":{"$UserId:{a}":{"body":"{}"}})_"), "start with $"},
        {with(R"_("templates":{"a,b":{"body":"{}"}})_"), "comma"},
        {with(R"_("templates":{"x":{"body":"{\"a\":\"$(\"}"}})_"), "column 3"},
        {with(R"_("templates":{"x":{"body":"{}","tags":["$a"]}})_"), "Tags can not start with $"},
        {with(R"_("templates":{"x":{"body":"{}","headers":[]}})_"), "headers of template 'x'"},
        {with(R"_("templates":{"x":{"body":"{}","headers":{"a":"b"}}})_"), "'Headers' are only"},
    };
    for (const Row& row : table) {
        const std::string message = refused(row.body);
        INFO(message);
        CHECK(message.find(row.part) != std::string::npos);
    }
    CHECK(refused(with(""), "bad id").find("differs") != std::string::npos);
    CHECK(refused(R"_({"platform":"gcm","pushChannel":"h"})_", "bad id").find("position 4") !=
          std::string::npos);
    CHECK(refused(R"_({"platform":"gcm","pushChannel":"h"})_", std::string(300, 'x'))
              .find("longer than") != std::string::npos);
    std::string templates;
    for (int i = 0; i < 65; ++i)
        templates += (i > 0 ? ",\"t" : "\"t") + std::to_string(i) + R"_(":{"body":"{}"})_";
    CHECK(refused(with("\"templates\":{" + templates + "}")).find("more than 64") !=
          std::string::npos);
}

TEST_CASE("expiration times of mobile SDKs are read", "[hub]") {
    CHECK(parsed(with(R"_("expirationTime":"2026-02-19T17:50+0000")_")).expires_at_ms ==
          1'771'523'400'000);
    CHECK(parsed(with(R"_("expirationTime":"9999-12-31T23:59:59.9999999Z")_")).expires_at_ms ==
          registry::never_ms);
}
