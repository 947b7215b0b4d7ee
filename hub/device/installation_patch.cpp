// Tested by tests/hub_patch_test.cpp.
//
// Path takes a JSON pointer apart, and Patcher walks the installation along it, one operation
// after the other, on a copy. What operations add is bounded as they add it; tags are freed of
// repetitions once, at the end. finish() checks the whole result like a PUT, so a patch can never
// store what a PUT could not. The first operation that is wrong refuses all of them.
#include "hub/device/installation_patch.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hub/device/installation_json.hpp"
#include "hub/device/tags.hpp"
#include "hub/template/templates.hpp"
#include "hub/text/json_text.hpp"
#include "hub/text/text.hpp"

namespace hub {
namespace {

using nlohmann::json;
using Problem = std::optional<Refusal>;

enum class Op { add, replace, remove };

/// Path segments not yet used, front first; `~1` and `~0` decoded.
class Path {
  public:
    explicit Path(std::string_view text) {
        if (text.starts_with('/')) text.remove_prefix(1);
        for (;;) {
            const std::size_t slash = std::min(text.find('/'), text.size());
            parts_.push_back(unescaped(text.substr(0, slash)));
            if (slash == text.size()) break;
            text.remove_prefix(slash + 1);
        }
    }
    std::size_t left() const { return parts_.size() - at_; }
    const std::string& next() { return parts_[at_++]; }
    bool next_is(std::string_view name) {
        const bool same = left() > 0 && same_ignoring_case(parts_[at_], name);
        if (same) ++at_;
        return same;
    }

  private:
    static std::string unescaped(std::string_view part) {
        std::string out;
        for (std::size_t i = 0; i < part.size(); ++i) {
            const bool escape = part[i] == '~' && i + 1 < part.size();
            if (escape && (part[i + 1] == '0' || part[i + 1] == '1'))
                out += part[++i] == '0' ? '~' : '/';
            else
                out += part[i];
        }
        return out;
    }
    std::vector<std::string> parts_;
    std::size_t at_ = 0;
};

Problem no_such_path() {
    return bad_request("the path names nothing that can be patched.");
}
Problem too_many_headers() {
    return bad_request("the template has more than " + std::to_string(template_headers_max) +
                       " headers.");
}
Problem not_removable() {
    return bad_request("this member can not be removed.");
}

class Patcher {
  public:
    Patcher(const registry::Installation& current, const NormaliseHandle& normalise,
            BadTemplates bad)
        : normalise_(normalise), bad_templates_(bad), out_{current, false} {}

    Problem apply(const json& operation) {
        if (!operation.is_object()) return bad_request("it is not an object.");
        const json* op = find_member(operation, "op");
        const json* path = find_member(operation, "path");
        if (op == nullptr || !op->is_string()) return bad_request("it has no 'op'.");
        if (path == nullptr || !path->is_string()) return bad_request("it has no 'path'.");
        const std::string name = lower(op->get_ref<const std::string&>());
        if (name == "add")
            op_ = Op::add;
        else if (name == "replace")
            op_ = Op::replace;
        else if (name == "remove")
            op_ = Op::remove;
        else
            return bad_request("the op '" + shown(name) + "' is not add, replace or remove.");
        const json* value = find_member(operation, "value");
        value_ = value == nullptr ? json() : *value;
        if (op_ != Op::remove && value == nullptr) return bad_request("it has no 'value'.");
        Path left(path->get_ref<const std::string&>());
        return member(left);
    }

    Parsed<PatchedInstallation> finish() {
        keep_first_of_each(out_.value.tags);
        for (auto& [name, source] : out_.value.templates) keep_first_of_each(source.tags);
        for (auto& [id, tile] : out_.value.secondary_tiles) {
            keep_first_of_each(tile.tags);
            for (auto& [name, source] : tile.templates) keep_first_of_each(source.tags);
        }
        if (auto refusal = check_installation(out_.value, bad_templates_))
            return std::move(*refusal);
        return std::move(out_);
    }

  private:
    Problem member(Path& path) {
        registry::Installation& it = out_.value;
        if (path.next_is("pushChannel")) return push_channel(path);
        if (path.next_is("userId")) return text(path, it.user_id, true);
        if (path.next_is("tags")) return tags(path, it.tags);
        if (path.next_is("templates")) return templates(path, it.templates);
        if (path.next_is("secondaryTiles")) return tiles(path);
        if (path.next_is("pushVariables")) return variables(path);
        if (path.next_is("expirationTime")) return expiration(path);
        return no_such_path();
    }

    /// The value, or what the JSON text in a string value says.
    Parsed<json> structured() const {
        if (!value_.is_string()) return value_;
        return read_json(value_.get_ref<const std::string&>(), "the value");
    }

