#pragma once

// What a hub should hold, written the obvious way with maps, and random changes that are made to a
// registry and to this model alike.

#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "registry/keys.hpp"
#include "tests/support/registry_fixture.hpp"

namespace registry_test {

/// Name of a registration that both sides know: its id, or installation, tile and template of a
/// part.
inline std::string name_of(const Registration& value) {
    if (value.installation_id.empty()) return value.id;
    return value.installation_id + "|" + value.secondary_tile + "|" +
           (value.body ? "t" + value.body->name : "");
}

/// Comparable: what the registry alone decides about parts is left out, tags become a canonical
/// set.
inline Registration comparable(Registration value) {
    if (!value.installation_id.empty()) {
        value.id.clear();
        value.etag = 0;
    }
    std::set<std::string> tags;
    for (const std::string& tag : value.tags) tags.insert(tagexpr::canonical_tag(tag));
    value.tags.assign(tags.begin(), tags.end());
    return value;
}

using Named = std::map<std::string, Registration>;

struct Model {
    std::map<std::string, Registration> plain;
    std::set<std::string> gone;
    std::map<std::string, Installation> installations;
    std::set<std::pair<std::string, std::string>> erased_natives;  ///< installation, tile

    void add_parts(const Installation& owner, const std::string& tile, const std::string& handle,
                   bool expired, const std::vector<std::string>& tags,
                   const std::map<std::string, Template>& templates, Named& all) const {
        Registration native;
        native.platform = owner.platform;
        native.handle = handle;
        native.tags = tags;
        native.tags.push_back("$InstallationId:{" + owner.id + "}");
        if (!owner.user_id.empty()) native.tags.push_back("$UserId:{" + owner.user_id + "}");
        native.push_variables = owner.push_variables;
        native.secondary_tile = tile;
        native.installation_id = owner.id;
        native.registered_at_ms = owner.registered_at_ms;
        native.expires_at_ms = owner.expires_at_ms;
        native.channel_expired = expired;
        for (const auto& [name, value] : templates) {
            Registration part = native;
            part.body = value;
            part.body->name = name;
            part.tags.insert(part.tags.end(), value.tags.begin(), value.tags.end());
            part.tags.push_back(name);
            all.emplace(name_of(part), comparable(part));
        }
        if (!erased_natives.contains({owner.id, tile})) {
            all.emplace(name_of(native), comparable(native));
        }
    }

    Named all() const {
        Named all;
        for (const auto& [id, value] : plain) all.emplace(id, comparable(value));
        for (const auto& [id, owner] : installations) {
            add_parts(owner, "", owner.push_channel, owner.push_channel_expired, owner.tags,
                      owner.templates, all);
            for (const auto& [name, tile] : owner.secondary_tiles) {
                add_parts(owner, name, tile.push_channel, tile.push_channel_expired, tile.tags,
                          tile.templates, all);
            }
        }
        return all;
    }

    /// A row of each channel with this handle.
    std::vector<Registration> holders(const std::string& platform,
                                      const std::string& handle) const {
        std::vector<Registration> found;
        std::set<std::pair<std::string, std::string>> channels;
        for (const auto& [name, value] : all()) {
            if (value.platform != platform || value.handle != handle) continue;
            const bool fresh = value.installation_id.empty() ||
                               channels.emplace(value.installation_id, value.secondary_tile).second;
            if (fresh) found.push_back(value);
        }
        return found;
    }

    void forget(const std::string& installation_id) {
        installations.erase(installation_id);
        std::erase_if(erased_natives, [&](const auto& e) { return e.first == installation_id; });
    }

    /// It expired or was retired: an id that was issued does not come again.
    void use_up(const Registration& value) {
        plain.erase(value.id);
        if (registry::is_issued_form(value.id)) gone.insert(value.id);
    }

    void erase(const Registration& value) {
        if (value.installation_id.empty()) {
            plain.erase(value.id);
            return;
        }
        Installation& owner = installations.at(value.installation_id);
        if (value.body) {
            auto& templates = value.secondary_tile.empty()
                                  ? owner.templates
                                  : owner.secondary_tiles.at(value.secondary_tile).templates;
            templates.erase(value.body->name);
        } else {
            erased_natives.emplace(owner.id, value.secondary_tile);
        }
        ++owner.version;
        bool any = false;
        for (const auto& [name, part] : all()) any |= part.installation_id == owner.id;
        if (!any) forget(value.installation_id);
    }

