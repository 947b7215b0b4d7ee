#pragma once

// Bounds the pushes that one lane has loaded and not yet finished for one sender. Waiters are
// served in order, small sends before big ones, so that a broadcast never stands before a single
// push. One loop only.

#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <list>

#include "pns/task.hpp"

namespace hub {

class PushWindow {
  public:
    PushWindow(pns::Executor executor, std::size_t pushes_max)
        : executor_(executor), max_(pushes_max) {}

    /// Takes `count` places, waiting until they are free. False if the window was closed meanwhile,
    /// or if `owner` was withdrawn while it waited.
    pns::Task<bool> take(std::size_t count, bool small, const void* owner = nullptr);
    /// Takes them if that needs no waiting.
    bool try_take(std::size_t count) {
        const bool free = !closed_ && waiters_.empty() && fits(count);
        if (free) taken_ += count;
        return free;
    }
    void give_back(std::size_t count);
    /// Ends the waiting of this owner, who may come back.
    void withdraw(const void* owner);
    /// Ends all waiting and everything that comes later.
    void close();

    std::size_t taken() const { return taken_; }

  private:
    using Timer =
        boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                          boost::asio::wait_traits<std::chrono::steady_clock>,
                                          pns::Executor>;
    struct Waiter {
        std::size_t count;
        bool small;
        const void* owner;
        bool served = false;
        bool withdrawn = false;
        Timer wake;
    };
    pns::Executor executor_;
    const std::size_t max_;
    std::size_t taken_ = 0;
    bool closed_ = false;
    std::list<Waiter*> waiters_;

    bool fits(std::size_t count) const { return taken_ == 0 || taken_ + count <= max_; }
    void serve();
};

}  // namespace hub
