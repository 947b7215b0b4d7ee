// Tested by tests/hub_installation_test.cpp.
//
// Reading goes member by member and names the first one that is wrong; unknown members are
// skipped, `null` counts as absent. check_installation() is what PUT and PATCH share: tags,
// templates, sizes. Writing keeps the order of the contract. The JSON parser has no depth bound of
// its own, so depth is checked before it runs.
#include "hub/device/installation_json.hpp"

#include <nlohmann/json.hpp>
#include <utility>

#include "hub/device/tags.hpp"
#include "hub/template/templates.hpp"
#include "hub/text/json_text.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "pns/platform.hpp"
#include "tagexpr/utf8.hpp"

namespace hub {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

/// A member that is there and not null.
const json* member_of(const json& object, std::string_view name) {
    const json* found = find_member(object, name);
    return found == nullptr || found->is_null() ? nullptr : found;
}

/// A string member; absent gives an empty string.
std::optional<Refusal> text_member(const json& object, const char* name, std::string& value) {
    const json* found = member_of(object, name);
    if (found == nullptr) return std::nullopt;
    if (!found->is_string())
        return bad_request(std::string("The member '") + name + "' must be a string.");
    value = found->get<std::string>();
    return std::nullopt;
}

std::string platform_names() {
    std::string names;
    for (const pns::Platform& platform : pns::platforms()) {
        if (!names.empty()) names += ", ";
        names += platform.name;
    }
    return names;
}

template <class T, class Read>
std::optional<Refusal> read_map(const json& object, const char* name, std::size_t count_max,
                                std::map<std::string, T>& into, Read&& read) {
    const json* found = member_of(object, name);
    if (found == nullptr) return std::nullopt;
    if (!found->is_object())
        return bad_request(std::string("The member '") + name + "' must be an object.");
    if (found->size() > count_max)
        return bad_request(std::string("The member '") + name + "' has more than " +
                           std::to_string(count_max) + " entries.");
    for (const auto& [key, value] : found->items()) {
        if (value.is_null()) continue;
        auto parsed = read(value, key);
        if (auto* refusal = std::get_if<Refusal>(&parsed)) return std::move(*refusal);
        into.emplace(key, std::get<T>(std::move(parsed)));
    }
    return std::nullopt;
}

std::optional<Refusal> read_variables(const json& object,
                                      std::map<std::string, std::string>& into) {
    const json* found = member_of(object, "pushVariables");
    if (found == nullptr) return std::nullopt;
    auto members = string_members(*found, "The member 'pushVariables'");
    if (auto* refusal = std::get_if<Refusal>(&members)) return std::move(*refusal);
    into = std::get<std::map<std::string, std::string>>(std::move(members));
    return std::nullopt;
}

std::optional<Refusal> read_tag_member(const json& object, std::vector<std::string>& into) {
    const json* found = member_of(object, "tags");
    if (found == nullptr) return std::nullopt;
    auto tags = read_tags(*found, "The member 'tags'");
    if (auto* refusal = std::get_if<Refusal>(&tags)) return std::move(*refusal);
    into = std::get<std::vector<std::string>>(std::move(tags));
    return std::nullopt;
}

Parsed<registry::Template> named_template(const json& value, const std::string& name) {
    return read_template(value, name);
}

class Reader {
  public:
    Reader(const json& object, std::string_view id, const NormaliseHandle& normalise,
           BadTemplates bad)
        : object_(object), normalise_(normalise), bad_templates_(bad) {
        out_.id = id;
    }

    Parsed<registry::Installation> run() {
        auto refusal = ids();
        if (!refusal) refusal = platform();
        if (!refusal) refusal = channel();
        if (!refusal) refusal = expiration();
        if (!refusal) refusal = read_tag_member(object_, out_.tags);
        if (!refusal) refusal = read_variables(object_, out_.push_variables);
        if (!refusal)
            refusal = read_map(object_, "templates", installation_templates_max, out_.templates,
                               named_template);
        if (!refusal) refusal = tiles();
        if (!refusal) refusal = check_installation(out_, bad_templates_);
        if (refusal) return std::move(*refusal);
        return std::move(out_);
    }

