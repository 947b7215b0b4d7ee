// Each round sends one broadcast undisturbed and one in whose midst the provider is away: its
// connections are reset and new ones are refused. The simulator's journal tells when each push
// came. Hub and simulator are processes of their own.
#include "bench/outage.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/crowd.hpp"
#include "bench/experiment.hpp"
#include "bench/hub_process.hpp"
#include "bench/sink.hpp"
#include "bench/store_fill.hpp"
#include "bench/targets.hpp"
#include "bench/telemetry.hpp"
#include "hub/cli/client.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/cli/terminal.hpp"

namespace bench {
namespace {

constexpr const char* hub_name = "outage";
constexpr auto look_every = std::chrono::milliseconds(5);
constexpr double timeout_s = 600, bin_s = 0.25;

struct Options {
    std::uint32_t devices = 50'000;
    double away_s = 50;
    unsigned lanes = 0;
};

std::int64_t wall_us() {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

double seconds(std::int64_t us) {
    return static_cast<double>(us) / 1e6;
}

/// Pushes per second between the first and the last of them.
double rate_of(const std::vector<SimControl::Arrival>& arrivals) {
    if (arrivals.size() < 2) return 0;
    return static_cast<double>(arrivals.size() - 1) /
           seconds(std::max<std::int64_t>(arrivals.back().at_us - arrivals.front().at_us, 1));
}

nlohmann::json curve_of(const std::vector<SimControl::Arrival>& arrivals, std::int64_t from_us) {
    std::vector<double> bins;
    for (const auto& arrival : arrivals) {
        const double at_s = std::max(0.0, seconds(arrival.at_us - from_us));
        const auto bin = static_cast<std::size_t>(at_s / bin_s);
        if (bin >= bins.size()) bins.resize(bin + 1);
        bins[bin] += 1 / bin_s;
    }
    nlohmann::json out = nlohmann::json::array();
    for (std::size_t i = 0; i < bins.size(); ++i) {
        const bool between = i > 0 && i + 1 < bins.size() && bins[i - 1] == 0 && bins[i + 1] == 0;
        if (bins[i] == 0 && between) continue;
        out.push_back({static_cast<double>(i) * bin_s, bins[i]});
    }
    return out;
}

class Outage {
  public:
    Outage(Experiment& experiment, const Options& options)
        : experiment_(experiment),
          results_(experiment.results()),
          options_(options),
          target_(target("apns")),
          sink_(experiment.dir(), {{target_.platform}, 1, false, ""}),
          hub_(experiment.dir(), sink_, {options.lanes, {}}) {}

    void run() {
        results_.option("devices", options_.devices);
        results_.option("away_s", options_.away_s);
        connect();
        hub::create_hub(*client_, hub_name, sink_.credentials());
        client_.reset();
        hub_.stop();
        const Crowd crowd(target_, sink_.host(target_.platform), false);
        fill_store(hub_.data_dir(), hub_name, options_.devices,
                   [&crowd](std::uint32_t i) { return crowd.device(i); });
        hub_.start();
        connect();
        finish(begin());  // connections, caches and buffers are there after this
        for (unsigned i = 1; i <= experiment_.runs(); ++i) one_round(i);
        results_.add_ratio("rest_ratio", "rest_per_s", "undisturbed_per_s");
    }

  private:
    void connect() {
        client_ = std::make_unique<hub::HubClient>(hub_.connection_string(), hub_.ca_file());
    }
    const SimControl& control() const { return sink_.control(target_.platform); }

    std::string begin() {
        control().forget();
        return post_send(*client_, hub_name, target_.format, "", target_.body);
    }

    std::vector<SimControl::Arrival> finish(const std::string& id) {
        const Telemetry t = wait_until_final(*client_, hub_name, id, timeout_s);
        if (t.devices("Success") != options_.devices || t.devices() != options_.devices) {
            throw std::runtime_error("not all of " + hub::grouped(options_.devices) +
                                     " pushes succeeded, but " +
                                     hub::grouped(t.devices("Success")));
        }
        return control().arrivals();
    }

    /// Takes the provider away once a third of the pushes are there.
    std::int64_t take_away() {
        while (control().taken().pushes < options_.devices / 3)
            std::this_thread::sleep_for(look_every);
        const std::int64_t from_us = wall_us();
        const nlohmann::json refused{{"fault", "F29"},
                                     {"variant", "refused"},
                                     {"ms", static_cast<std::int64_t>(options_.away_s * 1'000)}};
        control().set_faults({{"faults", nlohmann::json::array({refused})}});
        control().reset_connections();
        return from_us;
    }

    void one_round(unsigned number) {
        const double undisturbed = rate_of(finish(begin()));
        results_.add("undisturbed_per_s", undisturbed);

        const Usage usage(hub_.process());
        const std::string id = begin();
        const std::int64_t posted_us = wall_us();
        const std::int64_t away_us = take_away();
        const std::int64_t back_us =
            away_us + static_cast<std::int64_t>(options_.away_s * 1'000'000);
        const auto arrivals = finish(id);
        const double cpu_s = usage.cpu_s();
        const auto rest_from = std::find_if(arrivals.begin(), arrivals.end(),
                                            [&](const auto& a) { return a.at_us >= back_us; });
        const std::vector<SimControl::Arrival> rest(rest_from, arrivals.end());
        if (rest.empty()) throw std::runtime_error("the broadcast was over before the outage");
        const double first_s = seconds(rest.front().at_us - back_us);
        const double done_s = seconds(rest.back().at_us - back_us);
        const double rest_per_s = rate_of(rest);
        results_.add("waiting", static_cast<double>(rest.size()));
        results_.add("first_push_s", first_s);
        results_.add("all_done_s", done_s);
        results_.add("rest_per_s", rest_per_s);
        results_.add("doubles", static_cast<double>(control().doubles()));
        results_.add("cpu_s", cpu_s);
        results_.plot("rate_over_time", {{"pushes taken", curve_of(arrivals, posted_us)}});
        print_run(number, "outage",
                  hub::grouped(rest.size()) + " waited; first " + hub::fixed(first_s, 2) +
                      " s after the return, all " + hub::fixed(done_s, 2) + " s after, " +
                      hub::grouped(static_cast<std::uint64_t>(rest_per_s)) + "/s beside " +
                      hub::grouped(static_cast<std::uint64_t>(undisturbed)) + "/s undisturbed");
    }

    Experiment& experiment_;
    Results& results_;
    const Options& options_;
    const Target& target_;
    Sink sink_;
    HubProcess hub_;
    std::unique_ptr<hub::HubClient> client_;
};

}  // namespace

int outage_main(int argc, char** argv) {
    Experiment experiment("outage",
                          "A broadcast in whose midst the provider refuses connections: when the "
                          "first push comes after its return, and how fast the rest.",
                          {3, 50, 1'800});
    Options options;
    CLI::App& app = experiment.app();
    app.add_option("--devices", options.devices, "devices of the broadcast")
        ->capture_default_str()
        ->check(CLI::Range(3'000, 10'000'000));
    app.add_option("--away", options.away_s, "seconds without the provider")
        ->capture_default_str()
        ->check(CLI::Range(1.0, 1'200.0));
    app.add_option("--lanes", options.lanes, "loops of the hub; 0 = one per core");
    return experiment.run(argc, argv, [&] { Outage(experiment, options).run(); });
}

}  // namespace bench
