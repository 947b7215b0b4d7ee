#include "hub/process/turns.hpp"

#include <atomic>
#include <boost/asio/post.hpp>
#include <catch2/catch.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "hub/process/loops.hpp"
#include "pns/nursery.hpp"
#include "tests/support/comes_true.hpp"

namespace {

struct Seen {
    std::atomic<int> inside = 0, together_max = 0, had = 0, refused = 0;
};

/// Has the turn over a wait on another thread.
pns::Task<void> take(hub::Turns& turns, std::string key, hub::StorePool& pool, Seen& seen) {
    const auto turn = co_await turns.enter(std::move(key));
    if (!turn) {
        ++seen.refused;
        co_return;
    }
    const int together = ++seen.inside;
    if (together > seen.together_max) seen.together_max = together;
    auto nothing = [] {};
    co_await hub::on_store(pool, std::move(nothing));
    --seen.inside;
    ++seen.had;
}

}  // namespace

TEST_CASE("one at a time has the turn of a key, on whatever lane, and a bounded number waits",
          "[hub]") {
    constexpr int count = 200;
    Seen same, other, bounded;
    hub::Turns turns(count), narrow(1);
    hub::Loops loops(2);
    hub::StorePool pool(2);
    std::vector<std::unique_ptr<pns::Nursery>> nurseries;
    for (std::size_t i = 0; i < loops.size(); ++i)
        nurseries.push_back(std::make_unique<pns::Nursery>(loops.lane(i).get_executor()));
    for (int i = 0; i < count; ++i) {
        const auto lane = static_cast<std::size_t>(i) % loops.size();
        boost::asio::post(loops.lane(lane), [&, lane, i] {
            nurseries[lane]->start(take(turns, "same", pool, same));
            nurseries[lane]->start(take(turns, std::to_string(i), pool, other));
        });
    }
    boost::asio::post(loops.lane(0), [&] {
        for (int i = 0; i < 5; ++i) nurseries[0]->start(take(narrow, "k", pool, bounded));
    });
    loops.run();
    CHECK(support::comes_true([&] { return same.had == count && other.had == count; }));
    CHECK(same.together_max == 1);
    CHECK(support::comes_true([&] { return bounded.had == 2 && bounded.refused == 3; }));
    loops.stop();
}
