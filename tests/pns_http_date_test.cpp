#include "pns/http_date.hpp"

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <vector>

namespace {

constexpr std::int64_t now_ms = 1'795'200'000'000;  // Fri, 20 Nov 2026 18:40:00 GMT
constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();

}  // namespace

TEST_CASE("HTTP dates are read in their three forms and no other", "[pns]") {
    struct Row {
        std::string text;
        std::int64_t time_ms;  // -1: no date
    };
    const std::vector<Row> rows{
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784'111'777'000},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784'111'777'000},
        {"Sun Nov  6 08:49:37 1994", 784'111'777'000},
        {" Sun Nov  6 08:49:37 1994\t", 784'111'777'000},
        {"Wed Nov 16 08:49:37 1994", 784'975'777'000},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Thu, 29 Feb 2024 00:00:00 GMT", 1'709'164'800'000},
        {"Fri, 31 Dec 9999 23:59:60 GMT", 253'402'300'800'000},
        // Two digits: less than fifty years ahead, else the past.
        {"Thursday, 31-Dec-75 00:00:00 GMT", 3'344'976'000'000},
        {"Wednesday, 01-Jan-76 00:00:00 GMT", 189'302'400'000},
        {"", -1},
        {"Sun", -1},
        {"Sunday", -1},
        {"Sun,", -1},
        {"120", -1},
        {"soon", -1},
        {"sun, 06 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06 nov 1994 08:49:37 GMT", -1},
        {"Sun, 06 Nox 1994 08:49:37 GMT", -1},
        {"Sun, 6 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 31 Feb 1994 08:49:37 GMT", -1},
        {"Sun, 29 Feb 2023 08:49:37 GMT", -1},
        {"Sun, 00 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06 Nov 94 08:49:37 GMT", -1},
        {"Sun, 06-Nov-94 08:49:37 GMT", -1},
        {"Sunday, 06 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 24:00:00 GMT", -1},
        {"Sun, 06 Nov 1994 08:60:37 GMT", -1},
        {"Sun, 06 Nov 1994 08:49:61 GMT", -1},
        {"Sun, 06 Nov 1994 08:49 GMT", -1},
        {"Sun, 06 Nov 1994 08:49:37", -1},
        {"Sun, 06 Nov 1994 08:49:37 CET", -1},
        {"Sun, 06 Nov 1994 08:49:37 GMT GMT", -1},
        {"Sun, -6 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06 Nov -994 08:49:37 GMT", -1},
        {"Sun, +6 Nov 1994 08:49:37 GMT", -1},
        {"Sun, 06 Nov 1994 -8:49:37 GMT", -1},
        {"Sun Nov  6 08:49:37 1994 GMT", -1},
        {"Sun Nov 6 08:49:37 1994", -1},
        {std::string("Sun, 06 Nov 1994 08:49:37 GMT\0", 30), -1},
        {std::string(100'000, '9'), -1},
    };
    for (const Row& row : rows) {
        INFO(row.text.substr(0, 60));
        CHECK(pns::parse_http_date_ms(row.text, now_ms).value_or(-1) == row.time_ms);
    }
}

TEST_CASE("HTTP dates are written in the form that is read", "[pns]") {
    CHECK(pns::http_date(784'111'777'999) == "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(pns::http_date(1'795'262'400'000) == "Sat, 21 Nov 2026 12:00:00 GMT");
    CHECK(pns::http_date(-1) == "Wed, 31 Dec 1969 23:59:59 GMT");
    CHECK(pns::http_date(-most) == "Mon, 01 Jan 0001 00:00:00 GMT");
    CHECK(pns::http_date(most) == "Fri, 31 Dec 9999 23:59:59 GMT");
    for (std::int64_t time_ms = 0; time_ms < 4'000'000'000'000; time_ms += 86'399'000'000) {
        CHECK(pns::parse_http_date_ms(pns::http_date(time_ms), now_ms) == time_ms);
    }
}

TEST_CASE("Retry-After is read in all its forms and capped", "[pns]") {
    struct Row {
        std::string value;
        std::int64_t wait_ms;  // -1: no wait told
    };
    const std::vector<Row> rows{
        {"0", 0},
        {"120", 120'000},
        {" 5 ", 5'000},
        {"  7\t", 7'000},
        {"3600", 3'600'000},
        {"3601", 3'600'000},
        {"1000000000", 3'600'000},
        {"99999999999999999999999999", 3'600'000},
        {std::string(100'000, '9'), 3'600'000},
        {"Fri, 20 Nov 2026 18:40:30 GMT", 30'000},
        {"Friday, 20-Nov-26 18:40:30 GMT", 30'000},
        {"Fri Nov 20 18:40:30 2026", 30'000},
        {"Fri, 20 Nov 2036 18:39:30 GMT", 3'600'000},
        {"Fri, 31 Dec 9999 23:59:60 GMT", 3'600'000},
        // A time that has passed, or a number below zero, says nothing about when.
        {"Fri, 20 Nov 2026 18:40:00 GMT", -1},
        {"Fri, 20 Nov 2026 18:39:30 GMT", -1},
        {"Sun, 06 Nov 1904 08:49:37 GMT", -1},
        {"-1", -1},
        {"-0", -1},
        {"--1", -1},
        {"-", -1},
        {"+1", -1},
        {"", -1},
        {" ", -1},
        {"soon", -1},
        {"1.5", -1},
        {"12x", -1},
        {"1 2", -1},
        {"0x10", -1},
        {"Fri, 31 Feb 2036 18:39:30 GMT", -1},
        {"Fri, 20 Nov 2026 24:00:00 GMT", -1},
    };
    for (const Row& row : rows) {
        INFO(row.value.substr(0, 60));
        CHECK(pns::parse_retry_after_ms(row.value, now_ms).value_or(-1) == row.wait_ms);
    }
}
