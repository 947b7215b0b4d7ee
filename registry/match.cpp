// Tested by tests/registry_match_test.cpp.

#include "registry/match.hpp"

#include <algorithm>
#include <set>

#include "registry/partition.hpp"
#include "registry/reader.hpp"
#include "tagexpr/evaluate.hpp"

namespace registry {
namespace {

/// A set over a universe of one device.
struct Membership {
    bool in = false;
    Membership& operator&=(const Membership& other) { return in = in && other.in, *this; }
    Membership& operator|=(const Membership& other) { return in = in || other.in, *this; }
    Membership& operator-=(const Membership& other) { return in = in && !other.in, *this; }
};

bool is_addressed(const Row& row, const Universe& universe) {
    if (row.channel_expired) return false;
    const auto other =
        row.template_bytes.empty() ? Universe::Kind::templated : Universe::Kind::native;
    const auto& platforms = universe.platforms;
    return universe.kind != other &&
           (platforms.empty() ||
            std::find(platforms.begin(), platforms.end(), row.platform) != platforms.end());
}

}  // namespace

bool tags_match(const tagexpr::Plan& plan, const std::vector<std::string>& tags) {
    std::set<std::string> carried;
    for (const std::string& tag : tags) carried.insert(tagexpr::canonical_tag(tag));
    return tagexpr::evaluate<Membership>(
               plan,
               [&](std::string_view tag) {
                   return Membership{carried.contains(tagexpr::canonical_tag(tag))};
               },
               [] { return Membership{true}; })
        .in;
}

Result<bool> row_matches(const View& view, std::uint32_t hub, Address address,
                         const tagexpr::Plan& plan, const Universe& universe) {
    const auto failed = [](boost::system::error_code code) {
        return Result<bool>(boost::system::in_place_error, code);
    };
    if (view.hubs->find(hub) == nullptr) return failed(make_error_code(errc::not_found));
    const auto row = find_row(view, hub, address);
    if (!row) return failed(row.error());
    if (!*row || !is_addressed(**row, universe)) return false;
    if ((*row)->installation_id.empty()) return tags_match(plan, (*row)->tags);
    const auto owner = owner_of(view, hub, (*row)->installation_id, Reach::disk);
    if (!owner) return failed(owner.error());
    const std::vector<Part> parts = expand(*owner);
    const auto part = std::find_if(parts.begin(), parts.end(),
                                   [&](const Part& p) { return p.name == (*row)->part; });
    if (part == parts.end()) return failed(make_error_code(errc::corrupt));
    return tags_match(plan, part->tagged.tags);
}

}  // namespace registry
