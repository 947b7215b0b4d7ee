#include "pns/retry_policy.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <map>
#include <string>

#include "pns/http_date.hpp"

TEST_CASE("backoff is uniform below a doubling bound with a cap", "[pns]") {
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    for (unsigned attempt = 0; attempt < 80; ++attempt) {
        const std::int64_t bound = attempt < 10 ? 1'000 << attempt : 900'000;
        const auto limit = std::min<std::int64_t>(bound, 900'000);
        CAPTURE(attempt);
        CHECK(pns::backoff_ms(1'000, 900'000, attempt, 0) == 0);
        CHECK(pns::backoff_ms(1'000, 900'000, attempt, static_cast<std::uint64_t>(limit)) == limit);
        CHECK(pns::backoff_ms(1'000, 900'000, attempt, most) <= limit);
    }
    CHECK(pns::backoff_ms(0, 0, 3, 12345) == 0);
    CHECK(pns::backoff_ms(-5, 10, 3, 12345) == 0);
}

TEST_CASE("retries respect attempts, caps and the provider's wish", "[pns]") {
    pns::RetryLimits limits;
    CHECK(pns::retry_delay_ms(limits, 1, 0, 500) == 500);
    CHECK(pns::retry_delay_ms(limits, 4, 0, 8'000) == 8'000);
    CHECK_FALSE(pns::retry_delay_ms(limits, 5, 0, 0));
    CHECK_FALSE(pns::retry_delay_ms(limits, 6, 10, 0));
    for (std::uint64_t random = 0; random < 5000; random += 37) {
        const auto wait = pns::retry_delay_ms(limits, 1, 10'000, random * 0x9e3779b97f4a7c15);
        REQUIRE(wait);
        CHECK(*wait >= 10'000);
        CHECK(*wait <= 12'000);
        const auto capped = pns::retry_delay_ms(limits, 1, 1'000'000'000'000, random);
        REQUIRE(capped);
        CHECK(*capped >= pns::retry_after_ms_max);
        CHECK(*capped <= pns::retry_after_ms_max * 12 / 10);
    }
    CHECK(pns::retry_limits("fcmv1").attempts_max == 6);
    CHECK(pns::retry_limits("wns").cap_ms == 3'600'000);
    CHECK(pns::retry_limits("something new").base_ms == 1'000);
}

TEST_CASE("retries keep to a share of fresh traffic and a small steady rate", "[pns]") {
    pns::RetryBudget budget(20);
    std::int64_t now = 1'000'000;
    const auto granted = [&](int asked) {
        int out = 0;
        for (int i = 0; i < asked; ++i) out += budget.wait_ms(now, 12'345) == 0 ? 1 : 0;
        return out;
    };
    CHECK(granted(5'000) == 1'000);
    for (int i = 0; i < 10'000; ++i) budget.fresh();
    CHECK(granted(5'000) == 2'000);
    now += 10'000;
    CHECK(granted(5'000) == 500);
    now += 3'600'000;
    CHECK(granted(5'000) == 1'000);
    for (int i = 0; i < 10'000'000; ++i) budget.fresh();
    CHECK(granted(200'000) == 100'000);
    pns::RetryBudget unbounded(0);
    for (int i = 0; i < 5'000; ++i) CHECK(unbounded.wait_ms(now, 1) == 0);
}

TEST_CASE("retries over the budget come back spread out, and all of them get through", "[pns]") {
    pns::RetryBudget budget(20);
    std::multimap<std::int64_t, int> due;
    for (int i = 0; i < 5'000; ++i) due.emplace(0, i);
    std::uint64_t random = 88'172'645'463'325'252ULL;
    std::size_t asked = 0;
    std::int64_t now = 0;
    while (!due.empty()) {
        now = due.begin()->first;
        due.erase(due.begin());
        ++asked;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        const auto wait = budget.wait_ms(now, random);
        REQUIRE(wait >= 0);
        REQUIRE(wait <= 72'000);
        if (wait > 0) {
            REQUIRE(wait >= 1'000);
            due.emplace(now + wait, 0);
        }
    }
    CHECK(now >= 80'000 - 1'000);  // (5000 - 1000) / 50 per second
    CHECK(now < 200'000);
    CHECK(asked < 20'000);
}
