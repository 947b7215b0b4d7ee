// Tested by tests/pns_platforms_test.cpp.
#include "pns/account.hpp"

#include <algorithm>
#include <set>

#include "pns/endpoint_guard.hpp"
#include "pns/jwt.hpp"
#include "pns/providers.hpp"

namespace pns {

namespace {

constexpr std::size_t header_bytes_max = 512;

}  // namespace

std::string_view Answer::header(std::string_view name) const {
    for (const auto& [key, value] : headers)
        if (key == name) return value;
    return {};
}

Checked<std::unique_ptr<Account>> open_account(const Credential& credential) {
    const Platform* platform = platform_by_name(credential.platform);
    if (!platform || !platform->open)
        return bad_credential("PushHub has no sender for this platform.");
    return platform->open(credential);
}

SenderSettings default_settings(std::string_view name) {
    const Platform* platform = platform_by_name(name);
    return platform && platform->settings ? platform->settings() : SenderSettings{};
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

bool is_operators_host(const Credential& credential, const Origin& origin) {
    const auto named = EndpointGuard::parse(credential.operators_hosts, {});
    return named && named->allows(origin);
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

bool has_identity(const Push& push) {
    return std::any_of(push.id.begin(), push.id.end(), [](std::uint8_t byte) { return byte != 0; });
}

std::string identity_of(const Push& push) {
    return base64url({reinterpret_cast<const char*>(push.id.data()), push.id.size()});
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

Fetched login_with(const Url& endpoint, std::string form) {
    Fetched source;
    source.origin = endpoint.origin;
    source.path = endpoint.target;
    source.form = [form = std::move(form)](std::int64_t) -> Result<std::string> { return form; };
    return source;
}

std::string login_key(std::string_view platform, const Url& endpoint, std::string_view client_id,
                      std::string_view client_secret) {
    std::string login = endpoint.origin.host + endpoint.target + ' ';
    login.append(client_id).append(1, ' ').append(client_secret);
    return std::string(platform) + ':' + sha256_hex(login);
}

}  // namespace pns
