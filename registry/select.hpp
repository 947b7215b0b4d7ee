#pragma once

// How a plan becomes a selection, shared by sends and by those who only count: partition by
// partition, each under one view. Blocks on disk; any thread.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "registry/keys.hpp"
#include "registry/partition.hpp"
#include "registry/reader.hpp"
#include "registry/view.hpp"
#include "tagexpr/evaluate.hpp"

namespace registry {

/// The postings of one partition at the view of one moment: from the cache, else from the store.
class Postings {
  public:
    /// `reads` is kept from one partition to the next: as long as the view is the same, so is its
    /// cursor.
    struct Reads {
        /// To the view of now; false: there is none.
        bool renew(const Views& views) {
            auto now = views.current();
            if (now != view) cursor.reset();
            view = std::move(now);
            return view != nullptr;
        }
        const Reach reach = Reach::disk;
        std::shared_ptr<const View> view;
        std::unique_ptr<Cursor> cursor;
    };
    Postings(const Views& views, std::uint32_t hub, std::uint16_t partition, Reads& reads)
        : views_(views), hub_(hub), partition_(partition), reads_(reads) {}

    PostingSet tag(std::string_view name) {
        if (names_one(name)) return read_one(name);
        return read(tag_prefix(hub_, partition_, name));
    }
    PostingSet internal(std::string_view name) {
        return read(internal_prefix(hub_, partition_, name));
    }
    PostingSet addressable(const Universe& universe) {
        std::optional<PostingSet> all;
        const auto add = [&](std::string_view name) {
            if (all) {
                *all |= internal(name);
            } else {
                all.emplace(internal(name));
            }
        };
        for (const bool templated : {false, true}) {
            if (universe.kind == (templated ? Universe::Kind::native : Universe::Kind::templated)) {
                continue;
            }
            if (universe.platforms.empty()) add(templated ? templated_name : native_name);
            for (const std::string& platform : universe.platforms) {
                add(platform_name(platform, templated));
            }
        }
        return std::move(*all);
    }
    boost::system::error_code error() const { return error_; }

  private:
    PostingSet read_one(std::string_view tag) {
        if (error_) return {};
        auto rows = read_tag(*reads_.view, hub_, tag, reads_.reach);
        if (!rows) {
            error_ = rows.error();
            return {};
        }
        const auto mine = rows->find(partition_);
        return mine == rows->end() ? PostingSet() : PostingSet(std::move(mine->second));
    }
    PostingSet read(const std::string& prefix) {
        const std::uint64_t position = reads_.view->position;
        if (auto cached = views_.cache.find(prefix, position)) return PostingSet(std::move(cached));
        if (error_) return {};
        if (!reads_.cursor)
            reads_.cursor = reads_.view->snapshot->cursor(Family::postings, true, reads_.reach);
        auto bitmap = read_posting(*reads_.cursor, prefix);
        if (!bitmap) {
            error_ = bitmap.error();
            return {};
        }
        views_.cache.offer(prefix, *bitmap, position);
        return PostingSet(std::move(*bitmap));
    }

    const Views& views_;
    const std::uint32_t hub_;
    const std::uint16_t partition_;
    Reads& reads_;
    boost::system::error_code error_;
};

/// No restriction but by tags: matches need not be cut to the universe.
inline bool unrestricted(const Universe& universe) {
    return universe.kind == Universe::Kind::any && universe.platforms.empty();
}

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
    selection.position = first->position;  // what a later view shows besides counts as a change
    selection.partitions.resize(row->partitions);
    Postings::Reads reads{Reach::disk, nullptr, nullptr};
    for (std::uint16_t p = 0; p < row->partitions; ++p) {
        if (!reads.renew(views)) return make_error_code(errc::closed);
        Postings postings(views, hub, p, reads);
        PostingSet matches = tagexpr::evaluate<PostingSet>(
            plan, [&](std::string_view tag) { return postings.tag(tag); },
            [&] { return postings.addressable(universe); }, observer);
        // Most partitions have nobody of a tag that one user carries.
        if (!unrestricted(universe) && !matches.empty()) matches &= postings.addressable(universe);
        if (!matches.empty()) visit(postings, matches.bitmap());
        if (postings.error()) return postings.error();
        selection.partitions[p] = matches.take();
    }
    return selection;
}

}  // namespace registry
