#include <catch2/catch.hpp>

#include "bench/load.hpp"

TEST_CASE("percentile takes the nearest value of the sorted ones", "[hub]") {
    std::vector<double> values{5, 1, 4, 2, 3};
    CHECK(bench::percentile(values, 0) == 1);
    CHECK(bench::percentile(values, 0.5) == 3);
    CHECK(bench::percentile(values, 0.99) == 5);
    CHECK(bench::percentile(values, 1) == 5);
    std::vector<double> one{7};
    CHECK(bench::percentile(one, 0.99) == 7);
}

TEST_CASE("median of an even count lies between the two in the middle", "[hub]") {
    CHECK(bench::median({3, 1, 2}) == 2);
    CHECK(bench::median({4, 1, 3, 2}) == 2.5);
    CHECK(bench::median({9}) == 9);
}
