// Tested by tests/hub_bench_results_test.cpp.
#include "bench/results.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <stdexcept>

#include "bench/machine.hpp"
#include "hub/cli/terminal.hpp"
#include "hub/text/times.hpp"

namespace bench {
namespace {

double rounded(double value) {
    return std::abs(value) >= 100 ? std::round(value * 10) / 10 : std::round(value * 1e4) / 1e4;
}

std::string readable(double value) {
    if (std::abs(value) >= 10'000) return hub::grouped(static_cast<std::uint64_t>(std::abs(value)));
    return hub::fixed(value, std::abs(value) >= 100 ? 1 : 3);
}

}  // namespace

double percentile(std::vector<double>& values, double share) {
    std::sort(values.begin(), values.end());
    const auto last = static_cast<double>(values.size() - 1);
    return values[static_cast<std::size_t>(share * last + 0.5)];
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

nlohmann::json quantile_curve(std::vector<double>& values) {
    constexpr std::array shares{0.0,  0.05,  0.1,   0.2,   0.3,    0.4,  0.5,  0.6,
                                0.7,  0.75,  0.8,   0.85,  0.9,    0.95, 0.97, 0.98,
                                0.99, 0.995, 0.998, 0.999, 0.9995, 1.0};
    nlohmann::json curve = nlohmann::json::array();
    if (values.empty()) return curve;
    for (const double share : shares) curve.push_back({share, rounded(percentile(values, share))});
    return curve;
}

void Results::add(const std::string& metric, double value) {
    auto [it, fresh] = entries_.try_emplace(metric);
    if (fresh) order_.push_back(metric);
    Entry& entry = it->second;
    entry.values.push_back(value);
    entry.middle = median(entry.values);
    entry.least = *std::min_element(entry.values.begin(), entry.values.end());
    entry.most = *std::max_element(entry.values.begin(), entry.values.end());
}

void Results::add_ratio(const std::string& metric, const std::string& over,
                        const std::string& under) {
    const auto a = entries_.find(over), b = entries_.find(under);
    if (a == entries_.end() || b == entries_.end() || b->second.middle == 0) return;
    Entry ratio;
    ratio.middle = ratio.least = ratio.most = a->second.middle / b->second.middle;
    for (std::size_t i = 0; i < std::min(a->second.values.size(), b->second.values.size()); ++i) {
        if (b->second.values[i] == 0) continue;
        const double quotient = a->second.values[i] / b->second.values[i];
        ratio.least = std::min(ratio.least, quotient);
        ratio.most = std::max(ratio.most, quotient);
    }
    if (entries_.insert_or_assign(metric, std::move(ratio)).second) order_.push_back(metric);
}

double Results::value(const std::string& metric) const {
    const auto it = entries_.find(metric);
    if (it == entries_.end()) throw std::runtime_error("nothing was measured for " + metric);
    return it->second.middle;
}

void Results::print(unsigned runs) const {
    std::printf("\n%s\n  on %s\n  with %s\n",
                hub::bold("medians of " + std::to_string(runs) + (runs == 1 ? " run" : " runs") +
                          " (least to most)")
                    .c_str(),
                machine_description().c_str(), versions_description().c_str());
    std::size_t width = 0;
    for (const std::string& name : order_) width = std::max(width, name.size());
    for (const std::string& name : order_) {
        const Entry& entry = entries_.at(name);
        const std::string middle = readable(entry.middle);
        const std::string blanks(middle.size() < 12 ? 12 - middle.size() : 0, ' ');
        std::printf("  %s %s%s", hub::padded(name, width).c_str(), blanks.c_str(), middle.c_str());
        if (entry.least != entry.most)
            std::printf("   (%s to %s)", readable(entry.least).c_str(),
                        readable(entry.most).c_str());
        std::puts("");
    }
    std::fflush(stdout);
}

void Results::write(const std::string& bench, unsigned runs, const std::string& file) const {
    nlohmann::ordered_json result;
    result["bench"] = bench;
    result["commit"] = commit_description();
    result["machine"] = machine_description();
    result["date"] = hub::iso_seconds(static_cast<std::int64_t>(std::time(nullptr)) * 1000);
    result["runs"] = runs;
    result["metrics"] = nlohmann::ordered_json::object();
    result["spread"] = nlohmann::ordered_json::object();
    for (const std::string& name : order_) {
        const Entry& entry = entries_.at(name);
        result["metrics"][name] = rounded(entry.middle);
        result["spread"][name] = {rounded(entry.least), rounded(entry.most)};
    }
    result["options"] = options_;
    result["versions"] = versions_description();
    result["plots"] = plots_;
    std::ofstream out(file);
    out << result.dump(1) << '\n';
    if (!out.flush()) throw std::runtime_error("cannot write " + file);
}

}  // namespace bench
