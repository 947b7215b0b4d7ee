#include "pns/jwt.hpp"
#include "tests/support/pns_accounts.hpp"

namespace {

using nlohmann::json;
using support::message_of;
using support::refusal_of;

std::string field_of(const std::string& form, const std::string& name) {
    const std::size_t at = ("&" + form).find("&" + name + "=");
    if (at == std::string::npos) return "(none)";
    const std::size_t begin = at + name.size() + 1;
    return form.substr(begin, form.find('&', begin) - begin);
}

}  // namespace

TEST_CASE("the device's token becomes the first member of an FCM message", "[pns]") {
    const auto account = support::open_account("fcmv1");
    const std::vector<std::pair<std::string, std::string>> rows = {
        {R"({"message":{"data":{"a":"b"}}})", R"({"message":{"token":"T","data":{"a":"b"}}})"},
        {R"({"message":{}})", R"({"message":{"token":"T"}})"},
        {"{ \"message\" : {\n \"data\":{} } }",
         "{ \"message\" : {\"token\":\"T\",\n \"data\":{} } }"},
        {R"({"validate_only":true,"message":{"android":{"ttl":"1.50s"}}})",
         R"({"validate_only":true,"message":{"token":"T","android":{"ttl":"1.50s"}}})"},
        {R"({"message":{"data":{"message":"{\"x\":1}","y":"}"}},"validate_only":false})",
         R"({"message":{"token":"T","data":{"message":"{\"x\":1}","y":"}"}},"validate_only":false})"},
    };
    pns::Encoded encoded;
    for (const auto& [body, expected] : rows) {
        INFO(body);
        pns::Push push;
        push.handle = "T";
        push.prepared = support::prepare(*account, message_of(body));
        CHECK(!push.prepared->body);
        account->encode(push, encoded);
        CHECK(encoded.body == expected);
        CHECK(json::parse(encoded.body)["message"]["token"] == "T");
        CHECK(encoded.headers.empty());
    }
    CHECK(encoded.path ==
          "/v1/projects/" + support::made_credential("fcmv1").trust.project + "/messages:send");
    pns::Push hostile;
    hostile.handle = "a\"\\\n},{";
    hostile.prepared = support::prepare(*account, message_of(R"({"message":{}})"));
    account->encode(hostile, encoded);
    CHECK(json::parse(encoded.body)["message"]["token"] == "a\"\\\n},{");
}

TEST_CASE("an FCM body that Firebase would refuse is refused before it is sent", "[pns]") {
    const auto account = support::open_account("fcmv1");
    const std::vector<std::string> bad = {
        "",
        "x",
        "[]",
        "{}",
        R"({"notification":{"title":"t"}})",
        R"({"message":[]})",
        R"({"message":{"token":"x"}})",
        R"({"message":{"topic":"x"}})",
        R"({"message":{"condition":"x"}})",
        R"({"message":{"fid":"x"}})",
        R"({"message":{"data":{"a":1}}})",
        R"({"message":{"data":{"a":{}}}})",
        R"({"message":{"data":"a"}})",
        R"({"message":{"data":{"from":"a"}}})",
        R"({"message":{"data":{"google.x":"a"}}})",
        R"({"message":{"data":{"gcm.notification.x":"a"}}})",
        R"({"message":{"data":{"message_type":"a"}}})",
        R"({"message":{},"message":{}})",
        R"({"mess\u0061ge":{}})",
        R"({"message":{},"to":"x"})",
        R"({"message":{}}})",
        "{\"message\":{\"data\":{\"a\":\"\xff\"}}}",
    };
    for (const std::string& body : bad) {
        INFO(body);
        CHECK(refusal_of(*account, message_of(body)) == "InvalidNotificationFormat");
    }
}

