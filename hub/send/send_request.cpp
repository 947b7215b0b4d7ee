// Tested by tests/hub_send_request_test.cpp.
//
// A request passes from the headers over the format to the body; the first thing that is wrong is
// the answer. Bodies are checked for their shape and stay as they came: what only the provider can
// judge becomes an outcome later. Headers that concern no provider go no further.

#include "hub/send/send_request.hpp"

#include <algorithm>
#include <set>

#include "hub/http/request_fields.hpp"
#include "hub/send/send_options.hpp"
#include "hub/template/gcm_alias.hpp"
#include "hub/template/templates.hpp"
#include "hub/text/ids.hpp"
#include "hub/text/json_text.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "hub/text/xml.hpp"
#include "pns/json_walk.hpp"
#include "pns/platform.hpp"
#include "tagexpr/expression.hpp"

namespace hub {

namespace {

using registry::Send;

constexpr std::size_t header_value_bytes_max = 4 * 1024;
constexpr std::size_t header_count_max = 64;  // each push looks through them

std::string_view header_of(const registry::Headers& headers, std::string_view name) {
    for (const auto& [known, value] : headers) {
        if (known == name) return value;
    }
    return {};
}

bool is_number(std::string_view text) {
    return text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string unix_seconds(std::int64_t time_ms) {
    return std::to_string(std::max<std::int64_t>(0, time_ms / 1'000));
}

bool is_web_push_header(std::string_view name) {
    return name == "ttl" || name == "urgency" || name == "topic";
}

/// Headers that concern providers, lower case: apns-*, x-wns-* and their aliases, RFC 8030's for
/// browsers, and Huawei's push-type.
registry::Headers provider_headers(const Request& request, std::string_view format) {
    const bool to_browsers = format == "browser" || format == "template";
    const bool to_huawei = format == "hms" || format == "template";
    registry::Headers kept;
    for (const auto& [name, value] : request.headers) {
        if (name.starts_with("apns-") || name.starts_with("x-wns-") ||
            (to_browsers && is_web_push_header(name)) || (to_huawei && name == "push-type"))
            kept.emplace_back(name, value);
    }
    std::set<std::string> named;
    for (const auto& [name, value] : kept) {
        if (!value.empty()) named.insert(name);
    }
    for (const auto& [name, value] : request.headers) {  // docs/contracts/anh.md 5.1, 11.7
        if (!name.starts_with("x-apns-")) continue;
        std::string plain = name.substr(2);
        const bool fresh = value.empty() ? !named.contains(plain) : named.insert(plain).second;
        if (fresh) kept.emplace_back(std::move(plain), value);
    }
    for (auto& [name, value] : kept) {
        if (name != "apns-expiration" || is_number(value)) continue;
        if (const auto time = parse_time_ms(value)) value = unix_seconds(*time);
    }
    const auto expiry = request.header("servicebusnotification-apns-expiry");
    if (!expiry.empty() && header_of(kept, "apns-expiration").empty()) {
        // Ambiguous with some clients, therefore only ever passed on, never a reason to drop
        // (docs/contracts/anh.md 11.2): a time that seems over still gets its one attempt.
        if (const auto time = parse_time_ms(trimmed(expiry))) {
            const bool over = *time <= request.received_at_ms;
            kept.emplace_back("apns-expiration", over ? "0" : unix_seconds(*time));
        }
    }
    return kept;
}

/// A header that steers a send and stands there twice says two things. Those of our own were
/// checked before (hub/http/request_fields.hpp).
std::optional<Refusal> check_no_header_twice(const Request& request) {
    std::set<std::string_view> names;
    for (const auto& [name, value] : request.headers) {
        if (name.starts_with("servicebusnotification-") && !names.insert(name).second)
            return bad_request("The header " + name + " is there twice.");
    }
    return std::nullopt;
}

Parsed<std::string> read_format(const Request& request) {
    const std::string format = lower(trimmed(request.header("servicebusnotification-format")));
    if (format == "template" || pns::platform_by_format(format) != nullptr) return format;
    if (!format.empty()) {
        std::string known;
        for (const pns::Platform& platform : pns::platforms())
            known.append(platform.format).append(", ");
        return bad_request("ServiceBusNotification-Format '" + shown(format) +
                           "' is not known. Use " + known + "or template.");
    }
    for (const auto& header : request.headers) {
        if (header.first.starts_with("apns-"))
            return std::string("apple");  // docs/contracts/anh.md 11.2
    }
    return bad_request("The header ServiceBusNotification-Format is missing.");
}

/// Is the body of this Windows or Windows Phone notification whatever the app reads, not XML?
bool is_raw(const Send& send, const Request& request) {
    if (send.format == "windows")
        return same_ignoring_case(header_of(send.headers, "x-wns-type"), "wns/raw");
    return trimmed(request.header("x-windowsphone-target")).empty();
}

std::optional<Refusal> check_raw(const Send& send, const Request& request) {
    const auto content_type = request.header("content-type");
    const auto type = lower(trimmed(content_type.substr(0, content_type.find(';'))));
    const bool xml = type == "text/xml" || type == "application/xml" || type.ends_with("+xml");
    if (!xml || send.format != "windows") return std::nullopt;
    return bad_request(
        "A notification of the X-WNS-Type wns/raw has the Content-Type application/octet-stream, "
        "not " +
        shown(type) + ".");
}

/// The body's shape by its format; what only the provider can judge becomes an outcome later.
std::optional<Refusal> check_body(const Send& send, const Request& request, const Config& config) {
    if (send.body.empty()) return bad_request("The notification has no body.");
    if (send.format == "template") {
        const auto properties = parse_properties(send.body);
        if (!ok(properties)) return std::get<Refusal>(properties);
        return std::nullopt;
    }
    if (send.format == "windows" || send.format == "windowsphone") {
        if (is_raw(send, request)) return check_raw(send, request);
        pugi::xml_document document;
        return read_xml(send.body, document);
    }
    if (send.format == "gcm" && config.gcm_through_fcmv1) {
        auto converted = gcm_to_fcmv1(send.body);
        if (!ok(converted)) return std::get<Refusal>(std::move(converted));
        return std::nullopt;
    }
    if (auto refusal = check_json(send.body, "The notification")) return refusal;
    if (!trimmed(send.body).starts_with('{'))
        return bad_request("The notification must be a JSON object.");
    if (send.format != "fcmv1") return std::nullopt;
    bool has_message = false;
    pns::walk_json(send.body, [&](const pns::JsonPlace& at, pns::JsonKind kind, std::string_view) {
        if (at.is("message")) has_message = kind == pns::JsonKind::object;
    });
    if (has_message) return std::nullopt;
    return bad_request("An fcmv1 notification must be {\"message\":{...}} without a token.");
}

}  // namespace

Parsed<Send> read_send(const Request& request, std::string body, const Config& config) {
    if (auto refusal = check_no_header_twice(request)) return std::move(*refusal);
    auto format = read_format(request);
    if (!ok(format)) return std::get<Refusal>(std::move(format));
    Send send;
    send.format = std::get<std::string>(std::move(format));
    send.headers = provider_headers(request, send.format);
    if (send.headers.size() > header_count_max)
        return bad_request("The send has more than " + std::to_string(header_count_max) +
                           " headers for providers.");
    for (const auto& [name, value] : send.headers) {
        if (value.size() > header_value_bytes_max)
            return bad_request("The header " + name + " is longer than 4096 bytes.");
    }
    const bool to_windows = send.format == "windows" || send.format == "windowsphone";
    send.body = to_windows ? std::move(body) : json_in_utf8(std::move(body));
    if (auto refusal = check_body(send, request, config)) return std::move(*refusal);
    const std::string delivery = lower(trimmed(request.header("pushhub-delivery")));
    if (delivery == "at-most-once") {
        send.delivery = registry::Delivery::at_most_once;
    } else if (!delivery.empty() && delivery != "at-least-once") {
        return bad_request("PushHub-Delivery must be at-least-once or at-most-once.");
    }
    send.enqueued_at_ms = request.received_at_ms;
    send.deadline_ms = request.received_at_ms + undelivered_ms_max;
    if (auto refusal = read_send_options(request, send)) return std::move(*refusal);
    send.id = new_send_id(request.received_at_ms);
    return send;
}

Parsed<std::string> read_tag_expression(const Request& request) {
    constexpr std::string_view name = "ServiceBusNotification-Tags";
    const auto text = trimmed(request.header(lower(name)));
    if (text.empty() && has_header(request, lower(name))) {
        return bad_request("The header " + std::string(name) +
                           " is blank, which names no tag. Leave it out to send to everybody.");
    }
    return std::string(text);
}

std::optional<Refusal> check_no_handle(const Request& request) {
    if (!has_header(request, "servicebusnotification-devicehandle")) return std::nullopt;
    return bad_request(
        "ServiceBusNotification-DeviceHandle belongs to a direct send: add ?direct to the address, "
        "or leave the header out.");
}

Parsed<tagexpr::Plan> plan_of(std::string_view expression, const Config& config) {
    tagexpr::Limits limits;
    limits.length_bytes_max = config.expression_bytes_max;
    limits.depth_max = config.expression_depth_max;
    auto parsed = tagexpr::parse(expression, limits);
    if (const auto* wrong = std::get_if<tagexpr::ParseError>(&parsed)) {
        return bad_request("The tag expression is invalid at column " +
                           std::to_string(wrong->column) + ": " + wrong->message + "\n" +
                           wrong->caret(expression) + "\n");
    }
    return tagexpr::simplify(std::get<tagexpr::Expression>(parsed));
}

registry::Universe universe_of(const Send& send, const Config& config) {
    registry::Universe universe;
    if (send.format == "template") {
        universe.kind = registry::Universe::Kind::templated;
        return universe;
    }
    universe.kind = registry::Universe::Kind::native;
    universe.platforms = {std::string(pns::platform_by_format(send.format)->name)};
    if (config.gcm_through_fcmv1 && (send.format == "gcm" || send.format == "fcmv1")) {
        universe.platforms = {"fcmv1", "gcm"};
    }
    return universe;
}

}  // namespace hub
