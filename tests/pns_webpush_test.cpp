#include <boost/asio/post.hpp>
#include <deque>
#include <nlohmann/json.hpp>
#include <set>

#include "pns/alarm.hpp"
#include "pns/bearer.hpp"
#include "pns/clock.hpp"
#include "pns/handles.hpp"
#include "pns/jwt.hpp"
#include "pns/nursery.hpp"
#include "pns/sim/webpush.hpp"
#include "pns/webpush_crypto.hpp"
#include "tests/support/pns_accounts.hpp"
#include "tests/support/simulators.hpp"

namespace {

using nlohmann::json;
using Kind = pns::Verdict::Kind;
using Step = pns::Judgement::Step;

// RFC 8291 appendix A.
constexpr const char* rfc_plain = "When I grow up, I want to be a watermelon";
const std::string rfc_as_private =
    *pns::from_base64url("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
const std::string rfc_ua_private =
    *pns::from_base64url("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94");
const std::string rfc_ua_public = *pns::from_base64url(
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4");
const std::string rfc_salt = *pns::from_base64url("DGv6ra1nlYgDCS1FRnbzlw");
const std::string rfc_auth = *pns::from_base64url("BTBZMqHH6r4Tts7J_aSIgg");
constexpr const char* rfc_body =
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6T"
    "lzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4"
    "a-fN";

const std::string mozilla = "https://updates.push.services.mozilla.com/wpush/v2/";
const std::string google = "https://jmt17.google.com/fcm/send/";
const std::string apple = "https://web.push.apple.com/";

std::string handle_at(const std::string& endpoint) {
    return pns::sim::subscription(support::made_credential("browser").trust, endpoint);
}

pns::Credential credential_with(const std::string& name, const std::string& value) {
    pns::Credential credential = support::made_credential("browser").credential;
    credential.properties[name] = value;
    return credential;
}

std::string opening(const pns::Credential& credential) {
    auto opened = pns::open_account(credential);
    const auto* refusal = std::get_if<pns::Refusal>(&opened);
    return refusal ? refusal->message : "(opened)";
}

/// One push by hand: its account, its handle, and what encode makes of it.
struct Encoding {
    explicit Encoding(std::string endpoint, const pns::Message& message)
        : account(support::open_account("browser")), handle(handle_at(endpoint)) {
        push.handle = handle;
        push.prepared = support::prepare(*account, message);
        push.id.fill(7);
        push.encoded_at_ms = now_ms;
        account->encode(push, out);
    }
    static constexpr std::int64_t now_ms = 1'800'000'000'000;
    std::unique_ptr<pns::Account> account;
    std::string handle;
    pns::Push push;
    pns::Encoded out;
};

}  // namespace

TEST_CASE("the example of RFC 8291 comes out byte for byte", "[pns]") {
    const auto mine = pns::EphemeralKeys::of(rfc_as_private, rfc_salt);
    REQUIRE(mine.has_value());
    CHECK(
        pns::base64url(mine->public_point()) ==
        "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8");
    const auto shared = mine->agree(rfc_ua_public);
    REQUIRE(shared.has_value());
    CHECK(pns::base64url({reinterpret_cast<const char*>(shared->data()), shared->size()}) ==
          "kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs");
    // Both ends of the agreement come to the same secret.
    const auto theirs = pns::EphemeralKeys::of(rfc_ua_private, rfc_salt);
    REQUIRE(theirs.has_value());
    CHECK(theirs->public_point() == rfc_ua_public);
    CHECK(theirs->agree(mine->public_point()) == shared);

    const pns::WebPushKeys to{rfc_ua_public, rfc_auth};
    const auto body = pns::seal_web_push(to, rfc_plain, *mine);
    REQUIRE(body.has_value());
    CHECK(body->size() == 144);
    CHECK(pns::base64url(*body) == rfc_body);
}

TEST_CASE("a sealed body has the promised length and never the same key", "[pns]") {
    const pns::WebPushKeys to{rfc_ua_public, rfc_auth};
    std::set<std::string> points, salts;
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{15},
                                    std::size_t{16}, pns::web_push_plain_bytes_max}) {
        const auto mine = pns::EphemeralKeys::generate();
        REQUIRE(mine.has_value());
        points.emplace(mine->public_point());
        salts.emplace(mine->salt());
        const auto body = pns::seal_web_push(to, std::string(bytes, 'x'), *mine);
        REQUIRE(body.has_value());
        CHECK(body->size() == bytes + pns::web_push_overhead_bytes);
        CHECK(pns::seal_web_push(to, std::string(bytes, 'x'), *mine, 100)->size() ==
              std::max<std::size_t>(bytes, 100) + pns::web_push_overhead_bytes);
    }
    CHECK(points.size() == 5);
    CHECK(salts.size() == 5);
    CHECK(pns::web_push_plain_bytes_max == 3993);
}

