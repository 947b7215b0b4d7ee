#pragma once

// A whole hub in this process, black box over TLS, under a throw-away directory.

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <string>

#include "hub/access/sas.hpp"
#include "hub/process/log.hpp"
#include "hub/service.hpp"
#include "pns/clock.hpp"
#include "tests/support/http_client.hpp"

namespace support {

/// A directory that is removed with the object.
struct Folder {
    Folder() {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "pushhub_test_XXXXXX").string();
        path = ::mkdtemp(pattern.data());
    }
    ~Folder() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::filesystem::path path;
};

class HubWorld {
  public:
    HubWorld() : HubWorld(hub::Config()) {}
    /// `config` without directory and addresses: these are set here.
    explicit HubWorld(hub::Config config) : config_(std::move(config)) {
        hub::open_log("off", "text");
        config_.data_dir = folder_.path / "data";
        config_.listen = "127.0.0.1:0";
        config_.lanes = 2;
        config_.drain_ms_max = 2'000;
        start();
    }

    void start() {
        std::string why;
        service_ = hub::Service::start(config_, why);
        INFO(why);
        REQUIRE(service_);
    }
    void stop() { service_.reset(); }
    void restart() {
        stop();
        start();
    }

    hub::Service& service() { return *service_; }
    hub::Config& config() { return config_; }
    ClientOptions client_options(const std::string& alpn) const {
        ClientOptions options;
        options.ca_file = service_->ca_file().string();
        options.alpn = alpn;
        return options;
    }
    H1Client client() const { return H1Client(service_->port(), client_options("http/1.1")); }

    /// Signed by the namespace's root rule.
    HeaderList root_headers() const {
        const auto& rule = service_->parts().namespace_rules.front();
        const auto expiry_s = pns::system_clock().wall_ms() / 1'000 + 600;
        return {{"Authorization",
                 hub::make_sas("https://localhost/", rule.name, rule.primary_key, expiry_s)}};
    }
    void put_hub(const std::string& name) {
        const auto answer = client().request(
            "PUT", "/" + name, root_headers(),
            R"(<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">)"
            R"(<NotificationHubDescription )"
            R"(xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"/>)"
            R"(</content></entry>)");
        INFO(answer.body);
        REQUIRE(answer.status == 201);
    }

  private:
    Folder folder_;
    hub::Config config_;
    std::unique_ptr<hub::Service> service_;
};

}  // namespace support
