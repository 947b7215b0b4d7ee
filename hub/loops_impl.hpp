#pragma once

// Bodies of the templates of loops.hpp; include that.
//
// Neither wait can be cancelled: what was started on another thread ends there and is then
// delivered. Until then the loop is kept alive, so that Loops::stop() waits for it.

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <exception>
#include <functional>
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
        boost::asio::post(pool, std::move(job));
    };
    std::optional<Kept> value =
        co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<pns::Executor>,
                                             void(std::exception_ptr, std::optional<Kept>)>(
            std::move(start), pns::use_task, std::move(function));
    if constexpr (!std::is_void_v<Value>) co_return std::move(*value);
}

template <class T, class Start>
pns::Task<boost::system::result<T>> committed(Start start) {
    using Outcome = boost::system::result<T>;
    auto begin = [](auto handler, Start run) {
        auto loop = boost::asio::get_associated_executor(handler);
        auto busy = boost::asio::make_work_guard(loop);
        // The registry keeps callbacks as std::function, which must be copyable; the handler is
        // not.
        auto waiting = std::make_shared<std::pair<decltype(handler), decltype(busy)>>(
            std::move(handler), std::move(busy));
        std::function<void(Outcome)> done = [loop, waiting](Outcome outcome) {
            auto resume = [waiting, outcome = std::move(outcome)]() mutable {
                auto resumed = std::move(waiting->first);
                std::move(resumed)(std::move(outcome));
            };
            boost::asio::post(loop, std::move(resume));
        };
        waiting.reset();
        run(std::move(done));
    };
    co_return co_await boost::asio::async_initiate<
        const boost::asio::use_awaitable_t<pns::Executor>, void(Outcome)>(
        std::move(begin), pns::use_task, std::move(start));
}

}  // namespace hub
