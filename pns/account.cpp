// Tested by tests/pns_platforms_test.cpp.
#include "pns/account.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "pns/providers.hpp"

namespace pns {

namespace {

constexpr std::size_t header_bytes_max = 512;

struct Opener {
    std::string_view platform;
    Checked<std::unique_ptr<Account>> (*open)(const Credential&);
    SenderSettings settings;
};

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

// FCM answers idle PINGs with GOAWAY too_many_pings: its ping time lies past its idle time, so none
// is ever sent.
const std::array<Opener, 4>& openers() {
    constexpr std::int64_t second = 1000, minute = 60 * second, hour = 60 * minute;
    static const std::array<Opener, 4> all = {{
        {"apns", open_apns,
         settings_of(8, 20 * second, 60 * second, 30 * minute, 24 * hour, 30 * second)},
        {"fcmv1", open_fcm,
         settings_of(32, 15 * second, hour, 210 * second, 55 * minute, 15 * second)},
        {"wns", open_wns, settings_of(64, 20 * second, hour, 30 * second, hour, 15 * second)},
        {"adm", open_adm, settings_of(32, 20 * second, hour, 30 * second, hour, 15 * second)},
    }};
    return all;
}

const Opener* opener_of(std::string_view platform) {
    const auto found = std::find_if(openers().begin(), openers().end(), [&](const Opener& opener) {
        return same_ignoring_case(opener.platform, platform);
    });
    return found == openers().end() ? nullptr : &*found;
}

}  // namespace

std::string_view Answer::header(std::string_view name) const {
    for (const auto& [key, value] : headers)
        if (key == name) return value;
    return {};
}

Checked<std::unique_ptr<Account>> open_account(const Credential& credential) {
    const Opener* opener = opener_of(credential.platform);
    if (!opener) return bad_credential("PushHub has no sender for this platform.");
    return opener->open(credential);
}

SenderSettings default_settings(std::string_view platform) {
    const Opener* opener = opener_of(platform);
    return opener ? opener->settings : SenderSettings{};
}

std::string_view property(const Credential& credential, std::string_view name) {
    const auto found = credential.properties.find(std::string(name));
    if (found == credential.properties.end() || found->second == "null") return {};
    return found->second;
}

std::optional<Refusal> missing_property(const Credential& credential,
                                        std::initializer_list<std::string_view> names) {
    for (std::string_view name : names)
        if (property(credential, name).empty())
            return bad_credential("The credential lacks the property " + std::string(name) + ".");
    return std::nullopt;
}

Refusal bad_credential(std::string message) {
    return {Outcome::invalid_credentials, std::move(message)};
}

std::string_view message_header(const Message& message, std::string_view name) {
    for (const auto& [key, value] : message.headers)
        if (key == name) return value;
    return {};
}

std::optional<Refusal> check_message_headers(const Message& message, std::string_view prefix) {
    std::set<std::string_view> seen;
    for (const auto& [name, value] : message.headers) {
        if (!name.starts_with(prefix)) continue;
        const bool plain_name = std::all_of(name.begin(), name.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        });
        if (!plain_name || name.size() > 64)
            return bad_format("A header name that starts with " + std::string(prefix) +
                              " may have only letters, digits and '-', at most 64.");
        if (!seen.insert(name).second) return bad_format("Header " + name + " is given twice.");
        const bool plain_value =
            std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c < '\x7f'; });
        if (value.empty() || value.size() > header_bytes_max || !plain_value)
            return bad_format("Header " + name + " must have 1 to " +
                              std::to_string(header_bytes_max) + " printable ASCII characters.");
    }
    return std::nullopt;
}

Refusal bad_format(std::string message) {
    return {Outcome::invalid_notification_format, std::move(message)};
}

Refusal bad_size(std::string_view what, std::size_t bytes, std::size_t bytes_max) {
    return {Outcome::invalid_notification_size, std::string(what) + " has " +
                                                    std::to_string(bytes) + " bytes; at most " +
                                                    std::to_string(bytes_max) + " are allowed."};
}

std::string form_of(std::initializer_list<std::pair<std::string_view, std::string_view>> fields) {
    std::string out;
    for (const auto& [name, value] : fields) {
        if (!out.empty()) out += '&';
        append_percent_encoded(out, name);
        out += '=';
        append_percent_encoded(out, value);
    }
    return out;
}

}  // namespace pns
