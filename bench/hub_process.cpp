#include "bench/hub_process.hpp"

#include <unistd.h>

#include <chrono>
#include <sstream>
#include <stdexcept>

#include "bench/machine.hpp"
#include "hub/cli/client.hpp"

namespace bench {
namespace {

constexpr double ready_timeout_s = 120;
constexpr unsigned poll_us = 500;

std::string joined(const std::vector<std::string>& items) {
    std::string out;
    for (const std::string& item : items) out += (out.empty() ? "" : ",") + item;
    return out;
}

std::uint16_t free_port_but(std::uint16_t taken) {
    std::uint16_t port = free_port();
    while (port == taken) port = free_port();
    return port;
}

std::string plain_url(std::uint16_t port) {
    return "http://127.0.0.1:" + std::to_string(port);
}

}  // namespace

HubProcess::HubProcess(const std::filesystem::path& dir, const Sink& sink, HubOptions options)
    : port_(free_port()),
      plain_port_(free_port_but(port_)),
      data_(dir / "hub"),
      log_(dir / "hub.log"),
      command_({options.program.empty() ? hub_program() : options.program, "serve", "--data-dir",
                data_.string(), "--listen", "127.0.0.1:" + std::to_string(port_), "--listen-plain",
                "127.0.0.1:" + std::to_string(plain_port_), "--lanes",
                std::to_string(options.lanes), "--provider-ca-file", sink.ca_file(), "--connect-to",
                joined(sink.connect_to()), "--fcm-messages-per-minute", "0", "--log-level",
                "warn"}) {
    command_.insert(command_.end(), options.arguments.begin(), options.arguments.end());
    start();
    std::string key = read_all(data_ / "root.key");
    key = key.substr(0, key.find('\n'));
    if (key.empty()) throw std::runtime_error("cannot read " + (data_ / "root.key").string());
    connection_string_ = "Endpoint=sb://localhost:" + std::to_string(port_) +
                         "/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=" + key;
}

double HubProcess::start(const std::vector<std::string>& environment) {
    using Clock = std::chrono::steady_clock;
    const auto begun = Clock::now();
    const auto elapsed_s = [&begun] {
        return std::chrono::duration<double>(Clock::now() - begun).count();
    };
    process_ = std::make_unique<Process>(command_, log_, environment);
    while (true) {
        try {
            if (hub::plain_call(plain_url(plain_port_), "GET", "/readyz").status == 200)
                return elapsed_s();
        } catch (const std::exception&) {
            // Not listening yet.
        }
        if (!process_->running()) throw std::runtime_error("the hub ended: " + process_->output());
        if (elapsed_s() > ready_timeout_s) break;
        ::usleep(poll_us);
    }
    throw std::runtime_error("the hub did not become ready: " + process_->output());
}

void HubProcess::stop() {
    process_->stop();
}

void HubProcess::kill() {
    process_->kill();
}

double HubProcess::metric(const std::string& name) const {
    std::istringstream lines(hub::plain_call(plain_url(plain_port_), "GET", "/metrics").body);
    for (std::string line; std::getline(lines, line);)
        if (line.starts_with(name + " ")) return std::stod(line.substr(name.size() + 1));
    return 0;
}

}  // namespace bench
