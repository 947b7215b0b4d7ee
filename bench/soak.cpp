// One thread posts the load, in steps of a tenth of a second, and reads the memory of the hub every
// ten seconds. Now and then the load rests until every send has ended, and what the simulators took
// is compared with what the hub told. Hub and simulators are processes of their own.
#include "bench/soak.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/experiment.hpp"
#include "bench/hub_process.hpp"
#include "bench/machine.hpp"
#include "bench/sink.hpp"
#include "bench/soak_load.hpp"
#include "bench/trend.hpp"
#include "hub/cli/client.hpp"
#include "hub/cli/terminal.hpp"
#include "hub/text/times.hpp"
#include "pns/clock.hpp"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto step = std::chrono::milliseconds(100);
constexpr double sample_every_s = 10, say_every_s = 60;
/// What the store's log may hold, and so what its tables in memory may (registry/store.cpp); pushes
/// at work, 8,192 a lane and platform with about a KiB each; what the allocator gives and takes at
/// once.
constexpr double log_mib = 128, working_mib = 64, grain_mib = 8;
constexpr double rounds_minutes_min = 10;  ///< the tables in memory are written several times in it
constexpr std::size_t rows_max = 12;
constexpr double warm_s_max = 600, rest_every_s_max = 300, rest_s_max = 180, idle_s = 20;

struct Options {
    double minutes = 30;
    std::uint32_t devices = 24'000;
    std::uint64_t seed = 1;
    double pace = 1;
    std::string program, report;
    unsigned lanes = 0;
};

struct Sample {
    double at_s = 0, rss_mib = 0, cache_mib = 0;
    std::size_t open = 0;
    std::uint64_t pushes = 0;
};

std::string minutes_of(double seconds) {
    const auto whole = static_cast<std::uint64_t>(seconds);
    const std::string rest = std::to_string(whole % 60);
    return std::to_string(whole / 60) + ":" + (rest.size() < 2 ? "0" : "") + rest;
}

/// What the memory of the hub did, beside what it may do.
struct Verdict {
    double warm_s = 0;  ///< judged from here on
    Trend trend;        ///< of RSS without the block cache, MiB over minutes
    double slope_max = 0, most = 0, most_max = 0;
    double begun_mib = 0, ended_mib = 0;  ///< RSS before the load, and at rest after it
    std::string slope_why;
    bool flat() const { return trend.slope <= slope_max && most <= most_max; }
};

class Soak {
  public:
    Soak(Experiment& experiment, const Options& options)
        : results_(experiment.results()),
          options_(options),
          length_s_(options.minutes * 60),
          sink_(experiment.dir(), {{"apns", "fcmv1", "wns", "adm"}, 1, false, ""}),
          hub_(experiment.dir(), sink_, {options.lanes, {}, options.program}),
          client_(hub_.connection_string(), hub_.ca_file()),
          load_(client_, sink_, options.devices, options.seed, options.pace) {}

    void run() {
        results_.option("minutes", options_.minutes);
        results_.option("devices", options_.devices);
        results_.option("seed", options_.seed);
        load_.populate();
        begun_ = Clock::now();
        usage_ = std::make_unique<Usage>(hub_.process());
        const double every_s = std::min(rest_every_s_max, length_s_ / 3);
        for (double until_s = every_s; until_s < length_s_ + every_s / 2; until_s += every_s) {
            drive(until_s, false);
            rest();
        }
        drive(now_s() + idle_s, true);
        judge();
    }

  private:
    double now_s() const { return std::chrono::duration<double>(Clock::now() - begun_).count(); }

    void drive(double until_s, bool resting) {
        while (now_s() < until_s) step_once(resting);
    }

    void rest() {
        const double limit_s = now_s() + rest_s_max;
        while (load_.open() > 0) {
            step_once(true);
            if (now_s() > limit_s) throw std::runtime_error("the hub does not come to rest");
        }
        load_.compare();
    }

    void step_once(bool resting) {
        std::this_thread::sleep_for(step);
        load_.tick(now_s(), resting);
        if (now_s() < sample_at_s_) return;
        sample_at_s_ += sample_every_s;
        samples_.push_back({now_s(), hub_.process().rss_mib(),
                            hub_.metric("pushhub_block_cache_bytes") / (1 << 20), load_.open(),
                            load_.figures().pushes});
        say();
    }

    void say() {
        const bool terminal = hub::on_terminal();
        if (!terminal && samples_.back().at_s < say_at_s_) return;
        say_at_s_ += say_every_s;
        const Sample& last = samples_.back();
        std::printf("%s  %s of %s  RSS %s MiB  %s sends, %zu open, %s pushes, %llu wrong%s",
                    terminal ? "\r" : "", minutes_of(last.at_s).c_str(),
                    minutes_of(length_s_).c_str(), hub::fixed(last.rss_mib, 1).c_str(),
                    hub::grouped(load_.figures().sends).c_str(), last.open,
                    hub::grouped(last.pushes).c_str(),
                    static_cast<unsigned long long>(load_.wrong_count()), terminal ? "   " : "\n");
        std::fflush(stdout);
    }

