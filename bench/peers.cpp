// bench/peers/prepare builds the drivers and tells how to start each; it also has their protocol.
// For each platform there is one sink and one hub. A driver is started once, sends until it is
// warm, and then takes turns with the hub: both send to the same handles with the same body. Only
// the CPU between an order and its `done` counts. A run in which the sink did not take exactly what
// was sent fails.
#include "bench/peers.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bench/broadcast.hpp"
#include "bench/crowd.hpp"
#include "bench/experiment.hpp"
#include "bench/hub_process.hpp"
#include "bench/sink.hpp"
#include "bench/store_fill.hpp"
#include "bench/targets.hpp"
#include "hub/cli/client.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/cli/terminal.hpp"
#include "pns/text.hpp"

namespace bench {
namespace {

constexpr const char* hub_name = "peers";
constexpr double ready_timeout_s = 60, order_timeout_s = 900;
constexpr std::uint32_t first_warm_pushes = 200;

struct Options {
    std::uint32_t devices = 100'000;
    std::vector<std::string> names;  ///< empty = all that are there
    std::string drivers = "bench/peers", built = "build/peers";
    unsigned lanes = 0, sink_threads = 1, connections = 2;
    double warm_s = 10, round_s = 20;
};

/// A driver that is ready to run.
struct Driver {
    std::string name, platform, version;
    std::vector<std::string> command;

    std::string metric(const std::string& what) const {
        std::string out = name + "_" + what;
        std::replace(out.begin(), out.end(), '-', '_');
        return out;
    }
};

std::vector<std::string> split(const std::string& line) {
    std::vector<std::string> out;
    std::istringstream fields(line);
    for (std::string field; std::getline(fields, field, '\t');) out.push_back(field);
    return out;
}

/// A driver at work, with the handles and the credential of one sink.
class Peer {
  public:
    Peer(const Driver& driver, const std::filesystem::path& dir,
         const std::vector<std::string>& environment)
        : process_(driver.command, dir / (driver.name + ".log"), environment,
                   Process::Input::lines) {
        process_.wait_for("ready", ready_timeout_s);
    }

    const Process& process() const { return process_; }
    struct Sent {
        double seconds = 0, cpu_s = 0;
    };
    /// To the first `count` handles. Throws std::runtime_error unless all were accepted.
    Sent send(std::uint32_t count) {
        const std::string round = std::to_string(++round_);
        const Usage usage(process_);
        process_.say(round + " 0 " + std::to_string(count));
        const std::string answer = process_.wait_for("done " + round + " ", order_timeout_s);
        const Sent sent{usage.wall_s(), usage.cpu_s()};
        if (answer != std::to_string(count) + " 0")
            throw std::runtime_error("a driver was refused pushes: " + process_.output());
        return sent;
    }

  private:
    Process process_;
    unsigned round_ = 0;
};

/// All peers of one platform, and the hub beside them.
class Match {
  public:
    Match(Experiment& experiment, const Options& options, const std::string& platform)
        : experiment_(experiment),
          results_(experiment.results()),
          options_(options),
          target_(target(platform)),
          dir_(experiment.dir() / platform),
          sink_(made(dir_), {{platform}, options.sink_threads, true, ""}),
          hub_(dir_, sink_, {options.lanes, {}}) {
        connect();
        hub::create_hub(*client_, hub_name, sink_.credentials());
        client_.reset();
        hub_.stop();
        const Crowd crowd(target_, sink_.host(platform), false);
        fill_store(hub_.data_dir(), hub_name, options_.devices,
                   [&crowd](std::uint32_t i) { return crowd.device(i); });
        hub_.start();
        connect();
        write_handles();
        broadcast();
    }

    void play(const Driver& driver);

  private:
    static const std::filesystem::path& made(const std::filesystem::path& dir) {
        std::filesystem::create_directories(dir);
        return dir;
    }
    void connect() {
        client_ = std::make_unique<hub::HubClient>(hub_.connection_string(), hub_.ca_file());
    }
    Broadcast broadcast() {
        return run_broadcast(hub_, *client_, sink_,
                             {hub_name, target_.platform, target_.format, "", target_.body,
                              target_.send_headers(), options_.devices});
    }
    void write_handles() const;
    std::vector<std::string> environment() const;
    /// Pushes of a round: as many as there are devices, unless that takes too long.
    std::uint32_t warm(Peer& peer) const;
    void round(unsigned number, const Driver& driver, Peer& peer, std::uint32_t count, bool alone);
    const SimControl& control() const { return sink_.control(target_.platform); }

