#include <algorithm>
#include <chrono>

#include "pns/handles.hpp"
#include "pns/jwt.hpp"
#include "pns/sim/h1_request.hpp"
#include "pns/sim/provider.hpp"
#include "tests/support/raw_client.hpp"
#include "tests/support/simulators.hpp"

namespace {

using nlohmann::json;
using support::RawAnswer;
using support::RawHeaders;
using support::rules_of;

const std::string alert = R"({"aps":{"alert":"hello"}})";
const std::string token_hex = std::string(64, 'a');

std::string apns_token(std::int64_t iat_s, const pns::Key* key = nullptr, std::string kid = {}) {
    const auto& made = support::made_credential("apns");
    const auto own = pns::Key::read_private(made.credential.properties.at("Token"));
    if (kid.empty()) kid = made.trust.key_id;
    return *pns::sign_jwt(
        key ? *key : *own, kid, {},
        R"({"iss":")" + made.trust.team_id + R"(","iat":)" + std::to_string(iat_s) + "}");
}

constexpr std::int64_t now_s = support::now_ms / 1000;

pns::sim::SimOptions at_fixed_time(const std::string& platform) {
    auto options = support::sim_options(platform);
    options.clock_ms = [] { return support::now_ms; };
    return options;
}

RawHeaders apns_headers(const std::string& token) {
    return {{"authorization", "bearer " + token},
            {"apns-topic", "org.example.pushhub"},
            {"apns-push-type", "alert"},
            {"apns-id", "0b9f3d52-7a55-4f3e-9c11-2e6c1a0d7b44"}};
}

RawHeaders changed(RawHeaders headers, const std::string& name, const std::string& value) {
    std::erase_if(headers, [&](const auto& header) { return header.first == name; });
    if (!value.empty()) headers.emplace_back(name, value);
    return headers;
}

std::string reason_of(const RawAnswer& answer) {
    const json body = json::parse(answer.body, nullptr, false);
    return std::to_string(answer.status) + " " +
           (body.is_object() ? body.value("reason", std::string()) : std::string());
}

}  // namespace

TEST_CASE("the APNs simulator accepts a right push and raises its stream limit", "[pns]") {
    const auto sim = support::start_sim(at_fixed_time("apns"));
    support::RawH2 client(sim->port(), support::test_ca().certificate_pem, "api.push.apple.com");
    while (client.session().streams_max() > 1) REQUIRE(client.turn());
    CHECK(client.session().streams_max() == 1);
    const auto answer =
        client.request("/3/device/" + token_hex, apns_headers(apns_token(now_s)), alert);
    CHECK(answer.status == 200);
    CHECK(answer.body.empty());
    CHECK(answer.headers.at("apns-id") == "0b9f3d52-7a55-4f3e-9c11-2e6c1a0d7b44");
    while (client.session().streams_max() == 1) REQUIRE(client.turn());
    CHECK(client.session().streams_max() == 1000);
    client.request("/3/device/" + token_hex, apns_headers(apns_token(now_s)), alert);
    const auto counters = sim->counters();
    CHECK(counters.received == 2);
    // The second token differs: ES256 signatures do.
    CHECK(counters.accepted == 1);
    CHECK(counters.refused.at("429 TooManyProviderTokenUpdates") == 1);
    CHECK(counters.connects == 1);
    CHECK(sim->entries(true).at(0).handle == std::string(64, 'A'));
}

