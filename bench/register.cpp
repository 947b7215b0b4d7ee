// In each round the bare server, new installations, known ones again, patches with new handles,
// and a mixture with sends take turns under the same load; then RocksDB alone writes as much as it
// can. Every answer is checked. The import of a bulk job is measured once at the end, with a file
// in the hub's own blob area.
#include "bench/register.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/bare.hpp"
#include "bench/experiment.hpp"
#include "bench/hub_process.hpp"
#include "bench/load.hpp"
#include "bench/raw_store.hpp"
#include "bench/targets.hpp"
#include "hub/cli/client.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/cli/terminal.hpp"
#include "hub/text/times.hpp"

namespace bench {
namespace {

constexpr const char* hub_name = "register";
constexpr std::int64_t first_expiry_ms = 1'893'456'000'000;  ///< 2030-01-01
constexpr std::uint64_t send_every = 10;  ///< mixed: one request of so many is a send
constexpr unsigned raw_threads_max = 256;
constexpr double import_timeout_s = 600;

struct Options {
    unsigned lanes = 0;
    unsigned connections = 64, streams = 1;
    std::uint32_t import_lines = 200'000;
    double seconds = 3;
};

std::string path_of(std::uint64_t number) {
    return std::string("/") + hub_name + "/installations/device-" + std::to_string(number) +
           "?api-version=2020-06";
}

std::string five_tags(std::uint64_t number, const char* between) {
    const std::uint64_t x = mixed(number);
    return "country:" + std::to_string(x % 60) + between +
           "sport:" + std::to_string((x >> 8) % 40) + between +
           "athlete:" + std::to_string((x >> 16) % 200) + between +
           "version:" + std::to_string((x >> 24) % 12) + between +
           "lang:" + std::to_string((x >> 32) % 20);
}

/// The handle of a device after so many new ones from its provider.
std::string handle_of(std::uint64_t number, std::uint64_t moves) {
    return token_of(number + moves * 1'000'003);
}

/// The installation with this number as an app writes it at a start: five tags, and an expiry that
/// moves on with every start, as the mobile SDKs have it.
void make_put(hub::ClientRequest& request, std::uint64_t number, std::uint64_t moves,
              std::uint64_t start) {
    const std::int64_t expiry_ms = first_expiry_ms + static_cast<std::int64_t>(start) * 1'000;
    request.method = "PUT";
    request.path = path_of(number);
    request.headers = {{"content-type", "application/json"}};
    request.body = R"({"installationId":"device-)" + std::to_string(number) +
                   R"(","platform":"apns","pushChannel":")" + handle_of(number, moves) +
                   R"(","userId":"user-)" + std::to_string(number) + R"(","expirationTime":")" +
                   hub::iso_ms(expiry_ms) + R"(","tags":[")" + five_tags(number, "\",\"") + "\"]}";
}

/// A device whose provider gave it a new handle.
void make_patch(hub::ClientRequest& request, std::uint64_t number, std::uint64_t moves) {
    request.method = "PATCH";
    request.path = path_of(number);
    request.headers = {{"content-type", "application/json"}};
    request.body =
        R"([{"op":"replace","path":"/pushChannel","value":")" + handle_of(number, moves) + "\"}]";
}

void make_send(hub::ClientRequest& request, std::uint64_t number) {
    request.method = "POST";
    request.path = std::string("/") + hub_name + "/messages?api-version=2020-06";
    request.headers = {
        {"content-type", "application/json;charset=utf-8"},
        {"servicebusnotification-format", "apple"},
        {"servicebusnotification-tags", "$UserId:{user-" + std::to_string(number) + "}"}};
    request.body = target("apns").body;
}

class Register {
  public:
    Register(Experiment& experiment, const Options& options)
        : experiment_(experiment),
          results_(experiment.results()),
          options_(options),
          sink_(experiment.dir()),
          hub_(experiment.dir(), sink_, {options.lanes, {}}),
          bare_(experiment.dir(), options.lanes),
          to_hub_(hub_.connection_string(), hub_.ca_file(), options.connections),
          to_bare_(bare_.connection_string(), bare_.ca_file(), options.connections) {}

