#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "hub/template/templates.hpp"

namespace {

const std::string storm =
    R"_({"title":"Storm warning for Utrecht","n":"12","url":"a b&c","name":"O'Neil"})_";

hub::Properties properties(const std::string& json) {
    auto parsed = hub::parse_properties(json);
    REQUIRE(hub::ok(parsed));
    return std::get<hub::Properties>(std::move(parsed));
}

registry::Template json_template(const std::string& value) {
    return {"t", R"_({"v":)_" + nlohmann::json(value).dump() + "}", {}, "", "", {}};
}

registry::Template toast(const std::string& body) {
    return {"t", body, {{"X-WNS-Type", "wns/toast"}}, "", "", {}};
}

hub::CompiledTemplate compiled(const std::string& platform, const registry::Template& source) {
    auto result = hub::compile_template(platform, source);
    if (!hub::ok(result)) FAIL(std::get<hub::Refusal>(result).message);
    return std::get<hub::CompiledTemplate>(std::move(result));
}

std::string refusal(const std::string& platform, const registry::Template& source) {
    const auto result = hub::compile_template(platform, source);
    INFO(source.body);
    REQUIRE_FALSE(hub::ok(result));
    CHECK(std::get<hub::Refusal>(result).status == 400);
    return std::get<hub::Refusal>(result).message;
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("JSON values render as the contract's examples", "[hub]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"$(title)", R"_("Storm warning for Utrecht")_"},
        {"$(TITLE, 5)", R"_("Storm")_"},
        {".(title, 12)", R"_("Storm war...")_"},
        {"$(missing)", R"_("")_"},
        {"$(missing:{none})", R"_("none")_"},
        {"#(n)", "12"},
        {"{#(n)}", R"_("12")_"},
        {"#(title)", R"_("Storm warning for Utrecht")_"},
        {"https://x/?q=$(url)", R"_("https://x/?q=$(url)")_"},
        {"{'https://x/?q=' + %(url)}", R"_("https://x/?q=a%20b%26c")_"},
        {"{'Hi ' + $(name) + ', it''s on'}", R"_("Hi O'Neil, it's on")_"},
        // Beyond the table: what the grammar allows.
        {"", R"_("")_"},
        {"Hello $(name)", R"_("Hello $(name)")_"},
        {" $(name)", R"_(" $(name)")_"},
        {"$(n)+$(n)", R"_("1212")_"},
        {"$(n) + ' x ' + %(url)", R"_("12 x a%20b%26c")_"},
        {"{ $( name ) }", R"_("O'Neil")_"},
        {R"_({"say ""it"" " + $(n)})_", R"_("say \"it\" 12")_"},
        {"$(title, 0)", R"_("")_"},
        {"$(title, 999)", R"_("Storm warning for Utrecht")_"},
        {".(n, 2)", R"_("12")_"},
        {".(title, 3)", R"_("...")_"},
        {".(title, 2)", R"_("..")_"},
        {".(title, 0)", R"_("")_"},
        {".(missing:{abcdefgh}, 5)", R"_("ab...")_"},
        {"$(missing:{a\\}b\\\\}, 4)", R"_("a}b\\")_"},
        {"#(missing)", R"_("")_"},
        {"#(missing:{7})", "7"},
    };
    for (const auto& [value, expected] : table) {
        INFO(value);
        const auto rendered =
            hub::render(compiled("fcmv1", json_template(value)), properties(storm), {});
        CHECK(rendered.body == R"_({"v":)_" + expected + "}");
        CHECK_FALSE(rendered.too_big);
    }
}

TEST_CASE("XML values render as the contract's examples", "[hub]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {R"_(<toast><text id="1">{$(n) + " alerts"}</text></toast>)_",
         R"_(<toast><text id="1">12 alerts</text></toast>)_"},
        {R"_(<toast><image src="$(url)"/></toast>)_",
         R"_(<toast><image src="a b&amp;c"/></toast>)_"},
        {R"_(<?xml version="1.0" encoding="utf-8"?><toast a='x'>$(n)</toast>)_",
         R"_(<?xml version="1.0" encoding="utf-8"?><toast a="x">12</toast>)_"},
        {R"_(<toast><text>#(n)</text><!-- gone --><b/>tail</toast>)_",
         R"_(<toast><text>12</text><b/>tail</toast>)_"},
        {R"_(<toast><text><![CDATA[$(url)]]></text></toast>)_",
         R"_(<toast><text>a b&amp;c</text></toast>)_"},
        {R"_(<toast>$(not evaluated: has a child)<b>x &lt; y</b></toast>)_",
         R"_(<toast>$(not evaluated: has a child)<b>x &lt; y</b></toast>)_"},
        {"<toast>\n <b>$(n)</b>\n</toast>", "<toast>\n <b>12</b>\n</toast>"},
    };
    for (const auto& [body, expected] : table) {
        INFO(body);
        CHECK(hub::render(compiled("wns", toast(body)), properties(storm), {}).body == expected);
    }
}

TEST_CASE("broken expressions are refused with their value and column", "[hub]") {
    struct Row {
        std::string value;
        std::size_t column;
    };
    const std::vector<Row> table{
        {"$(a-b)", 4},
        {"%(url, 5)", 6},
        {".(title)", 8},
        {"{#(n) + 'x'}", 9},
        {"{$(n)", 6},
        {"#1 in sales", 2},
        {"...more", 2},
        {R"_({"a":1})_", 5},
        {"$(n", 4},
        {"$()", 3},
        {"$n", 2},
        {"$(n) ", 5},
        {"$(n)x", 5},
        {"{$(n)} ", 7},
        {"{}", 2},
        {"{'x' +}", 7},
        {"{''}", 2},
        {"{'x}", 2},
        {"{'x' + #(n)}", 8},
        {"#(n) + 'x'", 8},
        {"#(n, 2)", 4},
        {"$(n, )", 6},
        {"$(n, x)", 6},
        {"$(n, 1000000)", 6},
        {"$(n:x)", 5},
        {"$(n:{x)", 4},
        {"$body", 1},
        {"%", 2},
        {"$(" + std::string(121, 'p') + ")", 3},
        {"$(\xC3\xA9)", 3},
        {"{'\xC3\xA9' $(n)}", 6},
    };
    for (const Row& row : table) {
        const std::string message = refusal("apns", json_template(row.value));
        INFO(message);
        CHECK(contains(message, "Template 't' is invalid: the value of /v, column " +
                                    std::to_string(row.column) + ":"));
    }
    registry::Template deep{"t", R"_({"aps":{"list":[1,{"x":"y"},"$(a b)"]}})_", {}, "", "", {}};
    CHECK(contains(refusal("apns", deep), "the value of /aps/list/2, column 5:"));
    CHECK(contains(refusal("wns", toast(R"_(<toast><a b="$(n"/></toast>)_")),
                   "the value of /toast/a/@b, column 4:"));
}

TEST_CASE("the rest of a JSON body is copied", "[hub]") {
    const registry::Template source{
        "t",
        R"_( {"$(key)" : [true, null, -1.50e2, 18446744073709551615, {"a\"b":"\u00e9\n"}, "$(n)"], "e":{}} )_",
        {},
        "",
        "",
        {}};
    CHECK(hub::render(compiled("adm", source), properties(storm), {}).body ==
          "{\"$(key)\":[true,null,-1.50e2,18446744073709551615,{\"a\\\"b\":\"\xC3\xA9\\n\"},"
          "\"12\"],\"e\":{}}");
}

