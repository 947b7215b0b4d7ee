// Tested by tests/pns_nursery_test.cpp.

#include "pns/nursery.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/system/system_error.hpp>
#include <cassert>

namespace pns {

namespace {

bool is_cancellation(const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const boost::system::system_error& e) {
        return e.code() == asio::error::operation_aborted;
    } catch (...) {
        return false;
    }
}

// Carries the slot itself: with asio::bind_cancellation_slot, co_spawn in Boost 1.81 posts a
// cancellation that comes from outside the loop's run, and that post may find the signal gone with
// its child.
template <class Function>
struct EndHandler {
    using cancellation_slot_type = asio::cancellation_slot;
    cancellation_slot_type get_cancellation_slot() const noexcept { return slot; }
    void operator()(std::exception_ptr error) { function(std::move(error)); }
    Function function;
    asio::cancellation_slot slot;
};

}  // namespace

Nursery::Nursery(Executor executor)
    : executor_(executor), empty_(executor, asio::steady_timer::time_point::max()) {}

Nursery::~Nursery() {
    assert(children_.empty());
}

void Nursery::start(Task<void> child) {
    auto place = children_.emplace(children_.end());
    auto ended = [this, place](std::exception_ptr error) {
        children_.erase(place);
        // A child that was asked to stop and did so by letting the abort through has not failed.
        if (error && !first_error_ && !(cancelled_ && is_cancellation(error))) {
            first_error_ = error;
            cancel();
        }
        if (children_.empty()) empty_.cancel();
    };
    EndHandler<decltype(ended)> handler{std::move(ended), place->signal.slot()};
    try {
        asio::co_spawn(executor_, run(*place, std::move(child)), std::move(handler));
    } catch (...) {
        children_.erase(place);  // there is no memory for it, and it has not begun
        throw;
    }
}

// co_spawn in Boost 1.81 loses its handler if its own waits, before and after the child, find the
// child cancelled: so a cancellation before the start is kept until then, and none throws after the
// end.
Task<void> Nursery::run(Child& self, Task<void> child) {
    self.started = true;
    std::exception_ptr error;
    try {
        if (self.cancelled_early) {
            throw boost::system::system_error(asio::error::operation_aborted);
        }
        co_await std::move(child);
    } catch (...) {
        error = std::current_exception();
    }
    co_await asio::this_coro::throw_if_cancelled(false);
    if (error) std::rethrow_exception(error);
}

void Nursery::cancel(asio::cancellation_type type) {
    cancelled_ = true;
    // emit() may end children inside: each step looks its successor up before.
    for (auto it = children_.begin(); it != children_.end();) {
        Child& child = *it++;
        if (child.started) {
            child.signal.emit(type);
        } else {
            child.cancelled_early = true;
        }
    }
}

Task<void> Nursery::join() {
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    co_await asio::this_coro::throw_if_cancelled(false);
    auto token = asio::bind_cancellation_slot(asio::cancellation_slot(), as_result);
    while (!children_.empty()) co_await empty_.async_wait(token);
    co_await asio::this_coro::throw_if_cancelled(throws);
}

}  // namespace pns
