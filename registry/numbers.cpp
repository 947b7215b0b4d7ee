#include "registry/numbers.hpp"

#include <algorithm>
#include <limits>

namespace registry {

std::shared_ptr<const void> Pins::pin(const std::shared_ptr<Pins>& pins, std::uint64_t position) {
    const std::lock_guard lock(pins->mutex_);
    if (pins->last_position_ == position) {
        if (auto last = pins->last_.lock()) return last;
    }
    const auto place = pins->positions_.insert(position);
    // What last_ leaves of a pin must not hold its Pins.
    std::shared_ptr<const void> pinned(&*place, [mine = pins, place](const void*) mutable {
        const auto of = std::move(mine);
        const std::lock_guard unpin(of->mutex_);
        of->positions_.erase(place);
    });
    pins->last_position_ = position;
    pins->last_ = pinned;
    return pinned;
}

std::uint64_t Pins::oldest() const {
    const std::lock_guard lock(mutex_);
    return positions_.empty() ? std::numeric_limits<std::uint64_t>::max() : *positions_.begin();
}

Numbers::Numbers(const Bitmap& alive, const std::vector<const Bitmap*>& frozen,
                 std::uint64_t used_below, std::uint64_t position)
    : next_(used_below) {
    const auto reach = [this](const Bitmap& bitmap) {
        if (!bitmap.isEmpty()) next_ = std::max(next_, std::uint64_t{bitmap.maximum()} + 1);
    };
    reach(alive);
    for (const Bitmap* bitmap : frozen) reach(*bitmap);
    Bitmap freed;
    if (next_ > 0) freed.addRange(0, next_);
    freed -= alive;
    if (!freed.isEmpty()) cooling_.emplace_back(position, std::move(freed));
}

std::optional<std::uint32_t> Numbers::take(const std::function<void(Bitmap&)>& without_frozen) {
    if (stale_) {
        available_ = free_;
        if (!available_.isEmpty()) without_frozen(available_);
        stale_ = false;
    }
    if (!available_.isEmpty()) {
        const std::uint32_t number = available_.minimum();
        available_.remove(number);
        free_.remove(number);
        return number;
    }
    if (next_ > std::numeric_limits<std::uint32_t>::max()) return std::nullopt;
    return static_cast<std::uint32_t>(next_++);
}

void Numbers::release(std::uint32_t number, std::uint64_t position) {
    if (cooling_.empty() || cooling_.back().first != position)
        cooling_.emplace_back(position, Bitmap());
    cooling_.back().second.add(number);
}

void Numbers::cool(std::uint64_t position) {
    while (!cooling_.empty() && cooling_.front().first <= position) {
        free_ |= cooling_.front().second;
        cooling_.pop_front();
        stale_ = true;
    }
}

}  // namespace registry
