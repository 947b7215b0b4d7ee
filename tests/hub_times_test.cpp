#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "hub/text/times.hpp"
#include "registry/registration.hpp"

using registry::never_ms;

namespace {

constexpr std::int64_t noon_ms = 1'795'262'400'000;  // 2026-11-21T12:00:00Z

}  // namespace

TEST_CASE("every date form of the contract is read", "[hub]") {
    struct Row {
        std::string text;
        std::int64_t time_ms;
    };
    const std::vector<Row> table{
        {"2026-11-21T12:00:00Z", noon_ms},
        {"2026-11-21T12:00:00", noon_ms},
        {"2026-11-21T12:00:00.123Z", noon_ms + 123},
        {"2026-11-21T12:00:00.1Z", noon_ms + 100},
        {"2026-11-21T12:00:00.1239999Z", noon_ms + 123},
        {"2026-11-21T13:30:00+01:30", noon_ms},
        {"2026-11-21T07:00:00-0500", noon_ms},
        {"2026-11-21T12:00+0000", noon_ms},
        {"2026-11-21T12:00", noon_ms},
        {" 2026-11-21 12:00:00 ", noon_ms},
        {"11/21/2026 12:00:00", noon_ms},
        {"1/2/1970 00:00:01", 86'401'000},
        {"11/21/2026", noon_ms - 43'200'000},
        {"11/21/2026 12:00:00 PM", noon_ms},
        {"11/21/2026 12:00 AM", noon_ms - 43'200'000},
        {"11/21/2026 1:00:00 pm", noon_ms + 3'600'000},
        {"11/21/2026 12:00:00 +00:00", noon_ms},
        {"2026-11-21T12:00:00 +00:00", noon_ms},
        {"2026/11/21 12:00:00", noon_ms},
        {"2026/11/21", noon_ms - 43'200'000},
        {"Sat, 21 Nov 2026 12:00:00 GMT", noon_ms},
        {"Wed, 2 Dec 2026 01:00:00 GMT", noon_ms + 910'800'000},
        {"2 Dec 2026 01:00 +0000", noon_ms + 910'800'000},
        {"sat, 21 nov 2026 13:00:00 +01:00", noon_ms},
        {"0001-01-01T00:00:00", -62'135'596'800'000},
        {"2026-11-21", noon_ms - 43'200'000},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2024-02-29T00:00:00Z", 1'709'164'800'000},
        {"9999-12-31T23:59:59.999Z", never_ms},
        {"9999-12-31T23:59:59.9999999", never_ms},
        {"9999-12-31T23:59:59Z", never_ms},
    };
    for (const Row& row : table) {
        INFO(row.text);
        CHECK(hub::parse_time_ms(row.text) == row.time_ms);
    }
}

TEST_CASE("what is no date is refused", "[hub]") {
    for (const std::string text : {"",
                                   "now",
                                   "2026",
                                   "2026-13-01T00:00:00Z",
                                   "2026-02-29T00:00:00Z",
                                   "2026-11-21T24:00:00Z",
                                   "2026-11-21T12:60:00Z",
                                   "2026-11-21T12:00:00.Z",
                                   "2026-11-21T12:00:00+25:00",
                                   "2026-11-21T12:00:00Zx",
                                   "13/21/2026 12:00:00",
                                   "11/21/26 12:00:00",
                                   "11/21/2026 13:00 PM",
                                   "11/21/2026 0:00 AM",
                                   "2026-11-21T12:00:00.0000000000000Z",
                                   "2026-1-1",
                                   "2026/11-21",
                                   "2026-11/21",
                                   "Sat, 31 Feb 2026 12:00:00 GMT",
                                   "Day, 21 Nov 2026 12:00:00 GMT",
                                   "Sat, 21 Nov 26 12:00:00 GMT",
                                   "21 ovd 2026 12:00",
                                   "Sat, 21 Nov 2026",
                                   "Sat, 21 Nov 2026 12:00:00 PST",
                                   ", 21 Nov 2026 12:00:00",
                                   "21 Nov",
                                   "21 Nov 2026 12:00:00 GMT GMT"}) {
        INFO(text);
        CHECK_FALSE(hub::parse_time_ms(text));
    }
}

