// Tested by tests/hub_log_test.cpp.

#include "hub/device/hub_changes.hpp"

#include <algorithm>
#include <string_view>

namespace hub {

namespace {

const Rule* rule_named(const HubDescription& hub, std::string_view name) {
    const auto found = std::find_if(hub.rules.begin(), hub.rules.end(),
                                    [&](const Rule& rule) { return rule.name == name; });
    return found == hub.rules.end() ? nullptr : &*found;
}

}  // namespace

std::string hub_changes(const HubDescription& before, const HubDescription& after) {
    std::string out;
    const auto say = [&out](const std::string& what) { out += (out.empty() ? "" : ", ") + what; };
    for (const auto& [platform, properties] : after.credentials) {
        const auto known = before.credentials.find(platform);
        if (known == before.credentials.end()) {
            say(platform + " new");
        } else if (known->second != properties) {
            say(platform + " replaced");
        }
    }
    for (const auto& [platform, properties] : before.credentials)
        if (!after.credentials.contains(platform)) say(platform + " gone");
    for (const Rule& rule : after.rules) {
        const Rule* known = rule_named(before, rule.name);
        const std::string name = "rule " + rule.name;
        if (known == nullptr) {
            say(name + " new");
            continue;
        }
        if (known->primary_key != rule.primary_key) say(name + " has another primary key");
        if (known->secondary_key != rule.secondary_key) say(name + " has another secondary key");
        if (known->listen != rule.listen || known->send != rule.send ||
            known->manage != rule.manage)
            say(name + " has other rights");
    }
    for (const Rule& rule : before.rules)
        if (rule_named(after, rule.name) == nullptr) say("rule " + rule.name + " gone");
    if (before.registration_ttl_ms != after.registration_ttl_ms) say("RegistrationTtl");
    if (before.user_metadata != after.user_metadata) say("UserMetadata");
    if (before.pushes_per_s != after.pushes_per_s) say("PushesPerSecond");
    if (before.disabled != after.disabled) say(after.disabled ? "disabled" : "enabled");
    return out;
}

}  // namespace hub
