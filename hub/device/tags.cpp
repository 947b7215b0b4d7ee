#include "hub/device/tags.hpp"

#include <algorithm>
#include <unordered_set>

#include "hub/text/text.hpp"
#include "tagexpr/keyed_hash.hpp"
#include "tagexpr/letters.hpp"
#include "tagexpr/utf8.hpp"

namespace hub {
namespace {

constexpr std::size_t id_bytes_max = 256;

/// Position of the first byte that is neither of a letter or digit nor one of `others`.
std::size_t first_foreign(std::string_view text, std::string_view others) {
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t length = others.find(text[i]) != std::string_view::npos
                                       ? 1
                                       : tagexpr::letter_length(text.substr(i));
        if (length == 0) return i;
        i += length;
    }
    return std::string_view::npos;
}

std::optional<Refusal> check_tag(std::string_view tag) {
    if (tag.empty()) return bad_request("A tag must not be empty.");
    if (tag.front() == '$') return bad_request("Tags can not start with $");
    const std::size_t foreign = first_foreign(tag, "_@#.:-");
    if (foreign != std::string_view::npos)
        return bad_request("The tag '" + (tagexpr::is_utf8(tag) ? shown(tag) : "?") +
                           "' has an illegal character at position " + std::to_string(foreign + 1) +
                           "; letters, digits and _@#.:- are allowed.");
    if (tagexpr::utf8_count(tag) > tag_characters_max)
        return bad_request("The tag '" + shown(tag) + "' is longer than " +
                           std::to_string(tag_characters_max) + " characters.");
    return std::nullopt;
}

}  // namespace

std::optional<Refusal> check_tags(const std::vector<std::string>& tags) {
    std::size_t joined = tags.empty() ? 0 : tags.size() - 1;
    for (const std::string& tag : tags) {
        if (auto refusal = check_tag(tag)) return refusal;
        joined += tag.size();
    }
    if (joined > tags_joined_bytes_max)
        return bad_request(
            "Registration Tags serialized size is more than maximum supported value. Actual Size: "
            "'" +
            std::to_string(joined) + "', Max Allowed Size: '" +
            std::to_string(tags_joined_bytes_max) + "'");
    return std::nullopt;
}

void keep_first_of_each(std::vector<std::string>& tags) {
    std::unordered_set<std::string, tagexpr::KeyedHash> known;
    std::erase_if(tags, [&](const std::string& tag) { return !known.insert(lower(tag)).second; });
}

Parsed<std::vector<std::string>> parse_tag_list(std::string_view text) {
    std::vector<std::string> tags;
    while (!text.empty()) {
        const std::size_t comma = std::min(text.find(','), text.size());
        const std::string_view tag = trimmed(text.substr(0, comma));
        if (!tag.empty()) tags.emplace_back(tag);
        text.remove_prefix(std::min(comma + 1, text.size()));
    }
    keep_first_of_each(tags);
    if (auto refusal = check_tags(tags)) return std::move(*refusal);
    return tags;
}

std::string join_tags(const std::vector<std::string>& tags) {
    std::string out;
    for (const std::string& tag : tags) {
        if (!out.empty()) out += ',';
        out += tag;
    }
    return out;
}

std::optional<Refusal> check_id(std::string_view what, std::string_view id) {
    if (id.empty()) return bad_request("The " + std::string(what) + " must not be empty.");
    if (id.size() > id_bytes_max)
        return bad_request("The " + std::string(what) + " is longer than " +
                           std::to_string(id_bytes_max) + " bytes.");
    const std::size_t foreign = first_foreign(id, "_@#.:=-");
    if (foreign != std::string_view::npos)
        return bad_request("The " + std::string(what) + " has an illegal character at position " +
                           std::to_string(foreign + 1) +
                           "; letters, digits and -_@#.:= are allowed.");
    return std::nullopt;
}

}  // namespace hub
