// Reading tries one form after the other with a small reader of decimal fields; the first form
// that takes the whole text wins. Writing puts digits down by hand, since every answer has a date.
// Calendar arithmetic is that of <chrono>. Nothing reads a clock, and a year beyond 9999 is never
// written.
#include "hub/text/times.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>

#include "hub/text/text.hpp"
#include "pns/http_date.hpp"
#include "registry/registration.hpp"

namespace hub {
namespace {

using registry::never_ms;

constexpr std::int64_t day_ms = 86'400'000;
struct Civil {
    int year = 1970;
    unsigned month = 1;
    unsigned day = 1;
    int hour = 0;
    int minute = 0;
    int second = 0;
    int millisecond = 0;
};

std::optional<std::int64_t> to_ms(const Civil& c) {
    const std::chrono::year_month_day date{std::chrono::year{c.year}, std::chrono::month{c.month},
                                           std::chrono::day{c.day}};
    if (!date.ok() || c.hour > 23 || c.minute > 59 || c.second > 60) return std::nullopt;
    const std::int64_t days = std::chrono::sys_days{date}.time_since_epoch().count();
    return days * day_ms + c.hour * 3'600'000LL + c.minute * 60'000LL + c.second * 1'000LL +
           c.millisecond;
}

/// The last second that the contract's four-digit years can name.
constexpr std::int64_t last_ms = 253'402'300'799'000;

Civil to_civil(std::int64_t time_ms) {
    time_ms = std::clamp<std::int64_t>(time_ms, -62'135'596'800'000, last_ms + 999);
    const std::int64_t days = time_ms >= 0 ? time_ms / day_ms : -((-time_ms + day_ms - 1) / day_ms);
    const auto rest = static_cast<int>(time_ms - days * day_ms);
    const std::chrono::year_month_day date{std::chrono::sys_days{std::chrono::days{days}}};
    return {static_cast<int>(date.year()),
            static_cast<unsigned>(date.month()),
            static_cast<unsigned>(date.day()),
            rest / 3'600'000,
            rest / 60'000 % 60,
            rest / 1'000 % 60,
            rest % 1'000};
}

/// Reads decimal fields off the front of a text; false once anything did not fit.
class Reader {
  public:
    explicit Reader(std::string_view text) : rest_(text) {}

    template <class Number>
    bool digits(std::size_t count_min, std::size_t count_max, Number& value) {
        std::size_t count = 0;
        while (count < count_max && count < rest_.size() && rest_[count] >= '0' &&
               rest_[count] <= '9')
            ++count;
        if (count < count_min) return false;
        std::from_chars(rest_.data(), rest_.data() + count, value);
        rest_.remove_prefix(count);
        return true;
    }

    bool one_of(std::string_view characters) {
        if (rest_.empty() || characters.find(rest_.front()) == std::string_view::npos) return false;
        rest_.remove_prefix(1);
        return true;
    }

    /// Fraction digits behind the point, cut to milliseconds.
    bool fraction(int& millisecond) {
        std::size_t count = 0;
        millisecond = 0;
        for (; count < rest_.size() && rest_[count] >= '0' && rest_[count] <= '9'; ++count) {
            if (count < 3) millisecond = millisecond * 10 + (rest_[count] - '0');
        }
        for (std::size_t i = count; i < 3; ++i) millisecond *= 10;
        rest_.remove_prefix(count);
        return count > 0 && count <= 12;
    }

    void blanks() {
        while (one_of(" ")) {
        }
    }

    bool at_end() const { return rest_.empty(); }
    char front() const { return rest_.empty() ? '\0' : rest_.front(); }

  private:
    std::string_view rest_;
};

bool read_clock(Reader& in, Civil& c, std::size_t hour_digits_min = 2) {
    if (!in.digits(hour_digits_min, 2, c.hour) || !in.one_of(":") || !in.digits(2, 2, c.minute))
        return false;
    if (!in.one_of(":")) return true;
    if (!in.digits(2, 2, c.second)) return false;
    return !in.one_of(".,") || in.fraction(c.millisecond);
}

/// ` AM`, ` PM` or nothing.
bool read_half_day(Reader& in, Civil& c) {
    in.blanks();
    const bool after_noon = in.front() == 'P' || in.front() == 'p';
    if (!in.one_of("AaPp")) return true;
    if (!in.one_of("Mm") || c.hour < 1 || c.hour > 12) return false;
    c.hour = c.hour % 12 + (after_noon ? 12 : 0);
    return true;
}

bool read_offset(Reader& in, int& offset_minutes) {
    offset_minutes = 0;
    if (in.one_of("Zz") || in.at_end()) return true;
    const bool behind = in.front() == '-';
    int hours = 0;
    int minutes = 0;
    if (!in.one_of("+-") || !in.digits(2, 2, hours)) return false;
    in.one_of(":");
    if (!in.at_end() && !in.digits(2, 2, minutes)) return false;
    if (hours > 14 || minutes > 59) return false;
    offset_minutes = (behind ? -1 : 1) * (hours * 60 + minutes);
    return true;
}

std::optional<std::int64_t> parse_iso(std::string_view text) {
    Reader in(text);
    Civil c;
    int offset_minutes = 0;
    // .NET writes and reads slashes where a culture has them.
    if (!in.digits(4, 4, c.year) || (in.front() != '-' && in.front() != '/')) return std::nullopt;
    const char between[] = {in.front(), '\0'};
    if (!in.one_of(between) || !in.digits(2, 2, c.month) || !in.one_of(between) ||
        !in.digits(2, 2, c.day))
        return std::nullopt;
    if (in.one_of("Tt ") && !read_clock(in, c)) return std::nullopt;
    in.blanks();
    if (!read_offset(in, offset_minutes) || !in.at_end()) return std::nullopt;
    const auto time_ms = to_ms(c);
    if (!time_ms) return std::nullopt;
    return *time_ms - offset_minutes * 60'000LL;
}

/// `[Wed, ]2 Dec 2026 01:00[:00][ GMT|UTC|Z|+hh:mm]` (RFC 1123, RFC 5322).
std::optional<std::int64_t> parse_named_month(std::string_view text) {
    constexpr std::string_view days = "sunmontuewedthufrisat";
    constexpr std::string_view months = "janfebmaraprmayjunjulaugsepoctnovdec";
    const auto place_in = [](std::string_view names, std::string_view name) {
        const auto at = name.size() == 3 ? names.find(lower(name)) : std::string_view::npos;
        return at == std::string_view::npos || at % 3 != 0 ? std::string_view::npos : at / 3;
    };
    if (const auto comma = text.find(','); comma != std::string_view::npos) {
        if (place_in(days, text.substr(0, comma)) == std::string_view::npos) return std::nullopt;
        text = trimmed(text.substr(comma + 1));
    }
    const auto blank = text.find(' ');
    if (blank == std::string_view::npos || text.size() < blank + 4) return std::nullopt;
    Civil c;
    Reader day(text.substr(0, blank));
    const auto month = place_in(months, text.substr(blank + 1, 3));
    if (!day.digits(1, 2, c.day) || !day.at_end() || month == std::string_view::npos)
        return std::nullopt;
    c.month = static_cast<unsigned>(month) + 1;
    text.remove_prefix(blank + 4);
    for (const std::string_view zone : {" GMT", " UTC"}) {
        if (!text.ends_with(zone)) continue;
        text.remove_suffix(zone.size());
        break;
    }
    Reader in(text);
    int offset_minutes = 0;
    if (!in.one_of(" ") || !in.digits(4, 4, c.year) || !in.one_of(" ") || !read_clock(in, c))
        return std::nullopt;
    in.blanks();
    if (!read_offset(in, offset_minutes) || !in.at_end()) return std::nullopt;
    const auto time_ms = to_ms(c);
    if (!time_ms) return std::nullopt;
    return *time_ms - offset_minutes * 60'000LL;
}

std::optional<std::int64_t> parse_us(std::string_view text) {
    Reader in(text);
    Civil c;
    int offset_minutes = 0;
    if (!in.digits(1, 2, c.month) || !in.one_of("/") || !in.digits(1, 2, c.day) ||
        !in.one_of("/") || !in.digits(4, 4, c.year))
        return std::nullopt;
    if (in.one_of(" T") && (!read_clock(in, c, 1) || !read_half_day(in, c))) return std::nullopt;
    in.blanks();
    if (!read_offset(in, offset_minutes) || !in.at_end()) return std::nullopt;
    const auto time_ms = to_ms(c);
    if (!time_ms) return std::nullopt;
    return *time_ms - offset_minutes * 60'000LL;
}

template <class... Fields>
std::string printed(const char* format, Fields... fields) {
    std::array<char, 96> buffer{};
    const int length = std::snprintf(buffer.data(), buffer.size(), format, fields...);
    return {buffer.data(), static_cast<std::size_t>(length)};
}

/// Every date on the wire is made of these: many times faster than a format string.
template <class Number>
void append_digits(std::string& out, Number number, int width) {
    out.append(static_cast<std::size_t>(width), '0');
    for (auto place = out.rbegin(); width > 0; --width, ++place, number /= 10)
        *place = static_cast<char>('0' + number % 10);
}

void append_clock(std::string& out, const Civil& c) {
    append_digits(out, c.hour, 2);
    out += ':';
    append_digits(out, c.minute, 2);
    out += ':';
    append_digits(out, c.second, 2);
}

std::string iso_front(const Civil& c) {
    std::string out;
    out.reserve(32);
    append_digits(out, c.year, 4);
    out += '-';
    append_digits(out, c.month, 2);
    out += '-';
    append_digits(out, c.day, 2);
    out += 'T';
    append_clock(out, c);
    return out;
}

}  // namespace

std::optional<std::int64_t> parse_time_ms(std::string_view text) {
    text = trimmed(text);
    auto time_ms = parse_iso(text);
    if (!time_ms) time_ms = parse_us(text);
    if (!time_ms) time_ms = parse_named_month(text);
    if (time_ms && *time_ms >= last_ms) return never_ms;
    return time_ms;
}

std::optional<std::int64_t> parse_any_time_ms(std::string_view text, std::int64_t now_ms) {
    if (const auto time_ms = parse_time_ms(text)) return time_ms;
    return pns::parse_http_date_ms(text, now_ms);
}

std::string iso_ms(std::int64_t time_ms) {
    const Civil c = to_civil(time_ms);
    std::string out = iso_front(c) + '.';
    append_digits(out, c.millisecond, 3);
    return out + 'Z';
}

std::uint16_t ticks_behind_ms(std::string_view text) {
    constexpr std::size_t milliseconds = 3, digits = 7;
    const std::size_t point = std::min(text.find_first_of(".,"), text.size());
    std::uint16_t ticks = 0;
    bool ended = false;
    for (std::size_t i = 1; i <= digits; ++i) {
        const char c = !ended && point + i < text.size() ? text[point + i] : '\0';
        ended = c < '0' || c > '9';
        if (i > milliseconds)
            ticks = static_cast<std::uint16_t>(ticks * 10 + (ended ? 0 : c - '0'));
    }
    return ticks;
}

std::string iso_ticks(std::int64_t time_ms, std::uint16_t ticks) {
    if (time_ms > last_ms) return "9999-12-31T23:59:59.9999999Z";
    const Civil c = to_civil(time_ms);
    std::string out = iso_front(c) + '.';
    append_digits(out, c.millisecond, 3);
    append_digits(out, ticks, 4);
    return out + 'Z';
}

std::string iso_seconds(std::int64_t time_ms) {
    return iso_front(to_civil(time_ms)) + "Z";
}

std::string error_stamp(std::int64_t time_ms) {
    const Civil c = to_civil(time_ms);
    return printed("%u/%u/%d %d:%02d:%02d %s", c.month, c.day, c.year,
                   c.hour % 12 == 0 ? 12 : c.hour % 12, c.minute, c.second,
                   c.hour < 12 ? "AM" : "PM");
}

std::string duration_text(std::int64_t duration_ms) {
    if (duration_ms == never_ms) return "P10675199DT2H48M5.4775807S";
    duration_ms = std::max<std::int64_t>(duration_ms, 0);
    const std::int64_t rest = duration_ms % day_ms;
    std::string out = "P";
    const auto field = [&](std::int64_t value, char unit) {
        if (value != 0) out += std::to_string(value) + unit;
    };
    field(duration_ms / day_ms, 'D');
    if (rest != 0 || duration_ms == 0) out += 'T';
    field(rest / 3'600'000, 'H');
    field(rest / 60'000 % 60, 'M');
    const std::int64_t milliseconds = rest % 1'000;
    const std::int64_t seconds = rest / 1'000 % 60;
    if (milliseconds != 0)
        out += printed("%lld.%03lldS", static_cast<long long>(seconds),
                       static_cast<long long>(milliseconds));
    else if (seconds != 0 || duration_ms == 0)
        out += std::to_string(seconds) + "S";
    return out;
}

std::optional<std::int64_t> parse_duration_ms(std::string_view text) {
    constexpr std::int64_t unlimited_ms = 10'675'199 * day_ms;
    Reader in(trimmed(text));
    if (!in.one_of("P") || in.at_end()) return std::nullopt;
    std::int64_t total_ms = 0;
    bool clock = false;
    std::string_view units = "WD";
    while (!in.at_end()) {
        if (!clock && in.one_of("T")) {
            clock = true;
            units = "HMS";
            if (in.at_end()) return std::nullopt;
            continue;
        }
        std::int64_t value = 0;
        int millisecond = 0;
        if (!in.digits(1, 9, value)) return std::nullopt;
        const bool fraction = in.one_of(".");
        if (fraction && !in.fraction(millisecond)) return std::nullopt;
        const char unit = in.front();
        const std::size_t at = units.find(unit);
        if (at == std::string_view::npos || (fraction && unit != 'S')) return std::nullopt;
        in.one_of(units);
        units.remove_prefix(at + 1);
        const std::int64_t unit_ms = unit == 'W'   ? 7 * day_ms
                                     : unit == 'D' ? day_ms
                                     : unit == 'H' ? 3'600'000
                                     : unit == 'M' ? 60'000
                                                   : 1'000;
        total_ms += value * unit_ms + millisecond;
    }
    return total_ms >= unlimited_ms ? never_ms : total_ms;
}

}  // namespace hub
