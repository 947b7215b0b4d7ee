// Tested by tests/hub_idempotency_test.cpp, tests/fuzz_audience.cpp.

#include "hub/http/idempotency_key.hpp"

#include <algorithm>

#include "hub/text/text.hpp"
#include "pns/jwt.hpp"

namespace hub {

namespace {

bool is_meaningful(std::string_view header) {
    return header.starts_with("servicebusnotification-") || header.starts_with("apns-") ||
           header.starts_with("x-apns-") || header.starts_with("x-wns-") ||
           header.starts_with("pushhub-") || header == "content-type" || header == "p256dh" ||
           header == "auth";
}

void append_field(std::string& out, std::string_view text) {
    out += std::to_string(text.size());
    out += ':';
    out += text;
}

}  // namespace

Parsed<std::string> read_idempotency_key(const Request& request) {
    std::string_view key = trimmed(request.header("idempotency-key"));
    for (const auto& [name, value] : request.headers) {
        if (name == "idempotency-key" && trimmed(value) != key)
            return bad_request("The request has two different Idempotency-Key headers.");
    }
    if (key.size() >= 2 && key.front() == '"' && key.back() == '"')
        key = key.substr(1, key.size() - 2);
    if (key.empty() || key.size() > idempotency_key_bytes_max) {
        return bad_request("An Idempotency-Key has 1 to " +
                           std::to_string(idempotency_key_bytes_max) + " characters.");
    }
    const bool plain =
        std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < 0x7f && c != '"'; });
    if (!plain)
        return bad_request("An Idempotency-Key is printable ASCII without blanks and quotes.");
    return std::string(key);
}

std::string request_fingerprint(const Request& request) {
    Headers headers;
    for (const auto& header : request.headers) {
        if (is_meaningful(header.first)) headers.push_back(header);
    }
    std::stable_sort(headers.begin(), headers.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::string text;
    append_field(text, request.method);
    append_field(text, request.target);
    for (const auto& [name, value] : headers) {
        append_field(text, name);
        append_field(text, trimmed(value));
    }
    append_field(text, {});
    append_field(text, request.body);
    return pns::sha256_hex(text);
}

}  // namespace hub
