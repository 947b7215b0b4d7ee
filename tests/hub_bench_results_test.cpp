// What the benchmarks make of single values, and of samples of a profiler.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "bench/crowd.hpp"
#include "bench/results.hpp"
#include "bench/stages.hpp"

TEST_CASE("a metric is the median of its runs, and a ratio the quotient of medians", "[hub]") {
    bench::Results results;
    for (const double value : {10.0, 30.0, 20.0}) results.add("ours", value);
    for (const double value : {10.0, 10.0, 40.0}) results.add("theirs", value);
    results.add_ratio("ratio", "ours", "theirs");
    results.add_ratio("absent", "ours", "nothing");
    CHECK(results.value("ours") == 20);
    CHECK(results.value("ratio") == 2);
    CHECK_FALSE(results.has("absent"));
    CHECK_THROWS(results.value("absent"));

    const auto file = std::filesystem::temp_directory_path() /
                      ("pushhub-results-" + std::to_string(::getpid()) + ".json");
    results.option("devices", 7);
    results.write("trial", 3, file.string());
    std::ifstream in(file);
    const auto json = nlohmann::ordered_json::parse(in);
    std::filesystem::remove(file);
    CHECK(json.at("bench") == "trial");
    CHECK(json.at("runs") == 3);
    CHECK(json.at("metrics").at("ratio") == 2);
    CHECK(json.at("spread").at("ratio") == nlohmann::json{0.5, 3});
    CHECK(json.at("options").at("devices") == 7);
    for (const char* name : {"commit", "machine", "date", "versions", "plots"})
        CHECK(json.contains(name));
}

TEST_CASE("a quantile curve ascends from the least to the most", "[hub]") {
    std::vector<double> values{5, 1, 4, 2, 3};
    const auto curve = bench::quantile_curve(values);
    REQUIRE(curve.size() > 2);
    CHECK(curve.front() == nlohmann::json{0.0, 1.0});
    CHECK(curve.back() == nlohmann::json{1.0, 5.0});
    for (std::size_t i = 1; i < curve.size(); ++i) CHECK(curve[i - 1][1] <= curve[i][1]);
    std::vector<double> none;
    CHECK(bench::quantile_curve(none).empty());
}

TEST_CASE("a sample belongs to the stage of its innermost frame that has one", "[hub]") {
    bench::StageCount count;
    const std::vector<std::vector<std::string>> samples{
        {"    10 __memmove (/lib/libc.so.6)", "    11 nghttp2_hd_deflate (/lib/libnghttp2.so.14)",
         "    12 pns::(anonymous namespace)::AccountSender::send(pns::Push&) (/bin/pushhub)"},
        {"    10 tcp_sendmsg ([kernel.kallsyms])", "    11 send (/lib/libc.so.6)"},
        {"    10 pread64 (/lib/libc.so.6)", "    11 rocksdb::Get (/lib/librocksdb.so)",
         "    12 registry::load_devices(registry::View const&) (/bin/pushhub)"},
        {"    10 rocksdb::Merge (/lib/librocksdb.so)"},
        {"    10 main (/bin/pushhub)"},
    };
    for (const auto& frames : samples) {
        for (const std::string& frame : frames) count.line(frame);
        count.line("");
    }
    std::map<std::string, double> shares;
    double sum = 0;
    for (const auto& [stage, share] : count.shares()) {
        shares[stage] = share;
        sum += share;
    }
    CHECK(sum == Approx(1));
    for (const char* stage : {"encode_hpack", "tls_socket", "load", "ledger", "other"})
        CHECK(shares[stage] == Approx(0.2));
    CHECK(bench::StageCount().shares().empty());
}

TEST_CASE("the crowd's tags are spread as their kinds say, the same each time", "[hub]") {
    constexpr std::uint32_t devices = 20'000;
    for (std::size_t kind = 0; kind < bench::tag_kinds.size(); ++kind) {
        const double expected = static_cast<double>(devices) / bench::tag_kinds[kind].values;
        if (expected < 50) continue;
        std::uint32_t found = 0;
        for (std::uint32_t i = 0; i < devices; ++i) found += bench::tag_value(i, kind) == 1;
        CHECK(found == Approx(expected).margin(6 * std::sqrt(expected)));
    }
    for (const bench::Target& target : bench::targets()) {
        const bench::Crowd crowd(target, "push.example.com", true);
        const auto device = crowd.device(17);
        CHECK(device == crowd.device(17));
        CHECK(device.push_channel != crowd.device(18).push_channel);
        CHECK(device.tags.size() == bench::tag_kinds.size());
        CHECK(device.templates.size() == 1);
    }
}