    void judge();
    Verdict weigh() const;
    void print_table(const std::vector<std::size_t>& rows) const;
    void write_report(const Verdict& verdict, const std::vector<std::size_t>& rows) const;
    std::vector<std::size_t> rows() const;

    Results& results_;
    const Options& options_;
    const double length_s_;
    Sink sink_;
    HubProcess hub_;
    hub::HubClient client_;
    SoakLoad load_;
    Clock::time_point begun_;
    std::unique_ptr<Usage> usage_;
    std::vector<Sample> samples_;
    double sample_at_s_ = 0, say_at_s_ = 0;
};

// What may come and go: changes that are not in tables yet, as much as the store's log may hold,
// and blocks of the cache, which has a bound of its own and is told by a metric. Memory of the
// first kind rises until tables are written and then falls: over several such rounds the line
// through it is level but for a part of its ups and downs; a window that may be shorter than one
// round can see nothing but a rise.
Verdict Soak::weigh() const {
    Verdict out;
    out.warm_s = std::min(warm_s_max, length_s_ / 3);
    out.begun_mib = samples_.front().rss_mib;
    out.ended_mib = samples_.back().rss_mib;
    std::vector<Point> judged;
    for (const Sample& sample : samples_) {
        if (sample.at_s < out.warm_s || sample.at_s > length_s_) continue;
        judged.push_back({sample.at_s / 60, sample.rss_mib - sample.cache_mib});
    }
    out.trend = trend_of(judged);
    out.most = out.trend.most;
    out.most_max = out.begun_mib - samples_.front().cache_mib + log_mib + working_mib;
    const double minutes = judged.empty() ? 1 : judged.back().x - judged.front().x;
    if (minutes >= rounds_minutes_min) {
        out.slope_max = std::max(2 * out.trend.scatter, grain_mib) / minutes;
        out.slope_why = "twice the scatter of " + hub::fixed(out.trend.scatter, 1) + " MiB over " +
                        hub::fixed(minutes, 1) + " min";
    } else {
        out.slope_max = log_mib / minutes;
        out.slope_why = "the log of " + hub::fixed(log_mib, 0) + " MiB may fill up once in the " +
                        hub::fixed(minutes, 1) + " min";
    }
    return out;
}

/// Ten lines of the samples or fewer, evenly, and the last one.
std::vector<std::size_t> Soak::rows() const {
    std::vector<std::size_t> out;
    const std::size_t each = std::max<std::size_t>(1, samples_.size() / rows_max);
    for (std::size_t i = 0; i < samples_.size(); i += each) out.push_back(i);
    if (out.back() != samples_.size() - 1) out.push_back(samples_.size() - 1);
    return out;
}

void Soak::judge() {
    if (hub::on_terminal()) std::puts("");
    const Verdict verdict = weigh();
    const auto& figures = load_.figures();
    nlohmann::json rss = nlohmann::json::array(), cache = nlohmann::json::array();
    for (const Sample& sample : samples_) {
        rss.push_back({sample.at_s / 60, sample.rss_mib});
        cache.push_back({sample.at_s / 60, sample.cache_mib});
    }
    results_.plot("memory_over_time", {{"RSS", rss}, {"block cache, of it", cache}});
    results_.add("rss_begun_mib", verdict.begun_mib);
    results_.add("rss_ended_mib", verdict.ended_mib);
    results_.add("without_cache_mean_mib", verdict.trend.mean);
    results_.add("without_cache_most_mib", verdict.most);
    results_.add("most_bound_mib", verdict.most_max);
    results_.add("slope_mib_per_min", verdict.trend.slope);
    results_.add("slope_bound_mib_per_min", verdict.slope_max);
    results_.add("sends", static_cast<double>(figures.sends));
    results_.add("pushes", static_cast<double>(figures.pushes));
    results_.add("unknown", static_cast<double>(figures.unknown));
    results_.add("changes", static_cast<double>(figures.changes + figures.deletes));
    results_.add("faults", static_cast<double>(figures.faults));
    results_.add("told_to_come_back", static_cast<double>(figures.busy));
    results_.add("hub_cpu_share", usage_->cpu_s() / usage_->wall_s());

    print_table(rows());
    std::printf(
        "\nfrom %s on, RSS without the block cache: mean %s MiB, slope %s MiB a minute\n"
        "  (bound %s: %s), most %s MiB (bound %s: before the load, plus a log of %s MiB, "
        "plus %s MiB of work)\n",
        minutes_of(verdict.warm_s).c_str(), hub::fixed(verdict.trend.mean, 1).c_str(),
        hub::fixed(verdict.trend.slope, 2).c_str(), hub::fixed(verdict.slope_max, 2).c_str(),
        verdict.slope_why.c_str(), hub::fixed(verdict.most, 1).c_str(),
        hub::fixed(verdict.most_max, 1).c_str(), hub::fixed(log_mib, 0).c_str(),
        hub::fixed(working_mib, 0).c_str());
    for (const std::string& wrong : load_.wrong())
        std::printf("  %s %s\n", hub::red("WRONG").c_str(), wrong.c_str());
    std::fflush(stdout);
    if (load_.wrong_count() > 0)
        throw std::runtime_error(hub::grouped(load_.wrong_count()) + " promises were broken");
    if (!verdict.flat()) throw std::runtime_error("the memory of the hub does not come to rest");
    std::printf("%s memory is flat, every send ended, nobody was missed\n",
                hub::green("PASS").c_str());
    if (!options_.report.empty()) write_report(verdict, rows());
}

