#pragma once

// Bytes that requests or answers hold in all connections of the process. A budget is shared by all
// lanes; a share belongs to one connection or request and gives back what it has when it ends.

#include <atomic>
#include <cstddef>
#include <utility>

namespace hub {

class ByteBudget {
  public:
    std::size_t held() const { return held_.load(std::memory_order_relaxed); }

  private:
    friend class ByteShare;
    std::atomic<std::size_t> held_ = 0;
};

class ByteShare {
  public:
    explicit ByteShare(ByteBudget& budget) : budget_(&budget) {}
    ByteShare(ByteShare&& other) noexcept
        : budget_(other.budget_), bytes_(std::exchange(other.bytes_, 0)) {}
    ByteShare& operator=(ByteShare&& other) noexcept {
        hold(0);
        budget_ = other.budget_;
        bytes_ = std::exchange(other.bytes_, 0);
        return *this;
    }
    ~ByteShare() { hold(0); }

    /// Holds `bytes` from now on, whatever the others hold.
    void hold(std::size_t bytes) {
        budget_->held_.fetch_add(bytes - bytes_, std::memory_order_relaxed);  // wraps as it must
        bytes_ = bytes;
    }
    /// The same if all shares together then hold `bytes_max` or less, or if it is no more than
    /// before. False: nothing has changed.
    bool try_hold(std::size_t bytes, std::size_t bytes_max) {
        if (bytes > bytes_) {
            const std::size_t more = bytes - bytes_;
            const auto before = budget_->held_.fetch_add(more, std::memory_order_relaxed);
            if (before + more > bytes_max) {
                budget_->held_.fetch_sub(more, std::memory_order_relaxed);
                return false;
            }
            bytes_ = bytes;
        } else {
            hold(bytes);
        }
        return true;
    }

  private:
    ByteBudget* budget_;
    std::size_t bytes_ = 0;
};

}  // namespace hub
