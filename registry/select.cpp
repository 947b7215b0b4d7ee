#include "registry/select.hpp"

#include <optional>

#include "registry/partition.hpp"
#include "registry/reader.hpp"

namespace registry {
namespace {

/// A tag of one user or one installation that every match must carry: few devices can match,
/// however many the hub has.
std::optional<std::string_view> tag_of_few(const tagexpr::Plan& plan) {
    using tagexpr::Op;
    const auto& nodes = plan.nodes;
    const bool single = nodes.size() == 1;
    if (!single && nodes.back().op != Op::all_of) return std::nullopt;
    std::optional<std::string_view> found;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        const bool last = i + 1 == nodes.size();
        const Op op = nodes[i].op;
        if (!last && op != Op::tag && op != Op::negate) return std::nullopt;  // nested
        const bool required = op == Op::tag && (last || nodes[i + 1].op != Op::negate);
        if (required && !found && names_one(nodes[i].tag)) found = nodes[i].tag;
    }
    return found;
}

/// Only partitions where someone carries `tag` are looked at, all at one view.
Result<Selection> select_few(const Views& views, std::uint32_t hub, const tagexpr::Plan& plan,
                             std::string_view tag, const Universe& universe, Reach reach) {
    Selection selection;
    selection.pin = views.pinned().second;
    Postings::Reads reads{reach, nullptr, nullptr};
    if (!reads.renew(views)) return make_error_code(errc::closed);
    selection.position = reads.view->position;
    const HubRow* const row = reads.view->hubs->find(hub);
    if (row == nullptr) return make_error_code(errc::not_found);
    selection.partitions.resize(row->partitions);
    auto carriers = read_tag(*reads.view, hub, tag, reach);
    if (!carriers) return carriers.error();
    for (auto& [p, numbers] : *carriers) {
        if (p >= row->partitions) return make_error_code(errc::corrupt);
        Postings postings(views, hub, p, reads);
        const Bitmap& carrying = numbers;  // clang 14: no captures of structured bindings
        PostingSet matches = tagexpr::evaluate<PostingSet>(
            plan,
            [&](std::string_view name) {
                return name == tag ? PostingSet(Bitmap(carrying)) : postings.tag(name);
            },
            [&] { return postings.addressable(universe); });
        if (!unrestricted(universe) && !matches.empty()) matches &= postings.addressable(universe);
        if (postings.error()) return postings.error();
        selection.partitions[p] = matches.take();
    }
    return selection;
}

using ByPartition = std::map<std::uint16_t, Bitmap>;

Result<ByPartition> read_parts(const View& view, std::uint32_t hub, std::string_view id,
                               Reach reach) {
    ByPartition parts;
    const HubRow* const row = view.hubs->find(hub);
    if (row == nullptr) return parts;
    std::string bytes;
    const auto found =
        view.snapshot->get(Family::installations, installation_key(hub, id), bytes, reach);
    if (!found) return found.error();
    if (!*found) return parts;
    const auto record = decode_installation(id, bytes);
    if (!record) return record.error();
    Bitmap live = live_parts(*record);
    if (!live.isEmpty()) parts.emplace(partition_of(id, row->partitions), std::move(live));
    return parts;
}

/// Absent: they are many, and have postings.
Result<std::optional<ByPartition>> read_user(const View& view, std::uint32_t hub,
                                             std::string_view id, Reach reach) {
    std::optional<ByPartition> rows(std::in_place);
    std::string bytes;
    const auto found = view.snapshot->get(Family::users, user_key(hub, id), bytes, reach);
    if (!found) return found.error();
    if (!*found) return rows;
    const auto stored = decode_user_rows(bytes);
    if (!stored) return stored.error();
    if (stored->many) return std::optional<ByPartition>();
    for (const auto& [partition, number] : stored->rows) (*rows)[partition].add(number);
    return rows;
}

}  // namespace

Result<std::map<std::uint16_t, Bitmap>> read_tag(const View& view, std::uint32_t hub,
                                                 std::string_view tag, Reach reach) {
    if (const auto id = installation_named(tag)) return read_parts(view, hub, *id, reach);
    if (const auto id = user_named(tag)) {
        auto rows = read_user(view, hub, *id, reach);
        if (!rows) return rows.error();
        if (*rows) return std::move(**rows);
    }
    const auto cursor = view.snapshot->cursor(Family::postings, true, reach);
    return read_tag(*cursor, hub, tag);
}

Result<Selection> select_devices(const Views& views, std::uint32_t hub, const tagexpr::Plan& plan,
                                 const Universe& universe) {
    if (const auto tag = tag_of_few(plan))
        return select_few(views, hub, plan, *tag, universe, Reach::disk);
    tagexpr::NoObserver nobody;
    return select_observed(views, hub, plan, universe, nobody, [](Postings&, const Bitmap&) {});
}

Result<Selection> try_select(const Views& views, std::uint32_t hub, const tagexpr::Plan& plan,
                             const Universe& universe) {
    if (const auto tag = tag_of_few(plan))
        return select_few(views, hub, plan, *tag, universe, Reach::memory);
    return make_error_code(errc::not_in_memory);
}

}  // namespace registry
