// Tested by tests/hub_control_test.cpp.

#include "hub/send/send_options.hpp"

#include <algorithm>
#include <charconv>

#include "hub/http/request_fields.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"

namespace hub {

namespace {

constexpr std::uint32_t ppm_per_percent = 10'000;
constexpr std::size_t fraction_digits_max = 4;

bool read_number(std::string_view text, std::uint32_t& out) {
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
    return failure == std::errc() && !text.empty() && end == text.data() + text.size();
}

/// "1.25" as 12500.
std::optional<std::uint32_t> percent_as_ppm(std::string_view text) {
    const auto dot = text.find('.');
    std::uint32_t whole = 0;
    if (!read_number(text.substr(0, dot), whole) || whole > 100) return std::nullopt;
    std::uint32_t part = 0;
    if (dot != std::string_view::npos) {
        std::string digits(text.substr(dot + 1));
        if (digits.empty() || digits.size() > fraction_digits_max) return std::nullopt;
        digits.resize(fraction_digits_max, '0');
        if (!read_number(digits, part)) return std::nullopt;
    }
    return whole * ppm_per_percent + part;
}

std::optional<Refusal> read_canary(const Request& request, std::string_view text,
                                   registry::Send& send) {
    const auto semicolon = text.find(';');
    const std::string_view share = trimmed(text.substr(0, semicolon));
    const bool waits = semicolon == std::string_view::npos ||
                       same_ignoring_case(trimmed(text.substr(semicolon + 1)), "hold");
    std::optional<std::uint32_t> ppm;
    if (share.ends_with('%')) ppm = percent_as_ppm(trimmed(share.substr(0, share.size() - 1)));
    if (!waits || !ppm || *ppm == 0 || *ppm >= 100 * ppm_per_percent) {
        return bad_request("PushHub-Canary '" + shown(text) +
                           "' is no share. Write 1%; hold, with a share from 0.0001% to 99.9999%.");
    }
    const auto test = read_flag(request, "test");
    if (!ok(test) || std::get<bool>(test)) {
        return bad_request("A test send answers when it has ended: leave out PushHub-Canary.");
    }
    send.canary_ppm = *ppm;
    return std::nullopt;
}

std::optional<Refusal> read_rate(std::string_view text, registry::Send& send) {
    const auto slash = text.find('/');
    const auto unit = slash == std::string_view::npos ? "" : trimmed(text.substr(slash + 1));
    registry::PushRate rate;
    if (same_ignoring_case(unit, "m")) rate.period_s = 60;
    if (same_ignoring_case(unit, "h")) rate.period_s = 3'600;
    const bool sound = read_number(trimmed(text.substr(0, slash)), rate.count) && rate.count > 0 &&
                       rate.count <= std::uint64_t{send_rate_per_s_max} * rate.period_s &&
                       (rate.period_s != 1 || same_ignoring_case(unit, "s"));
    if (!sound) {
        return bad_request("PushHub-Rate '" + shown(text) +
                           "' is no rate. Write 500/s, 30000/m or 100/h, from 1/h to " +
                           std::to_string(send_rate_per_s_max) + "/s.");
    }
    send.rate = rate;
    return std::nullopt;
}

std::optional<std::int64_t> deadline_of(const Request& request, std::string_view text) {
    if (const auto time = parse_any_time_ms(text, request.received_at_ms)) return time;
    const auto after = parse_duration_ms(text);
    if (!after || *after > deadline_ahead_ms_max * 2) return std::nullopt;
    // Counted from when the send goes out.
    const auto scheduled = parse_any_time_ms(
        trimmed(request.header("servicebusnotification-scheduletime")), request.received_at_ms);
    return std::max(scheduled.value_or(0), request.received_at_ms) + *after;
}

std::optional<Refusal> read_deadline(const Request& request, std::string_view text,
                                     registry::Send& send) {
    const auto time = deadline_of(request, text);
    if (!time) {
        return bad_request("PushHub-Deadline '" + shown(text) +
                           "' is no time. Write it in UTC as 2026-11-21T10:00:00, or as a duration "
                           "such as PT10M.");
    }
    if (*time <= request.received_at_ms)
        return bad_request("PushHub-Deadline '" + shown(text) + "' is over.");
    if (*time > request.received_at_ms + deadline_ahead_ms_max)
        return bad_request("PushHub-Deadline is more than 14 days ahead.");
    send.deadline_ms = *time;
    send.deadline_given = true;
    return std::nullopt;
}

}  // namespace

std::optional<Refusal> read_send_options(const Request& request, registry::Send& send) {
    const auto canary = trimmed(request.header("pushhub-canary"));
    if (!canary.empty()) {
        if (auto refusal = read_canary(request, canary, send)) return refusal;
    }
    const auto rate = trimmed(request.header("pushhub-rate"));
    if (!rate.empty()) {
        if (auto refusal = read_rate(rate, send)) return refusal;
    }
    const auto deadline = trimmed(request.header("pushhub-deadline"));
    if (!deadline.empty()) return read_deadline(request, deadline, send);
    return std::nullopt;
}

}  // namespace hub
