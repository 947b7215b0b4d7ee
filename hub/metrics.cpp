// Tested by tests/hub_metrics_test.cpp.

#include "hub/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <sstream>
#include <vector>

namespace hub {

namespace {

/// Clients choose methods: a label takes only those that routes know.
std::string method_label(std::string_view method) {
    constexpr std::array known{"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"};
    const bool is_known = std::find(known.begin(), known.end(), method) != known.end();
    return is_known ? std::string(method) : "other";
}

const prometheus::Histogram::BucketBoundaries seconds_bounds = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10};

}  // namespace

struct Metrics::Impl {
    prometheus::Registry registry;
    prometheus::Family<prometheus::Counter>& requests =
        prometheus::BuildCounter()
            .Name("pushhub_http_requests_total")
            .Help("Requests answered, by route pattern.")
            .Register(registry);
    prometheus::Family<prometheus::Histogram>& request_seconds =
        prometheus::BuildHistogram()
            .Name("pushhub_http_request_seconds")
            .Help("Time from a complete request to its answer.")
            .Register(registry);
    prometheus::Family<prometheus::Counter>& pushes = prometheus::BuildCounter()
                                                          .Name("pushhub_pushes_total")
                                                          .Help("Devices with a final outcome.")
                                                          .Register(registry);
    prometheus::Family<prometheus::Counter>& retired =
        prometheus::BuildCounter()
            .Name("pushhub_handles_retired_total")
            .Help("Handles removed because their provider called them dead.")
            .Register(registry);
    prometheus::Family<prometheus::Counter>& accused =
        prometheus::BuildCounter()
            .Name("pushhub_handles_accused_total")
            .Help("Answers that call a handle dead, by what they were worth.")
            .Register(registry);
    prometheus::Family<prometheus::Counter>& sends = prometheus::BuildCounter()
                                                         .Name("pushhub_sends_accepted_total")
                                                         .Help("Sends accepted into the ledger.")
                                                         .Register(registry);
    prometheus::Family<prometheus::Counter>& limited =
        prometheus::BuildCounter()
            .Name("pushhub_requests_limited_total")
            .Help("Requests answered 429 because their key or connection was too fast.")
            .Register(registry);
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
    const std::string pattern(route);
    impl_->requests
        .Add({{"method", method_label(method)},
              {"route", pattern},
              {"status", std::to_string(status)}})
        .Increment();
    impl_->request_seconds.Add({{"route", pattern}}, seconds_bounds).Observe(seconds);
}

void Metrics::pushes(std::string_view platform, std::string_view outcome, std::uint64_t count) {
    impl_->pushes.Add({{"platform", std::string(platform)}, {"outcome", std::string(outcome)}})
        .Increment(static_cast<double>(count));
}

void Metrics::retired(std::string_view platform, std::uint64_t count) {
    impl_->retired.Add({{"platform", std::string(platform)}}).Increment(static_cast<double>(count));
}

void Metrics::accused(std::string_view platform, std::string_view proof) {
    impl_->accused.Add({{"platform", std::string(platform)}, {"proof", std::string(proof)}})
        .Increment();
}

void Metrics::send_accepted(std::string_view format) {
    impl_->sends.Add({{"format", std::string(format)}}).Increment();
}

void Metrics::limited(std::string_view by) {
    impl_->limited.Add({{"by", std::string(by)}}).Increment();
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
