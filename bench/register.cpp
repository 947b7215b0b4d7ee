#include "bench/register.hpp"

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
#include "bench/terminal.hpp"

namespace bench {
namespace {

constexpr const char* hub_name = "register";
constexpr std::uint64_t days = 365 * 20;  ///< expiry dates to choose from

struct Options {
    unsigned runs = 3;
    unsigned lanes = 0;
    unsigned connections = 64, streams = 1;
    double seconds = 3;
    std::string json_file;
};

/// Spreads bits: neighbours get tokens and tags that have nothing in common.
std::uint64_t mixed(std::uint64_t x) {
    x = (x + 1) * 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

std::string token_of(std::uint64_t number) {
    std::string out;
    for (std::uint64_t word = 0; word < 4; ++word) {
        const std::uint64_t x = mixed(number * 4 + word);
        for (int nibble = 60; nibble >= 0; nibble -= 4)
            out += "0123456789ABCDEF"[(x >> nibble) & 15];
    }
    return out;
}

/// The installation with this number as an app writes it at a start: five tags, and an expiry that
/// moves with every start, as the mobile SDKs have it.
void make_put(ClientRequest& request, std::uint64_t number, std::uint64_t start) {
    const std::string id = "device-" + std::to_string(number);
    const std::uint64_t x = mixed(number);
    const std::uint64_t day = start % days;
    const std::string year = std::to_string(2030 + day / 365);
    const std::string month = std::to_string(day % 365 / 31 + 1);
    const std::string dom = std::to_string(day % 28 + 1);
    const auto two = [](const std::string& digits) {
        return digits.size() < 2 ? "0" + digits : digits;
    };
    request.method = "PUT";
    request.path = std::string("/") + hub_name + "/installations/" + id + "?api-version=2020-06";
    request.headers = {{"content-type", "application/json"}};
    request.body = R"({"installationId":")" + id + R"(","platform":"apns","pushChannel":")" +
                   token_of(number) + R"(","userId":"user-)" + std::to_string(number) +
                   R"(","expirationTime":")" + year + "-" + two(month) + "-" + two(dom) +
                   R"(T12:00:00Z","tags":["country:)" + std::to_string(x % 60) + R"(","sport:)" +
                   std::to_string((x >> 8) % 40) + R"(","athlete:)" +
                   std::to_string((x >> 16) % 200) + R"(","version:)" +
                   std::to_string((x >> 24) % 12) + R"(","lang:)" + std::to_string((x >> 32) % 20) +
                   "\"]}";
}

std::string line_of(unsigned run, const char* what, const Measured& m) {
    return "  run " + std::to_string(run) + ": " + padded(what, 8) +
           grouped(static_cast<std::uint64_t>(m.per_s)) + "/s, p50 " + fixed(m.p50_ms, 2) +
           " ms, p99 " + fixed(m.p99_ms, 2) + " ms, " + fixed(m.cpu_us, 0) + " us CPU\n";
}

int run(const Options& options, const std::filesystem::path& dir) {
    std::filesystem::create_directories(dir);
    Sink sink(dir);
    HubProcess hub(dir, sink, options.lanes);
    BareServer bare(dir, options.lanes);
    HubClient to_hub(hub.connection_string(), hub.ca_file(), options.connections);
    HubClient to_bare(bare.connection_string(), bare.ca_file(), options.connections);
    put_hub(to_hub, hub_name, {sink.credential()});

    Load load;
    load.seconds = options.seconds;
    load.per_connection = options.streams;
    std::vector<double> bare_rates, new_rates, refresh_rates, p50, p99, new_p99;
    std::vector<double> bare_cpu, new_cpu, refresh_cpu;
    std::uint64_t known = 0, next = 0, start = 0;
    ProgressBar bar("seconds", static_cast<std::uint64_t>(options.runs * 3 * options.seconds));
    double spent = 0;
    std::string lines;  // printed below the bar
    for (unsigned i = 1; i <= options.runs; ++i) {
        const auto measure = [&](HubClient& client, Process& server, const char* what,
                                 const auto& make) {
            const double cpu_before = server.cpu_seconds();
            Measured m = run_load(client, load, make, bar, spent);
            m.cpu_us = (server.cpu_seconds() - cpu_before) * 1e6 / static_cast<double>(m.counted);
            spent += options.seconds;
            lines += line_of(i, what, m);
            return m;
        };
        const Measured answered =
            measure(to_bare, bare.process(), "bare", [&](ClientRequest& request) {
                ++start;
                make_put(request, start, start);
            });
        const Measured created = measure(to_hub, hub.process(), "new", [&](ClientRequest& request) {
            make_put(request, next++, 0);
        });
        known = next;
        // In an order of its own, so that neighbours in the store are not neighbours in time.
        const Measured refreshed =
            measure(to_hub, hub.process(), "refresh", [&](ClientRequest& request) {
                ++start;
                make_put(request, mixed(start) % known, start);
            });
        bare_rates.push_back(answered.per_s);
        new_rates.push_back(created.per_s);
        refresh_rates.push_back(refreshed.per_s);
        p50.push_back(refreshed.p50_ms);
        p99.push_back(refreshed.p99_ms);
        new_p99.push_back(created.p99_ms);
        bare_cpu.push_back(answered.cpu_us);
        new_cpu.push_back(created.cpu_us);
        refresh_cpu.push_back(refreshed.cpu_us);
    }
    bar.finish();
    std::fputs(lines.c_str(), stdout);
    const double bare_rate = median(bare_rates);
    report("register", options.runs,
           {{"put_ratio", median(refresh_rates) / bare_rate},
            {"put_new_ratio", median(new_rates) / bare_rate},
            {"puts_per_s", median(refresh_rates)},
            {"new_puts_per_s", median(new_rates)},
            {"bare_per_s", bare_rate},
            {"put_p50_ms", median(p50)},
            {"put_p99_ms", median(p99)},
            {"new_put_p99_ms", median(new_p99)},
            {"put_cpu_us", median(refresh_cpu)},
            {"new_put_cpu_us", median(new_cpu)},
            {"bare_cpu_us", median(bare_cpu)},
            {"peak_rss_mib", hub.process().peak_rss_mib()}},
           options.json_file);
    return 0;
}

}  // namespace

int register_main(int argc, char** argv) {
    CLI::App app(
        "Writes installations through a hub of its own, beside a server that only parses and "
        "answers.",
        "pushhub bench register");
    Options options;
    app.add_option("--runs", options.runs, "rounds of bare, new, refresh; medians are reported")
        ->check(CLI::Range(1, 20));
    app.add_option("--seconds", options.seconds, "length of each of the three parts of a round")
        ->check(CLI::Range(0.2, 60.0));
    app.add_option("--connections", options.connections, "TLS connections")
        ->check(CLI::Range(1, 1'000));
    app.add_option("--streams", options.streams, "requests open on each connection")
        ->check(CLI::Range(1, 100));
    app.add_option("--lanes", options.lanes, "loops of hub and bare server; 0 = one per core");
    app.add_option("--json", options.json_file, "write the figures to this file");
    CLI11_PARSE(app, argc, argv);

    const std::filesystem::path dir = "pushhub-register-" + std::to_string(::getpid());
    int code = 1;
    try {
        code = run(options, dir);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pushhub bench register: %s\n", error.what());
    }
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
    return code;
}

}  // namespace bench
