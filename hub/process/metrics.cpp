// Tested by tests/hub_metrics_test.cpp.

#include "hub/process/metrics.hpp"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <functional>
#include <initializer_list>
#include <map>
#include <mutex>
#include <set>
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
const prometheus::Histogram::BucketBoundaries send_bounds = {
    0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 1'800, 3'600, 86'400};

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

/// The first few of what is named; all others are "other".
class Names {
  public:
    explicit Names(std::size_t names_max) : names_max_(names_max) {}
    std::string_view at(std::string_view name) {
        const std::lock_guard lock(mutex_);
        const auto known = names_.find(name);
        if (known != names_.end()) return *known;
        if (names_.size() >= names_max_) return "other";
        return *names_.emplace(name).first;
    }

  private:
    const std::size_t names_max_;
    std::mutex mutex_;
    std::set<std::string, std::less<>> names_;
};

prometheus::MetricFamily family_of(const std::string& name, const std::string& help,
                                   prometheus::MetricType type,
                                   const std::vector<Metrics::Sample>& samples) {
    prometheus::MetricFamily out;
    out.name = name;
    out.help = help;
    out.type = type;
    for (const Metrics::Sample& sample : samples) {
        prometheus::ClientMetric one;
        for (const auto& [label, value] : sample.labels) one.label.push_back({label, value});
        if (type == prometheus::MetricType::Counter) {
            one.counter.value = sample.value;
        } else {
            one.gauge.value = sample.value;
        }
        out.metric.push_back(std::move(one));
    }
    return out;
}

}  // namespace

struct Metrics::Impl {
    prometheus::Family<prometheus::Counter>& counter(const char* name, const char* help) {
        return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
    }
    prometheus::Family<prometheus::Histogram>& histogram(const char* name, const char* help) {
        return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
    }

    prometheus::Registry registry;
    Counters requests{
        counter("pushhub_http_requests_total", "Requests answered, by route pattern."),
        {"method", "route", "status"}};
    Members<prometheus::Histogram> request_seconds{
        histogram("pushhub_http_request_seconds", "Time from a complete request to its answer."),
        {"route"}};
    Counters pushes{counter("pushhub_pushes_total", "Devices with a final outcome."),
                    {"hub", "platform", "outcome"}};
    Counters attempts{
        counter("pushhub_push_attempts_total", "What attempts to push came to, final or not."),
        {"hub", "platform", "result"}};
    Counters refusals{counter("pushhub_provider_refusals_total",
                              "Pushes that a provider did not take, by its reason."),
                      {"platform", "reason"}};
    Members<prometheus::Gauge> last_success{prometheus::BuildGauge()
                                                .Name("pushhub_last_success_timestamp_seconds")
                                                .Help("When the provider last took a push.")
                                                .Register(registry),
                                            {"hub", "platform"}};
    Members<prometheus::Histogram> queue_seconds{
        histogram("pushhub_push_queue_seconds",
                  "Time from a rendered push to its writing; one in sixteen is measured."),
        {"platform"}};
    Members<prometheus::Histogram> answer_seconds{
        histogram("pushhub_provider_answer_seconds",
                  "Time from a written push to the provider's answer; one in sixteen is measured."),
        {"platform"}};
    Counters retired{counter("pushhub_handles_retired_total",
                             "Handles removed because their provider called them dead."),
                     {"hub", "platform"}};
    Counters accused{counter("pushhub_handles_accused_total",
                             "Answers that call a handle dead, by what they were worth."),
                     {"platform", "proof"}};
    Counters sends{counter("pushhub_sends_accepted_total", "Sends accepted into the ledger."),
                   {"hub", "format"}};
    Members<prometheus::Histogram> send_seconds{
        histogram("pushhub_send_seconds", "Time from a send's acceptance to its end."),
        {"hub", "state"}};
    Counters limited{counter("pushhub_requests_limited_total",
                             "Requests answered 429 because their key or connection was too fast."),
                     {"by"}};

