// Tested by tests/hub_service_test.cpp.

#include "hub/gate.hpp"

#include "hub/answers.hpp"
#include "hub/log.hpp"
#include "hub/metrics.hpp"
#include "hub/rate_limits.hpp"

namespace hub {

namespace {

bool has_right(const Rule& rule, bool of_namespace, const Request& request, Right right) {
    switch (right) {
        case Right::none:
            return true;
        case Right::listen:
            return rule.listen;
        case Right::send:
            return rule.send;
        case Right::manage:
            return rule.manage;
        case Right::send_or_manage:
            return rule.send || rule.manage;
        case Right::listen_if_filtered: {
            const auto filter = request.param("$filter");
            return filter && !filter->empty() ? rule.listen : rule.manage;
        }
        case Right::manage_namespace:
            return rule.manage && of_namespace;
    }
    return false;
}

void log_refusal(const Request& request, const Route& route, int status, std::string_view why) {
    log_info("access refused", {{"status", std::to_string(status)},
                                {"why", std::string(why)},
                                {"method", std::string(route.method)},
                                {"route", std::string(route.pattern)},
                                {"tracking_id", request.tracking_id}});
}

std::optional<Response> refuse(const Parts& parts, KeyLimits& limits, const Request& request,
                               const HubState* hub, const Route& route) {
    SasCheck check;
    check.authorization = request.header("authorization");
    check.host = request.host;
    check.path = request.path();
    if (hub != nullptr && route.right != Right::manage_namespace) {
        check.hub_rules = hub->description.rules;
    }
    check.namespace_rules = parts.namespace_rules;
    check.hosts = parts.config.host_names;
    check.now_s = request.received_at_ms / 1'000;
    check.skew_s = parts.config.sas_clock_skew_s;
    const auto checked = check_sas(check);
    if (const auto* refusal = std::get_if<Refusal>(&checked)) {
        log_refusal(request, route, refusal->status, refusal->message);
        return refused(request, *refusal);
    }
    const auto& caller = std::get<SasMatch>(checked);
    if (!has_right(*caller.rule, caller.of_namespace, request, route.right)) {
        log_refusal(request, route, 403, "rule " + caller.rule->name + " lacks the right");
        Response forbidden;
        forbidden.status = 403;
        return forbidden;
    }
    const std::uint32_t owner = caller.of_namespace ? KeyLimits::of_namespace : hub->row.number;
    if (const auto wait_ms = limits.take(owner, caller.rule->name, now_ms()); wait_ms > 0) {
        parts.metrics.limited("key");
        Response slow = error(request, 429, "Requests signed with this key come too fast.");
        slow.headers.emplace_back("Retry-After", retry_after_s(wait_ms));
        return slow;
    }
    const bool inside_hub = names_hub(route) && route.pattern != "/{hub}";
    if (hub != nullptr && inside_hub && hub->description.disabled) {
        log_refusal(request, route, 403, "the hub is disabled");
        return error(request, 403, "The notification hub is disabled.");
    }
    return std::nullopt;
}

}  // namespace

Gate make_gate(Parts& parts) {
    Gate gate;
    gate.find_hub = [&parts](std::string_view name) { return parts.hubs.find(name); };
    const auto limits = std::make_shared<KeyLimits>(parts.config.requests_per_second_per_key);
    gate.refuse = [&parts, limits](const Request& request, const HubState* hub,
                                   const Route& route) {
        return refuse(parts, *limits, request, hub, route);
    };
    return gate;
}

}  // namespace hub
