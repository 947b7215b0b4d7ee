#include "tests/support/pns_accounts.hpp"

namespace {

using support::header_of;
using support::message_of;
using support::refusal_of;

}  // namespace

TEST_CASE("an ADM push carries its registration id encoded in the path", "[pns]") {
    const auto account = support::open_account("adm");
    pns::Push push;
    push.handle = "amzn1.adm-registration.v3.Y29t/+?=#%";
    push.prepared = support::prepare(*account, message_of(R"({"data":{"order":"1042"}})"));
    CHECK(header_of(push.prepared->headers, "x-amzn-type-version") ==
          "com.amazon.device.messaging.ADMMessage@1.0");
    CHECK(header_of(push.prepared->headers, "x-amzn-accept-type") ==
          "com.amazon.device.messaging.ADMSendResult@1.0");
    CHECK(header_of(push.prepared->headers, "content-type") == "application/json");
    CHECK(header_of(push.prepared->headers, "accept") == "application/json");
    pns::Encoded encoded;
    account->encode(push, encoded);
    CHECK(encoded.path ==
          "/messaging/registrations/amzn1.adm-registration.v3.Y29t%2F%2B%3F%3D%23%25/messages");
    CHECK(account->origin(push.handle) == pns::Origin{"api.amazon.com", 443});
}

TEST_CASE("an ADM message that Amazon would refuse is refused before it is sent", "[pns]") {
    const auto account = support::open_account("adm");
    for (const char* good :
         {R"({"data":{}})", R"({"notification":{"title":"x"}})",
          R"({"data":{"a":"b"},"consolidationKey":"k","expiresAfter":60,"md5":"x"})"})
        CHECK(refusal_of(*account, message_of(good)) == "(taken)");
    for (const char* bad : {"", "{}", "[]", "{", R"({"data":[]})", R"({"data":{"a":1}})",
                            R"({"notification":"x"})", R"({"data":{},"expiresAfter":"60"})",
                            R"({"data":{},"consolidationKey":1})", R"({"data":{}}x)"}) {
        INFO(bad);
        CHECK(refusal_of(*account, message_of(bad)) == "InvalidNotificationFormat");
    }
    const auto sized = [](std::size_t bytes) {
        return R"({"data":{"x":")" + std::string(bytes - 17, 'x') + "\"}}";
    };
    REQUIRE(sized(6144).size() == 6144);
    CHECK(refusal_of(*account, message_of(sized(6144))) == "(taken)");
    CHECK(refusal_of(*account, message_of(sized(6145))) == "InvalidNotificationSize");
}

TEST_CASE("an ADM token is asked for with the client's secret", "[pns]") {
    const auto& made = support::made_credential("adm");
    const auto source = support::open_with(made.credential)->token_source();
    const auto& fetched = std::get<pns::Fetched>(source);
    CHECK(fetched.origin == pns::Origin{"api.amazon.com", 443});
    CHECK(fetched.path == "/auth/O2/token");
    CHECK(fetched.form(0).value() ==
          "grant_type=client_credentials&scope=messaging%3Apush&client_id=" + made.trust.client_id +
              "&client_secret=" + made.trust.client_secret);
}

TEST_CASE("ADM addresses outside amazon.com are refused", "[pns]") {
    const std::vector<std::pair<std::string, std::string>> rows = {
        {"AuthTokenUrl", "https://evil.test/auth/O2/token"},
        {"AuthTokenUrl", "http://api.amazon.com/auth/O2/token"},
        {"AuthTokenUrl", "https://api.amazon.com.evil.test/"},
        {"SendUrlTemplate", "https://evil.test/{0}"},
        {"SendUrlTemplate", "https://api.amazon.com/messaging"},
        {"SendUrlTemplate", "https://api.amazon.com/{0}/a b"},
        {"ClientSecret", "a b"},
    };
    for (const auto& [name, value] : rows) {
        INFO(name << " " << value);
        pns::Credential credential = support::made_credential("adm").credential;
        credential.properties[name] = value;
        auto checked = pns::platform_by_name("adm")->check_credential(credential);
        REQUIRE(std::holds_alternative<pns::Refusal>(checked));
        CHECK(std::get<pns::Refusal>(checked).message.find(name) != std::string::npos);
    }
    pns::Credential credential = support::made_credential("adm").credential;
    credential.properties["SendUrlTemplate"] = "https://api.amazon.com/x/{0}/y";
    pns::Push push;
    push.handle = "h";
    const auto account = support::open_with(credential);
    push.prepared = support::prepare(*account, message_of(R"({"data":{}})"));
    pns::Encoded encoded;
    account->encode(push, encoded);
    CHECK(encoded.path == "/x/h/y");
}

TEST_CASE("an ADM message has a consolidation key by which a copy replaces it", "[pns]") {
    const auto account = support::open_account("adm");
    const std::string big = R"({"data":{"x":")" + std::string(6144 - 17, 'x') + "\"}}";
    REQUIRE(big.size() == 6144);
    const std::vector<std::pair<std::string, std::string>> rows = {
        {R"({"data":{"a":"b"}})",
         R"({"consolidationKey":"AQAAAAAAAAAAAAAAAAAAAA","data":{"a":"b"}})"},
        {R"({"data":{},"consolidationKey":"k"})", ""},
        {big, ""},
    };
    pns::Encoded encoded;
    for (const auto& [body, expected] : rows) {
        pns::Push push;
        push.handle = "h";
        push.id[0] = 1;
        push.prepared = support::prepare(*account, support::message_of(body));
        account->encode(push, encoded);
        CHECK(encoded.body == expected);
        CHECK(*push.prepared->body == body);
    }
}
