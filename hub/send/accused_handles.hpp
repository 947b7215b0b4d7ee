#pragma once

// Which handles the prune gates hold or suspect, for one question at every push that was taken: may
// this be one of them? It may be answered with yes of a handle that is none. Asking takes no lock,
// and looks at a single number while there are no accused handles; add() and remove() are for one
// thread at a time.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tagexpr/keyed_hash.hpp"

namespace hub {

class AccusedHandles {
  public:
    bool may_have(std::string_view handle) const {
        return count_.load(std::memory_order_relaxed) != 0 &&
               slots_[slot_of(handle)].load(std::memory_order_relaxed) != 0;
    }
    void add(std::string_view handle) {
        slots_[slot_of(handle)].fetch_add(1, std::memory_order_relaxed);
        count_.fetch_add(1, std::memory_order_relaxed);
    }
    /// Once for each add().
    void remove(std::string_view handle) {
        slots_[slot_of(handle)].fetch_sub(1, std::memory_order_relaxed);
        count_.fetch_sub(1, std::memory_order_relaxed);
    }

  private:
    static constexpr std::size_t slots = 16'384;  // 64 KiB; suspicions are few
    static std::size_t slot_of(std::string_view handle) {
        return static_cast<std::size_t>(tagexpr::keyed_hash(handle)) % slots;
    }
    std::atomic<std::uint64_t> count_{0};
    std::array<std::atomic<std::uint32_t>, slots> slots_{};
};

}  // namespace hub
