// Postings in memory: each view finds its own, and no reader of the disk stops anybody.

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <future>

#include "registry/postings.hpp"
#include "tests/support/faulty_env.hpp"
#include "tests/support/registry_fixture.hpp"

using namespace registry;
using namespace registry_test;

namespace {

constexpr std::uint32_t many = 1'000;  // enough for a place in the cache

Bitmap first(std::uint32_t count) {
    Bitmap bitmap;
    bitmap.addRange(0, count);
    return bitmap;
}

std::vector<PostingDelta> added(const std::string& prefix, std::uint32_t number) {
    return {{prefix, {{number, true}}}};
}

/// What the future has within a bound; a test that waits longer has found a lock.
template <class T>
T soon(std::future<T> future) {
    REQUIRE(future.wait_for(std::chrono::seconds(20)) == std::future_status::ready);
    return future.get();
}

}  // namespace

TEST_CASE("a cached posting is found as the view has it", "[registry]") {
    PostingCache cache(1u << 20);
    cache.offer("p", first(many), 10);
    const auto at_10 = cache.find("p", 10);
    CHECK(cache.find("p", 9) == nullptr);
    cache.apply(added("p", many), 11);
    cache.apply(added("q", many), 12);
    cache.apply({{"p", {{0, false}, {many, false}, {many + 1, true}}}}, 13);
    CHECK(*at_10 == first(many));
    CHECK(cache.find("p", 10) == at_10);
    CHECK(*cache.find("p", 12) == first(many + 1));
    CHECK(cache.find("p", 10) == nullptr);  // a reader of 12 has moved it on
    Bitmap last = first(many);
    last.remove(0);
    last.add(many + 1);
    CHECK(*cache.find("p", 13) == last);
    CHECK(*cache.find("p", 99) == last);
    CHECK(*at_10 == first(many));
}

TEST_CASE("what was read before a change of it comes too late for the cache", "[registry]") {
    PostingCache cache(1u << 20);
    cache.apply(added("p", many), 11);
    cache.offer("p", first(many), 10);
    CHECK(cache.find("p", 11) == nullptr);
    cache.offer("p", first(many + 1), 11);
    CHECK(*cache.find("p", 11) == first(many + 1));
}

TEST_CASE("changes of a posting that nobody reads take bounded memory", "[registry]") {
    PostingCache cache(1u << 20);
    cache.offer("p", first(many), 1);
    Bitmap model = first(many);
    for (std::uint32_t i = 0; i < 20'000; ++i) {
        cache.apply({{"p", {{i % 3'000, i % 2 == 0}}}}, 2 + i);
        i % 2 == 0 ? model.add(i % 3'000) : model.remove(i % 3'000);
    }
    CHECK(cache.bytes() < 16u << 10);
    CHECK(*cache.find("p", 1u << 20) == model);
}

TEST_CASE("a selection sees each batch whole while others are written", "[registry]") {
    const TempDirectory directory;
    Opened registry(options_in(directory.path()));
    const std::uint32_t hub = registry.hub("Orders", 1);
    std::atomic<std::uint32_t> failed = 0;
    const auto put = [&](std::uint32_t i) {
        const std::string n = std::to_string(i);
        registry->put_registration(hub, registration("1-" + n + "-1", "h" + n, {"a", "b"}), {},
                                   [&](auto result) { failed += result ? 0 : 1; });
    };
    for (std::uint32_t i = 0; i < many; ++i) put(i);
    REQUIRE(registry.put(hub, registration("9-9-9", "h", {})).has_value());
    std::atomic<bool> written = false;
    const auto differing = [&] {
        const auto differ = plan_of("(a && !b) || (b && !a)");
        std::uint64_t found = 0;
        do {
            found += registry->select(hub, differ, {}).value().count();
        } while (!written);
        return found;
    };
    auto one = std::async(std::launch::async, differing);
    auto two = std::async(std::launch::async, differing);
    for (std::uint32_t i = many; i < 3 * many; ++i) {
        put(i);
        if (i % 3 == 0)
            registry->erase_registration(hub, "1-" + std::to_string(i - many) + "-1", {},
                                         [&](auto result) { failed += result ? 0 : 1; });
        if (i % 10 == 0) CHECK(registry.put(hub, registration("9-9-9", "h", {})).has_value());
    }
    written = true;
    CHECK(one.get() == 0);
    CHECK(two.get() == 0);
    CHECK(failed == 0);
    CHECK(registry->verify(hub).empty());
}

TEST_CASE("a disk that does not answer stops neither writes nor what is in memory", "[registry]") {
    const TempDirectory directory;
    SlowEnv disk;
    Options options = options_in(directory.path());
    options.env = &disk;
    std::uint32_t hub = 0;
    {
        Opened registry(options);
        hub = registry.hub("Orders", 1);
        std::vector<std::future<void>> puts;
        for (std::uint32_t i = 0; i < 2 * many; ++i) {
            const std::string n = std::to_string(i);
            auto put = std::make_shared<std::promise<void>>();
            puts.push_back(put->get_future());
            registry->put_registration(
                hub, registration("1-" + n + "-1", "h" + n, {i % 2 == 0 ? "warm" : "cold"}), {},
                [put](auto) { put->set_value(); });
        }
        for (auto& put : puts) put.get();
        Installation device = installation("phone", "handle", {});
        device.user_id = "jo";
        REQUIRE(registry.install(hub, device).has_value());
    }
    Opened registry(options);
    const auto warm = plan_of("warm"), cold = plan_of("cold"), jo = plan_of("$UserId:{jo}");
    REQUIRE(registry->select(hub, warm, {}).value().count() == many);
    const Selection user = registry->select(hub, jo, {}).value();
    std::vector<std::uint32_t> numbers(user.partitions.at(0).begin(), user.partitions.at(0).end());
    REQUIRE(numbers.size() == 1);
    DeviceChunk chunk;
    REQUIRE(registry->load(hub, 0, numbers, 0, chunk).has_value());

    disk.hold();
    struct Release {
        SlowEnv& disk;
        ~Release() { disk.release(); }
    };
    std::future<std::uint64_t> audience;  // joins after the disk is let go
    const Release release{disk};
    audience = std::async(std::launch::async, [&] {
        return registry->audience(hub, {cold, {}, {}, {}}).value().selection.count();
    });
    disk.await_stuck();
    std::promise<Result<Registration>> put;
    registry->put_registration(hub, registration("9-9-1", "new", {"warm"}), {},
                               [&](auto result) { put.set_value(std::move(result)); });
    REQUIRE(soon(put.get_future()).has_value());
    const auto async = [](auto call) { return std::async(std::launch::async, std::move(call)); };
    CHECK(soon(async([&] { return registry->select(hub, warm, {}).value().count(); })) == many + 1);
    CHECK(soon(async([&] { return registry->try_select(hub, jo, {}).value().count(); })) == 1);
    CHECK(soon(async([&] { return registry->hubs().size(); })) == 1);
    CHECK(soon(async([&] {
        return registry->try_load(hub, 0, numbers, 0, chunk).has_value() &&
               chunk.devices.at(0).present;
    })));
    CHECK(soon(async([&] { return registry->figures().registrations; })) == 2 * many + 2);
    disk.release();
    CHECK(soon(std::move(audience)) == many);
    CHECK(registry->verify(hub).empty());
}
