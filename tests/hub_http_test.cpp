#include "hub/http/http.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "hub/http/continuation.hpp"
#include "hub/http/problem.hpp"
#include "hub/http/request_fields.hpp"

using hub::Request;

namespace {

Request parsed(const std::string& target, const std::string& host = "localhost:8443") {
    Request request;
    request.method = "GET";
    request.target = target;
    request.headers.emplace_back("host", host);
    INFO(target);
    REQUIRE(hub::parse_target(request));
    return request;
}

bool refuses(const std::string& target, const std::string& host = "localhost") {
    Request request;
    request.target = target;
    request.headers.emplace_back("host", host);
    return !hub::parse_target(request);
}

}  // namespace

TEST_CASE("a target is split at slashes and then decoded once", "[hub]") {
    struct Row {
        std::string target;
        std::vector<std::string> segments;
    };
    const std::vector<Row> rows{
        {"/", {}},
        {"//", {}},
        {"/Hub", {"Hub"}},
        {"/hub/messages/", {"hub", "messages"}},
        {"//hub///messages//?a=b", {"hub", "messages"}},
        {"/hub/messages/%24batch", {"hub", "messages", "$batch"}},
        {"/hub/tags/a%2Fb/registrations", {"hub", "tags", "a/b", "registrations"}},
        {"/hub/tags/a%252Fb", {"hub", "tags", "a%2Fb"}},
        {"/hub/tags/a+b", {"hub", "tags", "a+b"}},
        {"/hub/%e2%82%ac", {"hub", "\xe2\x82\xac"}},
        {"/.././x", {"..", ".", "x"}},
        {"/h/'quoted'?x", {"h", "'quoted'"}},
    };
    for (const auto& row : rows) CHECK(parsed(row.target).segments == row.segments);
}

TEST_CASE("a query gives folded names and decoded values", "[hub]") {
    const auto request = parsed(
        "/h/"
        "registrations?API-Version=2020-06&%24filter=ChannelUri+eq+%27a%2Bb%27&direct&&x=1=2&x=3");
    CHECK(request.param("api-version") == "2020-06");
    CHECK(request.param("$filter") == "ChannelUri eq 'a+b'");
    CHECK(request.param("direct") == "");
    CHECK(request.param("x") == "1=2");
    CHECK_FALSE(request.param("test"));
    CHECK(request.path() == "/h/registrations");
    CHECK(request.query.size() == 5);
    CHECK(request.host == "localhost:8443");
}

TEST_CASE("a flag is set by its presence or by true, and never by false", "[hub]") {
    const auto flag = [](const std::string& query) {
        return hub::read_flag(parsed("/h/messages?" + query), "test");
    };
    for (const std::string on : {"test", "test=", "Test=true", "test=TRUE&test"})
        CHECK(std::get<bool>(flag(on)));
    for (const std::string off : {"", "test=false", "direct", "tests"})
        CHECK_FALSE(std::get<bool>(flag(off)));
    for (const std::string wrong : {"test=1", "test=no", "test=true&test=false"})
        CHECK_FALSE(hub::ok(flag(wrong)));
}

