#include "hub/http/rate_limits.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>
#include <vector>

#include "hub/process/metrics.hpp"
#include "tests/support/world.hpp"

using hub::KeyLimits;
using hub::TokenBucket;

TEST_CASE("a bucket lets a burst pass and then the steady rate", "[hub]") {
    TokenBucket bucket(10, 1'000);
    for (int i = 0; i < 10; ++i) CHECK(bucket.take(1'000) == 0);
    CHECK(bucket.take(1'000) == 100);
    CHECK(bucket.take(1'099) == 1);
    CHECK(bucket.take(1'100) == 0);
    CHECK(bucket.take(1'100) == 100);
    for (int i = 0; i < 10; ++i) CHECK(bucket.take(60'000) == 0);
    CHECK(bucket.take(60'000) > 0);
}

TEST_CASE("the wait that a bucket names is exact", "[hub]") {
    const auto [requests, period_ms] = GENERATE(table<std::size_t, std::int64_t>(
        {{1, 1'000}, {3, 1'000}, {7, 1'000}, {1'000'000, 1'000}, {10, 60'000}, {1, 60'000}}));
    TokenBucket bucket(requests, 0, period_ms);
    for (std::size_t i = 0; i < requests; ++i) REQUIRE(bucket.take(0) == 0);
    std::int64_t now_ms = 0;
    for (int i = 0; i < 20; ++i) {
        const auto wait_ms = bucket.take(now_ms);
        if (wait_ms == 0) continue;
        CHECK(wait_ms <= period_ms);
        if (wait_ms > 1) CHECK(bucket.take(now_ms + wait_ms - 1) > 0);
        CHECK(bucket.take(now_ms + wait_ms) == 0);
        now_ms += wait_ms;
    }
}

TEST_CASE("over any stretch no more than burst and rate pass", "[hub]") {
    const auto seed = std::random_device{}();
    INFO("seed " << seed);
    std::mt19937 random(seed);
    constexpr std::size_t rate = 20;
    TokenBucket bucket(rate, 0);
    std::int64_t now_ms = 0;
    std::size_t passed = 0;
    for (int i = 0; i < 5'000; ++i) {
        now_ms += static_cast<std::int64_t>(random() % 40);
        if (bucket.take(now_ms) == 0) ++passed;
    }
    CHECK(passed <= rate + static_cast<std::size_t>(now_ms) * rate / 1'000);
    CHECK(passed + 2 >= static_cast<std::size_t>(now_ms) * rate / 1'000);
}

TEST_CASE("a clock that goes back adds nothing and stops nothing for long", "[hub]") {
    TokenBucket bucket(2, 1'000'000);
    CHECK(bucket.take(1'000'000) == 0);
    CHECK(bucket.take(1'000'000) == 0);
    CHECK(bucket.take(500'000) == 500);
    CHECK(bucket.take(500'500) == 0);
}

TEST_CASE("a rate of nothing is no limit", "[hub]") {
    TokenBucket bucket(0, 0);
    KeyLimits limits(0);
    for (int i = 0; i < 1'000; ++i) {
        CHECK(bucket.take(0) == 0);
        CHECK(limits.take(1, "rule", 0) == 0);
    }
    CHECK(limits.size() == 0);
}

TEST_CASE("each key of each hub has a rate of its own", "[hub]") {
    KeyLimits limits(2);
    CHECK(limits.take(1, "full", 0) == 0);
    CHECK(limits.take(1, "full", 0) == 0);
    CHECK(limits.take(1, "full", 0) > 0);
    CHECK(limits.take(1, "listen", 0) == 0);
    CHECK(limits.take(2, "full", 0) == 0);
    CHECK(limits.take(KeyLimits::of_namespace, "full", 0) == 0);
    CHECK(limits.size() == 4);
}

TEST_CASE("keys at rest are forgotten when there are many", "[hub]") {
    KeyLimits limits(1);
    constexpr std::size_t keys = 100'000;
    for (std::size_t i = 0; i < keys; ++i) {
        CHECK(limits.take(static_cast<std::uint32_t>(i), "rule", static_cast<std::int64_t>(i)) ==
              0);
    }
    CHECK(limits.size() <= 16 * KeyLimits::keys_per_shard);
}

TEST_CASE("threads share a key's rate", "[hub]") {
    KeyLimits limits(100);
    std::atomic<int> passed = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 100; ++i) passed += limits.take(1, "full", 0) == 0 ? 1 : 0;
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(passed == 100);
}

TEST_CASE("Retry-After is in whole seconds, at least one", "[hub]") {
    CHECK(hub::retry_after_s(1) == "1");
    CHECK(hub::retry_after_s(1'000) == "1");
    CHECK(hub::retry_after_s(1'001) == "2");
    CHECK(hub::retry_after_s(60'000) == "60");
}

TEST_CASE("what comes too fast is answered 429 and counted", "[hub]") {
    const bool by_key = GENERATE(true, false);
    hub::Config config;
    (by_key ? config.requests_per_second_per_key : config.requests_per_second_per_connection) = 20;
    support::World world(config);
    int limited = 0;
    for (int i = 0; i < 200; ++i) {
        const auto reply = world.call("GET", "/app/installations/nobody");
        if (reply.status != 429) {
            CHECK(reply.status == 404);
            continue;
        }
        ++limited;
        CHECK(reply.header("retry-after") == "1");
    }
    CHECK(limited > 0);
    const auto page = world.service().parts().metrics.text();
    const std::string line = std::string("pushhub_requests_limited_total{by=\"") +
                             (by_key ? "key" : "connection") + "\"} " + std::to_string(limited);
    CHECK(page.find(line) != std::string::npos);
}
