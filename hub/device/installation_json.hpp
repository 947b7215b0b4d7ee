#pragma once

// Installations as JSON (docs/contracts/anh.md 4.1, 4.2). Pure, any thread.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "hub/device/handle_check.hpp"
#include "hub/text/wire_error.hpp"
#include "registry/registration.hpp"

namespace hub {

constexpr std::size_t installation_templates_max = 64;
constexpr std::size_t installation_tiles_max = 64;
constexpr std::size_t push_variables_max = 256;

/// What becomes of a template that its platform cannot send: it is kept, and its pushes end as
/// InvalidNotificationFormat, or the installation is refused.
enum class BadTemplates : std::uint8_t { kept, refused };

/// The body of a PUT. `id` is the URL's; a different one in the body is refused. Names of members
/// ignore case. Times other than the expiry and the version are left to the caller.
Parsed<registry::Installation> parse_installation(std::string_view body, std::string_view id,
                                                  const NormaliseHandle& normalise,
                                                  BadTemplates bad = BadTemplates::refused);

/// The body of a GET: absent things omitted, `pushChannelExpired` and `expirationTime` always
/// there. A template that cannot be sent has the reason in `unsendable`.
std::string installation_json(const registry::Installation& installation);

// --- parts of an installation, shared with hub/device/installation_patch.cpp ---

/// A handle as text, or for browsers also as an object. `is_object` says which.
Parsed<std::string> read_push_channel(const nlohmann::json& value, std::string_view platform,
                                      const NormaliseHandle& normalise, bool& is_object);
/// `{body, headers, expiry, tags}`; not yet compiled: check_installation() does that.
Parsed<registry::Template> read_template(const nlohmann::json& value, std::string name);
Parsed<registry::SecondaryTile> read_tile(const nlohmann::json& value,
                                          const NormaliseHandle& normalise);
Parsed<std::vector<std::string>> read_tags(const nlohmann::json& value, std::string_view what);
/// A date, or null for never; becomes the end of `into`.
std::optional<Refusal> read_expiration(const nlohmann::json& value, registry::Installation& into);

/// Every rule that holds for the installation as a whole: ids, tags, templates, counts, platform.
std::optional<Refusal> check_installation(const registry::Installation& installation,
                                          BadTemplates bad);
/// The counts that it may have; a patch asks at each operation that adds one.
std::optional<Refusal> check_template_count(std::size_t count);
std::optional<Refusal> check_tile_count(std::size_t count);
std::optional<Refusal> check_variable_count(std::size_t count);
/// The member of that name, ignoring case; null if there is none.
const nlohmann::json* find_member(const nlohmann::json& object, std::string_view name);

}  // namespace hub
