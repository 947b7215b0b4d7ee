// Each stage drives senders of pns/ on one loop, with a Pump that keeps a fixed window of pushes
// under way. Provider and distance are a WireSink or a simulator in another thread. An hour
// without a provider is played with all waits divided by 300. Every push must have its verdict at
// the end of a stage, or the run fails.
#include "bench/wire.hpp"

#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bench/results.hpp"
#include "bench/wire_sink.hpp"
#include "hub/cli/terminal.hpp"
#include "pns/account.hpp"
#include "pns/bearer.hpp"
#include "pns/clock.hpp"
#include "pns/nursery.hpp"
#include "pns/sender.hpp"
#include "pns/sim/arguments.hpp"
#include "pns/sim/platforms.hpp"
#include "pns/sim/simulator.hpp"
#include "pns/sim/webpush.hpp"

namespace bench {
namespace {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t distance_us = 20'000;
constexpr std::uint32_t streams = 1'000;
constexpr const char* apns_host = "api.push.apple.com";
constexpr std::size_t handles_count = 20'000;

struct Options {
    unsigned runs = 3;
    double seconds = 3;
    double outage_seconds = 12;  ///< at 1/300 of the usual times: an hour
    std::string json_file;
};

double thread_cpu_s() {
    timespec spent{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) * 1e-9;
}

double resident_mib() {
    std::ifstream in("/proc/self/statm");
    double all = 0, resident = 0;
    in >> all >> resident;
    return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

std::string handle_of(const std::string& platform, const pns::sim::Trust& trust, std::size_t i) {
    const std::string number = std::to_string(1'000'000'000ULL + i);
    if (platform == "apns") return std::string(64 - number.size(), 'A') + number;
    if (platform == "wns") return "https://db5p.notify.windows.com/?token=AwYAAA" + number;
    if (platform == "browser") {
        return pns::sim::subscription(
            trust, "https://updates.push.services.mozilla.com/wpush/v2/gAAAAA" + number);
    }
    return "cX1-" + number + ":APA91b" + std::string(120, 'x');
}

pns::Message message_of(const std::string& platform) {
    pns::Message out;
    out.body = R"({"data":{"order":"1042","state":"Out for delivery"}})";
    if (platform == "apns") out.body = R"({"aps":{"alert":"Your parcel is at the door."}})";
    if (platform == "fcmv1") out.body = R"({"message":{"data":{"order":"1042"}}})";
    if (platform == "hms") {
        out.body = R"({"message":{"data":"{\"order\":1042}","android":{"ttl":"86400s"}}})";
    }
    if (platform == "wns") {
        out.body = "<toast><visual><binding template=\"ToastGeneric\"/></visual></toast>";
        out.headers = {{"x-wns-type", "wns/toast"}};
    }
    return out;
}

/// A credential, the handles of its devices and the way to a provider.
struct Target {
    std::string platform;
    pns::sim::MadeCredential made;
    std::vector<std::string> handles;
    pns::Network network;
    pns::SenderSettings settings;
};

Target target_of(const std::string& platform, const std::string& ca_file) {
    Target out;
    out.platform = platform;
    out.made = pns::sim::make_credential(platform);
    out.settings = pns::default_settings(platform);
    out.settings.pushes_per_s_max = 0;
    out.network.ca_file = ca_file;
    // Making a subscription means a key agreement each: few are enough.
    const std::size_t count = platform == "browser" ? 500 : handles_count;
    for (std::size_t i = 0; i < count; ++i) {
        out.handles.push_back(handle_of(platform, out.made.trust, i));
    }
    return out;
}

/// A sender that always has a full window of pushes to send.
class Pump final : public pns::PushOwner {
  public:
    Pump(asio::io_context& loop, const Target& target, std::size_t window)
        : target_(target), loop_(loop) {
        sender_ = pns::Sender::create(loop, target.made.credential, target.settings, target.network,
                                      bearers_);
        auto prepared = sender_->prepare(message_of(target.platform));
        if (const auto* refusal = std::get_if<pns::Refusal>(&prepared)) {
            throw std::runtime_error(target.platform + ": " + refusal->message);
        }
        prepared_ = std::get<std::shared_ptr<const pns::Prepared>>(std::move(prepared));
        pushes_.resize(window);
    }

    ~Pump() {
        if (!running_) return;
        try {
            stop();
        } catch (const std::exception&) {
            // On the way out of a failure: the sender must only not outlive its connections.
        }
    }
    Pump(const Pump&) = delete;
    Pump& operator=(const Pump&) = delete;

    void start() {
        feeding_ = running_ = true;
        for (pns::Push& push : pushes_) submit(push);
    }
    /// Runs the loop, with all that runs on it, for `seconds`; what was accepted in that time.
    std::uint64_t run(double seconds) {
        const auto before = accepted_;
        loop_.restart();
        loop_.run_for(
            std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds)));
        return accepted_ - before;
    }
    void stop() {
        feeding_ = running_ = false;
        pns::Nursery nursery(loop_.get_executor());
        nursery.start(sender_->stop(0));
        loop_.restart();
        const auto end = Clock::now() + std::chrono::seconds(20);
        while ((nursery.size() > 0 || outstanding_ > 0) && Clock::now() < end) {
            loop_.run_one_for(std::chrono::milliseconds(50));
        }
        if (outstanding_ > 0) throw std::runtime_error("a push never had its verdict");
    }
    std::uint64_t verdicts() const { return verdicts_; }
    std::uint64_t accepted() const { return accepted_; }
    const std::string& last_word() const { return last_word_; }