TEST_CASE("only whole non-negative numbers lose their quotes", "[hub]") {
    for (const std::string number : {"0", "7", "10", "1.5", "0.25", "1e9", "2E-3", "3e+4"}) {
        INFO(number);
        CHECK(hub::is_template_number(number));
    }
    for (const std::string text : {"", "-1", "01", "1.", ".5", "1e", "e5", "1 ", " 1", "+1", "0x1",
                                   "1e+", "NaN", "00", "1e400", "1e99999999999999999999"}) {
        INFO(text);
        CHECK_FALSE(hub::is_template_number(text));
    }
}

TEST_CASE("message properties win over push variables, names ignore case", "[hub]") {
    const auto source = compiled("apns", json_template("{$(A) + ' ' + $(b) + ' ' + $(c)}"));
    CHECK(hub::render(source, properties(R"_({"a":"message","B":1.50})_"),
                      {{"A", "variable"}, {"b", "variable"}, {"C", "variable"}})
              .body == R"_({"v":"message 1.50 variable"})_");
}

TEST_CASE("values are escaped for where they stand and never evaluated again", "[hub]") {
    const hub::Properties evil{{"x", "\"<&\\ \n$(y)"}, {"y", "z"}};
    CHECK(hub::render(compiled("apns", json_template("$(x)")), evil, {}).body ==
          R"_({"v":"\"<&\\ \n$(y)"})_");
    CHECK(hub::render(compiled("wns", toast("<toast a=\"$(x)\"/>")), evil, {}).body ==
          "<toast a=\"&quot;&lt;&amp;\\ \n$(y)\"/>");
}

