#include "hub/text/plain_json.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <string>

namespace {

using hub::parse_plain_json;
using nlohmann::json;

/// The plain parser may be silent, and never says anything else than the full one.
bool agrees(const std::string& text, bool& read) {
    const auto plain = parse_plain_json(text);
    const json full = json::parse(text, nullptr, false);
    read = plain.has_value();
    return !plain || (!full.is_discarded() && *plain == full && plain->dump() == full.dump());
}

}  // namespace

TEST_CASE("plain JSON is read as the full parser reads it", "[hub]") {
    for (
        const std::string text : {
            R"({"installationId":"d-1","tags":["a","b:c"],"expirationTime":"2030-01-01T00:00:00Z"})",
            " { \"a\" : [ ] , \"b\" : { } , \"c\" : [ [ 1 , 0 , 123456789012345678 ] , { } ] "
            "}\r\n\t",
            R"([{"op":"replace","path":"/pushChannel","value":null},true,false,""])",
            R"({"twice":1,"twice":{"x":[2]}})",
            R"({"twice":{"x":[2]},"twice":"y"})",
            "7",
            R"("")",
            "{}",
            "[]",
            "null",
        }) {
        INFO(text);
        bool read = false;
        CHECK(agrees(text, read));
        CHECK(read);
    }
}

TEST_CASE("what is not plain is left to the full parser", "[hub]") {
    for (const std::string text : {"",
                                   " ",
                                   "{",
                                   "}",
                                   "[1,]",
                                   "{\"a\"}",
                                   "{\"a\":}",
                                   "{\"a\":1,}",
                                   "[1 2]",
                                   "01",
                                   "-1",
                                   "1.5",
                                   "1e3",
                                   "1234567890123456789",
                                   "tru",
                                   "truefalse",
                                   "nul",
                                   "{\"a\":1}x",
                                   "\"\\u0041\"",
                                   "\"\xC3\xA4\"",
                                   "\"a\tb\"",
                                   "\"a",
                                   "[,1]",
                                   "{1:2}",
                                   "[1}",
                                   "{\"a\":1]",
                                   "+1",
                                   "0x1"}) {
        INFO(text);
        CHECK(!parse_plain_json(text));
    }
    CHECK(!parse_plain_json(std::string("\"a\0b\"", 5)));
}

TEST_CASE("a text that is changed anywhere is never read as something else", "[hub]") {
    const auto seed = std::random_device()();
    INFO(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::size_t end) { return static_cast<std::size_t>(random() % end); };
    const std::string whole =
        R"({"a":[1,20,{"b":"c","d":[]}],"e":{"f":true,"g":null},"h":"i:j","k":false,"l":[[[0]]]})";
    const std::string bytes = "{}[]\",:0123456789 \n\\etrufalsn-.\x80\x7f";
    std::size_t as_plain = 0;
    for (int i = 0; i < 30'000; ++i) {
        std::string text = whole;
        for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
            const std::size_t at = below(text.size());
            if (below(3) == 0)
                text.erase(at, 1);
            else if (below(2) == 0)
                text[at] = bytes[below(bytes.size())];
            else
                text.insert(at, 1, bytes[below(bytes.size())]);
        }
        bool read = false;
        if (!agrees(text, read)) FAIL(text);
        as_plain += read ? 1 : 0;
    }
    CHECK(as_plain > 1'000);
}
