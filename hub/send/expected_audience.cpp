// How an expected audience is written. Tested by tests/hub_audience_test.cpp,
// tests/fuzz_audience.cpp.

#include "hub/send/expected_audience.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "hub/text/text.hpp"

namespace hub {

namespace {

constexpr std::string_view right_form =
    "PushHub-Expect-Audience must be a count such as 1200, 1200+-50 or 1200+-2.5%.";
constexpr std::size_t header_bytes_max = 64;
constexpr std::uint64_t milli_percent_max = 100'000'000;  // a thousand times the count

/// Digits off the front; nothing: there are none, or the number is over its bound.
std::optional<std::uint64_t> take_number(std::string_view& text, std::uint64_t most) {
    std::uint64_t value = 0;
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failed != std::errc() || value > most) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

bool take_plus_minus(std::string_view& text) {
    for (const std::string_view sign : {"\xc2\xb1", "\xb1", "+-", "+/-"}) {
        if (!text.starts_with(sign)) continue;
        text.remove_prefix(sign.size());
        text = trimmed(text);
        return true;
    }
    return false;
}

/// What follows the whole part of a percentage, as thousandths.
std::optional<std::uint64_t> take_thousandths(std::string_view& text) {
    if (!text.starts_with('.')) return 0;
    text.remove_prefix(1);
    std::uint64_t value = 0;
    std::size_t digits = 0;
    for (; digits < 3 && !text.empty() && text[0] >= '0' && text[0] <= '9'; ++digits) {
        value = value * 10 + static_cast<std::uint64_t>(text[0] - '0');
        text.remove_prefix(1);
    }
    if (digits == 0) return std::nullopt;
    for (; digits < 3; ++digits) value *= 10;
    return value;
}

}  // namespace

Parsed<ExpectedAudience> parse_expected_audience(std::string_view text) {
    text = trimmed(text);
    const auto wrong = bad_request(std::string(right_form));
    if (text.size() > header_bytes_max) return wrong;
    const auto count = take_number(text, expected_audience_max);
    if (!count) return wrong;
    text = trimmed(text);
    if (text.empty()) return ExpectedAudience{*count, *count};
    if (!take_plus_minus(text)) return wrong;
    const auto amount = take_number(text, expected_audience_max);
    if (!amount) return wrong;
    std::uint64_t tolerance = *amount;
    const auto thousandths = take_thousandths(text);
    const bool has_decimals = !thousandths || *thousandths != 0;
    text = trimmed(text);
    if (text == "%") {
        if (!thousandths || *amount > milli_percent_max / 1'000) return wrong;
        const std::uint64_t milli_percent = *amount * 1'000 + *thousandths;
        if (milli_percent > milli_percent_max) return wrong;
        tolerance = *count * milli_percent / 100'000;  // below 2^64: 10^10 * 10^8
    } else if (!text.empty() || has_decimals) {
        return wrong;
    }
    return ExpectedAudience{*count - std::min(*count, tolerance), *count + tolerance};
}

}  // namespace hub