TEST_CASE("a back end may write a time as HTTP does", "[hub]") {
    CHECK(hub::parse_any_time_ms("Sat, 21 Nov 2026 12:00:00 GMT", 0) == noon_ms);
    CHECK(hub::parse_any_time_ms("2026-11-21T12:00:00", 0) == noon_ms);
    CHECK_FALSE(hub::parse_any_time_ms("tomorrow", 0));
}

TEST_CASE("times are written as clients parse them", "[hub]") {
    CHECK(hub::iso_ms(noon_ms + 7) == "2026-11-21T12:00:00.007Z");
    CHECK(hub::iso_ms(never_ms) == "9999-12-31T23:59:59.999Z");
    CHECK(hub::iso_ticks(noon_ms + 7) == "2026-11-21T12:00:00.0070000Z");
    CHECK(hub::iso_ticks(noon_ms + 7, 89) == "2026-11-21T12:00:00.0070089Z");
    CHECK(hub::ticks_behind_ms("2026-11-21T12:00:00.1234567Z") == 4'567);
    CHECK(hub::ticks_behind_ms("2026-11-21T12:00:00.12345+01:00") == 4'500);
    CHECK(hub::ticks_behind_ms("2026-11-21T12:00:00.12Z") == 0);
    CHECK(hub::ticks_behind_ms("2026-11-21T12:00:00+01:00") == 0);
    CHECK(hub::iso_ticks(never_ms) == "9999-12-31T23:59:59.9999999Z");
    CHECK(hub::iso_seconds(noon_ms) == "2026-11-21T12:00:00Z");
    CHECK(hub::iso_ms(-1) == "1969-12-31T23:59:59.999Z");
    CHECK(hub::iso_ms(std::numeric_limits<std::int64_t>::min()) == "0001-01-01T00:00:00.000Z");
    CHECK(hub::error_stamp(1'541'549'858'000) == "11/7/2018 12:17:38 AM");
    CHECK(hub::error_stamp(noon_ms) == "11/21/2026 12:00:00 PM");
    CHECK(hub::error_stamp(noon_ms + 6 * 3'600'000) == "11/21/2026 6:00:00 PM");
    for (const std::int64_t time_ms : {noon_ms, noon_ms + 1, std::int64_t{0}, std::int64_t{-5}}) {
        CHECK(hub::parse_time_ms(hub::iso_ms(time_ms)) == time_ms);
        CHECK(hub::parse_time_ms(hub::iso_ticks(time_ms)) == time_ms);
    }
}

TEST_CASE("durations are read and written both ways", "[hub]") {
    struct Row {
        std::string text;
        std::int64_t duration_ms;
        std::string written;
    };
    const std::int64_t day_ms = 86'400'000;
    const std::vector<Row> table{
        {"P30D", 30 * day_ms, "P30D"},
        {"P1W", 7 * day_ms, "P7D"},
        {"PT24H", day_ms, "P1D"},
        {"P1DT2H3M4.5S", day_ms + 7'384'500, "P1DT2H3M4.500S"},
        {"PT0S", 0, "PT0S"},
        {"PT90M", 5'400'000, "PT1H30M"},
        {"P10675199DT2H48M5.4775807S", never_ms, "P10675199DT2H48M5.4775807S"},
        {"P999999999D", never_ms, "P10675199DT2H48M5.4775807S"},
    };
    for (const Row& row : table) {
        INFO(row.text);
        CHECK(hub::parse_duration_ms(row.text) == row.duration_ms);
        CHECK(hub::duration_text(row.duration_ms) == row.written);
    }
    for (const std::string text : {"", "P", "PT", "P1", "-P1D", "P1Y", "P1M", "1D", "P1DT", "PT1D",
                                   "PT1M1H", "P1.5D", "P9999999999D", "PT1S1S"}) {
        INFO(text);
        CHECK_FALSE(hub::parse_duration_ms(text));
    }
}
