#include "tests/support/pns_accounts.hpp"

namespace {

using support::header_of;
using support::message_of;
using support::refusal_of;

const std::string toast = "<toast><visual/></toast>";

}  // namespace

TEST_CASE("a WNS push goes to the host and path of its channel", "[pns]") {
    const auto account = support::open_account("wns");
    CHECK(account->protocol() == pns::Account::Protocol::h1);
    pns::Push push;
    push.handle = "https://wns2-by3p.notify.windows.com/?token=AwYAAAB%3d";
    push.prepared = support::prepare(
        *account,
        message_of(toast, {{"x-wns-type", "wns/toast"}, {"x-wns-ttl", "3600"}, {"apns-x", "y"}}));
    const pns::Headers expected = {
        {"content-type", "text/xml"}, {"x-wns-type", "wns/toast"}, {"x-wns-ttl", "3600"}};
    CHECK(push.prepared->headers == expected);
    CHECK(*push.prepared->body == toast);
    pns::Encoded encoded;
    account->encode(push, encoded);
    CHECK(encoded.path == "/?token=AwYAAAB%3d");
    CHECK(encoded.body.empty());
    CHECK(account->origin(push.handle) == pns::Origin{"wns2-by3p.notify.windows.com", 443});
}

TEST_CASE("the type of a WNS notification sets its content type", "[pns]") {
    const auto account = support::open_account("wns");
    struct Row {
        std::string body;
        pns::Headers headers;
        std::string type, content_type;
    };
    const std::vector<Row> rows = {
        {toast, {}, "wns/toast", "text/xml"},
        {"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- x --> <tile/>", {}, "wns/tile", "text/xml"},
        {"<badge value=\"1\"/>", {{"x-wns-type", "WNS/Badge"}}, "wns/badge", "text/xml"},
        {"\x01\x02", {{"x-wns-type", "wns/raw"}}, "wns/raw", "application/octet-stream"},
        {toast, {{"x-wns-type", "wns/raw"}}, "wns/raw", "application/octet-stream"},
    };
    for (const Row& row : rows) {
        INFO(row.body);
        const auto prepared = support::prepare(*account, message_of(row.body, row.headers));
        CHECK(header_of(prepared->headers, "x-wns-type") == row.type);
        CHECK(header_of(prepared->headers, "content-type") == row.content_type);
    }
}

TEST_CASE("a WNS message that the service would refuse is refused before it is sent", "[pns]") {
    const auto account = support::open_account("wns");
    const std::vector<std::pair<std::string, pns::Headers>> bad = {
        {"", {{"x-wns-type", "wns/raw"}}},
        {"plain", {}},
        {"<other/>", {}},
        {"<!-- never closed", {}},
        {toast, {{"x-wns-type", "wns/tile"}}},
        {toast, {{"x-wns-type", "toast"}}},
        {toast, {{"x-wns-tag", std::string(17, 'a')}}},
        {toast, {{"x-wns-tag", "a b"}}},
        {toast, {{"x-wns-group", std::string(17, 'a')}}},
        {toast, {{"x-wns-ttl", "soon"}}},
        {toast, {{"x-wns-ttl", "0"}, {"x-wns-cache-policy", "cache"}}},
        {toast, {{"x-wns-ttl", "60"}, {"x-wns-cache-policy", "no-cache"}}},
        {toast, {{"x-wns-cache-policy", "maybe"}}},
        {toast, {{"x-wns-requestforstatus", "yes"}}},
        {toast, {{"x-wns-priority", "5"}}},
        {toast, {{"x-wns-match", "a\r\nb"}}},
    };
    for (const auto& [body, headers] : bad) {
        INFO(body << " " << (headers.empty() ? "" : headers.back().second));
        CHECK(refusal_of(*account, message_of(body, headers)) == "InvalidNotificationFormat");
    }
    CHECK(refusal_of(*account, message_of(std::string(5000, 'x'), {{"x-wns-type", "wns/raw"}})) ==
          "(taken)");
    CHECK(refusal_of(*account, message_of(std::string(5001, 'x'), {{"x-wns-type", "wns/raw"}})) ==
          "InvalidNotificationSize");
}

TEST_CASE("a WNS token is asked for where the credential says", "[pns]") {
    struct Row {
        const char* endpoint;
        const char* host;
        const char* scope;
    };
    const std::vector<Row> rows = {
        {"", "login.live.com", "scope=notify.windows.com"},
        {"https://login.live.com/accesstoken.srf", "login.live.com", "scope=notify.windows.com"},
        {"https://login.microsoftonline.com/t/oauth2/v2.0/token", "login.microsoftonline.com",
         "scope=https%3A%2F%2Fwns.windows.com%2F.default"},
        {"https://evil.test/token", nullptr, nullptr},
        {"http://login.live.com/accesstoken.srf", nullptr, nullptr},
        {"https://login.live.com.evil.test/", nullptr, nullptr},
    };
    for (const Row& row : rows) {
        INFO(row.endpoint);
        pns::Credential credential = support::made_credential("wns").credential;
        credential.properties["WindowsLiveEndpoint"] = row.endpoint;
        if (!row.host) {
            CHECK(std::holds_alternative<pns::Refusal>(pns::open_account(credential)));
            continue;
        }
        const auto source = support::open_with(credential)->token_source();
        const auto& fetched = std::get<pns::Fetched>(source);
        CHECK(fetched.origin.host == row.host);
        const std::string form = fetched.form(0).value();
        CHECK(form.find(row.scope) != std::string::npos);
        CHECK(form.starts_with("grant_type=client_credentials&client_id=ms-app%3A%2F%2Fs-1-15-2-"));
    }
}

TEST_CASE("a toast or tile has a tag by which a copy replaces it", "[pns]") {
    const auto account = support::open_account("wns");
    struct Row {
        std::string body;
        pns::Headers headers;
        std::string expected;
    };
    const std::vector<Row> rows = {
        {"<toast/>", {}, "0100000000000000"},
        {"<tile/>", {}, "0100000000000000"},
        {"<badge value=\"1\"/>", {}, "(none)"},
        {"bytes", {{"x-wns-type", "wns/raw"}}, "(none)"},
        {"<toast/>", {{"x-wns-tag", "mine"}}, "(none)"},
        {"<toast/>", {{"x-wns-group", "mine"}}, "(none)"},
    };
    pns::Encoded encoded;
    for (const Row& row : rows) {
        INFO(row.body);
        pns::Push push;
        push.handle = "https://db5.notify.windows.com/?token=a";
        push.id[0] = 1;
        push.prepared = support::prepare(*account, support::message_of(row.body, row.headers));
        account->encode(push, encoded);
        CHECK(support::header_of(encoded.headers, "x-wns-tag") == row.expected);
    }
}
