#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "pns/answers.hpp"
#include "pns/endpoint_guard.hpp"
#include "pns/handles.hpp"
#include "pns/json_walk.hpp"
#include "pns/jwt.hpp"
#include "tests/support/pns_accounts.hpp"

namespace {

using nlohmann::json;
using pns::Verdict;

std::string kind_name(Verdict::Kind kind) {
    switch (kind) {
        case Verdict::Kind::accepted:
            return "accepted";
        case Verdict::Kind::dead:
            return "retire";
        case Verdict::Kind::suspect:
            return "suspect";
        case Verdict::Kind::refused:
            return "refused";
        case Verdict::Kind::retry_later:
            return "retry_later";
        case Verdict::Kind::lost:
            return "lost";
        case Verdict::Kind::not_sent:
            return "not_sent";
    }
    return "?";
}

std::string step_name(pns::Judgement::Step step) {
    switch (step) {
        case pns::Judgement::Step::final:
            return "final";
        case pns::Judgement::Step::resend_now:
            return "resend_now";
        case pns::Judgement::Step::reauthorise:
            return "reauthorise";
        case pns::Judgement::Step::earlier_token:
            return "earlier_token";
    }
    return "?";
}

std::string filled(std::string text, const std::string& handle) {
    const std::size_t at = text.find("<HANDLE>");
    return at == std::string::npos ? text : text.replace(at, 8, handle);
}

/// A plain message with the headers of a case.
pns::Message message_of(std::string_view platform, const json& headers) {
    pns::Message out;
    out.body = platform == "apns"    ? R"({"aps":{"alert":"a"}})"
               : platform == "fcmv1" ? R"({"message":{"data":{"a":"b"}}})"
               : platform == "wns"   ? "<toast/>"
               : platform == "hms"   ? R"({"message":{"data":"a"}})"
                                     : R"({"data":{"a":"b"}})";
    for (const auto& [name, value] : headers.items())
        out.headers.emplace_back(name, value.get<std::string>());
    return out;
}

void check_case(const pns::Account& account, const json& item, std::int64_t now_ms) {
    const std::string handle = support::sample_handle(std::string(account.platform().name));
    pns::Push push;
    push.handle = handle;
    push.prepared = support::prepare(
        account, message_of(account.platform().name, item.value("message", json::object())));
    std::vector<std::pair<std::string, std::string>> texts;
    const json given = item.value("headers", json::object());
    for (const auto& [name, value] : given.items())
        texts.emplace_back(name, filled(value.get<std::string>(), handle));
    std::vector<std::pair<std::string_view, std::string_view>> headers(texts.begin(), texts.end());
    const std::string body = filled(item.value("body", ""), handle);
    pns::Answer answer;
    answer.status = item.at("status").get<int>();
    answer.headers = headers;
    answer.body = body;
    answer.body_cut = item.value("body_cut", false);
    answer.now_ms = now_ms;

    const pns::Judgement got = account.judge(push, answer);
    const json& expect = item.at("expect");
    CHECK(step_name(got.step) == expect.value("step", "final"));
    CHECK(got.reconnect == expect.value("reconnect", false));
    CHECK(got.throttle_credential_ms == expect.value("throttle_ms", 0));
    CHECK(got.throttle_if_many_ms == expect.value("throttle_if_many_ms", 0));
    CHECK(kind_name(got.verdict.kind()) == expect.at("kind").get<std::string>());
    CHECK(pns::outcome_name(got.verdict.outcome()) == expect.at("outcome").get<std::string>());
    CHECK(got.verdict.blames_credential() == expect.value("configuration", false));
    if (const auto* dead = got.verdict.get<pns::Dead>())
        CHECK(dead->dead_since_ms ==
              expect.value("dead_since_ms", std::numeric_limits<std::int64_t>::max()));
    if (const auto* later = got.verdict.get<pns::RetryLater>()) {
        CHECK(later->after_ms == expect.value("retry_after_ms", 0));
        CHECK(later->of_provider == expect.value("unwell", false));
    }
    if (const auto* accepted = got.verdict.get<pns::Accepted>()) {
        CHECK(accepted->new_handle == expect.value("new_handle", ""));
        CHECK(accepted->provider_id == expect.value("provider_id", ""));
    }
    // The metrics count by it; WNS alone has sentences without a word.
    if (account.platform().name != "wns" && got.verdict.kind() != Verdict::Kind::accepted)
        CHECK(pns::reason_word(got.verdict.reason()) != "");
    if (expect.contains("reason"))
        CHECK(got.verdict.reason() == expect["reason"].get<std::string>());
    CHECK(got.verdict.reason().find(handle) == std::string::npos);
    CHECK(got.verdict.reason().size() <= 200);
    if (got.verdict.kind() != Verdict::Kind::accepted) CHECK(!got.verdict.reason().empty());
}

std::string normalised(const char* platform, const std::string& handle) {
    auto checked = pns::platform_by_name(platform)->normalise_handle(handle);
    if (const auto* refusal = std::get_if<pns::Refusal>(&checked)) {
        CHECK(refusal->outcome == pns::Outcome::bad_channel);
        if (handle.size() > 8) CHECK(refusal->message.find(handle) == std::string::npos);
        return "refused";
    }
    return std::get<std::string>(checked);
}

}  // namespace

