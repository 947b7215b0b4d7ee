// How descriptors are shared.

#include "hub/process/descriptors.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "hub/process/config.hpp"

TEST_CASE("the store has its descriptors whatever the limit is", "[hub]") {
    const hub::Config config;
    CHECK_FALSE(hub::share_descriptors(100, config));
    for (std::size_t limit = hub::descriptors_min; limit < 2'000'000; limit += limit / 3) {
        const auto shares = hub::share_descriptors(limit, config);
        INFO(limit);
        REQUIRE(shares);
        CHECK(shares->connections_max >= 16);
        const auto below = static_cast<std::size_t>(shares->connections_below);
        CHECK(shares->connections_max < below);
        CHECK(below + static_cast<std::size_t>(std::max(shares->store_tables_max, 0)) < limit);
        CHECK((shares->store_tables_max == -1) == (limit >= 65'536));
    }
    CHECK(hub::share_descriptors(1'024, config)->connections_max > 400);
    CHECK(hub::share_descriptors(65'536, config)->connections_max > config.connections_max);
    CHECK(hub::raise_descriptor_limit() >= hub::descriptors_min);
}
