#include "hub/http/responses.hpp"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "hub/http/continuation.hpp"
#include "hub/http/problem.hpp"
#include "hub/text/text.hpp"

namespace hub {

Response refused(const Request& request, const Refusal& refusal) {
    return error(request, refusal.status, refusal.message);
}

Response refused(const Request& request, boost::system::error_code code, std::string_view missing) {
    using registry::errc;
    if (code == errc::not_found) return error(request, 404, missing);
    if (code == errc::gone)
        return error(request, 410,
                     "The registration id is used up: it expired, or its handle was retired. "
                     "Request a new one.");
    if (code == errc::exists) return error(request, 409, "SubCode=40900. Conflict");
    if (code == errc::etag_mismatch)
        return error(request, 412, "The ETag in If-Match is not the current one.");
    if (code == errc::overloaded) return busy(request, "The write queue is full.");
    log_store_failure(request, code);
    Response response =
        error(request, 503, "The store cannot take the request now: " + code.message() + ".");
    response.headers.emplace_back("Retry-After", "5");
    return response;
}

Response busy(const Request& request, std::string_view what) {
    Response response =
        error(request, 429, std::string(what) + " Try again after the time in Retry-After.");
    response.headers.emplace_back("Retry-After", "1");
    return response;
}

Response empty_response(int status) {
    Response response;
    response.status = status;
    response.headers.emplace_back("Content-Type", std::string(xml_type));
    return response;
}

std::string version_query(const Request& request) {
    constexpr std::size_t version_bytes_max = 32;
    const auto version = request.param("api-version").value_or("");
    const bool plain = std::all_of(version.begin(), version.end(), pns::is_unreserved);
    if (version.empty() || version.size() > version_bytes_max || !plain) return {};
    return "api-version=" + std::string(version);
}

namespace {

void append_version(std::string& url, const Request& request) {
    const std::string version = version_query(request);
    url += version.empty() ? "?api-version=2020-06" : "?" + version;
}

}  // namespace

std::string absolute_url(const Request& request, const std::vector<std::string>& segments) {
    std::string url = "https://" + request.host;
    for (const std::string& segment : segments) {
        url += '/';
        append_percent_encoded(url, segment);
    }
    append_version(url, request);
    return url;
}

std::string collection_url(const Request& request) {
    std::string url = "https://" + request.host;
    for (std::size_t i = 0; i < 2; ++i) {
        url += '/';
        append_percent_encoded(url, request.segments.at(i));
    }
    return url;
}

std::string location_of(const Request& request, std::string_view id) {
    std::string url = collection_url(request) + "/";
    append_percent_encoded(url, id);
    append_version(url, request);
    return url;
}

Parsed<registry::Precondition> read_if_match(const Request& request) {
    std::string_view text = trimmed(request.header("if-match"));
    using registry::Precondition;
    Precondition match;
    const auto given = std::count_if(request.headers.begin(), request.headers.end(),
                                     [](const auto& header) { return header.first == "if-match"; });
    if (given == 0) return match;
    if (given > 1) return bad_request("The header If-Match is there twice.");
    if (text.starts_with("W/")) text.remove_prefix(2);
    if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
        text = text.substr(1, text.size() - 2);
    if (text == "*") {
        match.kind = Precondition::Kind::any;
        return match;
    }
    match.kind = Precondition::Kind::etag;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), match.etag);
    if (ec != std::errc{} || end != text.data() + text.size()) {
        return bad_request("If-Match must be * or an ETag that a read returned.");
    }
    return match;
}

std::optional<std::string> read_continuation(const Request& request, std::string_view list) {
    const auto given = request.param("continuationtoken");
    if (!given || given->empty()) return std::string();
    std::string token(*given);
    for (int i = 0; i < 3; ++i) {
        std::string decoded = percent_decoded(token);
        if (decoded == token) break;
        token = std::move(decoded);
    }
    return continuation_place(list, token);
}

}  // namespace hub