  private:
    std::optional<Refusal> ids() {
        std::string id;
        if (auto refusal = text_member(object_, "installationId", id)) return refusal;
        if (!id.empty() && id != out_.id)
            return bad_request("The installationId of the body differs from the one in the URL.");
        return text_member(object_, "userId", out_.user_id);
    }

    std::optional<Refusal> platform() {
        std::string name;
        if (auto refusal = text_member(object_, "platform", name)) return refusal;
        if (name.empty()) return bad_request("The member 'platform' is missing.");
        const pns::Platform* row = pns::platform_by_name(name);
        if (row == nullptr)
            return bad_request("The platform '" + shown(name) + "' is unknown; use one of " +
                               platform_names() + ".");
        out_.platform = row->name;
        return std::nullopt;
    }

    std::optional<Refusal> channel() {
        const json* found = member_of(object_, "pushChannel");
        if (found == nullptr) return bad_request("The member 'pushChannel' is missing.");
        auto handle =
            read_push_channel(*found, out_.platform, normalise_, out_.push_channel_is_object);
        if (auto* refusal = std::get_if<Refusal>(&handle)) return std::move(*refusal);
        out_.push_channel = std::get<std::string>(std::move(handle));
        return std::nullopt;
    }

    std::optional<Refusal> expiration() {
        const json* found = member_of(object_, "expirationTime");
        return found == nullptr ? std::nullopt : read_expiration(*found, out_);
    }

    std::optional<Refusal> tiles() {
        return read_map(
            object_, "secondaryTiles", installation_tiles_max, out_.secondary_tiles,
            [&](const json& value, const std::string&) { return read_tile(value, normalise_); });
    }

    const json& object_;
    const NormaliseHandle& normalise_;
    const BadTemplates bad_templates_;
    registry::Installation out_;
};

std::optional<Refusal> check_templates(std::string_view platform,
                                       const std::map<std::string, registry::Template>& templates,
                                       BadTemplates bad) {
    if (auto refusal = check_template_count(templates.size())) return refusal;
    for (const auto& [name, source] : templates) {
        if (name.empty()) return bad_request("A template name must not be empty.");
        if (name.front() == '$' || name.find(',') != std::string::npos)
            return bad_request("Template '" + shown(name) +
                               "' is invalid: its name is a tag too and must neither start with $ "
                               "nor contain a comma.");
        if (auto refusal = check_template(source)) return refusal;
        if (bad == BadTemplates::refused) {
            const auto compiled = compile_template(platform, source);
            if (const auto* refusal = std::get_if<Refusal>(&compiled)) return *refusal;
        }
        if (auto refusal = check_tags(source.tags)) return refusal;
    }
    return std::nullopt;
}

std::size_t bytes_of(const std::vector<std::string>& tags) {
    std::size_t bytes = 0;
    for (const std::string& tag : tags) bytes += tag.size();
    return bytes;
}

std::size_t bytes_of(const std::map<std::string, registry::Template>& templates) {
    std::size_t bytes = 0;
    for (const auto& [name, source] : templates) {
        bytes += name.size() + source.body.size() + source.expiry.size() + bytes_of(source.tags);
        for (const auto& [header, value] : source.headers) bytes += header.size() + value.size();
    }
    return bytes;
}

/// PUT is bounded by its body; this holds a PATCH after the other to the same bound.
std::optional<Refusal> check_size(const registry::Installation& installation) {
    std::size_t bytes = bytes_of(installation.tags) + bytes_of(installation.templates);
    for (const auto& [tile_id, tile] : installation.secondary_tiles) {
        bytes += tile_id.size() + tile.push_channel.size() + bytes_of(tile.tags) +
                 bytes_of(tile.templates);
    }
    for (const auto& [name, value] : installation.push_variables)
        bytes += name.size() + value.size();
    if (bytes <= json_bytes_max) return std::nullopt;
    return Refusal{413, "The installation has more than " + std::to_string(json_bytes_max) +
                            " bytes of tags, templates, tiles and push variables."};
}

ordered_json template_value(std::string_view platform, const registry::Template& source) {
    ordered_json out = {{"body", source.body}};
    for (const auto& [name, value] : source.headers) out["headers"][name] = value;
    if (!source.expiry.empty()) out["expiry"] = source.expiry;
    if (!source.tags.empty()) out["tags"] = source.tags;
    const auto compiled = compile_template(platform, source);
    if (const auto* why = std::get_if<Refusal>(&compiled)) out["unsendable"] = why->message;
    return out;
}

ordered_json tile_value(const registry::SecondaryTile& tile) {
    ordered_json out = {{"pushChannel", tile.push_channel},
                        {"pushChannelExpired", tile.push_channel_expired}};
    if (!tile.tags.empty()) out["tags"] = tile.tags;
    for (const auto& [name, source] : tile.templates)
        out["templates"][name] = template_value("wns", source);
    return out;
}

json names_lower(const json& value) {
    if (!value.is_object()) return value;
    json out = json::object();
    for (const auto& [name, inner] : value.items()) out.emplace(lower(name), names_lower(inner));
    return out;
}

}  // namespace

