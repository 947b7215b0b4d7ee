#pragma once

// Every date and duration form of the wire contract (docs/contracts/anh.md 2.5, 3.4, 4.1, 5.1, 5.7,
// 10.1). Times are milliseconds since 1970 UTC; registry::never_ms is "never". No clock is read.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hub {

/// ISO 8601 with or without seconds, fraction and offset (`Z`, `+hh:mm`, `+hhmm`, `+hh`, a blank
/// before it or none), a date alone, the same with slashes (`yyyy/MM/dd`); `M/d/yyyy`, with or
/// without a clock, on 24 hours or 12 with AM or PM; or RFC 1123 (`Wed, 2 Dec 2026 01:00:00 GMT`,
/// the day of the week unchecked). No offset means UTC. The last second of 9999 is never_ms.
std::optional<std::int64_t> parse_time_ms(std::string_view text);

/// The same, besides the old dates of HTTP (RFC 850 and asctime); `now_ms` gives two-digit years
/// their century. For times that back ends write by hand or by their language's default.
std::optional<std::int64_t> parse_any_time_ms(std::string_view text, std::int64_t now_ms);

/// How far past a time may be that means "at once", or "nearly": clocks and zones differ. What is
/// older is an error of the client, default(DateTime) above all.
constexpr std::int64_t past_ms_max = 24 * 3'600'000;

/// `2026-11-21T10:00:00.123Z`; never is `9999-12-31T23:59:59.999Z`.
std::string iso_ms(std::int64_t time_ms);
/// Seven fraction digits, the last four of them `ticks`; never is `9999-12-31T23:59:59.9999999Z`.
std::string iso_ticks(std::int64_t time_ms, std::uint16_t ticks = 0);
/// What parse_time_ms() leaves of a fraction: its 4th to 7th digit, 0 to 9999.
std::uint16_t ticks_behind_ms(std::string_view text);
/// No fraction, as Atom dates.
std::string iso_seconds(std::int64_t time_ms);
/// `M/d/yyyy h:mm:ss AM|PM`, the TimeStamp of error details.
std::string error_stamp(std::int64_t time_ms);

/// ISO 8601 durations in days and smaller; never is `P10675199DT2H48M5.4775807S`, which as any
/// longer duration reads as never. Years, months and negative durations are refused.
std::string duration_text(std::int64_t duration_ms);
std::optional<std::int64_t> parse_duration_ms(std::string_view text);

}  // namespace hub
