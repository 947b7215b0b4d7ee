#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tagexpr/expression.hpp"

using tagexpr::Errc;
using tagexpr::Op;

namespace {

tagexpr::Expression parsed(std::string_view text) {
    auto result = tagexpr::parse(text);
    INFO(text.substr(0, 200));
    REQUIRE(std::holds_alternative<tagexpr::Expression>(result));
    return std::get<tagexpr::Expression>(std::move(result));
}

tagexpr::ParseError refused(std::string_view text, const tagexpr::Limits& limits = {}) {
    auto result = tagexpr::parse(text, limits);
    INFO(text.substr(0, 200));
    REQUIRE(std::holds_alternative<tagexpr::ParseError>(result));
    return std::get<tagexpr::ParseError>(std::move(result));
}

std::string repeated(std::string_view part, std::size_t times) {
    std::string text;
    for (std::size_t i = 0; i < times; ++i) text += part;
    return text;
}

}  // namespace

TEST_CASE("parse gives postfix nodes with the usual precedence", "[tagexpr]") {
    const auto tag = [](std::string name) { return tagexpr::Node{Op::tag, 0, std::move(name)}; };
    const tagexpr::Node negate{Op::negate, 1, {}};
    const auto all = [](std::uint32_t n) { return tagexpr::Node{Op::all_of, n, {}}; };
    const auto any = [](std::uint32_t n) { return tagexpr::Node{Op::any_of, n, {}}; };
    using Nodes = std::vector<tagexpr::Node>;

    CHECK(parsed("a||b&&c").nodes == Nodes{tag("a"), tag("b"), tag("c"), all(2), any(2)});
    CHECK(parsed("(a||b)&&c").nodes == Nodes{tag("a"), tag("b"), any(2), tag("c"), all(2)});
    CHECK(parsed("!a && b").nodes == Nodes{tag("a"), negate, tag("b"), all(2)});
    CHECK(parsed("!(a && b)").nodes == Nodes{tag("a"), tag("b"), all(2), negate});
    CHECK(parsed("a&&b&&c || d||e").nodes ==
          Nodes{tag("a"), tag("b"), tag("c"), all(3), tag("d"), tag("e"), any(3)});
    CHECK(parsed("a && (b && c)").nodes == Nodes{tag("a"), tag("b"), tag("c"), all(2), all(2)});
    CHECK(parsed("  ").nodes == Nodes{{Op::everything, 0, {}}});
    CHECK(parsed("((a))") == parsed("a"));
}

TEST_CASE("parse accepts every tag the contract names", "[tagexpr]") {
    for (const std::string tag :
         {"a", "Team:red_7", "x@y#z.1-2", "$UserId:{u-42}", "$InstallationId:{a=b:c}",
          "$userid:{U}", "-", "caf\xC3\xA9", "\xE6\x97\xA5\xE6\x9C\xAC", "e\xCC\x81",
          "\xE0\xA4\xB9\xE0\xA4\xBF\xE0\xA4\x82", "\xD9\xA3"}) {
        const auto expression = parsed(tag);
        REQUIRE(expression.nodes.size() == 1);
        CHECK(expression.nodes.front().op == Op::tag);
        CHECK(expression.nodes.front().tag == tag);
    }
    CHECK(parsed("\t(red || blue)\r\n&& $UserId:{u-42} ").nodes.size() == 5);
}

TEST_CASE("what is no letter, mark or digit of any script is no tag", "[tagexpr]") {
    struct Row {
        std::string text;
        std::size_t column;
        std::string shown;
    };
    for (const Row& row : std::vector<Row>{{"a\xC2\xA0&& b", 2, "U+00A0"},
                                           {"a\xE2\x80\x8D"
                                            "b",
                                            2, "U+200D"},
                                           {"\xF0\x9F\x8E\xBF", 1, "U+1F3BF"},
                                           {"a\xEF\xB8\x8F", 2, "U+FE0F"},
                                           {"\xE3\x85\xA4", 1, "U+3164"},
                                           {"x || \xE2\x82\xAC", 6, "U+20AC"}}) {
        INFO(row.text);
        const auto read = tagexpr::parse(row.text);
        REQUIRE(std::holds_alternative<tagexpr::ParseError>(read));
        const auto& error = std::get<tagexpr::ParseError>(read);
        CHECK(error.code == tagexpr::Errc::bad_character);
        CHECK(error.column == row.column);
        CHECK(error.message.find(row.shown) != std::string::npos);
    }
}

TEST_CASE("to_string prints the fewest parentheses that parse back to the same", "[tagexpr]") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"", ""},
        {"((a))", "a"},
        {"a||b||c", "a || b || c"},
        {"(a||b)||c", "(a || b) || c"},
        {"(a&&b)||c", "a && b || c"},
        {"a&&(b||c)", "a && (b || c)"},
        {"!(a)", "!a"},
        {"! ! a", "!!a"},
        {"!(a||b)&&!c", "!(a || b) && !c"},
    };
    for (const auto& [text, printed] : table) {
        CHECK(tagexpr::to_string(parsed(text)) == printed);
        CHECK(parsed(printed) == parsed(text));
    }
}

