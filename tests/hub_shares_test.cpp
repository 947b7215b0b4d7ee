#include "hub/process/shares.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <optional>
#include <thread>

using hub::Full;
using hub::Shares;

namespace {

/// Places with bounds that a test moves.
struct Board {
    explicit Board(std::uint64_t places, std::uint64_t percent = 80, std::uint64_t hubs = 2)
        : places_max(places), rule{percent, hubs} {}
    std::uint64_t places_max;
    hub::ShareRule rule;
    Shares shares{"seats", "seats", [this] { return places_max; }, [this] { return rule; }};

    /// Takes until it is refused; how many.
    std::uint64_t fill(std::uint32_t hub, Full& why) {
        std::uint64_t taken = 0;
        for (;;) {
            auto place = shares.take(hub);
            if (!place) {
                why = place.full();
                return taken;
            }
            held.push_back(std::move(place));
            ++taken;
        }
    }
    std::vector<Shares::Place> held;
};

}  // namespace

TEST_CASE("a share is what is kept for a hub, and a part of what the others leave", "[hub]") {
    using hub::share_of;
    CHECK(share_of(1'000, 0, {80, 2}) == 100 + 640);
    CHECK(share_of(1'000, 740, {80, 2}) == 100 + 48);
    CHECK(share_of(1'000, 900, {80, 2}) == 100);
    CHECK(share_of(1'000, 999, {80, 2}) == 1);
    CHECK(share_of(1'000, 1'000, {80, 2}) == 0);
    CHECK(share_of(1'000, 5'000, {80, 2}) == 0);
    CHECK(share_of(1'000, 300, {100, 7}) == 700);
    CHECK(share_of(5, 0, {80, 2}) == 4);
    CHECK(share_of(5, 4, {80, 2}) == 1);
    CHECK(share_of(1, 0, {1, 9}) == 1);
    CHECK(share_of(0, 0, {100, 1}) == 0);
    CHECK(share_of(UINT64_MAX, 0, {100, 1}) == UINT64_MAX);
    CHECK(share_of(100, 0, {80, 0}) == share_of(100, 0, {80, 1}));
}

TEST_CASE("no hub takes the last place of another, however many are greedy", "[hub]") {
    const auto hubs = GENERATE(std::uint32_t{2}, 3, 12, 150);
    const auto percent = GENERATE(std::uint64_t{1}, 50, 80, 95);
    Board board(1'000, percent, hubs);
    const std::uint64_t own = (1'000 - 10 * percent) / hubs;
    INFO(hubs << " hubs, " << percent << " percent");
    Full why = Full::no;
    for (std::uint32_t greedy = 1; greedy < hubs; ++greedy) {
        CHECK(board.fill(greedy, why) >= own);
        if (board.shares.used() < 1'000) CHECK(why == Full::hub);
    }
    CHECK(board.shares.used() <= 1'000 - own);
    CHECK(board.fill(hubs, why) >= own);  // whoever comes last
    CHECK(board.shares.used() <= 1'000);
}

TEST_CASE("one hub alone has all places", "[hub]") {
    Board board(1'000, 100, 1);
    Full why = Full::no;
    CHECK(board.fill(7, why) == 1'000);
    CHECK(why == Full::all);
    CHECK(board.shares.full(8) == Full::all);
    // A second hub comes: it gets the next place that is free, and the first one does not.
    board.rule = {80, 2};
    board.held.pop_back();
    CHECK(board.shares.full(7) == Full::hub);
    CHECK(bool(board.shares.take(8)));
}

TEST_CASE("places are given back with what holds them", "[hub]") {
    std::optional<Board> board(10);
    auto some = board->shares.take(3, 100);
    CHECK(some.count() == 7);
    CHECK_FALSE(bool(board->shares.take(3)));
    some.shrink(2);
    CHECK(some.count() == 2);
    CHECK(board->shares.used() == 2);
    const auto uses = board->shares.uses();
    REQUIRE(uses.size() == 1);
    CHECK(uses[0].hub == 3);
    CHECK(uses[0].used == 2);
    CHECK(uses[0].share == 7);
    auto moved = std::move(some);
    CHECK_FALSE(bool(some));  // NOLINT: that is the question
    moved = board->shares.take_anyway(4, 50);
    CHECK(board->shares.used() == 50);
    CHECK(board->shares.full(5) == Full::all);
    board.reset();
    moved.give_back();  // its Shares is gone
}

TEST_CASE("places are exact when many threads take them", "[hub]") {
    Board board(64);
    std::vector<std::thread> threads;
    std::atomic<bool> over = false;
    for (std::uint32_t hub = 0; hub < 4; ++hub) {
        threads.emplace_back([&, hub] {
            for (int i = 0; i < 2'000; ++i) {
                const auto one = board.shares.take(hub % 2);
                const auto more = board.shares.take(hub, 5);
                if (board.shares.used() > 64) over = true;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK_FALSE(over);
    CHECK(board.shares.used() == 0);
    CHECK(board.shares.uses().empty());
}
