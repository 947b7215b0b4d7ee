#pragma once

// Simulators for tests: one throw-away authority per process, everything on free loopback ports.

#include <unistd.h>

#include <fstream>

#include "pns/own_authority.hpp"
#include "pns/sender.hpp"
#include "pns/sim/simulator.hpp"
#include "tests/support/pns_accounts.hpp"

namespace support {

inline const pns::CertificatePair& test_ca() {
    static const pns::CertificatePair ca = pns::make_ca();
    return ca;
}

/// PUSHHUB_BINARY_DIR/test_ca_<pid>.pem, written once.
inline const std::string& test_ca_file() {
    static const std::string path = [] {
        std::string name =
            std::string(PUSHHUB_BINARY_DIR) + "/test_ca_" + std::to_string(::getpid()) + ".pem";
        std::ofstream(name) << test_ca().certificate_pem;
        return name;
    }();
    return path;
}

inline pns::sim::SimOptions sim_options(const std::string& platform) {
    const auto leaf = pns::make_leaf(test_ca(), pns::sim::host_names(platform));
    pns::sim::SimOptions options;
    options.platform = platform;
    options.trust = made_credential(platform).trust;
    options.certificate_pem = leaf.certificate_pem;
    options.key_pem = leaf.key_pem;
    return options;
}

inline std::unique_ptr<pns::sim::Simulator> start_sim(pns::sim::SimOptions options) {
    auto started = pns::sim::Simulator::start(std::move(options));
    if (!started) FAIL(started.error().message());
    return std::move(*started);
}

inline std::unique_ptr<pns::sim::Simulator> start_sim(const std::string& platform) {
    return start_sim(sim_options(platform));
}

inline pns::sim::Rules rules_of(const std::string& platform, const nlohmann::json& text) {
    auto rules = pns::sim::read_rules(text, *pns::platform_by_name(platform));
    if (const auto* fault = std::get_if<std::string>(&rules)) FAIL(*fault);
    return std::get<pns::sim::Rules>(rules);
}

inline pns::Network network_of(const pns::sim::Simulator& simulator) {
    pns::Network network;
    network.ca_file = test_ca_file();
    network.connect_to = simulator.connect_to();
    return network;
}

}  // namespace support
