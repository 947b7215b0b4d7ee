// Tested by tests/pns_platforms_test.cpp and the judge tables of every provider.
#include "pns/answers.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include "pns/handles.hpp"

namespace pns {

namespace {

constexpr std::size_t reason_bytes_max = 200;
constexpr std::size_t provider_id_bytes_max = 128;
constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::optional<int> number(std::string_view digits, std::size_t digits_max) {
    if (digits.empty() || digits.size() > digits_max) return std::nullopt;
    int out = 0;
    for (char c : digits) {
        if (c < '0' || c > '9') return std::nullopt;
        out = out * 10 + (c - '0');
    }
    return out;
}

std::optional<std::int64_t> to_ms(int year, std::string_view month, int day,
                                  std::string_view clock) {
    const auto found = std::find(months.begin(), months.end(), month);
    if (found == months.end() || clock.size() != 8 || clock[2] != ':' || clock[5] != ':')
        return std::nullopt;
    const auto hour = number(clock.substr(0, 2), 2), minute = number(clock.substr(3, 2), 2),
               second = number(clock.substr(6, 2), 2);
    const std::chrono::year_month_day date(
        std::chrono::year{year},
        std::chrono::month{static_cast<unsigned>(found - months.begin() + 1)},
        std::chrono::day{static_cast<unsigned>(day)});
    if (!hour || !minute || !second || *hour > 23 || *minute > 59 || *second > 60 || !date.ok())
        return std::nullopt;
    const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
    return (((days * 24 + *hour) * 60 + *minute) * 60 + *second) * 1000;
}

/// Splits at single or repeated blanks, at most six words.
std::size_t split(std::string_view text, std::array<std::string_view, 6>& words) {
    std::size_t count = 0;
    while (!text.empty() && count < words.size()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        if (end > 0) words[count++] = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return text.empty() ? count : words.size() + 1;
}

// Sun, 06 Nov 1994 08:49:37 GMT | Sunday, 06-Nov-94 08:49:37 GMT | Sun Nov  6 08:49:37 1994
std::optional<std::int64_t> parse_http_date(std::string_view text) {
    std::array<std::string_view, 6> w;
    const std::size_t count = split(text, w);
    if (count == 6) {
        const auto day = number(w[1], 2), year = number(w[3], 4);
        if (!day || !year) return std::nullopt;
        return to_ms(*year, w[2], *day, w[4]);
    }
    if (count == 4 && w[1].size() == 9 && w[1][2] == '-' && w[1][6] == '-') {
        const auto day = number(w[1].substr(0, 2), 2), year = number(w[1].substr(7), 2);
        if (!day || !year) return std::nullopt;
        return to_ms(*year < 70 ? 2000 + *year : 1900 + *year, w[1].substr(3, 3), *day, w[2]);
    }
    if (count == 5) {
        const auto day = number(w[2], 2), year = number(w[4], 4);
        if (!day || !year) return std::nullopt;
        return to_ms(*year, w[1], *day, w[3]);
    }
    return std::nullopt;
}

Judgement of(Verdict::Kind kind, Outcome outcome, std::string reason) {
    Judgement out;
    out.verdict.kind = kind;
    out.verdict.outcome = outcome;
    out.verdict.reason = std::move(reason);
    return out;
}

}  // namespace

std::optional<std::int64_t> parse_retry_after(std::string_view value, std::int64_t now_ms) {
    while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
    while (!value.empty() && value.back() == ' ') value.remove_suffix(1);
    if (value.empty()) return std::nullopt;
    if (std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; })) {
        const auto seconds = number(value, 6);
        if (!seconds) return retry_after_ms_max;
        return std::min<std::int64_t>(std::int64_t{*seconds} * 1000, retry_after_ms_max);
    }
    const auto date_ms = parse_http_date(value);
    if (!date_ms || *date_ms <= now_ms) return std::nullopt;
    if (now_ms < 0) return retry_after_ms_max;
    return std::min(*date_ms - now_ms, retry_after_ms_max);
}

std::int64_t retry_after_ms(const Answer& answer, std::int64_t otherwise_ms) {
    return parse_retry_after(answer.header("retry-after"), answer.now_ms).value_or(otherwise_ms);
}

bool is_of_wns(const Answer& answer) {
    return std::any_of(answer.headers.begin(), answer.headers.end(),
                       [](const auto& header) { return header.first.starts_with("x-wns-"); });
}

std::string clean_reason(std::string_view text, std::string_view handle) {
    std::string out;
    while (!text.empty() && out.size() < reason_bytes_max) {
        if (!handle.empty() && text.starts_with(handle)) {
            out += '*';
            text.remove_prefix(handle.size());
        } else {
            out += text.front() < ' ' || text.front() > '~' ? '?' : text.front();
            text.remove_prefix(1);
        }
    }
    return out;
}

Judgement accepted(std::string_view provider_id) {
    Judgement out;
    if (provider_id.size() <= provider_id_bytes_max && is_printable(provider_id))
        out.verdict.provider_id = provider_id;
    return out;
}

Judgement refused(Outcome outcome, std::string reason) {
    return of(Verdict::Kind::refused, outcome, std::move(reason));
}

Judgement misconfigured(Outcome outcome, std::string reason) {
    Judgement out = of(Verdict::Kind::refused, outcome, std::move(reason));
    out.verdict.configuration = true;
    return out;
}

Judgement suspected(Outcome outcome, std::string reason) {
    return of(Verdict::Kind::suspect, outcome, std::move(reason));
}

Judgement retired(Outcome outcome, std::string reason) {
    return of(Verdict::Kind::retire, outcome, std::move(reason));
}

Judgement retry(Outcome outcome, std::string reason, std::int64_t after_ms) {
    Judgement out = of(Verdict::Kind::retry_later, outcome, std::move(reason));
    out.verdict.retry_after_ms = after_ms;
    return out;
}

Judgement throttled(std::string reason, std::int64_t after_ms) {
    Judgement out = retry(Outcome::throttled, std::move(reason), after_ms);
    out.throttle_credential_ms = after_ms;
    return out;
}

Judgement unauthorised(std::string reason) {
    Judgement out = misconfigured(Outcome::invalid_credentials, std::move(reason));
    out.step = Judgement::Step::reauthorise;
    return out;
}

Judgement unlisted(const Answer& answer, std::string reason) {
    if (reason.empty()) reason = "HTTP " + std::to_string(answer.status);
    if (answer.status >= 500 && answer.status <= 599)
        return retry(answer.status == 500 ? Outcome::pns_server_error : Outcome::pns_unavailable,
                     std::move(reason), retry_after_ms(answer, 0));
    return refused(Outcome::pns_interface_error, std::move(reason));
}

}  // namespace pns
