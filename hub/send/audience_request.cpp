// Tested by tests/hub_audience_test.cpp, tests/fuzz_audience.cpp.

#include "hub/send/audience_request.hpp"

#include <cmath>

#include "hub/send/expected_audience.hpp"
#include "hub/text/json_text.hpp"
#include "hub/text/text.hpp"
#include "pns/platform.hpp"

namespace hub {

namespace {

using Json = nlohmann::json;

std::optional<Refusal> read_text(const Json& value, std::string_view name, std::string& out) {
    if (value.is_null()) return std::nullopt;
    if (!value.is_string()) return bad_request(std::string(name) + " must be a string.");
    out = value.get<std::string>();
    return std::nullopt;
}

std::optional<Refusal> read_count(const Json& value, std::string_view name, std::uint64_t most,
                                  std::uint64_t& out) {
    // 5.0 is the same number as 5.
    const double whole = value.is_number_float() ? value.get<double>() : -1;
    if (whole >= 0 && whole <= static_cast<double>(most) && std::floor(whole) == whole) {
        out = static_cast<std::uint64_t>(whole);
        return std::nullopt;
    }
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most) {
        return bad_request(std::string(name) + " must be a whole number from 0 to " +
                           std::to_string(most) + ".");
    }
    out = value.get<std::uint64_t>();
    return std::nullopt;
}

std::optional<Refusal> read_member(const std::string& name, const Json& value,
                                   AudienceRequest& request) {
    if (name == "tagExpression") {
        auto refusal = read_text(value, name, request.tag_expression);
        if (!refusal && !value.is_null() && trimmed(request.tag_expression).empty())
            return bad_request(
                "tagExpression is blank, which names no tag. Leave it out for everybody.");
        return refusal;
    }
    if (name == "format") {
        if (auto refusal = read_text(value, name, request.format)) return refusal;
        request.format = lower(trimmed(request.format));
        const bool known = request.format.empty() || request.format == "template" ||
                           pns::platform_by_format(request.format) != nullptr;
        if (known) return std::nullopt;
        return bad_request("The format '" + shown(request.format) +
                           "' is not known. Use one of a send, or leave it out.");
    }
    if (name == "explain") {
        if (!value.is_boolean()) return bad_request("explain must be true or false.");
        request.explain = value.get<bool>();
        return std::nullopt;
    }
    std::uint64_t count = 0;
    if (name == "sample") {
        auto refusal = read_count(value, name, audience_sample_max, count);
        request.sample = count;
        return refusal;
    }
    if (name == "max") {
        auto refusal = read_count(value, name, expected_audience_max, count);
        request.most = count;
        return refusal;
    }
    return bad_request("The member '" + shown(name) +
                       "' is not known. There are tagExpression, format, explain, sample and max.");
}

}  // namespace

Parsed<AudienceRequest> parse_audience_request(std::string_view body) {
    auto json = read_json(body, "The body");
    if (!ok(json)) return std::get<Refusal>(std::move(json));
    const auto& object = std::get<Json>(json);
    if (!object.is_object()) return bad_request("The body must be a JSON object.");
    AudienceRequest request;
    for (const auto& item : object.items()) {
        if (auto refusal = read_member(item.key(), item.value(), request))
            return std::move(*refusal);
    }
    return request;
}

}  // namespace hub