TEST_CASE("the table names all ten platforms in order", "[pns]") {
    const std::vector<std::array<std::string, 4>> expected = {
        {"apns", "apple", "Apple", "ApnsOutcomeCounts"},
        {"gcm", "gcm", "Gcm", "GcmOutcomeCounts"},
        {"fcmv1", "fcmv1", "FcmV1", "FcmV1OutcomeCounts"},
        {"wns", "windows", "Windows", "WnsOutcomeCounts"},
        {"mpns", "windowsphone", "Mpns", "MpnsOutcomeCounts"},
        {"adm", "adm", "Adm", "AdmOutcomeCounts"},
        {"baidu", "baidu", "Baidu", "BaiduOutcomeCounts"},
        {"browser", "browser", "Browser", "BrowserOutcomeCounts"},
        {"xiaomi", "xiaomi", "Xiaomi", "XiaomiOutcomeCounts"},
        {"hms", "hms", "Hms", "HmsOutcomeCounts"},
    };
    const auto& table = pns::platforms();
    REQUIRE(table.size() == expected.size());
    for (std::size_t i = 0; i < table.size(); ++i) {
        CHECK(table[i].name == expected[i][0]);
        CHECK(table[i].format == expected[i][1]);
        CHECK(table[i].kind == expected[i][2]);
        CHECK(table[i].counts == expected[i][3]);
        CHECK(pns::platform_by_name(expected[i][0]) == &table[i]);
        CHECK(pns::platform_by_format(expected[i][1]) == &table[i]);
    }
    CHECK(pns::platform_by_name("FcmV1") == pns::platform_by_name("fcmv1"));
    CHECK(pns::platform_by_format("APPLE") == pns::platform_by_name("apns"));
    CHECK(pns::platform_by_name("nokiax") == nullptr);
    CHECK(pns::platform_by_format("") == nullptr);
}

TEST_CASE("every platform with a sender opens an account with its own credential", "[pns]") {
    for (const pns::Platform& platform : pns::platforms()) {
        if (!platform.has_sender) continue;
        INFO(platform.name);
        const std::string name(platform.name);
        const pns::Credential& credential = support::made_credential(name).credential;
        CHECK(std::holds_alternative<bool>(platform.check_credential(credential)));
        const auto account = support::open_with(credential);
        CHECK(account->platform().name == name);
        CHECK(!account->token_key().empty());
        for (const auto& [key, value] : credential.properties)
            if (key == "SecretKey" || key == "ClientSecret" || key == "Token")
                CHECK(account->token_key().find(value) == std::string::npos);
        CHECK(account->token_key() == support::open_with(credential)->token_key());
        CHECK(pns::default_settings(name).connections_max >= 8);
        for (const auto& [key, value] : credential.properties) {
            if (key == "Endpoint") continue;
            pns::Credential lacking = credential;
            lacking.properties.erase(key);
            INFO("without " << key);
            auto checked = platform.check_credential(lacking);
            REQUIRE(std::holds_alternative<pns::Refusal>(checked));
            CHECK(std::get<pns::Refusal>(checked).message.find(key) != std::string::npos);
            lacking.properties[key] = "null";
            CHECK(std::holds_alternative<pns::Refusal>(platform.check_credential(lacking)));
        }
    }
    pns::Credential senderless;
    senderless.platform = "baidu";
    CHECK(std::holds_alternative<pns::Refusal>(pns::open_account(senderless)));
}

