#include "hub/send/push_window.hpp"

#include <catch2/catch.hpp>
#include <set>
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

TEST_CASE("an owner that is withdrawn stops waiting and holds up nobody", "[hub]") {
    boost::asio::io_context loop{1};
    hub::PushWindow window(loop.get_executor(), 10);
    pns::Nursery nursery(loop.get_executor());
    std::vector<std::string> order;
    const int owner = 0;
    const auto owned = [](hub::PushWindow& places, std::size_t count, const void* who,
                          std::string name, std::vector<std::string>& told) -> pns::Task<void> {
        const bool taken = co_await places.take(count, false, who);
        told.push_back(taken ? name : name + " withdrawn");
    };
    nursery.start(taker(window, 8, false, "first", order));
    nursery.start(owned(window, 8, &owner, "big", order));
    nursery.start(owned(window, 2, nullptr, "fits", order));
    loop.poll();
    CHECK(order == std::vector<std::string>{"first"});
    window.withdraw(&owner);
    loop.poll();
    REQUIRE(order.size() == 3);
    CHECK(std::set(order.begin() + 1, order.end()) ==
          std::set<std::string>{"big withdrawn", "fits"});
    CHECK(window.taken() == 10);
    window.withdraw(&owner);  // nothing waits
    window.give_back(10);
    loop.poll();
    CHECK(window.taken() == 0);
}