TEST_CASE("the APNs simulator refuses what Apple refuses", "[pns]") {
    const auto sim = support::start_sim(at_fixed_time("apns"));
    const std::string good = apns_token(now_s), path = "/3/device/" + token_hex;
    const RawHeaders headers = apns_headers(good);
    const auto other_key = pns::Key::generate_p256();
    struct Row {
        std::string path;
        RawHeaders headers;
        std::string body, expected, method = "POST";
    };
    std::string broken = good;
    broken[broken.size() - 10] = broken[broken.size() - 10] == 'A' ? 'B' : 'A';
    RawHeaders twice = headers;
    twice.emplace_back("apns-topic", "org.example.pushhub");
    const std::vector<Row> rows = {
        {path, changed(headers, "apns-id", "nonsense"), alert, "400 BadMessageId"},
        {path, headers, "", "405 MethodNotAllowed", "GET"},
        {path, twice, alert, "400 DuplicateHeaders"},
        {path, changed(headers, "apns-collapse-id", std::string(65, 'x')), alert,
         "400 BadCollapseId"},
        {path, changed(headers, "apns-expiration", "soon"), alert, "400 BadExpirationDate"},
        {path, changed(headers, "apns-priority", "7"), alert, "400 BadPriority"},
        {path, changed(headers, "apns-push-type", "banner"), alert, "400 InvalidPushType"},
        {path, changed(changed(headers, "apns-push-type", "background"), "apns-priority", "10"),
         alert, "400 BadPriority"},
        {path, changed(headers, "apns-topic", ""), alert, "400 MissingTopic"},
        {path, changed(headers, "apns-topic", "com.other"), alert, "400 TopicDisallowed"},
        {path, changed(headers, "apns-topic", "org.example.pushhub.voip"), alert,
         "400 DeviceTokenNotForTopic"},
        {path, changed(headers, "apns-push-type", "voip"), alert, "400 DeviceTokenNotForTopic"},
        {"/4/device/" + token_hex, headers, alert, "404 BadPath"},
        {"/3/device/", headers, alert, "400 MissingDeviceToken"},
        {"/3/device/abc", headers, alert, "400 BadDeviceToken"},
        {"/3/device/zz", headers, alert, "400 BadDeviceToken"},
        {path, changed(headers, "authorization", ""), alert, "403 MissingProviderToken"},
        {path, changed(headers, "authorization", "basic x"), alert, "403 InvalidProviderToken"},
        {path, changed(headers, "authorization", "bearer " + broken), alert,
         "403 InvalidProviderToken"},
        {path, apns_headers(apns_token(now_s, &other_key)), alert, "403 InvalidProviderToken"},
        {path, apns_headers(apns_token(now_s, nullptr, "OTHERKEY12")), alert,
         "403 InvalidProviderToken"},
        {path, apns_headers(apns_token(now_s + 120)), alert, "403 InvalidProviderToken"},
        {path, apns_headers(apns_token(now_s - 3600)), alert, "403 ExpiredProviderToken"},
        {path, headers, "", "400 PayloadEmpty"},
        {path, headers, std::string(4097, 'x'), "413 PayloadTooLarge"},
        {path, headers, std::string(4096, 'x'), "200 "},
    };
    support::RawH2 client(sim->port(), support::test_ca().certificate_pem, "api.push.apple.com");
    for (const Row& row : rows) {
        INFO(row.expected);
        const auto answer = client.request(row.path, row.headers, row.body, row.method);
        CHECK(reason_of(answer) == row.expected);
        CHECK(answer.headers.at("apns-id").size() == 36);
    }
    const auto counters = sim->counters();
    CHECK(counters.accepted == 1);
    CHECK(counters.refused_total == rows.size() - 1);
}

TEST_CASE("the APNs simulator takes tokens as clients write them", "[pns]") {
    const auto number = [](std::string half) {
        half.erase(0, std::min(half.find_first_not_of('\0'), half.size() - 1));
        if ((half[0] & 0x80) != 0) half.insert(0, 1, '\0');
        return std::string("\x02") + static_cast<char>(half.size()) + half;
    };
    std::string token, signed_part, raw;
    do {  // until the two alphabets of base64 differ for its signature
        token = apns_token(now_s);
        signed_part = token.substr(0, token.rfind('.'));
        raw = *pns::from_base64url(token.substr(token.rfind('.') + 1));
    } while (pns::base64(raw).find_first_of("+/") == std::string::npos);
    const std::string both = number(raw.substr(0, 32)) + number(raw.substr(32));
    const std::string der = std::string("\x30") + static_cast<char>(both.size()) + both;
    const std::string padding[] = {"", "", "==", "="};
    const auto padded = [&](const std::string& bytes) {
        const std::string text = pns::base64url(bytes);
        return text + padding[text.size() % 4];
    };
    const auto sim = support::start_sim(at_fixed_time("apns"));
    for (const std::string& written :
         {token, signed_part + '.' + padded(raw), signed_part + '.' + padded(der),
          signed_part + '.' + pns::base64url(der), signed_part + '.' + pns::base64(raw),
          signed_part + '.' + pns::base64(der)}) {
        CAPTURE(written);
        support::RawH2 client(sim->port(), support::test_ca().certificate_pem,
                              "api.push.apple.com");
        const auto answer = client.request("/3/device/" + token_hex, apns_headers(written), alert);
        CHECK(reason_of(answer) == "200 ");
    }
    support::RawH2 client(sim->port(), support::test_ca().certificate_pem, "api.push.apple.com");
    const std::string wrong = signed_part + '.' + pns::base64url(der.substr(0, der.size() - 1));
    CHECK(reason_of(client.request("/3/device/" + token_hex, apns_headers(wrong), alert)) ==
          "403 InvalidProviderToken");
}