  private:
    void submit(pns::Push& push) {
        const std::size_t i = turn_++ % target_.handles.size();
        push.handle = target_.handles[i];
        push.prepared = prepared_;
        push.owner = this;
        for (int b = 0; b < 8; ++b) push.id[b] = static_cast<std::uint8_t>(turn_ >> (8 * b));
        ++outstanding_;
        sender_->submit(push);
    }
    void on_verdict(pns::Push& push, pns::Verdict&& verdict) override {
        ++verdicts_;
        --outstanding_;
        if (verdict.kind() == pns::Verdict::Kind::accepted) {
            ++accepted_;
        } else {
            last_word_ = verdict.reason();
        }
        if (feeding_) submit(push);
    }

    const Target& target_;
    asio::io_context& loop_;
    pns::BearerCache bearers_{pns::system_clock()};
    std::unique_ptr<pns::Sender> sender_;
    std::shared_ptr<const pns::Prepared> prepared_;
    std::deque<pns::Push> pushes_;
    std::uint64_t turn_ = 0, verdicts_ = 0, accepted_ = 0, outstanding_ = 0;
    std::string last_word_;
    bool feeding_ = false, running_ = false;
};

struct Stage {
    std::filesystem::path dir;
    pns::CertificatePair ca = pns::make_ca();
    std::string ca_file() const { return (dir / "ca.pem").string(); }
    pns::CertificatePair leaf(const std::string& platform) const {
        return pns::make_leaf(ca, pns::sim::host_names(platform));
    }
};

