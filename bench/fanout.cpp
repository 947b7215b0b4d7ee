#include "bench/fanout.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/client.hpp"
#include "bench/hub_process.hpp"
#include "bench/hub_setup.hpp"
#include "bench/load.hpp"
#include "bench/process.hpp"
#include "bench/sink.hpp"
#include "bench/telemetry.hpp"
#include "bench/terminal.hpp"
#include "hub/times.hpp"

namespace bench {
namespace {

constexpr const char* hub_name = "fanout";
constexpr const char* body =
    R"({"aps":{"alert":"Race cancelled: fog on the course. New start 14:30 CET."}})";
constexpr double send_timeout_s = 600;

struct Options {
    std::uint32_t devices = 200'000;
    unsigned runs = 3;
    unsigned lanes = 0;
    unsigned clients = 2, streams = 500, threads = 1;  ///< of h2load
    std::string json_file;
};

struct Figures {
    double pushes_per_s = 0, cpu_us_per_push = 0;
};

std::string handle_of(std::uint32_t index) {
    // 64 hex digits, unlike in their first ones, as real tokens are.
    std::uint64_t x = (std::uint64_t{index} + 1) * 0x9e3779b97f4a7c15u;
    std::string out;
    for (int word = 0; word < 4; ++word) {
        x ^= x >> 30;
        x *= 0xbf58476d1ce4e5b9u;
        x ^= x >> 27;
        for (int nibble = 60; nibble >= 0; nibble -= 4)
            out += "0123456789ABCDEF"[(x >> nibble) & 15];
    }
    return out;
}

void register_tokens(HubClient& client, std::uint32_t devices) {
    ProgressBar bar("registering", devices);
    std::uint32_t asked = 0;
    std::uint64_t answered = 0;
    std::string refusal;
    client.call_many(
        [&](ClientRequest& request) {
            if (asked == devices || !refusal.empty()) return false;
            const std::string id = "d" + std::to_string(asked);
            request.method = "PUT";
            request.path = std::string("/") + hub_name + "/installations/" + id;
            request.headers = {{"content-type", "application/json"}};
            request.body = R"({"installationId":")" + id +
                           R"(","platform":"apns","pushChannel":")" + handle_of(asked) +
                           R"(","tags":["all"]})";
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

Figures run_hub(HubProcess& hub, HubClient& client, const Options& options) {
    const double before = hub.process().cpu_seconds();
    const std::string id = post_send(client, hub_name, "apple", "", body);
    const Telemetry t = wait_until_final(client, hub_name, id, send_timeout_s);
    const double cpu = hub.process().cpu_seconds() - before;
    if (t.devices("Success") != options.devices)
        throw std::runtime_error("only " + grouped(t.devices("Success")) + " of " +
                                 grouped(options.devices) + " pushes succeeded");
    const double seconds =
        static_cast<double>(std::max<std::int64_t>(1, t.ended_at_ms - t.enqueued_at_ms)) / 1000;
    return {options.devices / seconds, cpu * 1e6 / options.devices};
}

Figures run_h2load(const std::filesystem::path& dir, const Sink& sink, const Options& options) {
    std::vector<std::string> command{"h2load",
                                     "-n",
                                     std::to_string(options.devices),
                                     "-c",
                                     std::to_string(options.clients),
                                     "-t",
                                     std::to_string(options.threads),
                                     "-m",
                                     std::to_string(options.streams),
                                     "-i",
                                     (dir / "paths").string(),
                                     "-d",
                                     (dir / "body").string()};
    for (const std::string& header : sink.h2load_headers()) {
        command.emplace_back("-H");
        command.push_back(header);
    }
    Process process(command, dir / "h2load.log");
    const double cpu = process.finish();
    const std::string output = process.output();
    double rate = 0;
    unsigned long long succeeded = 0;
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("finished in ")) {
            const std::size_t comma = line.find(", ");
            if (comma != std::string::npos) rate = std::stod(line.substr(comma + 2));
        }
        if (line.starts_with("status codes: ")) succeeded = std::stoull(line.substr(14));
    }
    if (succeeded != options.devices || rate <= 0)
        throw std::runtime_error("h2load did not succeed: " + output);
    return {rate, cpu * 1e6 / options.devices};
}

