// Tested by tests/pns_retry_test.cpp.
//
// The wait grows by doubling and is drawn at random below that bound; what a provider asks for is
// a lower bound, within reason. RetryBudget bounds the retries of a sender by a share of its fresh
// traffic. Dates are read in the three forms of HTTP. No clock and no random source is used: the
// caller brings both.

#include "pns/retry_policy.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <utility>

namespace pns {

namespace {

constexpr std::int64_t year_s = 366 * 86'400;

std::uint64_t below(std::uint64_t bound, std::uint64_t random) {
    return random % bound;  // bounds are far below 2^64: the bias is nothing
}

// Takes a number of exactly `digits` digits off the front.
std::optional<int> take_number(std::string_view& s, std::size_t digits) {
    if (s.size() < digits) return {};
    int out = 0;
    for (std::size_t i = 0; i < digits; ++i) {
        if (s[i] < '0' || s[i] > '9') return {};
        out = out * 10 + (s[i] - '0');
    }
    s.remove_prefix(digits);
    return out;
}

bool take(std::string_view& s, std::string_view literal) {
    if (!s.starts_with(literal)) return false;
    s.remove_prefix(literal.size());
    return true;
}

std::optional<unsigned> take_month(std::string_view& s) {
    constexpr std::array<std::string_view, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    for (unsigned i = 0; i < months.size(); ++i) {
        if (take(s, months[i])) return i + 1;
    }
    return {};
}

struct TimeOfDay {
    int h, m, s;
};

std::optional<TimeOfDay> take_time(std::string_view& s) {
    const auto h = take_number(s, 2);
    if (!h || !take(s, ":")) return {};
    const auto m = take_number(s, 2);
    if (!m || !take(s, ":")) return {};
    const auto sec = take_number(s, 2);
    if (!sec || *h > 23 || *m > 59 || *sec > 60) return {};
    return TimeOfDay{*h, *m, *sec};
}

std::optional<std::int64_t> unix_s(int year, unsigned month, int day, const TimeOfDay& t) {
    using namespace std::chrono;
    const year_month_day ymd{std::chrono::year(year), std::chrono::month(month),
                             std::chrono::day(static_cast<unsigned>(day))};
    if (!ymd.ok()) return {};
    return std::int64_t{sys_days(ymd).time_since_epoch().count()} * 86'400 + t.h * 3600 + t.m * 60 +
           t.s;
}

// "06 Nov 1994 08:49:37 GMT", "06-Nov-94 08:49:37 GMT" after the day name.
std::optional<std::int64_t> fixdate(std::string_view s, std::string_view between, bool short_year) {
    const auto day = take_number(s, 2);
    if (!day || !take(s, between)) return {};
    const auto month = take_month(s);
    if (!month || !take(s, between)) return {};
    auto year = take_number(s, short_year ? 2 : 4);
    if (!year || !take(s, " ")) return {};
    if (short_year) *year += *year < 70 ? 2000 : 1900;
    const auto time = take_time(s);
    if (!time || s != " GMT") return {};
    return unix_s(*year, *month, *day, *time);
}

// "Nov  6 08:49:37 1994" after the day name.
std::optional<std::int64_t> asctime(std::string_view s) {
    const auto month = take_month(s);
    if (!month || !take(s, " ")) return {};
    const auto day = take(s, " ") ? take_number(s, 1) : take_number(s, 2);
    if (!day || !take(s, " ")) return {};
    const auto time = take_time(s);
    if (!time || !take(s, " ")) return {};
    const auto year = take_number(s, 4);
    if (!year || !s.empty()) return {};
    return unix_s(*year, *month, *day, *time);
}

}  // namespace

std::int64_t backoff_ms(std::int64_t base_ms, std::int64_t cap_ms, unsigned attempt,
                        std::uint64_t random) {
    std::int64_t bound = std::max<std::int64_t>(base_ms, 0);
    for (unsigned i = 0; i < attempt && bound < cap_ms; ++i) bound *= 2;
    bound = std::min(bound, std::max<std::int64_t>(cap_ms, 0));
    return static_cast<std::int64_t>(below(static_cast<std::uint64_t>(bound) + 1, random));
}

std::optional<std::int64_t> retry_delay_ms(const RetryLimits& limits, unsigned attempts_made,
                                           std::int64_t retry_after_ms, std::uint64_t random) {
    if (attempts_made >= limits.attempts_max) return {};
    const auto wait = backoff_ms(limits.base_ms, limits.cap_ms,
                                 attempts_made == 0 ? 0 : attempts_made - 1, random);
    if (retry_after_ms <= 0) return wait;
    const auto wish = std::min(retry_after_ms, limits.retry_after_ms_max);
    const auto spread = below(static_cast<std::uint64_t>(wish / 5) + 1, random);
    return std::max(wait, wish + static_cast<std::int64_t>(spread));
}

void RetryBudget::fresh() {
    hundredths_ = std::min<std::uint64_t>(hundredths_ + percent_, saved_max * 100);
}

void RetryBudget::refill(std::int64_t now_ms) {
    if (at_ms_ < 0) at_ms_ = now_ms;
    const auto passed = static_cast<std::uint64_t>(std::max<std::int64_t>(now_ms - at_ms_, 0));
    at_ms_ = std::max(at_ms_, now_ms);
    const auto free = std::min<std::uint64_t>(passed, 1'000'000) * per_s_free / 10;
    // What is free is not saved up beyond a thousand.
    if (hundredths_ < 1'000 * 100)
        hundredths_ = std::min<std::uint64_t>(hundredths_ + free, 100'000);
    turned_away_ -= std::min(turned_away_, passed * per_s_free / 1'000);
}

std::int64_t RetryBudget::wait_ms(std::int64_t now_ms, std::uint64_t random) {
    if (percent_ == 0) return 0;
    refill(now_ms);
    if (hundredths_ >= 100) {
        hundredths_ -= 100;
        return 0;
    }
    ++turned_away_;
    const auto wait = std::min<std::uint64_t>(1'000 + turned_away_ * 1'000 / per_s_free, 60'000);
    return static_cast<std::int64_t>(wait + below(wait / 5 + 1, random));
}

std::optional<std::int64_t> parse_retry_after_ms(std::string_view value, std::int64_t now_ms) {
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) {
        value.remove_prefix(1);
    }
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    if (value.empty()) return {};
    const bool negative = value.front() == '-';
    const auto digits = negative ? value.substr(1) : value;
    if (!digits.empty() && digits.find_first_not_of("0123456789") == std::string_view::npos) {
        if (negative) return 0;
        std::int64_t seconds = 0;
        const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
        if (read.ec != std::errc() || seconds > year_s) seconds = year_s;
        return seconds * 1000;
    }
    const auto date = parse_http_date_s(value);
    if (!date) return {};
    const auto wait_ms = *date * 1000 - now_ms;
    return std::clamp<std::int64_t>(wait_ms, 0, year_s * 1000);
}

std::optional<std::int64_t> parse_http_date_s(std::string_view value) {
    constexpr std::array<std::string_view, 7> days{"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
    for (const auto day : days) {
        auto s = value;
        if (take(s, day)) return take(s, ", ") ? fixdate(s, "-", true) : std::nullopt;
        if (take(s, day.substr(0, 3))) {
            if (take(s, ", ")) return fixdate(s, " ", false);
            return take(s, " ") ? asctime(s) : std::nullopt;
        }
    }
    return {};
}

}  // namespace pns