TEST_CASE("key pairs that are made together are each whole and used once", "[pns]") {
    std::set<std::string> points, salts;
    auto before = pns::EphemeralKeys::generate();
    REQUIRE(before.has_value());
    constexpr std::size_t pairs = 70;
    for (std::size_t i = 0; i < pairs; ++i) {
        auto mine = pns::EphemeralKeys::generate();
        REQUIRE(mine.has_value());
        CHECK(pns::is_on_p256(mine->public_point()));
        points.emplace(mine->public_point());
        salts.emplace(mine->salt());
        const auto one = mine->agree(before->public_point());
        const auto other = before->agree(mine->public_point());
        REQUIRE((one && other));
        CHECK(*one == *other);
        before = std::move(mine);
    }
    CHECK(points.size() == pairs);
    CHECK(salts.size() == pairs);
}

TEST_CASE("keys that are no points of the curve are refused", "[pns]") {
    const auto mine = pns::EphemeralKeys::generate();
    REQUIRE(mine.has_value());
    std::string off_curve = rfc_ua_public, hybrid = rfc_ua_public, zero(65, '\0');
    off_curve[40] = static_cast<char>(off_curve[40] ^ 1);
    hybrid[0] = '\x06';
    zero[0] = '\x04';
    for (const std::string& point :
         {off_curve, hybrid, zero, std::string(65, '\xff'), std::string(), std::string(1, '\0'),
          rfc_ua_public.substr(0, 64), rfc_ua_public + 'x', '\x02' + rfc_ua_public.substr(1, 32)}) {
        CHECK_FALSE(pns::is_on_p256(point));
        CHECK_FALSE(mine->agree(point).has_value());
        CHECK_FALSE(pns::seal_web_push({point, rfc_auth}, "x", *mine).has_value());
    }
    CHECK(pns::is_on_p256(rfc_ua_public));
    CHECK_FALSE(pns::seal_web_push({rfc_ua_public, ""}, "x", *mine).has_value());
    // Scalars out of range: zero, the order of the group and what lies above it.
    const std::string order = *pns::from_base64url("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE");
    for (const std::string& scalar :
         {std::string(32, '\0'), order, std::string(32, '\xff'), std::string(31, '\1')})
        CHECK_FALSE(pns::EphemeralKeys::of(scalar, rfc_salt).has_value());
    CHECK_FALSE(pns::EphemeralKeys::of(rfc_as_private, "short").has_value());
}

