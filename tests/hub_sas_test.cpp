#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "hub/access/sas.hpp"

namespace {

const std::string vector_key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The checks start from a valid call and change one thing.
struct Call {
    std::string sr = "https%3A%2F%2Fhub.example.test%2F";
    std::string se = "1800000000";
    std::string skn = "Root";
    std::string key = vector_key;
    std::string host = "hub.example.test";
    std::string path = "/orders/messages/";
    std::vector<hub::Rule> hub_rules{};
    std::vector<hub::Rule> namespace_rules{
        {"Root", vector_key, "other-secondary-key", true, true, true, 0, 0}};
    std::vector<std::string> hosts{};
    std::int64_t now_s = 1'799'999'000;

    std::string header() const {
        std::string sig;
        for (const char c : hub::sas_signature(key, sr, se)) {
            if (c == '+')
                sig += "%2B";
            else if (c == '/')
                sig += "%2f";
            else if (c == '=')
                sig += "%3D";
            else
                sig += c;
        }
        return "SharedAccessSignature sr=" + sr + "&sig=" + sig + "&se=" + se + "&skn=" + skn;
    }
    hub::Parsed<hub::SasMatch> check(const std::string& authorization) const {
        return hub::check_sas(
            {authorization, host, path, hub_rules, namespace_rules, hosts, now_s, hub::sas_skew_s});
    }
    /// The sub code, or "ok".
    std::string outcome(const std::string& authorization) const {
        const auto checked = check(authorization);
        if (hub::ok(checked)) return "ok";
        const auto& refusal = std::get<hub::Refusal>(checked);
        CHECK(refusal.status == 401);
        CHECK((key.empty() || refusal.message.find(key) == std::string::npos));
        return refusal.message.substr(0, refusal.message.find(':'));
    }
    std::string outcome() const { return outcome(header()); }
};

}  // namespace

TEST_CASE("signatures equal the contract's test vectors", "[hub]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"https%3A%2F%2Fhub.example.test%2F", "x0ytJq0frx2ZGkB3jiAT+8d9pwBySBNUOoz+8zJVebs="},
        {"http%3a%2f%2fhub.example.test%2forders%2fmessages%2f",
         "ca1+OQ/1qA8arpwRYmggLm8x9zEz0Ux1Sb71HV8WXTU="},
        {"https%3a%2f%2fhub.example.test%2forders%2fmessages%3fapi-version%3d2020-06",
         "g2kMWU2qzEyS1AlL/K8y6+WxQkHoHe/W6BCj/UiY7l8="},
    };
    for (const auto& [sr, signature] : table) {
        CHECK(hub::sas_signature(vector_key, sr, "1800000000") == signature);
        Call call;
        call.sr = sr;
        CHECK(call.outcome() == "ok");
    }
    CHECK(hub::sas_signature(
              "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "https%3A%2F%2Flocalhost%3A8443%2F",
              "1795288320") == "6N1ePEuXmPLHdPKUuv6m4oCVqfsZ3vUH7KSftXy0ZD8=");
}

TEST_CASE("every form of sr that an SDK signs is accepted", "[hub]") {
    for (const std::string sr : {
             "https%3A%2F%2Fhub.example.test%3A8443%2F",
             "http%3a%2f%2fhub.example.test%2forders%2fmessages%2f",
             "https%3a%2f%2fhub.example.test%3a8443%2forders%2fmessages%2f%3fapi-version%3d2020-06",
             "sb%3a%2f%2fHUB.example.test%2fOrders",
             "https%253a%252f%252fhub.example.test%252forders",
             "https://hub.example.test/orders",
             "https%3a%2f%2fhub.example.test",
         }) {
        Call call;
        call.sr = sr;
        call.host = "Hub.Example.Test:8443";
        call.path = "/ORDERS/messages/?api-version=2020-06";
        INFO(sr);
        CHECK(call.outcome() == "ok");
    }
    Call batch;
    batch.sr = "https%3a%2f%2fhub.example.test%2forders%2fmessages%2f%24batch%3fdirect";
    batch.path = "/orders/messages/%24batch?direct";
    CHECK(batch.outcome() == "ok");
}

TEST_CASE("a token for another host or path is an InvalidAudience", "[hub]") {
    for (const std::string sr :
         {"https%3A%2F%2Fother.example.test%2F", "https%3A%2F%2Fhub.example.test%2Forder",
          "https%3A%2F%2Fhub.example.test%2Forders%2Fmessages%2F1",
          "https%3A%2F%2Fhub.example.test.evil.test%2F", "hub.example.test", "%2F",
          "https%3A%2F%2F"}) {
        Call call;
        call.sr = sr;
        INFO(sr);
        CHECK(call.outcome() == "InvalidAudience");
    }
    Call named;
    named.hosts = {"push.example.com", "hub.example.test"};
    named.host = "10.0.0.7:8443";
    CHECK(named.outcome() == "ok");
    named.hosts = {"push.example.com"};
    CHECK(named.outcome() == "InvalidAudience");
    const auto why = std::get<hub::Refusal>(named.check(named.header())).message;
    CHECK(why.find("'hub.example.test'") != std::string::npos);
    CHECK(why.find("'push.example.com'") != std::string::npos);
    named.hosts.clear();
    const auto plain = std::get<hub::Refusal>(named.check(named.header())).message;
    CHECK(plain.find("'hub.example.test'") != std::string::npos);
    CHECK(plain.find("'10.0.0.7'") != std::string::npos);
}

