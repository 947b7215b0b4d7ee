#pragma once

// Errors of the JSON surface: application/problem+json (RFC 9457) with two members of our own, a
// stable `code` for programs and the tracking id of the request. Pure, any thread.

#include <boost/system/error_code.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hub/http/http.hpp"
#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::string_view problem_type = "application/problem+json";

/// Figures a program can act on without reading `detail`: {"audience", 1234}.
using ProblemFigures = std::vector<std::pair<std::string_view, std::uint64_t>>;

/// `code` in kebab-case: what went wrong, the same in every version. `detail`: one sentence for
/// this case, without secrets or handles; bytes that are no UTF-8 are replaced.
Response problem(const Request& request, int status, std::string_view code, std::string_view detail,
                 const ProblemFigures& figures = {});

/// What a codec will not take. The code follows from the status unless one is given.
Response problem(const Request& request, const Refusal& refusal, std::string_view code = {});

/// A registry error: 404, 409, 410, 412, 429 or 503; `missing` is the detail of a 404.
Response problem(const Request& request, boost::system::error_code error, std::string_view missing);

/// An error of routing or credentials as a problem, where the route speaks JSON. Others stay.
Response as_problem(const Request& request, Response response);

/// 429 with Retry-After.
Response problem_busy(const Request& request, std::string_view detail);

/// A JSON answer that must not be cached.
Response json_answer(int status, std::string body);

/// Tells the log that the store failed a request, a few times a second at most. Thread-safe.
void log_store_failure(const Request& request, boost::system::error_code error);

}  // namespace hub