void write_h2load_files(const std::filesystem::path& dir, const Sink& sink, std::uint32_t devices) {
    std::ofstream paths(dir / "paths");
    for (std::uint32_t i = 0; i < devices; ++i) {
        std::string handle = handle_of(i);
        std::transform(handle.begin(), handle.end(), handle.begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        paths << sink.origin() << "/3/device/" << handle << '\n';
    }
    std::ofstream(dir / "body") << body;
    if (!paths) throw std::runtime_error("cannot write " + (dir / "paths").string());
}

int run(const Options& options, const std::filesystem::path& dir) {
    std::filesystem::create_directories(dir);
    Sink sink(dir);
    write_h2load_files(dir, sink, options.devices);
    HubProcess hub(dir, sink, options.lanes);
    HubClient client(hub.connection_string(), hub.ca_file(), 4);
    put_hub(client, hub_name, {sink.credential()});
    register_tokens(client, options.devices);

    std::vector<double> hub_rates, hub_cpu, h2load_rates, h2load_cpu;
    for (unsigned i = 1; i <= options.runs; ++i) {
        const Figures ours = run_hub(hub, client, options);
        const Figures theirs = run_h2load(dir, sink, options);
        hub_rates.push_back(ours.pushes_per_s);
        hub_cpu.push_back(ours.cpu_us_per_push);
        h2load_rates.push_back(theirs.pushes_per_s);
        h2load_cpu.push_back(theirs.cpu_us_per_push);
        std::printf("  run %u: hub %s/s, %s us CPU per push; h2load %s/s, %s us CPU per request\n",
                    i, grouped(static_cast<std::uint64_t>(ours.pushes_per_s)).c_str(),
                    fixed(ours.cpu_us_per_push, 1).c_str(),
                    grouped(static_cast<std::uint64_t>(theirs.pushes_per_s)).c_str(),
                    fixed(theirs.cpu_us_per_push, 1).c_str());
        std::fflush(stdout);
    }

    nlohmann::ordered_json result;
    result["bench"] = "fanout";
    result["commit"] = commit_description();
    result["machine"] = machine_description();
    result["date"] = hub::iso_seconds(static_cast<std::int64_t>(std::time(nullptr)) * 1000);
    result["devices"] = options.devices;
    result["runs"] = options.runs;
    const auto rounded = [](double value) { return std::stod(fixed(value, 3)); };
    nlohmann::ordered_json& metrics = result["metrics"];
    metrics["rate_ratio"] = rounded(median(hub_rates) / median(h2load_rates));
    metrics["cpu_ratio"] = rounded(median(hub_cpu) / median(h2load_cpu));
    metrics["cpu_us_per_push"] = rounded(median(hub_cpu));
    metrics["pushes_per_s"] = rounded(median(hub_rates));
    metrics["peak_rss_mib"] = rounded(hub.process().peak_rss_mib());
    metrics["h2load_per_s"] = rounded(median(h2load_rates));
    metrics["h2load_cpu_us"] = rounded(median(h2load_cpu));
    std::printf("\nmedians of %u runs, %s devices, on %s\n", options.runs,
                grouped(options.devices).c_str(), machine_description().c_str());
    for (const auto& [name, value] : metrics.items())
        std::printf("  %s %s\n", padded(name, 18).c_str(), fixed(value.get<double>(), 3).c_str());
    if (!options.json_file.empty()) {
        std::ofstream out(options.json_file);
        out << result.dump(2) << '\n';
        if (!out.flush()) throw std::runtime_error("cannot write " + options.json_file);
    }
    return 0;
}

}  // namespace

int fanout_main(int argc, char** argv) {
    CLI::App app(
        "Broadcasts to many APNs devices through a hub of its own into a fast sink, beside h2load.",
        "pushhub bench fanout");
    Options options;
    app.add_option("--devices", options.devices, "devices, and requests of h2load")
        ->check(CLI::Range(100, 10'000'000));
    app.add_option("--runs", options.runs, "broadcasts; medians are reported")
        ->check(CLI::Range(1, 100));
    app.add_option("--lanes", options.lanes, "loops of the hub; 0 = one per core");
    app.add_option("--clients", options.clients, "connections of h2load")->check(CLI::Range(1, 64));
    app.add_option("--threads", options.threads, "threads of h2load")->check(CLI::Range(1, 64));
    app.add_option("--streams", options.streams, "streams of h2load per connection")
        ->check(CLI::Range(1, 1'000));
    app.add_option("--json", options.json_file, "write the figures to this file");
    CLI11_PARSE(app, argc, argv);

    const std::filesystem::path dir = "pushhub-fanout-" + std::to_string(::getpid());
    int code = 1;
    try {
        code = run(options, dir);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pushhub bench fanout: %s\n", error.what());
    }
    std::error_code ignored;
    std::filesystem::remove_all(dir, ignored);
    return code;
}

}  // namespace bench
