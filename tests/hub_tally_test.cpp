#include "hub/send/tally.hpp"

#include <catch2/catch.hpp>
#include <deque>
#include <random>

using hub::Notes;
using hub::Tally;
using pns::Outcome;

namespace {

std::uint64_t total(const registry::Counts& counts) {
    std::uint64_t sum = 0;
    for (const auto& [key, count] : counts) sum += count;
    return sum;
}

std::uint64_t marked(const registry::Progress& progress) {
    std::uint64_t sum = 0;
    for (const auto& numbers : progress.finished) sum += numbers.cardinality();
    return sum;
}

}  // namespace

TEST_CASE("counts add up to done at every snapshot, and completion is told once", "[hub]") {
    const auto seed = GENERATE(range(1u, 21u));
    INFO("seed " << seed);
    std::mt19937 random(seed);
    constexpr std::uint32_t devices = 500;
    Tally tally(devices, {});
    tally.set_started(1'000);
    std::vector<Notes> lanes(3, Notes(4));
    std::vector<std::pair<std::size_t, std::uint32_t>> open;  // lane, number
    int completions = 0;
    std::uint32_t next = 0;
    while (next < devices || !open.empty()) {
        const std::size_t lane = random() % lanes.size();
        const auto outcome = static_cast<Outcome>(random() % hub::outcomes_count);
        if (next < devices && random() % 3 != 0) {
            const bool before = random() % 4 == 0;
            lanes[lane].mark(2, before ? Outcome::unknown : outcome,
                             static_cast<std::uint16_t>(next % 4), next, before);
            if (before) open.emplace_back(lane, next);
            ++next;
        } else if (!open.empty()) {
            lanes[open.back().first].settle(2, 2, outcome);
            open.pop_back();
        }
        if (random() % 5 == 0) {
            completions += tally.add(lanes[random() % lanes.size()]);
            const auto snapshot = tally.snapshot(2'000).progress;
            CHECK(total(snapshot.counts) == marked(snapshot));
            CHECK(marked(snapshot) <= devices);
        }
    }
    for (auto& notes : lanes) completions += tally.add(notes);
    CHECK(completions == 1);
    const auto last = tally.snapshot(3'000).progress;
    CHECK(total(last.counts) == devices);
    CHECK(last.state == registry::SendState::completed);
    CHECK(last.started_at_ms == 1'000);
    CHECK(tally.ended());
}

TEST_CASE("a tally goes on from what the ledger kept", "[hub]") {
    Tally first(10, {});
    Notes notes(1);
    for (std::uint32_t i = 0; i < 4; ++i) notes.mark(0, Outcome::success, 0, i);
    notes.mark(0, Outcome::bad_channel, 0, 4);
    CHECK_FALSE(first.add(notes));
    Tally second(10, first.snapshot(1).progress);
    Notes rest(1);
    for (std::uint32_t i = 5; i < 10; ++i) rest.mark(0, Outcome::success, 0, i);
    CHECK(second.add(rest));
    const auto end = second.snapshot(2).progress;
    CHECK(end.counts.at({"apns", "Success"}) == 9);
    CHECK(end.counts.at({"apns", "BadChannel"}) == 1);
}

TEST_CASE("a send whose time ran out ends as abandoned", "[hub]") {
    Tally tally(1, {});
    Notes notes(1);
    notes.mark(0, Outcome::abandoned, 0, 7);
    tally.set_abandoned();
    CHECK(tally.add(notes));
    CHECK(tally.snapshot(5).progress.state == registry::SendState::abandoned);
}

TEST_CASE("what was never out is counted apart, and goes on from the ledger", "[hub]") {
    Tally first(10, {});
    CHECK(first.summary().never_out == 0);
    Notes notes(1);
    notes.mark(0, Outcome::pns_unreachable, 0, 0);
    notes.never_out();
    notes.mark(0, Outcome::abandoned, 0, 1);  // after an attempt
    notes.mark(0, Outcome::unknown, 0, 2, true);
    first.add(notes);
    notes.settle(0, 0, Outcome::abandoned);
    notes.never_out();
    first.add(notes);
    first.add(notes);
    const auto snapshot = first.snapshot(1);
    CHECK(snapshot.progress.never_out == 2);
    first.written(snapshot.told);
    CHECK(first.summary().never_out == 2);
    CHECK(hub::never_out_of(first.summary()) == 2);
    const Tally second(10, snapshot.progress);
    CHECK(second.summary().never_out == 2);
    // An older program told it by the outcomes.
    auto old = snapshot.progress;
    old.never_out.reset();
    CHECK(hub::never_out_of(old) == 2);
    old.counts[{"apns", "Skipped"}] = 3;
    CHECK(Tally(10, old).summary().never_out == 5);
}

TEST_CASE("the pace is that of the clock it is told of", "[hub]") {
    Tally tally(1'000, {});
    Notes notes(1);
    std::uint32_t number = 0;
    for (std::int64_t steady_ms = 600; steady_ms < 20'000; steady_ms += 250) {
        for (int i = 0; i < 10; ++i) notes.mark(0, Outcome::success, 0, number++);
        tally.add(notes);
        tally.note_pace(steady_ms);
    }
    CHECK(tally.rate_per_s() == 40.0);
}

TEST_CASE("a mark that is taken back leaves no trace", "[hub]") {
    Tally tally(3, {});
    Notes notes(1);
    for (std::uint32_t i = 0; i < 3; ++i) notes.mark(0, Outcome::unknown, 0, i, true);
    CHECK_FALSE(tally.add(notes));
    notes.unmark(0, 0, 1);
    notes.settle(0, 0, Outcome::success);
    CHECK_FALSE(notes.empty());
    CHECK_FALSE(tally.add(notes));
    const auto snapshot = tally.snapshot(1).progress;
    CHECK(total(snapshot.counts) == 2);
    CHECK(marked(snapshot) == 2);
    CHECK_FALSE(snapshot.finished[0].contains(1));
    notes.mark(0, Outcome::success, 0, 1);
    CHECK_FALSE(tally.add(notes));
    notes.settle(0, 0, Outcome::success);
    CHECK(tally.add(notes));
    CHECK(tally.snapshot(2).progress.counts.at({"apns", "Success"}) == 3);
}

TEST_CASE("a mark that is taken back and set again at once is on disk", "[hub]") {
    Tally tally(2, {});
    Notes notes(1);
    for (std::uint32_t i = 0; i < 2; ++i) notes.mark(0, Outcome::unknown, 0, i, true);
    CHECK_FALSE(tally.add(notes));
    for (std::uint32_t i = 0; i < 2; ++i) notes.unmark(0, 0, i);
    notes.mark(0, Outcome::unknown, 0, 0, true);  // goes out again
    notes.mark(0, Outcome::abandoned, 0, 1);      // or is cancelled
    CHECK_FALSE(tally.add(notes));
    const auto snapshot = tally.snapshot(1).progress;
    CHECK(marked(snapshot) == 2);
    CHECK(total(snapshot.counts) == 2);
}

TEST_CASE("what is told is on disk, and never goes back", "[hub]") {
    const auto seed = GENERATE(range(1u, 21u));
    INFO("seed " << seed);
    std::mt19937 random(seed);
    constexpr std::uint32_t devices = 300;
    Tally tally(devices, {});
    Notes notes(1);
    std::vector<std::uint32_t> open, waiting;  // marked; free to be marked
    for (std::uint32_t number = 0; number < devices; ++number) waiting.push_back(number);
    std::deque<Tally::Snapshot> writing;
    registry::Progress disk;
    registry::Counts told;
    while (!waiting.empty() || !open.empty()) {
        const bool flushes = random() % 8 == 0;
        if (flushes) {
            tally.add(notes);
            CHECK(tally.told_all() == false);
        } else if (!waiting.empty() && random() % 2 == 0) {
            const bool before = random() % 2 == 0;
            notes.mark(0, before ? Outcome::unknown : Outcome::success, 0, waiting.back(), before);
            if (before) open.push_back(waiting.back());
            waiting.pop_back();
        } else if (!open.empty() && random() % 3 != 0) {
            notes.settle(0, 0, random() % 4 == 0 ? Outcome::unknown : Outcome::success);
            open.pop_back();
        } else if (!open.empty()) {  // a pause took it back before it went out
            tally.add(notes);
            notes.unmark(0, 0, open.back());
            tally.add(notes);
            waiting.push_back(open.back());
            open.pop_back();
        }
        if (random() % 4 == 0) writing.push_back(tally.snapshot(1));
        if (!writing.empty() && random() % 3 == 0) {
            disk = writing.front().progress;
            if (random() % 4 != 0) tally.written(writing.front().told);  // else its word comes late
            writing.pop_front();
        }
        const auto now = tally.summary().counts;
        for (const auto& [key, count] : told) {
            REQUIRE(now.contains(key));
            REQUIRE(now.at(key) >= count);
        }
        for (const auto& [key, count] : now) REQUIRE(disk.counts.at(key) >= count);
        told = now;
    }
}