    friend bool operator==(const Model&, const Model&) = default;
};

inline bool matches(const Registration& value, const tagexpr::Expression& expression) {
    std::vector<bool> stack;
    for (const tagexpr::Node& node : expression.nodes) {
        using tagexpr::Op;
        bool result = node.op == Op::everything;
        if (node.op == Op::tag) {
            for (const std::string& tag : value.tags) {
                result |= tagexpr::canonical_tag(tag) == tagexpr::canonical_tag(node.tag);
            }
        } else if (node.op == Op::negate) {
            result = !stack.back();
            stack.pop_back();
        } else if (node.op == Op::all_of || node.op == Op::any_of) {
            const bool all = node.op == Op::all_of;
            result = all;
            for (std::uint32_t i = 0; i < node.arity; ++i) {
                result = all ? (result && stack.back()) : (result || stack.back());
                stack.pop_back();
            }
        }
        stack.push_back(result);
    }
    return stack.back();
}

/// Everything the registry lists, by common name, paging on the way.
inline Named listed(const Registry& registry, std::uint32_t hub, const std::string& tag = {}) {
    Named all;
    std::string after, last;
    do {
        const Page page = registry.list(hub, tag, after, 3).value();
        for (const Registration& value : page.registrations) {
            if (value.id <= last) throw std::runtime_error("a list is out of order");
            last = value.id;
            all.emplace(name_of(value), comparable(value));
        }
        after = page.next;
    } while (!after.empty());
    return all;
}

class RandomChanges {
  public:
    explicit RandomChanges(std::uint32_t seed) : random_(seed) {}

    std::uint32_t below(std::uint32_t bound) {
        return static_cast<std::uint32_t>(random_() % bound);
    }
    std::int64_t now() const { return now_; }

    std::string expression() {
        std::string text;
        for (std::uint32_t i = 0, n = 1 + below(4); i < n; ++i) {
            if (i > 0) text += below(2) == 0 ? " && " : " || ";
            if (below(3) == 0) text += "!";
            text += any_tag();
        }
        return below(8) == 0 ? "" : text;
    }
    Universe universe() {
        Universe universe;
        universe.kind = static_cast<Universe::Kind>(below(3));
        if (below(2) == 0) universe.platforms = {platform()};
        return universe;
    }

    /// Makes one random change to both and compares the answers; what differs is thrown.
    void change(Opened& registry, std::uint32_t hub, Model& model) {
        now_ += 20'000;
        switch (below(12)) {
            case 0:
            case 1:
            case 2:
                return put_plain(registry, hub, model);
            case 3:
                return erase_any(registry, hub, model);
            case 4:
            case 5:
            case 6:
            case 7:
                return put_installation(registry, hub, model);
            case 8:
                return erase_installation(registry, hub, model);
            case 9:
                return retire_or_rotate(registry, hub, model);
            case 10:
                return retire_or_rotate(registry, hub, model);
            default:
                return expire(registry, hub, model);
        }
    }

