#include "pns/origin_memory.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <string>

using pns::Origin;
using pns::OriginMemory;
using Failure = pns::OriginMemory::Failure;

namespace {
Origin host(int i) {
    return {"h" + std::to_string(i) + ".notify.test", 443};
}
}  // namespace

TEST_CASE("a stranger gets more time at each try, and is left alone for longer", "[pns]") {
    OriginMemory memory({1, 2});
    std::int64_t now = 1'000, patience = 0, wait = 0;
    CHECK(memory.not_before_ms(host(1)) == 0);
    CHECK(memory.patience_ms(host(1)) == OriginMemory::patience_ms_first);
    for (int i = 0; i < 20; ++i) {
        CHECK(memory.patience_ms(host(1)) >= patience);
        patience = memory.patience_ms(host(1));
        const auto next = memory.failed(host(1), Failure::quiet, now);
        CHECK(next >= wait);
        CHECK(next <= OriginMemory::wait_ms_max);
        wait = next;
        CHECK(memory.not_before_ms(host(1)) == now + wait);
        now += wait;
    }
    CHECK(patience > 20'000);
    CHECK(wait == OriginMemory::wait_ms_max);
    CHECK(memory.failed(host(2), Failure::unreachable, now) == OriginMemory::unreachable_wait_ms);
    CHECK(memory.not_before_ms({"h2.notify.test", 8443}) == 0);

    memory.answered(host(1));
    CHECK(memory.has_answered(host(1)));
    CHECK(memory.not_before_ms(host(1)) == 0);
    for (int i = 0; i < 3; ++i) {  // an outage: not longer each time
        CHECK(memory.failed(host(1), Failure::unreachable, now) ==
              OriginMemory::unreachable_wait_ms);
    }
    CHECK(memory.has_answered(host(1)));
}

TEST_CASE("however many hosts are made up, memory is bounded and keeps who has answered", "[pns]") {
    OriginMemory memory({3, 4});
    for (int i = 0; i < 500; ++i) memory.answered(host(i));
    for (int i = 1'000; i < 30'000; ++i) memory.failed(host(i), Failure::quiet, i);
    CHECK(memory.size() == 500 + OriginMemory::failed_max);
    for (int i = 0; i < 500; ++i) CHECK(memory.has_answered(host(i)));
    CHECK(memory.not_before_ms(host(29'999)) > 0);
    CHECK(memory.not_before_ms(host(1'000)) == 0);  // the oldest are forgotten
    for (int i = 0; i < 5'000; ++i) memory.answered(host(i));
    CHECK(memory.size() <= OriginMemory::answered_max + OriginMemory::failed_max);
}
