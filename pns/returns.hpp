#pragma once

// Which origins have come back: the senders of a process look for themselves, each on its loop, and
// the first that is answered spares the others their wait. Any thread.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace pns {

class Returns {
  public:
    using Count = std::atomic<std::uint32_t>;

    /// Goes up whenever a shut origin has answered. Another origin may have the same count, by
    /// chance: then somebody asks once in vain. Lives as long as this.
    Count& of(std::string_view host, std::uint16_t port) {
        return counts_[(std::hash<std::string_view>()(host) + port) % counts_.size()];
    }

  private:
    std::array<Count, 256> counts_{};
};

}  // namespace pns
