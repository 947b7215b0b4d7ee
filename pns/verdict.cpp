// Tested by tests/pns_platforms_test.cpp.

#include "pns/verdict.hpp"

namespace pns {

Outcome Verdict::outcome() const {
    if (is<Accepted>()) return Outcome::success;
    if (is<NoAnswer>()) return Outcome::unknown;
    if (const auto* dead = get<Dead>()) return dead->outcome;
    if (const auto* suspect = get<Suspect>()) return suspect->outcome;
    if (const auto* refused = get<Refused>()) return refused->outcome;
    if (const auto* later = get<RetryLater>()) return later->outcome;
    return get<NotSent>()->outcome;
}

std::string_view Verdict::reason() const {
    if (const auto* dead = get<Dead>()) return dead->reason;
    if (const auto* suspect = get<Suspect>()) return suspect->reason;
    if (const auto* refused = get<Refused>()) return refused->reason;
    if (const auto* later = get<RetryLater>()) return later->reason;
    if (const auto* lost = get<NoAnswer>()) return lost->reason;
    if (const auto* unsent = get<NotSent>()) return unsent->reason;
    return {};
}

std::string_view outcome_name(Outcome outcome) {
    switch (outcome) {
        case Outcome::success:
            return "Success";
        case Outcome::abandoned:
            return "AbandonedNotificationMessages";
        case Outcome::bad_channel:
            return "BadChannel";
        case Outcome::channel_disconnected:
            return "ChannelDisconnected";
        case Outcome::channel_throttled:
            return "ChannelThrottled";
        case Outcome::dropped:
            return "Dropped";
        case Outcome::expired_channel:
            return "ExpiredChannel";
        case Outcome::invalid_credentials:
            return "InvalidCredentials";
        case Outcome::invalid_notification_format:
            return "InvalidNotificationFormat";
        case Outcome::invalid_notification_size:
            return "InvalidNotificationSize";
        case Outcome::no_targets:
            return "NoTargets";
        case Outcome::pns_interface_error:
            return "PnsInterfaceError";
        case Outcome::pns_server_error:
            return "PnsServerError";
        case Outcome::pns_unavailable:
            return "PnsUnavailable";
        case Outcome::pns_unreachable:
            return "PnsUnreachable";
        case Outcome::skipped:
            return "Skipped";
        case Outcome::throttled:
            return "Throttled";
        case Outcome::token_provider_interface_error:
            return "TokenProviderInterfaceError";
        case Outcome::token_provider_unreachable:
            return "TokenProviderUnreachable";
        case Outcome::invalid_token:
            return "InvalidToken";
        case Outcome::wrong_token:
            return "WrongToken";
        case Outcome::wrong_channel:
            return "WrongChannel";
        case Outcome::refresh_token:
            return "RefreshToken";
        case Outcome::unknown_error:
            return "UnknownError";
        case Outcome::unknown:
            return "Unknown";
    }
    return "UnknownError";
}

}  // namespace pns