// One APNs connection, 1000 streams, 20 ms away: at most streams / response time can be had.
void measure_distance(const Stage& stage, const Options& options, Results& results) {
    WireSinkOptions sink_options;
    sink_options.certificate = stage.leaf("apns");
    sink_options.streams_max = streams;
    sink_options.delay_us = distance_us;
    WireSink sink(sink_options);
    Target target = target_of("apns", stage.ca_file());
    target.network.connect_to = {sink.rule(apns_host)};
    target.settings.connections_max = 1;
    asio::io_context loop(1);
    Pump pump(loop, target, 4 * streams);
    pump.start();
    pump.run(0.5);
    for (unsigned i = 0; i < options.runs; ++i) {
        const double cpu_before = thread_cpu_s();
        const auto accepted = static_cast<double>(pump.run(options.seconds));
        const double per_s = accepted / options.seconds;
        results.add("distance_per_s", per_s);
        results.add("distance_share", per_s / (streams * 1e6 / distance_us));
        results.add("distance_cpu_us", (thread_cpu_s() - cpu_before) * 1e6 / accepted);
    }
    const double response_s = sink.response_us() / 1e6;
    results.add("distance_sink_response_ms", response_s * 1'000);
    results.add("distance_share_by_response",
                results.value("distance_per_s") / (streams / response_s));
    pump.stop();
    if (sink.connects() != 1) throw std::runtime_error("more than one connection was opened");
}

// A provider at full speed, alone and beside one that takes everything and answers nothing. Both
// senders run on one loop, as in one lane of a hub.
void measure_stall(const Stage& stage, const Options& options, Results& results) {
    WireSinkOptions good_options, stalled_options;
    good_options.certificate = stalled_options.certificate = stage.leaf("apns");
    stalled_options.stall = true;
    WireSink good(good_options), stalled(stalled_options);
    Target target = target_of("apns", stage.ca_file());
    target.network.connect_to = {good.rule(apns_host)};
    Target other = target_of("apns", stage.ca_file());
    other.network.connect_to = {stalled.rule(apns_host)};
    // Its requests time out, and are sent anew, five times as often as they would.
    other.settings.request_timeout_ms /= 5;
    other.settings.ping_timeout_ms /= 5;
    for (unsigned i = 0; i < options.runs; ++i) {
        asio::io_context loop(1);
        Pump pump(loop, target, 4 * streams);
        pump.start();
        pump.run(0.3);
        double cpu = thread_cpu_s();
        const auto alone = static_cast<double>(pump.run(options.seconds));
        const double alone_cpu = thread_cpu_s() - cpu;
        Pump beside(loop, other, other.settings.queue_pushes_max);
        beside.start();
        pump.run(0.3);
        cpu = thread_cpu_s();
        const auto with = static_cast<double>(pump.run(options.seconds));
        const double with_cpu = thread_cpu_s() - cpu;
        results.add("stall_alone_per_s", alone / options.seconds);
        results.add("stall_beside_per_s", with / options.seconds);
        results.add("stall_share", with / alone);
        // The same by CPU time, which a machine shared with others does not disturb.
        results.add("stall_share_by_cpu", (with / with_cpu) / (alone / alone_cpu));
        pump.stop();
        beside.stop();
    }
}

// An hour without the provider, with all waits at 1/300: nothing listens, then what listens says
// nothing. Every verdict makes a new push, so the queue is full throughout.
void measure_outage(const Stage& stage, const Options& options, Results& results) {
    WireSinkOptions silent_options;
    silent_options.certificate = stage.leaf("apns");
    silent_options.stall = true;
    WireSink silent(silent_options);
    for (const bool refuses : {true, false}) {
        Target target = target_of("apns", stage.ca_file());
        target.network.connect_to = {refuses ? std::string(apns_host) + ":443=127.0.0.1:1"
                                             : silent.rule(apns_host)};
        target.settings.request_timeout_ms /= 300;
        target.settings.connect_timeout_ms /= 300;
        target.settings.ping_timeout_ms /= 300;
        target.settings.drain_ms_max /= 300;
        asio::io_context loop(1);
        Pump pump(loop, target, target.settings.queue_pushes_max);
        pump.start();
        pump.run(options.outage_seconds / 6);
        const double early = resident_mib();
        const double cpu_before = thread_cpu_s();
        pump.run(options.outage_seconds);
        const std::string name = refuses ? "outage_refused" : "outage_silent";
        results.add(name + "_growth_mib", resident_mib() - early);
        results.add(name + "_cpu_share", (thread_cpu_s() - cpu_before) / options.outage_seconds);
        if (pump.accepted() != 0) throw std::runtime_error("a provider that is down accepted");
        pump.stop();
    }
}

void measure_sender(const Stage& stage, const Options& options, const std::string& platform,
                    Results& results) {
    Target target = target_of(platform, stage.ca_file());
    pns::sim::SimOptions sim;
    sim.platform = platform;
    sim.trust = target.made.trust;
    const auto leaf = stage.leaf(platform);
    sim.certificate_pem = leaf.certificate_pem;
    sim.key_pem = leaf.key_pem;
    sim.fast = platform != "hms";  // counts by bodies, which fast answers have not
    auto simulator = pns::sim::Simulator::start(std::move(sim));
    if (!simulator) throw boost::system::system_error(simulator.error());
    target.network.connect_to = (*simulator)->connect_to();
    asio::io_context loop(1);
    Pump pump(loop, target, 4 * streams);
    pump.start();
    pump.run(0.7);
    if (pump.accepted() == 0) throw std::runtime_error(platform + ": " + pump.last_word());
    for (unsigned i = 0; i < options.runs; ++i) {
        const double cpu_before = thread_cpu_s();
        const auto accepted = static_cast<double>(pump.run(options.seconds / 2));
        results.add("cpu_us_" + platform, (thread_cpu_s() - cpu_before) * 1e6 / accepted);
        results.add("per_s_" + platform, accepted * 2 / options.seconds);
    }
    pump.stop();
}

int run(const Options& options, const std::filesystem::path& dir) {
    std::filesystem::create_directories(dir);
    Stage stage;
    stage.dir = dir;
    std::ofstream(stage.ca_file()) << stage.ca.certificate_pem;
    Results results;
    results.option("seconds", options.seconds);
    results.option("outage_seconds", options.outage_seconds);
    std::vector<std::string> senders;
    for (const pns::Platform& platform : pns::platforms()) {
        if (platform.has_sender && pns::sim::sim_platform(platform.name) != nullptr) {
            senders.emplace_back(platform.name);
        }
    }
    hub::ProgressBar bar("parts", 3 + senders.size());
    std::uint64_t done = 0;
    measure_distance(stage, options, results);
    bar.set(++done);
    measure_stall(stage, options, results);
    bar.set(++done);
    measure_outage(stage, options, results);
    bar.set(++done);
    for (const std::string& platform : senders) {
        measure_sender(stage, options, platform, results);
        bar.set(++done);
    }
    bar.finish();
    results.print(options.runs);
    if (!options.json_file.empty()) results.write("wire", options.runs, options.json_file);
    return 0;
}

}  // namespace

int wire_main(int argc, char** argv) {
    CLI::App app("Measures the senders alone, against simulated providers in the same process.",
                 "pushhub bench wire");
    Options options;
    app.add_option("--runs", options.runs, "rounds; medians are reported")
        ->check(CLI::Range(1, 20));
    app.add_option("--seconds", options.seconds, "length of one round")
        ->check(CLI::Range(0.2, 60.0));
    app.add_option("--outage-seconds", options.outage_seconds,
                   "length of each outage, at 1/300 of the usual times")
        ->check(CLI::Range(0.5, 600.0));
    app.add_option("--json", options.json_file, "write the figures to this file");
    if (const auto ended = pns::sim::read_arguments(app, argc, argv)) return *ended;

    const std::filesystem::path dir = "pushhub-wire-" + std::to_string(::getpid());
    int code = 1;
    try {
        code = run(options, dir);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pushhub bench wire: %s\n", error.what());
    }
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
    return code;
}

}  // namespace bench