TEST_CASE("a table of handles chooses what each one answers", "[pns]") {
    const auto sim = support::start_sim(at_fixed_time("apns"));
    sim->set_rules(
        rules_of("apns", {{"handles",
                           {{"aa01", {{"act", "gone"}, {"timestamp", 1795100000000}}},
                            {"AA02", "bad_device_token"},
                            {"aa03", "server_error_once"},
                            {"aa04", {{"act", "throttled"}, {"retry_after", "7"}}},
                            {"aa05", {{"act", "answer"}, {"status", 403}, {"reason", "Forbidden"}}},
                            {"aa06", "reset"},
                            {"aa07", {{"act", "ok"}, {"delay_ms", 20}}}}}}));
    support::RawH2 client(sim->port(), support::test_ca().certificate_pem, "api.push.apple.com");
    const RawHeaders headers = apns_headers(apns_token(now_s));
    const auto ask = [&](const char* handle) {
        return client.request(std::string("/3/device/") + handle, headers, alert);
    };
    const auto gone = ask("aa01");
    CHECK(gone.status == 410);
    CHECK(gone.body == R"({"reason":"Unregistered","timestamp":1795100000000})");
    CHECK(reason_of(ask("aa02")) == "400 BadDeviceToken");
    CHECK(reason_of(ask("aa03")) == "500 InternalServerError");
    CHECK(ask("aa03").status == 200);
    CHECK(ask("aa04").headers.at("retry-after") == "7");
    CHECK(reason_of(ask("aa05")) == "403 Forbidden");
    CHECK(ask("aa06").status == 0);
    CHECK(ask("aa07").status == 200);
    CHECK(ask("aa08").status == 200);
    CHECK(ask("aa08").status == 200);
    CHECK(sim->counters().doubles == 1);
}

TEST_CASE("hash mode gives each outcome its share and a handle always the same one", "[pns]") {
    pns::sim::RuleBook book(7);
    book.replace(rules_of("apns", {{"shares", {{"gone", 0.02}, {"server_error_once", 0.1}}}}));
    int gone = 0, first_error = 0;
    constexpr int total = 20'000;
    for (int i = 0; i < total; ++i) {
        const std::string handle = "handle-" + std::to_string(i);
        const auto first = book.pick(handle), second = book.pick(handle);
        if (first && first->act == pns::sim::Act::gone) {
            ++gone;
            CHECK(second);
        } else if (first) {
            ++first_error;
            CHECK(!second);
        }
    }
    CHECK(gone > total * 0.015);
    CHECK(gone < total * 0.025);
    CHECK(first_error > total * 0.09);
    CHECK(first_error < total * 0.11);
    for (const char* bad :
         {R"({"shares":{"gone":2}})", R"({"shares":{"what":0.1}})", R"({"handles":{"a":"what"}})",
          R"({"handles":{"a":{"act":"gone","colour":1}}})", R"({"handles":[]})", "[]"})
        CHECK(std::holds_alternative<std::string>(
            pns::sim::read_rules(json::parse(bad), *pns::platform_by_name("apns"))));
}