TEST_CASE("what FCM bounds are decoded names and values, for each platform", "[pns]") {
    const auto account = support::open_account("fcmv1");
    const auto outcome = [&](const std::string& message) {
        return refusal_of(*account, message_of(R"({"message":{)" + message + "}}"));
    };
    const auto repeated = [](std::string_view text, std::size_t times) {
        std::string out;
        for (std::size_t i = 0; i < times; ++i) out += text;
        return out;
    };
    const auto data = [](const std::string& text) { return R"("data":{"x":")" + text + "\"}"; };
    const std::string taken = "(taken)", size = "InvalidNotificationSize";
    CHECK(outcome(data(repeated("x", 4095))) == taken);
    CHECK(outcome(data(repeated("x", 4096))) == size);
    // The same text, as it is and as escapes.
    CHECK(outcome(data(repeated("\xd0\xbf", 2047))) == taken);
    CHECK(outcome(data(repeated("\\u043f", 2047))) == taken);
    CHECK(outcome(data(repeated("\\u043f", 2048))) == size);
    CHECK(outcome(data(repeated("\\n", 4095))) == taken);
    CHECK(outcome(R"("notification":{"body":")" + repeated("x", 2000) + R"("},)" +
                  data(repeated("x", 2091))) == taken);
    CHECK(outcome(R"("notification":{"body":")" + repeated("x", 2000) + R"("},)" +
                  data(repeated("x", 2092))) == size);
    // Overrides do not add up.
    const std::string some = repeated("x", 1'500);
    CHECK(outcome(R"("android":{"notification":{"body":")" + some +
                  R"("}},"webpush":{"data":{"b":")" + some +
                  R"("}},"apns":{"payload":{"aps":{"alert":{"body":")" + some + R"("}}}})") ==
          taken);
    CHECK(outcome(R"("android":{)" + data(repeated("x", 4095)) + "}") == taken);
    CHECK(outcome(R"("android":{)" + data(repeated("x", 4096)) + "}") == size);
    CHECK(outcome(R"("webpush":{)" + data(repeated("x", 4096)) + "}") == size);
    CHECK(outcome(R"("apns":{"payload":{"aps":{"alert":{"loc-args":[")" + repeated("x", 4077) +
                  R"("]}}}})") == taken);
    CHECK(outcome(R"("apns":{"payload":{"aps":{"alert":{"loc-args":[")" + repeated("x", 4081) +
                  R"("]}}}})") == size);
    CHECK(outcome(R"("android":{)" + data("y") + "}," + data(repeated("x", 4000))) == taken);
    // The JSON itself has a bound too.
    CHECK(refusal_of(*account, message_of(R"({"message":{"data":{}}})" +
                                          std::string(64 * 1024, ' '))) == size);
}

