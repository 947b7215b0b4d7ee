// Tested by tests/hub_devices_test.cpp, tests/fuzz_audience.cpp.

#include "hub/send/device_query.hpp"

#include <charconv>

#include "hub/device/tags.hpp"
#include "hub/http/continuation.hpp"
#include "hub/send/send_request.hpp"
#include "hub/text/text.hpp"
#include "pns/platform.hpp"

namespace hub {

namespace {

using registry::DeviceQuery;

/// The list that a request asks for, as its tokens name it.
std::string list_of(const Request& request, std::uint32_t hub) {
    return list_name("devices", hub,
                     {filter_name(request.param("tag")), filter_name(request.param("user")),
                      filter_name(request.param("platform")), filter_name(request.param("handle")),
                      filter_name(request.param("state"))});
}

/// The expression, and the tag of the user if one is asked for.
Parsed<tagexpr::Plan> read_plan(const Request& request, const Config& config) {
    const auto tag_text = request.param("tag");
    if (tag_text && trimmed(*tag_text).empty())
        return bad_request("The parameter tag is blank, which names no tag. Leave it out for all.");
    auto plan = plan_of(tag_text.value_or(""), config);
    const auto user = request.param("user");
    if (!ok(plan) || !user) return plan;
    if (auto refusal = check_id("user", *user)) return std::move(*refusal);
    tagexpr::Expression both;
    both.nodes = std::get<tagexpr::Plan>(std::move(plan)).nodes;
    tagexpr::Node tag, both_hold;
    tag.tag = "$UserId:{" + std::string(*user) + "}";
    both_hold.op = tagexpr::Op::all_of;
    both_hold.arity = 2;
    both.nodes.push_back(std::move(tag));
    both.nodes.push_back(std::move(both_hold));
    return tagexpr::simplify(both);
}

std::optional<Refusal> read_platform(const Request& request, DeviceQuery& query) {
    const auto text = request.param("platform");
    if (!text) return std::nullopt;
    const std::string name = lower(*text);
    const auto* platform = pns::platform_by_name(name);
    if (platform == nullptr) platform = pns::platform_by_format(name);
    if (platform != nullptr) {
        query.platforms = {std::string(platform->name)};
        return std::nullopt;
    }
    std::string known;
    for (const pns::Platform& one : pns::platforms())
        known.append(known.empty() ? "" : ", ").append(one.name);
    return bad_request("The platform '" + shown(name) + "' is not known. There are " + known + ".");
}

std::optional<Refusal> read_state(const Request& request, DeviceQuery& query) {
    const std::string state = lower(request.param("state").value_or("any"));
    if (state == "active") {
        query.state = DeviceQuery::State::active;
    } else if (state == "expired") {
        query.state = DeviceQuery::State::expired;
    } else if (state != "any") {
        return bad_request("state must be active, expired or any.");
    }
    return std::nullopt;
}

std::optional<Refusal> read_page(const Request& request, std::uint32_t hub, DeviceQuery& query) {
    query.count_max = devices_page_default;
    if (const auto text = request.param("top")) {
        const auto [end, failed] =
            std::from_chars(text->data(), text->data() + text->size(), query.count_max);
        if (failed != std::errc() || end != text->data() + text->size() || query.count_max < 1 ||
            query.count_max > devices_page_max) {
            return bad_request("top must be a whole number from 1 to " +
                               std::to_string(devices_page_max) + ".");
        }
    }
    const auto token = request.param("continuation");
    if (!token || token->empty()) return std::nullopt;
    const auto place = continuation_place(list_of(request, hub), *token);
    if (!place || ((*place)[0] != 'i' && (*place)[0] != 'r'))
        return bad_request("The continuation token is not one that a list returned.");
    query.after = *place;
    return std::nullopt;
}

}  // namespace

Parsed<DeviceQuery> read_device_query(const Request& request, const Config& config,
                                      std::uint32_t hub) {
    DeviceQuery query;
    auto plan = read_plan(request, config);
    if (!ok(plan)) return std::get<Refusal>(std::move(plan));
    query.plan = std::get<tagexpr::Plan>(std::move(plan));
    query.handle_prefix = request.param("handle").value_or("");
    if (query.handle_prefix.size() > handle_prefix_bytes_max) {
        return bad_request("handle is longer than " + std::to_string(handle_prefix_bytes_max) +
                           " bytes.");
    }
    if (auto refusal = read_platform(request, query)) return std::move(*refusal);
    if (auto refusal = read_state(request, query)) return std::move(*refusal);
    if (auto refusal = read_page(request, hub, query)) return std::move(*refusal);
    return query;
}

std::string device_token(const Request& request, std::uint32_t hub, std::string_view next) {
    return continuation_token(list_of(request, hub), next);
}

}  // namespace hub
