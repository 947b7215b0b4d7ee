// For each size a store is filled directly, a hub is started over it, and broadcasts and questions
// are measured. The hub with the smallest size stays up and is measured again beside each larger
// one, since a machine's speed changes over minutes. Hub and sink are processes of their own; this
// one only drives and reads figures.
#include "bench/scale.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/audience.hpp"
#include "bench/broadcast.hpp"
#include "bench/crowd.hpp"
#include "bench/experiment.hpp"
#include "bench/hub_process.hpp"
#include "bench/store_fill.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/cli/terminal.hpp"

namespace bench {
namespace {

constexpr const char* hub_name = "scale";
constexpr auto settle_step = std::chrono::seconds(2);
constexpr unsigned settle_steps_max = 60, settle_steps_same = 3;
constexpr std::uint64_t settle_bytes = 4u << 20;  ///< less change than this is none
constexpr unsigned beside_broadcasts = 8;

struct Options {
    std::vector<std::uint32_t> sizes{100'000, 1'000'000, 10'000'000};
    unsigned lanes = 0, sink_threads = 1;
};

/// Nothing in a store moves any more: RocksDB has done what it does on its own.
std::uint64_t settled_bytes(const std::filesystem::path& store) {
    std::uint64_t before = bytes_on_disk(store);
    unsigned same = 0;
    for (unsigned step = 0; step < settle_steps_max && same < settle_steps_same; ++step) {
        std::this_thread::sleep_for(settle_step);
        const std::uint64_t now = bytes_on_disk(store);
        same = std::max(now, before) - std::min(now, before) < settle_bytes ? same + 1 : 0;
        before = now;
    }
    return before;
}

std::string short_name(std::uint32_t devices) {
    if (devices % 1'000'000 == 0) return std::to_string(devices / 1'000'000) + "m";
    if (devices % 1'000 == 0) return std::to_string(devices / 1'000) + "k";
    return std::to_string(devices);
}

class Scale {
  public:
    Scale(Experiment& experiment, const Options& options)
        : experiment_(experiment), results_(experiment.results()), options_(options) {}

    void run() {
        results_.option("sizes", options_.sizes);
        for (const std::uint32_t devices : options_.sizes) measure(devices);
        const std::string last = short_name(options_.sizes.back());
        const bool alone = options_.sizes.size() == 1;
        results_.add_ratio("push_cost_ratio", "cpu_us_per_push_" + last,
                           (alone ? "cpu_us_per_push_" : "small_cpu_us_per_push_") + last);
        // The figures of the largest population under the names that stand for all of them.
        for (const char* name :
             {"rss_idle_mib", "rss_broadcast_mib", "disk_bytes_per_registration", "six_tag_ratio",
              "user_warm_us", "user_cold_us", "pushes_per_s", "fill_per_s", "start_s"})
            results_.add(name, results_.value(std::string(name) + "_" + last));
    }

  private:
    /// A hub with its provider. The smallest one stays until the end: what a push costs there is
    /// measured again beside each broadcast to more, for machines have moods.
    struct Population {
        Population(const Experiment& experiment, const Options& options, std::uint32_t count)
            : devices(count),
              dir(made(experiment.dir() / short_name(count))),
              sink(dir, {{"apns"}, options.sink_threads, true, ""}),
              hub(dir, sink, {options.lanes, {}}) {}
        static std::filesystem::path made(std::filesystem::path dir) {
            std::filesystem::create_directories(dir);
            return dir;
        }
        std::uint32_t devices;
        std::filesystem::path dir;
        Sink sink;
        HubProcess hub;
    };

