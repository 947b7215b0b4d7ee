#include <catch2/catch.hpp>
#include <vector>

#include "bench/trend.hpp"

using bench::Point;
using bench::trend_of;

TEST_CASE("a trend tells a rise from what goes up and down", "[hub]") {
    std::vector<Point> rises, swings;
    for (int i = 0; i < 100; ++i) {
        const double x = i, swing = i % 10;
        rises.push_back({x, 100 + 2 * x});
        swings.push_back({x, 100 + swing});
    }
    const auto up = trend_of(rises);
    CHECK(up.slope == Approx(2));
    CHECK(up.rise == Approx(198));
    CHECK(up.scatter == Approx(0).margin(1e-9));
    CHECK(up.most == 298);
    const auto level = trend_of(swings);
    CHECK(level.rise < 1);
    CHECK(level.mean == Approx(104.5));
    CHECK(level.scatter == Approx(2.87).margin(0.05));
}

TEST_CASE("a trend of too few points is level", "[hub]") {
    CHECK(trend_of({}).mean == 0);
    const std::vector<Point> one{{3, 7}};
    CHECK(trend_of(one).mean == 7);
    CHECK(trend_of(one).most == 7);
    CHECK(trend_of(one).slope == 0);
}
