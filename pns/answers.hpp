#pragma once

// What the response tables of all providers share: verdicts by name, waits out of headers, reasons
// fit for a log. Pure; any thread; every function takes arbitrary bytes.

#include <cstdint>
#include <string>
#include <string_view>

#include "pns/account.hpp"

namespace pns {

/// The wait that Retry-After asks for (see pns/http_date.hpp), else `otherwise_ms`.
std::int64_t retry_after_ms(const Answer& answer, std::int64_t otherwise_ms);

/// Whether WNS answered, and not something on the way to it.
bool is_of_wns(const Answer& answer);
/// The state of a push at WNS, in lower case and by either spelling of its header; mostly empty.
std::string wns_state(const Answer& answer);

/// Printable ASCII, at most 200 bytes; a handle in it is blotted out.
std::string clean_reason(std::string_view text, std::string_view handle);
/// The word of a reason, fit for a label: BadDeviceToken, UNAVAILABLE (of "UNAVAILABLE: The
/// service..."), 80300007, HTTP 503. Empty if it is a sentence.
std::string_view reason_word(std::string_view reason);

Judgement accepted(std::string_view provider_id = {});
Judgement refused(Outcome outcome, std::string reason);
/// CONFIG: this credential cannot work until someone mends it.
Judgement misconfigured(Outcome outcome, std::string reason);
Judgement suspected(Outcome outcome, std::string reason);
Judgement retired(Outcome outcome, std::string reason);
/// RETRY of this push: it uses up an attempt.
Judgement retry(Outcome outcome, std::string reason, std::int64_t after_ms = 0);
/// RETRY because the provider is unwell, whatever the push: waited out until the send's deadline.
Judgement unwell(Outcome outcome, std::string reason, std::int64_t after_ms = 0);
/// THROTTLE: the same, and the whole credential is held for as long.
Judgement throttled(std::string reason, std::int64_t after_ms);
/// THROTTLE of this target alone: it is waited out, everybody else goes on.
Judgement target_throttled(std::string reason, std::int64_t after_ms);
/// THROTTLE, and the answer does not say whose: of this target, unless several targets get it. Then
/// all are held, for a minute at most, since those who answered so may be a few hot targets.
Judgement perhaps_throttled(std::string reason, std::int64_t after_ms);
/// REAUTH once; if that has been spent, CONFIG.
Judgement unauthorised(std::string reason);
/// The class of a status that no table lists: 500 may pass, 501 to 599 is a provider that is
/// unwell, everything else is final.
Judgement unlisted(const Answer& answer, std::string reason);

}  // namespace pns