  private:
    static void demand(bool holds, const std::string& what) {
        if (!holds) throw std::runtime_error(what);
    }
    std::string tag() {
        static const char* const tags[] = {"red", "Red", "blue", "lang:nl", "lang:EN", "x"};
        return tags[below(6)];
    }
    std::string any_tag() {
        if (below(6) == 0) return "$InstallationId:{" + installation_id() + "}";
        if (below(6) == 0) return "$UserId:{" + user_id() + "}";
        return below(5) == 0 ? "alert" : tag();
    }
    std::string handle() {
        const std::uint32_t n = below(10);  // some as hexadecimal digits, which are stored packed
        return (n < 5 ? "h" : "0123456789ABCDEF0") + std::to_string(n);
    }
    /// Some differ in case alone, and nobody takes the one for the other.
    std::string installation_id() { return (below(4) == 0 ? "I" : "i") + std::to_string(below(6)); }
    std::string user_id() { return (below(4) == 0 ? "U" : "u") + std::to_string(below(3)); }
    std::string platform() { return below(2) == 0 ? "apns" : "wns"; }
    std::vector<std::string> tags() {
        std::vector<std::string> some;
        for (std::uint32_t i = below(4); i > 0; --i) some.push_back(tag());
        return some;
    }
    std::map<std::string, Template> templates() {
        std::map<std::string, Template> some;
        for (const char* name : {"alert", "Other name"}) {
            if (below(2) != 0) continue;
            some[name] = {name, "body" + std::to_string(below(2)), {}, "", "", tags()};
        }
        return some;
    }
    std::int64_t expiry() { return below(3) == 0 ? now_ + 1'000 * below(800) : never_ms; }

    void put_plain(Opened& registry, std::uint32_t hub, Model& model) {
        // Some sort among the ids of parts.
        const std::string group = below(3) == 0 ? "800000000000000000" : "1-";
        const std::string id = group + std::to_string(below(14)) + "-" + std::to_string(below(5));
        Registration value = registration(id, handle(), tags());
        value.platform = platform();
        value.expires_at_ms = expiry();
        value.registered_at_ms = now_;
        if (below(3) == 0) value.body = Template{"tpl", "text", {{"h", "v"}}, "", "", {}};
        if (below(3) == 0) value.push_variables = {{"nick", handle()}};
        Precondition match;
        match.kind = static_cast<Precondition::Kind>(below(3));
        match.etag = 1 + below(2);
        const auto old = model.plain.find(value.id);
        const auto result = ++puts_ % 2 == 0 ? registry.put(hub, value, match)
                                             : registry.put_ahead(hub, value, match);
        if (model.gone.contains(value.id)) return demand(result.error() == errc::gone, "not gone");
        if (old == model.plain.end() && match.kind != Precondition::Kind::none) {
            return demand(result.error() == errc::not_found, "update of nothing");
        }
        if (match.kind == Precondition::Kind::etag && old->second.etag != match.etag) {
            return demand(result.error() == errc::etag_mismatch, "wrong etag accepted");
        }
        value.etag = old == model.plain.end() ? 1 : old->second.etag + 1;
        demand(result.value() == value, "put answers another value");
        model.plain[value.id] = value;
    }

    void erase_any(Opened& registry, std::uint32_t hub, Model& model) {
        const Page page = registry->list(hub, "", "", 100).value();
        if (page.registrations.empty()) return;
        const Registration& value =
            page.registrations[below(static_cast<std::uint32_t>(page.registrations.size()))];
        Precondition match;
        match.kind = static_cast<Precondition::Kind>(below(3));
        match.etag = value.etag + (below(4) == 0 ? 1 : 0);
        const auto result = registry.erase(hub, value.id, match);
        if (match.kind == Precondition::Kind::etag && match.etag != value.etag) {
            return demand(result.error() == errc::etag_mismatch, "erased with a wrong etag");
        }
        demand(result.has_value(), "not erased");
        model.erase(value);
        demand(registry->registration(hub, value.id).error() == errc::not_found, "still there");
    }

    void put_installation(Opened& registry, std::uint32_t hub, Model& model) {
        Installation value = installation(installation_id(), handle(), tags());
        value.platform = platform();
        if (below(2) == 0) value.user_id = user_id();
        value.expires_at_ms = expiry();
        value.registered_at_ms = value.updated_at_ms = now_;
        value.templates = templates();
        if (below(3) == 0) value.push_variables = {{"nick", "Kim"}};
        if (below(4) == 0) value.secondary_tiles["tile"] = {handle(), false, tags(), templates()};
        const auto old = model.installations.find(value.id);
        if (old != model.installations.end() && below(2) == 0) {  // the app starts again
            const std::int64_t ends = value.expires_at_ms;
            value = old->second;
            value.expires_at_ms = ends;
            value.registered_at_ms = value.updated_at_ms = now_;
            if (below(2) == 0) value.push_channel_expired = false;
        }
        std::optional<std::uint64_t> expected;
        if (below(3) == 0) expected = below(3);
        const auto result = registry.install(hub, value, expected);
        const std::uint64_t version = old == model.installations.end() ? 0 : old->second.version;
        if (expected && *expected != version) {
            const errc code = version == 0     ? errc::not_found
                              : *expected == 0 ? errc::exists
                                               : errc::etag_mismatch;
            return demand(result.error() == code, "wrong version accepted");
        }
        value.version = version + 1;
        demand(result.value() == value, "install answers another value");
        model.forget(value.id);
        model.installations[value.id] = value;
    }

    void erase_installation(Opened& registry, std::uint32_t hub, Model& model) {
        const std::string id = installation_id();
        demand(registry.uninstall(hub, id).value() == model.installations.contains(id),
               "uninstall lies");
        model.forget(id);
    }

    /// The channel a row belongs to, in the model.
    static std::pair<std::string*, bool*> channel(Installation& owner, const Registration& value) {
        if (value.secondary_tile.empty()) return {&owner.push_channel, &owner.push_channel_expired};
        SecondaryTile& tile = owner.secondary_tiles.at(value.secondary_tile);
        return {&tile.push_channel, &tile.push_channel_expired};
    }

    void retire_or_rotate(Opened& registry, std::uint32_t hub, Model& model) {
        const auto ids = registry.select(hub, "");
        if (ids.empty()) return;
        const std::string& id = ids[below(static_cast<std::uint32_t>(ids.size()))];
        const Located at = locate(*registry, hub, id);
        const Registration value = registry->registration(hub, id).value();
        const std::uint64_t generation = at.device.generation + (below(4) == 0 ? 1 : 0);
        const bool current = generation == at.device.generation;
        if (below(2) == 0) {
            const std::int64_t since = value.registered_at_ms + (below(3) == 0 ? 0 : 1);
            const std::int64_t asked =
                below(3) == 0 ? 0 : value.registered_at_ms - (below(3) == 0 ? 1 : 0);
            const auto count = registry.retire(hub, {{at.partition, at.device.number, generation,
                                                      value.handle, since, "dead", now_, asked}});
            std::size_t dies = 0;
            for (const Registration& holder : model.holders(value.platform, value.handle)) {
                const std::int64_t presented = holder.registered_at_ms;
                const bool keeps = since <= presented || (asked != 0 && asked < presented);
                if (!current || holder.channel_expired || keeps) continue;
                ++dies;
                if (holder.installation_id.empty()) {
                    model.use_up(holder);
                    continue;
                }
                Installation& owner = model.installations.at(holder.installation_id);
                *channel(owner, holder).second = true;
                owner.updated_at_ms = now_;
                ++owner.version;
            }
            return demand(count.value() == dies, "retire counts wrong");
        }
        const std::string moved = "m" + std::to_string(below(3));
        const auto count = registry.rotate(
            hub, {{at.partition, at.device.number, generation, value.handle, moved, now_}});
        std::size_t moves = 0;
        for (const Registration& holder : model.holders(value.platform, value.handle)) {
            if (!current || value.handle == moved || holder.channel_expired) continue;
            ++moves;
            if (holder.installation_id.empty()) {
                model.plain.at(holder.id).handle = moved;
                ++model.plain.at(holder.id).etag;
                continue;
            }
            Installation& owner = model.installations.at(holder.installation_id);
            *channel(owner, holder).first = moved;
            owner.updated_at_ms = now_;
            ++owner.version;
        }
        demand(count.value() == moves, "rotate counts wrong");
    }

    void expire(Opened& registry, std::uint32_t hub, Model& model) {
        std::size_t due = 0;
        const auto is_due = [&](const auto& entry) {  // swept once its minute is over
            return entry.second.expires_at_ms / 60'000 < now_ / 60'000;
        };
        const Model before = model;
        for (const auto& [id, value] : before.plain) {
            if (!is_due(std::pair{id, value})) continue;
            model.use_up(value);
            ++due;
        }
        for (const auto& [id, value] : before.installations) {
            if (!is_due(std::pair{id, value})) continue;
            model.forget(id);
            ++due;
        }
        demand(registry.expire(now_, 1'000).value() == due, "expire counts wrong");
        (void)hub;
    }

    std::mt19937 random_;
    std::int64_t now_ = 1'000;
    unsigned puts_ = 0;  ///< of plain registrations
};

}  // namespace registry_test
