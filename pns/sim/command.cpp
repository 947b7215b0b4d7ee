// The verb `pushhub sim`.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "pns/sim/certificate.hpp"
#include "pns/sim/simulator.hpp"

namespace pns::sim {

namespace {

struct CommandLine {
    std::vector<std::string> platforms = {"apns", "fcmv1", "wns", "adm"};
    std::vector<std::uint16_t> ports, control_ports;
    std::string address = "127.0.0.1", ca_dir, rules_file, latency;
    unsigned threads = 1;
    std::uint32_t streams_max = 1000;
    std::uint64_t seed = 1;
    std::int64_t token_life_s = 3600;
    bool fast = false, json = false;
};

/// "30" constant, "10..50" uniform, "30/150" lognormal by median and 99th percentile; milliseconds.
Latency read_latency(const std::string& text) {
    Latency out;
    if (text.empty() || text == "0") return out;
    const std::size_t dots = text.find(".."), slash = text.find('/');
    if (dots != std::string::npos) {
        out.model = Latency::Model::uniform;
        out.low_ms = std::stod(text.substr(0, dots));
        out.high_ms = std::stod(text.substr(dots + 2));
    } else if (slash != std::string::npos) {
        out.model = Latency::Model::lognormal;
        out.low_ms = std::stod(text.substr(0, slash));
        out.high_ms = std::stod(text.substr(slash + 1));
    } else {
        out.model = Latency::Model::constant;
        out.low_ms = out.high_ms = std::stod(text);
    }
    if (out.low_ms < 0 || out.high_ms < out.low_ms) throw std::invalid_argument("latency " + text);
    return out;
}

void define(CLI::App& app, CommandLine& line) {
    app.description(
        "Runs provider simulators on loopback: TLS, HTTP/2 or HTTP/1.1, the providers' own checks "
        "and answers.\n"
        "A hub reaches them with the printed CA file and --connect-to rules. Until SIGINT or "
        "SIGTERM.");
    app.add_option("platforms", line.platforms,
                   "Which of apns, fcmv1, wns, adm to run (default: all four)")
        ->check(CLI::IsMember({"apns", "fcmv1", "wns", "adm"}));
    app.add_option("--port", line.ports,
                   "Ports for pushes, one per platform in order; 0 or left out = a free one");
    app.add_option(
        "--control-port", line.control_ports,
        "Ports for plain HTTP control, one per platform: GET /counters /received /bodies, "
        "POST /rules /reset /event");
    app.add_option("--address", line.address, "Address to listen on for pushes")
        ->capture_default_str();
    app.add_option("--threads", line.threads, "Threads per simulator")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    app.add_flag("--fast", line.fast,
                 "Benchmarks: 200 to everything, no checks, no journal; /counters still counts");
    app.add_option("--ca-dir", line.ca_dir,
                   "Where ca.pem is written (default: a new directory in the temporary one)");
    app.add_option("--rules", line.rules_file,
                   "JSON file as for POST /rules, e.g. "
                   "{\"shares\":{\"gone\":0.02,\"server_error_once\":0.01}}")
        ->check(CLI::ExistingFile);
    app.add_option("--latency", line.latency,
                   "Answer time in ms: 30 (always), 10..50 (uniform), 30/150 (lognormal: "
                   "median/99th percentile)");
    app.add_option("--streams-max", line.streams_max,
                   "HTTP/2 streams allowed per connection (APNs starts with 1)")
        ->capture_default_str();
    app.add_option("--token-life", line.token_life_s, "Life of tokens handed out, seconds")
        ->capture_default_str();
    app.add_option("--seed", line.seed, "For shares and latency")->capture_default_str();
    app.add_flag("--json", line.json, "Print addresses and credentials as one JSON line");
}

std::string make_ca_dir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "pushhub-sim-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("cannot make a temporary directory");
    return pattern;
}

struct Running {
    std::unique_ptr<Simulator> simulator;
    Credential credential;
};

Running start_one(const CommandLine& line, std::size_t index, const CertificatePair& ca) {
    MadeCredential made = make_credential(line.platforms[index]);
    const CertificatePair leaf = make_leaf(ca, host_names(line.platforms[index]));
    SimOptions options;
    options.platform = line.platforms[index];
    options.trust = made.trust;
    options.certificate_pem = leaf.certificate_pem;
    options.key_pem = leaf.key_pem;
    options.address = line.address;
    options.port = index < line.ports.size() ? line.ports[index] : std::uint16_t{0};
    options.control_port =
        index < line.control_ports.size() ? line.control_ports[index] : std::uint16_t{0};
    options.threads = line.threads;
    options.fast = line.fast;
    options.streams_max = line.streams_max;
    options.latency = read_latency(line.latency);
    options.seed = line.seed;
    options.token_life_s = line.token_life_s;
    auto started = Simulator::start(std::move(options));
    if (!started)
        throw std::runtime_error(line.platforms[index] + ": " + started.error().message());
    if (!line.rules_file.empty()) {
        std::ifstream file(line.rules_file);
        auto rules = read_rules(nlohmann::json::parse(file, nullptr, false),
                                *platform_by_name(line.platforms[index]));
        if (const auto* fault = std::get_if<std::string>(&rules))
            throw std::runtime_error(line.rules_file + ": " + *fault);
        (*started)->set_rules(std::get<Rules>(std::move(rules)));
    }
    return {std::move(*started), std::move(made.credential)};
}

void print(const CommandLine& line, const std::vector<Running>& all, const std::string& ca_file) {
    nlohmann::json json = {{"ca_file", ca_file}, {"simulators", nlohmann::json::array()}};
    for (const Running& running : all)
        json["simulators"].push_back({{"platform", running.credential.platform},
                                      {"url", running.simulator->url()},
                                      {"control_url", running.simulator->control_url()},
                                      {"connect_to", running.simulator->connect_to()},
                                      {"credential", running.credential.properties}});
    if (line.json) {
        std::cout << json.dump() << std::endl;
        return;
    }
    std::cout << "CA file: " << ca_file << "\n";
    for (const Running& running : all) {
        std::cout << "\n"
                  << running.credential.platform << "  " << running.simulator->url() << "  control "
                  << running.simulator->control_url() << "\n";
        for (const std::string& rule : running.simulator->connect_to())
            std::cout << "  --connect-to " << rule << "\n";
    }
    std::cout << "\nCredentials to use: run with --json. Stop with Ctrl-C." << std::endl;
}

}  // namespace