TEST_CASE("a token for an id with capital letters is for no other id", "[hub]") {
    const auto outcome = [](const std::string& signed_path, const std::string& path) {
        Call call;
        call.sr = "https%3A%2F%2Fhub.example.test" + signed_path;
        call.path = path;
        return call.outcome();
    };
    CHECK(outcome("/orders/installations/dev-A", "/Orders/Installations/dev-A") == "ok");
    CHECK(outcome("/Orders/Installations/dev-A", "/orders/installations/dev-A/") == "ok");
    CHECK(outcome("/orders/users/dev-A", "/orders/users/dev-a") == "InvalidAudience");
    CHECK(outcome("/orders/installations/dev-A", "/orders/installations/dev-a") ==
          "InvalidAudience");
    CHECK(outcome("/orders/installations/dev%2DA", "/orders/installations/Dev-A") ==
          "InvalidAudience");
    CHECK(outcome("/orders/devices/dev-A", "/orders/devices/dev-a/pushes") == "InvalidAudience");
    CHECK(outcome("/orders/devices/dev-A", "/orders/devices/dev-A/pushes") == "ok");
    CHECK(outcome("/orders/installations/dev-A", "/orders/installations/dev-Ab") ==
          "InvalidAudience");
    // What SDKs sign is in lower case throughout.
    CHECK(outcome("/orders/installations/dev-a", "/Orders/installations/dev-A") == "ok");
}

TEST_CASE("fields come in any order and each is needed once", "[hub]") {
    const Call call;
    const std::string header = call.header();
    const auto fields = header.substr(std::string("SharedAccessSignature ").size());
    std::vector<std::string> parts;
    for (std::size_t at = 0; at < fields.size();) {
        const std::size_t end = std::min(fields.find('&', at), fields.size());
        parts.push_back(fields.substr(at, end - at));
        at = end + 1;
    }
    REQUIRE(parts.size() == 4);
    const std::string prefix = "sharedaccesssignature   ";
    CHECK(call.outcome(prefix + parts[1] + "&" + parts[2] + "&" + parts[3] + "&" + parts[0]) ==
          "ok");
    CHECK(call.outcome(header + "&x=y") == "ok");
    for (std::size_t without = 0; without < 4; ++without) {
        std::string some = prefix;
        for (std::size_t i = 0; i < 4; ++i) {
            if (i != without) some += parts[i] + "&";
        }
        CHECK(call.outcome(some) == "MalformedToken");
        CHECK(call.outcome(header + "&" + parts[without]) == "MalformedToken");
    }
    CHECK(call.outcome("") == "MissingToken");
    CHECK(call.outcome("Bearer abc") == "MalformedToken");
    CHECK(call.outcome("SharedAccessSignature") == "MalformedToken");
    CHECK(call.outcome(header + std::string(10'000, 'x')) == "MalformedToken");
}

TEST_CASE("expiry allows the skew and not a second more", "[hub]") {
    Call call;
    call.now_s = 1'800'000'000 + hub::sas_skew_s - 1;
    CHECK(call.outcome() == "ok");
    ++call.now_s;
    CHECK(call.outcome() == "ExpiredToken");
    for (const std::string se : {"", "soon", "-1", "1800000000x", "99999999999999999999", "1e9"}) {
        Call odd;
        odd.se = se;
        INFO(se);
        CHECK(odd.outcome() == "MalformedToken");
    }
    Call far;
    far.se = "9223372036854775807";
    CHECK(far.outcome() == "ok");
}

TEST_CASE("both keys of a rule are valid and hub rules come first", "[hub]") {
    Call call;
    call.key = "other-secondary-key";
    CHECK(call.outcome() == "ok");
    call.key = "another key";
    CHECK(call.outcome() == "InvalidSignature");
    CHECK(std::get<hub::Refusal>(call.check(call.header())).message ==
          "InvalidSignature: The token has an invalid signature.");
    call.key = "";
    CHECK(
        hub::check_sas({call.header(), call.host, call.path, {}, {}, {}, call.now_s, 0}).index() ==
        1);

    Call hub_level;
    hub_level.hub_rules = {{"Root", "hub-key", "", true, false, false, 0, 0}};
    CHECK(hub_level.outcome() == "InvalidSignature");
    hub_level.key = "hub-key";
    const auto checked = hub_level.check(hub_level.header());
    REQUIRE(hub::ok(checked));
    CHECK_FALSE(std::get<hub::SasMatch>(checked).of_namespace);
    CHECK(std::get<hub::SasMatch>(checked).rule == &hub_level.hub_rules[0]);
    // An absent secondary key opens nothing.
    hub_level.key = "";
    hub_level.hub_rules[0].primary_key = "x";
    CHECK(hub_level.outcome(hub_level.header()) == "InvalidSignature");

    Call unknown;
    unknown.skn = "Nobody";
    CHECK(unknown.outcome() == "InvalidSignature");
}

TEST_CASE("rule names are percent-decoded leniently", "[hub]") {
    for (const std::string skn : {"my%20rule%2B1", "my rule+1", "my%20rule+1"}) {
        Call call;
        call.namespace_rules[0].name = "my rule+1";
        call.skn = skn;
        CHECK(call.outcome() == "ok");
    }
}

TEST_CASE("a made token is accepted", "[hub]") {
    Call call;
    CHECK(call.outcome(hub::make_sas("https://Hub.example.test/Orders", "Root", vector_key,
                                     1'800'000'000)) == "ok");
}
