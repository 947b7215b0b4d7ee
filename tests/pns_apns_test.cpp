#include <cstdlib>

#include "pns/certificate_file.hpp"
#include "pns/clock.hpp"
#include "tests/support/pkcs12.hpp"
#include "tests/support/pns_accounts.hpp"

namespace {

using support::header_of;
using support::message_of;
using support::refusal_of;

const std::string alert = R"({"aps":{"alert":"hello"}})";
const std::string silent = R"({"aps":{"content-available":1},"x":1})";

const std::string live =
    R"({"aps":{"timestamp":1795200000,"event":"update","content-state":{"score":"2:1"}}})";
const std::string live_start =
    R"({"aps":{"timestamp":1795200000,"event":"start","content-state":{"score":"0:0"},)"
    R"("attributes-type":"Match","attributes":{"teams":"a-b"},"alert":{"title":"Kick-off"}}})";

std::string refused_credential(const pns::Credential& credential) {
    auto checked = pns::platform_by_name("apns")->check_credential(credential);
    const auto* refusal = std::get_if<pns::Refusal>(&checked);
    return refusal ? refusal->message : "(taken)";
}

}  // namespace

TEST_CASE("an APNs push is encoded with its own path and id and shared headers", "[pns]") {
    const auto account = support::open_account("apns");
    pns::Message message = message_of(alert, {{"apns-collapse-id", "order-1042"},
                                              {"apns-id", "0B9F3D52-7A55-4F3E-9C11-2E6C1A0D7B44"},
                                              {"x-other", "ignored"}});
    message.expires_at_ms = 1'795'286'400'999;
    const auto prepared = support::prepare(*account, message);
    CHECK(*prepared->body == alert);
    CHECK(prepared->body_head.empty());
    CHECK(prepared->expires_at_ms == message.expires_at_ms);
    const pns::Headers expected = {{"apns-topic", "org.example.pushhub"},
                                   {"apns-push-type", "alert"},
                                   {"apns-expiration", "1795286400"},
                                   {"apns-collapse-id", "order-1042"}};
    CHECK(prepared->headers == expected);

    pns::Push push;
    const std::string handle = "5F0C9AFF";
    push.handle = handle;
    push.prepared = prepared;
    push.id = {0x0b, 0x9f, 0x3d, 0x52, 0x7a, 0x55, 0x4f, 0x3e,
               0x9c, 0x11, 0x2e, 0x6c, 0x1a, 0x0d, 0x7b, 0x44};
    pns::Encoded encoded;
    encoded.body = "left over";
    for (int i = 0; i < 2; ++i) {
        account->encode(push, encoded);
        CHECK(encoded.path == "/3/device/5f0c9aff");
        REQUIRE(encoded.headers.size() == 1);
        CHECK(encoded.headers[0].first == "apns-id");
        CHECK(encoded.headers[0].second == "0b9f3d52-7a55-4f3e-9c11-2e6c1a0d7b44");
        CHECK(encoded.body.empty());
    }
    CHECK(account->protocol() == pns::Account::Protocol::h2);
    CHECK(account->starts_with_one_stream());
    CHECK(account->authorization("t") == "bearer t");
}

