#pragma once

// The figures of one benchmark: values of single runs become medians with least and most. One
// thread.

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace bench {

double median(std::vector<double> values);
/// `share` of 0.5 is the median; sorts `values`.
double percentile(std::vector<double>& values, double share);

class Results {
  public:
    /// One more value of a metric; most get one a run. Metrics are reported in the order in which
    /// they first came.
    void add(const std::string& metric, double value);
    /// A quotient of two metrics: of their medians, with the quotients of single runs as least and
    /// most. Nothing if one of them is missing or zero.
    void add_ratio(const std::string& metric, const std::string& over, const std::string& under);
    double value(const std::string& metric) const;  ///< the median; throws if there is none
    bool has(const std::string& metric) const { return entries_.contains(metric); }
    /// A setting of this run of the benchmark: goes into the file beside the metrics.
    void option(const std::string& name, nlohmann::json value) {
        options_[name] = std::move(value);
    }
    /// What is drawn but not compared: curves, shares. `bench/report` knows them by name.
    void plot(const std::string& name, nlohmann::json value) { plots_[name] = std::move(value); }

    void print(unsigned runs) const;
    /// {bench, commit, machine, date, runs, metrics} and beside them spread, options, versions,
    /// plots. Throws std::runtime_error.
    void write(const std::string& bench, unsigned runs, const std::string& file) const;

  private:
    struct Entry {
        std::vector<double> values;
        double middle = 0, least = 0, most = 0;
    };
    std::vector<std::string> order_;
    std::map<std::string, Entry> entries_;
    nlohmann::ordered_json options_ = nlohmann::ordered_json::object();
    nlohmann::ordered_json plots_ = nlohmann::ordered_json::object();
};

/// A curve through `values`: [share, value] pairs, denser towards the end. Sorts `values`.
nlohmann::json quantile_curve(std::vector<double>& values);

}  // namespace bench
