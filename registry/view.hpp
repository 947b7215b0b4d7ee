#pragma once

// What readers see: the store at the end of one batch, with the hubs of that moment. The writer
// publishes a new view after each commit; whoever holds an old one keeps reading the old state.

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
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

/// The current view and the cached postings that belong to it.
class Views {
  public:
    explicit Views(std::size_t cache_bytes_max) : cache(cache_bytes_max) {}

    /// Null after close.
    std::shared_ptr<const View> current() const {
        const std::lock_guard lock(pointer_);
        return view_;
    }

    /// While held, cached postings and current() belong together. Short: one partition of one
    /// selection.
    class Reading {
      public:
        explicit Reading(const Views& views) {
            // The writer holds the gate while it waits: new readers queue behind it instead of
            // starving it.
            const std::lock_guard gate(views.gate_);
            lock_ = std::shared_lock(views.postings_);
        }

      private:
        std::shared_lock<std::shared_mutex> lock_;
    };

    void publish(std::shared_ptr<const View> view, const std::vector<PostingDelta>& deltas) {
        const std::lock_guard gate(gate_);
        const std::lock_guard alone(postings_);
        cache.apply(deltas);
        const std::lock_guard lock(pointer_);
        view_.swap(view);
    }
    /// A selection begins: its numbers stay out of use as long as the pin lives.
    std::pair<std::shared_ptr<const View>, std::shared_ptr<const void>> pinned() const {
        const Reading reading(*this);
        auto view = current();
        auto pin = view ? Pins::pin(pins, view->position) : nullptr;
        return {std::move(view), std::move(pin)};
    }

    mutable PostingCache cache;
    const std::shared_ptr<Pins> pins = std::make_shared<Pins>();

  private:
    mutable std::mutex gate_;
    mutable std::shared_mutex postings_;
    mutable std::mutex pointer_;
    std::shared_ptr<const View> view_;
};

}  // namespace registry
