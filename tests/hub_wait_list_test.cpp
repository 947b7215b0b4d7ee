#include <catch2/catch.hpp>

#include <map>
#include <random>

#include "hub/send/wait_list.hpp"

using hub::Waiting;
using hub::WaitList;
using Place = std::pair<std::uint16_t, std::uint32_t>;

namespace {

Waiting device(std::uint32_t number, std::uint32_t door = 0, std::uint8_t attempts = 0) {
    Waiting out;
    out.partition = static_cast<std::uint16_t>(number % 4);
    out.number = number;
    out.attempts = attempts;
    out.door = door;
    return out;
}

std::size_t take_all_due(WaitList& list, std::int64_t now, std::map<Place, int>* seen = nullptr) {
    std::size_t count = 0;
    for (;;) {
        const auto taken = list.take_due(now, 512);
        if (taken.empty()) return count;
        for (std::size_t i = 0; i < taken.size(); ++i) {
            CHECK(taken[i].partition == taken.front().partition);
            if (i > 0) CHECK(taken[i].number > taken[i - 1].number);
            if (seen != nullptr) ++(*seen)[{taken[i].partition, taken[i].number}];
        }
        count += taken.size();
    }
}

}  // namespace

TEST_CASE("a million devices wait an hour for a door and all come when it opens", "[hub]") {
    constexpr std::uint32_t devices = 1'000'000;
    WaitList list(1'000);
    std::int64_t now = 5'000;
    for (std::uint32_t i = 0; i < devices; ++i) list.add(device(i, 7), now);
    CHECK(list.size() == devices);
    // While it is shut a few are tried now and then, and come back.
    std::size_t tried = 0;
    for (const std::int64_t end = now + 3'600'000; now < end; now += 1'000) {
        for (;;) {
            const auto taken = list.take_due(now, 512);
            if (taken.empty()) break;
            CHECK(taken.size() <= WaitList::sample_devices);
            tried += taken.size();
            for (const Waiting& one : taken) {
                CHECK(one.door == 7);
                list.add(one, now + 1'000);
            }
        }
    }
    CHECK(tried >= 700);
    CHECK(tried <= 16 * 3'600 / 4);
    list.open(3, now);  // another door
    CHECK(list.take_due(now, 512).size() <= WaitList::sample_devices);
    list.open(7, now);
    std::map<Place, int> seen;
    CHECK(take_all_due(list, now, &seen) >= devices - WaitList::sample_devices);
    for (const auto& [place, times] : seen) REQUIRE(times == 1);
    CHECK(list.size() == 0);
}

TEST_CASE("what is beyond the timed bound waits as a crowd, and nobody is lost", "[hub]") {
    WaitList list(100);
    for (std::uint32_t i = 0; i < 5'000; ++i) list.add(device(i), 1'000 + i % 7);
    CHECK(list.take_due(999, 512).empty());
    CHECK(list.next_due_ms() == 1'000);
    std::map<Place, int> seen;
    CHECK(take_all_due(list, 1'010, &seen) == 5'000);
    CHECK(seen.size() == 5'000);
    CHECK(list.next_due_ms() == std::numeric_limits<std::int64_t>::max());
}

TEST_CASE("a waiting device keeps what counts: its faults, its losses, what it ends as", "[hub]") {
    WaitList list(0);  // crowds only
    for (std::uint32_t i = 0; i < 400; ++i) {
        Waiting one = device(i, i % 3, static_cast<std::uint8_t>(i % 5));
        one.faults = static_cast<std::uint8_t>(i % 2);
        one.losses = static_cast<std::uint8_t>(i % 4);
        one.outcome = i % 2 == 0 ? pns::Outcome::throttled : pns::Outcome::pns_unreachable;
        list.add(one, 10);
    }
    std::size_t count = 0;
    list.take_all([&](const Waiting& one) {
        ++count;
        CHECK(one.partition == one.number % 4);
        CHECK(one.faults == one.number % 2);
        CHECK(one.losses == one.number % 4);
        CHECK((one.attempts > 0) == (one.number % 5 > 0));
        CHECK((one.outcome == pns::Outcome::throttled) == (one.number % 2 == 0));
    });
    CHECK(count == 400);
    CHECK(list.size() == 0);
}

TEST_CASE("many doors are bounded, and every device still comes", "[hub]") {
    WaitList list(0);
    for (std::uint32_t i = 0; i < 10'000; ++i)
        list.add(device(i, 2 + i % 1'000, static_cast<std::uint8_t>(i % 200)), 50);
    std::map<Place, int> seen;
    for (std::uint32_t door = 2; door < 1'002; ++door) list.open(door, 100);
    take_all_due(list, 100, &seen);
    CHECK(seen.size() == 10'000);
    CHECK(list.size() == 0);
}

TEST_CASE("any order of waiting, opening and taking loses and doubles nobody", "[hub]") {
    const auto seed = GENERATE(1u, 2u, 3u, 4u);
    std::mt19937 random(seed);
    WaitList list(50);
    std::map<Place, int> waiting;
    std::int64_t now = 0;
    for (int step = 0; step < 4'000; ++step) {
        now += static_cast<std::int64_t>(random() % 50);
        switch (random() % 4) {
            case 0:
            case 1: {
                const Waiting one = device(static_cast<std::uint32_t>(random() % 100'000),
                                           random() % 4, static_cast<std::uint8_t>(random() % 3));
                if (!waiting.emplace(Place{one.partition, one.number}, 1).second) break;
                list.add(one, now + static_cast<std::int64_t>(random() % 500));
                break;
            }
            case 2:
                list.open(random() % 4, now);
                break;
            default:
                for (const Waiting& one : list.take_due(now, 1 + random() % 20))
                    REQUIRE(waiting.erase({one.partition, one.number}) == 1);
        }
        REQUIRE(list.size() == waiting.size());
    }
    list.open_all(now);
    std::map<Place, int> rest;
    take_all_due(list, now, &rest);
    CHECK(rest == waiting);
}