    void measure(std::uint32_t devices) {
        const std::string suffix = "_" + short_name(devices);
        std::printf("%s\n", hub::bold(hub::grouped(devices) + " devices").c_str());
        auto population = std::make_unique<Population>(experiment_, options_, devices);
        HubProcess& hub = population->hub;
        {
            hub::HubClient client(hub.connection_string(), hub.ca_file());
            hub::create_hub(client, hub_name, population->sink.credentials());
        }
        hub.stop();
        const Crowd crowd(target("apns"), "", false);
        results_.add("fill_per_s" + suffix,
                     fill_store(hub.data_dir(), hub_name, devices,
                                [&crowd](std::uint32_t i) { return crowd.device(i); }));
        hub.start();
        const std::uint64_t bytes = settled_bytes(hub.data_dir() / "store");
        results_.add("disk_bytes_per_registration" + suffix, static_cast<double>(bytes) / devices);
        hub.stop();
        results_.add("start_s" + suffix, hub.start());
        broadcasts(*population, suffix);
        hub.stop();
        Results questions;
        const AudienceFigures asked =
            measure_audience(hub.data_dir(), hub_name, devices, experiment_.runs(), "", questions);
        results_.add("six_tag_us" + suffix, asked.six_tag_us);
        results_.add("six_tag_ratio" + suffix, asked.six_tag_us / asked.six_tag_by_hand_us);
        results_.add("user_warm_us" + suffix, asked.user_warm_us);
        results_.add("user_cold_us" + suffix, asked.user_cold_us);
        if (!smallest_) {
            hub.start();
            smallest_ = std::move(population);
            return;
        }
        const std::filesystem::path dir = population->dir;
        population.reset();
        std::filesystem::remove_all(dir);
    }

    static BroadcastOrder to_all(std::uint32_t devices) {
        const Target& apns = target("apns");
        return {hub_name, "apns", apns.format, "", apns.body, {}, devices};
    }

    void broadcasts(Population& population, const std::string& suffix) {
        HubProcess& hub = population.hub;
        hub::HubClient client(hub.connection_string(), hub.ca_file());
        BroadcastOrder first = to_all(0);
        first.expression = "lang:3";
        for (std::uint32_t i = 0; i < population.devices; ++i)
            first.devices += tag_value(i, 2) == 3;
        run_broadcast(hub, client, population.sink, first);  // connections are there after this
        results_.add("rss_idle_mib" + suffix, hub.process().rss_mib());
        for (unsigned i = 1; i <= experiment_.runs(); ++i) {
            if (smallest_) beside(suffix);
            const Usage usage(population.sink.process());
            const Broadcast sent =
                run_broadcast(hub, client, population.sink, to_all(population.devices));
            experiment_.check_sink("hub" + suffix, usage, population.sink);
            results_.add("pushes_per_s" + suffix, sent.pushes_per_s);
            results_.add("cpu_us_per_push" + suffix, sent.cpu_us_per_push);
            results_.add("first_push_ms" + suffix, sent.first_ms);
            results_.plot("rate_over_time" + suffix, sent.rate);
            print_run(i, "broadcast", describe(sent));
        }
        results_.add("rss_broadcast_mib" + suffix, hub.process().peak_rss_mib());
    }

    /// What a push to the smallest population costs now.
    void beside(const std::string& suffix) {
        HubProcess& hub = smallest_->hub;
        hub::HubClient client(hub.connection_string(), hub.ca_file());
        const BroadcastOrder order = to_all(smallest_->devices);
        run_broadcast(hub, client, smallest_->sink, order);
        double sum_us = 0;
        for (unsigned i = 0; i < beside_broadcasts; ++i)
            sum_us += run_broadcast(hub, client, smallest_->sink, order).cpu_us_per_push;
        results_.add("small_cpu_us_per_push" + suffix, sum_us / beside_broadcasts);
    }

    std::unique_ptr<Population> smallest_;
    Experiment& experiment_;
    Results& results_;
    const Options& options_;
};

}  // namespace

int scale_main(int argc, char** argv) {
    Experiment experiment("scale",
                          "Broadcasts to and asks about growing populations with ten tags and a "
                          "user of its own each: cost, memory and disk per device.",
                          {3, 20, 3 * 3'600});
    Options options;
    CLI::App& app = experiment.app();
    app.add_option("--sizes", options.sizes, "numbers of devices, ascending")
        ->delimiter(',')
        ->check(CLI::Range(1'000, 20'000'000));
    app.add_option("--lanes", options.lanes, "loops of the hub; 0 = one per core");
    app.add_option("--sink-threads", options.sink_threads, "threads of the provider")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    return experiment.run(argc, argv, [&] { Scale(experiment, options).run(); });
}

}  // namespace bench
