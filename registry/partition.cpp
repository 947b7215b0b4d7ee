// Ids lead to partitions by hash, or by the number that a generated id carries. expand() gives the
// parts of an installation: one for its channel, one for each template, and the same for its
// tiles. to_registration() is the way back, from a row to what clients see. Values only: nothing
// reads the store.
#include "registry/partition.hpp"

#include <algorithm>
#include <charconv>

#include "tagexpr/expression.hpp"

namespace registry {
namespace {

void append_new(std::vector<std::string>& tags, const std::string& tag) {
    const std::string spelled = tagexpr::canonical_tag(tag);
    const bool known = std::any_of(tags.begin(), tags.end(), [&](const std::string& t) {
        return t.size() == spelled.size() && tagexpr::canonical_tag(t) == spelled;
    });
    if (!known) tags.push_back(tag);
}

std::vector<std::string> joined(std::vector<std::string> tags,
                                const std::vector<std::string>& more) {
    for (const std::string& tag : more) append_new(tags, tag);
    return tags;
}

/// One channel of an installation: the device itself or a secondary tile.
struct Channel {
    const std::string* tile;
    const std::string& handle;
    bool expired;
    std::vector<std::string> tags;
    const std::map<std::string, Template>& templates;
};

void expand_channel(const Installation& installation, const Channel& channel,
                    const std::string& variables, std::vector<Part>& parts) {
    Part native;
    native.name = part_name(channel.tile, nullptr);
    Row& row = native.tagged.row;
    row.registered_at_ms = installation.registered_at_ms;
    row.expires_at_ms = installation.expires_at_ms;
    row.channel_expired = channel.expired;
    row.platform = installation.platform;
    row.handle = channel.handle;
    row.installation_id = installation.id;
    row.part = native.name;
    if (channel.tile != nullptr) row.tile = *channel.tile;
    row.variables_bytes = variables;
    native.tagged.tags = channel.tags;
    for (const auto& [name, value] : channel.templates) {
        Part part = native;
        part.name = part.tagged.row.part = part_name(channel.tile, &name);
        Template body = value;
        body.name = name;
        body.tags.clear();  // they belong to the installation; equal bodies stay equal bytes
        part.tagged.row.template_bytes = encode_template(body);
        part.tagged.tags = joined(std::move(part.tagged.tags), value.tags);
        append_new(part.tagged.tags, name);
        parts.push_back(std::move(part));
    }
    parts.push_back(std::move(native));
}

}  // namespace

std::uint16_t partition_of(std::string_view id, std::uint16_t partitions) {
    return static_cast<std::uint16_t>(hash64(fold(id)) % partitions);
}

std::uint16_t partition_of_registration(std::string_view id, std::uint16_t partitions) {
    const std::size_t dash = id.rfind('-');
    if (dash != std::string_view::npos) {
        const char* const end = id.data() + id.size();
        std::uint32_t group = 0;
        const auto [stop, error] = std::from_chars(id.data() + dash + 1, end, group);
        if (error == std::errc() && stop == end && group >= 1 && group <= partitions) {
            return static_cast<std::uint16_t>(group - 1);
        }
    }
    return partition_of(id, partitions);
}

namespace {

std::optional<std::string_view> id_in(std::string_view tag, std::string_view head) {
    const bool named =
        tag.size() > head.size() && tag.back() == '}' && fold(tag.substr(0, head.size())) == head;
    if (!named) return std::nullopt;
    return tag.substr(head.size(), tag.size() - head.size() - 1);
}

}  // namespace

bool names_one(std::string_view tag) {
    return installation_named(tag).has_value() || user_named(tag).has_value();
}

std::optional<std::string_view> installation_named(std::string_view tag) {
    return id_in(tag, "$installationid:{");
}

std::optional<std::string_view> user_named(std::string_view tag) {
    return id_in(tag, "$userid:{");
}

std::vector<Part> expand(const Installation& installation) {
    std::vector<std::string> system{"$InstallationId:{" + installation.id + "}"};
    if (!installation.user_id.empty()) system.push_back("$UserId:{" + installation.user_id + "}");
    const std::string variables = encode_variables(installation.push_variables);
    std::vector<Part> parts;
    expand_channel(installation,
                   {nullptr, installation.push_channel, installation.push_channel_expired,
                    joined(system, installation.tags), installation.templates},
                   variables, parts);
    for (const auto& [id, tile] : installation.secondary_tiles) {
        expand_channel(installation,
                       {&id, tile.push_channel, tile.push_channel_expired,
                        joined(system, tile.tags), tile.templates},
                       variables, parts);
    }
    return parts;
}

Bitmap live_parts(const InstallationRecord& record) {
    Bitmap live;
    for (const Part& part : expand(record.value)) {
        if (part.tagged.row.channel_expired) continue;
        for (const auto& [name, number] : record.parts) {
            if (name == part.name) live.add(number);
        }
    }
    return live;
}

namespace {

/// Tags of the templates as the app wrote them, for the body of a part.
const Template* template_of(const Installation& owner, const Row& row, const std::string& name) {
    const auto* templates = &owner.templates;
    if (!row.tile.empty()) {
        const auto tile = owner.secondary_tiles.find(row.tile);
        if (tile == owner.secondary_tiles.end()) return nullptr;
        templates = &tile->second.templates;
    }
    const auto found = templates->find(name);
    return found == templates->end() ? nullptr : &found->second;
}

}  // namespace

Result<Registration> to_registration(const Row& row, const Installation* owner) {
    Registration value;
    value.id = row.registration_id;
    value.platform = row.platform;
    value.handle = row.handle;
    value.tags = row.tags;
    value.secondary_tile = row.tile;
    value.installation_id = row.installation_id;
    value.etag = row.etag;
    value.registered_at_ms = row.registered_at_ms;
    value.expires_at_ms = row.expires_at_ms;
    value.channel_expired = row.channel_expired;
    auto variables = decode_variables(row.variables_bytes);
    if (!variables) return variables.error();
    value.push_variables = std::move(*variables);
    if (!row.template_bytes.empty()) {
        auto body = decode_template(row.template_bytes);
        if (!body) return body.error();
        value.body = std::move(*body);
    }
    if (owner != nullptr) {
        value.etag = owner->version;
        value.registered_at_ms = owner->registered_at_ms;
        value.expires_at_ms = owner->expires_at_ms;
        for (Part& part : expand(*owner)) {
            if (part.name == row.part) value.tags = std::move(part.tagged.tags);
        }
        if (value.body) {
            const Template* written = template_of(*owner, row, value.body->name);
            if (written != nullptr) value.body->tags = written->tags;
        }
    }
    return value;
}

}  // namespace registry
