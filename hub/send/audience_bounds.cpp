// Tested by tests/hub_audience_test.cpp.

#include "hub/send/audience_bounds.hpp"

#include "hub/text/text.hpp"

namespace hub {

std::uint64_t audience_ceiling(const Config& config, std::string_view hub) {
    for (const std::string& text : config.audience_ceilings) {
        const auto one = parse_ceiling(text);
        if (one && same_ignoring_case(one->first, hub)) return one->second;
    }
    return config.audience_ceiling;
}

Parsed<AudienceBounds> read_audience_bounds(const Request& request, const Config& config,
                                            std::string_view hub) {
    AudienceBounds bounds;
    const auto wanted = trimmed(request.header("pushhub-expect-audience"));
    if (!wanted.empty()) {
        const auto expected = parse_expected_audience(wanted);
        if (!ok(expected)) return std::get<Refusal>(expected);
        bounds.expected = std::get<ExpectedAudience>(expected);
    }
    const std::string allow = lower(trimmed(request.header("pushhub-allow")));
    if (!allow.empty() && allow != "broadcast")
        return bad_request("PushHub-Allow must be broadcast.");
    if (allow.empty()) bounds.ceiling = audience_ceiling(config, hub);
    return bounds;
}

std::optional<AudienceRefusal> check_audience(const AudienceBounds& bounds, std::uint64_t devices) {
    const std::string would = "The send would reach " + std::to_string(devices) + " devices, ";
    if (bounds.expected) {
        const auto [least, most] = *bounds.expected;
        if (devices < least || devices > most) {
            return AudienceRefusal{"audience-unexpected",
                                   would + "and " + std::to_string(least) + " to " +
                                       std::to_string(most) + " are expected. Nothing was sent.",
                                   devices};
        }
    }
    if (bounds.ceiling != 0 && devices > bounds.ceiling) {
        return AudienceRefusal{"audience-over-ceiling",
                               would + "more than the ceiling of " +
                                   std::to_string(bounds.ceiling) +
                                   ". Nothing was sent; PushHub-Allow: broadcast allows it.",
                               devices};
    }
    return std::nullopt;
}

}  // namespace hub
