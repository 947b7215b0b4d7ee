#include "pns/nursery.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <catch2/catch.hpp>
#include <stdexcept>

#include "tests/support/run_until.hpp"

namespace {

using pns::Nursery;
using pns::Task;
namespace asio = boost::asio;

Task<void> count(int& counter) {
    ++counter;
    co_return;
}

Task<void> wait_for_ever(pns::Executor executor, int& started, int& ended) {
    ++started;
    asio::steady_timer timer(executor, asio::steady_timer::time_point::max());
    co_await timer.async_wait(pns::as_result);
    ++ended;
}

Task<void> fail() {
    throw std::runtime_error("broken");
    co_return;
}

Task<void> abort_when_cancelled(pns::Executor executor) {
    asio::steady_timer timer(executor, asio::steady_timer::time_point::max());
    co_await timer.async_wait(pns::use_task);
}

Task<void> join(Nursery& nursery, bool& joined) {
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await nursery.join();
    joined = true;
}

}  // namespace

TEST_CASE("a nursery joins when its last child has ended", "[pns]") {
    asio::io_context loop(1);
    Nursery outer(loop.get_executor()), inner(loop.get_executor());
    int ran = 0;
    bool joined = false;
    for (int i = 0; i < 100; ++i) inner.start(count(ran));
    outer.start(join(inner, joined));
    loop.run();
    CHECK(ran == 100);
    CHECK(joined);
    CHECK(inner.size() == 0);
}

TEST_CASE("joining an empty nursery completes at once", "[pns]") {
    asio::io_context loop(1);
    Nursery outer(loop.get_executor()), inner(loop.get_executor());
    bool joined = false;
    outer.start(join(inner, joined));
    loop.run();
    CHECK(joined);
}

TEST_CASE("cancel ends every child that waits, and only those there", "[pns]") {
    asio::io_context loop(1);
    Nursery nursery(loop.get_executor());
    int started = 0, ended = 0;
    for (int i = 0; i < 10; ++i) {
        nursery.start(wait_for_ever(loop.get_executor(), started, ended));
    }
    REQUIRE(support::run_until(loop, [&] { return started == 10; }));
    CHECK(ended == 0);
    nursery.cancel();
    REQUIRE(support::run_until(loop, [&] { return nursery.size() == 0; }));
    CHECK(ended == 10);
    nursery.start(wait_for_ever(loop.get_executor(), started, ended));
    REQUIRE(support::run_until(loop, [&] { return started == 11; }));
    loop.poll();
    CHECK(nursery.size() == 1);
    nursery.cancel();
    loop.run();
    CHECK(ended == 11);
}

TEST_CASE("a child cancelled before its first step never runs its body past a wait", "[pns]") {
    asio::io_context loop(1);
    Nursery nursery(loop.get_executor());
    int started = 0, ended = 0;
    nursery.start(wait_for_ever(loop.get_executor(), started, ended));
    nursery.cancel();
    loop.run();
    CHECK(nursery.size() == 0);
    CHECK_FALSE(nursery.first_error());
}

TEST_CASE("the first exception is kept and cancels the siblings", "[pns]") {
    asio::io_context loop(1);
    Nursery nursery(loop.get_executor());
    int started = 0, ended = 0;
    nursery.start(wait_for_ever(loop.get_executor(), started, ended));
    nursery.start(abort_when_cancelled(loop.get_executor()));
    nursery.start(fail());
    loop.run();
    CHECK(ended == 1);
    REQUIRE(nursery.first_error());
    CHECK_THROWS_WITH(std::rethrow_exception(nursery.first_error()), "broken");
}

TEST_CASE("the abort of a cancelled child is no error", "[pns]") {
    asio::io_context loop(1);
    Nursery nursery(loop.get_executor());
    nursery.start(abort_when_cancelled(loop.get_executor()));
    loop.poll();
    nursery.cancel();
    loop.restart();
    loop.run();
    CHECK(nursery.size() == 0);
    CHECK_FALSE(nursery.first_error());
}

TEST_CASE("join survives the cancellation of its caller", "[pns]") {
    asio::io_context loop(1);
    Nursery outer(loop.get_executor()), inner(loop.get_executor());
    int started = 0, ended = 0;
    bool joined = false;
    inner.start(wait_for_ever(loop.get_executor(), started, ended));
    outer.start(join(inner, joined));
    loop.poll();
    REQUIRE(started == 1);
    outer.cancel();
    loop.poll();
    CHECK_FALSE(joined);
    CHECK(outer.size() == 1);
    inner.cancel();
    REQUIRE(support::run_until(loop, [&] { return outer.size() == 0; }));
    CHECK(joined);
}
