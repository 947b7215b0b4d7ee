// Tested by tests/pns_platforms_test.cpp.
//
// Each function checks one kind of handle and gives the one spelling in which it is stored and
// compared. URLs are parsed strictly: no user, no fragment, a DNS name and no address in any
// disguise. Which hosts may be named is decided by EndpointGuard.
#include "pns/handles.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pns/jwt.hpp"

namespace pns {

namespace {

constexpr std::size_t apns_digits_max = 200;
constexpr std::size_t fcm_bytes_max = 4096;
constexpr std::size_t channel_bytes_max = 1024;
constexpr std::size_t adm_bytes_max = 2048;
constexpr std::size_t browser_bytes_max = 4096;
constexpr std::size_t other_bytes_max = 1024;

Refusal bad_handle(std::string message) {
    return {Outcome::bad_channel, std::move(message)};
}

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_alpha(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
Checked<std::string> printable(std::string_view handle, std::size_t bytes_max, const char* what) {
    if (handle.empty() || handle.size() > bytes_max)
        return bad_handle(std::string(what) + " must have 1 to " + std::to_string(bytes_max) +
                          " characters.");
    if (!is_printable(handle))
        return bad_handle(std::string(what) + " must be printable ASCII without spaces.");
    return std::string(handle);
}

/// A DNS name with at least two labels that no URL parser takes for an IPv4 address (also not for
/// 0x7f.1 or 127.1).
bool is_dns_name(std::string_view host) {
    if (host.empty() || host.size() > 253) return false;
    std::size_t labels = 0;
    std::string_view last;
    while (true) {
        const std::size_t dot = host.find('.');
        const std::string_view label = host.substr(0, dot);
        if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-')
            return false;
        for (char c : label)
            if (!is_alpha(c) && !is_digit(c) && c != '-') return false;
        ++labels;
        last = label;
        if (dot == std::string_view::npos) break;
        host.remove_prefix(dot + 1);
    }
    return labels >= 2 && is_alpha(last.front());
}

bool is_target_text(std::string_view text) {
    constexpr std::string_view others = "/?:@!$&'()*+,;=%";
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (!is_unreserved(c) && others.find(c) == std::string_view::npos) return false;
        if (c == '%' &&
            (i + 2 >= text.size() || hex_value(text[i + 1]) < 0 || hex_value(text[i + 2]) < 0))
            return false;
    }
    return true;
}

/// Takes base64 or base64url, padded or not; gives base64url without padding.
std::optional<std::string> key_bytes(std::string_view text) {
    std::string url_safe(text);
    std::replace(url_safe.begin(), url_safe.end(), '+', '-');
    std::replace(url_safe.begin(), url_safe.end(), '/', '_');
    return from_base64url(url_safe);
}

std::string text_member(const nlohmann::json& object, const char* name) {
    const auto member = object.find(name);
    return member != object.end() && member->is_string() ? member->get<std::string>()
                                                         : std::string();
}

/// Of any host: which of them a push may go to is decided when it goes out.
Checked<std::string> channel_uri(std::string_view handle, const char* what) {
    const auto url = parse_url(handle, channel_bytes_max);
    if (!url)
        return bad_handle(std::string(what) + " must be an http or https URI of at most " +
                          std::to_string(channel_bytes_max) +
                          " characters with the name of a host, without user or fragment.");
    std::string out = (url->secure ? "https://" : "http://") + url->origin.host;
    if (url->origin.port != (url->secure ? 443 : 80)) out += ':' + std::to_string(url->origin.port);
    return out + url->target;
}

}  // namespace

bool within_domain(std::string_view host, std::string_view domain) {
    if (host == domain) return true;
    return host.size() > domain.size() && host.ends_with(domain) &&
           host[host.size() - domain.size() - 1] == '.';
}

std::optional<Url> parse_url(std::string_view text, std::size_t bytes_max) {
    if (text.size() > bytes_max) return std::nullopt;
    Url url;
    if (text.size() >= 8 && same_ignoring_case(text.substr(0, 8), "https://")) {
        text.remove_prefix(8);
    } else if (text.size() >= 7 && same_ignoring_case(text.substr(0, 7), "http://")) {
        text.remove_prefix(7);
        url.secure = false;
    } else {
        return std::nullopt;
    }
    const std::size_t end = std::min(text.find_first_of("/?#"), text.size());
    std::string_view host = text.substr(0, end);
    const std::string_view target = text.substr(end);
    url.origin.port = url.secure ? 443 : 80;
    if (const std::size_t colon = host.find(':'); colon != std::string_view::npos) {
        const std::string_view digits = host.substr(colon + 1);
        if (digits.empty() || digits.size() > 5 ||
            !std::all_of(digits.begin(), digits.end(), is_digit))
            return std::nullopt;
        unsigned port = 0;
        for (char c : digits) port = port * 10 + static_cast<unsigned>(c - '0');
        if (port == 0 || port > 65'535) return std::nullopt;
        url.origin.port = static_cast<std::uint16_t>(port);
        host = host.substr(0, colon);
    }
    if (!is_dns_name(host) || !is_target_text(target)) return std::nullopt;
    url.origin.host = lower(host);
    if (target.empty() || target.front() == '?') url.target = '/';
    url.target += target;
    return url;
}

Checked<std::string> normalise_apns_handle(std::string_view handle) {
    if (handle.size() < 2 || handle.size() > apns_digits_max || handle.size() % 2 != 0 ||
        !std::all_of(handle.begin(), handle.end(), [](char c) { return hex_value(c) >= 0; }))
        return bad_handle(
            "An APNs device token must be an even number of hexadecimal digits, 2 to " +
            std::to_string(apns_digits_max) + ".");
    std::string out(handle);
    for (char& c : out)
        if (c >= 'a') c = static_cast<char>(c - 32);
    return out;
}

Checked<std::string> normalise_fcm_handle(std::string_view handle) {
    constexpr std::string_view fid = "fid:";  // a Firebase Installation ID in place of a token
    if (handle.starts_with(fid) &&
        (handle.size() == fid.size() ||
         !std::all_of(handle.begin() + fid.size(), handle.end(),
                      [](char c) { return is_alpha(c) || is_digit(c) || c == '-' || c == '_'; })))
        return bad_handle("fid: must be followed by a Firebase Installation ID.");
    return printable(handle, fcm_bytes_max, "An FCM registration token");
}

Checked<std::string> normalise_wns_handle(std::string_view handle) {
    return channel_uri(handle, "A WNS channel");
}

Checked<std::string> normalise_mpns_handle(std::string_view handle) {
    return channel_uri(handle, "An MPNS channel");
}

Checked<std::string> normalise_adm_handle(std::string_view handle) {
    return printable(handle, adm_bytes_max, "An ADM registration id");
}

Checked<std::string> normalise_baidu_handle(std::string_view handle) {
    auto checked = printable(handle, other_bytes_max, "A Baidu handle");
    if (std::holds_alternative<Refusal>(checked)) return checked;
    const std::size_t dash = handle.find('-');
    if (dash == std::string_view::npos || dash == 0 || dash + 1 == handle.size())
        return bad_handle("A Baidu handle must be <userId>-<channelId>.");
    return checked;
}

Checked<std::string> normalise_xiaomi_handle(std::string_view handle) {
    return printable(handle, other_bytes_max, "A Xiaomi registration id");
}

std::optional<Origin> browser_origin(std::string_view handle) {
    constexpr std::string_view before = R"({"endpoint":")";
    if (!handle.starts_with(before)) return std::nullopt;
    handle.remove_prefix(before.size());
    auto url = parse_url(handle.substr(0, handle.find('"')));
    if (!url) return std::nullopt;
    return std::move(url->origin);
}

// Canonical: {"endpoint":"https://…","p256dh":"<base64url>","auth":"<base64url>"} without white
// space. Also read: the browser's own form with the two keys inside "keys".
Checked<std::string> normalise_browser_handle(std::string_view handle) {
    if (handle.size() > browser_bytes_max)
        return bad_handle("A Web Push subscription must have at most " +
                          std::to_string(browser_bytes_max) + " characters.");
    const auto object = nlohmann::json::parse(handle, nullptr, false);
    if (!object.is_object())
        return bad_handle(
            "A Web Push subscription must be a JSON object with endpoint, p256dh and auth.");
    const auto nested = object.find("keys");
    const auto& keys = nested != object.end() && nested->is_object() ? *nested : object;
    const auto url = parse_url(text_member(object, "endpoint"));
    if (!url || !url->secure)
        return bad_handle(
            "The endpoint of a Web Push subscription must be an https URL of a host "
            "name, without user or fragment.");
    const auto p256dh = key_bytes(text_member(keys, "p256dh"));
    if (!p256dh || !is_p256_point(*p256dh))
        return bad_handle("p256dh must be an uncompressed P-256 point, 65 bytes in base64url.");
    const auto auth = key_bytes(text_member(keys, "auth"));
    if (!auth || auth->size() < 16 || auth->size() > 64)
        return bad_handle("auth must be at least 16 bytes in base64url.");
    std::string authority = url->origin.host;
    if (url->origin.port != 443) authority += ':' + std::to_string(url->origin.port);
    return R"({"endpoint":"https://)" + authority + url->target + R"(","p256dh":")" +
           base64url(*p256dh) + R"(","auth":")" + base64url(*auth) + R"("})";
}

}  // namespace pns
