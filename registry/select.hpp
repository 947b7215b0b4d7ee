#pragma once

// How a plan becomes a selection, shared by sends and by those who only count: partition by
// partition, each under one view. Blocks on disk; any thread.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "registry/keys.hpp"
#include "registry/view.hpp"
#include "tagexpr/evaluate.hpp"

namespace registry {

/// The postings of one partition at one view: from the cache, else from the store.
class Postings {
  public:
    Postings(const Views& views, const View& view, std::uint32_t hub, std::uint16_t partition)
        : views_(views), view_(view), hub_(hub), partition_(partition) {}

    Bitmap tag(std::string_view name) { return read(tag_prefix(hub_, partition_, name)); }
    Bitmap internal(std::string_view name) { return read(internal_prefix(hub_, partition_, name)); }
    Bitmap addressable(const Universe& universe) {
        Bitmap all;
        for (const bool templated : {false, true}) {
            if (universe.kind == (templated ? Universe::Kind::native : Universe::Kind::templated)) {
                continue;
            }
            if (universe.platforms.empty())
                all |= internal(templated ? templated_name : native_name);
            for (const std::string& platform : universe.platforms) {
                all |= internal(platform_name(platform, templated));
            }
        }
        return all;
    }
    boost::system::error_code error() const { return error_; }

  private:
    Bitmap read(const std::string& prefix) {
        if (const auto cached = views_.cache.find(prefix)) return *cached;
        if (error_) return {};
        if (!cursor_) cursor_ = view_.snapshot->cursor(Family::postings, true);
        auto bitmap = read_posting(*cursor_, prefix);
        if (!bitmap) {
            error_ = bitmap.error();
            return {};
        }
        views_.cache.offer(prefix, *bitmap);
        return std::move(*bitmap);
    }

    const Views& views_;
    const View& view_;
    const std::uint32_t hub_;
    const std::uint16_t partition_;
    std::unique_ptr<Cursor> cursor_;
    boost::system::error_code error_;
};

/// No restriction but by tags: matches need not be cut to the universe.
inline bool unrestricted(const Universe& universe) {
    return universe.kind == Universe::Kind::any && universe.platforms.empty();
}

/// The one partition that can hold matches: the plan is `$InstallationId:{id}`, or that and other
/// tags.
std::optional<std::uint16_t> only_partition(const tagexpr::Plan& plan, std::uint16_t partitions);

/// `observer` as in tagexpr::evaluate(); `visit(postings, matches)` sees each partition's matches
/// under the view they were selected from.
template <class Observer, class Visit>
Result<Selection> select_observed(const Views& views, std::uint32_t hub, const tagexpr::Plan& plan,
                                  const Universe& universe, Observer& observer, Visit&& visit) {
    auto [first, pin] = views.pinned();
    if (!first) return make_error_code(errc::closed);
    const HubRow* const row = first->hubs->find(hub);
    if (row == nullptr) return make_error_code(errc::not_found);
    Selection selection;
    selection.pin = std::move(pin);
    selection.partitions.resize(row->partitions);
    const auto only = only_partition(plan, row->partitions);
    for (std::uint16_t p = 0; p < row->partitions; ++p) {
        if (only && *only != p) continue;
        const Views::Reading reading(views);
        const auto view = views.current();
        if (!view) return make_error_code(errc::closed);
        Postings postings(views, *view, hub, p);
        Bitmap matches = tagexpr::evaluate<Bitmap>(
            plan, [&](std::string_view tag) { return postings.tag(tag); },
            [&] { return postings.addressable(universe); }, observer);
        // Most partitions have nobody of a tag that one user carries.
        if (!unrestricted(universe) && !matches.isEmpty())
            matches &= postings.addressable(universe);
        if (!matches.isEmpty()) visit(postings, matches);
        if (postings.error()) return postings.error();
        selection.partitions[p] = std::move(matches);
    }
    return selection;
}

}  // namespace registry