TEST_CASE("a VAPID credential opens in the forms that tools print", "[pns]") {
    const auto& good = support::made_credential("browser").credential;
    CHECK(opening(good) == "(opened)");
    const pns::Key key = pns::Key::generate_p256(), other = pns::Key::generate_p256();
    const auto point_of = [](const pns::Key& of) {
        const std::string pem = of.public_pem();
        const std::size_t start = pem.find('\n'), end = pem.rfind("-----END");
        return pns::base64url(pns::from_base64(pem.substr(start, end - start))->substr(26));
    };
    pns::Credential pem = good;
    pem.properties["VapidPrivateKey"] = key.private_pem();
    pem.properties["VapidPublicKey"] = point_of(key) + "=";
    CHECK(opening(pem) == "(opened)");
    CHECK(pns::platform_by_name("browser")->has_sender);
    CHECK(std::holds_alternative<bool>(pns::platform_by_name("browser")->check_credential(pem)));

    for (const char* subject :
         {"mailto:a@example.org", "https://example.org/contact", "https://example.org"})
        CHECK(opening(credential_with("Subject", subject)) == "(opened)");
    for (const char* subject :
         {"", "a@example.org", "mailto:", "mailto:@example.org", "mailto:a@localhost",
          "mailto:a@127.0.0.1", "mailto:a b@example.org", "mailto:a@example.org/", "http://a.test",
          "https://localhost/", "tel:+1"}) {
        INFO(subject);
        CHECK(opening(credential_with("Subject", subject)).find("ubject") != std::string::npos);
    }
    CHECK(opening(credential_with("Subject", "mailto:" + std::string(300, 'a') + "@b.test")) !=
          "(opened)");
    for (const std::string& text :
         {std::string("x"), pns::base64url(std::string(32, '\0')), std::string("AAAA"),
          pns::base64url(std::string(33, 'a')), pns::Key::generate_p256().public_pem()}) {
        INFO(text);
        CHECK(opening(credential_with("VapidPrivateKey", text)).find("VapidPrivateKey") !=
              std::string::npos);
        CHECK(opening(credential_with("VapidPublicKey", text)).find("VapidPublicKey") !=
              std::string::npos);
    }
    CHECK(opening(credential_with("VapidPublicKey", point_of(other))) ==
          "VapidPublicKey does not belong to VapidPrivateKey.");
    CHECK(opening(credential_with("VapidPrivateKey", other.private_pem())) ==
          "VapidPublicKey does not belong to VapidPrivateKey.");
    for (const char* name : {"Subject", "VapidPublicKey", "VapidPrivateKey"}) {
        pns::Credential lacking = good;
        lacking.properties.erase(name);
        CHECK(opening(lacking) == "The credential lacks the property " + std::string(name) + ".");
    }
}

