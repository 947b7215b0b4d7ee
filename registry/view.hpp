#pragma once

// What readers see: the store at the end of one batch, with the hubs of that moment. The writer
// publishes a new view after each commit; whoever holds an old one keeps reading the old state.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "registry/hub_row.hpp"
#include "registry/numbers.hpp"
#include "registry/postings.hpp"
#include "registry/store.hpp"

namespace registry {

struct Hubs {
    std::map<std::string, HubRow> by_name;       ///< folded name
    std::map<std::uint32_t, std::string> names;  ///< number -> folded name
    const HubRow* find(std::uint32_t number) const {
        const auto name = names.find(number);
        return name == names.end() ? nullptr : &by_name.at(name->second);
    }
};

struct View {
    std::shared_ptr<const Snapshot> snapshot;
    std::shared_ptr<const Hubs> hubs;
    std::uint64_t position = 0;
};

/// The current view, and postings in memory of this view and of those that are still held. No lock
/// here spans a read of the store: lanes and the writer never wait for who waits for the disk.
class Views {
  public:
    explicit Views(std::size_t cache_bytes_max) : cache(cache_bytes_max) {}

    /// Null after close.
    std::shared_ptr<const View> current() const {
        const std::lock_guard lock(pointer_);
        return view_;
    }

    /// `deltas` lead from the view before to this one. Writer.
    void publish(std::shared_ptr<const View> view, const std::vector<PostingDelta>& deltas) {
        if (view) cache.apply(deltas, view->position);
        const std::lock_guard lock(pointer_);
        view_.swap(view);
    }
    /// A selection begins: its numbers stay out of use as long as the pin lives. The view is not
    /// replaced before it is pinned, so the writer gives away nothing that it shows.
    std::pair<std::shared_ptr<const View>, std::shared_ptr<const void>> pinned() const {
        const std::lock_guard lock(pointer_);
        return {view_, view_ ? Pins::pin(pins, view_->position) : nullptr};
    }

    mutable PostingCache cache;
    const std::shared_ptr<Pins> pins = std::make_shared<Pins>();

  private:
    mutable std::mutex pointer_;
    std::shared_ptr<const View> view_;
};

}  // namespace registry
