#pragma once

// The only place that starts coroutines. A Nursery owns its children: it can cancel them and wait
// until the last one has ended, so that what a child refers to may live in the frame or object that
// owns the Nursery. One loop only: every call and every child runs on the executor given to the
// constructor.

#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <exception>
#include <functional>
#include <list>

#include "pns/task.hpp"

namespace pns {

class Nursery {
  public:
    explicit Nursery(Executor executor);
    /// Must be empty: join() first, or run the loop to its end.
    ~Nursery();
    Nursery(const Nursery&) = delete;
    Nursery& operator=(const Nursery&) = delete;

    /// Starts a child. An exception that leaves it is kept as first_error() and cancels its
    /// siblings; the abort of a child that was cancelled is no error. Throws if there is no memory
    /// for a child; then there is none.
    void start(Task<void> child);
    /// Asks every child to stop (`terminal`: its present wait ends and later ones throw; `total`:
    /// only children that have enabled it by reset_cancellation_state(enable_total_cancellation())
    /// take notice). Later children are not affected.
    void cancel(asio::cancellation_type type = asio::cancellation_type::terminal);
    /// Completes when no child is left. Survives cancellation of the caller while it waits; a
    /// caller that may have been cancelled before says `co_await
    /// asio::this_coro::throw_if_cancelled(false)` first, or the co_await itself throws.
    Task<void> join();

    std::size_t size() const { return children_.size(); }
    std::exception_ptr first_error() const { return first_error_; }
    Executor executor() const { return executor_; }

  private:
    struct Child {
        asio::cancellation_signal signal;
        bool started = false;
        bool cancelled_early = false;
    };
    static Task<void> run(Child& self, Task<void> child);

    Executor executor_;
    std::list<Child> children_;
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, Executor>
        empty_;
    std::exception_ptr first_error_;
    bool cancelled_ = false;
};

}  // namespace pns