TEST_CASE("clipping counts characters and never splits one", "[hub]") {
    const hub::Properties message{{"x",
                                   "a\xC3\xA9\xF0\x9F\x8E\xBF"
                                   "b"}};
    CHECK(hub::render(compiled("apns", json_template("$(x, 2)")), message, {}).body ==
          "{\"v\":\"a\xC3\xA9\"}");
    CHECK(hub::render(compiled("apns", json_template("$(x, 3)")), message, {}).body ==
          "{\"v\":\"a\xC3\xA9\xF0\x9F\x8E\xBF\"}");
    CHECK(hub::render(compiled("apns", json_template(".(x, 4)")), message, {}).body ==
          "{\"v\":\"a\xC3\xA9\xF0\x9F\x8E\xBF"
          "b\"}");
}

TEST_CASE("message bodies are flat objects", "[hub]") {
    const auto parsed =
        properties(R"_({"S":"x","i":-3,"u":7,"f":1.50,"b":true,"n":null,"s2":""})_");
    CHECK(parsed ==
          hub::Properties{
              {"s", "x"}, {"i", "-3"}, {"u", "7"}, {"f", "1.50"}, {"b", "true"}, {"s2", ""}});
    for (const std::string body :
         {"", "[]", "\"x\"", "7", "null", "{\"a\":}", "{\"a\":{}}", "{\"a\":[]}", "{\"a\":1} {}"}) {
        INFO(body);
        CHECK_FALSE(hub::ok(hub::parse_properties(body)));
    }
    CHECK(contains(std::get<hub::Refusal>(hub::parse_properties(R"_({"deep":{"a":1}})_")).message,
                   "'deep'"));
    CHECK(std::get<hub::Refusal>(
              hub::parse_properties("{\"a\":\"" + std::string(65'536, 'x') + "\"}"))
              .status == 413);
}

TEST_CASE("headers, Expiry and Priority are checked and rendered", "[hub]") {
    registry::Template source = json_template("$(n)");
    source.headers = {{"apns-priority", "10"}, {"apns-collapse-id", "{'c-' + $(n)}"}};
    source.expiry = "$(until)";
    source.priority = "5";
    const auto rendered =
        hub::render(compiled("apns", source),
                    properties(R"_({"n":"1\r\n2","until":"2026-11-22T00:00:00Z"})_"), {});
    CHECK(rendered.headers ==
          registry::Headers{{"apns-priority", "10"}, {"apns-collapse-id", "c-1  2"}});
    CHECK(rendered.expiry == "2026-11-22T00:00:00Z");
    CHECK(rendered.priority == "5");

    const auto with_header = [](const std::string& name, const std::string& value) {
        registry::Template changed = json_template("$(n)");
        changed.headers = {{name, value}};
        return changed;
    };
    CHECK(contains(refusal("apns", with_header("x-other", "1")), "must start with 'apns-'"));
    CHECK(contains(refusal("apns", with_header("apns-priority", "256")), "0 to 255"));
    CHECK(contains(refusal("apns", with_header("apns-expiration", "soon")), "whole number"));
    CHECK(
        contains(refusal("apns", with_header("apns-topic", "$(")), "header 'apns-topic', column"));
    CHECK(contains(refusal("apns", with_header("apns-topic", "a\nb")), "control characters"));
    CHECK(contains(refusal("apns", with_header("apns topic", "a")), "header name"));
    CHECK(contains(refusal("fcmv1", with_header("x", "a")), "'Headers' are only acceptable"));
    CHECK(hub::ok(hub::compile_template("baidu", with_header("x-baidu-message-type", "1"))));
    CHECK(contains(refusal("baidu", with_header("x", "1")), "not acceptable for Baidu"));
    for (const std::string expiry : {"soon", "12", "$(", "-1"}) {
        registry::Template changed = json_template("$(n)");
        changed.expiry = expiry;
        CHECK(contains(refusal("apns", changed), "Expiry"));
        CHECK(hub::ok(hub::compile_template("gcm", changed)));
    }
    registry::Template priority = json_template("$(n)");
    priority.priority = "high";
    CHECK(contains(refusal("apns", priority), "Priority"));
}

TEST_CASE("Windows templates need a type and its root element", "[hub]") {
    const auto with_type = [](const std::string& type, const std::string& body) {
        return registry::Template{"t", body, {{"x-wns-type", type}}, "", "", {}};
    };
    using Body = hub::CompiledTemplate::Body;
    CHECK(compiled("wns", with_type("WNS/Tile", "<tile/>")).kind == Body::xml);
    CHECK(compiled("wns", with_type("wns/badge", "<badge value=\"#(n)\"/>")).kind == Body::xml);
    CHECK(compiled("wns", with_type("wns/raw", "{\"a\":\"$(n)\"}")).kind == Body::json);
    CHECK(compiled("wns", with_type("wns/raw", "<any/>")).kind == Body::xml);
    CHECK(compiled("wns", with_type("wns/raw", "$(n) words {")).kind == Body::text);
    CHECK(compiled("wns", with_type("$(type)", "<any/>")).kind == Body::xml);
    CHECK(contains(refusal("wns", with_type("wns/toast", "<tile/>")), "must be <toast>"));
    CHECK(contains(refusal("wns", with_type("wns/other", "<tile/>")), "X-WNS-Type"));
    CHECK(contains(refusal("wns", json_template("x")), "X-WNS-Type is missing"));
    CHECK(contains(refusal("wns", with_type("wns/toast", "{}")), "not XML"));
    CHECK(contains(refusal("wns", with_type("wns/toast", "<!DOCTYPE a><toast/>")), "DOCTYPE"));
    CHECK(compiled("mpns", {"t", "<wp:Notification xmlns:wp=\"WPNotification\"/>", {}, "", "", {}})
              .kind == Body::xml);
}

TEST_CASE("bodies and names are bounded", "[hub]") {
    for (const std::string body : {"", "  ", "[]", "\"$(n)\"", "{", "{} {}", "null"}) {
        registry::Template source{"t", body, {}, "", "", {}};
        CHECK(contains(refusal("gcm", source), "body"));
    }
    registry::Template named = json_template("x");
    named.name = std::string(200, 'n');
    CHECK(hub::ok(hub::compile_template("gcm", named)));
    named.name += 'n';
    CHECK(contains(refusal("gcm", named), "longer than 200"));
    named.name = "";
    named.body = "{\"a\":" + std::string(40, '[') + std::string(40, ']') + "}";
    CHECK(contains(refusal("gcm", named), "The template is invalid: the body nests deeper"));
    named.body = "{\"a\":\"" + std::string(65'536, 'x') + "\"}";
    CHECK(contains(refusal("gcm", named), "65536"));
}

TEST_CASE("a rendering that grows without end stops and says so", "[hub]") {
    std::string list;
    for (int i = 0; i < 5'000; ++i) list += (i > 0 ? ",\"$(x)\"" : "\"$(x)\"");
    const registry::Template source{"t", "{\"a\":[" + list + "]}", {}, "", "", {}};
    const hub::Properties message{{"x", std::string(60'000, 'y')}};
    const auto rendered = hub::render(compiled("gcm", source), message, {});
    CHECK(rendered.too_big);
    CHECK(rendered.body.empty());

    registry::Template header = json_template("a");
    header.headers = {{"apns-topic", "$(x)"}};
    CHECK(hub::render(compiled("apns", header), message, {}).too_big);
}
