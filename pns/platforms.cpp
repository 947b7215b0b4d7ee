// Tested by tests/pns_platforms_test.cpp.
#include <algorithm>

#include "pns/platform.hpp"
#include "pns/providers.hpp"

namespace pns {

namespace {

/// A credential is usable when an account opens with it.
Checked<bool> check_by_opening(const Credential& credential) {
    auto opened = open_account(credential);
    if (auto* refusal = std::get_if<Refusal>(&opened)) return std::move(*refusal);
    return true;
}

/// Kept for what reads hub descriptions back; nothing is sent with it.
Checked<bool> accept_unused(const Credential&) {
    return true;
}

}  // namespace

const std::vector<Platform>& platforms() {
    static const std::vector<Platform> table = {
        {"apns", "apple", "Apple", "ApnsOutcomeCounts", true, normalise_apns_handle,
         check_by_opening},
        {"gcm", "gcm", "Gcm", "GcmOutcomeCounts", false, normalise_fcm_handle, accept_unused},
        {"fcmv1", "fcmv1", "FcmV1", "FcmV1OutcomeCounts", true, normalise_fcm_handle,
         check_by_opening},
        {"wns", "windows", "Windows", "WnsOutcomeCounts", true, normalise_wns_handle,
         check_by_opening},
        {"mpns", "windowsphone", "Mpns", "MpnsOutcomeCounts", false, normalise_mpns_handle,
         accept_unused},
        {"adm", "adm", "Adm", "AdmOutcomeCounts", true, normalise_adm_handle, check_by_opening},
        {"baidu", "baidu", "Baidu", "BaiduOutcomeCounts", false, normalise_baidu_handle,
         accept_unused},
        {"browser", "browser", "Browser", "BrowserOutcomeCounts", false, normalise_browser_handle,
         accept_unused},
        {"xiaomi", "xiaomi", "Xiaomi", "XiaomiOutcomeCounts", false, normalise_xiaomi_handle,
         accept_unused},
    };
    return table;
}

const Platform* platform_by_name(std::string_view name) {
    const auto& all = platforms();
    const auto found = std::find_if(all.begin(), all.end(), [&](const Platform& platform) {
        return same_ignoring_case(platform.name, name);
    });
    return found == all.end() ? nullptr : &*found;
}

const Platform* platform_by_format(std::string_view format) {
    const auto& all = platforms();
    const auto found = std::find_if(all.begin(), all.end(), [&](const Platform& platform) {
        return same_ignoring_case(platform.format, format);
    });
    return found == all.end() ? nullptr : &*found;
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