int sim_main(int argc, char** argv) {
    CLI::App app;
    app.name("pushhub sim");
    CommandLine line;
    define(app, line);
    CLI11_PARSE(app, argc, argv);
    try {
        // Blocked before any thread starts: only sigwait below sees them.
        sigset_t ends;
        sigemptyset(&ends);
        sigaddset(&ends, SIGINT);
        sigaddset(&ends, SIGTERM);
        pthread_sigmask(SIG_BLOCK, &ends, nullptr);
        ::signal(SIGPIPE, SIG_IGN);

        if (line.ca_dir.empty()) line.ca_dir = make_ca_dir();
        std::filesystem::create_directories(line.ca_dir);
        const std::string ca_file = (std::filesystem::path(line.ca_dir) / "ca.pem").string();
        const CertificatePair ca = make_ca();
        std::ofstream file(ca_file, std::ios::trunc);
        file << ca.certificate_pem;
        file.close();
        if (!file) throw std::runtime_error("cannot write " + ca_file);

        std::vector<Running> all;
        for (std::size_t i = 0; i < line.platforms.size(); ++i)
            all.push_back(start_one(line, i, ca));
        print(line, all, ca_file);
        int received = 0;
        sigwait(&ends, &received);
        for (Running& running : all) running.simulator->stop();
    } catch (const std::exception& fault) {
        std::cerr << "pushhub sim: " << fault.what() << "\n";
        return 1;
    }
    return 0;
}

}  // namespace pns::sim
