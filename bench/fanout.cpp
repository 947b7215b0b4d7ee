// Each round sends one broadcast through the hub and the same requests through h2load to the same
// sink, one after the other, and takes the ratio. Profiling, the price of the trace and the count
// of allocations have runs of their own, since looking costs time. A run in which the sink did not
// receive exactly the audience fails.
#include "bench/fanout.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "bench/broadcast.hpp"
#include "bench/crowd.hpp"
#include "bench/experiment.hpp"
#include "bench/h2load.hpp"
#include "bench/hub_process.hpp"
#include "bench/sink.hpp"
#include "bench/stages.hpp"
#include "bench/store_fill.hpp"
#include "bench/targets.hpp"
#include "hub/cli/client.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/cli/terminal.hpp"

namespace bench {
namespace {

constexpr int h2load_starts = 5;
constexpr const char* native_hub = "native";
constexpr const char* template_hub = "templates";
constexpr const char* expression = "half:0 && !(third:0 || lang:3)";

struct Options {
    std::uint32_t devices = 200'000;
    unsigned lanes = 0, sink_threads = 1;
    std::string platform = "apns";
    H2loadOptions h2load;
    bool no_profile = false;
};

class Fanout {
  public:
    Fanout(Experiment& experiment, const Options& options)
        : experiment_(experiment),
          results_(experiment.results()),
          options_(options),
          target_(target(options.platform)),
          sink_(experiment.dir(), {{target_.platform}, options.sink_threads, true, ""}),
          hub_(experiment.dir(), sink_, {options.lanes, {}}) {}

    void run() {
        prepare();
        for (unsigned i = 1; i <= experiment_.runs(); ++i) {
            one_round(i);
            round_alone(i);
        }
        results_.add("peak_rss_mib", hub_.process().peak_rss_mib());
        results_.add_ratio("rate_ratio", "pushes_per_s", "h2load_per_s");
        results_.add_ratio("cpu_ratio", "cpu_us_per_push", "h2load_cpu_us");
        results_.add_ratio("template_cpu_ratio", "template_cpu_us_per_push", "h2load_cpu_us");
        results_.add_ratio("alone_rate_ratio", "alone_pushes_per_s", "alone_h2load_per_s");
        results_.add_ratio("alone_cpu_ratio", "alone_cpu_us_per_push", "alone_h2load_cpu_us");
        if (options_.no_profile) return;
        profile();
        trace_cost();
        count_allocations();
    }

  private:
    void prepare();
    void one_round(unsigned number);
    void round_alone(unsigned number);
    /// Platforms whose fast simulator speaks HTTP/2 without a look at the request.
    bool has_answers_alone() const {
        return options_.platform == "apns" || options_.platform == "fcmv1";
    }
    /// `prefix`: of the names of its figures.
    Broadcast beside_h2load(unsigned number, const std::string& prefix);
    void profile();
    void trace_cost();
    void count_allocations();
    BroadcastOrder native() const;
    BroadcastOrder templates() const;
    Broadcast broadcast(const BroadcastOrder& order) {
        return run_broadcast(hub_, *client_, sink_, order);
    }
    void connect() {
        client_ = std::make_unique<hub::HubClient>(hub_.connection_string(), hub_.ca_file());
    }