TEST_CASE("the FCM simulator hands a token to a right assertion only", "[pns]") {
    const auto sim = support::start_sim(at_fixed_time("fcmv1"));
    const auto& made = support::made_credential("fcmv1");
    const auto key = pns::Key::read_private(made.credential.properties.at("PrivateKey"));
    support::RawH1 client(sim->port(), support::test_ca().certificate_pem, "oauth2.googleapis.com");
    const json claims = {{"iss", made.trust.client_email},
                         {"scope", "https://www.googleapis.com/auth/firebase.messaging"},
                         {"aud", "https://oauth2.googleapis.com/token"},
                         {"iat", now_s},
                         {"exp", now_s + 3600}};
    const auto ask = [&](const json& said, const pns::Key& with, bool grant = true) {
        const std::string form =
            std::string(grant ? "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&"
                              : "") +
            "assertion=" + *pns::sign_jwt(with, {}, "JWT", said.dump());
        return client.request("/token", {{"content-type", "application/x-www-form-urlencoded"}},
                              form);
    };
    const auto good = ask(claims, *key);
    CHECK(good.status == 200);
    const json token = json::parse(good.body);
    CHECK(token["expires_in"] == 3599);
    CHECK(token["token_type"] == "Bearer");
    const auto with = [&](const char* name, const json& value) {
        json said = claims;
        said[name] = value;
        const auto answer = ask(said, *key);
        return std::to_string(answer.status) + " " +
               json::parse(answer.body)["error"].get<std::string>();
    };
    CHECK(with("iss", "other@x") == "400 invalid_grant");
    CHECK(with("aud", "https://evil.test/") == "400 invalid_grant");
    CHECK(with("scope", "mail") == "400 invalid_scope");
    CHECK(with("exp", now_s + 3601) == "400 invalid_grant");
    CHECK(with("exp", now_s) == "400 invalid_grant");
    CHECK(with("iat", now_s + 7200) == "400 invalid_grant");
    CHECK(with("iat", "x") == "400 invalid_grant");
    CHECK(ask(claims, pns::Key::generate_rsa()).status == 400);
    CHECK(ask(claims, *key, false).status == 400);
    CHECK(sim->counters().tokens_minted == 1);
    CHECK(sim->counters().tokens_refused == 9);

    support::RawH2 sender(sim->port(), support::test_ca().certificate_pem, "fcm.googleapis.com");
    const std::string path = "/v1/projects/" + made.trust.project + "/messages:send";
    const RawHeaders headers = {
        {"authorization", "Bearer " + token["access_token"].get<std::string>()},
        {"content-type", "application/json"}};
    const auto send = [&](const std::string& body) { return sender.request(path, headers, body); };
    const auto accepted = send(R"({"message":{"token":"T1","data":{"a":"b"}}})");
    CHECK(accepted.status == 200);
    CHECK(json::parse(accepted.body)["name"].get<std::string>().starts_with(
        "projects/" + made.trust.project + "/messages/"));
    CHECK(json::parse(send(R"({"validate_only":true,"message":{"token":"T1"}})").body)["name"]
              .get<std::string>()
              .ends_with("/fake_message_id"));
    const auto code_of = [](const RawAnswer& answer) {
        const json body = json::parse(answer.body, nullptr, false);
        return body.is_object() ? std::to_string(answer.status) + " " +
                                      body["error"]["status"].get<std::string>()
                                : std::to_string(answer.status) + " HTML";
    };
    for (const char* bad :
         {R"({"message":{"data":{}}})", R"({"message":{"token":"T","topic":"x"}})",
          R"({"message":{"token":"T","data":{"a":1}}})",
          R"({"message":{"token":"T","data":{"from":"x"}}})",
          R"({"message":{"token":"T","android":{"ttl":"5"}}})", R"({"message":{"token":""}})", "x",
          "{}"}) {
        INFO(bad);
        CHECK(code_of(send(bad)) == "400 INVALID_ARGUMENT");
    }
    CHECK(code_of(send(R"({"message":{"token":"T","data":{"a":")" + std::string(4096, 'x') +
                       "\"}}}")) == "400 INVALID_ARGUMENT");
    CHECK(code_of(sender.request("/v1/projects/other/messages:send", headers, "{}")) ==
          "404 NOT_FOUND");
    CHECK(code_of(sender.request("/fcm/send", headers, "{}")) == "404 HTML");
    CHECK(code_of(sender.request(path, changed(headers, "authorization", "Bearer x"), "{}")) ==
          "401 UNAUTHENTICATED");
    sender.scheme = "https:";  // what firebase-admin for Node sends
    CHECK(send(R"({"message":{"token":"T1"}})").status == 200);
    CHECK(sender.request(path, changed(headers, "connection", "close"), "{}").status == 0);
    CHECK(send(R"({"message":{"token":"T1"}})").status == 200);
    sim->revoke_tokens();
    CHECK(code_of(send(R"({"message":{"token":"T1"}})")) == "401 UNAUTHENTICATED");
}

