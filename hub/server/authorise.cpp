// Tested by tests/hub_service_test.cpp.

#include "hub/server/authorise.hpp"

#include "hub/access/namespace_rules.hpp"
#include "hub/device/hubs.hpp"
#include "hub/http/rate_limits.hpp"
#include "hub/http/responses.hpp"
#include "hub/process/config.hpp"
#include "hub/process/log.hpp"
#include "hub/process/metrics.hpp"

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

/// What all requests are checked with.
struct Grounds {
    const Config& config;
    const Hubs& hubs;
    const NamespaceRules& namespace_rules;
    Metrics& metrics;
    KeyLimits limits;
};

std::optional<Response> refuse(Grounds& grounds, const Request& request, const HubState* hub,
                               const Route& route) {
    SasCheck check;
    check.authorization = request.header("authorization");
    check.host = request.host;
    check.path = request.path();
    if (hub != nullptr && route.right != Right::manage_namespace) {
        check.hub_rules = hub->description.rules;
    }
    const auto namespace_rules = grounds.namespace_rules.now();
    check.namespace_rules = *namespace_rules;
    check.hosts = grounds.config.host_names;
    check.now_s = request.received_at_ms / 1'000;
    check.skew_s = grounds.config.sas_clock_skew_s;
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
    grounds.limits.allow(grounds.config.requests_per_second_per_key);
    if (const auto wait_ms = grounds.limits.take(owner, caller.rule->name, request.received_at_ms);
        wait_ms > 0) {
        grounds.metrics.limited("key");
        Response slow = error(request, 429, "Requests signed with this key come too fast.");
        slow.headers.emplace_back("Retry-After", retry_after_s(wait_ms));
        return slow;
    }
    const bool inside_hub = route.names_hub && route.pattern != "/{hub}";
    if (hub != nullptr && inside_hub && hub->description.disabled) {
        log_refusal(request, route, 403, "the hub is disabled");
        return error(request, 403, "The notification hub is disabled.");
    }
    return std::nullopt;
}

}  // namespace

Authoriser make_authoriser(const Config& config, const Hubs& hubs,
                           const NamespaceRules& namespace_rules, Metrics& metrics) {
    const std::shared_ptr<Grounds> grounds(
        new Grounds{config, hubs, namespace_rules, metrics, KeyLimits(0)});
    Authoriser authoriser;
    authoriser.find_hub = [&hubs](std::string_view name) { return hubs.find(name); };
    authoriser.refuse = [grounds](const Request& request, const HubState* hub, const Route& route) {
        return refuse(*grounds, request, hub, route);
    };
    return authoriser;
}

}  // namespace hub
