#pragma once

// The coroutine vocabulary of pns/ and hub/: one concrete executor, tasks on it, and completion
// tokens that report errors as values. See the compiler rule in README "Invariants": no capturing
// lambda and no braced temporary inside a full expression with co_await.

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/result.hpp>

namespace pns {

namespace asio = boost::asio;
using boost::system::error_code;

using Executor = asio::io_context::executor_type;

template <class T>
using Task = asio::awaitable<T, Executor>;

template <class T>
using Result = boost::system::result<T>;

inline constexpr asio::use_awaitable_t<Executor> use_task;
inline constexpr auto as_result = asio::as_tuple(use_task);

}  // namespace pns