    Problem text(Path& path, std::string& into, bool removable) {
        if (path.left() > 0) return no_such_path();
        if (op_ == Op::remove || value_.is_null()) {
            if (!removable) return not_removable();
            into.clear();
            return std::nullopt;
        }
        if (!value_.is_string()) return bad_request("the value must be a string.");
        into = value_.get<std::string>();
        return std::nullopt;
    }

    Problem push_channel(Path& path) {
        if (path.left() > 0) return no_such_path();
        if (op_ == Op::remove) return not_removable();
        registry::Installation& it = out_.value;
        auto handle = read_push_channel(value_, it.platform, normalise_, it.push_channel_is_object);
        if (auto* refusal = std::get_if<Refusal>(&handle)) return std::move(*refusal);
        it.push_channel = std::get<std::string>(std::move(handle));
        it.push_channel_expired = false;
        out_.push_channel_written = true;
        return std::nullopt;
    }

    Problem tags(Path& path, std::vector<std::string>& into) {
        if (path.left() > 1) return no_such_path();
        if (path.left() == 1) {
            const std::string& tag = path.next();
            if (op_ == Op::remove) {
                std::erase_if(
                    into, [&](const std::string& known) { return same_ignoring_case(known, tag); });
                return std::nullopt;
            }
            // RFC 6902: "-" is the place behind the last element.
            if (tag != "-") return bad_request("a single tag can only be removed by its path.");
            op_ = Op::add;
        }
        if (op_ == Op::remove || value_.is_null()) {
            into.clear();
            return std::nullopt;
        }
        json list = value_;
        if (value_.is_string() && trimmed(value_.get_ref<const std::string&>()).starts_with('[')) {
            auto parsed = structured();
            if (auto* refusal = std::get_if<Refusal>(&parsed)) return std::move(*refusal);
            list = std::get<json>(std::move(parsed));
        } else if (value_.is_string()) {
            list = json::array({value_});
        }
        auto parsed = read_tags(list, "the value");
        if (auto* refusal = std::get_if<Refusal>(&parsed)) return std::move(*refusal);
        if (op_ == Op::replace) into.clear();
        for (std::string& tag : std::get<std::vector<std::string>>(parsed))
            into.push_back(std::move(tag));
        return std::nullopt;
    }

    Problem templates(Path& path, std::map<std::string, registry::Template>& into) {
        if (path.left() == 0) return template_map(into);
        const std::string& name = path.next();
        if (path.left() == 0) {
            if (op_ == Op::remove) {
                into.erase(name);
                return std::nullopt;
            }
            auto value = structured();
            if (auto* refusal = std::get_if<Refusal>(&value)) return std::move(*refusal);
            auto parsed = read_template(std::get<json>(value), name);
            if (auto* refusal = std::get_if<Refusal>(&parsed)) return std::move(*refusal);
            into.insert_or_assign(name, std::get<registry::Template>(std::move(parsed)));
            return check_template_count(into.size());
        }
        const auto found = into.find(name);
        if (found == into.end() && op_ == Op::remove) return std::nullopt;
        if (found == into.end()) {
            if (auto refusal = check_template_count(into.size() + 1)) return refusal;
        }
        registry::Template& it = found == into.end() ? into[name] : found->second;
        it.name = name;
        if (path.next_is("body")) return text(path, it.body, false);
        if (path.next_is("expiry")) return text(path, it.expiry, true);
        if (path.next_is("tags")) return tags(path, it.tags);
        if (path.next_is("headers")) return headers(path, it.headers);
        return no_such_path();
    }

    Problem template_map(std::map<std::string, registry::Template>& into) {
        if (op_ == Op::remove) {
            into.clear();
            return std::nullopt;
        }
        auto value = structured();
        if (auto* refusal = std::get_if<Refusal>(&value)) return std::move(*refusal);
        const json& object = std::get<json>(value);
        if (!object.is_object()) return bad_request("the value must be an object of templates.");
        if (op_ == Op::replace) into.clear();
        for (const auto& [name, source] : object.items()) {
            auto parsed = read_template(source, name);
            if (auto* refusal = std::get_if<Refusal>(&parsed)) return std::move(*refusal);
            into.insert_or_assign(name, std::get<registry::Template>(std::move(parsed)));
            if (auto refusal = check_template_count(into.size())) return refusal;
        }
        return std::nullopt;
    }