TEST_CASE("recorded answers get the verdicts of the response tables", "[pns]") {
    for (const char* platform : {"apns", "fcmv1", "wns", "adm", "hms"}) {
        const auto account = support::open_account(std::string(platform));
        const json file = support::data_file(std::string(platform) + "/answers.json");
        CHECK(file.at("cases").size() >= 20);
        for (const json& item : file.at("cases")) {
            INFO(platform << ": " << item.at("name"));
            check_case(*account, item, file.at("now_ms").get<std::int64_t>());
        }
    }
}

TEST_CASE("the word of a reason is what stands before its sentence", "[pns]") {
    const std::pair<const char*, const char*> rows[] = {
        {"BadDeviceToken", "BadDeviceToken"},
        {"UNAVAILABLE: The service is currently unavailable.", "UNAVAILABLE"},
        {"THIRD_PARTY_AUTH_ERROR (APNs: BadDeviceToken): Auth error", "THIRD_PARTY_AUTH_ERROR"},
        {"80300007: All the tokens are invalid", "80300007"},
        {"HTTP 503", "HTTP 503"},
        {"HTTP 404: Not found.", "HTTP 404"},
        {"HTTP the protocol", ""},
        {"The channel expired", ""},
        {"no token: later", ""},
        {"", ""},
        {": x", ""},
        {"a/b", ""},
    };
    for (const auto& [reason, word] : rows) CHECK(pns::reason_word(reason) == word);
    CHECK(pns::reason_word(std::string(48, 'x')).size() == 48);
    CHECK(pns::reason_word(std::string(49, 'x')).empty());
}

TEST_CASE("handles are brought to one spelling", "[pns]") {
    const std::string point = pns::base64url("\x04" + std::string(64, 'x'));
    struct Row {
        const char* platform;
        std::string handle, expected;
    };
    const std::vector<Row> rows = {
        {"apns", "00fc13adff", "00FC13ADFF"},
        {"apns", std::string(200, 'a'), std::string(200, 'A')},
        {"apns", "abc", "refused"},
        {"apns", "", "refused"},
        {"apns", "zz", "refused"},
        {"apns", std::string(202, 'a'), "refused"},
        {"apns", "aa bb", "refused"},
        {"fcmv1", "cX1:APA91b-_", "cX1:APA91b-_"},
        {"fcmv1", "a b", "refused"},
        {"fcmv1", "a\nb", "refused"},
        {"fcmv1", "\xc3\xa9", "refused"},
        {"fcmv1", std::string(4096, 'a'), std::string(4096, 'a')},
        {"fcmv1", std::string(4097, 'a'), "refused"},
        {"gcm", "APA91", "APA91"},
        {"adm", "amzn1.adm-registration.v3.Y29t", "amzn1.adm-registration.v3.Y29t"},
        {"adm", std::string(2049, 'a'), "refused"},
        {"baidu", "user-channel", "user-channel"},
        {"baidu", "user", "refused"},
        {"baidu", "-channel", "refused"},
        {"xiaomi", "abc=", "abc="},
        {"wns", "https://wns2-by3p.notify.windows.com/?token=Aw%3d",
         "https://wns2-by3p.notify.windows.com/?token=Aw%3d"},
        {"wns", "HTTPS://Cloud.Notify.Windows.com?token=Aw",
         "https://cloud.notify.windows.com/?token=Aw"},
        {"wns", "https://a.notify.windows.com:443", "https://a.notify.windows.com/"},
        {"mpns", "http://s.notify.live.net/u/1/abc", "http://s.notify.live.net/u/1/abc"},
        {"mpns", "HTTPS://Some.Url:80", "https://some.url:80/"},
        {"mpns", "some.url/x", "refused"},
        {"wns", "http://DB3.notify.windows.com:80/?token=1",
         "http://db3.notify.windows.com/?token=1"},
        {"wns", "https://some.url", "https://some.url/"},
        {"wns", "https://some.url:8443/a", "https://some.url:8443/a"},
        {"browser", R"({"endpoint":"https://x.test/","p256dh":")" + point + R"(","auth":"AAAA"})",
         "refused"},
        {"browser", "[]", "refused"},
        {"browser", "not json", "refused"},
    };
    for (const Row& row : rows) {
        INFO(row.platform << " " << row.handle);
        CHECK(normalised(row.platform, row.handle) == row.expected);
    }
}

