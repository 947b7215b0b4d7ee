#include "hub/send/rounds.hpp"

#include <catch2/catch.hpp>
#include <cstdint>
#include <vector>

namespace {

using Bitmaps = std::vector<registry::Bitmap>;

std::uint64_t count(const Bitmaps& bitmaps) {
    std::uint64_t total = 0;
    for (const auto& bitmap : bitmaps) total += bitmap.cardinality();
    return total;
}

Bitmaps ten_thousand() {
    Bitmaps devices(2);
    devices[0].addRange(0, 5'000);
    devices[1].addRange(3, 5'003);
    return devices;
}

}  // namespace

TEST_CASE("a canary is a reproducible share, never empty, another for every send", "[hub]") {
    Bitmaps devices(3);
    devices[0].addRange(0, 60'000);
    devices[2].addRange(5, 40'005);
    const auto chosen = hub::canary_of(devices, "NH-1", 10'000);
    CHECK(chosen == hub::canary_of(devices, "NH-1", 10'000));
    CHECK(chosen != hub::canary_of(devices, "NH-2", 10'000));
    CHECK(count(chosen) > 800);
    CHECK(count(chosen) < 1'200);
    for (std::size_t p = 0; p < devices.size(); ++p) CHECK(chosen[p].isSubset(devices[p]));
    // A larger share holds the smaller one, and a device is chosen whoever else is there.
    const auto larger = hub::canary_of(devices, "NH-1", 20'000);
    for (std::size_t p = 0; p < devices.size(); ++p) CHECK(chosen[p].isSubset(larger[p]));
    Bitmaps few(3);
    few[2].addRange(7, 10);
    CHECK(count(hub::canary_of(few, "NH-1", 1)) == 1);
    CHECK(count(hub::canary_of({}, "NH-1", 1)) == 0);
}

TEST_CASE("without a canary one round takes all", "[hub]") {
    const Bitmaps devices = ten_thousand();
    hub::Rounds rounds;
    CHECK_FALSE(rounds.begun());
    CHECK(rounds.next(devices) == devices);
    CHECK(rounds.begun());
}

TEST_CASE("the canary goes first, then the rest, and each device once", "[hub]") {
    const Bitmaps devices = ten_thousand();
    hub::Rounds rounds(devices);
    rounds.canary_first(rounds.canary_left(devices, "NH-1", 100'000));
    const Bitmaps canary = rounds.next(devices);
    CHECK(canary == hub::canary_of(devices, "NH-1", 100'000));
    const Bitmaps rest = rounds.next(devices);
    CHECK(count(canary) > 0);
    CHECK(count(canary) + count(rest) == count(devices));
    for (std::size_t p = 0; p < devices.size(); ++p) CHECK((canary[p] & rest[p]).isEmpty());
}

TEST_CASE("after a restart the canary is the same, less what was final", "[hub]") {
    const Bitmaps devices = ten_thousand();
    const Bitmaps canary = hub::canary_of(devices, "NH-1", 100'000);
    Bitmaps todo = devices;
    for (std::size_t p = 0; p < todo.size(); ++p) todo[p] -= canary[p];
    hub::Rounds rounds(devices);
    rounds.canary_first(rounds.canary_left(todo, "NH-1", 100'000));
    CHECK(count(rounds.next(todo)) == 0);
    CHECK(rounds.next(todo) == todo);
}

TEST_CASE("a canary that is released before it is known makes one round of all", "[hub]") {
    const Bitmaps devices = ten_thousand();
    hub::Rounds rounds(devices);
    rounds.all_at_once();
    CHECK(rounds.next(devices) == devices);
}
