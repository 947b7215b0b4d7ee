#pragma once

// The dates of HTTP (RFC 9110 5.6.7) and Retry-After (10.2.3): the only reader and the only writer
// of both. Pure, any thread; no clock is read.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pns {

/// A provider's Retry-After is believed up to this.
inline constexpr std::int64_t retry_after_ms_max = 3'600'000;

/// IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`, of ms since 1970; the fraction of a second is cut.
std::string http_date(std::int64_t time_ms);

/// Ms since 1970 from any of the three date forms, blanks around it allowed. A year of two digits
/// is the last one that is less than fifty years after `now_ms`. Nothing when the text is no date.
std::optional<std::int64_t> parse_http_date_ms(std::string_view text, std::int64_t now_ms);

/// How long to wait, from seconds or a date: at most retry_after_ms_max. Nothing when the value is
/// absent, negative, unreadable or a time that has passed.
std::optional<std::int64_t> parse_retry_after_ms(std::string_view value, std::int64_t now_ms);

}  // namespace pns
