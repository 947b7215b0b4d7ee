#include <nlohmann/json.hpp>

#include "hub/device/hub_description.hpp"

#include <algorithm>
#include "hub/text/json_text.hpp"

// Tested by tests/hub_description_test.cpp.

namespace hub {
namespace {

using nlohmann::json;

constexpr int format_version = 1;
// Larger than any description that parse_hub_description() lets in.
constexpr std::size_t stored_bytes_max = 1024 * 1024;

std::string text(const json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::int64_t integer(const json& object, const char* name, std::int64_t fallback) {
    const auto found = object.find(name);
    return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>()
                                                               : fallback;
}

bool flag(const json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_boolean() && found->get<bool>();
}

Refusal damaged(const std::string& why) {
    return {500, "The stored description of the hub is damaged: " + why};
}

}  // namespace

std::string hub_description_json(const HubDescription& hub) {
    json rules = json::array();
    for (const Rule& rule : hub.rules) {
        rules.push_back({{"name", rule.name},
                         {"primaryKey", rule.primary_key},
                         {"secondaryKey", rule.secondary_key},
                         {"listen", rule.listen},
                         {"send", rule.send},
                         {"manage", rule.manage},
                         {"createdAtMs", rule.created_at_ms},
                         {"modifiedAtMs", rule.modified_at_ms}});
    }
    const json out = {
        {"version", format_version},        {"name", hub.name},
        {"credentials", hub.credentials},   {"registrationTtlMs", hub.registration_ttl_ms},
        {"rules", std::move(rules)},        {"userMetadata", hub.user_metadata},
        {"disabled", hub.disabled},         {"createdAtMs", hub.created_at_ms},
        {"updatedAtMs", hub.updated_at_ms}, {"pushesPerSecond", hub.pushes_per_s}};
    return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

Parsed<HubDescription> read_hub_description_json(std::string_view stored) {
    const auto parsed = read_json(stored, "It", stored_bytes_max);
    if (const auto* refusal = std::get_if<Refusal>(&parsed)) return damaged(refusal->message);
    const json& object = std::get<json>(parsed);
    if (!object.is_object()) return damaged("it is not an object.");
    const std::int64_t version = integer(object, "version", 0);
    if (version != format_version)
        return damaged("its version is " + std::to_string(version) + ", not " +
                       std::to_string(format_version) + ".");
    HubDescription hub;
    hub.name = text(object, "name");
    hub.registration_ttl_ms = integer(object, "registrationTtlMs", registry::never_ms);
    hub.user_metadata = text(object, "userMetadata");
    hub.disabled = flag(object, "disabled");
    hub.created_at_ms = integer(object, "createdAtMs", 0);
    hub.updated_at_ms = integer(object, "updatedAtMs", 0);
    hub.pushes_per_s = static_cast<std::uint32_t>(
        std::clamp<std::int64_t>(integer(object, "pushesPerSecond", 0), 0, pushes_per_s_max));
    const json credentials = object.value("credentials", json::object());
    const json rules = object.value("rules", json::array());
    if (!credentials.is_object() || !rules.is_array())
        return damaged("its credentials or rules have the wrong type.");
    for (const auto& [platform, properties] : credentials.items()) {
        auto members = string_members(properties, "A credential");
        if (const auto* refusal = std::get_if<Refusal>(&members)) return damaged(refusal->message);
        hub.credentials[platform] = std::get<std::map<std::string, std::string>>(members);
    }
    for (const json& rule : rules) {
        if (!rule.is_object()) return damaged("a rule is not an object.");
        hub.rules.push_back({text(rule, "name"), text(rule, "primaryKey"),
                             text(rule, "secondaryKey"), flag(rule, "listen"), flag(rule, "send"),
                             flag(rule, "manage"), integer(rule, "createdAtMs", 0),
                             integer(rule, "modifiedAtMs", 0)});
    }
    return hub;
}

}  // namespace hub