    Experiment& experiment_;
    Results& results_;
    const Options& options_;
    const Target& target_;
    Sink sink_;
    HubProcess hub_;
    std::unique_ptr<hub::HubClient> client_;
    std::uint64_t matching_ = 0;     ///< devices of `expression`
    double h2load_start_cpu_s_ = 0;  ///< the least of some: what is taken off must not be too much
};

void Fanout::prepare() {
    results_.option("platform", options_.platform);
    results_.option("devices", options_.devices);
    connect();
    hub::create_hub(*client_, native_hub, sink_.credentials());
    hub::create_hub(*client_, template_hub, sink_.credentials());
    client_.reset();
    hub_.stop();
    const std::string& host = sink_.host(target_.platform);
    for (const bool with_templates : {false, true}) {
        const Crowd crowd(target_, host, with_templates);
        fill_store(hub_.data_dir(), with_templates ? template_hub : native_hub, options_.devices,
                   [&crowd](std::uint32_t i) { return crowd.device(i); });
    }
    for (std::uint32_t i = 0; i < options_.devices; ++i)
        matching_ += tag_value(i, 0) == 0 && tag_value(i, 1) != 0 && tag_value(i, 2) != 3;
    hub_.start();
    connect();
    write_h2load_files(experiment_.dir(), sink_, target_, options_.devices);
    H2loadOptions asked = options_.h2load;
    asked.requests = options_.devices;
    h2load_start_cpu_s_ = std::numeric_limits<double>::max();
    for (int i = 0; i < h2load_starts; ++i)
        h2load_start_cpu_s_ = std::min(
            h2load_start_cpu_s_, h2load_start_cpu_s(experiment_.dir(), sink_, target_, asked));
}

BroadcastOrder Fanout::native() const {
    return {native_hub,   target_.platform,       target_.format,  "",
            target_.body, target_.send_headers(), options_.devices};
}

BroadcastOrder Fanout::templates() const {
    return {template_hub, target_.platform, "template", "", Crowd::properties(),
            {},           options_.devices};
}

void Fanout::one_round(unsigned number) {
    const Broadcast ours = beside_h2load(number, "");
    results_.add("first_push_ms", ours.first_ms);
    results_.add("last_push_ms", ours.last_ms);

    const Broadcast rendered = broadcast(templates());
    results_.add("template_pushes_per_s", rendered.pushes_per_s);
    results_.add("template_cpu_us_per_push", rendered.cpu_us_per_push);
    print_run(number, "templates", describe(rendered));

    BroadcastOrder order = native();
    order.expression = expression;
    order.devices = matching_;
    const Broadcast part = broadcast(order);
    results_.add("expression_pushes_per_s", part.pushes_per_s);
    results_.add("expression_cpu_us_per_push", part.cpu_us_per_push);
    print_run(number, "expression", describe(part));
    results_.plot("rate_over_time",
                  {{"native broadcast", ours.rate}, {"templates", rendered.rate}});
}

/// Once more, while the sink answers as ordinary servers do: each push alone.
void Fanout::round_alone(unsigned number) {
    if (!has_answers_alone()) return;
    sink_.control(target_.platform).answer_each_alone(true);
    beside_h2load(number, "alone_");
    sink_.control(target_.platform).answer_each_alone(false);
}

/// The native broadcast, and the same requests by h2load. A sink that answers each push alone is
/// busy with that: what counts then is the CPU, and it may be the bottleneck.
Broadcast Fanout::beside_h2load(unsigned number, const std::string& prefix) {
    const bool sink_must_keep_up = prefix.empty();
    const Usage sink_of_hub(sink_.process());
    const Broadcast ours = broadcast(native());
    if (sink_must_keep_up) experiment_.check_sink("hub", sink_of_hub, sink_);
    results_.add(prefix + "pushes_per_s", ours.pushes_per_s);
    results_.add(prefix + "cpu_us_per_push", ours.cpu_us_per_push);
    print_run(number, prefix + "broadcast", describe(ours));

    H2loadOptions asked = options_.h2load;
    asked.requests = options_.devices;
    asked.start_cpu_s = h2load_start_cpu_s_;
    const Usage sink_of_h2load(sink_.process());
    const H2loadFigures theirs = run_h2load(experiment_.dir(), sink_, target_, asked);
    if (sink_must_keep_up) experiment_.check_sink("h2load", sink_of_h2load, sink_);
    results_.add(prefix + "h2load_per_s", theirs.requests_per_s);
    results_.add(prefix + "h2load_cpu_us", theirs.cpu_us_per_request);
    print_run(number, prefix + "h2load",
              hub::grouped(static_cast<std::uint64_t>(theirs.requests_per_s)) + "/s, " +
                  hub::fixed(theirs.cpu_us_per_request, 2) + " us CPU per request");
    return ours;
}

/// Shares of samples, times what a push costs when nobody looks.
void Fanout::profile() {
    for (const bool with_templates : {false, true}) {
        StageProfile perf(experiment_.dir(), hub_.process());
        if (!perf.active()) {
            std::puts("  perf is not there or not allowed: no cost by stage");
            return;
        }
        broadcast(with_templates ? templates() : native());
        const double cost =
            results_.value(with_templates ? "template_cpu_us_per_push" : "cpu_us_per_push");
        nlohmann::ordered_json drawn = nlohmann::ordered_json::object();
        for (const auto& [stage, share] : perf.finish()) {
            results_.add((with_templates ? "template_stage_us_" : "stage_us_") + stage,
                         share * cost);
            drawn[stage] = share * cost;
        }
        results_.plot(with_templates ? "template_stages_us" : "stages_us", drawn);
    }
}

/// With a hub of its own for each setting. Nothing fails here: what `failures` costs is that the
/// hub looks.
void Fanout::trace_cost() {
    for (const std::string trace : {"off", "failures", "all"}) {
        client_.reset();
        hub_.stop();
        hub_.start({"PUSHHUB_TRACE=" + trace});
        connect();
        broadcast(native());  // connections, caches and buffers are there after this
        for (unsigned i = 1; i <= experiment_.runs(); ++i) {
            const Broadcast traced = broadcast(native());
            results_.add("trace_" + trace + "_cpu_us_per_push", traced.cpu_us_per_push);
            print_run(i, "trace " + trace, describe(traced));
        }
    }
    results_.add_ratio("trace_failures_ratio", "trace_failures_cpu_us_per_push",
                       "trace_off_cpu_us_per_push");
    results_.add_ratio("trace_all_ratio", "trace_all_cpu_us_per_push", "trace_off_cpu_us_per_push");
}

/// With a hub of its own: what counts is preloaded into it.
void Fanout::count_allocations() {
    const AllocationCount allocations(experiment_.dir());
    if (!allocations.available()) return;
    client_.reset();
    hub_.stop();
    hub_.start(allocations.environment());
    connect();
    broadcast(native());  // connections, caches and buffers are there after this
    const double before = allocations.total();
    broadcast(native());
    results_.add("allocations_per_push", (allocations.total() - before) / options_.devices);
    const double between = allocations.total();
    broadcast(templates());
    results_.add("template_allocations_per_push",
                 (allocations.total() - between) / options_.devices);
}

}  // namespace

int fanout_main(int argc, char** argv) {
    Experiment experiment(
        "fanout",
        "Broadcasts through a hub of its own into a fast provider, beside h2load with the same "
        "requests: native, with a template a device in 20 languages, and to an expression.",
        {3, 100, 900});
    Options options;
    CLI::App& app = experiment.app();
    app.add_option("--devices", options.devices, "devices, and requests of h2load")
        ->capture_default_str()
        ->check(CLI::Range(100, 10'000'000));
    app.add_option("--platform", options.platform, "where to")
        ->capture_default_str()
        ->check(CLI::IsMember(target_names()));
    app.add_option("--lanes", options.lanes, "loops of the hub; 0 = one per core");
    app.add_option("--sink-threads", options.sink_threads, "threads of the provider")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    app.add_option("--clients", options.h2load.clients, "connections of h2load")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    app.add_option("--threads", options.h2load.threads, "threads of h2load")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    app.add_option("--streams", options.h2load.streams, "streams of h2load per connection")
        ->capture_default_str()
        ->check(CLI::Range(1, 1'000));
    app.add_flag("--no-profile", options.no_profile, "no cost by stage, no count of allocations");
    return experiment.run(argc, argv, [&] { Fanout(experiment, options).run(); });
}

}  // namespace bench
