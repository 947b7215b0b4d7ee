#include "bench/h2load.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {
namespace {

constexpr unsigned h1_clients_per_client = 16;

/// "1.23ms", "456us", "2.1s" as milliseconds.
double milliseconds(const std::string& text) {
    std::size_t unit = 0;
    const double value = std::stod(text, &unit);
    const std::string name = text.substr(unit);
    return name == "us" ? value / 1e3 : name == "s" ? value * 1e3 : value;
}

std::uint32_t clients_of(const Target& target, const H2loadOptions& options) {
    const unsigned wanted = target.h1 ? options.clients * h1_clients_per_client : options.clients;
    return std::min(wanted, options.requests);
}

struct Run {
    std::string output;
    double cpu_s = 0;
};

Run run_once(const std::filesystem::path& dir, const Sink& sink, const Target& target,
             const H2loadOptions& options, std::uint32_t requests, std::uint32_t clients) {
    std::vector<std::string> command{"h2load",
                                     "-n",
                                     std::to_string(requests),
                                     "-c",
                                     std::to_string(clients),
                                     "-t",
                                     std::to_string(std::min(options.threads, clients)),
                                     "-m",
                                     std::to_string(target.h1 ? 1 : options.streams),
                                     "-i",
                                     (dir / "paths").string(),
                                     "-d",
                                     (dir / "body").string()};
    if (target.h1) command.emplace_back("--h1");
    for (const std::string& header : target.request_headers(sink)) {
        command.emplace_back("-H");
        command.push_back(header);
    }
    Process process(command, dir / "h2load.log");
    Run out;
    out.cpu_s = process.finish();
    out.output = process.output();
    return out;
}

}  // namespace

void write_h2load_files(const std::filesystem::path& dir, const Sink& sink, const Target& target,
                        std::uint32_t requests) {
    std::ofstream paths(dir / "paths"), body(dir / "body");
    for (std::uint32_t i = 0; i < requests; ++i)
        paths << sink.origin(target.platform) << target.path(i) << '\n';
    body << target.request_body();
    if (!paths.flush() || !body.flush())
        throw std::runtime_error("cannot write the requests of h2load to " + dir.string());
}

double h2load_start_cpu_s(const std::filesystem::path& dir, const Sink& sink, const Target& target,
                          const H2loadOptions& options) {
    const std::uint32_t clients = clients_of(target, options);
    return run_once(dir, sink, target, options, clients, clients).cpu_s;
}

H2loadFigures run_h2load(const std::filesystem::path& dir, const Sink& sink, const Target& target,
                         const H2loadOptions& options) {
    const std::uint32_t clients = clients_of(target, options);
    const Run run = run_once(dir, sink, target, options, options.requests, clients);
    H2loadFigures out;
    unsigned long long succeeded = 0;
    std::istringstream lines(run.output);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("finished in ")) {
            const std::size_t comma = line.find(", ");
            if (comma != std::string::npos) out.requests_per_s = std::stod(line.substr(comma + 2));
        } else if (line.starts_with("status codes: ")) {
            succeeded = std::stoull(line.substr(14));
        } else if (line.starts_with("time for request:")) {
            std::istringstream fields(line.substr(17));
            std::string least, most, mean;
            if (fields >> least >> most >> mean) out.mean_ms = milliseconds(mean);
        }
    }
    if (succeeded != options.requests || out.requests_per_s <= 0)
        throw std::runtime_error("h2load did not succeed: " + run.output);
    out.cpu_us_per_request = std::max(0.0, run.cpu_s - options.start_cpu_s) * 1e6 /
                             std::max(1U, options.requests - clients);
    return out;
}

}  // namespace bench
