#pragma once

// How full a page of a list is. A page ends by count, or when its rows hold so many bytes: one row
// may have tens of kilobytes, and as XML or JSON a multiple of that. The last row comes on top, so
// every page has one. A plain value.

#include <algorithm>
#include <cstddef>

namespace registry {

class PageFill {
  public:
    static constexpr std::size_t page_bytes = 1u << 20;

    explicit PageFill(std::size_t count_max, std::size_t bytes_max = page_bytes)
        : count_max_(std::max<std::size_t>(count_max, 1)), bytes_max_(bytes_max) {}
    bool full() const { return count_ >= count_max_ || bytes_ >= bytes_max_; }
    /// One row more, of so many bytes.
    void add(std::size_t bytes) {
        ++count_;
        bytes_ += bytes;
    }

  private:
    std::size_t count_max_, bytes_max_, count_ = 0, bytes_ = 0;
};

}  // namespace registry