const json* find_member(const json& object, std::string_view name) {
    auto found = object.find(name);
    for (auto each = object.begin(); found == object.end() && each != object.end(); ++each) {
        if (same_ignoring_case(each.key(), name)) found = each;
    }
    return found == object.end() ? nullptr : &*found;
}

Parsed<std::string> read_push_channel(const json& value, std::string_view platform,
                                      const NormaliseHandle& normalise, bool& is_object) {
    is_object = value.is_object();
    if (is_object && platform == "browser") return normalise(platform, names_lower(value).dump());
    if (!value.is_string() || value.get_ref<const std::string&>().empty())
        return bad_request("The member 'pushChannel' must be a non-empty string" +
                           std::string(platform == "browser" ? " or an object." : "."));
    // Its parser has no depth bound of its own.
    const std::string& text = value.get_ref<const std::string&>();
    if (platform == "browser") {
        if (auto refusal = check_json(text, "The member 'pushChannel'")) return std::move(*refusal);
    }
    return normalise(platform, text);
}

Parsed<registry::Template> read_template(const json& value, std::string name) {
    if (!value.is_object())
        return bad_request("The template '" + shown(name) + "' must be an object.");
    registry::Template out;
    out.name = std::move(name);
    if (auto refusal = text_member(value, "body", out.body)) return std::move(*refusal);
    if (auto refusal = text_member(value, "expiry", out.expiry)) return std::move(*refusal);
    if (auto refusal = read_tag_member(value, out.tags)) return std::move(*refusal);
    if (const json* headers = member_of(value, "headers")) {
        auto members =
            string_members(*headers, "The headers of template '" + shown(out.name) + "'");
        if (auto* refusal = std::get_if<Refusal>(&members)) return std::move(*refusal);
        for (auto& [header, text] : std::get<std::map<std::string, std::string>>(members))
            out.headers.emplace_back(header, std::move(text));
    }
    return out;
}

Parsed<registry::SecondaryTile> read_tile(const json& value, const NormaliseHandle& normalise) {
    if (!value.is_object()) return bad_request("A secondary tile must be an object.");
    registry::SecondaryTile out;
    const json* channel = member_of(value, "pushChannel");
    if (channel == nullptr)
        return bad_request("The member 'pushChannel' of a secondary tile is missing.");
    bool is_object = false;
    auto handle = read_push_channel(*channel, "wns", normalise, is_object);
    if (auto* refusal = std::get_if<Refusal>(&handle)) return std::move(*refusal);
    out.push_channel = std::get<std::string>(std::move(handle));
    if (auto refusal = read_tag_member(value, out.tags)) return std::move(*refusal);
    if (auto refusal =
            read_map(value, "templates", installation_templates_max, out.templates, named_template))
        return std::move(*refusal);
    return out;
}

Parsed<std::vector<std::string>> read_tags(const json& value, std::string_view what) {
    if (!value.is_array()) return bad_request(std::string(what) + " must be an array of strings.");
    // The joined length bounds the count.
    if (value.size() > tags_joined_bytes_max / 2)
        return bad_request(std::string(what) + " has too many entries.");
    std::vector<std::string> tags;
    for (const json& tag : value) {
        if (tag.is_null()) continue;
        if (!tag.is_string()) return bad_request(std::string(what) + " must hold only strings.");
        tags.emplace_back(trimmed(tag.get_ref<const std::string&>()));
    }
    keep_first_of_each(tags);
    return tags;
}

