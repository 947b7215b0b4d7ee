#include "hub/process/metrics.hpp"

#include <catch2/catch.hpp>
#include <thread>
#include <vector>

namespace {
bool has_line(const std::string& page, const std::string& line) {
    return ("\n" + page).find("\n" + line + "\n") != std::string::npos;
}
}  // namespace

TEST_CASE("counters and gauges appear on the page", "[hub]") {
    hub::Metrics metrics;
    metrics.request("GET", "/{hub}", 200, 0.002);
    metrics.request("GET", "/{hub}", 200, 0.002);
    metrics.request("BREW", "none", 404, 0.0);
    metrics.request("STEEP", "none", 404, 0.0);
    metrics.pushes("apns", "Success", 41);
    metrics.pushes("apns", "Success", 1);
    metrics.retired("wns", 3);
    metrics.send_opened("template");
    double depth = 1;
    metrics.gauge("pushhub_depth", "A depth.", [&] { return depth; });
    depth = 7;
    const auto page = metrics.text();
    INFO(page);
    CHECK(has_line(page,
                   R"(pushhub_http_requests_total{method="GET",route="/{hub}",status="200"} 2)"));
    CHECK(has_line(page,
                   R"(pushhub_http_requests_total{method="other",route="none",status="404"} 2)"));
    CHECK(has_line(page, R"(pushhub_pushes_total{outcome="Success",platform="apns"} 42)"));
    CHECK(has_line(page, R"(pushhub_handles_retired_total{platform="wns"} 3)"));
    CHECK(has_line(page, R"(pushhub_sends_accepted_total{format="template"} 1)"));
    CHECK(has_line(page, "pushhub_depth 7"));
    CHECK(has_line(page, R"(pushhub_http_request_seconds_count{route="/{hub}"} 2)"));
}

TEST_CASE("counting from many threads loses nothing", "[hub]") {
    hub::Metrics metrics;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 500; ++i) metrics.pushes("fcmv1", "Success", 2);
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(has_line(metrics.text(),
                   R"(pushhub_pushes_total{outcome="Success",platform="fcmv1"} 4000)"));
}
