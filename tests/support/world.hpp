#pragma once

// The whole way of a send: a hub over real TLS and four simulated providers, under one throw-away
// directory. May be stopped and started again.

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/telemetry.hpp"
#include "hub/cli/client.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/service.hpp"
#include "pns/clock.hpp"
#include "pns/own_authority.hpp"
#include "pns/sim/simulator.hpp"
#include "tests/support/comes_true.hpp"

namespace support {

using hub::ClientReply;
using hub::ClientRequest;

constexpr double world_wait_s = 60;
inline const std::vector<std::string> all_platforms{"apns", "fcmv1", "wns", "adm"};
inline const std::string apple_body = R"({"aps":{"alert":"hello"}})";

/// A hub named "app" and a simulator per provider, under one throw-away directory.
class World {
  public:
    /// `settings` is taken as it is but for what the world itself decides. Hub and simulators live
    /// by `clock`, which outlives the world.
    explicit World(hub::Config settings = {},
                   const std::vector<std::string>& platforms = all_platforms,
                   const pns::Clock& clock = pns::system_clock())
        : clock_(clock), config_(std::move(settings)) {
        static int count = 0;
        directory_ = std::filesystem::temp_directory_path() /
                     ("pushhub-world-" + std::to_string(getpid()) + "-" + std::to_string(count++));
        std::filesystem::create_directories(directory_);
        const auto ca = pns::make_ca("pushhub test");
        std::ofstream(directory_ / "providers.pem") << ca.certificate_pem;
        for (const std::string& platform : platforms) {
            auto made = pns::sim::make_credential(platform);
            const auto leaf = pns::make_leaf(ca, pns::sim::host_names(platform));
            pns::sim::SimOptions options;
            options.platform = platform;
            options.trust = trusts_[platform] = made.trust;
            options.certificate_pem = leaf.certificate_pem;
            options.key_pem = leaf.key_pem;
            options.clock_ms = [&clock] { return clock.wall_ms(); };
            sims_[platform] = std::move(pns::sim::Simulator::start(std::move(options)).value());
            credentials_.push_back(std::move(made.credential));
            for (auto& rule : sims_[platform]->connect_to()) config_.connect_to.push_back(rule);
        }
        config_.data_dir = directory_ / "data";
        config_.listen = "127.0.0.1:0";
        config_.provider_ca_file = (directory_ / "providers.pem").string();
        config_.lanes = 2;
        config_.log_level = "off";
        config_.drain_ms_max = 200;
        start();
        hub::create_hub(*client_, "app", credentials_);
    }
    ~World() {
        stop();
        std::filesystem::remove_all(directory_);
    }

    void start() {
        std::string why;
        service_ = hub::Service::start(config_, why, clock_);
        INFO(why);
        REQUIRE(service_);
        client_ = std::make_unique<hub::HubClient>(service_->connection_string(),
                                                   service_->ca_file().string());
    }
    void stop() {
        client_.reset();
        service_.reset();
    }

    ClientReply call(std::string method, std::string path, std::string body = {},
                     std::vector<std::pair<std::string, std::string>> headers = {}) {
        ClientRequest request;
        request.method = std::move(method);
        request.path = std::move(path);
        request.body = std::move(body);
        request.headers = std::move(headers);
        return client_->call(std::move(request));
    }
    void install(const std::string& id, const std::string& platform, const std::string& handle,
                 const std::string& more = R"("tags":["all"])") {
        const std::string body = R"({"installationId":")" + id + R"(","platform":")" + platform +
                                 R"(","pushChannel":")" + handle + "\"," + more + "}";
        const auto reply = call("PUT", "/app/installations/" + id, body);
        INFO(reply.body);
        REQUIRE(reply.status == 200);
    }
    std::string send(const std::string& format, const std::string& tags, const std::string& body,
                     const std::string& delivery = {}) {
        std::vector<std::pair<std::string, std::string>> headers;
        if (!delivery.empty()) headers.emplace_back("pushhub-delivery", delivery);
        return send_with(format, tags, body, std::move(headers));
    }
    /// With more headers: the id of the send.
    std::string send_with(const std::string& format, const std::string& tags,
                          const std::string& body,
                          std::vector<std::pair<std::string, std::string>> headers) {
        headers.emplace_back("servicebusnotification-format", format);
        if (!tags.empty()) headers.emplace_back("servicebusnotification-tags", tags);
        const auto reply = call("POST", "/app/messages", body, std::move(headers));
        INFO(reply.body);
        REQUIRE(reply.status == 201);
        std::string id(reply.header("location"));
        id = id.substr(0, id.find('?'));
        return id.substr(id.rfind('/') + 1);
    }
    bench::Telemetry finish(const std::string& id) {
        return bench::wait_until_final(*client_, "app", id, world_wait_s);
    }
    bool expired(const std::string& id) {
        return call("GET", "/app/installations/" + id).body.find(R"("pushChannelExpired":true)") !=
               std::string::npos;
    }
    void check_registry() {
        const auto hub = service_->parts().hubs.find("app");
        CHECK(service_->parts().registry.verify(hub->row.number).empty());
    }

    hub::HubClient& client() { return *client_; }
    hub::Parts& parts() { return service_->parts(); }

    pns::sim::Simulator& sim(const std::string& platform) { return *sims_.at(platform); }
    const pns::sim::Trust& trust(const std::string& platform) { return trusts_.at(platform); }
    hub::Service& service() { return *service_; }
    const std::vector<pns::Credential>& credentials() const { return credentials_; }
    hub::Config& config() { return config_; }

  private:
    const pns::Clock& clock_;
    std::filesystem::path directory_;
    hub::Config config_;
    std::map<std::string, std::unique_ptr<pns::sim::Simulator>> sims_;
    std::map<std::string, pns::sim::Trust> trusts_;
    std::vector<pns::Credential> credentials_;
    std::unique_ptr<hub::Service> service_;
    std::unique_ptr<hub::HubClient> client_;
};

inline std::string handle_of(const std::string& platform, int i) {
    char hex[17];
    std::snprintf(hex, sizeof hex, "%016X", i);
    if (platform == "apns") return std::string(48, 'A') + hex;
    if (platform == "wns") return std::string("https://db5.notify.windows.com/?token=") + hex;
    if (platform == "hms") return std::string("IQAAAACy0example") + hex;
    if (platform == "adm") return std::string("amzn1.adm-registration.v3.") + hex;
    return std::string("fcm") + hex + ":APA91bExample";
}

inline std::string id_of(const std::string& platform, int i) {
    return platform + "-" + std::to_string(i);
}

}  // namespace support
