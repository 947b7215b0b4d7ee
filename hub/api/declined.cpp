// Tested by tests/hub_audience_test.cpp, tests/hub_service_test.cpp.

#include "hub/api/declined.hpp"

#include "hub/http/problem.hpp"
#include "hub/http/rate_limits.hpp"
#include "hub/http/responses.hpp"

namespace hub {

Response refused(const Request& request, const Admission::Declined& why) {
    if (const auto* full = std::get_if<Fanout::Busy>(&why)) {
        Response slow =
            error(request, 429, full->why + " Try again after the time in Retry-After.");
        slow.headers.emplace_back("Retry-After", retry_after_s(full->wait_ms));
        return slow;
    }
    if (const auto* over = std::get_if<AudienceRefusal>(&why)) {
        const ProblemFigures figures{{"audience", over->devices}};
        return problem(request, 409, over->code, over->message, figures);
    }
    if (const auto* refusal = std::get_if<Refusal>(&why)) return refused(request, *refusal);
    return refused(request, std::get<boost::system::error_code>(why), "");
}

}  // namespace hub
