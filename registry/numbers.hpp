#pragma once

// The device numbers of one partition: which are free, and when a freed one may be given away
// again.
//
// A number is reused only when no selection that may contain it is outstanding: neither one in
// memory (Pins) nor one frozen by a send that is not final. Derived from the store, never stored.
// Numbers: writer thread only. Pins: any thread.

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "registry/bitmap.hpp"

namespace registry {

/// Positions of the log at which selections were made that somebody still holds.
class Pins {
  public:
    static std::shared_ptr<const void> pin(const std::shared_ptr<Pins>& pins,
                                           std::uint64_t position);
    /// Position of the oldest selection still held; the largest number if there is none.
    std::uint64_t oldest() const;

  private:
    mutable std::mutex mutex_;
    std::multiset<std::uint64_t> positions_;
    std::uint64_t last_position_ = 0;
    std::weak_ptr<const void> last_;  // of last_position_; selections between two batches share it
};

class Numbers {
  public:
    Numbers() = default;
    /// Numbers up to `used_below`, and up to the highest that is alive or frozen, were used before:
    /// those of them that are not alive count as freed at `position`.
    Numbers(const Bitmap& alive, const std::vector<const Bitmap*>& frozen, std::uint64_t used_below,
            std::uint64_t position);
    std::uint64_t used_below() const { return next_; }

    /// The smallest number that is free and not frozen; nullopt if the partition is full.
    /// `without_frozen` takes out of a set what sends have frozen.
    std::optional<std::uint32_t> take(const std::function<void(Bitmap&)>& without_frozen);
    void release(std::uint32_t number, std::uint64_t position);
    /// Selections made before `position` are gone: numbers freed up to there become free.
    void cool(std::uint64_t position);
    /// The set of frozen selections is another one than at the last take().
    void frozen_changed() { stale_ = true; }

  private:
    std::uint64_t next_ = 0;  // numbers from here on were never used
    Bitmap free_;             // cooled; may be frozen
    Bitmap available_;        // free_ without frozen, unless stale_
    bool stale_ = true;
    std::deque<std::pair<std::uint64_t, Bitmap>> cooling_;  // ascending by position
};

}  // namespace registry
