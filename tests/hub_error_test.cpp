#include <catch2/catch.hpp>
#include <pugixml.hpp>
#include <string>

#include "hub/device/tags.hpp"
#include "hub/text/json_text.hpp"
#include "hub/text/text.hpp"
#include "hub/text/wire_error.hpp"
#include "hub/text/xml.hpp"
#include "tagexpr/utf8.hpp"

TEST_CASE("an error body has the recorded shape", "[hub]") {
    CHECK(hub::error_xml(404, "Installation not found", "cc8c1f00-0000-4000-8000-00000000cd69",
                         1'541'549'858'000) ==
          "<Error><Code>404</Code><Detail>Installation not found"
          ".TrackingId:cc8c1f00-0000-4000-8000-00000000cd69_G0,TimeStamp:11/7/2018 12:17:38 AM"
          "</Detail></Error>");
    CHECK(hub::error_xml(401, "InvalidSignature: The token has an invalid signature.", "t", 0)
              .find("signature.TrackingId:t_G0,") != std::string::npos);
}

TEST_CASE("an error body is well-formed whatever the message holds", "[hub]") {
    for (const std::string& message :
         {std::string("a<b>&\"c\""), std::string("\x01\x7f\xff\xfe", 4), std::string("\0x", 2),
          std::string("]]>"), std::string("\xED\xA0\x80"), std::string("\xEF\xBF\xBF\r\n")}) {
        pugi::xml_document document;
        const std::string body = hub::error_xml(400, message, "id", 0);
        REQUIRE(document.load_string(body.c_str()));
        CHECK(tagexpr::is_utf8(body));
        const std::string detail = document.child("Error").child_value("Detail");
        CHECK(detail.find(".TrackingId:id_G0") != std::string::npos);
    }
}

TEST_CASE("XML from outside is bounded and never expanded", "[hub]") {
    const auto refused = [](const std::string& text) {
        pugi::xml_document document;
        const auto refusal = hub::read_xml(text, document);
        return refusal ? refusal->status : 0;
    };
    const auto nested = [](std::size_t depth) {
        std::string text;
        for (std::size_t i = 0; i < depth; ++i) text += "<a>";
        text += "x";
        for (std::size_t i = 0; i < depth; ++i) text += "</a>";
        return text;
    };
    CHECK(refused("<a>&lt;&#65;</a>") == 0);
    CHECK(refused(nested(hub::xml_depth_max - 1)) == 0);
    CHECK(refused(nested(hub::xml_depth_max + 1)) == 400);
    CHECK(refused(nested(7000)) == 400);
    CHECK(refused("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>") == 400);
    CHECK(refused("<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>") == 400);
    CHECK(refused("<?xml version=\"1.0\"?><a/>") == 0);
    CHECK(refused("\xEF\xBB\xBF<a/>") == 0);
    CHECK(refused(std::string("\xFF\xFE<\0a\0/\0>\0", 10)) == 0);
    CHECK(refused("<a>\xFF</a>") == 400);
    CHECK(refused("") == 400);
    CHECK(refused("{}") == 400);
    CHECK(refused("<a>") == 400);
    CHECK(refused("<a></b>") == 400);
    CHECK(refused("<a>" + std::string(hub::xml_bytes_max, 'x') + "</a>") == 413);
}

TEST_CASE("JSON from outside is bounded before a tree is built", "[hub]") {
    const auto status = [](const std::string& text) {
        const auto parsed = hub::read_json(text, "The body");
        return hub::ok(parsed) ? 0 : std::get<hub::Refusal>(parsed).status;
    };
    const std::size_t depth = hub::json_depth_max;
    CHECK(status(std::string(depth, '[') + std::string(depth, ']')) == 0);
    CHECK(status(std::string(depth + 1, '[') + std::string(depth + 1, ']')) == 400);
    CHECK(status(std::string(60'000, '[')) == 400);
    CHECK(status("{\"a\":1e999}") == 400);
    CHECK(status("\"\xFF\"") == 400);
    CHECK(status("{\"a\":}") == 400);
    CHECK(status("{} x") == 400);
    CHECK(status("") == 400);
    CHECK(status("\"" + std::string(hub::json_bytes_max, 'x') + "\"") == 413);
    const auto parsed = hub::read_json("{\"a\":!}", "The body");
    CHECK(std::get<hub::Refusal>(parsed).message == "The body is not valid JSON: error at byte 6.");
}

TEST_CASE("tag rules are those of the contract", "[hub]") {
    const auto refusal = [](const std::vector<std::string>& tags) {
        const auto found = hub::check_tags(tags);
        return found ? found->message : std::string();
    };
    CHECK(refusal({"a", "Team:red_7", "x@y#z.1-2", "caf\xC3\xA9"}).empty());
    CHECK(refusal({std::string(120, 'x')}).empty());
    CHECK(refusal({"$UserId:{u}"}) == "Tags can not start with $");
    CHECK(refusal({std::string(121, 'x')}).find("longer than 120") != std::string::npos);
    CHECK(refusal({"a b"}).find("position 2") != std::string::npos);
    CHECK(refusal({"a\xFF"}).find("illegal character") != std::string::npos);
    CHECK_FALSE(refusal({""}).empty());

    std::vector<std::string> many;
    for (int i = 0; i < 80; ++i) many.push_back(std::to_string(1000 + i) + std::string(95, 't'));
    CHECK(refusal(many).empty());  // 80 * 99 + 79 = 7999
    many.push_back("x");
    CHECK(refusal(many).find("Max Allowed Size: '8000'") != std::string::npos);

    const auto parsed = hub::parse_tag_list(" team:red , ,lang:nl,TEAM:RED,");
    REQUIRE(hub::ok(parsed));
    CHECK(std::get<0>(parsed) == std::vector<std::string>{"team:red", "lang:nl"});
    CHECK(hub::join_tags(std::get<0>(parsed)) == "team:red,lang:nl");
}

TEST_CASE("text operations follow their rules", "[hub]") {
    CHECK(tagexpr::utf8_count("a\xC3\xA9\xF0\x9F\x8E\xBF") == 3);
    CHECK(tagexpr::utf8_prefix("a\xC3\xA9z", 2) == "a\xC3\xA9");
    CHECK(tagexpr::utf8_prefix("abc", 0).empty());
    CHECK_FALSE(tagexpr::is_utf8("\xC0\xAF"));
    CHECK_FALSE(tagexpr::is_utf8("\xF4\x90\x80\x80"));
    CHECK(hub::percent_decoded("a%20b%2") == "a b%2");
    CHECK(hub::percent_decoded("%zz+%41") == "%zz+A");
    std::string json;
    hub::append_json_escaped(json, std::string("\"\\\n\x01", 4));
    CHECK(json == "\\\"\\\\\\n\\u0001");
    std::string cut = hub::shown(std::string(500, 'x'));
    CHECK(cut.size() == 63);
}