TEST_CASE("push type, topic and priority follow headers, payload and credential", "[pns]") {
    const auto account = support::open_account("apns");
    struct Row {
        std::string body;
        pns::Headers headers;
        std::string type, topic, priority;
    };
    const std::string app = "org.example.pushhub", none = "(none)";
    const std::vector<Row> rows = {
        {alert, {}, "alert", app, none},
        {silent, {}, "background", app, "5"},
        {silent, {{"apns-priority", "10"}}, "background", app, "5"},
        {silent, {{"apns-priority", "1"}}, "background", app, "1"},
        {R"({"aps":{"content-available":1,"badge":0}})", {}, "alert", app, none},
        {R"({"aps":{"content-available":1,"alert":null}})", {}, "background", app, "5"},
        {R"({"x":1})", {}, "alert", app, none},
        {alert, {{"x-apns-priority", "5"}}, "alert", app, "5"},
        {alert, {{"x-apns-priority", "5"}, {"apns-priority", "10"}}, "alert", app, "10"},
        {alert, {{"apns-push-type", "voip"}}, "voip", app + ".voip", none},
        {alert, {{"apns-push-type", "complication"}}, "complication", app + ".complication", none},
        {alert,
         {{"apns-push-type", "fileprovider"}},
         "fileprovider",
         app + ".pushkit.fileprovider",
         none},
        {alert, {{"apns-push-type", "location"}}, "location", app + ".location-query", none},
        {live,
         {{"apns-push-type", "liveactivity"}, {"apns-priority", "5"}},
         "liveactivity",
         app + ".push-type.liveactivity",
         "5"},
        {live, {}, "liveactivity", app + ".push-type.liveactivity", none},
        {live_start, {}, "liveactivity", app + ".push-type.liveactivity", none},
        {alert, {{"apns-push-type", "pushtotalk"}}, "pushtotalk", app + ".voip-ptt", "10"},
        {alert,
         {{"apns-push-type", "pushtotalk"}, {"apns-priority", "5"}},
         "pushtotalk",
         app + ".voip-ptt",
         "5"},
        {alert, {{"apns-push-type", "widgets"}}, "widgets", app + ".push-type.widgets", none},
        {alert, {{"apns-push-type", "controls"}}, "controls", app + ".push-type.controls", none},
        {alert, {{"apns-push-type", "brandnew"}}, "brandnew", app, none},
        {"{}",
         {{"apns-push-type", "mdm"}, {"apns-topic", "com.apple.mgmt.X"}},
         "mdm",
         "com.apple.mgmt.X",
         none},
        {alert, {{"apns-topic", "org.other"}}, "alert", "org.other", none},
        {alert, {{"apns-topic", "org.other.voip"}}, "voip", "org.other.voip", none},
    };
    for (const Row& row : rows) {
        INFO(row.body << " " << row.type << " " << row.topic);
        const auto prepared = support::prepare(*account, message_of(row.body, row.headers));
        CHECK(header_of(prepared->headers, "apns-push-type") == row.type);
        CHECK(header_of(prepared->headers, "apns-topic") == row.topic);
        CHECK(header_of(prepared->headers, "apns-priority") == row.priority);
    }
}

TEST_CASE("an APNs message that Apple would refuse is refused before it is sent", "[pns]") {
    const auto account = support::open_account("apns");
    const std::string format = "InvalidNotificationFormat", size = "InvalidNotificationSize";
    const auto sized = [](std::size_t bytes) {
        return R"({"aps":{},"x":")" + std::string(bytes - 17, 'x') + "\"}";
    };
    REQUIRE(sized(4096).size() == 4096);
    CHECK(refusal_of(*account, message_of("")) == format);
    CHECK(refusal_of(*account, message_of("[]")) == format);
    CHECK(refusal_of(*account, message_of("{\"aps\":")) == format);
    CHECK(refusal_of(*account, message_of("{}x")) == format);
    CHECK(refusal_of(*account, message_of("{\"a\":\"\xff\"}")) == format);
    CHECK(refusal_of(*account, message_of(sized(4096))) == "(taken)");
    CHECK(refusal_of(*account, message_of(sized(4097))) == size);
    CHECK(refusal_of(*account, message_of(sized(5120), {{"apns-push-type", "voip"}})) == "(taken)");
    CHECK(refusal_of(*account, message_of(sized(5121), {{"apns-push-type", "voip"}})) == size);
    const std::vector<pns::Headers> bad = {
        {{"apns-priority", "7"}},
        {{"apns-priority", "5"}, {"apns-priority", "5"}},
        {{"apns-push-type", "background"}, {"apns-priority", "10"}},
        {{"apns-push-type", "mdm"}},
        {{"apns-expiration", "tomorrow"}},
        {{"apns-expiration", "-1"}},
        {{"apns-expiration", "99999999999999999999"}},
        {{"apns-expiration", "9223372036854775807"}},
        {{"apns-collapse-id", std::string(65, 'x')}},
        {{"apns-collapse-id", ""}},
        {{"apns-collapse-id", "a\r\nb"}},
        {{"apns-topic", "a b"}},
        {{"apns-topic", "caf\xc3\xa9"}},
        {{"apns-x", std::string(513, 'x')}},
        {{"apns-\r\n", "x"}},
    };
    for (const auto& headers : bad) {
        INFO(headers[0].first << ": " << headers[0].second);
        CHECK(refusal_of(*account, message_of(alert, headers)) == format);
    }
}

