// Tested by tests/hub_http_test.cpp.

#include "hub/http/problem.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>

#include "hub/process/log.hpp"
#include "hub/process/log_limit.hpp"
#include "registry/errc.hpp"

namespace hub {

namespace {

std::string_view code_of(int status) {
    switch (status) {
        case 400:
            return "bad-request";
        case 401:
            return "unauthorized";
        case 403:
            return "forbidden";
        case 404:
            return "not-found";
        case 405:
            return "method-not-allowed";
        case 409:
            return "conflict";
        case 410:
            return "gone";
        case 412:
            return "precondition-failed";
        case 413:
            return "too-large";
        case 415:
            return "unsupported-media-type";
        case 422:
            return "unprocessable";
        case 429:
            return "too-many-requests";
        case 503:
            return "unavailable";
        default:
            return "error";
    }
}

}  // namespace

Response problem(const Request& request, int status, std::string_view code, std::string_view detail,
                 const ProblemFigures& figures) {
    nlohmann::ordered_json body;
    body["type"] = "about:blank";
    body["title"] = reason_phrase(status);
    body["status"] = status;
    body["code"] = code;
    if (!detail.empty()) body["detail"] = detail;
    for (const auto& [name, value] : figures) body[std::string(name)] = value;
    body["trackingId"] = request.tracking_id;
    Response response;
    response.status = status;
    response.headers.emplace_back("Content-Type", std::string(problem_type));
    response.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return response;
}

Response problem(const Request& request, const Refusal& refusal, std::string_view code) {
    return problem(request, refusal.status, code.empty() ? code_of(refusal.status) : code,
                   refusal.message);
}

Response problem(const Request& request, boost::system::error_code error,
                 std::string_view missing) {
    using registry::errc;
    if (error == errc::not_found) return problem(request, 404, code_of(404), missing);
    if (error == errc::gone) return problem(request, 410, code_of(410), missing);
    if (error == errc::exists)
        return problem(request, 409, code_of(409), "It exists already, or has ended meanwhile.");
    if (error == errc::etag_mismatch)
        return problem(request, 412, code_of(412), "It was changed meanwhile.");
    if (error == errc::overloaded) return problem_busy(request, "The write queue is full.");
    log_store_failure(request, error);
    Response response = problem(request, 503, "store-unavailable",
                                "The store cannot take the request now: " + error.message() + ".");
    response.headers.emplace_back("Retry-After", "5");
    return response;
}

Response as_problem(const Request& request, Response response) {
    if (response.status < 400) return response;
    const auto type = std::find_if(response.headers.begin(), response.headers.end(),
                                   [](const auto& h) { return h.first == "Content-Type"; });
    const bool xml = type != response.headers.end() && type->second.starts_with("application/xml");
    if (type != response.headers.end() && !xml) return response;
    pugi::xml_document document;
    std::string detail;
    if (document.load_string(response.body.c_str()))
        detail = document.child("Error").child_value("Detail");
    // error_xml() ends the text with the tracking id, which has a member of its own here.
    if (const auto end = detail.rfind("TrackingId:"); end != std::string::npos) detail.resize(end);
    Response converted = problem(request, response.status, code_of(response.status), detail);
    for (auto& header : response.headers) {
        if (header.first != "Content-Type") converted.headers.push_back(std::move(header));
    }
    return converted;
}

Response problem_busy(const Request& request, std::string_view detail) {
    Response response = problem(request, 429, code_of(429),
                                std::string(detail) + " Try again after the time in Retry-After.");
    response.headers.emplace_back("Retry-After", "1");
    return response;
}

Response json_answer(int status, std::string body) {
    Response response;
    response.status = status;
    response.headers.emplace_back("Content-Type", "application/json");
    response.headers.emplace_back("Cache-Control", "no-store");
    response.body = std::move(body);
    return response;
}

void log_store_failure(const Request& request, boost::system::error_code error) {
    static LogLimit lines{3, 3, 1'000};  // of the process, as the log is
    const auto left_out = lines.allow("", request.received_at_ms);
    if (!left_out) return;
    log_error("the store failed a request", {{"tracking_id", request.tracking_id},
                                             {"error", error.message()},
                                             {"lines_left_out", lines_left_out(*left_out)}});
}

}  // namespace hub