TEST_CASE("each origin gets its own VAPID token", "[pns]") {
    const auto account = support::open_account("browser");
    const auto& properties = support::made_credential("browser").credential.properties;
    CHECK(account->tokens_per_origin());
    CHECK(std::holds_alternative<pns::NoToken>(account->token_source()));
    const pns::Origin origins[] = {{"fcm.googleapis.com", 443}, {"push.test", 8443}};
    const char* audiences[] = {"https://fcm.googleapis.com", "https://push.test:8443"};
    for (std::size_t i = 0; i < 2; ++i) {
        const auto source = account->token_source_for(origins[i]);
        const auto* signs = std::get_if<pns::SelfSigned>(&source);
        REQUIRE(signs);
        CHECK(signs->life_s == 12 * 3600);
        CHECK(signs->renew_s == 6 * 3600);
        const auto token = signs->mint(1'795'200'000);
        REQUIRE(token.has_value());
        const auto jwt = pns::split_jwt(*token);
        REQUIRE(jwt.has_value());
        CHECK(json::parse(jwt->header) == json{{"typ", "JWT"}, {"alg", "ES256"}});
        CHECK(json::parse(jwt->claims) == json{{"aud", audiences[i]},
                                               {"exp", 1'795'200'000 + 12 * 3600},
                                               {"sub", properties.at("Subject")}});
        const auto key =
            pns::Key::read_public(support::made_credential("browser").trust.public_key_pem);
        CHECK(key->verify(jwt->signed_part, jwt->signature));
        CHECK(account->authorization(*token) ==
              "vapid t=" + *token + ", k=" + properties.at("VapidPublicKey"));
    }
    CHECK(account->token_key_for(origins[0]) != account->token_key_for(origins[1]));
    CHECK(account->token_key_for(origins[0]).find(properties.at("VapidPrivateKey")) ==
          std::string::npos);
}

TEST_CASE("TTL, Urgency and Topic come from the message and are checked", "[pns]") {
    const auto account = support::open_account("browser");
    const std::pair<const char*, const char*> good[] = {
        {"ttl", "0"},
        {"ttl", "60"},
        {"ttl", "99999999999999"},
        {"urgency", "High"},
        {"urgency", "very-low"},
        {"topic", "score"},
        {"topic", "a-b_C9"},
        {"topic", "0123456789abcdef0123456789abcdef"}};
    for (const auto& [name, value] : good)
        CHECK(support::refusal_of(*account, support::message_of("{}", {{name, value}})) ==
              "(taken)");
    const std::pair<const char*, const char*> bad[] = {
        {"ttl", "-1"},
        {"ttl", "1.5"},
        {"ttl", "soon"},
        {"urgency", "now"},
        {"topic", "a b"},
        {"topic", "a=="},
        {"topic", "0123456789abcdef0123456789abcdef0"}};
    for (const auto& [name, value] : bad)
        CHECK(support::refusal_of(*account, support::message_of("{}", {{name, value}})) ==
              "InvalidNotificationFormat");
    CHECK(support::refusal_of(*account, support::message_of("{}", {{"ttl", "1"}, {"ttl", "2"}})) ==
          "InvalidNotificationFormat");
    CHECK(support::refusal_of(*account, support::message_of(std::string(3993, 'x'))) == "(taken)");
    CHECK(support::refusal_of(*account, support::message_of(std::string(3994, 'x'))) ==
          "InvalidNotificationSize");

    const auto shared_header = [&](const char* name, const char* value) {
        const auto prepared =
            support::prepare(*account, support::message_of("{}", {{name, value}}));
        return support::header_of(prepared->headers, name);
    };
    CHECK(shared_header("urgency", "HIGH") == "high");
    CHECK(shared_header("topic", "abcd") == "abcd");
    // Of a length that no base64 has: Apple would refuse it.
    CHECK(shared_header("topic", "score") == "score" + std::string(27, '-'));
}

TEST_CASE("a push is encoded for the service that its handle names", "[pns]") {
    const Encoding plain(mozilla + "gAAA?x=1", support::message_of(R"({"a":1})"));
    CHECK(plain.out.path == "/wpush/v2/gAAA?x=1");
    CHECK(plain.account->origin(plain.handle) ==
          pns::Origin{"updates.push.services.mozilla.com", 443});
    CHECK(support::header_of(plain.out.headers, "ttl") == "2419200");
    CHECK(support::header_of(plain.out.headers, "topic").size() == 32);
    CHECK(support::header_of(plain.push.prepared->headers, "content-encoding") == "aes128gcm");
    CHECK(support::header_of(plain.push.prepared->headers, "content-type") ==
          "application/octet-stream");
    CHECK(plain.out.body.size() == 7 + pns::web_push_overhead_bytes);
    CHECK(plain.out.body.find(R"({"a":1})") == std::string::npos);

    // The same push again: the same topic, other keys.
    const Encoding again(mozilla + "gAAA?x=1", support::message_of(R"({"a":1})"));
    CHECK(again.out.headers == plain.out.headers);
    CHECK(again.out.body != plain.out.body);

    const Encoding topic(apple + "Q", support::message_of("{}", {{"topic", "abcd"}, {"ttl", "9"}}));
    CHECK(support::header_of(topic.out.headers, "topic") == "(none)");
    CHECK(support::header_of(topic.out.headers, "ttl") == "9");
    // Google keeps four topics per device: none is spent on doubles.
    const Encoding google_push(google + "x", support::message_of("{}"));
    CHECK(support::header_of(google_push.out.headers, "topic") == "(none)");
    const std::string edge = "https://db5p.notify.windows.com/w/?token=a";
    const Encoding edge_push(edge, support::message_of("{}"));
    CHECK(support::header_of(edge_push.out.headers, "x-wns-cache-policy") == "cache");
    const Encoding edge_now(edge, support::message_of("{}", {{"ttl", "0"}}));
    CHECK(support::header_of(edge_now.out.headers, "x-wns-cache-policy") == "no-cache");

    const Encoding empty(mozilla + "g", support::message_of(""));
    CHECK(empty.out.body.empty());
    CHECK(empty.push.prepared->body->empty());
    CHECK(support::header_of(empty.push.prepared->headers, "content-encoding") == "(none)");

    pns::Message short_lived = support::message_of("{}", {{"ttl", "5000"}});
    short_lived.expires_at_ms = Encoding::now_ms + 100'500;
    const Encoding expiring(mozilla + "g", short_lived);
    CHECK(support::header_of(expiring.out.headers, "ttl") == "100");
}

TEST_CASE("only canonical handles lead anywhere", "[pns]") {
    const auto account = support::open_account("browser");
    const std::string good = handle_at(mozilla + "g");
    CHECK(account->origin(good).host == "updates.push.services.mozilla.com");
    auto canonical = pns::platform_by_name("browser")->normalise_handle(good);
    REQUIRE(std::holds_alternative<std::string>(canonical));
    CHECK(std::get<std::string>(canonical) == good);
    for (std::size_t cut = 0; cut < good.size(); ++cut)
        CHECK(account->origin(std::string_view(good).substr(0, cut)).host.empty());
    CHECK(account->origin(good + " ").host.empty());
    for (const char* endpoint :
         {"http://updates.push.services.mozilla.com/a", "https://127.0.0.1/a", "https://a@b.test/",
          "https://[::1]/", "https://localhost/"})
        CHECK(account->origin(handle_at(endpoint)).host.empty());
    const std::string other_port = handle_at("https://push.test:8443/a");
    CHECK(account->origin(other_port) == pns::Origin{"push.test", 8443});
    auto kept = pns::platform_by_name("browser")->normalise_handle(other_port);
    REQUIRE(std::holds_alternative<std::string>(kept));
    CHECK(std::get<std::string>(kept) == other_port);
}

TEST_CASE("answers of push services are judged by the table", "[pns]") {
    const auto account = support::open_account("browser");
    const std::string handle = handle_at(mozilla + "gAAAAABsecret");
    pns::Push push;
    push.handle = handle;
    struct Case {
        int status;
        const char* body;
        Kind kind;
        const char* outcome;
        bool configuration = false;
    };
    const Case cases[] = {
        {201, "", Kind::accepted, "Success"},
        {202, "", Kind::accepted, "Success"},
        {200, "", Kind::accepted, "Success"},
        {204, "", Kind::refused, "PnsInterfaceError"},
        {301, "", Kind::refused, "PnsInterfaceError"},
        {307, "", Kind::refused, "PnsInterfaceError"},
        {400, "binary data passed in the request must be less than 4096 bytes", Kind::refused,
         "InvalidNotificationSize"},
        {400, R"({"code":400,"errno":111,"error":"Bad","message":"Missing TTL Header"})",
         Kind::refused, "InvalidNotificationFormat"},
        {400, R"({"reason":"BadWebPushTopic"})", Kind::refused, "InvalidNotificationFormat"},
        {400, R"({"reason":"BadVapidPublicKey"})", Kind::refused, "InvalidCredentials", true},
        {400, R"({"reason":"VapidPkHashMismatch"})", Kind::dead, "WrongChannel"},
        {403, R"({"reason":"VapidPkHashMismatch"})", Kind::dead, "WrongChannel"},
        {401, R"({"code":401,"errno":109,"message":"VAPID public key mismatch"})", Kind::suspect,
         "WrongChannel"},
        {401, R"({"reason":"VapidPkHashMismatch"})", Kind::dead, "WrongChannel"},
        {403, R"({"reason":"BadJwtToken"})", Kind::refused, "InvalidCredentials", true},
        {403, "permission denied: invalid JWT provided", Kind::refused, "InvalidCredentials", true},
        {403,
         "the VAPID credentials in the authorization header do not correspond to the credentials "
         "used to create the subscriptions",
         Kind::suspect, "WrongChannel"},
        {404, "<!DOCTYPE html><title>Error 404</title>", Kind::suspect, "BadChannel"},
        {404, "", Kind::suspect, "BadChannel"},
        {410, "<html>Gone</html>", Kind::suspect, "ExpiredChannel"},
        {410, R"({"message":"gone"})", Kind::suspect, "ExpiredChannel"},
        {410, R"({"reason":"Unregistered"})", Kind::dead, "ExpiredChannel"},
        {404, R"({"code":404,"errno":102})", Kind::dead, "BadChannel"},
        {405, "", Kind::refused, "PnsInterfaceError"},
        {410, R"({"code":410,"errno":106,"error":"Gone"})", Kind::dead, "ExpiredChannel"},
        {410, "push subscription has unsubscribed or expired.", Kind::dead, "ExpiredChannel"},
        {413, "", Kind::refused, "InvalidNotificationSize"},
        {406, "", Kind::refused, "PnsInterfaceError"},
        {429, "", Kind::retry_later, "Throttled"},
        {429, R"({"reason":"TooManyRequests"})", Kind::retry_later, "ChannelThrottled"},
        {500, "", Kind::retry_later, "PnsServerError"},
        {502, R"({"code":502,"errno":902})", Kind::retry_later, "PnsUnavailable"},
        {503, R"({"code":503,"errno":201})", Kind::retry_later, "PnsUnavailable"},
    };
    for (const Case& one : cases) {
        INFO(one.status << " " << one.body);
        pns::Answer answer;
        answer.status = one.status;
        answer.body = one.body;
        answer.now_ms = support::now_ms;
        const auto judgement = account->judge(push, answer);
        CHECK(judgement.step == Step::final);
        CHECK(judgement.verdict.kind() == one.kind);
        CHECK(pns::outcome_name(judgement.verdict.outcome()) == one.outcome);
        CHECK(judgement.verdict.blames_credential() == one.configuration);
        CHECK(judgement.throttle_credential_ms == 0);
        CHECK((one.kind == Kind::accepted) == judgement.verdict.reason().empty());
    }
    const auto judged = [&](int status, std::string_view body, std::string_view header = {},
                            std::string_view value = {}) {
        const std::pair<std::string_view, std::string_view> headers[] = {{header, value}};
        pns::Answer answer;
        answer.status = status;
        answer.body = body;
        answer.headers = headers;
        answer.now_ms = support::now_ms;
        return account->judge(push, answer);
    };
    CHECK(judged(401, "").step == Step::reauthorise);
    CHECK(judged(410, "").verdict.kind() == pns::Verdict::Kind::suspect);
    CHECK(judged(410, "", "x-wns-status", "dropped").verdict.kind() == pns::Verdict::Kind::dead);
    CHECK(judged(401, R"({"errno":109,"message":"Invalid VAPID"})").verdict.blames_credential());
    // A client may name any path of a service's hosts.
    for (const char* elsewhere : {"https://fcm.googleapis.com/v1/projects/x/messages:send",
                                  "https://updates.push.services.mozilla.com/v1/store"}) {
        const std::string other = handle_at(elsewhere);
        push.handle = other;
        CHECK(judged(401, "").verdict.kind() == Kind::suspect);
        CHECK(judged(403, "invalid JWT provided").verdict.kind() == Kind::suspect);
        push.handle = handle;
    }
    CHECK(judged(201, "", "apns-id", "id-1").verdict.get<pns::Accepted>()->provider_id == "id-1");
    CHECK(judged(201, "", "x-wns-status", "received").verdict.is<pns::Accepted>());
    for (const char* name : {"x-wns-status", "x-wns-notificationstatus"}) {
        const auto dropped = judged(201, "", name, "Dropped");
        CHECK(dropped.verdict.is<pns::Refused>());
        CHECK(dropped.verdict.outcome() == pns::Outcome::dropped);
        CHECK(judged(200, "", name, "channelthrottled").verdict.outcome() ==
              pns::Outcome::channel_throttled);
    }
    const auto overload = judged(503, "", "retry-after", "120");
    CHECK(overload.verdict.get<pns::RetryLater>()->after_ms == 120'000);
    CHECK(overload.throttle_origin_ms == 120'000);
    const auto rate = judged(429, "", "retry-after", "120");
    CHECK(rate.verdict.get<pns::RetryLater>()->after_ms == 120'000);
    // One hot subscription holds nobody else.
    CHECK(rate.throttle_origin_ms == 0);
    CHECK(rate.throttle_if_many_ms == 60'000);
    CHECK(rate.verdict.get<pns::RetryLater>()->of_provider);
    CHECK(judged(406, "", "x-wns-status", "x").throttle_if_many_ms == 5'000);
    // Neither the handle nor its secret part is repeated.
    const auto echo = judged(400, R"({"message":"bad /wpush/v2/gAAAAABsecret here"})");
    CHECK(echo.verdict.reason() == "bad * here");
}

namespace {

/// Sends each handle one push and keeps the final verdicts.
struct Round final : pns::PushOwner {
    void run(const std::vector<std::string>& to, const pns::Network& network,
             const pns::Message& message,
             const pns::Credential& credential = support::made_credential("browser").credential) {
        if (!account) account = support::open_with(credential);
        sender = std::make_unique<pns::Sender>(io, std::move(account),
                                               pns::default_settings("browser"), network, bearers);
        auto prepared = sender->prepare(message);
        REQUIRE(std::holds_alternative<std::shared_ptr<const pns::Prepared>>(prepared));
        handles = to;
        verdicts.resize(to.size());
        pushes.resize(to.size());
        pns::Nursery nursery(io.get_executor());
        nursery_ = &nursery;
        for (std::size_t i = 0; i < to.size(); ++i) {
            pushes[i].handle = handles[i];
            pushes[i].prepared = std::get<std::shared_ptr<const pns::Prepared>>(prepared);
            pushes[i].id[0] = static_cast<std::uint8_t>(i >> 8);
            pushes[i].id[1] = static_cast<std::uint8_t>(i);
            pushes[i].id[15] = 1;
            pushes[i].owner = this;
            pushes[i].index = static_cast<std::uint32_t>(i);
        }
        boost::asio::post(io, [this] {
            for (auto& push : pushes) sender->submit(push);
        });
        io.run();
        CHECK(!nursery.first_error());
        REQUIRE(finals == to.size());
    }
    static bool comes_again(const pns::Verdict& verdict) {
        const auto* unsent = verdict.get<pns::NotSent>();
        return verdict.is<pns::RetryLater>() || (unsent && unsent->after_ms != pns::never_ms);
    }
    void on_verdict(pns::Push& push, pns::Verdict&& verdict) override {
        const bool again = comes_again(verdict) && ++attempts < 64;
        verdicts[push.index].emplace(std::move(verdict));
        if (again) {
            boost::asio::post(io, [this, &push] { sender->submit(push); });
            return;
        }
        if (++finals == verdicts.size()) nursery_->start(sender->stop(1'000));
    }

    boost::asio::io_context io{1};
    pns::BearerCache bearers{pns::system_clock()};
    std::unique_ptr<pns::Account> account;  ///< instead of one of Web Push
    std::unique_ptr<pns::Sender> sender;
    std::vector<std::string> handles;
    std::deque<pns::Push> pushes;
    std::vector<std::optional<pns::Verdict>> verdicts;
    std::size_t finals = 0, attempts = 0;

  private:
    pns::Nursery* nursery_ = nullptr;
};

std::string outcome_of(const Round& round, std::size_t index) {
    return std::string(pns::outcome_name(round.verdicts[index]->outcome()));
}

}  // namespace

TEST_CASE("browsers of three services read what was sent to them", "[pns]") {
    const auto sim = support::start_sim("browser");
    std::vector<std::string> handles;
    for (int i = 0; i < 10; ++i)
        for (const std::string& service : {mozilla, google, apple})
            handles.push_back(handle_at(service + std::to_string(i)));
    json table;
    table[handles[0]] = "gone";
    table[handles[1]] = "bad_handle";
    table[handles[2]] = "wrong_app";
    table[handles[3]] = "server_error_once";
    table[handles[4]] = {
        {"act", "answer"}, {"status", 307}, {"headers", {{"location", "https://127.0.0.1/"}}}};
    sim->set_rules(support::rules_of("browser", {{"handles", table}}));
    Round round;
    const std::string text = R"({"title":"Grüße","n":1})";
    round.run(handles, support::network_of(*sim),
              support::message_of(text, {{"urgency", "high"}, {"ttl", "60"}}));
    CHECK(outcome_of(round, 0) == "ExpiredChannel");
    CHECK(outcome_of(round, 1) == "BadChannel");
    CHECK(round.verdicts[2]->kind() == Kind::dead);
    CHECK(outcome_of(round, 4) == "PnsInterfaceError");
    for (std::size_t i = 0; i < handles.size(); ++i) {
        INFO(i << ": " << round.verdicts[i]->reason());
        if (i < 5 && i != 3) continue;
        CHECK(round.verdicts[i]->kind() == Kind::accepted);
        std::string body;
        REQUIRE(sim->body_of(handles[i], body));
        CHECK(body == text);
    }
    const auto counters = sim->counters();
    CHECK(counters.accepted == 26);
    CHECK(counters.doubles == 0);
    // One pool and one token per origin.
    CHECK(counters.connects == 3);
    CHECK(round.sender->figures().token_fetches == 3);
}

TEST_CASE("a service without HTTP/2 is served over HTTP/1.1", "[pns]") {
    auto options = support::sim_options("browser");
    const auto sim = support::start_sim(std::move(options));
    const auto network = support::network_of(*sim);
    // The simulator of WNS speaks HTTP/1.1 only and knows no VAPID: its 401 proves the way there.
    const auto wns = support::start_sim("wns");
    pns::Network both = network;
    for (const auto& rule : support::network_of(*wns).connect_to) both.connect_to.push_back(rule);
    Round round;
    round.run({handle_at("https://db5p.notify.windows.com/w/?token=a"), handle_at(mozilla + "a")},
              both, support::message_of("{}"));
    CHECK(outcome_of(round, 0) == "InvalidCredentials");
    CHECK(round.verdicts[1]->kind() == Kind::accepted);
    CHECK(wns->counters().received == 1);
}

TEST_CASE("the wrong VAPID key is found out by every service", "[pns]") {
    const auto sim = support::start_sim("browser");
    Round round;
    const auto other = pns::sim::make_credential("browser");
    round.run({handle_at(mozilla + "a"), handle_at(google + "a"), handle_at(apple + "a")},
              support::network_of(*sim), support::message_of("{}"), other.credential);
    CHECK(round.verdicts[0]->kind() == Kind::suspect);
    CHECK(round.verdicts[1]->kind() == Kind::suspect);
    CHECK(round.verdicts[2]->kind() == Kind::dead);
    CHECK(sim->counters().accepted == 0);
}

TEST_CASE("hosts outside the list get no connection", "[pns]") {
    const auto sim = support::start_sim("browser");
    pns::Network network = support::network_of(*sim);
    network.push_services = {"*.push.apple.com"};
    Round round;
    round.run({handle_at(mozilla + "a"), handle_at("https://fcm.googleapis.com/wp/a"),
               handle_at("https://127.0.0.1/a"), handle_at("https://evil.example/a"),
               handle_at(apple + "a")},
              network, support::message_of("{}"));
    for (std::size_t i = 0; i < 4; ++i) {
        INFO(round.verdicts[i]->reason());
        CHECK(round.verdicts[i]->kind() == Kind::not_sent);
        CHECK(outcome_of(round, i) == "BadChannel");
    }
    CHECK(round.verdicts[4]->kind() == Kind::accepted);
    CHECK(sim->counters().connects == 1);
}

namespace {

/// Web Push to a host name whose owner points it at this host.
class Rebound final : public pns::Account {
  public:
    const pns::Platform& platform() const override { return inner_->platform(); }
    Protocol protocol() const override { return inner_->protocol(); }
    Hosts hosts() const override { return Hosts::channel; }
    pns::TokenSource token_source() const override { return pns::NoToken(); }
    std::string token_key() const override { return "rebound"; }
    pns::Checked<std::shared_ptr<const pns::Prepared>> prepare(
        const pns::Message& message) const override {
        return inner_->prepare(message);
    }
    pns::Origin origin(std::string_view) const override { return {"localhost", 1}; }
    std::string authorization(std::string_view) const override { return {}; }
    void encode(const pns::Push& push, pns::Encoded& out) const override {
        inner_->encode(push, out);
    }
    pns::Judgement judge(const pns::Push& push, const pns::Answer& answer) const override {
        return inner_->judge(push, answer);
    }

  private:
    std::unique_ptr<pns::Account> inner_ = support::open_account("browser");
};

}  // namespace

TEST_CASE("a name with a private address is refused at once, without a retry", "[pns]") {
    Round round;
    round.account = std::make_unique<Rebound>();
    const std::int64_t began_ms = pns::system_clock().steady_ms();
    pns::Network network;
    network.wns_hosts = {"*:1"};
    round.run({handle_at(mozilla + "a"), handle_at(mozilla + "b")}, network,
              support::message_of("{}"));
    for (std::size_t i = 0; i < 2; ++i) {
        CHECK(round.verdicts[i]->kind() == Kind::not_sent);
        CHECK(outcome_of(round, i) == "BadChannel");
        CHECK(round.verdicts[i]->reason() == "the host has a private or special address");
        CHECK_FALSE(round.verdicts[i]->blames_credential());
    }
    CHECK(round.attempts == 0);
    CHECK(pns::system_clock().steady_ms() - began_ms <
          pns::default_settings("browser").request_timeout_ms);
}