TEST_CASE("a continuation token is read by the list that wrote it, and by no other", "[hub]") {
    const std::string place = std::string("1-2-3\0\xff", 7);
    const auto token = hub::continuation_token("devices", place);
    CHECK(token.find_first_not_of(
              "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
          std::string::npos);
    CHECK(hub::continuation_place("devices", token) == place);
    CHECK_FALSE(hub::continuation_place("sends", token));
    for (const std::string& other :
         {std::string(), std::string("garbage"), std::string("Z2FyYmFnZQ"), token.substr(1),
          token.substr(0, token.size() - 2), token + "A", std::string(5'000, 'A')})
        CHECK_FALSE(hub::continuation_place("devices", other));
}

TEST_CASE("a header of ours is known, not blank, there once, and steers a send", "[hub]") {
    const auto wrong = [](const hub::Headers& headers, bool steers_sends) {
        hub::Request request;
        request.headers = headers;
        const auto refusal = hub::check_own_headers(request, steers_sends);
        return refusal ? refusal->message : std::string();
    };
    CHECK(wrong({{"pushhub-rate", "5/s"}, {"pushhub-allow", "x"}, {"other", ""}}, true).empty());
    CHECK(wrong({{"other", ""}, {"pushhubs", ""}}, false).empty());
    for (const auto& [headers, why] : std::vector<std::pair<hub::Headers, std::string>>{
             {{{"pushhub-canry", "1%"}}, "is not known"},
             {{{"pushhub-", "1"}}, "is not known"},
             {{{"pushhub-rate", " \t "}}, "is blank"},
             {{{"pushhub-rate", "5/s"}, {"pushhub-rate", "5/s"}}, "is there twice"}}) {
        CHECK_THAT(wrong(headers, true), Catch::Contains(why));
    }
    CHECK_THAT(wrong({{"pushhub-rate", "5/s"}}, false), Catch::Contains("this request is none"));
}

TEST_CASE("a list is named by its hub and by what narrows it", "[hub]") {
    const auto name = hub::list_name("devices", 7, {"a", "b"});
    CHECK(hub::list_name("devices", 7, {"a", "b"}) == name);
    for (const auto& other :
         {hub::list_name("devices", 8, {"a", "b"}), hub::list_name("devices", 7, {"a"}),
          hub::list_name("devices", 7, {"ab", ""}), hub::list_name("device", 7, {"a", "b"}),
          hub::list_name("devices", 7, {"b", "a"}), hub::list_name("devices", 7, {"a\n1:b"})})
        CHECK(other != name);
    CHECK(hub::filter_name(std::nullopt) != hub::filter_name(""));
}

TEST_CASE("a target that is no origin form is refused", "[hub]") {
    CHECK(refuses(""));
    CHECK(refuses("*"));
    CHECK(refuses("hub/messages"));
    CHECK(refuses("http://x/y"));
    CHECK(refuses("/a%"));
    CHECK(refuses("/a%2"));
    CHECK(refuses("/a%zz"));
    CHECK(refuses("/a%00b"));
    CHECK(refuses("/a?b=%00"));
    CHECK(refuses("/a?%0=b"));
    CHECK(refuses("/a b"));
    CHECK(refuses("/a\tb"));
    CHECK(refuses("/a\x7f"));
    CHECK(refuses("/a#b"));
    CHECK(refuses(std::string("/a\0b", 4)));
    CHECK(refuses("/" + std::string(hub::target_bytes_max, 'a')));
    CHECK_FALSE(refuses("/" + std::string(hub::target_bytes_max - 1, 'a')));
}

TEST_CASE("a host that could change a URL or an XML text is refused", "[hub]") {
    for (const std::string host : {"a/b", "user@host", "a b", "<x>", "a\"b", "a?b", "h\r\nX: y"}) {
        INFO(host);
        CHECK(refuses("/", host));
    }
    CHECK(refuses("/", std::string(300, 'a')));
    for (const std::string host : {"localhost", "push.example.com:8443", "[::1]:8443", "my_host"}) {
        CHECK_FALSE(refuses("/", host));
    }
}

TEST_CASE("a tracking id is the client's only if it is a GUID", "[hub]") {
    Request request;
    const std::string guid = "0A1b2c3d-0000-4000-8000-aBcDeF012345";
    request.headers.emplace_back("trackingid", guid);
    CHECK(hub::choose_tracking_id(request) == guid);
    for (const std::string bad : {"", "x", "0a1b2c3d-0000-4000-8000-abcdef01234g",
                                  "0a1b2c3d-0000-4000-8000-abcdef0123456", "{0a1b2c3d-0000}"}) {
        request.headers.front().second = bad;
        const auto made = hub::choose_tracking_id(request);
        CHECK(made != bad);
        CHECK(made.size() == 36);
        request.headers.front().second = made;
        CHECK(hub::choose_tracking_id(request) == made);
    }
    request.headers.clear();
    CHECK(hub::choose_tracking_id(request) != hub::choose_tracking_id(request));
}

TEST_CASE("an error carries code, escaped text, tracking id and time", "[hub]") {
    Request request;
    request.tracking_id = "7f190000-0000-4000-8000-000000000000";
    request.received_at_ms = 1'593'714'801'000;  // 2 July 2020 18:33:21 UTC
    const auto response = hub::error(request, 401, "a <b> & c");
    CHECK(response.status == 401);
    CHECK(response.headers.front().second == "application/xml; charset=utf-8");
    CHECK(response.body.starts_with(
        "<Error><Code>401</Code><Detail>a &lt;b&gt; &amp; c.TrackingId:" + request.tracking_id +
        "_G"));
    CHECK(response.body.ends_with(",TimeStamp:7/2/2020 6:33:21 PM</Detail></Error>"));
}

TEST_CASE("a problem is JSON whatever the text holds", "[hub]") {
    Request request;
    request.tracking_id = "t";
    const auto response = hub::problem(request, 422, "No", "bad \xff byte \"quoted\"");
    const auto body = nlohmann::json::parse(response.body);
    CHECK(body["status"] == 422);
    CHECK(body["trackingId"] == "t");
    CHECK(response.headers.front().second == "application/problem+json");
}