TEST_CASE("a Web Push subscription in either form becomes the same handle", "[pns]") {
    // The generator of P-256, uncompressed.
    const std::string point = *pns::from_base64(
        "BGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU=");
    const std::string auth(16, 'k');
    const std::string flat = R"({"endpoint":"https://Updates.push.test/w/1","p256dh":")" +
                             pns::base64(point) + R"(","auth":")" + pns::base64(auth) + R"("})";
    const std::string nested =
        R"({"endpoint":"https://updates.push.test/w/1","expirationTime":null,"keys":{"p256dh":")" +
        pns::base64url(point) + R"(","auth":")" + pns::base64url(auth) + R"("}})";
    CHECK(normalised("browser", flat) ==
          R"({"endpoint":"https://updates.push.test/w/1","p256dh":")" + pns::base64url(point) +
              R"(","auth":")" + pns::base64url(auth) + R"("})");
    CHECK(normalised("browser", nested) == normalised("browser", flat));
    CHECK(normalised("browser", normalised("browser", flat)) == normalised("browser", flat));
    std::string off_curve = point;
    off_curve.back() = static_cast<char>(off_curve.back() ^ 1);
    CHECK(!pns::is_p256_point(off_curve));
}

TEST_CASE("a channel URI whose host can be read in two ways is refused", "[pns]") {
    const std::vector<std::string> hostile = {
        "https://user@a.notify.windows.com/",
        "https://user:pw@a.notify.windows.com/",
        "https://a.notify.windows.com:0/",
        "https://a.notify.windows.com:65979/",
        "https://a.notify.windows.com:/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://localhost/",
        "https://evil.test#.notify.windows.com",
        "https://evil.test\\.notify.windows.com/",
        "https://a.notify.windows.com\\@evil.test/",
        "https://a.notify.windows.com./",
        "https://.notify.windows.com/",
        "https://a..notify.windows.com/",
        "https://a.notify.windows\xe3\x80\x82"
        "com/",
        "https://a.notify.windows%2ecom/",
        "https://a%2f.notify.windows.com/",
        "https://-a.notify.windows.com/",
        "https://a.notify.windows.com/#x",
        "https://a.notify.windows.com/a b",
        "https://a.notify.windows.com/\r\nHost: evil.test",
        "https://a.notify.windows.com/%2",
        "https://a.notify.windows.com/%zz",
        "https:/a.notify.windows.com/",
        "https:a.notify.windows.com/",
        "//a.notify.windows.com/",
        "ftp://a.notify.windows.com/",
        "https://",
        "https:///",
        "",
        "https://a.notify.windows.com/" + std::string(1024, 'a'),
        "https://" + std::string(64, 'a') + ".notify.windows.com/",
    };
    const auto account = support::open_account("wns");
    for (const std::string& handle : hostile) {
        INFO(handle);
        CHECK(normalised("wns", handle) == "refused");
        const bool only_long = handle.size() > 1'000;
        CHECK(account->origin(handle).host.empty() != only_long);
    }
}

TEST_CASE("a push goes to a channel of the vendor or of a host that the operator names", "[pns]") {
    struct Row {
        std::string handle;
        std::string origin;
        bool vendors;
    };
    const std::vector<Row> rows = {
        {"https://db5p.notify.windows.com/?token=1", "db5p.notify.windows.com:443", true},
        {"http://db3.notify.windows.com/?token=1", "db3.notify.windows.com:443", true},
        {"https://a.notify.windows.com:22/", "a.notify.windows.com:22", false},
        {"http://a.notify.windows.com:443/", "a.notify.windows.com:443", true},
        {"https://a.notify.windows.com:80/", "a.notify.windows.com:80", false},
        {"https://some.url", "some.url:443", false},
        {"https://notify.windows.com.evil.test/", "notify.windows.com.evil.test:443", false},
        {"https://evilnotify.windows.com/", "evilnotify.windows.com:443", false},
        {"https://evil.test/.notify.windows.com", "evil.test:443", false},
        {"https://evil.test?.notify.windows.com", "evil.test:443", false},
    };
    const auto account = support::open_account("wns");
    const auto vendors = pns::EndpointGuard::parse({}, pns::known_wns_hosts()).value();
    const auto named = pns::EndpointGuard::parse({"some.url"}, pns::known_wns_hosts()).value();
    for (const Row& row : rows) {
        INFO(row.handle);
        const std::string handle = normalised("wns", row.handle);
        const pns::Origin origin = account->origin(handle);
        CHECK(origin.host + ":" + std::to_string(origin.port) == row.origin);
        CHECK(vendors.allows(origin) == row.vendors);
        CHECK(named.allows(origin) == (origin.host == "some.url"));
        // No text of a stored handle is taken for another path.
        pns::Push push;
        push.handle = handle;
        push.prepared = support::prepare(*account, support::message_of("<toast/>"));
        pns::Encoded encoded;
        account->encode(push, encoded);
        CHECK(encoded.path.starts_with('/'));
        CHECK(push.handle.ends_with(encoded.path));
    }
}

