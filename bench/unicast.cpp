// Two parts: one send at a time, each timed from its POST to its arrival at the sink, first alone
// and then beside broadcasts that a second thread posts; then as many at once as connections
// allow, in turns with the bare server. Arrivals are matched to posts by reader, from the sink's
// journal. A send that never arrived fails the run.
#include "bench/unicast.hpp"

#include <CLI/CLI.hpp>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/bare.hpp"
#include "bench/broadcast.hpp"
#include "bench/crowd.hpp"
#include "bench/experiment.hpp"
#include "bench/h2load.hpp"
#include "bench/hub_process.hpp"
#include "bench/load.hpp"
#include "bench/store_fill.hpp"
#include "bench/telemetry.hpp"
#include "hub/cli/client.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/cli/terminal.hpp"

namespace bench {
namespace {

constexpr const char* hub_name = "unicast";
constexpr const char* body = R"({"aps":{"alert":"Your parcel is at the door."}})";
constexpr const char* crowd_expression = "half:0 || half:1";  // readers carry no such tag
constexpr const char* reader_mark = "FEED";                   // how readers' tokens begin
constexpr const char* watched = "/feed";                      // as their pushes' paths show them
constexpr double settle_timeout_s = 20;
constexpr std::uint32_t h2load_requests = 500;

struct Options {
    unsigned lanes = 0, sink_threads = 2;
    unsigned connections = 64, streams = 1;
    std::uint32_t readers = 20'000, crowd = 200'000;
    double seconds = 4;
};

std::int64_t wall_us() {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

std::string reader_id(std::uint64_t number) {
    return "reader-" + std::to_string(number);
}

registry::Installation reader(std::uint32_t number) {
    const std::string digits = std::to_string(1'000'000'000ULL + number);
    registry::Installation out;
    out.id = out.user_id = reader_id(number);
    out.platform = "apns";
    out.push_channel = reader_mark + std::string(60 - digits.size(), '0') + digits;
    return out;
}

/// When each reader's sends were posted, until the sink tells when they came.
class Trips {
  public:
    void posted(std::uint64_t reader, std::int64_t at_us) { open_[reader].push_back(at_us); }
    /// Milliseconds from POST to arrival, in no order.
    std::vector<double> match(const std::vector<SimControl::Arrival>& arrivals) {
        std::vector<double> out;
        for (const SimControl::Arrival& arrival : arrivals) {
            const std::string digits = arrival.handle.substr(arrival.handle.size() - 10);
            std::uint64_t number = 0;
            std::from_chars(digits.data(), digits.data() + digits.size(), number);
            const auto it = open_.find(number - 1'000'000'000ULL);
            if (it == open_.end() || it->second.empty()) continue;
            out.push_back(static_cast<double>(arrival.at_us - it->second.front()) / 1e3);
            it->second.pop_front();
        }
        return out;
    }

  private:
    std::map<std::uint64_t, std::deque<std::int64_t>> open_;
};

/// Broadcasts to the crowd, one after the other, until it is gone.
class Noise {
  public:
    explicit Noise(HubProcess& hub)
        : client_(hub.connection_string(), hub.ca_file()), thread_([this] { run(); }) {}
    ~Noise() {
        over_ = true;
        thread_.join();
    }
    Noise(const Noise&) = delete;
    Noise& operator=(const Noise&) = delete;

    /// Throws what ended it early.
    void check() const {
        if (failed_) throw std::runtime_error("a broadcast failed: " + failure_);
    }

  private:
    void run() {
        try {
            while (!over_) {
                const std::string id =
                    post_send(client_, hub_name, "apple", crowd_expression, target("apns").body);
                wait_until_final(client_, hub_name, id, settle_timeout_s * 10);
            }
        } catch (const std::exception& error) {
            failure_ = error.what();
            failed_ = true;
        }
    }

    hub::HubClient client_;
    std::atomic<bool> over_ = false, failed_ = false;
    std::string failure_;  // once failed_ is set
    std::thread thread_;
};

/// A hub with readers and a crowd, and the provider behind it.
struct Site {
    Site(const std::filesystem::path& dir, const SinkOptions& provider, unsigned lanes)
        : sink((std::filesystem::create_directories(dir), dir), provider),
          hub(dir, sink, {lanes, {}}) {}
    Sink sink;
    HubProcess hub;
};

class Unicast {
  public:
    Unicast(Experiment& experiment, const Options& options)
        : experiment_(experiment),
          results_(experiment.results()),
          options_(options),
          timed_(experiment.dir() / "timed", {{"apns"}, options.sink_threads, true, watched},
                 options.lanes),
          loaded_(experiment.dir() / "loaded", {{"apns"}, options.sink_threads, true, ""},
                  options.lanes),
          bare_(experiment.dir(), options.lanes) {}

    void run() {
        results_.option("readers", options_.readers);
        results_.option("crowd", options_.crowd);
        prepare(timed_);
        prepare(loaded_);
        write_h2load_files(experiment_.dir(), timed_.sink, target("apns"), h2load_requests);
        for (unsigned i = 1; i <= experiment_.runs(); ++i) one_round(i);
        results_.add_ratio("accept_ratio", "accepts_per_s", "bare_per_s");
        results_.add("peak_rss_mib", timed_.hub.process().peak_rss_mib());
        results_.plot("accept_latency_ms", {{"alone", quantile_curve(alone_)},
                                            {"beside a broadcast", quantile_curve(beside_)},
                                            {"reference", quantile_curve(reference_)}});
    }

  private:
    void prepare(Site& site);
    void one_round(unsigned number);
    void reference(unsigned number);
    /// One send at a time, each timed from its POST to its arrival at the provider.
    std::vector<double> trips(unsigned number, const std::string& name);
    void full_load(unsigned number);
    void make_post(hub::ClientRequest& request) {
        // A step without a common factor reaches every reader before one comes again.
        last_reader_ = turn_++ * 7'919 % options_.readers;
        request.method = "POST";
        request.path = std::string("/") + hub_name + "/messages?api-version=2020-06";
        request.headers = {
            {"content-type", "application/json;charset=utf-8"},
            {"servicebusnotification-format", "apple"},
            {"servicebusnotification-tags", "$UserId:{" + reader_id(last_reader_) + "}"}};
        request.body = body;
    }
    void check_delivered(hub::HubClient& client, const std::string& location);

    Experiment& experiment_;
    Results& results_;
    const Options& options_;
    Site timed_;   ///< its provider keeps when readers' pushes came
    Site loaded_;  ///< its provider only answers
    BareServer bare_;
    std::uint64_t turn_ = 0, last_reader_ = 0;
    std::vector<double> alone_, beside_, reference_;
};

void Unicast::prepare(Site& site) {
    {
        hub::HubClient client(site.hub.connection_string(), site.hub.ca_file());
        hub::create_hub(client, hub_name, site.sink.credentials());
    }
    site.hub.stop();
    const Crowd crowd(target("apns"), "", false);
    const std::uint32_t devices = options_.readers + options_.crowd;
    fill_store(site.hub.data_dir(), hub_name, devices, [&](std::uint32_t i) {
        return i < options_.readers ? reader(i) : crowd.device(i - options_.readers);
    });
    site.hub.start();
}

void Unicast::one_round(unsigned number) {
    reference(number);
    std::vector<double> quiet = trips(number, "alone");
    results_.add("accept_p50_ms", percentile(quiet, 0.5));
    results_.add("accept_p99_ms", percentile(quiet, 0.99));
    results_.add("accept_p999_ms", percentile(quiet, 0.999));
    alone_.insert(alone_.end(), quiet.begin(), quiet.end());

    std::uint64_t pushes = 0;
    std::vector<double> noisy;
    {
        const Sink& sink = timed_.sink;
        const Usage usage(sink.process());
        sink.control("apns").forget();
        const Noise noise(timed_.hub);
        while (sink.control("apns").taken().pushes == 0) {
            noise.check();
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        noisy = trips(number, "beside");
        noise.check();
        experiment_.check_sink("beside", usage, sink);
        pushes = sink.control("apns").taken().pushes;
    }
    if (pushes < noisy.size() * 2)
        throw std::runtime_error("no broadcast ran beside the single sends");
    results_.add("accept_beside_broadcast_p50_ms", percentile(noisy, 0.5));
    results_.add("accept_beside_broadcast_p99_ms", percentile(noisy, 0.99));
    results_.add("accept_beside_broadcast_p999_ms", percentile(noisy, 0.999));
    beside_.insert(beside_.end(), noisy.begin(), noisy.end());
    full_load(number);
}

void Unicast::reference(unsigned number) {
    hub::HubClient client(bare_.connection_string(), bare_.ca_file());
    Load load;
    load.seconds = options_.seconds / 2;
    load.status = 201;
    Measured bare =
        run_load(client, load, [this](hub::ClientRequest& request) { make_post(request); });
    H2loadOptions one;
    one.requests = h2load_requests;
    one.clients = one.streams = one.threads = 1;
    const H2loadFigures request = run_h2load(experiment_.dir(), timed_.sink, target("apns"), one);
    results_.add("reference_p50_ms", bare.p50_ms + request.mean_ms);
    for (const double ms : bare.latencies_ms) reference_.push_back(ms + request.mean_ms);
    print_run(number, "reference",
              "bare server and one request of h2load: p50 " +
                  hub::fixed(bare.p50_ms + request.mean_ms, 2) + " ms");
}

std::vector<double> Unicast::trips(unsigned number, const std::string& name) {
    const SimControl& sink = timed_.sink.control("apns");
    sink.forget();
    hub::HubClient client(timed_.hub.connection_string(), timed_.hub.ca_file());
    Trips open;
    Load load;
    load.seconds = options_.seconds;
    load.status = 201;
    load.status_when_busy = 429;
    const Measured answered = run_load(client, load, [&](hub::ClientRequest& request) {
        make_post(request);
        open.posted(last_reader_, wall_us());
    });
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(settle_timeout_s);
    std::vector<SimControl::Arrival> arrivals = sink.arrivals();
    while (arrivals.size() < answered.counted && std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        arrivals = sink.arrivals();
    }
    if (arrivals.size() < answered.counted)
        throw std::runtime_error("of " + hub::grouped(answered.counted) +
                                 " sends to single users " + hub::grouped(arrivals.size()) +
                                 " reached the provider");
    std::vector<double> out = open.match(arrivals);
    results_.add("answer_" + name + "_p50_ms", answered.p50_ms);
    results_.add("answer_" + name + "_p99_ms", answered.p99_ms);
    print_run(number, name,
              hub::grouped(static_cast<std::uint64_t>(answered.per_s)) +
                  "/s one by one, at the "
                  "provider p50 " +
                  hub::fixed(percentile(out, 0.5), 2) + " ms, p99 " +
                  hub::fixed(percentile(out, 0.99), 2) + " ms, p99.9 " +
                  hub::fixed(percentile(out, 0.999), 2) + " ms");
    return out;
}

/// As many at once as connections and streams allow, beside the bare server under the same load.
void Unicast::full_load(unsigned number) {
    Load load;
    load.seconds = options_.seconds;
    load.per_connection = options_.streams;
    load.status = 201;
    load.status_when_busy = 429;
    const auto make = [this](hub::ClientRequest& request) { make_post(request); };
    hub::HubClient to_bare(bare_.connection_string(), bare_.ca_file(), options_.connections);
    HubProcess& hub = loaded_.hub;
    hub::HubClient to_hub(hub.connection_string(), hub.ca_file(), options_.connections);
    const Usage usage(loaded_.sink.process());
    const auto measured = run_in_turns({{"bare", to_bare, bare_.process(), load, make},
                                        {"hub", to_hub, hub.process(), load, make}});
    experiment_.check_sink("loaded", usage, loaded_.sink);
    const Measured& answered = measured[0];
    const Measured& accepted = measured[1];
    results_.add("bare_per_s", answered.per_s);
    results_.add("bare_cpu_us", answered.cpu_us);
    results_.add("bare_user_us", answered.user_us);
    print_run(number, "bare", describe(answered));
    results_.add("accepts_per_s", accepted.per_s);
    results_.add("accept_cpu_us", accepted.cpu_us);
    results_.add("accept_user_us", accepted.user_us);
    results_.add("answer_loaded_p50_ms", accepted.p50_ms);
    results_.add("answer_loaded_p99_ms", accepted.p99_ms);
    results_.add("told_to_come_back", static_cast<double>(accepted.busy));
    print_run(number, "hub", describe(accepted));
    check_delivered(to_hub, accepted.last_location);
}

/// The last send accepted reached its one device: what was accepted was not forgotten.
void Unicast::check_delivered(hub::HubClient& client, const std::string& location) {
    const std::size_t from = location.rfind('/') + 1;
    const std::string id = location.substr(from, location.find('?') - from);
    const Telemetry telemetry = wait_until_final(client, hub_name, id, settle_timeout_s);
    if (telemetry.devices() != 1 || telemetry.devices("Success") != 1)
        throw std::runtime_error("a send did not reach its one device: " + telemetry.state);
}

}  // namespace

int unicast_main(int argc, char** argv) {
    Experiment experiment(
        "unicast",
        "Posts sends to single users: from the POST to the arrival at the provider, on an idle hub "
        "and beside broadcasts, and how many a second.",
        {3, 20, 900});
    Options options;
    CLI::App& app = experiment.app();
    app.add_option("--seconds", options.seconds, "length of each part of a round")
        ->capture_default_str()
        ->check(CLI::Range(0.2, 60.0));
    app.add_option("--users", options.readers, "users with one device each")
        ->capture_default_str()
        ->check(CLI::Range(1, 1'000'000));
    app.add_option("--crowd", options.crowd, "devices of the broadcasts beside")
        ->capture_default_str()
        ->check(CLI::Range(1'000, 10'000'000));
    app.add_option("--connections", options.connections, "TLS connections under full load")
        ->capture_default_str()
        ->check(CLI::Range(1, 1'000));
    app.add_option("--streams", options.streams, "requests open on each of them")
        ->capture_default_str()
        ->check(CLI::Range(1, 100));
    app.add_option("--sink-threads", options.sink_threads, "threads of the provider")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    app.add_option("--lanes", options.lanes, "loops of hub and bare server; 0 = one per core");
    return experiment.run(argc, argv, [&] { Unicast(experiment, options).run(); });
}

}  // namespace bench
