// Tested by tests/pns_apns_test.cpp.
//
// Two tables, one for pushes and one for channels, lead from status and reason to a rule; follow()
// turns a rule into a judgement. A reason that no table has is judged by the class of its status.
// Only Apple's own word about a handle may lead to its retirement. A topic that a message chose
// speaks for that push alone: neither the credential nor the handle is accused by it.
#include "pns/apns_reasons.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <span>

#include "pns/answers.hpp"

namespace pns {

namespace {

constexpr std::int64_t minute_ms = 60'000;
/// Apple counts token changes over 20 minutes; asking again at a quarter of that finds the end soon
/// enough.
constexpr std::int64_t token_updates_pause_ms = 5 * minute_ms;

enum class Rule {
    drop,
    drop_size,
    drop_interface,
    config,
    topic,
    feature,
    suspect_handle,
    suspect_app,
    prune,
    prune_if_older,
    prune_if_own,  ///< a 410 without a word: Apple's own has an apns-id, that of a proxy has none
    reauthorise,
    other_connection,
    reconnect_retry,
    token_updates,
    throttle_handle,
    throttle_perhaps,
    retry_error,
    retry_down,
    shutdown,
};
struct Row {
    int status;
    std::string_view reason;
    Rule rule;
};
// docs/contracts/pns.md 1.6
constexpr std::array<Row, 36> device_rows = {{
    {400, "BadCollapseId", Rule::drop},
    {400, "BadDeviceToken", Rule::suspect_handle},
    {400, "BadExpirationDate", Rule::drop},
    {400, "BadMessageId", Rule::drop},
    {400, "BadPriority", Rule::drop},
    {400, "BadTopic", Rule::topic},
    {400, "DeviceTokenNotForTopic", Rule::suspect_app},
    {400, "DuplicateHeaders", Rule::drop},
    {400, "IdleTimeout", Rule::reconnect_retry},
    {400, "InvalidPushType", Rule::drop},
    {400, "MissingDeviceToken", Rule::drop_interface},
    {400, "MissingTopic", Rule::topic},
    {400, "PayloadEmpty", Rule::drop},
    {400, "TopicDisallowed", Rule::topic},
    {403, "BadCertificate", Rule::config},
    {403, "BadCertificateEnvironment", Rule::config},
    {403, "ExpiredProviderToken", Rule::reauthorise},
    {403, "Forbidden", Rule::config},
    {403, "InvalidProviderToken", Rule::config},
    {403, "MissingProviderToken", Rule::config},
    {403, "UnrelatedKeyIdInToken", Rule::other_connection},
    {403, "BadEnvironmentKeyIdInToken", Rule::config},
    {404, "BadPath", Rule::drop_interface},
    {405, "MethodNotAllowed", Rule::drop_interface},
    {410, "ExpiredToken", Rule::prune_if_older},
    {410, "Unregistered", Rule::prune_if_older},
    {410, "", Rule::prune_if_own},
    {413, "PayloadTooLarge", Rule::drop_size},
    {413, "", Rule::drop_size},
    {429, "TooManyProviderTokenUpdates", Rule::token_updates},
    {429, "TooManyRequests", Rule::throttle_handle},
    {429, "", Rule::throttle_perhaps},
    {500, "InternalServerError", Rule::retry_error},
    {500, "", Rule::retry_error},
    {503, "ServiceUnavailable", Rule::retry_down},
    {503, "Shutdown", Rule::shutdown},
}};

// docs/contracts/pns.md 1.5
constexpr std::array<Row, 33> channel_rows = {{
    {400, "BadChannelId", Rule::prune},
    {400, "ChannelNotRegistered", Rule::prune},
    {400, "FeatureNotEnabled", Rule::feature},
    {400, "TopicDisallowed", Rule::config},
    {400, "CannotCreateChannelConfig", Rule::feature},
    {400, "MissingChannelId", Rule::drop_interface},
    {400, "BadRequestParams", Rule::drop},
    {400, "BadRequestPayload", Rule::drop},
    {400, "PayloadEmpty", Rule::drop},
    {400, "BadMessageId", Rule::drop_interface},
    {400, "MissingPushType", Rule::drop_interface},
    {400, "InvalidPushType", Rule::drop},
    {400, "BadExpirationDate", Rule::drop},
    {400, "BadPriority", Rule::drop},
    {400, "MissingChannelQueueSize", Rule::drop},
    {403, "BadCertificate", Rule::config},
    {403, "BadCertificateEnvironment", Rule::config},
    {403, "TopicMismatch", Rule::config},
    {403, "InvalidProviderToken", Rule::config},
    {403, "MissingProviderToken", Rule::config},
    {403, "ExpiredProviderToken", Rule::reauthorise},
    {404, "BadPath", Rule::drop_interface},
    {404, "", Rule::drop_interface},
    {405, "MethodNotAllowed", Rule::drop_interface},
    {413, "PayloadTooLarge", Rule::drop_size},
    {413, "", Rule::drop_size},
    {429, "TooManyProviderTokenUpdates", Rule::token_updates},
    {429, "TooManyRequests", Rule::throttle_handle},
    {429, "", Rule::throttle_perhaps},
    {500, "InternalServerError", Rule::retry_error},
    {500, "", Rule::retry_error},
    {503, "ServiceUnavailable", Rule::retry_down},
    {503, "", Rule::retry_down},
}};

struct ErrorBody {
    std::string reason;
    std::optional<std::int64_t> timestamp_ms;
};

ErrorBody read_error(std::string_view text) {
    ErrorBody out;
    const auto body = nlohmann::json::parse(text, nullptr, false);
    if (!body.is_object()) return out;
    if (const auto reason = body.find("reason"); reason != body.end() && reason->is_string())
        out.reason = reason->get<std::string>();
    if (const auto at = body.find("timestamp"); at != body.end() && at->is_number_integer())
        if (const auto ms = at->get<std::int64_t>(); ms > 0) out.timestamp_ms = ms;
    return out;
}

Judgement follow(Rule rule, ApnsTopic topic, const ErrorBody& error, const Answer& answer,
                 std::string reason) {
    switch (rule) {
        case Rule::drop:
            return refused(Outcome::invalid_notification_format, std::move(reason));
        case Rule::drop_size:
            return refused(Outcome::invalid_notification_size, std::move(reason));
        case Rule::drop_interface:
            return refused(Outcome::pns_interface_error, std::move(reason));
        case Rule::config:
            return misconfigured(Outcome::invalid_credentials, std::move(reason));
        case Rule::topic:
            if (topic == ApnsTopic::of_message)
                return refused(Outcome::invalid_notification_format, std::move(reason));
            return misconfigured(Outcome::invalid_credentials, std::move(reason));
        case Rule::feature:  // pushes to devices go on
            return refused(Outcome::invalid_credentials, std::move(reason));
        case Rule::suspect_handle:
            return suspected(Outcome::bad_channel, std::move(reason));
        case Rule::suspect_app:
            if (topic == ApnsTopic::of_message)
                return refused(Outcome::wrong_token, std::move(reason));
            return suspected(Outcome::wrong_token, std::move(reason));
        case Rule::prune:
            return retired(Outcome::bad_channel, std::move(reason));
        case Rule::prune_if_own:
        case Rule::prune_if_older:
            // The device is inactive for that topic, and may be well for the app's own.
            if (topic == ApnsTopic::of_message)
                return refused(Outcome::expired_channel, std::move(reason));
            if (rule == Rule::prune_if_own && answer.header("apns-id").empty())
                return suspected(Outcome::expired_channel, std::move(reason));
            // A time to come would prune registrations that are made only now.
            return {Dead{Outcome::expired_channel, std::move(reason),
                         std::min(error.timestamp_ms.value_or(answer.now_ms), answer.now_ms)}};
        case Rule::reauthorise: {
            Judgement out = unauthorised(std::move(reason));
            out.reconnect = true;
            return out;
        }
        case Rule::other_connection: {
            Judgement out = misconfigured(Outcome::invalid_credentials, std::move(reason));
            out.step = Judgement::Step::resend_now;
            out.reconnect = true;
            return out;
        }
        case Rule::reconnect_retry: {
            Judgement out = retry(Outcome::pns_unavailable, std::move(reason));
            out.reconnect = true;
            return out;
        }
        case Rule::token_updates: {
            Judgement out =
                throttled(std::move(reason), retry_after_ms(answer, token_updates_pause_ms));
            out.step = Judgement::Step::earlier_token;
            return out;
        }
        case Rule::throttle_handle:
            return target_throttled(std::move(reason), retry_after_ms(answer, minute_ms));
        case Rule::throttle_perhaps:
            return perhaps_throttled(std::move(reason), retry_after_ms(answer, minute_ms));
        case Rule::retry_error:
            return retry(Outcome::pns_server_error, std::move(reason), retry_after_ms(answer, 0));
        case Rule::retry_down:
            break;
        case Rule::shutdown: {
            Judgement out =
                unwell(Outcome::pns_unavailable, std::move(reason), retry_after_ms(answer, 0));
            out.step = Judgement::Step::resend_now;
            out.reconnect = true;
            return out;
        }
    }
    return unwell(Outcome::pns_unavailable, std::move(reason), retry_after_ms(answer, 0));
}

std::span<const Row> rows_of(ApnsSurface surface) {
    if (surface == ApnsSurface::device) return device_rows;
    return channel_rows;
}

}  // namespace

Judgement judge_apns_refusal(ApnsSurface surface, std::string_view handle, const Answer& answer,
                             ApnsTopic topic) {
    const ErrorBody error = read_error(answer.body);
    std::string reason = clean_reason(error.reason, handle);
    if (reason.empty()) reason = "HTTP " + std::to_string(answer.status);
    for (const Row& row : rows_of(surface))
        if (row.status == answer.status && row.reason == error.reason)
            return follow(row.rule, topic, error, answer, std::move(reason));
    return unlisted(answer, std::move(reason));
}

}  // namespace pns
