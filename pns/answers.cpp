// Tested by tests/pns_platforms_test.cpp and the judge tables of every provider.
//
// Each provider's table ends in one of these judgements, so a word such as "throttled" means the
// same for all. Waits are read from Retry-After as seconds or as a date. A reason is cut, made
// printable and freed from the handle before it may reach a log or a trace.
#include "pns/answers.hpp"

#include <algorithm>

#include "pns/http_date.hpp"
#include "pns/text.hpp"

namespace pns {

namespace {

constexpr std::size_t reason_bytes_max = 200;
constexpr std::size_t provider_id_bytes_max = 128;
constexpr std::int64_t hold_if_many_ms_max = 60'000;

}  // namespace

std::int64_t retry_after_ms(const Answer& answer, std::int64_t otherwise_ms) {
    return parse_retry_after_ms(answer.header("retry-after"), answer.now_ms).value_or(otherwise_ms);
}

bool is_of_wns(const Answer& answer) {
    return std::any_of(answer.headers.begin(), answer.headers.end(),
                       [](const auto& header) { return header.first.starts_with("x-wns-"); });
}

std::string wns_state(const Answer& answer) {
    const std::string_view state = answer.header("x-wns-status");
    return lower(state.empty() ? answer.header("x-wns-notificationstatus") : state);
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

std::string_view reason_word(std::string_view reason) {
    constexpr std::size_t word_bytes_max = 48;
    constexpr std::string_view http = "HTTP ";
    const std::string_view word = reason.substr(0, std::min(reason.find(": "), reason.find(" (")));
    const std::string_view rest = word.starts_with(http) ? word.substr(http.size()) : word;
    const bool plain =
        !rest.empty() && word.size() <= word_bytes_max &&
        std::all_of(rest.begin(), rest.end(), [](char c) { return is_unreserved(c) && c != '~'; });
    return plain ? word : std::string_view();
}

Judgement accepted(std::string_view provider_id) {
    Accepted out;
    if (provider_id.size() <= provider_id_bytes_max && is_printable(provider_id))
        out.provider_id = provider_id;
    return {std::move(out)};
}

Judgement refused(Outcome outcome, std::string reason) {
    return {Refused{outcome, std::move(reason)}};
}

Judgement misconfigured(Outcome outcome, std::string reason) {
    return {Refused{outcome, std::move(reason), true}};
}

Judgement suspected(Outcome outcome, std::string reason) {
    return {Suspect{outcome, std::move(reason)}};
}

Judgement retired(Outcome outcome, std::string reason) {
    return {Dead{outcome, std::move(reason)}};
}

Judgement retry(Outcome outcome, std::string reason, std::int64_t after_ms) {
    return {RetryLater{outcome, std::move(reason), after_ms}};
}

Judgement unwell(Outcome outcome, std::string reason, std::int64_t after_ms) {
    return {RetryLater{outcome, std::move(reason), after_ms, true}};
}

Judgement throttled(std::string reason, std::int64_t after_ms) {
    Judgement out = unwell(Outcome::throttled, std::move(reason), after_ms);
    out.throttle_credential_ms = after_ms;
    return out;
}

Judgement target_throttled(std::string reason, std::int64_t after_ms) {
    return unwell(Outcome::channel_throttled, std::move(reason), after_ms);
}

Judgement perhaps_throttled(std::string reason, std::int64_t after_ms) {
    Judgement out = unwell(Outcome::throttled, std::move(reason), after_ms);
    out.throttle_if_many_ms = std::min(after_ms, hold_if_many_ms_max);
    return out;
}

Judgement unauthorised(std::string reason) {
    Judgement out = misconfigured(Outcome::invalid_credentials, std::move(reason));
    out.step = Judgement::Step::reauthorise;
    return out;
}

Judgement unlisted(const Answer& answer, std::string reason) {
    if (reason.empty()) reason = "HTTP " + std::to_string(answer.status);
    const std::int64_t after_ms = retry_after_ms(answer, 0);
    if (answer.status == 500) return retry(Outcome::pns_server_error, std::move(reason), after_ms);
    if (answer.status > 500 && answer.status <= 599)
        return unwell(Outcome::pns_unavailable, std::move(reason), after_ms);
    return refused(Outcome::pns_interface_error, std::move(reason));
}

}  // namespace pns