TEST_CASE("an FCM token is asked for with a signed assertion", "[pns]") {
    const auto& made = support::made_credential("fcmv1");
    const auto account = support::open_with(made.credential);
    CHECK(account->origin("x") == pns::Origin{"fcm.googleapis.com", 443});
    const auto source = account->token_source();
    const auto& fetched = std::get<pns::Fetched>(source);
    CHECK(fetched.origin == pns::Origin{"oauth2.googleapis.com", 443});
    CHECK(fetched.path == "/token");
    const auto form = fetched.form(1'795'200'000);
    REQUIRE(form.has_value());
    CHECK(field_of(*form, "grant_type") == "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer");
    const auto jwt = pns::split_jwt(field_of(*form, "assertion"));
    REQUIRE(jwt);
    CHECK(
        pns::Key::read_public(made.trust.public_key_pem)->verify(jwt->signed_part, jwt->signature));
    const json claims = json::parse(jwt->claims);
    CHECK(claims["iss"] == made.trust.client_email);
    CHECK(claims["aud"] == "https://oauth2.googleapis.com/token");
    CHECK(claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging");
    CHECK(claims["iat"] == 1'795'200'000);
    CHECK(claims["exp"] == 1'795'203'600);
    CHECK(json::parse(jwt->header)["alg"] == "RS256");
}

TEST_CASE("an FCM credential with bad properties is refused by name", "[pns]") {
    const std::vector<std::pair<std::string, std::string>> rows = {
        {"PrivateKey", "x"},
        {"PrivateKey", pns::Key::generate_p256().private_pem()},
        {"PrivateKey", pns::Key::generate_rsa(1024).private_pem()},
        {"ProjectId", "a/../b"},
        {"ClientEmail", "nobody"},
        {"FcmV1Endpoint", "https://evil.test"},
        {"FcmV1Endpoint", "http://fcm.googleapis.com"},
    };
    for (const auto& [name, value] : rows) {
        INFO(name);
        pns::Credential credential = support::made_credential("fcmv1").credential;
        credential.properties[name] = value;
        auto checked = pns::platform_by_name("fcmv1")->check_credential(credential);
        REQUIRE(std::holds_alternative<pns::Refusal>(checked));
        CHECK(std::get<pns::Refusal>(checked).message.find(name) != std::string::npos);
    }
}

TEST_CASE("an FCM push names a token, an installation, a topic or a condition", "[pns]") {
    using Target = pns::Message::Target;
    const auto account = support::open_account("fcmv1");
    struct Row {
        Target target;
        const char* handle;
        const char* expected;
    };
    const std::vector<Row> rows = {
        {Target::device, "cX1:APA91b", R"({"message":{"token":"cX1:APA91b","data":{}}})"},
        {Target::device, "fid:c4wzJ8pLRE6iXoM1Wf0e9A",
         R"({"message":{"fid":"c4wzJ8pLRE6iXoM1Wf0e9A","data":{}}})"},
        {Target::topic, "fid:news", R"({"message":{"topic":"fid:news","data":{}}})"},
        {Target::condition, "'a' in topics",
         R"({"message":{"condition":"'a' in topics","data":{}}})"},
    };
    for (const Row& row : rows) {
        pns::Message message = message_of(R"({"message":{"data":{}}})");
        message.target = row.target;
        pns::Push push;
        push.handle = row.handle;
        push.prepared = support::prepare(*account, message);
        pns::Encoded encoded;
        account->encode(push, encoded);
        CHECK(encoded.body == row.expected);
    }
    pns::Message channel = message_of(R"({"message":{"data":{}}})");
    channel.target = Target::channel;
    CHECK(refusal_of(*account, channel) == "InvalidNotificationFormat");
}

TEST_CASE("what Android displays has a tag by which a copy replaces it", "[pns]") {
    const auto account = support::open_account("fcmv1");
    const std::string made = "AQAAAAAAAAAAAAAAAAAAAA";
    const std::vector<std::pair<std::string, std::string>> rows = {
        {R"({"message":{"notification":{"title":"t"}}})",
         R"({"message":{"token":"T","android":{"notification":{"tag":"ID"}},"notification":{"title":"t"}}})"},
        {R"({"message":{"notification":{"title":"t"},"android":{"ttl":"1s"}}})",
         R"({"message":{"token":"T","notification":{"title":"t"},"android":{"notification":{"tag":"ID"},"ttl":"1s"}}})"},
        {R"({"message":{"notification":{},"android":{}}})",
         R"({"message":{"token":"T","notification":{},"android":{"notification":{"tag":"ID"}}}})"},
        {R"({"message":{"android":{"notification":{"title":"t"}}}})",
         R"({"message":{"token":"T","android":{"notification":{"tag":"ID","title":"t"}}}})"},
        {R"({"message":{"android":{"notification":{}}},"validate_only":true})",
         R"({"message":{"token":"T","android":{"notification":{"tag":"ID"}}},"validate_only":true})"},
        {R"({"message":{"android":{"notification":{"tag":"mine"}}}})",
         R"({"message":{"token":"T","android":{"notification":{"tag":"mine"}}}})"},
        {R"({"message":{"data":{"android":"{","notification":"x"}}})",
         R"({"message":{"token":"T","data":{"android":"{","notification":"x"}}})"},
        {R"({"message":{"notification":{"title":"t"},"android":null}})",
         R"({"message":{"token":"T","notification":{"title":"t"},"android":null}})"},
    };
    pns::Encoded encoded;
    for (auto [body, expected] : rows) {
        INFO(body);
        pns::Push push;
        push.handle = "T";
        push.id[0] = 1;
        push.prepared = support::prepare(*account, message_of(body));
        account->encode(push, encoded);
        if (const auto at = expected.find("ID"); at != std::string::npos)
            expected.replace(at, 2, made);
        CHECK(encoded.body == expected);
        CHECK(json::accept(encoded.body));
        CHECK(encoded.body.size() <= 4096);
    }
}
