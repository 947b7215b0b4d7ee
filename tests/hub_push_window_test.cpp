#include "hub/push_window.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "pns/nursery.hpp"

namespace {

pns::Task<void> taker(hub::PushWindow& window, std::size_t count, bool small, std::string name,
                      std::vector<std::string>& order) {
    const bool taken = co_await window.take(count, small);
    order.push_back(taken ? name : name + " refused");
}

}  // namespace

TEST_CASE("places go to small sends first, then in order of asking", "[hub]") {
    boost::asio::io_context loop{1};
    hub::PushWindow window(loop.get_executor(), 100);
    pns::Nursery nursery(loop.get_executor());
    std::vector<std::string> order;
    nursery.start(taker(window, 100, false, "first", order));
    nursery.start(taker(window, 60, false, "big", order));
    nursery.start(taker(window, 60, false, "later", order));
    nursery.start(taker(window, 1, true, "single", order));
    loop.poll();
    CHECK(order == std::vector<std::string>{"first"});
    window.give_back(1);
    loop.poll();
    CHECK(order == std::vector<std::string>{"first", "single"});
    window.give_back(60);
    loop.poll();
    CHECK(order == std::vector<std::string>{"first", "single", "big"});
    window.give_back(40);
    window.give_back(60);
    loop.poll();
    CHECK(order.back() == "later");
    CHECK(window.taken() == 60);
    loop.run();
}

TEST_CASE("a request larger than the window passes when the window is empty", "[hub]") {
    boost::asio::io_context loop{1};
    hub::PushWindow window(loop.get_executor(), 10);
    pns::Nursery nursery(loop.get_executor());
    std::vector<std::string> order;
    nursery.start(taker(window, 25, false, "huge", order));
    loop.run();
    CHECK(order == std::vector<std::string>{"huge"});
}

TEST_CASE("closing the window ends all waiting", "[hub]") {
    boost::asio::io_context loop{1};
    hub::PushWindow window(loop.get_executor(), 10);
    pns::Nursery nursery(loop.get_executor());
    std::vector<std::string> order;
    nursery.start(taker(window, 10, false, "first", order));
    nursery.start(taker(window, 5, false, "waiting", order));
    loop.poll();
    window.close();
    loop.run();
    CHECK(order == std::vector<std::string>{"first", "waiting refused"});
    CHECK(window.taken() == 10);
}

TEST_CASE("a cancelled waiter takes no place", "[hub]") {
    boost::asio::io_context loop{1};
    hub::PushWindow window(loop.get_executor(), 10);
    pns::Nursery nursery(loop.get_executor());
    std::vector<std::string> order;
    nursery.start(taker(window, 10, false, "first", order));
    nursery.start(taker(window, 5, false, "waiting", order));
    loop.poll();
    nursery.cancel();
    loop.run();
    CHECK(nursery.size() == 0);
    window.give_back(10);
    CHECK(window.taken() == 0);
}