TEST_CASE("the WNS simulator checks token, channel and headers", "[pns]") {
    const auto sim = support::start_sim("wns");
    const auto& trust = support::made_credential("wns").trust;
    support::RawH1 login(sim->port(), support::test_ca().certificate_pem, "login.live.com");
    const auto form = [&](const std::string& secret, const std::string& scope) {
        std::string out = "grant_type=client_credentials&client_id=";
        pns::append_percent_encoded(out, trust.client_id);
        return out + "&client_secret=" + secret + "&scope=" + scope;
    };
    CHECK(login.request("/accesstoken.srf", {}, form("wrong", "notify.windows.com")).status == 400);
    CHECK(login.request("/accesstoken.srf", {}, form(trust.client_secret, "mail")).status == 400);
    const auto granted =
        login.request("/accesstoken.srf", {}, form(trust.client_secret, "notify.windows.com"));
    CHECK(granted.status == 200);
    CHECK(json::parse(granted.body)["expires_in"] == 86400);
    const auto entra =
        login.request("/tenant/oauth2/v2.0/token", {},
                      form(trust.client_secret, "https%3A%2F%2Fwns.windows.com%2F.default"));
    CHECK(json::parse(entra.body)["expires_in"] == "86399");

    support::RawH1 client(sim->port(), support::test_ca().certificate_pem,
                          "db5p.notify.windows.com");
    const RawHeaders headers = {
        {"Authorization", "Bearer " + json::parse(granted.body)["access_token"].get<std::string>()},
        {"Content-Type", "text/xml"},
        {"X-WNS-Type", "wns/toast"}};
    const auto status = [&](const RawHeaders& with, const std::string& body,
                            const std::string& method = "POST") {
        return client.request("/?token=A%3d", with, body, method).status;
    };
    const auto good = client.request("/?token=A%3d", headers, "<toast/>");
    CHECK(good.status == 200);
    CHECK(good.headers.at("x-wns-notificationstatus") == "received");
    CHECK(status(changed(headers, "Authorization", "Bearer x"), "<toast/>") == 401);
    CHECK(status(changed(headers, "Content-Type", "application/octet-stream"), "<toast/>") == 400);
    CHECK(status(changed(headers, "X-WNS-Type", ""), "<toast/>") == 400);
    CHECK(status(changed(headers, "X-WNS-Tag", std::string(17, 'a')), "<toast/>") == 400);
    CHECK(status(changed(changed(headers, "X-WNS-TTL", "0"), "X-WNS-Cache-Policy", "cache"),
                 "<toast/>") == 400);
    CHECK(status(headers, std::string(5001, 'x')) == 413);
    CHECK(status(headers, "<toast/>", "PUT") == 405);
    CHECK(sim->entries(true).at(0).handle == "https://db5p.notify.windows.com/?token=A%3d");

    sim->set_rules(rules_of("wns", {{"handles",
                                     {{"https://db5p.notify.windows.com/?token=A%3d", "dropped"},
                                      {"https://db5p.notify.windows.com/gone", "gone"}}}}));
    const auto dropped = client.request("/?token=A%3d", headers, "<toast/>");
    CHECK(dropped.status == 200);
    CHECK(client.request("/gone", headers, "<toast/>").status == 410);
    CHECK(sim->counters().refused.at("200 dropped") == 1);

    support::RawH1 chunked(sim->port(), support::test_ca().certificate_pem,
                           "db5p.notify.windows.com");
    CHECK(chunked
              .raw("POST / HTTP/1.1\r\nHost: db5p.notify.windows.com\r\nTransfer-Encoding: "
                   "chunked\r\n\r\n0\r\n\r\n")
              .status == 411);
}