void Soak::print_table(const std::vector<std::size_t>& rows) const {
    std::puts("\n     time     RSS   block cache   open sends        pushes");
    for (const std::size_t row : rows) {
        const Sample& sample = samples_[row];
        std::printf("  %7s %7.1f %13.1f %12zu %13s\n", minutes_of(sample.at_s).c_str(),
                    sample.rss_mib, sample.cache_mib, sample.open,
                    hub::grouped(sample.pushes).c_str());
    }
}

void Soak::write_report(const Verdict& verdict, const std::vector<std::size_t>& rows) const {
    const auto& figures = load_.figures();
    std::ofstream out(options_.report);
    out << "Seed " << options_.seed << ", " << hub::grouped(options_.devices) << " installations, "
        << hub::fixed(options_.minutes, 0) << " minutes, "
        << hub::iso_seconds(pns::system_clock().wall_ms()).substr(0, 10) << ", commit "
        << commit_description() << ", on " << machine_description() << ".\n"
        << hub::grouped(figures.sends) << " sends, " << hub::grouped(figures.pushes) << " pushes, "
        << hub::grouped(figures.changes + figures.deletes) << " changes of devices, "
        << figures.faults << " faults of providers. Every send ended; "
        << "nobody was missed; " << hub::grouped(figures.unknown)
        << " pushes at most once were in doubt, all of them while a provider failed.\n\n"
        << "![Memory of the hub](pictures/soak-memory.svg)\n\n"
        << "| Of RSS without the block cache, from minute "
        << hub::fixed(verdict.warm_s / 60, verdict.warm_s < 600 ? 1 : 0)
        << " on | Measured | Bound | Why |\n|---|--:|--:|---|\n"
        << "| slope, MiB a minute | " << hub::fixed(verdict.trend.slope, 2) << " | "
        << hub::fixed(verdict.slope_max, 2) << " | " << verdict.slope_why << " |\n"
        << "| most, MiB | " << hub::fixed(verdict.most, 1) << " | "
        << hub::fixed(verdict.most_max, 1) << " | RSS before the load, " << hub::fixed(log_mib, 0)
        << " MiB of log not in tables yet, " << hub::fixed(working_mib, 0)
        << " MiB of pushes and connections at work |\n\n"
        << "| Time | RSS, MiB | Block cache, of it | Open sends | Pushes so far |\n"
        << "|--:|--:|--:|--:|--:|\n";
    for (const std::size_t row : rows) {
        const Sample& sample = samples_[row];
        out << "| " << minutes_of(sample.at_s) << " | " << hub::fixed(sample.rss_mib, 1) << " | "
            << hub::fixed(sample.cache_mib, 1) << " | " << sample.open << " | "
            << hub::grouped(sample.pushes) << " |\n";
    }
}

}  // namespace

int soak_main(int argc, char** argv) {
    Experiment experiment("soak",
                          "Mixed load on a hub for minutes: its memory must come to rest, every "
                          "send must end, and nobody may be missed.",
                          {1, 1, 4 * 3'600});
    Options options;
    CLI::App& app = experiment.app();
    app.add_option("--minutes", options.minutes, "of load")
        ->capture_default_str()
        ->check(CLI::Range(0.5, 1'440.0));
    app.add_option("--devices", options.devices, "installations on four platforms")
        ->capture_default_str()
        ->check(CLI::Range(2'000, 10'000'000));
    app.add_option("--seed", options.seed, "of what is posted")->capture_default_str();
    app.add_option("--pace", options.pace, "so many times the usual load")
        ->capture_default_str()
        ->check(CLI::Range(0.1, 20.0));
    app.add_option("--lanes", options.lanes, "loops of the hub; 0 = one per core");
    app.add_option("--binary", options.program,
                   "the pushhub to load; default: the one beside this");
    app.add_option("--report", options.report, "write what came of it to this file, as Markdown");
    return experiment.run(argc, argv, [&] { Soak(experiment, options).run(); });
}

}  // namespace bench
