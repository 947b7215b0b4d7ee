// Tested by tests/hub_audience_test.cpp.

#include "hub/api/audience_guard.hpp"

#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/http/problem.hpp"
#include "hub/process/loops.hpp"
#include "hub/send/expected_audience.hpp"
#include "hub/send/send_request.hpp"
#include "hub/text/text.hpp"
#include "tagexpr/expression.hpp"

namespace hub {

namespace {

Response refuse_count(const Request& request, std::string_view code, const std::string& detail,
                      std::uint64_t count) {
    const ProblemFigures figures{{"audience", count}};
    return problem(request, 409, code, detail, figures);
}

}  // namespace

std::uint64_t audience_ceiling(const Config& config, std::string_view hub) {
    for (const std::string& text : config.audience_ceilings) {
        const auto one = parse_ceiling(text);
        if (one && same_ignoring_case(one->first, hub)) return one->second;
    }
    return config.audience_ceiling;
}

std::optional<Response> refuse_audience(const Request& request, const Config& config,
                                        std::string_view hub, std::uint64_t count) {
    const auto wanted = trimmed(request.header("pushhub-expect-audience"));
    if (!wanted.empty()) {
        const auto expected = parse_expected_audience(wanted);
        if (!ok(expected)) return problem(request, std::get<Refusal>(expected));
        const auto [least, most] = std::get<ExpectedAudience>(expected);
        if (count < least || count > most) {
            return refuse_count(request, "audience-unexpected",
                                "The send would reach " + std::to_string(count) + " devices, and " +
                                    std::to_string(least) + " to " + std::to_string(most) +
                                    " are expected. Nothing was sent.",
                                count);
        }
    }
    const std::string allow = lower(trimmed(request.header("pushhub-allow")));
    if (!allow.empty() && allow != "broadcast")
        return problem(request, bad_request("PushHub-Allow must be broadcast."));
    const std::uint64_t ceiling = audience_ceiling(config, hub);
    if (ceiling != 0 && count > ceiling && allow.empty()) {
        return refuse_count(request, "audience-over-ceiling",
                            "The send would reach " + std::to_string(count) +
                                " devices, more than the ceiling of " + std::to_string(ceiling) +
                                ". Nothing was sent; PushHub-Allow: broadcast allows it.",
                            count);
    }
    return std::nullopt;
}

pns::Task<std::optional<Response>> refuse_scheduled_audience(const Call& call,
                                                             const registry::Send& send) {
    const Request& request = call.request;
    const Config& config = call.parts.config;
    const std::string& hub = call.hub->row.name;
    const bool asked = !request.header("pushhub-expect-audience").empty() ||
                       !request.header("pushhub-allow").empty() ||
                       audience_ceiling(config, hub) != 0;
    std::optional<Response> refusal;
    if (!asked) co_return refusal;
    const auto plan = plan_of(send.tag_expression, config);
    const registry::Universe universe = universe_of(send, config);
    auto read = [&call, &plan, &universe]() -> registry::Result<std::uint64_t> {
        const auto selected = call.parts.registry.select(call.hub->row.number,
                                                         std::get<tagexpr::Plan>(plan), universe);
        if (!selected) return selected.error();
        return selected->count();
    };
    const auto count = co_await on_store(call.parts.store, std::move(read));
    if (count) {
        refusal = refuse_audience(request, config, hub, *count);
    } else {
        refusal = problem(request, count.error(), "");
    }
    co_return refusal;
}

}  // namespace hub