    Problem headers(Path& path, registry::Headers& into) {
        if (path.left() > 1) return no_such_path();
        if (path.left() == 1) {
            const std::string& name = path.next();
            const auto found = std::find_if(into.begin(), into.end(), [&](const auto& header) {
                return same_ignoring_case(header.first, name);
            });
            if (op_ == Op::remove) {
                if (found != into.end()) into.erase(found);
                return std::nullopt;
            }
            if (found == into.end() && into.size() >= template_headers_max)
                return too_many_headers();
            std::string& value =
                found != into.end() ? found->second : into.emplace_back(name, "").second;
            return text(path, value, false);
        }
        if (op_ == Op::remove || value_.is_null()) {
            into.clear();
            return std::nullopt;
        }
        std::map<std::string, std::string> members;
        if (auto refusal = object_of_strings(members)) return refusal;
        if (members.size() > template_headers_max) return too_many_headers();
        into.assign(members.begin(), members.end());
        return std::nullopt;
    }

    Problem object_of_strings(std::map<std::string, std::string>& into) const {
        auto value = structured();
        if (auto* refusal = std::get_if<Refusal>(&value)) return std::move(*refusal);
        auto members = string_members(std::get<json>(value), "The value");
        if (auto* refusal = std::get_if<Refusal>(&members)) return std::move(*refusal);
        into = std::get<std::map<std::string, std::string>>(std::move(members));
        return std::nullopt;
    }

    Problem variables(Path& path) {
        std::map<std::string, std::string>& into = out_.value.push_variables;
        if (path.left() > 1) return no_such_path();
        if (path.left() == 1) {
            const std::string& name = path.next();
            if (op_ == Op::remove || value_.is_null()) {
                into.erase(name);
                return std::nullopt;
            }
            if (auto refusal = text(path, into[name], true)) return refusal;
            return check_variable_count(into.size());
        }
        if (op_ == Op::remove || value_.is_null()) {
            into.clear();
            return std::nullopt;
        }
        if (auto refusal = object_of_strings(into)) return refusal;
        return check_variable_count(into.size());
    }

    Problem expiration(Path& path) {
        if (path.left() > 0) return no_such_path();
        return read_expiration(op_ == Op::remove ? json() : value_, out_.value);
    }

    Problem tiles(Path& path) {
        std::map<std::string, registry::SecondaryTile>& into = out_.value.secondary_tiles;
        if (path.left() == 0) {
            if (op_ != Op::remove) return bad_request("name one tile: /secondaryTiles/<id>.");
            into.clear();
            return std::nullopt;
        }
        const std::string& tile_id = path.next();
        if (path.left() == 0) {
            if (op_ == Op::remove) {
                into.erase(tile_id);
                return std::nullopt;
            }
            auto value = structured();
            if (auto* refusal = std::get_if<Refusal>(&value)) return std::move(*refusal);
            auto parsed = read_tile(std::get<json>(value), normalise_);
            if (auto* refusal = std::get_if<Refusal>(&parsed)) return std::move(*refusal);
            into.insert_or_assign(tile_id, std::get<registry::SecondaryTile>(std::move(parsed)));
            return check_tile_count(into.size());
        }
        const auto found = into.find(tile_id);
        if (found == into.end() && op_ == Op::remove) return std::nullopt;
        if (found == into.end()) {
            if (auto refusal = check_tile_count(into.size() + 1)) return refusal;
        }
        registry::SecondaryTile& it = found == into.end() ? into[tile_id] : found->second;
        if (path.next_is("tags")) return tags(path, it.tags);
        if (path.next_is("templates")) return templates(path, it.templates);
        if (!path.next_is("pushChannel") || path.left() > 0) return no_such_path();
        if (op_ == Op::remove) return not_removable();
        bool is_object = false;
        auto handle = read_push_channel(value_, "wns", normalise_, is_object);
        if (auto* refusal = std::get_if<Refusal>(&handle)) return std::move(*refusal);
        it.push_channel = std::get<std::string>(std::move(handle));
        it.push_channel_expired = false;
        return std::nullopt;
    }

    const NormaliseHandle& normalise_;
    const BadTemplates bad_templates_;
    PatchedInstallation out_;
    Op op_ = Op::add;
    json value_;
};

}  // namespace

Parsed<PatchedInstallation> patch_installation(const registry::Installation& current,
                                               std::string_view patch,
                                               const NormaliseHandle& normalise, BadTemplates bad) {
    auto parsed = read_json(patch, "The body");
    if (auto* refusal = std::get_if<Refusal>(&parsed)) return std::move(*refusal);
    const json& operations = std::get<json>(parsed);
    if (!operations.is_array()) return bad_request("The body must be a JSON array of operations.");
    if (operations.size() > patch_operations_max)
        return bad_request("The body has more than " + std::to_string(patch_operations_max) +
                           " operations.");
    Patcher patcher(current, normalise, bad);
    std::size_t number = 0;
    for (const json& operation : operations) {
        ++number;
        if (const auto refusal = patcher.apply(operation))
            return Refusal{refusal->status,
                           "Operation " + std::to_string(number) + ": " + refusal->message};
    }
    return patcher.finish();
}

}  // namespace hub