    Experiment& experiment_;
    Results& results_;
    const Options& options_;
    const Target& target_;
    const std::filesystem::path dir_;
    Sink sink_;
    HubProcess hub_;
    std::unique_ptr<hub::HubClient> client_;
};

void Match::write_handles() const {
    std::ofstream out(dir_ / "handles");
    const std::string& host = sink_.host(target_.platform);
    for (std::uint32_t i = 0; i < options_.devices; ++i) {
        const std::string handle = target_.handle(i, host);
        out << (target_.platform == "apns" ? pns::lower(handle) : handle) << '\n';
    }
    if (!out.flush()) throw std::runtime_error("cannot write to " + dir_.string());
}

std::vector<std::string> Match::environment() const {
    const std::string& origin = sink_.origin(target_.platform);
    std::vector<std::string> out{
        "PEER_PORT=" + origin.substr(origin.rfind(':') + 1),
        "PEER_CA=" + sink_.ca_file(),
        "PEER_HANDLES=" + (dir_ / "handles").string(),
        "PEER_BODY=" + target_.body,
        "PEER_CONNECTIONS=" + std::to_string(options_.connections),
    };
    const auto& credential = sink_.credential(target_.platform).properties;
    if (target_.platform == "apns") {
        const std::filesystem::path key = dir_ / "key.p8";
        std::ofstream(key) << credential.at("Token");
        out.push_back("PEER_KEY_FILE=" + key.string());
        out.push_back("PEER_KEY_ID=" + credential.at("KeyId"));
        out.push_back("PEER_TEAM_ID=" + credential.at("AppId"));
        out.push_back("PEER_TOPIC=" + credential.at("AppName"));
    } else if (target_.platform == "fcmv1") {
        out.push_back("PEER_PROJECT=" + credential.at("ProjectId"));
    } else {
        out.push_back("PEER_SUBJECT=" + credential.at("Subject"));
        out.push_back("PEER_VAPID_PUBLIC=" + credential.at("VapidPublicKey"));
        out.push_back("PEER_VAPID_PRIVATE=" + credential.at("VapidPrivateKey"));
    }
    return out;
}

std::uint32_t Match::warm(Peer& peer) const {
    using Clock = std::chrono::steady_clock;
    const auto begun = Clock::now();
    const auto passed_s = [&] {
        return std::chrono::duration<double>(Clock::now() - begun).count();
    };
    peer.send(1);
    std::uint32_t count = std::min(first_warm_pushes, options_.devices);
    double per_s = 0;
    while (passed_s() < options_.warm_s) {
        per_s = count / peer.send(count).seconds;
        // About five rounds until it is warm, the first ones short.
        count = static_cast<std::uint32_t>(
            std::clamp(per_s * options_.warm_s / 5, 1.0, static_cast<double>(options_.devices)));
    }
    return static_cast<std::uint32_t>(
        std::clamp(per_s * options_.round_s, 1.0, static_cast<double>(options_.devices)));
}

void Match::round(unsigned number, const Driver& driver, Peer& peer, std::uint32_t count,
                  bool alone) {
    const auto named = [&](const std::string& what) {
        return driver.metric((alone ? "alone_" : "") + what);
    };
    const Usage sink_usage(sink_.process());
    const Broadcast ours = broadcast();
    if (!alone) experiment_.check_sink("hub", sink_usage, sink_);
    results_.add(named("hub_cpu_us"), ours.cpu_us_per_push);
    results_.add(named("hub_per_s"), ours.pushes_per_s);
    print_run(number, alone ? "alone hub" : "hub", describe(ours));

    control().forget();
    const Peer::Sent theirs = peer.send(count);
    if (const std::uint64_t taken = control().taken().pushes; taken != count)
        throw std::runtime_error(driver.name + " says it sent " + hub::grouped(count) +
                                 " pushes, and the sink took " + hub::grouped(taken));
    const double cpu_us = theirs.cpu_s * 1e6 / count, per_s = count / theirs.seconds;
    results_.add(named("cpu_us"), cpu_us);
    results_.add(named("per_s"), per_s);
    print_run(number, (alone ? "alone " : "") + driver.name,
              hub::grouped(static_cast<std::uint64_t>(per_s)) + "/s, " + hub::fixed(cpu_us, 2) +
                  " us CPU per push");
}

void Match::play(const Driver& driver) {
    // Where the fast simulator answers alone, it answers in full. Elsewhere FCM's answers have no
    // body, and firebase-admin needs one; that of Web Push has one way alone.
    const bool in_few_records = target_.platform != "fcmv1";
    const bool alone = target_.platform == "apns" || target_.platform == "fcmv1";
    std::printf("%s %s\n", driver.name.c_str(), driver.version.c_str());
    control().answer_each_alone(!in_few_records);
    Peer peer(driver, dir_, environment());
    std::uint32_t count = warm(peer);
    if (in_few_records && alone) {  // a JIT compiler learns each way by itself
        control().answer_each_alone(true);
        count = std::min(count, warm(peer));
    }
    for (unsigned i = 1; i <= experiment_.runs(); ++i) {
        if (in_few_records) {
            control().answer_each_alone(false);
            round(i, driver, peer, count, false);
        }
        if (alone) {
            control().answer_each_alone(true);
            round(i, driver, peer, count, true);
        }
    }
    results_.add(driver.metric("pushes"), count);
    results_.add(driver.metric("peak_rss_mib"), peer.process().peak_rss_mib());
    for (const std::string kind : {"", "alone_"}) {
        const auto named = [&](const char* what) { return driver.metric(kind + what); };
        results_.add_ratio(named("cpu_ratio"), named("cpu_us"), named("hub_cpu_us"));
        results_.add_ratio(named("rate_ratio"), named("hub_per_s"), named("per_s"));
    }
}

/// Builds the drivers; what cannot be built is left out, with its reason.
std::vector<Driver> prepare(Experiment& experiment, const Options& options,
                            nlohmann::ordered_json& left_out) {
    std::vector<std::string> command{options.drivers + "/prepare", options.built};
    command.insert(command.end(), options.names.begin(), options.names.end());
    std::puts("preparing the drivers; the first time, packages are fetched and compiled");
    std::fflush(stdout);
    Process process(command, experiment.dir() / "prepare.log");
    process.finish();
    std::vector<Driver> out;
    nlohmann::ordered_json versions = nlohmann::ordered_json::object();
    std::istringstream lines(process.output());
    for (std::string line; std::getline(lines, line);) {
        std::vector<std::string> fields = split(line);
        if (fields.size() < 4) throw std::runtime_error("not understood: " + line);
        if (fields[2] == "-") {
            left_out[fields[0]] = fields[3];
            std::printf("%s is left out: %s\n", fields[0].c_str(), fields[3].c_str());
            continue;
        }
        versions[fields[0]] = {{"version", fields[2]}, {"platform", fields[1]}};
        out.push_back({fields[0], fields[1], fields[2], {fields.begin() + 3, fields.end()}});
    }
    experiment.results().plot("peers", versions);
    return out;
}

void run(Experiment& experiment, const Options& options) {
    experiment.results().option("devices", options.devices);
    experiment.results().option("connections", options.connections);
    nlohmann::ordered_json left_out = nlohmann::ordered_json::object();
    const std::vector<Driver> drivers = prepare(experiment, options, left_out);
    if (drivers.empty()) throw std::runtime_error("there is nobody to compare with");
    for (const std::string& platform : target_names()) {
        std::unique_ptr<Match> match;
        for (const Driver& driver : drivers) {
            if (driver.platform != platform) continue;
            if (!match) match = std::make_unique<Match>(experiment, options, platform);
            try {
                match->play(driver);
            } catch (const std::exception& error) {
                // The figures of the others stay.
                left_out[driver.name] = "failed";
                std::printf("%s is left out: %s\n", driver.name.c_str(), error.what());
            }
        }
    }
    experiment.results().plot("left_out", left_out);
}

}  // namespace

int peers_main(int argc, char** argv) {
    Experiment experiment(
        "peers",
        "Other people's push libraries, unmodified, and broadcasts through a hub of its own, in "
        "turns into the same fast provider: CPU per push and rate. Run it from the top of the "
        "source tree; bench/report writes PEERS.md from the figures.",
        {3, 100, 3'600});
    Options options;
    CLI::App& app = experiment.app();
    app.add_option("peers", options.names, "which libraries (default: all that can be built)");
    app.add_option("--devices", options.devices, "devices, and pushes of a round")
        ->capture_default_str()
        ->check(CLI::Range(100, 10'000'000));
    app.add_option("--lanes", options.lanes, "loops of the hub; 0 = one per core");
    app.add_option("--sink-threads", options.sink_threads, "threads of the provider")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    app.add_option("--connections", options.connections,
                   "connections of a library, each its thread")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    app.add_option("--warm", options.warm_s, "seconds of sending before anything counts")
        ->capture_default_str()
        ->check(CLI::Range(0.1, 600.0));
    app.add_option("--round", options.round_s, "seconds of a round; slow libraries send fewer")
        ->capture_default_str()
        ->check(CLI::Range(0.1, 600.0));
    app.add_option("--drivers", options.drivers, "folder of the drivers' sources")
        ->capture_default_str()
        ->check(CLI::ExistingDirectory);
    app.add_option("--built", options.built, "folder in which built drivers are kept")
        ->capture_default_str();
    return experiment.run(argc, argv, [&] { run(experiment, options); });
}

}  // namespace bench
