#include "hub/process/metrics.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/support/comes_true.hpp"
#include "tests/support/world.hpp"

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
    metrics.pushes("app", "apns", "Success", 41);
    metrics.pushes("app", "apns", "Success", 1);
    metrics.retired("app", "wns", 3);
    metrics.send_opened("app", "template");
    double depth = 1;
    metrics.gauge("pushhub_depth", "A depth.", [&] { return depth; });
    metrics.counter("pushhub_done_total", "Done.", [] { return 9.0; });
    depth = 7;
    const auto page = metrics.text();
    INFO(page);
    CHECK(has_line(page,
                   R"(pushhub_http_requests_total{method="GET",route="/{hub}",status="200"} 2)"));
    CHECK(has_line(page,
                   R"(pushhub_http_requests_total{method="other",route="none",status="404"} 2)"));
    CHECK(
        has_line(page, R"(pushhub_pushes_total{hub="app",outcome="Success",platform="apns"} 42)"));
    CHECK(has_line(page, R"(pushhub_handles_retired_total{hub="app",platform="wns"} 3)"));
    CHECK(has_line(page, R"(pushhub_sends_accepted_total{format="template",hub="app"} 1)"));
    CHECK(has_line(page, "pushhub_depth 7"));
    CHECK(has_line(page, "# TYPE pushhub_done_total counter"));
    CHECK(has_line(page, "pushhub_done_total 9"));
    CHECK(has_line(page, R"(pushhub_http_request_seconds_count{route="/{hub}"} 2)"));
}

TEST_CASE("counting from many threads loses nothing", "[hub]") {
    hub::Metrics metrics;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 500; ++i) metrics.pushes("app", "fcmv1", "Success", 2);
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(has_line(metrics.text(),
                   R"(pushhub_pushes_total{hub="app",outcome="Success",platform="fcmv1"} 4000)"));
}

TEST_CASE("labels that grow with hubs and reasons are bounded", "[hub]") {
    hub::Metrics metrics;
    for (int i = 0; i < 500; ++i) {
        metrics.pushes("hub" + std::to_string(i), "apns", "Success", 1);
        metrics.refused("apns", "Reason" + std::to_string(i), 2);
    }
    const auto page = metrics.text();
    const auto count = [&page](const std::string& begin) {
        std::size_t found = 0;
        for (auto at = page.find(begin); at != std::string::npos; at = page.find(begin, at + 1))
            ++found;
        return found;
    };
    CHECK(count("\npushhub_pushes_total{") == hub::Metrics::hubs_max + 1);
    CHECK(count("\npushhub_provider_refusals_total{") == hub::Metrics::reasons_max + 1);
    CHECK(has_line(page,
                   R"(pushhub_pushes_total{hub="other",outcome="Success",platform="apns"} 450)"));
    CHECK(has_line(page, R"(pushhub_provider_refusals_total{platform="apns",reason="other"} 920)"));
}

// What `promtool check metrics` finds fault with, and that docs/metrics.md lists each.
TEST_CASE("the page of a hub at work keeps to Prometheus' rules and is documented", "[hub]") {
    support::World world({}, {"apns"});
    for (int i = 0; i < 3; ++i)
        world.install(support::id_of("apns", i), "apns", support::handle_of("apns", i));
    world.finish(world.send("apple", "all", support::apple_body));
    REQUIRE(support::comes_true([&] {
        return world.call("GET", "/metrics").body.find("pushhub_send_seconds_count") !=
               std::string::npos;
    }));
    std::istringstream in(world.call("GET", "/metrics").body);
    std::ifstream file(std::string(PUSHHUB_SOURCE_DIR) + "/docs/metrics.md");
    const std::string documents{std::istreambuf_iterator<char>(file), {}};
    std::map<std::string, std::string> types;
    std::set<std::string> helped, values;
    const std::regex name_of("[a-z_]+"),
        unit("(^|_)(ms|us|ns|s|sec|kib|mib|mb|kb|milliseconds)(_|$)");
    for (std::string line; std::getline(in, line);) {
        INFO(line);
        std::istringstream words(line);
        std::string hash, kind, name, type;
        if (line.starts_with("# HELP ")) {
            words >> hash >> kind >> name >> type;
            CHECK_FALSE(type.empty());
            CHECK(helped.insert(name).second);
        } else if (line.starts_with("# TYPE ")) {
            words >> hash >> kind >> name >> type;
            types[name] = type;
            CHECK(std::regex_match(name, name_of));
            CHECK_FALSE(std::regex_search(name, unit));
            CHECK(name.ends_with("_total") == (type == "counter"));
            for (const char* end : {"_count", "_sum", "_bucket"}) CHECK_FALSE(name.ends_with(end));
            for (const char* word : {"gauge", "counter", "histogram", "summary"})
                CHECK(name.find(word) == std::string::npos);
            CHECK(documents.find("`" + name + "`") != std::string::npos);
        } else {
            values.insert(line.substr(0, line.find_first_of("{ ")));
            CHECK(line.find("} -") == std::string::npos);
        }
    }
    for (const auto& [name, type] : types) {
        INFO(name);
        CHECK(helped.contains(name));
        CHECK(values.contains(type == "histogram" ? name + "_count" : name));
    }
    for (const char* name :
         {"pushhub_build_info", "process_resident_memory_bytes", "process_open_fds",
          "pushhub_provider_connections", "pushhub_last_success_timestamp_seconds",
          "pushhub_provider_answer_seconds", "pushhub_push_queue_seconds", "pushhub_send_seconds",
          "pushhub_push_attempts_total", "pushhub_http_request_seconds"})
        CHECK(types.contains(name));
}
