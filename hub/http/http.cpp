// Tested by tests/hub_http_test.cpp, tests/fuzz_target.cpp.
//
// Targets are split and percent-decoded once, and an escaped NUL or a Host that could not stand in
// a URL is refused. The rest are the small parts of every answer: reason phrases, tracking ids,
// the contract's error body. Pure; both servers and the handlers use it.

#include "hub/http/http.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "hub/text/ids.hpp"
#include "hub/text/text.hpp"
#include "hub/text/wire_error.hpp"

namespace hub {

namespace {

/// Percent-decodes once. False: a bad escape or an escaped NUL.
bool decode(std::string_view text, bool plus_is_blank, std::string& out) {
    out.clear();
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '%') {
            if (text.size() - i < 3) return false;
            const int high = pns::hex_value(text[i + 1]);
            const int low = pns::hex_value(text[i + 2]);
            if (high < 0 || low < 0) return false;
            c = static_cast<char>(high * 16 + low);
            if (c == '\0') return false;
            i += 2;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        out.push_back(c);
    }
    return true;
}

/// uri-host [":" port] without user information: safe to repeat in a URL or in XML.
bool is_host(std::string_view host) {
    constexpr std::size_t host_bytes_max = 255 + 6;
    return host.size() <= host_bytes_max && std::all_of(host.begin(), host.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '.' || c == '-' || c == '_' || c == ':' || c == '[' || c == ']';
           });
}

bool is_guid(std::string_view text) {
    if (text.size() != 36) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : pns::hex_value(text[i]) < 0) return false;
    }
    return true;
}

bool parse_query(std::string_view text, Request& request) {
    while (!text.empty()) {
        const auto end = std::min(text.find('&'), text.size());
        const auto item = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (item.empty()) continue;
        const auto equals = std::min(item.find('='), item.size());
        std::string name;
        std::string value;
        if (!decode(item.substr(0, equals), true, name)) return false;
        if (equals < item.size() && !decode(item.substr(equals + 1), true, value)) return false;
        request.query.emplace_back(lower(name), std::move(value));
    }
    return true;
}

}  // namespace

std::string_view Request::header(std::string_view lower_name) const {
    for (const auto& [name, value] : headers) {
        if (name == lower_name) return value;
    }
    return {};
}

std::optional<std::string_view> Request::param(std::string_view lower_name) const {
    for (const auto& [name, value] : query) {
        if (name == lower_name) return std::string_view(value);
    }
    return std::nullopt;
}

std::string_view Request::path() const {
    return std::string_view(target).substr(0, target.find('?'));
}

std::string_view Request::query_text() const {
    const auto question = std::min(target.find('?'), target.size());
    return std::string_view(target).substr(std::min(question + 1, target.size()));
}

bool parse_target(Request& request) {
    request.segments.clear();
    request.query.clear();
    if (request.host.empty()) request.host = std::string(request.header("host"));
    const std::string_view target = request.target;
    if (target.empty() || target.front() != '/' || target.size() > target_bytes_max) return false;
    const bool printable = std::all_of(target.begin(), target.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return byte > 0x20 && byte != 0x7f && c != '#';
    });
    if (!printable || !is_host(request.host)) return false;

    std::string_view path = request.path();
    while (!path.empty()) {
        path.remove_prefix(1);
        const auto end = std::min(path.find('/'), path.size());
        std::string segment;
        if (!decode(path.substr(0, end), false, segment)) return false;
        if (!segment.empty()) request.segments.push_back(std::move(segment));
        path.remove_prefix(end);
    }
    return parse_query(request.query_text(), request);
}

std::string choose_tracking_id(const Request& request) {
    const auto given = request.header("trackingid");
    if (is_guid(given)) return std::string(given);
    const std::array<std::uint64_t, 2> random{random_u64(), random_u64()};
    std::array<unsigned char, 16> bytes{};
    std::memcpy(bytes.data(), random.data(), bytes.size());
    bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | 0x40);  // version 4, variant 1
    bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);
    std::string id;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) id += '-';
        id += "0123456789abcdef"[bytes[i] >> 4];
        id += "0123456789abcdef"[bytes[i] & 15];
    }
    return id;
}

std::string_view reason_phrase(int status) {
    switch (status) {
        case 200:
            return "OK";
        case 201:
            return "Created";
        case 202:
            return "Accepted";
        case 204:
            return "No Content";
        case 400:
            return "Bad Request";
        case 401:
            return "Unauthorized";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 408:
            return "Request Timeout";
        case 409:
            return "Conflict";
        case 410:
            return "Gone";
        case 412:
            return "Precondition Failed";
        case 413:
            return "Content Too Large";
        case 415:
            return "Unsupported Media Type";
        case 417:
            return "Expectation Failed";
        case 422:
            return "Unprocessable Content";
        case 429:
            return "Too Many Requests";
        case 431:
            return "Request Header Fields Too Large";
        case 500:
            return "Internal Server Error";
        case 501:
            return "Not Implemented";
        case 503:
            return "Service Unavailable";
        case 505:
            return "HTTP Version Not Supported";
        default:
            return status < 400 ? "OK" : "Error";
    }
}

Refusal body_too_large(std::size_t bytes_max) {
    return {413, "The request body is larger than " + std::to_string(bytes_max) + " bytes."};
}

Refusal body_ended_early() {
    return bad_request("The request body ended early.");
}

Response error(const Request& request, int status, std::string_view message) {
    Response response;
    response.status = status;
    response.headers.emplace_back("Content-Type", "application/xml; charset=utf-8");
    response.body = error_xml(status, message, request.tracking_id, request.received_at_ms);
    return response;
}

}  // namespace hub