    void run() {
        hub::create_hub(to_hub_, hub_name, sink_.credentials());
        for (unsigned i = 1; i <= experiment_.runs(); ++i) one_round(i);
        results_.add_ratio("put_ratio", "puts_per_s", "bare_per_s");
        results_.add_ratio("put_new_ratio", "new_puts_per_s", "bare_per_s");
        results_.add_ratio("patch_ratio", "patches_per_s", "bare_per_s");
        results_.add_ratio("put_raw_ratio", "puts_per_s", "raw_store_per_s");
        import_in_bulk();
        results_.add("peak_rss_mib", hub_.process().peak_rss_mib());
    }

  private:
    void one_round(unsigned number);
    void note(unsigned number, const std::string& name, Measured& m);
    void import_in_bulk();

    Experiment& experiment_;
    Results& results_;
    const Options& options_;
    Sink sink_;
    HubProcess hub_;
    BareServer bare_;
    hub::HubClient to_hub_, to_bare_;
    std::uint64_t turn_ = 0;
    std::vector<std::uint32_t> moves_;  ///< new handles so far, by device
};

void Register::note(unsigned number, const std::string& name, Measured& m) {
    print_run(number, name, describe(m));
    results_.add((name == "refresh" ? "puts"
                  : name == "new"   ? "new_puts"
                                    : name) +
                     "_per_s",
                 m.per_s);
    results_.add(name + "_p50_ms", m.p50_ms);
    results_.add(name + "_p99_ms", m.p99_ms);
    results_.add(name + "_cpu_us", m.cpu_us);
    results_.add(name + "_user_us", m.user_us);
    if (name == "refresh") results_.plot("put_latency_ms", quantile_curve(m.latencies_ms));
}

void Register::one_round(unsigned number) {
    Load load;
    load.seconds = options_.seconds;
    load.per_connection = options_.streams;
    load.status_also = 201;
    load.status_when_busy = 429;
    // In an order of its own, so that neighbours in the store are not neighbours in time.
    const auto somebody = [this] { return mixed(++turn_) % moves_.size(); };
    const auto refresh = [&](hub::ClientRequest& request) {
        const std::uint64_t known = somebody();
        make_put(request, known, moves_[known], turn_);
    };
    const auto to_hub = [&](std::string name, std::function<void(hub::ClientRequest&)> make) {
        return Turn{std::move(name), to_hub_, hub_.process(), load, std::move(make)};
    };
    const std::vector<Turn> turns{
        {"bare", to_bare_, bare_.process(), load,
         [this](hub::ClientRequest& request) {
             ++turn_;
             make_put(request, turn_, 0, turn_);
         }},
        to_hub("new",
               [this](hub::ClientRequest& request) {
                   make_put(request, moves_.size(), 0, 0);
                   moves_.push_back(0);
               }),
        to_hub("refresh", refresh),
        to_hub("patches",
               [&](hub::ClientRequest& request) {
                   const std::uint64_t known = somebody();
                   make_patch(request, known, ++moves_[known]);
               }),
        to_hub("mixed",
               [&](hub::ClientRequest& request) {
                   if (turn_ % send_every == 0)
                       make_send(request, somebody());
                   else
                       refresh(request);
               }),
    };
    auto measured = run_in_turns(turns);
    for (std::size_t i = 0; i < turns.size(); ++i) note(number, turns[i].name, measured[i]);
    RawStoreLoad raw;
    raw.threads = std::min(raw_threads_max, options_.connections * options_.streams);
    raw.seconds = options_.seconds;
    const auto directory = experiment_.dir() / "raw";
    const double rate = raw_synced_writes_per_s(directory, raw);
    std::filesystem::remove_all(directory);
    results_.add("raw_store_per_s", rate);
    print_run(number, "raw store", hub::grouped(static_cast<std::uint64_t>(rate)) + "/s");
}

/// A bulk job (docs/contracts/anh.md 9) with a file in the hub's own blob area.
void Register::import_in_bulk() {
    if (options_.import_lines == 0) return;
    const auto folder = hub_.data_dir() / "blobs" / hub_name / "uploads";
    std::filesystem::create_directories(folder);
    std::ofstream file(folder / "import.txt", std::ios::binary);
    for (std::uint32_t i = 0; i < options_.import_lines; ++i)
        file << "<RegistrationDescription i:type=\"AppleRegistrationDescription\" "
                "xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\" "
                "xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\"><Tags>"
             << five_tags(i, ",") << "</Tags><DeviceToken>" << token_of(i + (1ULL << 40))
             << "</DeviceToken></RegistrationDescription>\n";
    if (!file.flush()) throw std::runtime_error("cannot write the import file");
    const std::string area = std::string("https://localhost/$blobs/") + hub_name;
    hub::ClientRequest request;
    request.method = "POST";
    request.path = std::string("/") + hub_name + "/jobs?api-version=2020-06";
    request.headers = {{"content-type", "application/atom+xml;type=entry;charset=utf-8"}};
    request.body =
        "<NotificationHubJob><Type>ImportCreateRegistrations</Type><OutputContainerUri>" + area +
        "/jobs</OutputContainerUri><ImportFileUri>" + area +
        "/uploads/import.txt</ImportFileUri></NotificationHubJob>";
    using Clock = std::chrono::steady_clock;
    const auto begun = Clock::now();
    const double before = hub_.metric("pushhub_job_lines_total");
    hub_.process().forget_peak_rss();
    const Usage usage(hub_.process());
    const hub::ClientReply reply = to_hub_.call(std::move(request));
    if (reply.status != 201)
        throw std::runtime_error("the import was answered " + std::to_string(reply.status) + ": " +
                                 reply.body);
    hub::ProgressBar bar("importing", options_.import_lines);
    double lines = 0, seconds = 0;
    while (lines < options_.import_lines) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        lines = hub_.metric("pushhub_job_lines_total") - before;
        seconds = std::chrono::duration<double>(Clock::now() - begun).count();
        bar.set(static_cast<std::uint64_t>(lines));
        if (seconds > import_timeout_s) throw std::runtime_error("the import does not end");
    }
    bar.finish();
    results_.add("import_per_s", lines / seconds);
    results_.add("import_cpu_us", usage.cpu_s() * 1e6 / lines);
    results_.add("import_peak_rss_mib", hub_.process().peak_rss_mib());
}

}  // namespace

int register_main(int argc, char** argv) {
    Experiment experiment(
        "register",
        "Writes installations durably through a hub of its own: new, known again, patched, mixed "
        "with sends, and by a bulk job; beside a server that only parses and answers, and RocksDB "
        "alone.",
        {3, 20, 900});
    Options options;
    CLI::App& app = experiment.app();
    app.add_option("--seconds", options.seconds, "length of each part of a round")
        ->capture_default_str()
        ->check(CLI::Range(0.2, 60.0));
    app.add_option("--connections", options.connections, "TLS connections")
        ->capture_default_str()
        ->check(CLI::Range(1, 1'000));
    app.add_option("--streams", options.streams, "requests open on each connection")
        ->capture_default_str()
        ->check(CLI::Range(1, 100));
    app.add_option("--import", options.import_lines, "lines of the bulk job; 0 = none")
        ->capture_default_str()
        ->check(CLI::Range(0, 10'000'000));
    app.add_option("--lanes", options.lanes, "loops of hub and bare server; 0 = one per core");
    return experiment.run(argc, argv, [&] { Register(experiment, options).run(); });
}

}  // namespace bench
