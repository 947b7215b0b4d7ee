// Tested by tests/pns_http_date_test.cpp.

#include "pns/http_date.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "pns/text.hpp"

namespace pns {

namespace {

constexpr std::array<std::string_view, 7> days{"Sunday",   "Monday", "Tuesday", "Wednesday",
                                               "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct Fields {
    int year = 0;
    unsigned month = 0;
    int day = 0, hour = 0, minute = 0, second = 0;
};

bool take(std::string_view& s, std::string_view literal) {
    if (!s.starts_with(literal)) return false;
    s.remove_prefix(literal.size());
    return true;
}

// Takes a number of exactly `digits` digits off the front.
bool take_number(std::string_view& s, std::size_t digits, int& number) {
    if (s.size() < digits) return false;
    const auto [end, ec] = std::from_chars(s.data(), s.data() + digits, number);
    if (ec != std::errc() || end != s.data() + digits || number < 0) return false;
    s.remove_prefix(digits);
    return true;
}

bool take_month(std::string_view& s, Fields& f) {
    const auto found = std::find(months.begin(), months.end(), s.substr(0, 3));
    if (found == months.end()) return false;
    f.month = static_cast<unsigned>(found - months.begin()) + 1;
    s.remove_prefix(3);
    return true;
}

bool take_clock(std::string_view& s, Fields& f) {
    return take_number(s, 2, f.hour) && take(s, ":") && take_number(s, 2, f.minute) &&
           take(s, ":") && take_number(s, 2, f.second);
}

// "06 Nov 1994 08:49:37 GMT" or "06-Nov-94 08:49:37 GMT", what stands behind the name of the day.
bool read_dated(std::string_view s, std::string_view between, std::size_t year_digits, Fields& f) {
    return take_number(s, 2, f.day) && take(s, between) && take_month(s, f) && take(s, between) &&
           take_number(s, year_digits, f.year) && take(s, " ") && take_clock(s, f) && s == " GMT";
}

// "Nov  6 08:49:37 1994", what stands behind the name of the day.
bool read_asctime(std::string_view s, Fields& f) {
    return take_month(s, f) && take(s, " ") && take_number(s, take(s, " ") ? 1 : 2, f.day) &&
           take(s, " ") && take_clock(s, f) && take(s, " ") && take_number(s, 4, f.year) &&
           s.empty();
}

int year_of(std::int64_t time_ms) {
    using namespace std::chrono;
    return static_cast<int>(
        year_month_day(floor<std::chrono::days>(sys_time<milliseconds>(milliseconds(time_ms))))
            .year());
}

std::optional<std::int64_t> to_ms(const Fields& f) {
    using namespace std::chrono;
    const year_month_day date{year(f.year), month(f.month), day(static_cast<unsigned>(f.day))};
    if (!date.ok() || f.hour > 23 || f.minute > 59 || f.second > 60) return {};
    const std::int64_t whole_days = sys_days(date).time_since_epoch().count();
    return (((whole_days * 24 + f.hour) * 60 + f.minute) * 60 + f.second) * 1000;
}

}  // namespace

std::string http_date(std::int64_t time_ms) {
    using namespace std::chrono;
    // The years 1 to 9999: the form has four digits for them.
    const sys_time<milliseconds> time(
        milliseconds(std::clamp<std::int64_t>(time_ms, -62'135'596'800'000, 253'402'300'799'999)));
    const auto day = floor<std::chrono::days>(time);
    const year_month_day date(day);
    const hh_mm_ss clock(time - day);
    std::string out = "Sun, 00 Jan 0000 00:00:00 GMT";
    const auto put = [&](std::size_t at, std::size_t digits, auto number) {
        for (; digits > 0; number /= 10) out[at + --digits] = static_cast<char>('0' + number % 10);
    };
    out.replace(0, 3, days[weekday(day).c_encoding()].substr(0, 3));
    put(5, 2, unsigned(date.day()));
    out.replace(8, 3, months[unsigned(date.month()) - 1]);
    put(12, 4, int(date.year()));
    put(17, 2, clock.hours().count());
    put(20, 2, clock.minutes().count());
    put(23, 2, clock.seconds().count());
    return out;
}

std::optional<std::int64_t> parse_http_date_ms(std::string_view text, std::int64_t now_ms) {
    std::string_view s = trimmed(text);
    Fields f;
    for (const auto day : days) {
        if (take(s, day)) {
            if (!take(s, ", ") || !read_dated(s, "-", 2, f)) return {};
            f.year += (year_of(now_ms) + 49 - f.year) / 100 * 100;
            return to_ms(f);
        }
        if (take(s, day.substr(0, 3))) {
            const bool read =
                take(s, ", ") ? read_dated(s, " ", 4, f) : take(s, " ") && read_asctime(s, f);
            return read ? to_ms(f) : std::nullopt;
        }
    }
    return {};
}

std::optional<std::int64_t> parse_retry_after_ms(std::string_view value, std::int64_t now_ms) {
    value = trimmed(value);
    if (value.empty()) return {};
    if (value.find_first_not_of("0123456789") == std::string_view::npos) {
        std::int64_t seconds = 0;
        const auto read = std::from_chars(value.data(), value.data() + value.size(), seconds);
        const bool absurd = read.ec != std::errc() || seconds > retry_after_ms_max / 1000;
        return absurd ? retry_after_ms_max : seconds * 1000;
    }
    const auto date_ms = parse_http_date_ms(value, now_ms);
    if (!date_ms || *date_ms <= now_ms) return {};
    return std::min(*date_ms - now_ms, retry_after_ms_max);
}

}  // namespace pns
