#include "hub/template/gcm_alias.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/support/world.hpp"

using hub::gcm_to_fcmv1;
using hub::Refusal;
using nlohmann::json;

namespace {

json converted(const std::string& legacy) {
    const auto body = gcm_to_fcmv1(legacy);
    if (const auto* refusal = std::get_if<Refusal>(&body)) FAIL(legacy << ": " << refusal->message);
    return json::parse(std::get<std::string>(body));
}

}  // namespace

TEST_CASE("a legacy gcm body becomes an FCM v1 message", "[hub]") {
    struct Case {
        const char* legacy;
        const char* v1;
    };
    const auto c = GENERATE(values<Case>({
        {R"({})", R"({"message":{}})"},
        {R"({"data":{"a":"b"}})", R"({"message":{"data":{"a":"b"}}})"},
        {R"({"data":{"n":3,"t":true,"f":1.5,"o":{"x":[1]},"z":null}})",
         R"({"message":{"data":{"n":"3","t":"true","f":"1.5","o":"{\"x\":[1]}"}}})"},
        {R"({"notification":{"title":"T","body":"B","image":"https://x/y.png"}})",
         R"({"message":{"notification":{"title":"T","body":"B","image":"https://x/y.png"}}})"},
        {R"({"notification":{"title":"T","icon":"i","sound":"default","color":"#fff000","tag":"g",
            "click_action":"OPEN","android_channel_id":"c"}})",
         R"({"message":{"notification":{"title":"T"},"android":{"notification":{"icon":"i",
            "sound":"default","color":"#fff000","tag":"g","click_action":"OPEN","channel_id":"c"}}}})"},
        {R"({"notification":{"title_loc_key":"k","title_loc_args":"[\"a\",\"b\"]",
            "body_loc_args":["c",4]}})",
         R"({"message":{"android":{"notification":{"title_loc_key":"k","title_loc_args":["a","b"],
            "body_loc_args":["c","4"]}}}})"},
        {R"({"priority":"high"})", R"({"message":{"android":{"priority":"HIGH"}}})"},
        {R"({"priority":"Normal"})", R"({"message":{"android":{"priority":"NORMAL"}}})"},
        {R"({"priority":10})", R"({"message":{"android":{"priority":"HIGH"}}})"},
        {R"({"priority":5})", R"({"message":{"android":{"priority":"NORMAL"}}})"},
        {R"({"time_to_live":0})", R"({"message":{"android":{"ttl":"0s"}}})"},
        {R"({"time_to_live":"2419200"})", R"({"message":{"android":{"ttl":"2419200s"}}})"},
        {R"({"collapse_key":"k","restricted_package_name":"org.x","direct_boot_ok":true})",
         R"({"message":{"android":{"collapse_key":"k","restricted_package_name":"org.x",
            "direct_boot_ok":true}}})"},
        {R"({"content_available":true,"mutable_content":"1","notification":{"badge":"7"}})",
         R"({"message":{"apns":{"payload":{"aps":{"content-available":1,"mutable-content":1,
            "badge":7}}}}})"},
        {R"({"notification":{"title":"T","subtitle":"S"}})",
         R"({"message":{"notification":{"title":"T"},
            "apns":{"payload":{"aps":{"alert":{"title":"T","subtitle":"S"}}}}}})"},
        {R"({"dry_run":true,"data":{"a":"b"}})",
         R"({"message":{"data":{"a":"b"}},"validate_only":true})"},
        {R"({"dry_run":false,"delay_while_idle":true,"priority":null})", R"({"message":{}})"},
        {R"({"data":{"q":"\"\\\u0000 \ud83d\ude00"}})",
         R"({"message":{"data":{"q":"\"\\\u0000 \ud83d\ude00"}}})"},
    }));
    CHECK(converted(c.legacy) == json::parse(c.v1));
}

TEST_CASE("a body that is an FCM v1 message already stays byte for byte", "[hub]") {
    const std::string body = R"( {"message" : {"data":{"a":"b"}} } )";
    CHECK(std::get<std::string>(gcm_to_fcmv1(body)) == body);
}

