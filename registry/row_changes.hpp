#pragma once

// Which rows have changed lately, without a look at them: a push that was loaded a while ago asks
// here whether its row may be another one by now.
//
// A fixed table of positions of the log, one for many rows: the answer "no" is always right, "yes"
// may be meant for another row. Any thread asks, without a lock; the writer thread tells.

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "registry/keys.hpp"

namespace registry {

struct ChangedRow {
    std::uint32_t hub = 0;
    Address address;
};

class RowChanges {
  public:
    /// For may_have_changed(): every batch that becomes visible from now on is later.
    std::uint64_t stamp() const { return visible_.load(std::memory_order_acquire); }
    bool may_have_changed(const ChangedRow& row, std::uint64_t stamp) const {
        return slots_[slot(row)].load(std::memory_order_acquire) > stamp ||
               hub_erased_.load(std::memory_order_acquire) > stamp;
    }

    // --- writer thread ---
    /// The batch that ends at `position` is on disk and not visible yet.
    void written(std::span<const ChangedRow> rows, bool hub_erased, std::uint64_t position) {
        for (const ChangedRow& row : rows)
            slots_[slot(row)].store(position, std::memory_order_release);
        if (hub_erased) hub_erased_.store(position, std::memory_order_release);
    }
    /// Readers see everything up to `position`.
    void visible(std::uint64_t position) { visible_.store(position, std::memory_order_release); }

  private:
    static constexpr std::size_t slot_count = 1u << 16;
    /// Rows of one partition only meet if their numbers are far apart.
    static std::size_t slot(const ChangedRow& row) {
        const std::uint64_t place = std::uint64_t{row.hub} << 16 | row.address.partition;
        return (((place * 0x9e3779b97f4a7c15) >> 32) + row.address.number) % slot_count;
    }
    std::array<std::atomic<std::uint64_t>, slot_count> slots_{};
    std::atomic<std::uint64_t> hub_erased_ = 0, visible_ = 0;
};

}  // namespace registry
