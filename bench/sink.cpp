#include "bench/sink.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>

namespace bench {
namespace {

constexpr double ready_timeout_s = 30;

std::vector<std::string> command(const std::filesystem::path& dir, const SinkOptions& options) {
    std::vector<std::string> out{hub_program(), "sim"};
    out.insert(out.end(), options.platforms.begin(), options.platforms.end());
    for (const char* argument : {"--json", "--ca-dir"}) out.emplace_back(argument);
    out.push_back(dir.string());
    out.emplace_back("--threads");
    out.push_back(std::to_string(options.threads));
    if (options.fast) out.emplace_back("--fast");
    // The hubs of benchmarks have no limit of their own for FCM (hub_process.cpp).
    for (const char* argument : {"--fcm-quota", "0"}) out.emplace_back(argument);
    if (!options.watch.empty()) {
        out.emplace_back("--watch");
        out.push_back(options.watch);
    }
    return out;
}

}  // namespace

Sink::Sink(const std::filesystem::path& dir, SinkOptions options)
    : threads_(options.threads * static_cast<unsigned>(options.platforms.size())),
      process_(command(dir, options), dir / "sink.log") {
    const auto json = nlohmann::json::parse("{" + process_.wait_for("{", ready_timeout_s));
    ca_file_ = json.at("ca_file").get<std::string>();
    for (const auto& simulator : json.at("simulators")) {
        const auto platform = simulator.at("platform").get<std::string>();
        const auto rules = simulator.at("connect_to").get<std::vector<std::string>>();
        connect_to_.insert(connect_to_.end(), rules.begin(), rules.end());
        pns::Credential credential;
        credential.platform = platform;
        credential.properties =
            simulator.at("credential").get<std::map<std::string, std::string>>();
        credentials_.push_back(std::move(credential));
        const std::string host =
            rules.empty() ? "" : rules.front().substr(0, rules.front().find(':'));
        platforms_.emplace(platform,
                           Platform{simulator.at("url").get<std::string>(), host,
                                    SimControl(simulator.at("control_url").get<std::string>())});
    }
    for (const std::string& platform : options.platforms) at(platform);
}

const Sink::Platform& Sink::at(const std::string& platform) const {
    const auto found = platforms_.find(platform);
    if (found == platforms_.end())
        throw std::runtime_error("the sink does not simulate " + platform);
    return found->second;
}

const pns::Credential& Sink::credential(const std::string& platform) const {
    at(platform);
    for (const pns::Credential& credential : credentials_)
        if (credential.platform == platform) return credential;
    throw std::runtime_error("the sink has no credential for " + platform);
}

const std::string& Sink::origin(const std::string& platform) const {
    return at(platform).origin;
}
const std::string& Sink::host(const std::string& platform) const {
    return at(platform).host;
}
const SimControl& Sink::control(const std::string& platform) const {
    return at(platform).control;
}

}  // namespace bench