TEST_CASE("a Live Activity that the device would drop silently is refused", "[pns]") {
    const auto account = support::open_account("apns");
    const auto aps = [](const std::string& members) { return R"({"aps":{)" + members + "}}"; };
    const std::string time = R"("timestamp":1795200000,)", state = R"("content-state":{},)";
    struct Row {
        std::string body;
        bool taken;
    };
    const std::vector<Row> rows = {
        {live, true},
        {live_start, true},
        {aps(time + R"("event":"end")"), true},
        {aps(time + state + R"("event":"update")"), true},
        {aps(time + R"("event":"update")"), false},
        {aps(state + R"("event":"update")"), false},
        {aps(time + state + R"("event":"begin")"), false},
        {aps(time + state + R"("alert":"x")"), false},
        {aps(R"("timestamp":1795200000000,)" + state + R"("event":"update")"), false},
        {aps(R"("timestamp":1795200000.5,)" + state + R"("event":"update")"), true},
        {aps(R"("timestamp":"now",)" + state + R"("event":"update")"), false},
        {aps(time + state + R"("event":"start")"), false},
        {aps(time + state + R"("event":"start","attributes-type":"A","attributes":{})"), false},
        {aps(time + state + R"("event":"start","attributes-type":"A","alert":{})"), false},
    };
    for (const Row& row : rows) {
        INFO(row.body);
        const bool taken =
            refusal_of(*account, message_of(row.body, {{"apns-push-type", "liveactivity"}})) ==
            "(taken)";
        CHECK(taken == row.taken);
    }
}

TEST_CASE("only the events of Live Activities make one", "[pns]") {
    const auto account = support::open_account("apns");
    const auto type_of = [&](const std::string& event) {
        const auto body = R"({"aps":{"timestamp":1795200000,"event":")" + event +
                          R"(","content-state":{},"alert":"Tonight at eight"}})";
        return header_of(support::prepare(*account, message_of(body))->headers, "apns-push-type");
    };
    CHECK(type_of("concert") == "alert");
    CHECK(type_of("update") == "liveactivity");
    CHECK(type_of("end") == "liveactivity");
    const auto refused =
        account->prepare(message_of(R"({"aps":{"timestamp":1795200000000,"event":"end"}})"));
    REQUIRE(std::holds_alternative<pns::Refusal>(refused));
    CHECK(std::get<pns::Refusal>(refused).message.find("milliseconds") != std::string::npos);
}

TEST_CASE("a push-to-talk push is tried once unless it says otherwise", "[pns]") {
    const auto account = support::open_account("apns");
    auto message = message_of(alert, {{"apns-push-type", "pushtotalk"}});
    CHECK(header_of(support::prepare(*account, message)->headers, "apns-expiration") == "0");
    message.expires_at_ms = 1'795'286'400'000;
    CHECK(header_of(support::prepare(*account, message)->headers, "apns-expiration") ==
          "1795286400");
}

TEST_CASE("apns-expiration bounds how long the hub keeps trying", "[pns]") {
    const auto account = support::open_account("apns");
    const auto at =
        support::prepare(*account, message_of(alert, {{"apns-expiration", "1795286400"}}));
    CHECK(at->expires_at_ms == 1'795'286'400'000);
    CHECK(header_of(at->headers, "apns-expiration") == "1795286400");
    const auto once = support::prepare(*account, message_of(alert, {{"apns-expiration", "0"}}));
    CHECK(once->expires_at_ms == std::numeric_limits<std::int64_t>::max());
    CHECK(header_of(once->headers, "apns-expiration") == "0");
    // The year 9999 and what else stands for never.
    for (const char* late : {"253402300799", "9223372036854775"}) {
        const auto never =
            support::prepare(*account, message_of(alert, {{"apns-expiration", late}}));
        CHECK(header_of(never->headers, "apns-expiration") == "2147483647");
        CHECK(never->expires_at_ms == std::stoll(late) * 1000);
    }
    auto message = message_of(alert);
    message.expires_at_ms = 253'402'300'799'000;
    CHECK(header_of(support::prepare(*account, message)->headers, "apns-expiration") ==
          "2147483647");
}

