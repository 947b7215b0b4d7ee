// Tested by tests/hub_metrics_test.cpp.

#include "hub/process/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <mutex>
#include <sstream>
#include <unordered_map>
#include <utility>
#include <vector>

namespace hub {

namespace {

/// Clients choose methods: a label takes only those that routes know.
std::string_view method_label(std::string_view method) {
    constexpr std::array known{"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"};
    const bool is_known = std::find(known.begin(), known.end(), method) != known.end();
    return is_known ? method : "other";
}

const prometheus::Histogram::BucketBoundaries seconds_bounds = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10};

/// The members of a family, found by their label values without building labels each time.
template <class Kind>
class Members {
  public:
    Members(prometheus::Family<Kind>& family, std::vector<std::string> labels)
        : family_(family), labels_(std::move(labels)) {}

    template <class... Bounds>
    Kind& at(std::initializer_list<std::string_view> values, const Bounds&... bounds) {
        thread_local std::string key;
        key.clear();
        for (const std::string_view value : values) key.append(value).push_back('\0');
        const std::lock_guard lock(mutex_);
        const auto known = known_.find(key);
        if (known != known_.end()) return *known->second;
        prometheus::Labels named;
        auto label = labels_.begin();
        for (const std::string_view value : values) named.emplace(*label++, value);
        Kind& made = family_.Add(named, bounds...);
        known_.emplace(key, &made);
        return made;
    }

  private:
    prometheus::Family<Kind>& family_;
    const std::vector<std::string> labels_;
    std::mutex mutex_;
    std::unordered_map<std::string, Kind*> known_;
};

using Counters = Members<prometheus::Counter>;

}  // namespace

struct Metrics::Impl {
    prometheus::Family<prometheus::Counter>& counter(const char* name, const char* help) {
        return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
    }

    prometheus::Registry registry;
    Counters requests{
        counter("pushhub_http_requests_total", "Requests answered, by route pattern."),
        {"method", "route", "status"}};
    Members<prometheus::Histogram> request_seconds{
        prometheus::BuildHistogram()
            .Name("pushhub_http_request_seconds")
            .Help("Time from a complete request to its answer.")
            .Register(registry),
        {"route"}};
    Counters pushes{counter("pushhub_pushes_total", "Devices with a final outcome."),
                    {"platform", "outcome"}};
    Counters retired{counter("pushhub_handles_retired_total",
                             "Handles removed because their provider called them dead."),
                     {"platform"}};
    Counters accused{counter("pushhub_handles_accused_total",
                             "Answers that call a handle dead, by what they were worth."),
                     {"platform", "proof"}};
    Counters sends{counter("pushhub_sends_accepted_total", "Sends accepted into the ledger."),
                   {"format"}};
    Counters limited{counter("pushhub_requests_limited_total",
                             "Requests answered 429 because their key or connection was too fast."),
                     {"by"}};
    struct ReadGauge {
        prometheus::Gauge* gauge;
        std::function<double()> read;
    };
    mutable std::mutex mutex;
    std::vector<ReadGauge> gauges;
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

void Metrics::request(std::string_view method, std::string_view route, int status, double seconds) {
    impl_->requests.at({method_label(method), route, std::to_string(status)}).Increment();
    impl_->request_seconds.at({route}, seconds_bounds).Observe(seconds);
}

void Metrics::pushes(std::string_view platform, std::string_view outcome, std::uint64_t count) {
    impl_->pushes.at({platform, outcome}).Increment(static_cast<double>(count));
}

void Metrics::retired(std::string_view platform, std::uint64_t count) {
    impl_->retired.at({platform}).Increment(static_cast<double>(count));
}

void Metrics::accused(std::string_view platform, std::string_view proof) {
    impl_->accused.at({platform, proof}).Increment();
}

void Metrics::send_opened(std::string_view format) {
    impl_->sends.at({format}).Increment();
}

void Metrics::limited(std::string_view by) {
    impl_->limited.at({by}).Increment();
}

void Metrics::gauge(std::string name, std::string help, std::function<double()> read) {
    auto& family = prometheus::BuildGauge()
                       .Name(std::move(name))
                       .Help(std::move(help))
                       .Register(impl_->registry);
    const std::scoped_lock lock(impl_->mutex);
    impl_->gauges.push_back({&family.Add({}), std::move(read)});
}

std::string Metrics::text() const {
    const std::scoped_lock lock(impl_->mutex);
    for (const auto& gauge : impl_->gauges) gauge.gauge->Set(gauge.read());
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, impl_->registry.Collect());
    return out.str();
}

}  // namespace hub