TEST_CASE("the ADM simulator checks token, type, size and checksum, and rotates", "[pns]") {
    const auto sim = support::start_sim("adm");
    const auto& trust = support::made_credential("adm").trust;
    support::RawH1 client(sim->port(), support::test_ca().certificate_pem, "api.amazon.com");
    const auto login = [&](const std::string& secret, const std::string& scope) {
        return client.request("/auth/O2/token", {},
                              "grant_type=client_credentials&client_id=" + trust.client_id +
                                  "&client_secret=" + secret + "&scope=" + scope);
    };
    CHECK(json::parse(login("wrong", "messaging%3Apush").body)["error"] == "invalid_client");
    CHECK(json::parse(login(trust.client_secret, "mail").body)["error"] == "invalid_scope");
    const auto granted = login(trust.client_secret, "messaging%3Apush");
    CHECK(granted.status == 200);
    const RawHeaders headers = {
        {"Authorization", "Bearer " + json::parse(granted.body)["access_token"].get<std::string>()},
        {"Content-Type", "application/json"},
        {"X-Amzn-Type-Version", "com.amazon.device.messaging.ADMMessage@1.0"},
        {"X-Amzn-Accept-Type", "com.amazon.device.messaging.ADMSendResult@1.0"}};
    const auto send = [&](const RawHeaders& with, const std::string& body,
                          const std::string& id = "a%2Fb") {
        return client.request("/messaging/registrations/" + id + "/messages", with, body);
    };
    CHECK(json::parse(send(headers, R"({"data":{}})").body)["registrationID"] == "a/b");
    CHECK(reason_of(send(changed(headers, "Authorization", "Bearer x"), "{}")) ==
          "401 AccessTokenExpired");
    CHECK(reason_of(send(changed(headers, "X-Amzn-Type-Version", "x"), "{}")) == "400 InvalidType");
    CHECK(reason_of(send(headers, "x")) == "400 InvalidData");
    CHECK(reason_of(send(headers, R"({"data":{"a":1}})")) == "400 InvalidData");
    CHECK(reason_of(send(headers, R"({"data":{},"expiresAfter":0})")) == "400 InvalidExpiration");
    CHECK(reason_of(send(headers, R"({"data":{},"consolidationKey":")" + std::string(65, 'x') +
                                      "\"}")) == "400 InvalidConsolidationKey");
    CHECK(reason_of(send(headers, R"({"data":{"a":"b"},"md5":"AAAA"})")) == "400 InvalidChecksum");
    CHECK(reason_of(send(headers, std::string(6145, 'x'))) == "413 MessageTooLarge");
    CHECK(reason_of(send(headers, R"({"data":{}})", "%ff")) == "400 InvalidRegistrationId");
    sim->set_rules(rules_of("adm", {{"handles", {{"a/b", {{"act", "rotate"}, {"to", "c"}}}}}}));
    CHECK(json::parse(send(headers, R"({"data":{}})").body)["registrationID"] == "c");
}

TEST_CASE("the control port reads and steers a simulator", "[pns]") {
    const auto sim = support::start_sim(at_fixed_time("apns"));
    const auto port = sim->control_port();
    const json rules = {{"handles", {{"aa01", "gone"}}}};
    CHECK(support::plain_http(port, "POST", "/rules", rules.dump()).status == 200);
    CHECK(support::plain_http(port, "POST", "/rules", R"({"shares":{"what":1}})").status == 400);
    CHECK(support::plain_http(port, "POST", "/rules", "x").status == 400);
    CHECK(support::plain_http(port, "POST", "/event", R"({"event":1})").status == 400);
    CHECK(support::plain_http(port, "GET", "/nothing").status == 404);

    support::RawH2 client(sim->port(), support::test_ca().certificate_pem, "api.push.apple.com");
    const RawHeaders headers = apns_headers(apns_token(now_s));
    CHECK(client.request("/3/device/aa01", headers, alert).status == 410);
    CHECK(client.request("/3/device/aa02", headers, alert).status == 200);
    CHECK(support::plain_http(port, "GET", "/received").body == "AA02\n");
    CHECK(support::plain_http(port, "GET", "/received?outcome=refused").body == "AA01\n");
    CHECK(support::plain_http(port, "GET", "/bodies?handle=aa02").body == alert);
    CHECK(support::plain_http(port, "GET", "/bodies?handle=aa03").status == 404);
    const json counters = json::parse(support::plain_http(port, "GET", "/counters").body);
    CHECK(counters["platform"] == "apns");
    CHECK(counters["received"] == 2);
    CHECK(counters["accepted"] == 1);
    CHECK(counters["refused"]["410 Unregistered"] == 1);
    CHECK(counters["cpu_seconds"].get<double>() > 0);

    CHECK(support::plain_http(port, "POST", "/reset", R"({"rules":true})").status == 200);
    CHECK(support::plain_http(port, "GET", "/received").body.empty());
    CHECK(client.request("/3/device/aa01", headers, alert).status == 200);
    CHECK(support::plain_http(port, "POST", "/event", R"({"event":"clock","offset_ms":3600000})")
              .status == 200);
    CHECK(reason_of(client.request("/3/device/aa01", headers, alert)) ==
          "403 ExpiredProviderToken");
    CHECK(support::plain_http(port, "POST", "/event", R"({"event":"goaway","reason":"Shutdown"})")
              .status == 200);
    while (client.goaway.empty() && client.turn()) {
    }
    CHECK(client.goaway == R"({"reason":"Shutdown"})");
    CHECK(support::plain_http(port, "POST", "/event", R"({"event":"reset"})").status == 200);
    while (client.turn()) {
    }
}