std::optional<Refusal> read_expiration(const json& value, registry::Installation& into) {
    into.expires_at_ms = registry::never_ms;
    into.expires_ticks = 0;
    if (value.is_null()) return std::nullopt;
    const auto text = value.is_string() ? value.get<std::string>() : std::string();
    const auto time = parse_time_ms(text);
    if (!time) return bad_request("The member 'expirationTime' must be an ISO 8601 date and time.");
    into.expires_at_ms = *time;
    if (*time != registry::never_ms) into.expires_ticks = ticks_behind_ms(text);
    return std::nullopt;
}

std::optional<Refusal> check_installation(const registry::Installation& installation,
                                          BadTemplates bad) {
    if (auto refusal = check_id("installationId", installation.id)) return refusal;
    if (!installation.user_id.empty()) {
        if (auto refusal = check_id("userId", installation.user_id)) return refusal;
    }
    if (auto refusal = check_tags(installation.tags)) return refusal;
    if (auto refusal = check_variable_count(installation.push_variables.size())) return refusal;
    if (auto refusal = check_size(installation)) return refusal;
    if (auto refusal = check_templates(installation.platform, installation.templates, bad))
        return refusal;
    if (!installation.secondary_tiles.empty() && installation.platform != "wns")
        return bad_request("The member 'secondaryTiles' is only possible on the platform wns.");
    if (auto refusal = check_tile_count(installation.secondary_tiles.size())) return refusal;
    for (const auto& [tile_id, tile] : installation.secondary_tiles) {
        if (tile_id.empty()) return bad_request("A secondary tile id must not be empty.");
        if (tile.push_channel.empty())
            return bad_request("The secondary tile '" + shown(tile_id) + "' has no pushChannel.");
        if (auto refusal = check_tags(tile.tags)) return refusal;
        if (auto refusal = check_templates("wns", tile.templates, bad)) return refusal;
    }
    return std::nullopt;
}

namespace {

std::optional<Refusal> check_count(std::size_t count, std::size_t count_max,
                                   std::string_view what) {
    if (count <= count_max) return std::nullopt;
    return bad_request("The installation has more than " + std::to_string(count_max) + " " +
                       std::string(what) + ".");
}

}  // namespace

std::optional<Refusal> check_template_count(std::size_t count) {
    return check_count(count, installation_templates_max, "templates");
}

std::optional<Refusal> check_tile_count(std::size_t count) {
    return check_count(count, installation_tiles_max, "secondary tiles");
}

std::optional<Refusal> check_variable_count(std::size_t count) {
    return check_count(count, push_variables_max, "push variables");
}

Parsed<registry::Installation> parse_installation(std::string_view body, std::string_view id,
                                                  const NormaliseHandle& normalise,
                                                  BadTemplates bad) {
    const auto value = read_json(body, "The body");
    if (const auto* refusal = std::get_if<Refusal>(&value)) return *refusal;
    if (!std::get<json>(value).is_object())
        return bad_request("The body must be a JSON object: an installation.");
    return Reader(std::get<json>(value), id, normalise, bad).run();
}

std::string installation_json(const registry::Installation& installation) {
    ordered_json out;
    out["installationId"] = installation.id;
    out["pushChannel"] = installation.push_channel;
    if (installation.push_channel_is_object) {
        auto object = ordered_json::parse(installation.push_channel, nullptr, false);
        if (object.is_object()) out["pushChannel"] = std::move(object);
    }
    out["pushChannelExpired"] = installation.push_channel_expired;
    out["platform"] = installation.platform;
    out["expirationTime"] = iso_ticks(installation.expires_at_ms, installation.expires_ticks);
    if (!installation.user_id.empty()) out["userId"] = installation.user_id;
    if (!installation.tags.empty()) out["tags"] = installation.tags;
    if (!installation.push_variables.empty()) out["pushVariables"] = installation.push_variables;
    for (const auto& [name, source] : installation.templates)
        out["templates"][name] = template_value(installation.platform, source);
    for (const auto& [tile_id, tile] : installation.secondary_tiles)
        out["secondaryTiles"][tile_id] = tile_value(tile);
    return out.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace hub
