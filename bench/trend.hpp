#pragma once

// A straight line through measured points: does a figure rise, or only go up and down? Pure; any
// thread.

#include <span>

namespace bench {

struct Point {
    double x = 0, y = 0;
};

struct Trend {
    double slope = 0;    ///< of the line by least squares, y per x
    double rise = 0;     ///< of the line from the first point to the last
    double scatter = 0;  ///< standard deviation of the points around the line
    double mean = 0, most = 0;
};

/// All zero but mean and most for fewer than two different x.
Trend trend_of(std::span<const Point> points);

}  // namespace bench