TEST_CASE("parse names what is wrong and where", "[tagexpr]") {
    struct Row {
        std::string text;
        Errc code;
        std::size_t column;
    };
    const std::vector<Row> table{
        {"a & b", Errc::single_operator, 3},
        {"a |", Errc::single_operator, 3},
        {"a &&& b", Errc::single_operator, 5},
        {"a && ", Errc::operand_expected, 6},
        {"&& a", Errc::operand_expected, 1},
        {"a || && b", Errc::operand_expected, 6},
        {"()", Errc::operand_expected, 2},
        {")", Errc::operand_expected, 1},
        {"!", Errc::operand_expected, 2},
        {"(", Errc::operand_expected, 2},
        {"a b", Errc::operator_expected, 3},
        {"a and b", Errc::operator_expected, 3},
        {"a (b)", Errc::operator_expected, 3},
        {"a !b", Errc::operator_expected, 3},
        {"(a)b", Errc::operator_expected, 4},
        {"(a || (b)", Errc::unclosed, 1},
        {"a && (b", Errc::unclosed, 6},
        {"a)", Errc::unopened, 2},
        {"(a))", Errc::unopened, 4},
        {"a, b", Errc::bad_character, 2},
        {"a * b", Errc::bad_character, 3},
        {"a=b", Errc::bad_character, 2},
        {"a\xFF", Errc::bad_character, 2},
        {"\xC0\xAF", Errc::bad_character, 1},
        {"\xED\xA0\x80", Errc::bad_character, 1},
        {"\xE6\x97", Errc::bad_character, 1},
        {std::string("a\0b", 3), Errc::bad_character, 2},
        {"$", Errc::bad_system_tag, 1},
        {"a && $x", Errc::bad_system_tag, 6},
        {"$UserId:u", Errc::bad_system_tag, 1},
        {"$UserId:{}", Errc::bad_system_tag, 1},
        {"$UserId:{a b}", Errc::bad_system_tag, 1},
        {"$UserId:{a", Errc::bad_system_tag, 1},
        {"$TagId:{a}", Errc::bad_system_tag, 1},
    };
    for (const Row& row : table) {
        const auto error = refused(row.text);
        INFO(row.text << ": " << error.message);
        CHECK(error.code == row.code);
        CHECK(error.column == row.column);
        CHECK(error.message.ends_with('.'));
        CHECK(error.message.size() < 200);
    }
}

TEST_CASE("parse holds its limits exactly", "[tagexpr]") {
    const tagexpr::Limits limits;
    const auto fits = [](const std::string& text) {
        return std::holds_alternative<tagexpr::Expression>(tagexpr::parse(text));
    };
    CHECK(fits(std::string(limits.length_bytes_max, ' ')));
    CHECK(refused(std::string(limits.length_bytes_max + 1, ' ')).code == Errc::too_long);

    CHECK(fits(std::string(limits.tag_bytes_max, 'x')));
    CHECK(refused("a||" + std::string(limits.tag_bytes_max + 1, 'x')).code == Errc::tag_too_long);
    CHECK(refused("a||" + std::string(limits.tag_bytes_max + 1, 'x')).column == 4);

    const std::size_t depth = limits.depth_max;
    CHECK(fits(std::string(depth, '(') + "a" + std::string(depth, ')')));
    CHECK(fits(std::string(depth, '!') + "a"));
    CHECK(fits(repeated("!(", depth / 2) + "a" + std::string(depth / 2, ')')));
    CHECK(fits(repeated("(!a)&&", 2000) + "a"));
    const auto deep = refused(std::string(depth, '(') + "!a");
    CHECK(deep.code == Errc::too_deep);
    CHECK(deep.column == depth + 1);

    CHECK(refused("a && b", {.length_bytes_max = 5}).code == Errc::too_long);
    CHECK(refused("!!a", {.depth_max = 1}).column == 2);
}

TEST_CASE("an expression of thousands of operators is parsed, simplified and printed",
          "[tagexpr]") {
    const auto wide = parsed(repeated("a||b&&", 1500) + "c");
    CHECK(parsed(tagexpr::to_string(wide)) == wide);
    const auto plan = tagexpr::simplify(wide);
    CHECK(tagexpr::to_string(plan) == "a || a && b || b && c");

    tagexpr::Expression deep;
    deep.nodes.push_back({Op::tag, 0, "a"});
    for (int i = 0; i < 100'000; ++i) deep.nodes.push_back({Op::negate, 1, {}});
    CHECK(tagexpr::to_string(tagexpr::simplify(deep)) == "a");
    CHECK(tagexpr::to_string(deep).size() == 100'001);
}

TEST_CASE("caret points at the column on one line", "[tagexpr]") {
    const auto drawn = [](const std::string& text) { return refused(text).caret(text); };
    CHECK(drawn("a & b") == "a & b\n  ^");
    CHECK(drawn("a\n&& ") == "a && \n     ^");
    CHECK(drawn("caf\xC3\xA9 & b") == "caf\xC3\xA9 & b\n     ^");

    const std::string text = repeated("abcd||", 50) + "&&" + repeated("efgh||", 50) + "a";
    const std::string picture = drawn(text);
    const auto line = picture.substr(0, picture.find('\n'));
    const auto caret = picture.substr(picture.find('\n') + 1);
    CHECK(line.size() <= 80);
    CHECK(line.starts_with("..."));
    CHECK(line.ends_with("..."));
    CHECK(line.substr(caret.size() - 1, 2) == "&&");
}
