// The verb `pushhub sim`.
//
// Reads the arguments, starts one simulator for each platform asked for, prints where they are
// with the credentials of this run, and waits for a signal. The certificate authority is made new
// unless a directory keeps one. The credentials are worth nothing anywhere else.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>

#include "pns/own_authority.hpp"
#include "pns/sim/arguments.hpp"
#include "pns/sim/platforms.hpp"
#include "pns/sim/simulator.hpp"

namespace pns::sim {

namespace {

struct CommandLine {
    std::vector<std::string> platforms = sim_platform_names();
    std::vector<std::uint16_t> ports, control_ports;
    std::string address = "127.0.0.1", ca_dir, rules_file, latency, watch;
    std::string faults, faults_file, latency_refused, order_key, sandbox_prefix,
        over_limit = "goaway";
    bool list_faults = false, collapse = false, ping_answers = false;
    double split_share = 0;
    std::uint32_t handle_second_max = 0, client_errors_max = 0;
    std::uint64_t h1_requests_max = 0, fcm_quota = SimOptions().quota_minute_max;
    std::int64_t idle_close_ms = 0, age_max_ms = -1;
    unsigned threads = 1;
    std::uint32_t streams_max = 0;
    std::uint64_t seed = 1;
    std::int64_t token_life_s = 3600;
    bool fast = false, each_alone = false, json = false;
};

/// "30" constant, "10..50" uniform, "30/150" lognormal by median and 99th percentile; milliseconds.
Latency read_latency(const std::string& text) {
    Latency out;
    if (text.empty() || text == "0") return out;
    const auto number = [&text](const std::string& part) {
        double value = 0;
        const auto [end, failure] = std::from_chars(part.data(), part.data() + part.size(), value);
        if (failure != std::errc() || end != part.data() + part.size())
            throw std::invalid_argument("no latency: " + text);
        return value;
    };
    const std::size_t dots = text.find(".."), slash = text.find('/');
    if (dots != std::string::npos) {
        out.model = Latency::Model::uniform;
        out.low_ms = number(text.substr(0, dots));
        out.high_ms = number(text.substr(dots + 2));
    } else if (slash != std::string::npos) {
        out.model = Latency::Model::lognormal;
        out.low_ms = number(text.substr(0, slash));
        out.high_ms = number(text.substr(slash + 1));
    } else {
        out.model = Latency::Model::constant;
        out.low_ms = out.high_ms = number(text);
    }
    if (out.low_ms < 0 || out.high_ms < out.low_ms)
        throw std::invalid_argument("no latency: " + text);
    return out;
}

void define(CLI::App& app, CommandLine& line) {
    app.description(
        "Runs push providers on loopback, for tests of any push server: real TLS, HTTP/2 or "
        "HTTP/1.1,\nthe providers' own checks and answers, and everything that goes wrong with "
        "them "
        "in production.\n\n"
        "Point a sender at them in one of two ways: send the provider's host names here (curl and "
        "pushhub\nhave --connect-to), or give the sender the printed URL as endpoint. Either way "
        "it must trust\nca.pem, and use the credentials that --json prints: tokens and signatures "
        "are verified.");
    app.footer(
        "Rules say what becomes of a handle, faults what goes wrong on the way:\n"
        "  curl $CONTROL/rules  -d '{\"handles\":{\"<token>\":\"gone\"},\"shares\":"
        "{\"server_error_once\":0.01}}'\n"
        "  curl $CONTROL/faults -d '{\"faults\":[{\"fault\":\"F02\",\"nth\":5},"
        "{\"fault\":\"F15\",\"share\":0.01}]}'\n"
        "  curl $CONTROL/faults -d '{\"seed\":7,\"mix\":0.02,\"of\":[\"F01\",\"F02\","
        "\"F07\"]}'\n"
        "  curl $CONTROL/event  -d '{\"event\":\"goaway\",\"reason\":\"Shutdown\"}'\n"
        "and the report what the sender made of it:\n"
        "  curl $CONTROL/report     doubles, streams above the limit or after GOAWAY, tokens "
        "minted, connects, ...\n"
        "  curl $CONTROL/journal    every push; /events: every connection; /bodies?handle=...\n"
        "A fault's conditions: share, nth, every, times, after_ms, for_ms, prefix (of the handle), "
        "header, value;\nits parameters: ms, code, text, taken (yes, no, half: was the push taken "
        "before it was lost).\n"
        "The same seed and the same arrivals on one thread give the same faults.");
    app.add_option("platforms", line.platforms,
                   "Which of the simulated platforms to run (default: all)")
        ->check(CLI::IsMember(sim_platform_names()));
    app.add_option("--port", line.ports,
                   "Ports for pushes, one per platform in order; 0 or left out = a free one");
    app.add_option(
        "--control-port", line.control_ports,
        "Ports for plain HTTP control, one per platform: GET /report /counters /received /journal "
        "/events /bodies /faults, POST /rules /faults /reset /event");
    app.add_option("--address", line.address, "Address to listen on for pushes")
        ->capture_default_str();
    app.add_option("--threads", line.threads, "Threads per simulator")
        ->capture_default_str()
        ->check(CLI::Range(1, 64));
    app.add_flag("--fast", line.fast,
                 "Benchmarks: 200 to everything, no checks, no journal; /counters still counts");
    app.add_flag("--each-alone", line.each_alone,
                 "With --fast: each answer in a TLS record of its own, with what APNs and FCM send "
                 "in it, as ordinary servers do");
    app.add_option("--watch", line.watch,
                   "With --fast: pushes whose path holds this text are recorded nevertheless");
    app.add_option("--fcm-quota", line.fcm_quota,
                   "FCM: messages a minute that the project may send; 0 = no bound")
        ->capture_default_str();
    app.add_option("--ca-dir", line.ca_dir,
                   "Where ca.pem is written (default: a new directory in the temporary one)");
    app.add_option("--rules", line.rules_file,
                   "JSON file as for POST /rules, e.g. "
                   "{\"shares\":{\"gone\":0.02,\"server_error_once\":0.01}}")
        ->check(CLI::ExistingFile);
    app.add_option("--latency", line.latency,
                   "Answer time in ms: 30 (always), 10..50 (uniform), 30/150 (lognormal: "
                   "median/99th percentile)");
    app.add_option("--latency-refused", line.latency_refused,
                   "The same for answers that are no success (default: as --latency)");
    auto* named = app.add_option("--faults", line.faults,
                                 "Faults as NAME[:VARIANT][=SHARE], comma between them, e.g. "
                                 "F07=0.1,F05:garbage=0.01");
    app.add_option("--faults-file", line.faults_file, "JSON file as for POST /faults")
        ->check(CLI::ExistingFile)
        ->excludes(named);
    app.add_flag("--list-faults", line.list_faults, "Print all faults and exit");
    app.add_option("--streams-max", line.streams_max,
                   "HTTP/2 streams per connection; 0 = as the provider (APNs 1000 after a first "
                   "one, FCM 100)")
        ->capture_default_str();
    app.add_option("--over-limit", line.over_limit,
                   "Whoever exceeds them: goaway or refuse (RST_STREAM)")
        ->capture_default_str()
        ->check(CLI::IsMember({"goaway", "refuse"}));
    app.add_flag("--collapse", line.collapse,
                 "APNs: one stream after each refused push, until the next success");
    app.add_option("--client-errors-max", line.client_errors_max,
                   "APNs: GOAWAY after so many client errors on a connection; 0 = never");
    app.add_option("--handle-rate", line.handle_second_max,
                   "APNs: pushes to one handle in a second, beyond it 429; 0 = any number");
    app.add_option("--sandbox-prefix", line.sandbox_prefix,
                   "APNs: handles that begin so belong to the sandbox, all others do not");
    app.add_option("--split", line.split_share,
                   "HTTP/2: share of answers in several DATA frames, the last one empty")
        ->check(CLI::Range(0.0, 1.0));
    app.add_flag("--ping-answers", line.ping_answers, "HTTP/2: a PING after every answer");
    app.add_option("--h1-requests-max", line.h1_requests_max,
                   "HTTP/1.1: requests per connection; 0 = any number");
    app.add_option("--idle-close-ms", line.idle_close_ms,
                   "Idle connections end after so long; 0 = as the provider");
    app.add_option("--age-max-ms", line.age_max_ms,
                   "HTTP/2 connections end at this age; -1 = as the provider, 0 = never");
    app.add_option("--order-key", line.order_key,
                   "JSON key of a number in the body that must not go down for a handle");
    app.add_option("--token-life", line.token_life_s, "Life of tokens handed out, seconds")
        ->capture_default_str();
    app.add_option("--seed", line.seed, "For shares, faults and latency")->capture_default_str();
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

nlohmann::json json_of(const std::string& file) {
    std::ifstream in(file);
    auto read = nlohmann::json::parse(in, nullptr, false);
    if (!in.is_open()) throw std::invalid_argument(file + " cannot be read");
    if (read.is_discarded()) throw std::invalid_argument(file + " is no JSON");
    return read;
}

void set_faults(const CommandLine& line, Simulator& simulator) {
    if (line.faults.empty() && line.faults_file.empty()) return;
    std::variant<std::vector<Fault>, std::string> read;
    if (line.faults_file.empty()) {
        read = read_faults_line(line.faults, simulator.speaks_h1());
    } else {
        read = read_faults(json_of(line.faults_file), simulator.speaks_h1());
    }
    if (const auto* wrong = std::get_if<std::string>(&read))
        throw std::invalid_argument("faults: " + *wrong);
    simulator.set_faults(std::get<std::vector<Fault>>(std::move(read)));
}

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
    options.each_alone = line.each_alone;
    options.watch = line.watch;
    options.quota_minute_max = line.fcm_quota;
    options.streams_max = line.streams_max;
    options.latency = read_latency(line.latency);
    if (!line.latency_refused.empty()) options.latency_refused = read_latency(line.latency_refused);
    options.ca = ca;
    options.over_limit =
        line.over_limit == "refuse" ? SimOptions::OverLimit::refuse : SimOptions::OverLimit::goaway;
    options.collapse = line.collapse;
    options.client_errors_max = line.client_errors_max;
    options.handle_second_max = line.handle_second_max;
    options.sandbox_prefix = line.sandbox_prefix;
    options.split_share = line.split_share;
    options.ping_answers = line.ping_answers;
    options.h1_requests_max = line.h1_requests_max;
    options.idle_close_ms = line.idle_close_ms;
    options.age_max_ms = line.age_max_ms;
    options.order_key = line.order_key;
    options.seed = line.seed;
    options.token_life_s = line.token_life_s;
    auto started = Simulator::start(std::move(options));
    if (!started)
        throw std::runtime_error(line.platforms[index] + ": " + started.error().message());
    if (!line.rules_file.empty()) {
        auto rules = read_rules(json_of(line.rules_file), *platform_by_name(line.platforms[index]));
        if (const auto* fault = std::get_if<std::string>(&rules))
            throw std::invalid_argument(line.rules_file + ": " + *fault);
        (*started)->set_rules(std::get<Rules>(std::move(rules)));
    }
    set_faults(line, **started);
    return {std::move(*started), std::move(made.credential)};
}

void list_faults() {
    for (const FaultRow& row : fault_rows()) {
        std::string name = fault_name(row);
        name.resize(std::max<std::size_t>(name.size(), 18), ' ');
        std::cout << name << (row.h1 ? "h1 h2  " : "   h2  ") << row.says << "\n";
    }
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
    if (const auto ended = read_arguments(app, argc, argv)) return *ended;
    if (line.list_faults) {
        list_faults();
        return exit_done;
    }
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
    } catch (const std::invalid_argument& wrong) {
        std::cerr << "pushhub sim: " << wrong.what() << "\n";
        return exit_usage;
    } catch (const std::exception& fault) {
        std::cerr << "pushhub sim: " << fault.what() << "\n";
        return exit_failed;
    }
    return exit_done;
}

}  // namespace pns::sim