TEST_CASE("what FCM v1 has no place for is refused by name", "[hub]") {
    struct Case {
        const char* legacy;
        const char* named;
    };
    const auto c = GENERATE(values<Case>({
        {"", "not valid JSON"},
        {"[]", "JSON object"},
        {R"({"to":"x"})", "'to'"},
        {R"({"registration_ids":["x"]})", "'registration_ids'"},
        {R"({"condition":"'a' in topics"})", "'condition'"},
        {R"({"data":"text"})", "'data'"},
        {R"({"notification":[]})", "'notification'"},
        {R"({"notification":{"title":{}}})", "'notification.title'"},
        {R"({"notification":{"hologram":"x"}})", "'notification.hologram'"},
        {R"({"notification":{"badge":"many"}})", "'notification.badge'"},
        {R"({"notification":{"title_loc_args":"a,b"}})", "title_loc_args"},
        {R"({"notification":{"title_loc_args":{}}})", "'notification.title_loc_args'"},
        {R"({"priority":"urgent"})", "'priority'"},
        {R"({"time_to_live":-1})", "'time_to_live'"},
        {R"({"time_to_live":2419201})", "'time_to_live'"},
        {R"({"time_to_live":18446744073709551615})", "'time_to_live'"},
        {R"({"time_to_live":1.5})", "'time_to_live'"},
        {R"({"collapse_key":7})", "'collapse_key'"},
        {R"({"dry_run":"perhaps"})", "'dry_run'"},
        {R"({"surprise":1})", "'surprise'"},
    }));
    const auto body = gcm_to_fcmv1(c.legacy);
    INFO(c.legacy);
    const auto* refusal = std::get_if<Refusal>(&body);
    REQUIRE(refusal != nullptr);
    INFO(refusal->message);
    CHECK(refusal->status == 400);
    CHECK(refusal->message.find(c.named) != std::string::npos);
}

// --- the alias in a running hub ---

namespace {

hub::Config with_alias() {
    hub::Config config;
    config.gcm_through_fcmv1 = true;
    return config;
}

std::set<std::string> reached(support::World& world) {
    std::set<std::string> handles;
    for (const auto& entry : world.sim("fcmv1").entries(true)) handles.insert(entry.handle);
    return handles;
}

/// The last body that arrived for a handle.
json received(support::World& world, const std::string& handle) {
    std::string body;
    REQUIRE(world.sim("fcmv1").body_of(handle, body));
    return json::parse(body);
}

const std::string gcm_body = R"({"data":{"m":"hi","n":1},"priority":"high"})";

}  // namespace

TEST_CASE("with the alias gcm and fcmv1 registrations are one pool", "[hub]") {
    support::World world(with_alias());
    world.install("old", "gcm", support::handle_of("fcmv1", 1));
    world.install("new", "fcmv1", support::handle_of("fcmv1", 2));
    // A device that moved over and left its old registration behind.
    world.install("both-old", "gcm", support::handle_of("fcmv1", 3));
    world.install("both-new", "fcmv1", support::handle_of("fcmv1", 3));
    const auto format = GENERATE("gcm", "fcmv1");
    const std::string body = format == std::string("gcm") ? gcm_body : converted(gcm_body).dump();
    const auto told = world.finish(world.send(format, "all", body));
    CHECK(told.devices("Success") == 3);
    CHECK(told.devices("Skipped") == 1);
    CHECK(reached(world).size() == 3);
    CHECK(world.sim("fcmv1").counters().doubles == 0);
    for (const auto& handle : reached(world)) {
        const auto message = received(world, handle)["message"];
        CHECK(message["data"] == json({{"m", "hi"}, {"n", "1"}}));
        CHECK(message["android"]["priority"] == "HIGH");
    }
}

TEST_CASE("with the alias a gcm template reaches its device through FCM v1", "[hub]") {
    support::World world(with_alias());
    world.install("old", "gcm", support::handle_of("fcmv1", 1),
                  R"("tags":["all"],"templates":{"t":{"body":"{\"data\":{\"m\":\"$(text)\"}}"}})");
    const auto told = world.finish(world.send("template", "all", R"({"text":"a \"b\""})"));
    CHECK(told.devices("Success") == 1);
    CHECK(told.outcomes.at("gcm").at("Success") == 1);
    CHECK(received(world, support::handle_of("fcmv1", 1))["message"]["data"]["m"] == "a \"b\"");
}

TEST_CASE("a gcm body that cannot be converted is refused at once with the alias", "[hub]") {
    support::World world(with_alias());
    const auto reply = world.call("POST", "/app/messages", R"({"to":"x"})",
                                  {{"servicebusnotification-format", "gcm"}});
    CHECK(reply.status == 400);
    CHECK(reply.body.find("'to'") != std::string::npos);
}

TEST_CASE("without the alias gcm registrations end in an honest outcome", "[hub]") {
    support::World world;
    world.install("old", "gcm", support::handle_of("fcmv1", 1));
    CHECK(world.finish(world.send("gcm", "", R"({"to":"x"})")).devices("PnsInterfaceError") == 1);
    CHECK(world.finish(world.send("fcmv1", "", R"({"message":{}})")).state == "NoTargetFound");
}