TEST_CASE("a fast simulator answers and counts without looking", "[pns]") {
    auto options = support::sim_options("apns");
    options.fast = true;
    const auto sim = support::start_sim(std::move(options));
    support::RawH2 client(sim->port(), support::test_ca().certificate_pem, "api.push.apple.com");
    for (int i = 0; i < 10; ++i) CHECK(client.request("/3/device/x", {}, "anything").status == 200);
    const auto counters = sim->counters();
    CHECK(counters.received == 10);
    CHECK(counters.accepted == 10);
    CHECK(counters.last_push_us >= counters.first_push_us);
    CHECK(sim->entries(true).empty());
}

TEST_CASE("a fast simulator can answer each push alone, with what the provider sends", "[pns]") {
    auto options = support::sim_options("apns");
    options.fast = options.each_alone = true;
    const auto sim = support::start_sim(std::move(options));
    support::RawH2 client(sim->port(), support::test_ca().certificate_pem, "api.push.apple.com");
    for (int i = 0; i < 10; ++i) {
        const auto answer = client.request("/3/device/x", {}, "anything");
        CHECK(answer.status == 200);
        CHECK(answer.headers.at("apns-id").size() == 36);
    }
    sim->set_each_alone(false);
    CHECK(client.request("/3/device/x", {}, "anything").headers.count("apns-id") == 0);
    CHECK(sim->counters().accepted == 11);
}

TEST_CASE("a fast simulator takes the time that it is told to take", "[pns]") {
    auto options = support::sim_options("apns");
    options.fast = true;
    options.latency.model = pns::sim::Latency::Model::constant;
    options.latency.low_ms = 40;
    const auto sim = support::start_sim(std::move(options));
    support::RawH2 client(sim->port(), support::test_ca().certificate_pem, "api.push.apple.com");
    const auto begun = std::chrono::steady_clock::now();
    CHECK(client.request("/3/device/x", {}, "anything").status == 200);
    CHECK(std::chrono::steady_clock::now() - begun >= std::chrono::milliseconds(40));
}

TEST_CASE("HTTP/1.1 requests of the wrong shape are refused", "[pns]") {
    const std::vector<std::pair<std::string, int>> rows = {
        {"GET / HTTP/1.1\r\n\r\n", 0},
        {"GET /\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\n\r\n", 505},
        {"POST / HTTP/1.1\r\n\r\n", 411},
        {"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400},
        {"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n", 413},
        {"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411},
        {"POST / HTTP/1.1\r\nbad header\r\n\r\n", 400},
        {"POST / HTTP/1.1\r\nbad name: x\r\n\r\n", 400},
        {"\r\n\r\n", 400},
    };
    for (const auto& [text, status] : rows) {
        INFO(text);
        pns::sim::H1Reader reader(100);
        pns::sim::H1Request request;
        reader.feed(text);
        const auto state = reader.take(request);
        CHECK((state == pns::sim::H1Reader::State::bad ? reader.status() : 0) == status);
    }
    pns::sim::H1Reader reader(100);
    pns::sim::H1Request request;
    const std::string two =
        "POST /a HTTP/1.1\r\ncontent-length: 3\r\n\r\nabcGET /b HTTP/1.0\r\n\r\n";
    std::vector<std::string> seen;
    for (char c : two) {
        reader.feed({&c, 1});
        if (reader.take(request) == pns::sim::H1Reader::State::complete)
            seen.push_back(request.target + request.body + (request.keep_alive ? "" : "."));
    }
    CHECK(seen == std::vector<std::string>{"/aabc", "/b."});
    pns::sim::H1Reader flooded(100);
    flooded.feed(std::string(pns::sim::h1_head_bytes_max + 1, 'x'));
    CHECK(flooded.take(request) == pns::sim::H1Reader::State::bad);
    CHECK(flooded.status() == 431);
}