TEST_CASE("the Endpoint of a credential chooses the environment", "[pns]") {
    struct Row {
        const char* endpoint;
        const char* host;
        int port;
    };
    const std::vector<Row> rows = {
        {"", "api.push.apple.com", 443},
        {"https://api.push.apple.com:443/3/device", "api.push.apple.com", 443},
        {"https://api.push.apple.com:2197/3/device", "api.push.apple.com", 2197},
        {"https://api.development.push.apple.com:443/3/device", "api.sandbox.push.apple.com", 443},
        {"https://api.sandbox.push.apple.com", "api.sandbox.push.apple.com", 443},
        {"gateway.push.apple.com", "api.push.apple.com", 443},
        {"gateway.sandbox.push.apple.com", "api.sandbox.push.apple.com", 443},
        {"API.PUSH.APPLE.COM", "api.push.apple.com", 443},
        {"http://api.push.apple.com/3/device", nullptr, 0},
        {"https://api.push.apple.com.evil.test", nullptr, 0},
        {"https://127.0.0.1/", nullptr, 0},
        {"https://api.push.apple.com:8443", nullptr, 0},
        {"gateway.sandbox.push.apple.com:2196", nullptr, 0},
        {"gateway.push.apple.com:2195", "api.push.apple.com", 443},  // of the old protocol
    };
    for (const Row& row : rows) {
        INFO(row.endpoint);
        pns::Credential credential = support::made_credential("apns").credential;
        credential.properties["Endpoint"] = row.endpoint;
        if (!row.host) {
            CHECK(refused_credential(credential).find("Endpoint") != std::string::npos);
            continue;
        }
        const pns::Origin origin = support::open_with(credential)->origin("AA");
        CHECK(origin.host == row.host);
        CHECK(origin.port == row.port);
        const bool sandbox = origin.host.find("sandbox") != std::string::npos;
        const pns::Origin broadcast = support::open_with(credential)->origin("channel:x");
        CHECK((broadcast.host.find("sandbox") != std::string::npos) == sandbox);
    }
}

TEST_CASE("the host of broadcasts may be set, but only within the environment", "[pns]") {
    pns::Credential credential = support::made_credential("apns").credential;
    credential.properties["Endpoint"] = "https://api.sandbox.push.apple.com";
    credential.properties["BroadcastEndpoint"] = "api-broadcast.sandbox.push.apple.com:2197";
    const pns::Origin origin = support::open_with(credential)->origin("channel:x");
    CHECK(origin.host == "api-broadcast.sandbox.push.apple.com");
    CHECK(origin.port == 2197);
    for (const char* wrong : {"https://api-broadcast.push.apple.com", "https://evil.test",
                              "https://api-broadcast.sandbox.push.apple.com:22"}) {
        credential.properties["BroadcastEndpoint"] = wrong;
        CHECK(refused_credential(credential).find("BroadcastEndpoint") != std::string::npos);
    }
}

TEST_CASE("an APNs token is signed with the key and names key, team and time", "[pns]") {
    const auto& made = support::made_credential("apns");
    const auto account = support::open_with(made.credential);
    const auto source = account->token_source();
    const auto& signer = std::get<pns::SelfSigned>(source);
    const auto token = signer.mint(1'795'200'000);
    REQUIRE(token.has_value());
    const auto jwt = pns::split_jwt(*token);
    REQUIRE(jwt);
    CHECK(jwt->header == R"({"alg":"ES256","kid":")" + made.trust.key_id + "\"}");
    CHECK(jwt->claims == R"({"iss":")" + made.trust.team_id + R"(","iat":1795200000})");
    CHECK(
        pns::Key::read_public(made.trust.public_key_pem)->verify(jwt->signed_part, jwt->signature));
    CHECK(signer.renew_s >= 20 * 60);
    CHECK(signer.renew_s < 60 * 60);
}

