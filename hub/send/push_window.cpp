#include "hub/send/push_window.hpp"

#include <algorithm>
#include <cassert>

namespace hub {

pns::Task<bool> PushWindow::take(std::size_t count, bool small, const void* owner) {
    if (try_take(count)) co_return true;
    if (closed_) co_return false;
    Waiter waiter{count, small, owner, false, false, Timer(executor_, Timer::time_point::max())};
    auto place = waiters_.end();
    if (small)
        place = std::find_if(waiters_.begin(), waiters_.end(), [](Waiter* w) { return !w->small; });
    const auto me = waiters_.insert(place, &waiter);
    serve();
    while (!waiter.served && !waiter.withdrawn && !closed_) {
        co_await waiter.wake.async_wait(pns::as_result);
        const auto cancelled = (co_await boost::asio::this_coro::cancellation_state).cancelled();
        if (cancelled != boost::asio::cancellation_type::none) break;
    }
    if (waiter.served) co_return true;
    waiters_.erase(me);
    serve();
    co_return false;
}

void PushWindow::withdraw(const void* owner) {
    for (Waiter* waiter : waiters_) {
        if (waiter->owner != owner) continue;
        waiter->withdrawn = true;
        waiter->wake.cancel();
    }
}

void PushWindow::serve() {
    while (!waiters_.empty() && fits(waiters_.front()->count)) {
        Waiter& next = *waiters_.front();
        taken_ += next.count;
        next.served = true;
        next.wake.cancel();
        waiters_.pop_front();
    }
}

void PushWindow::give_back(std::size_t count) {
    assert(count <= taken_);
    taken_ -= count;
    if (!waiters_.empty()) serve();
}

void PushWindow::close() {
    closed_ = true;
    for (Waiter* waiter : waiters_) waiter->wake.cancel();
}

}  // namespace hub
