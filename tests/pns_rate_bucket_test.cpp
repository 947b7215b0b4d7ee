#include "pns/rate_bucket.hpp"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstdint>
#include <random>
#include <thread>
#include <vector>

namespace {

using pns::RateBucket;

}  // namespace

TEST_CASE("a rate in a second, a minute or an hour is kept exactly in each of them", "[pns]") {
    constexpr std::int64_t start_us = 77'000'000;
    struct Row {
        std::uint64_t count;
        std::int64_t period_s;
    };
    for (const Row& row : {Row{1, 1}, Row{61, 60}, Row{59, 60}, Row{1, 60}, Row{61, 1},
                           Row{100, 3'600}, Row{1, 3'600}, Row{36'007, 3'600}, Row{4'000, 1}}) {
        CAPTURE(row.count, row.period_s);
        RateBucket bucket(row.count, std::max<std::uint64_t>(1, row.count / row.period_s / 20), 0,
                          row.period_s);
        std::vector<std::uint64_t> granted(5);
        std::int64_t now_us = start_us;
        for (;;) {
            const auto period =
                static_cast<std::size_t>((now_us - start_us) / 1'000'000 / row.period_s);
            if (period >= granted.size()) break;
            std::int64_t retry_us = 0;
            granted[period] += bucket.take(1'000, now_us, retry_us);
            now_us += retry_us;
        }
        CHECK(granted == std::vector<std::uint64_t>(5, row.count));
    }
}

TEST_CASE("a bucket grants one, then its rate, after a rest its burst, and says when to come back",
          "[pns]") {
    RateBucket bucket(1'000, 50);
    std::int64_t retry_us = 0;
    CHECK(bucket.take(60, 4'000'000, retry_us) == 1);
    CHECK(bucket.take(0, 5'000'000, retry_us) == 0);
    CHECK(bucket.take(60, 5'000'000, retry_us) == 50);
    CHECK(retry_us == 0);
    CHECK(bucket.take(1, 5'000'000, retry_us) == 0);
    CHECK(retry_us == 1'000);
    CHECK(bucket.take(1, 5'000'999, retry_us) == 0);
    CHECK(retry_us == 1);
    CHECK(bucket.take(9, 5'001'000, retry_us) == 1);
    CHECK(bucket.take(9, 5'010'500, retry_us) == 9);
    bucket.give_back(4);
    CHECK(bucket.take(9, 5'010'500, retry_us) == 4);
    bucket.give_back(4'000'000'000);
    CHECK(bucket.take(4'000'000'000, 5'010'500, retry_us) == 50);
    // A clock that another loop read earlier, and a pause of days.
    CHECK(bucket.take(1, 4'000'000, retry_us) == 0);
    CHECK(retry_us > 1'000'000);
    CHECK(bucket.take(100, 400'000'000'000, retry_us) == 50);
}

TEST_CASE("extreme rates neither overflow nor stall", "[pns]") {
    std::int64_t retry_us = 0;
    RateBucket slow(0, 0);
    CHECK(slow.take(5, 1, retry_us) == 1);
    CHECK(slow.take(5, 1, retry_us) == 0);
    CHECK(retry_us == 1'000'000);
    CHECK(slow.take(5, 1'000'001, retry_us) == 1);
    RateBucket fast(~std::uint64_t{0}, ~std::uint64_t{0});
    CHECK(fast.per_s() == RateBucket::per_s_max);
    CHECK(fast.take(4'000'000'000, 1, retry_us) == 1);
    RateBucket hourly(~std::uint64_t{0}, ~std::uint64_t{0}, 0, std::int64_t{1} << 60);
    CHECK(hourly.per_s() == RateBucket::per_s_max);
    CHECK(hourly.take(1, 1, retry_us) == 1);
    CHECK(hourly.take(4'000'000'000, 9'000'000'000'000'000, retry_us) == 1'000'000'000);
    hourly.give_back(4'294'967'295);
    CHECK(hourly.take(4'000'000'000, 9'000'000'000'000'000, retry_us) == 1'000'000'000);
    CHECK(fast.take(4'000'000'000, 9'000'000'000'000'000, retry_us) == 1'000'000'000);
}

TEST_CASE("a bucket that ramps starts at a tenth and again after a pause", "[pns]") {
    constexpr std::int64_t s = 1'000'000;
    RateBucket bucket(1'000, 1'000, 60 * s);
    std::int64_t retry_us = 0, now = 10 * s;
    const auto in_a_second = [&] {
        std::uint32_t taken = 0;
        for (int i = 0; i < 1'000; ++i, now += 1'000) taken += bucket.take(1'000, now, retry_us);
        return taken;
    };
    CHECK(in_a_second() <= 100 + 115);  // the burst left and the first second
    std::uint32_t last = 0, all = 0;
    for (int i = 1; i < 60; ++i) {
        const auto taken = in_a_second();
        CHECK(taken + 2 >= last);
        last = taken;
        all += taken;
    }
    CHECK(last > 980);
    CHECK(all > 31'000);
    CHECK(all < 34'000);
    CHECK(in_a_second() >= 999);
    now += 61 * s;
    CHECK(in_a_second() <= 215);
}

// The model: grants within any window of a simulated clock are at most burst + rate * window, and
// whoever comes when told to gets something.
TEST_CASE("random takers never pass the rate and never wait in vain", "[pns]") {
    const unsigned seed = GENERATE(11U, 12U, 13U, 14U, 15U, 16U);
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const std::uint64_t per_s = 1 + random() % 20'000;
    const std::uint64_t burst = 1 + random() % 3'000;
    CAPTURE(per_s, burst);
    RateBucket bucket(per_s, burst);
    struct Grant {
        std::int64_t at_us;
        std::uint64_t total;
    };
    std::vector<Grant> grants;
    std::uint64_t total = 0;
    std::int64_t now = static_cast<std::int64_t>(random() % 1'000'000'000);
    for (int i = 0; i < 5'000; ++i) {
        now += static_cast<std::int64_t>(random() % (random() % 50 == 0 ? 5'000'000 : 900));
        const auto want = static_cast<std::uint32_t>(1 + random() % 200);
        std::int64_t retry_us = -1;
        auto got = bucket.take(want, now, retry_us);
        if (got == 0) {
            REQUIRE(retry_us > 0);
            REQUIRE(retry_us <= 1'000'000 / static_cast<std::int64_t>(per_s) + 1);
            now += retry_us;
            got = bucket.take(want, now, retry_us);
            REQUIRE(got > 0);
        }
        REQUIRE(got <= want);
        if (random() % 4 == 0) {
            const auto unused = static_cast<std::uint32_t>(random() % (got + 1));
            bucket.give_back(unused);
            got -= unused;
        }
        total += got;
        grants.push_back({now, total});
    }
    for (std::size_t from = 0; from < grants.size(); from += 37) {
        const std::uint64_t before = from == 0 ? 0 : grants[from - 1].total;
        for (std::size_t to = from; to < grants.size(); to += 41) {
            const auto window_us =
                static_cast<std::uint64_t>(grants[to].at_us - grants[from].at_us);
            REQUIRE(grants[to].total - before <= burst + 1 + per_s * window_us / 1'000'000);
        }
    }
}

TEST_CASE("threads share one rate", "[pns]") {
    RateBucket bucket(50'000, 500);
    std::atomic<std::int64_t> clock_us{1'000'000};
    std::atomic<std::uint64_t> granted{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            std::mt19937 random(static_cast<unsigned>(t));
            std::int64_t retry_us = 0;
            for (int i = 0; i < 20'000; ++i) {
                const std::int64_t now = clock_us.fetch_add(7);
                const auto got = bucket.take(1 + random() % 8, now, retry_us);
                if (random() % 8 == 0 && got > 0) {
                    bucket.give_back(1);
                    granted += got - 1;
                } else {
                    granted += got;
                }
            }
        });
    }
    for (auto& thread : threads) thread.join();
    const auto passed_us = static_cast<std::uint64_t>(clock_us.load() - 1'000'000);
    const std::uint64_t most = 500 + 50'000 * passed_us / 1'000'000;
    CHECK(granted <= most);
    CHECK(granted + 1'100 >= most);
}

TEST_CASE("a process has one bucket for each key, as long as someone holds it", "[pns]") {
    pns::RateBuckets buckets;
    const auto a = buckets.get("a", 100, 10, 0);
    CHECK(buckets.get("a", 100, 10, 0) == a);
    CHECK(buckets.get("b", 100, 10, 0) != a);
    const auto changed = buckets.get("a", 200, 10, 0);
    CHECK(changed != a);
    CHECK(buckets.get("a", 200, 10, 0) == changed);
}
