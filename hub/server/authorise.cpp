// Tested by tests/hub_service_test.cpp.

#include "hub/server/authorise.hpp"

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hub/access/namespace_rules.hpp"
#include "hub/device/hubs.hpp"
#include "hub/http/rate_limits.hpp"
#include "hub/http/responses.hpp"
#include "hub/process/config.hpp"
#include "hub/process/log.hpp"
#include "hub/process/log_limit.hpp"
#include "hub/process/metrics.hpp"
#include "hub/text/text.hpp"

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

/// What all requests are checked with.
struct Grounds {
    Grounds(const Config& of, const Hubs& known, const NamespaceRules& rules, Metrics& counts)
        : config(of),
          hubs(known),
          namespace_rules(rules),
          metrics(counts),
          limits(of.requests_per_second_per_key) {}
    const Config& config;
    const Hubs& hubs;
    const NamespaceRules& namespace_rules;
    Metrics& metrics;
    KeyLimits limits;
    LogLimit lines{3, 10, 1'000};
};

/// `rule` is what the caller says that it is: only one that exists is a key of the limit.
void log_refusal(Grounds& grounds, const Request& request, const HubState* hub, const Route& route,
                 int status, std::string_view why) {
    const std::string rule = rule_named_in(request.header("authorization"));
    const auto has = [&rule](std::span<const Rule> rules) {
        return std::any_of(rules.begin(), rules.end(),
                           [&](const Rule& one) { return one.name == rule; });
    };
    const bool known =
        (hub != nullptr && has(hub->description.rules)) || has(*grounds.namespace_rules.now());
    const std::string name = hub != nullptr ? hub->row.name : std::string();
    const auto left_out = grounds.lines.allow(
        name + '/' + (known ? rule : std::string()) + '/' + request.client, request.received_at_ms);
    if (!left_out) return;
    log_info("access refused", {{"status", std::to_string(status)},
                                {"why", std::string(why)},
                                {"hub", name},
                                {"rule", known ? rule : shown(redacted(rule))},
                                {"client", request.client},
                                {"method", std::string(route.method)},
                                {"route", std::string(route.pattern)},
                                {"tracking_id", request.tracking_id},
                                {"lines_left_out", lines_left_out(*left_out)}});
}

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
    auto checked = check_sas(check);
    if (!ok(checked) && hub != nullptr && route.right == Right::manage_namespace) {
        check.hub_rules = hub->description.rules;
        check.namespace_rules = {};
        if (ok(check_sas(check))) {
            checked = Refusal{401,
                              "The token is signed by a rule of the hub. Hubs are created, changed "
                              "and deleted by a rule of the namespace that has Manage."};
        }
    }
    if (const auto* refusal = std::get_if<Refusal>(&checked)) {
        log_refusal(grounds, request, hub, route, refusal->status, refusal->message);
        return refused(request, *refusal);
    }
    const auto& caller = std::get<SasMatch>(checked);
    if (!has_right(*caller.rule, caller.of_namespace, request, route.right)) {
        log_refusal(grounds, request, hub, route, 403, "the rule lacks the right");
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
        log_refusal(grounds, request, hub, route, 403, "the hub is disabled");
        return error(request, 403, "The notification hub is disabled.");
    }
    return std::nullopt;
}

}  // namespace

Authoriser make_authoriser(const Config& config, const Hubs& hubs,
                           const NamespaceRules& namespace_rules, Metrics& metrics) {
    const auto grounds = std::make_shared<Grounds>(config, hubs, namespace_rules, metrics);
    Authoriser authoriser;
    authoriser.find_hub = [&hubs](std::string_view name) { return hubs.find(name); };
    authoriser.refuse = [grounds](const Request& request, const HubState* hub, const Route& route) {
        return refuse(*grounds, request, hub, route);
    };
    return authoriser;
}

}  // namespace hub
