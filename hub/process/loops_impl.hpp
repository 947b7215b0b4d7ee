#pragma once

// Bodies of the templates of loops.hpp; include that.
//
// Neither wait can be cancelled: work that was started on another thread ends there, and its result
// is then delivered. Until then the loop is kept alive, and Loops::stop() waits for it.

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace hub {

template <class Function>
pns::Task<std::invoke_result_t<Function>> on_store(StorePool& pool, Function function) {
    using Value = std::invoke_result_t<Function>;
    using Kept = std::conditional_t<std::is_void_v<Value>, std::monostate, Value>;
    auto start = [&pool](auto handler, Function run) {
        auto loop = boost::asio::get_associated_executor(handler);
        auto busy = boost::asio::make_work_guard(loop);
        auto job = [loop, busy = std::move(busy), handler = std::move(handler),
                    run = std::move(run)]() mutable {
            std::exception_ptr failure;
            std::optional<Kept> value;
            try {
                if constexpr (std::is_void_v<Value>) {
                    run();
                    value.emplace();
                } else {
                    value.emplace(run());
                }
            } catch (...) {
                failure = std::current_exception();
            }
            auto resume = [handler = std::move(handler), failure = std::move(failure),
                           value = std::move(value)]() mutable {
                std::move(handler)(std::move(failure), std::move(value));
            };
            boost::asio::post(loop, std::move(resume));
        };
        boost::asio::post(pool.io(), std::move(job));
    };
    std::optional<Kept> value =
        co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<pns::Executor>,
                                             void(std::exception_ptr, std::optional<Kept>)>(
            std::move(start), pns::use_task, std::move(function));
    if constexpr (!std::is_void_v<Value>) co_return std::move(*value);
}

/// A coroutine that waits for an outcome from another thread.
template <class Handler, class Outcome>
class Awaited final : public Letter {
  public:
    explicit Awaited(Handler handler)
        : loop_(boost::asio::get_associated_executor(handler)),
          busy_(boost::asio::make_work_guard(loop_)),
          handler_(std::move(handler)) {}

    /// Any thread, once. `self` is this one.
    static void resume(const std::shared_ptr<Awaited>& self, Outcome outcome) {
        self->outcome_.emplace(std::move(outcome));
        if (self->mailbox_ != nullptr) {
            self->mailbox_->put(self);
        } else {
            boost::asio::post(self->loop_, [self] { self->open(); });
        }
    }
    void open() override {
        auto handler = std::move(handler_);
        std::move(handler)(std::move(*outcome_));
    }

  private:
    Mailbox* const mailbox_ = Mailbox::here();
    const pns::Executor loop_;
    boost::asio::executor_work_guard<pns::Executor> busy_;
    Handler handler_;
    std::optional<Outcome> outcome_;
};

template <class T, class Start>
pns::Task<boost::system::result<T>> committed(Start start) {
    using Outcome = boost::system::result<T>;
    auto begin = [](auto handler, Start run) {
        using Waiting = Awaited<decltype(handler), Outcome>;
        const auto waiting = std::make_shared<Waiting>(std::move(handler));
        run(std::function<void(Outcome)>(
            [waiting](Outcome outcome) { Waiting::resume(waiting, std::move(outcome)); }));
    };
    return boost::asio::async_initiate<const boost::asio::use_awaitable_t<pns::Executor>,
                                       void(Outcome)>(std::move(begin), pns::use_task,
                                                      std::move(start));
}

}  // namespace hub
