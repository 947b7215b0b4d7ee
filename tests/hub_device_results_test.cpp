#include "hub/send/device_results.hpp"

#include <catch2/catch.hpp>
#include <thread>

using hub::DeviceResult;
using hub::DeviceResults;
using Keep = hub::DeviceResults::Keep;
using pns::Outcome;

namespace {

DeviceResult result(Outcome outcome, std::string new_handle = {}) {
    DeviceResult made;
    made.platform = "apns";
    made.handle = "AB";
    made.outcome = outcome;
    made.new_handle = std::move(new_handle);
    return made;
}

hub::Shares room(std::size_t results_max = 1'000'000, hub::ShareRule rule = {}) {
    return {"device_results", "results", [results_max] { return results_max; },
            [rule] { return rule; }};
}

}  // namespace

TEST_CASE("failures and renewed handles are kept, the rest only on request", "[hub]") {
    struct Case {
        Keep keep;
        Outcome outcome;
        bool renamed;
        bool kept;
    };
    const auto c = GENERATE(values<Case>({
        {Keep::none, Outcome::bad_channel, false, false},
        {Keep::none, Outcome::success, true, false},
        {Keep::failures, Outcome::success, false, false},
        {Keep::failures, Outcome::success, true, true},
        {Keep::failures, Outcome::skipped, false, false},
        {Keep::failures, Outcome::bad_channel, false, true},
        {Keep::failures, Outcome::unknown, false, true},
        {Keep::all, Outcome::success, false, true},
        {Keep::all, Outcome::skipped, false, true},
    }));
    DeviceResults results(c.keep, room(), 1);
    CHECK(results.wants(c.outcome, c.renamed) == c.kept);
    results.add(result(c.outcome, c.renamed ? "CD" : ""));
    CHECK(results.snapshot().size() == (c.kept ? 1 : 0));
}

TEST_CASE("a send keeps a bounded number of results", "[hub]") {
    DeviceResults results(Keep::failures, room(), 1);
    for (std::size_t i = 0; i < DeviceResults::results_max + 5; ++i)
        results.add(result(Outcome::throttled));
    CHECK(results.snapshot().size() == DeviceResults::results_max);
    CHECK(results.full());
}

TEST_CASE("all sends together keep what the room holds, and give it back", "[hub]") {
    const auto shared = room(3);
    auto first = std::make_unique<DeviceResults>(Keep::failures, shared, 1);
    DeviceResults second(Keep::failures, shared, 1);
    first->add(result(Outcome::dropped));
    first->add(result(Outcome::dropped));
    second.add(result(Outcome::dropped));
    second.add(result(Outcome::dropped));
    CHECK(second.snapshot().size() == 1);
    CHECK(shared.used() == 3);
    first.reset();
    CHECK(shared.used() == 1);
    second.add(result(Outcome::dropped));
    CHECK(second.snapshot().size() == 2);
}

TEST_CASE("results of one hub leave room for those of another", "[hub]") {
    const auto shared = room(100, {80, 2});
    DeviceResults greedy(Keep::failures, shared, 1), other(Keep::failures, shared, 2);
    for (int i = 0; i < 200; ++i) greedy.add(result(Outcome::dropped));
    CHECK(greedy.snapshot().size() == 74);
    for (int i = 0; i < 10; ++i) other.add(result(Outcome::dropped));
    CHECK(other.snapshot().size() == 10);
}

TEST_CASE("what failed comes back from the ledger as error details need it", "[hub]") {
    DeviceResult failed = result(Outcome::expired_channel, "CD");
    failed.partition = 3;
    failed.number = 70'000;
    failed.registration_id = "1-2-3";
    failed.installation_id = "phone";
    failed.at_ms = 99;
    failed.reason = "Unregistered";
    const auto failures =
        hub::failures_of({result(Outcome::success), failed, result(Outcome::skipped),
                          result(Outcome::success, "EF"), result(Outcome::unknown)});
    REQUIRE(failures.size() == 3);
    CHECK(failures[1].new_handle == "EF");
    CHECK(hub::failed_before(registry::DeviceFailure(failures[2])).outcome == Outcome::unknown);
    const DeviceResult back = hub::failed_before(registry::DeviceFailure(failures[0]));
    CHECK((back.partition == 3 && back.number == 70'000 && back.at_ms == 99));
    CHECK((back.platform == "apns" && back.outcome == Outcome::expired_channel));
    CHECK(back.reason == "Unregistered");
    CHECK((back.handle == "AB" && back.new_handle == "CD"));
    CHECK((back.registration_id == "1-2-3" && back.installation_id == "phone"));

    DeviceResults results(Keep::all, room(), 1);
    for (const std::string name : {"a", "b", "c"}) results.add(result(Outcome::success, name));
    REQUIRE(results.snapshot(1).size() == 2);
    CHECK(results.snapshot(1)[0].new_handle == "b");
    CHECK(results.snapshot(4).empty());
}

TEST_CASE("lanes add at the same time and lose nothing", "[hub]") {
    DeviceResults results(Keep::all, room(), 1);
    std::vector<std::thread> lanes;
    for (int t = 0; t < 4; ++t) {
        lanes.emplace_back([&] {
            for (int i = 0; i < 500; ++i) results.add(result(Outcome::success));
        });
    }
    for (auto& lane : lanes) lane.join();
    CHECK(results.snapshot().size() == 2'000);
}