TEST_CASE("credentials name hosts besides the vendors' only where the operator allows them",
          "[pns]") {
    const auto origin_of = [](pns::Credential credential, std::vector<std::string> hosts) {
        credential.operators_hosts = std::move(hosts);
        auto opened = pns::open_account(credential);
        if (auto* refusal = std::get_if<pns::Refusal>(&opened)) return refusal->message;
        const auto& account = std::get<std::unique_ptr<pns::Account>>(opened);
        const auto source = account->token_source();
        const auto* login = std::get_if<pns::Fetched>(&source);
        const pns::Origin origin = login != nullptr ? login->origin : account->origin("AA");
        return origin.host + ":" + std::to_string(origin.port);
    };
    for (const auto& [platform, property, setting] :
         {std::tuple{"apns", "Endpoint", "Endpoint"},
          std::tuple{"wns", "WindowsLiveEndpoint", "WindowsLiveEndpoint"}}) {
        INFO(platform);
        pns::Credential credential = support::made_credential(platform).credential;
        credential.properties[property] = "https://push.example.org:8443/login";
        for (const std::vector<std::string>& hosts :
             {std::vector<std::string>{}, {"push.example.org"}, {"*.push.example.org:8443"}}) {
            CHECK_THAT(origin_of(credential, hosts),
                       Catch::Matchers::Contains(setting) &&
                           Catch::Matchers::Contains("credential_hosts"));
        }
        CHECK(origin_of(credential, {"a.test", "push.example.org:8443"}) ==
              "push.example.org:8443");
        credential.properties[property] = "http://push.example.org:8443/login";
        CHECK_THAT(origin_of(credential, {"push.example.org:8443"}),
                   Catch::Matchers::Contains(setting));
    }
}

TEST_CASE("outcomes have the names of the wire contract, each its own", "[pns]") {
    std::set<std::string_view> names;
    for (int i = 0; i <= static_cast<int>(pns::Outcome::unknown); ++i)
        names.insert(pns::outcome_name(static_cast<pns::Outcome>(i)));
    CHECK(names.size() == static_cast<std::size_t>(pns::Outcome::unknown) + 1);
    CHECK(pns::outcome_name(pns::Outcome::abandoned) == "AbandonedNotificationMessages");
    CHECK(pns::outcome_name(pns::Outcome::expired_channel) == "ExpiredChannel");
}

TEST_CASE("walking a JSON text tells where each value stands", "[pns]") {
    std::string seen;
    const auto note = [&](const pns::JsonPlace& place, pns::JsonKind, std::string_view text) {
        seen += std::to_string(place.depth);
        for (std::size_t i = 0; i < place.depth && i < place.keys.size(); ++i)
            seen += "/" + place.keys[i];
        seen += "=" + std::string(text) + " ";
    };
    CHECK(pns::walk_json(R"({"a":1,"b":{"c":"x","d":[true,{"e":null}]},"f":-2.5})", note));
    CHECK(seen == "0= 1/a=1 1/b= 2/b/c=x 2/b/d= 3/b/d/=true 3/b/d/= 4/b/d//e= 1/f=-2.5 ");
    std::size_t names = 0, deepest = 0;
    CHECK(pns::walk_json(R"({"a":{"b":{"c":{"d":{"ef":{"ghi":[1,2]}}}}}})",
                         [&](const pns::JsonPlace& place, pns::JsonKind, std::string_view) {
                             names += place.name_bytes;
                             deepest = std::max(deepest, place.depth);
                         }));
    CHECK(names == 9);
    CHECK(deepest == 7);
    for (const char* bad : {"", "{", "{}{}", "{\"a\":}", "[1,]", "\"\xff\"", "nul"})
        CHECK(!pns::walk_json(bad, note));
    const std::string deep(100'000, '[');
    CHECK(!pns::walk_json(deep, note));
    CHECK(pns::walk_json(deep + std::string(100'000, ']'), note));
}
