// Tested by tests/pns_platforms_test.cpp.
//
// The table is the only place that lists providers; everything else asks for a row by name or by
// format. A row has names, the rule for handles, the credential, and the times and retries of its
// sender. Rows without an opener are kept for what clients register, and nothing is sent with
// them. Immutable, any thread.
#include <algorithm>

#include "pns/platform.hpp"
#include "pns/providers.hpp"

namespace pns {

// Of pns/<name>.cpp; only the table below knows them.
Checked<std::unique_ptr<Account>> open_apns(const Credential& credential);
Checked<std::unique_ptr<Account>> open_fcm(const Credential& credential);
Checked<std::unique_ptr<Account>> open_wns(const Credential& credential);
Checked<std::unique_ptr<Account>> open_adm(const Credential& credential);
Checked<std::unique_ptr<Account>> open_web_push(const Credential& credential);
Checked<std::unique_ptr<Account>> open_hms(const Credential& credential);
std::optional<std::int64_t> apns_credential_end_s(const Credential& credential);
Checked<std::string> normalise_hms_handle(std::string_view handle);

namespace {

/// A credential is usable when an account opens with it.
Checked<bool> check_by_opening(const Credential& credential) {
    auto opened = open_account(credential);
    if (auto* refusal = std::get_if<Refusal>(&opened)) return std::move(*refusal);
    return true;
}

/// Kept for what reads hub descriptions back; nothing is sent with it.
Checked<bool> complete(const Credential& credential,
                       std::initializer_list<std::string_view> required) {
    if (auto refusal = missing_property(credential, required)) return std::move(*refusal);
    return true;
}
Checked<bool> check_gcm(const Credential& credential) {
    return complete(credential, {"GoogleApiKey"});
}
Checked<bool> check_mpns(const Credential&) {
    return true;  // without a certificate Microsoft took a few pushes a day
}
Checked<bool> check_baidu(const Credential& credential) {
    return complete(credential, {"BaiduApiKey", "BaiduSecretKey"});
}
Checked<bool> check_xiaomi(const Credential& credential) {
    return complete(credential, {"AppSecret"});
}

constexpr std::int64_t second = 1000, minute = 60 * second, hour = 60 * minute;

SenderSettings settings_of(std::size_t connections_max, std::int64_t request_timeout_ms,
                           std::int64_t ping_idle_ms, std::int64_t idle_close_ms,
                           std::int64_t age_max_ms, std::int64_t drain_ms_max) {
    SenderSettings out;
    out.connections_max = connections_max;
    out.request_timeout_ms = request_timeout_ms;
    out.ping_idle_ms = ping_idle_ms;
    out.idle_close_ms = idle_close_ms;
    out.age_max_ms = age_max_ms;
    out.drain_ms_max = drain_ms_max;
    return out;
}

SenderSettings apns_settings() {
    return settings_of(8, 20 * second, 60 * second, 30 * minute, 24 * hour, 30 * second);
}
// FCM answers idle PINGs with GOAWAY too_many_pings: its ping time lies past its idle time, so none
// is ever sent.
SenderSettings fcm_settings() {
    SenderSettings out = settings_of(32, 15 * second, hour, 210 * second, 55 * minute, 15 * second);
    out.pushes_per_s_max = 9'500;  // of 600,000 a minute and project
    out.ramp_ms = minute;
    return out;
}
SenderSettings wns_settings() {
    return settings_of(64, 20 * second, hour, 30 * second, hour, 15 * second);
}
SenderSettings adm_settings() {
    return settings_of(32, 20 * second, hour, 30 * second, hour, 15 * second);
}

constexpr RetryLimits apns_retry{};
constexpr RetryLimits fcm_retry{10 * second, 10 * minute, 6};
constexpr RetryLimits slow_retry{10 * second, hour};

}  // namespace

const std::vector<Platform>& platforms() {
    static const std::vector<Platform> table = {
        {"apns",
         "apple",
         "Apple",
         "ApnsOutcomeCounts",
         true,
         normalise_apns_handle,
         check_by_opening,
         "ApnsCredential",
         {"Endpoint", "ApnsCertificate", "CertificateKey", "Thumbprint", "Token", "KeyId",
          "AppName", "AppId", "BroadcastEndpoint"},
         open_apns,
         apns_settings,
         apns_retry,
         apns_credential_end_s},
        {"gcm",
         "gcm",
         "Gcm",
         "GcmOutcomeCounts",
         false,
         normalise_fcm_handle,
         check_gcm,
         "GcmCredential",
         {"GoogleApiKey", "GcmEndpoint"}},
        {"fcmv1",
         "fcmv1",
         "FcmV1",
         "FcmV1OutcomeCounts",
         true,
         normalise_fcm_handle,
         check_by_opening,
         "FcmV1Credential",
         {"PrivateKey", "ProjectId", "ClientEmail", "FcmV1Endpoint"},
         open_fcm,
         fcm_settings,
         fcm_retry},
        {"wns",
         "windows",
         "Windows",
         "WnsOutcomeCounts",
         true,
         normalise_wns_handle,
         check_by_opening,
         "WnsCredential",
         {"PackageSid", "SecretKey", "WindowsLiveEndpoint"},
         open_wns,
         wns_settings,
         slow_retry},
        {"mpns",
         "windowsphone",
         "Mpns",
         "MpnsOutcomeCounts",
         false,
         normalise_mpns_handle,
         check_mpns,
         "MpnsCredential",
         {"MpnsCertificate", "CertificateKey", "Thumbprint"}},
        {"adm",
         "adm",
         "Adm",
         "AdmOutcomeCounts",
         true,
         normalise_adm_handle,
         check_by_opening,
         "AdmCredential",
         {"ClientId", "ClientSecret", "AuthTokenUrl", "SendUrlTemplate"},
         open_adm,
         adm_settings,
         slow_retry},
        {"baidu",
         "baidu",
         "Baidu",
         "BaiduOutcomeCounts",
         false,
         normalise_baidu_handle,
         check_baidu,
         "BaiduCredential",
         {"BaiduApiKey", "BaiduSecretKey", "BaiduEndPoint"}},
        {"browser",
         "browser",
         "Browser",
         "BrowserOutcomeCounts",
         true,
         normalise_browser_handle,
         check_by_opening,
         "BrowserCredential",
         {"Subject", "VapidPublicKey", "VapidPrivateKey"},
         open_web_push,
         [] { return settings_of(8, 20 * second, minute, 2 * minute, hour, 15 * second); },
         {5 * second, hour}},
        {"xiaomi",
         "xiaomi",
         "Xiaomi",
         "XiaomiOutcomeCounts",
         false,
         normalise_xiaomi_handle,
         check_xiaomi,
         "XiaomiCredential",
         {"AppSecret", "Endpoint"}},
        {"hms",
         "hms",
         "Hms",
         "HmsOutcomeCounts",
         true,
         normalise_hms_handle,
         check_by_opening,
         "HmsCredential",
         {"AppId", "ClientId", "ClientSecret", "HmsEndpoint", "AuthTokenUrl", "ProjectId", "KeyId",
          "SubAccount", "PrivateKey"},
         open_hms,
         [] { return settings_of(64, 20 * second, hour, 30 * second, hour, 15 * second); },
         slow_retry},
    };
    return table;
}

RetryLimits retry_limits(std::string_view name) {
    const Platform* platform = platform_by_name(name);
    return platform ? platform->retry : RetryLimits{};
}

std::optional<std::int64_t> credential_end_s(const Credential& credential) {
    const Platform* platform = platform_by_name(credential.platform);
    if (platform == nullptr || platform->credential_end_s == nullptr) return std::nullopt;
    return platform->credential_end_s(credential);
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

}  // namespace pns
