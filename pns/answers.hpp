#pragma once

// What the response tables of all providers share: verdicts by name, waits out of headers, reasons
// fit for a log. Pure; any thread; every function takes arbitrary bytes.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "pns/account.hpp"

namespace pns {

inline constexpr std::int64_t retry_after_ms_max = 3'600'000;

/// Retry-After: seconds or an HTTP date (RFC 9110 10.2.3, all three date forms). Nothing when
/// absent, negative or unreadable; never more than retry_after_ms_max.
std::optional<std::int64_t> parse_retry_after(std::string_view value, std::int64_t now_ms);
std::int64_t retry_after_ms(const Answer& answer, std::int64_t otherwise_ms);

/// Whether WNS answered, and not something on the way to it.
bool is_of_wns(const Answer& answer);

/// Printable ASCII, at most 200 bytes; a handle in it is blotted out.
std::string clean_reason(std::string_view text, std::string_view handle);

Judgement accepted(std::string_view provider_id = {});
Judgement refused(Outcome outcome, std::string reason);
/// CONFIG: this credential cannot work until someone mends it.
Judgement misconfigured(Outcome outcome, std::string reason);
Judgement suspected(Outcome outcome, std::string reason);
Judgement retired(Outcome outcome, std::string reason);
Judgement retry(Outcome outcome, std::string reason, std::int64_t after_ms = 0);
/// Retry, and hold the whole credential for as long.
Judgement throttled(std::string reason, std::int64_t after_ms);
/// REAUTH once; if that has been spent, CONFIG.
Judgement unauthorised(std::string reason);
/// The class of a status that no table lists: 5xx may pass, everything else is final.
Judgement unlisted(const Answer& answer, std::string reason);

}  // namespace pns
