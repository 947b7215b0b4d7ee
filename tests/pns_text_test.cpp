#include "pns/text.hpp"

#include <catch2/catch.hpp>
#include <string>

TEST_CASE("letters are folded by ASCII rules only", "[pns]") {
    CHECK(pns::lower("AZ[`az\xC3\x84") == "az[`az\xC3\x84");
    CHECK(pns::same_ignoring_case("Content-TYPE", "content-type"));
    CHECK_FALSE(pns::same_ignoring_case("content", "content-type"));
    CHECK_FALSE(pns::same_ignoring_case("@", "`"));
    CHECK(pns::trimmed(" \t\r\n a b \t\r\n") == "a b");
    CHECK(pns::trimmed(" \t ").empty());
}

TEST_CASE("hexadecimal text is written and read back", "[pns]") {
    std::string bytes;
    for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
    const std::string text = pns::to_hex(bytes);
    CHECK(text.starts_with("000102") == true);
    CHECK(text.ends_with("fdfeff"));
    CHECK(pns::from_hex(text) == bytes);
    CHECK(pns::from_hex("FF0a") == "\xFF\n");
    CHECK(pns::from_hex("")->empty());
    for (const char* bad : {"0", "0g", "g0", "-1", "+1", " 1", "0x", "1 "}) {
        INFO(bad);
        CHECK_FALSE(pns::from_hex(bad));
    }
}

TEST_CASE("percent coding leaves what is unreserved and what is broken", "[pns]") {
    std::string out;
    pns::append_percent_encoded(out, "aZ9-._~ /%+\xC3");
    CHECK(out == "aZ9-._~%20%2F%25%2B%C3");
    CHECK(pns::percent_decoded(out) == "aZ9-._~ /%+\xC3");
    CHECK(pns::percent_decoded("a+b%2b%2B") == "a+b++");
    CHECK(pns::percent_decoded("a+b%2b", true) == "a b+");
    CHECK(pns::percent_decoded("%") == "%");
    CHECK(pns::percent_decoded("%4") == "%4");
    CHECK(pns::percent_decoded("%zz%41") == "%zzA");
}

TEST_CASE("JSON strings are escaped", "[pns]") {
    std::string out;
    pns::append_json_escaped(out, std::string_view("\"\\/\n\r\t\x01\0\xC3\xA4", 10));
    CHECK(out == "\\\"\\\\/\\n\\r\\t\\u0001\\u0000\xC3\xA4");
}
