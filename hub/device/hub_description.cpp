// Tested by tests/hub_description_test.cpp. The stored form is in hub_description_json.cpp.
//
// Reading takes credentials, rules and the TTL from the description; the row of its platform in
// pns/platforms.cpp names the properties of a credential, and hub/api/hubs.cpp has it checked.
// Writing puts the elements in the order of the .NET SDK and returns secrets as they were written,
// since SDKs compare them. Nothing of a description may reach the log.
#include "hub/device/hub_description.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <set>
#include <span>
#include <utility>

#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "hub/text/xml.hpp"
#include "pns/platform.hpp"
#include "tagexpr/utf8.hpp"

namespace hub {
namespace {

constexpr std::size_t user_metadata_bytes_max = 4096;

/// Children of a description besides credentials. What Azure counts means nothing here.
constexpr std::array<std::string_view, 8> known_elements = {
    "RegistrationTtl",       "AuthorizationRules",
    "UserMetadata",          "Status",
    "PushesPerSecond",       "DailyOperations",
    "DailyMaxActiveDevices", "DailyMaxActiveRegistrations"};

/// Children of a rule; some say nothing here, and are what a description read from Azure has.
constexpr std::array<std::string_view, 10> rule_elements = {
    "IssuerName",   "ClaimType", "ClaimValue", "Rights",     "CreatedTime",
    "ModifiedTime", "Revision",  "KeyName",    "PrimaryKey", "SecondaryKey"};

constexpr std::array<std::string_view, 2> property_elements = {"Name", "Value"};

std::optional<Refusal> unknown_element(const pugi::xml_node& node, std::string_view inside) {
    return bad_request("The element '" + shown(local_name(node)) + "' of " + std::string(inside) +
                       " is unknown.");
}

/// Refuses a child that is not known, or is there twice: what it says would be lost, and with a key
/// or a secret that is seen only much later.
std::optional<Refusal> check_children(const pugi::xml_node& node,
                                      std::span<const std::string_view> known) {
    for (const pugi::xml_node& child : node.children()) {
        if (child.type() != pugi::node_element) continue;
        const bool says_nothing = is_nil(child) || !child.first_child();
        if (!says_nothing &&
            std::find(known.begin(), known.end(), local_name(child)) == known.end())
            return unknown_element(child, local_name(node));
    }
    return check_no_child_twice(node);
}

using CredentialProperties = std::map<std::string, std::string>;

/// Names ignore case: Azure itself answers `PrivateKey` and, newer, `privateKey`.
std::optional<Refusal> read_property(const pugi::xml_node& node, const pns::Platform& platform,
                                     CredentialProperties& out) {
    if (auto refusal = check_children(node, property_elements)) return refusal;
    const std::string given = child_text(node, "Name").value_or(std::string());
    if (given.empty() || !child_element(node, "Value")) {
        return bad_request("A Property of " + std::string(platform.credential) +
                           " needs a Name and a Value.");
    }
    const auto value = child_text(node, "Value");
    if (!value || *value == "null") return std::nullopt;
    const auto name = std::find_if(platform.properties.begin(), platform.properties.end(),
                                   [&](auto known) { return same_ignoring_case(known, given); });
    if (name == platform.properties.end()) {
        std::string known;
        for (const std::string_view one : platform.properties)
            known.append(known.empty() ? "" : ", ").append(one);
        return bad_request("The property '" + shown(given) + "' of " +
                           std::string(platform.credential) + " is unknown; it may have " + known +
                           ".");
    }
    if (!out.emplace(*name, *value).second)
        return bad_request("The property " + std::string(*name) + " of " +
                           std::string(platform.credential) + " occurs twice.");
    return std::nullopt;
}

std::optional<Refusal> read_credential(const pugi::xml_node& credential,
                                       const pns::Platform& platform, CredentialProperties& out) {
    if (auto refusal = check_no_child_twice(credential)) return refusal;
    for (const pugi::xml_node& list : credential.children()) {
        if (list.type() != pugi::node_element || local_name(list) == "BlockedOn") continue;
        if (local_name(list) != "Properties") return unknown_element(list, platform.credential);
        for (const pugi::xml_node& node : list.children()) {
            if (node.type() != pugi::node_element) continue;
            if (local_name(node) != "Property") return unknown_element(node, platform.credential);
            if (auto refusal = read_property(node, platform, out)) return refusal;
        }
    }
    return std::nullopt;
}

/// A credential that is there has an entry, with properties or without. What is not known is
/// refused: a secret that nobody keeps would be missed when the first send fails.
std::optional<Refusal> read_credentials(const pugi::xml_node& description, HubDescription& hub) {
    for (const pugi::xml_node& node : description.children()) {
        if (node.type() != pugi::node_element || is_nil(node)) continue;
        const auto& all = pns::platforms();
        const auto platform = std::find_if(all.begin(), all.end(), [&](const pns::Platform& row) {
            return same_ignoring_case(row.credential, local_name(node));
        });
        if (platform != all.end()) {
            const auto [entry, is_new] = hub.credentials.try_emplace(std::string(platform->name));
            if (!is_new)
                return bad_request("The element " + std::string(platform->credential) +
                                   " occurs twice.");
            if (auto refusal = read_credential(node, *platform, entry->second)) return refusal;
            continue;
        }
        const bool known = std::find(known_elements.begin(), known_elements.end(),
                                     local_name(node)) != known_elements.end();
        if (!known && node.first_child())
            return unknown_element(node, "NotificationHubDescription");
    }
    return std::nullopt;
}

std::optional<Refusal> read_rights(const pugi::xml_node& node, Rule& rule) {
    for (const pugi::xml_node& right : child_element(node, "Rights").children()) {
        if (right.type() != pugi::node_element) continue;
        if (local_name(right) != "AccessRights") return unknown_element(right, "Rights");
        const std::string name = text_of(right);
        if (name == "Listen")
            rule.listen = true;
        else if (name == "Send")
            rule.send = true;
        else if (name == "Manage")
            rule.manage = true;
        else
            return bad_request("The access right '" + shown(name) +
                               "' is unknown; use Listen, Send or Manage.");
    }
    if (rule.manage && (!rule.listen || !rule.send))
        return bad_request("The rule '" + shown(rule.name) +
                           "' has Manage and must also have Listen and Send.");
    if (!rule.listen && !rule.send)
        return bad_request("The rule '" + shown(rule.name) + "' has no rights.");
    return std::nullopt;
}

std::int64_t time_or_zero(const pugi::xml_node& node, std::string_view name) {
    const auto text = child_text(node, name);
    const auto time_ms = text ? parse_time_ms(*text) : std::nullopt;
    return time_ms && *time_ms > 0 ? *time_ms : 0;
}

bool is_key(std::string_view key) {
    return key.size() <= rule_key_bytes_max &&
           std::all_of(key.begin(), key.end(), [](char c) { return c > ' ' && c < 0x7F; });
}

Parsed<Rule> read_rule(const pugi::xml_node& node) {
    Rule rule;
    if (local_name(node) != "AuthorizationRule")
        return *unknown_element(node, "AuthorizationRules");
    if (auto refusal = check_children(node, rule_elements)) return std::move(*refusal);
    rule.name = child_text(node, "KeyName").value_or(std::string());
    const bool printable = std::all_of(rule.name.begin(), rule.name.end(), [](char c) {
        return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F;
    });
    if (rule.name.empty() || !printable ||
        tagexpr::utf8_count(rule.name) > rule_name_characters_max)
        return bad_request("The KeyName of an authorization rule must have 1 to " +
                           std::to_string(rule_name_characters_max) + " printable characters.");
    for (const auto& [element, key] : {std::pair{"PrimaryKey", &rule.primary_key},
                                       std::pair{"SecondaryKey", &rule.secondary_key}}) {
        *key = child_text(node, element).value_or(std::string());
        if (*key == "null") key->clear();
        if (!is_key(*key))
            return bad_request(std::string("The ") + element + " of the rule '" + shown(rule.name) +
                               "' has illegal characters or is too long.");
    }
    if (auto refusal = read_rights(node, rule)) return std::move(*refusal);
    rule.created_at_ms = time_or_zero(node, "CreatedTime");
    rule.modified_at_ms = time_or_zero(node, "ModifiedTime");
    return rule;
}

std::optional<Refusal> read_rules(const pugi::xml_node& list, std::vector<Rule>& rules) {
    std::set<std::string> names;
    for (const pugi::xml_node& node : list.children()) {
        if (node.type() != pugi::node_element) continue;
        if (rules.size() == rules_max)
            return bad_request("A hub has at most " + std::to_string(rules_max) +
                               " authorization rules.");
        auto rule = read_rule(node);
        if (auto* refusal = std::get_if<Refusal>(&rule)) return std::move(*refusal);
        rules.push_back(std::get<Rule>(std::move(rule)));
        if (!names.insert(rules.back().name).second)
            return bad_request("The rule '" + shown(rules.back().name) + "' occurs twice.");
    }
    return std::nullopt;
}

void append_credential(std::string& out, const HubDescription& hub, const pns::Platform& platform) {
    const auto found = hub.credentials.find(std::string(platform.name));
    if (found == hub.credentials.end() || platform.credential.empty()) return;
    out.append("<").append(platform.credential).append("><Properties>");
    for (const std::string_view name : platform.properties) {
        const auto property = found->second.find(std::string(name));
        if (property == found->second.end()) continue;
        out += "<Property>";
        append_element(out, "Name", name);
        append_element(out, "Value", property->second);
        out += "</Property>";
    }
    out.append("</Properties></").append(platform.credential).append(">");
}

void append_rule(std::string& out, const Rule& rule) {
    out +=
        "<AuthorizationRule i:type=\"SharedAccessAuthorizationRule\">"
        "<ClaimType>SharedAccessKey</ClaimType><ClaimValue>None</ClaimValue><Rights>";
    if (rule.listen) append_element(out, "AccessRights", "Listen");
    if (rule.manage) append_element(out, "AccessRights", "Manage");
    if (rule.send) append_element(out, "AccessRights", "Send");
    out += "</Rights>";
    append_element(out, "CreatedTime", iso_ms(rule.created_at_ms));
    append_element(out, "ModifiedTime", iso_ms(rule.modified_at_ms));
    append_element(out, "KeyName", rule.name);
    append_element(out, "PrimaryKey", rule.primary_key);
    append_element(out, "SecondaryKey", rule.secondary_key);
    out += "</AuthorizationRule>";
}

/// Is the hub disabled? SDKs write `true` and `false` or leave it out; the words of the management
/// plane mean the same.
Parsed<bool> read_status(std::string_view text) {
    const std::string status = lower(trimmed(text));
    if (status == "true" || status == "disabled") return true;
    if (status.empty() || status == "null" || status == "false" || status == "active" ||
        status == "enabled")
        return false;
    return bad_request("The Status '" + shown(text) +
                       "' is unknown; true means disabled, false means active.");
}

}  // namespace

Parsed<HubDescription> parse_hub_description(std::string_view body) {
    pugi::xml_document document;
    if (auto refusal = read_xml(body, document)) return std::move(*refusal);
    const auto described = described_element(document);
    if (!ok(described)) return std::get<Refusal>(described);
    const auto node = std::get<pugi::xml_node>(described);
    HubDescription hub;
    hub.name = child_text(first_element(document), "title").value_or(std::string());
    if (local_name(node) != "NotificationHubDescription")
        return invalid_description("The element <" + shown(local_name(node)) +
                                   "> is no NotificationHubDescription.");
    if (auto refusal = check_no_child_twice(node)) return std::move(*refusal);
    if (auto refusal = read_credentials(node, hub)) return std::move(*refusal);
    const auto ttl = child_text(node, "RegistrationTtl");
    if (ttl && !trimmed(*ttl).empty() && *ttl != "null") {
        const auto ttl_ms = parse_duration_ms(*ttl);
        if (!ttl_ms)
            return bad_request("RegistrationTtl must be an ISO 8601 duration such as P30D.");
        if (*ttl_ms < registration_ttl_ms_min)
            return bad_request("RegistrationTtl must be at least one day.");
        hub.registration_ttl_ms = *ttl_ms;
    }
    if (auto refusal = read_rules(child_element(node, "AuthorizationRules"), hub.rules))
        return std::move(*refusal);
    hub.user_metadata = child_text(node, "UserMetadata").value_or(std::string());
    if (hub.user_metadata == "null") hub.user_metadata.clear();
    if (hub.user_metadata.size() > user_metadata_bytes_max)
        return bad_request("UserMetadata is longer than " +
                           std::to_string(user_metadata_bytes_max) + " bytes.");
    const std::string rate(trimmed(child_text(node, "PushesPerSecond").value_or(std::string("0"))));
    const auto [end, failure] =
        std::from_chars(rate.data(), rate.data() + rate.size(), hub.pushes_per_s);
    if (failure != std::errc() || end != rate.data() + rate.size() ||
        hub.pushes_per_s > pushes_per_s_max) {
        return bad_request("PushesPerSecond must be a whole number from 0 (no limit) to " +
                           std::to_string(pushes_per_s_max) + ".");
    }
    const auto disabled = read_status(child_text(node, "Status").value_or(std::string()));
    if (!ok(disabled)) return std::get<Refusal>(disabled);
    hub.disabled = std::get<bool>(disabled);
    return hub;
}

void complete_rules(HubDescription& hub, const std::function<std::string()>& new_key,
                    std::int64_t now_ms) {
    if (hub.rules.empty()) {
        hub.rules.push_back(
            {"DefaultListenSharedAccessSignature", {}, {}, true, false, false, 0, 0});
        hub.rules.push_back({"DefaultFullSharedAccessSignature", {}, {}, true, true, true, 0, 0});
    }
    for (Rule& rule : hub.rules) {
        if (rule.primary_key.empty()) rule.primary_key = new_key();
        if (rule.secondary_key.empty()) rule.secondary_key = new_key();
        if (rule.created_at_ms == 0) rule.created_at_ms = now_ms;
        if (rule.modified_at_ms == 0) rule.modified_at_ms = now_ms;
    }
}

std::string hub_description_xml(const HubDescription& hub) {
    std::string out =
        "<NotificationHubDescription "
        "xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\" "
        "xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\">";
    // .NET reads the members it knows in this order; platforms it does not know come last.
    std::set<std::string_view> written;
    const auto append = [&](std::string_view name) {
        written.insert(name);
        append_credential(out, hub, *pns::platform_by_name(name));
    };
    append("apns");
    append_element(out, "RegistrationTtl", duration_text(hub.registration_ttl_ms));
    append("wns");
    if (!hub.rules.empty()) {
        out += "<AuthorizationRules>";
        for (const Rule& rule : hub.rules) append_rule(out, rule);
        out += "</AuthorizationRules>";
    }
    append("gcm");
    append("mpns");
    if (!hub.user_metadata.empty()) append_element(out, "UserMetadata", hub.user_metadata);
    append("adm");
    append("baidu");
    if (hub.disabled) append_element(out, "Status", "true");
    if (hub.pushes_per_s != 0)
        append_element(out, "PushesPerSecond", std::to_string(hub.pushes_per_s));
    append("fcmv1");
    append("browser");
    for (const pns::Platform& platform : pns::platforms()) {
        if (!written.contains(platform.name)) append(platform.name);
    }
    return out + "</NotificationHubDescription>";
}

}  // namespace hub
