// Tested by tests/hub_bench_trend_test.cpp.
#include "bench/trend.hpp"

#include <algorithm>
#include <cmath>

namespace bench {

Trend trend_of(std::span<const Point> points) {
    Trend out;
    if (points.empty()) return out;
    const auto count = static_cast<double>(points.size());
    double mean_x = 0;
    out.most = points.front().y;
    for (const Point& point : points) {
        mean_x += point.x / count;
        out.mean += point.y / count;
        out.most = std::max(out.most, point.y);
    }
    double xx = 0, xy = 0;
    for (const Point& point : points) {
        xx += (point.x - mean_x) * (point.x - mean_x);
        xy += (point.x - mean_x) * (point.y - out.mean);
    }
    if (xx == 0) return out;
    out.slope = xy / xx;
    out.rise = out.slope * (points.back().x - points.front().x);
    double squares = 0;
    for (const Point& point : points) {
        const double off = point.y - out.mean - out.slope * (point.x - mean_x);
        squares += off * off;
    }
    out.scatter = std::sqrt(squares / count);
    return out;
}

}  // namespace bench