TEST_CASE("an APNs credential with the wrong key is refused by name", "[pns]") {
    const pns::Credential good = support::made_credential("apns").credential;
    const auto with = [&](const char* name, const std::string& value) {
        pns::Credential changed = good;
        changed.properties[name] = value;
        return refused_credential(changed);
    };
    CHECK(refused_credential(good) == "(taken)");
    CHECK(with("Token", "AAAA").find("Token") != std::string::npos);
    CHECK(with("Token", pns::Key::generate_rsa().private_pem()).find("P-256") != std::string::npos);
    CHECK(with("KeyId", "SHORT").find("KeyId") != std::string::npos);
    CHECK(with("KeyId", "KEY\"123456").find("KeyId") != std::string::npos);
    CHECK(with("AppId", "TEAM-12345").find("AppId") != std::string::npos);
    CHECK(with("AppName", "a b").find("AppName") != std::string::npos);
    for (const char* part : {"BEGIN", "PRIVATE"})
        CHECK(with("KeyId", good.properties.at("Token")).find(part) == std::string::npos);
}

TEST_CASE("an APNs certificate opens with its password and gives the topic", "[pns]") {
    pns::Credential credential;
    credential.platform = "apns";
    credential.properties["ApnsCertificate"] =
        support::make_pkcs12("org.example.certified", "secret");
    credential.properties["CertificateKey"] = "secret";
    credential.properties["Endpoint"] = "gateway.sandbox.push.apple.com";
    const auto account = support::open_with(credential);
    CHECK(!account->starts_with_one_stream());
    CHECK(std::holds_alternative<pns::NoToken>(account->token_source()));
    const auto [chain, key] = account->client_certificate();
    CHECK(chain.starts_with("-----BEGIN CERTIFICATE-----"));
    // Its end is known; a token's key has none.
    const auto end_s = pns::credential_end_s(credential);
    REQUIRE(end_s);
    CHECK(std::abs(*end_s - pns::system_clock().wall_ms() / 1'000 - 3'600) < 60);
    CHECK(pns::certificate_end_s(chain) == end_s);
    CHECK_FALSE(pns::certificate_end_s("no PEM"));
    CHECK_FALSE(pns::credential_end_s(support::made_credential("apns").credential));
    CHECK(key.starts_with("-----BEGIN PRIVATE KEY-----"));
    CHECK(header_of(support::prepare(*account, message_of(alert))->headers, "apns-topic") ==
          "org.example.certified");
    CHECK(refusal_of(*account, message_of(alert, {{"apns-push-type", "location"}})) ==
          "InvalidNotificationFormat");

    credential.properties["CertificateKey"] = "wrong";
    CHECK(refused_credential(credential).find("password") != std::string::npos);
    credential.properties["ApnsCertificate"] = "AAAA";
    CHECK(refused_credential(credential).find("PKCS#12") != std::string::npos);
    credential.properties["ApnsCertificate"] = "!";
    CHECK(refused_credential(credential).find("base64") != std::string::npos);
}

TEST_CASE("an alert has a collapse id by which a copy replaces it", "[pns]") {
    const auto account = support::open_account("apns");
    struct Row {
        std::string body;
        pns::Headers headers;
        std::string expected;
    };
    const std::vector<Row> rows = {
        {alert, {}, "AQAAAAAAAAAAAAAAAAAAAA"},
        {alert, {{"apns-collapse-id", "mine"}}, "(none)"},
        {silent, {}, "(none)"},
        {live, {}, "(none)"},
    };
    pns::Encoded encoded;
    for (const Row& row : rows) {
        pns::Push push;
        push.handle = "AB";
        push.id[0] = 1;
        push.prepared = support::prepare(*account, message_of(row.body, row.headers));
        account->encode(push, encoded);
        CHECK(header_of(encoded.headers, "apns-collapse-id") == row.expected);
        CHECK(header_of(encoded.headers, "apns-id") == "01000000-0000-0000-0000-000000000000");
    }
}