    struct Figure {
        std::string name, help;
        prometheus::MetricType type;
        ReadAll read;
    };
    void add(std::string name, std::string help, prometheus::MetricType type, ReadAll read) {
        const std::scoped_lock lock(mutex);
        figures.push_back({std::move(name), std::move(help), type, std::move(read)});
    }
    static ReadAll single(Read read) {
        return [read = std::move(read)] {
            Sample one;
            one.value = read();
            return std::vector<Sample>{one};
        };
    }
    std::string_view reason(std::string_view platform, std::string_view text) {
        const std::scoped_lock lock(reasons_mutex);
        const auto known = reasons.try_emplace(std::string(platform), reasons_max).first;
        return known->second.at(text);
    }

    mutable std::mutex mutex;
    std::vector<Figure> figures;
    Names hubs{hubs_max};
    std::mutex reasons_mutex;
    std::map<std::string, Names> reasons;  // by platform
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

std::string Metrics::hub_label(std::string_view hub) {
    return std::string(impl_->hubs.at(hub));
}

void Metrics::request(std::string_view method, std::string_view route, int status, double seconds) {
    impl_->requests.at({method_label(method), route, std::to_string(status)}).Increment();
    impl_->request_seconds.at({route}, seconds_bounds).Observe(seconds);
}

void Metrics::pushes(std::string_view hub, std::string_view platform, std::string_view outcome,
                     std::uint64_t count) {
    impl_->pushes.at({impl_->hubs.at(hub), platform, outcome})
        .Increment(static_cast<double>(count));
}

void Metrics::attempts(std::string_view hub, std::string_view platform, std::string_view result,
                       std::uint64_t count) {
    impl_->attempts.at({impl_->hubs.at(hub), platform, result})
        .Increment(static_cast<double>(count));
}

void Metrics::refused(std::string_view platform, std::string_view reason, std::uint64_t count) {
    impl_->refusals.at({platform, impl_->reason(platform, reason)})
        .Increment(static_cast<double>(count));
}

void Metrics::succeeded(std::string_view hub, std::string_view platform, std::int64_t at_ms) {
    impl_->last_success.at({impl_->hubs.at(hub), platform}).Set(static_cast<double>(at_ms) / 1'000);
}

void Metrics::push_times(std::string_view platform, double queued_seconds,
                         double answered_seconds) {
    impl_->queue_seconds.at({platform}, seconds_bounds).Observe(queued_seconds);
    impl_->answer_seconds.at({platform}, seconds_bounds).Observe(answered_seconds);
}

void Metrics::retired(std::string_view hub, std::string_view platform, std::uint64_t count) {
    impl_->retired.at({impl_->hubs.at(hub), platform}).Increment(static_cast<double>(count));
}

void Metrics::accused(std::string_view platform, std::string_view proof) {
    impl_->accused.at({platform, proof}).Increment();
}

void Metrics::send_opened(std::string_view hub, std::string_view format) {
    impl_->sends.at({impl_->hubs.at(hub), format}).Increment();
}

void Metrics::send_ended(std::string_view hub, std::string_view state, double seconds) {
    impl_->send_seconds.at({impl_->hubs.at(hub), state}, send_bounds).Observe(seconds);
}

void Metrics::limited(std::string_view by) {
    impl_->limited.at({by}).Increment();
}

void Metrics::gauge(std::string name, std::string help, Read read) {
    impl_->add(std::move(name), std::move(help), prometheus::MetricType::Gauge,
               Impl::single(std::move(read)));
}

void Metrics::gauges(std::string name, std::string help, ReadAll read) {
    impl_->add(std::move(name), std::move(help), prometheus::MetricType::Gauge, std::move(read));
}

void Metrics::counter(std::string name, std::string help, Read read) {
    impl_->add(std::move(name), std::move(help), prometheus::MetricType::Counter,
               Impl::single(std::move(read)));
}

std::string Metrics::text() const {
    std::vector<prometheus::MetricFamily> families = impl_->registry.Collect();
    std::erase_if(families, [](const auto& family) { return family.metric.empty(); });
    const std::scoped_lock lock(impl_->mutex);
    for (const auto& figure : impl_->figures) {
        auto samples = figure.read();
        if (samples.empty()) continue;
        families.push_back(family_of(figure.name, figure.help, figure.type, samples));
    }
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(out, families);
    return out.str();
}

}  // namespace hub
