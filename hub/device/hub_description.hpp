#pragma once

// A hub's settings: as NotificationHubDescription on the wire (docs/contracts/anh.md 10.1) and as
// the JSON text that the registry keeps. Pure, any thread. Credentials and keys are in clear here
// and must not be logged.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "hub/access/sas.hpp"
#include "hub/text/wire_error.hpp"
#include "registry/registration.hpp"

namespace hub {

constexpr std::size_t rules_max = 12;
constexpr std::size_t rule_name_characters_max = 256;
constexpr std::size_t rule_key_bytes_max = 256;
constexpr std::uint32_t pushes_per_s_max = 10'000'000;
constexpr std::int64_t registration_ttl_ms_min = 86'400'000;

struct HubDescription {
    std::string name;  ///< not part of the XML: the entry's title
    /// Keyed by stored platform name. Property names are those of 10.1, and only those that were
    /// written are here: MPNS works without any.
    std::map<std::string, std::map<std::string, std::string>> credentials;
    std::int64_t registration_ttl_ms = registry::never_ms;
    std::vector<Rule> rules;
    std::string user_metadata;
    bool disabled = false;
    /// pushhub's own: what all sends of the hub may push together; 0 = no limit.
    std::uint32_t pushes_per_s = 0;
    std::int64_t created_at_ms = 0;
    std::int64_t updated_at_ms = 0;
    friend bool operator==(const HubDescription&, const HubDescription&) = default;
};

/// Body of PUT /<hub>. Names of properties and credentials ignore case; elements and properties
/// that are not known are refused by name. Java's text `null` is an absent value. Empty `rules`
/// means the client named none. Keys a rule leaves out stay empty.
Parsed<HubDescription> parse_hub_description(std::string_view body);

/// Gives every rule its missing keys and times; a hub without rules gets the two default rules.
/// `new_key` gives a fresh base64 text of 32 random bytes.
void complete_rules(HubDescription& hub, const std::function<std::string()>& new_key,
                    std::int64_t now_ms);

/// The NotificationHubDescription element, children in the order of 10.1; secrets in clear, as the
/// contract has it.
std::string hub_description_xml(const HubDescription& hub);

/// The stored form. Reading refuses with 500: such bytes came from us.
std::string hub_description_json(const HubDescription& hub);
Parsed<HubDescription> read_hub_description_json(std::string_view json);

}  // namespace hub
