#include "bench/unicast.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/bare.hpp"
#include "bench/client.hpp"
#include "bench/hub_process.hpp"
#include "bench/hub_setup.hpp"
#include "bench/load.hpp"
#include "bench/sink.hpp"
#include "bench/telemetry.hpp"
#include "bench/terminal.hpp"

namespace bench {
namespace {

constexpr const char* hub_name = "unicast";
constexpr const char* body = R"({"aps":{"alert":"Your parcel is at the door."}})";
constexpr double settle_timeout_s = 20;

struct Options {
    unsigned runs = 3;
    unsigned lanes = 0;
    unsigned connections = 64, streams = 1;
    std::uint32_t users = 20'000;
    double seconds = 4;
    std::string json_file;
};

std::string user_of(std::uint64_t number) {
    return "user-" + std::to_string(number);
}

void register_users(HubClient& client, std::uint32_t users) {
    ProgressBar bar("registering", users);
    std::uint32_t asked = 0;
    std::uint64_t answered = 0;
    std::string refusal;
    client.call_many(
        [&](ClientRequest& request) {
            if (asked == users || !refusal.empty()) return false;
            const std::string id = std::to_string(asked);
            const std::string digits = std::to_string(1'000'000'000ULL + asked);
            request.method = "PUT";
            request.path = std::string("/") + hub_name + "/installations/" + id;
            request.headers = {{"content-type", "application/json"}};
            request.body = R"({"installationId":")" + id +
                           R"(","platform":"apns","pushChannel":")" +
                           std::string(64 - digits.size(), 'A') + digits + R"(","userId":")" +
                           user_of(asked) + R"("})";
            ++asked;
            return true;
        },
        [&](const ClientRequest&, const ClientReply& reply) {
            if (reply.status != 200) refusal = std::to_string(reply.status) + ": " + reply.body;
            bar.set(++answered);
        });
    bar.finish();
    if (!refusal.empty()) throw std::runtime_error("registering: " + refusal);
}

void make_post(ClientRequest& request, std::uint64_t user) {
    request.method = "POST";
    request.path = std::string("/") + hub_name + "/messages?api-version=2020-06";
    request.headers = {{"content-type", "application/json;charset=utf-8"},
                       {"servicebusnotification-format", "apple"},
                       {"servicebusnotification-tags", "$UserId:{" + user_of(user) + "}"}};
    request.body = body;
}

/// The last send accepted reached its one device: what was accepted was not forgotten.
void check_delivered(HubClient& client, const std::string& location) {
    const std::size_t from = location.rfind('/') + 1;
    const std::string id = location.substr(from, location.find('?') - from);
    const Telemetry telemetry = wait_until_final(client, hub_name, id, settle_timeout_s);
    if (telemetry.devices() != 1 || telemetry.devices("Success") != 1)
        throw std::runtime_error("a send did not reach its one device: " + telemetry.state);
}

std::string line_of(unsigned run, const char* what, const Measured& m) {
    return "  run " + std::to_string(run) + ": " + padded(what, 5) +
           grouped(static_cast<std::uint64_t>(m.per_s)) + "/s, p50 " + fixed(m.p50_ms, 2) +
           " ms, p99 " + fixed(m.p99_ms, 2) + " ms, " + grouped(m.busy) + " told to come back\n";
}

int run(const Options& options, const std::filesystem::path& dir) {
    std::filesystem::create_directories(dir);
    Sink sink(dir);
    HubProcess hub(dir, sink, options.lanes);
    BareServer bare(dir, options.lanes);
    HubClient to_hub(hub.connection_string(), hub.ca_file(), options.connections);
    HubClient to_bare(bare.connection_string(), bare.ca_file(), options.connections);
    put_hub(to_hub, hub_name, {sink.credential()});
    register_users(to_hub, options.users);

    Load load;
    load.seconds = options.seconds;
    load.per_connection = options.streams;
    load.status = 201;
    load.status_when_busy = 429;
    std::vector<double> bare_rates, rates, p50, p99, bare_cpu, cpu;
    std::uint64_t busy = 0, turn = 0;
    ProgressBar bar("seconds", static_cast<std::uint64_t>(options.runs * 2 * options.seconds));
    double spent = 0;
    std::string lines;  // printed below the bar
    const auto make = [&](ClientRequest& request) {
        // A step without a common factor reaches every user before one comes again.
        make_post(request, turn++ * 7'919 % options.users);
    };
    for (unsigned i = 1; i <= options.runs; ++i) {
        double cpu_before = bare.process().cpu_seconds();
        const Measured answered = run_load(to_bare, load, make, bar, spent);
        bare_cpu.push_back((bare.process().cpu_seconds() - cpu_before) * 1e6 /
                           static_cast<double>(answered.counted));
        spent += options.seconds;
        lines += line_of(i, "bare", answered);
        cpu_before = hub.process().cpu_seconds();
        const Measured accepted = run_load(to_hub, load, make, bar, spent);
        cpu.push_back((hub.process().cpu_seconds() - cpu_before) * 1e6 /
                      static_cast<double>(accepted.counted));
        spent += options.seconds;
        lines += line_of(i, "hub", accepted);
        check_delivered(to_hub, accepted.last_location);
        bare_rates.push_back(answered.per_s);
        rates.push_back(accepted.per_s);
        p50.push_back(accepted.p50_ms);
        p99.push_back(accepted.p99_ms);
        busy += accepted.busy;
    }
    bar.finish();
    std::fputs(lines.c_str(), stdout);
    const double bare_rate = median(bare_rates);
    report("unicast", options.runs,
           {{"accept_ratio", median(rates) / bare_rate},
            {"accept_p50_ms", median(p50)},
            {"accept_p99_ms", median(p99)},
            {"accepts_per_s", median(rates)},
            {"bare_per_s", bare_rate},
            {"accept_cpu_us", median(cpu)},
            {"bare_cpu_us", median(bare_cpu)},
            {"told_to_come_back", static_cast<double>(busy)},
            {"peak_rss_mib", hub.process().peak_rss_mib()}},
           options.json_file);
    return 0;
}

}  // namespace

int unicast_main(int argc, char** argv) {
    CLI::App app(
        "Posts sends to single users through a hub of its own, beside a server that only parses "
        "and answers.",
        "pushhub bench unicast");
    Options options;
    app.add_option("--runs", options.runs, "rounds of bare and hub; medians are reported")
        ->check(CLI::Range(1, 20));
    app.add_option("--seconds", options.seconds, "length of each of the two parts of a round")
        ->check(CLI::Range(0.2, 60.0));
    app.add_option("--users", options.users, "users with one device each")
        ->check(CLI::Range(1, 10'000'000));
    app.add_option("--connections", options.connections, "TLS connections")
        ->check(CLI::Range(1, 1'000));
    app.add_option("--streams", options.streams, "requests open on each connection")
        ->check(CLI::Range(1, 100));
    app.add_option("--lanes", options.lanes, "loops of hub and bare server; 0 = one per core");
    app.add_option("--json", options.json_file, "write the figures to this file");
    CLI11_PARSE(app, argc, argv);

    const std::filesystem::path dir = "pushhub-unicast-" + std::to_string(::getpid());
    int code = 1;
    try {
        code = run(options, dir);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pushhub bench unicast: %s\n", error.what());
    }
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
    return code;
}

}  // namespace bench
