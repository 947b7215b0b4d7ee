#include "bench/sink.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>

namespace bench {
namespace {

constexpr double ready_timeout_s = 30;
constexpr std::size_t token_bytes = 170;  ///< of an ES256 provider token

}  // namespace

Sink::Sink(const std::filesystem::path& dir)
    : process_({own_program(), "sim", "apns", "--fast", "--json", "--ca-dir", dir.string()},
               dir / "sink.log") {
    const auto json = nlohmann::json::parse("{" + process_.wait_for("{", ready_timeout_s));
    ca_file_ = json.at("ca_file").get<std::string>();
    for (const auto& simulator : json.at("simulators")) {
        if (simulator.at("platform") != "apns") continue;
        origin_ = simulator.at("url").get<std::string>();
        connect_to_ = simulator.at("connect_to").get<std::vector<std::string>>();
        credential_.platform = "apns";
        credential_.properties =
            simulator.at("credential").get<std::map<std::string, std::string>>();
    }
    if (origin_.empty()) throw std::runtime_error("the sink has no APNs simulator");
}

std::vector<std::string> Sink::h2load_headers() const {
    return {"authorization: bearer " + std::string(token_bytes, 'x'),
            "apns-topic: " + credential_.properties.at("AppName"), "apns-push-type: alert",
            "apns-id: 6f0d1c7e-27d5-4b0e-9d3a-0e4f4bb0d2a1"};
}

}  // namespace bench
