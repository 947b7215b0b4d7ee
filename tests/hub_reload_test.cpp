// What changes without a restart: settings, certificates, root keys; and what ends soon.

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>
#include <utility>

#include "hub/access/sas.hpp"
#include "hub/api/parts.hpp"
#include "hub/process/log.hpp"
#include "hub/process/metrics.hpp"
#include "hub/service.hpp"
#include "pns/clock.hpp"
#include "pns/own_authority.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/hub_entry.hpp"
#include "tests/support/hub_world.hpp"
#include "tests/support/pkcs12.hpp"

namespace {

namespace fs = std::filesystem;
using support::H1Client;

void write(const fs::path& path, const std::string& text) {
    std::ofstream(path) << text;
}

/// An authority's certificate in `ca`, and one that it signed with its key in the two others.
struct Certificate {
    fs::path ca, certificate, key;
    void make(int valid_s = 90 * 86'400) const {
        const auto authority = pns::make_ca("test");
        pns::LeafOptions options;
        options.valid_until_s = valid_s;
        const auto leaf = pns::make_leaf(authority, {"localhost"}, options);
        write(ca, authority.certificate_pem);
        write(certificate, leaf.certificate_pem);
        write(key, leaf.key_pem);
    }
};

/// A hub whose log is kept.
struct Hub {
    Hub() {
        config.data_dir = folder.path / "data";
        config.listen = config.listen_plain = "127.0.0.1:0";
        config.lanes = 2;
        config.drain_ms_max = 2'000;
        config.tls_cert_file = files.certificate.string();
        config.tls_key_file = files.key.string();
    }
    ~Hub() {
        service.reset();
        hub::open_log("off", "text");
    }
    void start() {
        hub::open_log("info", "text", &log);
        std::string why;
        service = hub::Service::start(config, why);
        INFO(why);
        REQUIRE(service);
    }
    H1Client client() const {
        support::ClientOptions options;
        options.alpn = "http/1.1";
        options.ca_file = files.ca.string();
        return H1Client(service->port(), options);
    }
    H1Client plain() const {
        support::ClientOptions options;
        options.tls = false;
        return H1Client(service->plain_port(), options);
    }
    /// The answer to who has that key. A lane that has not yet taken a new certificate is asked
    /// again.
    int with_key(const std::string& key) const {
        const auto expiry_s = pns::system_clock().wall_ms() / 1'000 + 600;
        const auto token = hub::make_sas("https://localhost/", config.root_key_name, key, expiry_s);
        int status = 0;
        CHECK(support::comes_true([&] {
            try {
                status = client().request("GET", "/", {{"Authorization", token}}).status;
            } catch (const std::exception&) {
                return false;
            }
            return true;
        }));
        return status;
    }
    bool logged(const std::string& text) const { return log.str().find(text) != std::string::npos; }

    support::Folder folder;
    Certificate files{folder.path / "ca.pem", folder.path / "cert.pem", folder.path / "key.pem"};
    hub::Config config;
    std::ostringstream log;
    std::unique_ptr<hub::Service> service;
};

std::string description_with(const std::string& pkcs12) {
    return support::hub_entry(
        "<ApnsCredential><Properties><Property><Name>ApnsCertificate</Name><Value>" + pkcs12 +
        "</Value></Property><Property><Name>CertificateKey</Name><Value>secret</Value>"
        "</Property><Property><Name>Endpoint</Name><Value>gateway.push.apple.com</Value>"
        "</Property></Properties></ApnsCredential>");
}

}  // namespace

TEST_CASE("a reload takes certificates, root keys, level and limits, and names the rest", "[hub]") {
    Hub hub;
    hub.files.make();
    hub.config.root_key = "0123456789abcdef-one";
    hub.start();
    CHECK(hub.with_key("0123456789abcdef-one") == 200);
    CHECK(hub.with_key("0123456789abcdef-two") == 401);
    H1Client old = hub.client();
    REQUIRE(old.request("GET", "/healthz").status == 200);

    // Two keys are valid while clients change over.
    hub.config.root_key_secondary = "0123456789abcdef-two";
    hub.files.make();
    auto fresh = hub.config;
    fresh.requests_per_second_per_connection = 1;
    fresh.lanes = 1;
    hub.service->reload(fresh);
    CHECK(hub.logged("root_key_secondary, requests_per_second_per_connection"));
    CHECK(hub.logged("some settings need a restart which=lanes"));
    // New connections see the new certificate, those that are open go on.
    CHECK(hub.with_key("0123456789abcdef-one") == 200);
    CHECK(hub.with_key("0123456789abcdef-two") == 200);
    CHECK(old.request("GET", "/healthz").status == 200);
    CHECK(support::comes_true([&old] { return old.request("GET", "/healthz").status == 429; }));

    // Afterwards the old one goes.
    std::swap(fresh.root_key, fresh.root_key_secondary);
    fresh.root_key_secondary.clear();
    fresh.requests_per_second_per_connection = 0;
    fresh.log_level = "error";
    hub.service->reload(fresh);
    CHECK(hub.with_key("0123456789abcdef-one") == 401);
    CHECK(hub.with_key("0123456789abcdef-two") == 200);
    CHECK(old.request("GET", "/healthz").status == 200);
    hub.log.str("");

    // What cannot be used changes nothing.
    write(hub.files.key, "no key");
    auto wrong = fresh;
    wrong.root_key = "0123456789abcdef-bad";
    wrong.requests_in_flight_max = 1;
    hub.service->reload(wrong);
    CHECK(hub.logged("settings are not read again"));
    CHECK(hub.with_key("0123456789abcdef-two") == 200);
    CHECK(hub.service->parts().config.requests_in_flight_max != 1);
}

TEST_CASE("root keys in files are read again", "[hub]") {
    Hub hub;
    hub.files.make();
    hub.start();
    const std::string first = hub.service->parts().namespace_rules.front().primary_key;
    write(hub.config.data_dir / "root-secondary.key", "0123456789abcdef-two\n");
    hub.service->reload(hub.config);
    CHECK(hub.logged("keys of the root rule"));
    CHECK(hub.with_key("0123456789abcdef-two") == 200);
    CHECK(hub.with_key(first) == 200);
    fs::rename(hub.config.data_dir / "root-secondary.key", hub.config.data_dir / "root.key");
    hub.service->reload(hub.config);
    CHECK(hub.with_key("0123456789abcdef-two") == 200);
    CHECK(hub.with_key(first) == 401);
    write(hub.config.data_dir / "root.key", "\n");
    hub.service->reload(hub.config);
    CHECK(hub.logged("settings are not read again"));
    CHECK(hub.with_key("0123456789abcdef-two") == 200);
}

TEST_CASE("certificates that end are told of, and those that ended are refused", "[hub]") {
    Hub hub;
    hub.files.make(5 * 86'400);
    hub.start();
    CHECK(hub.logged("the certificate of the TLS port ends soon"));
    const auto root = hub.service->parts().namespace_rules.front();
    const auto put = [&](const std::string& name, long valid_s, const support::HeaderList& more,
                         std::string body = {}) {
        auto headers = more;
        const auto expiry_s = pns::system_clock().wall_ms() / 1'000 + 600;
        headers.emplace_back("Authorization", hub::make_sas("https://localhost/", root.name,
                                                            root.primary_key, expiry_s));
        if (body.empty())
            body = description_with(support::make_pkcs12("org.example", "secret", valid_s));
        return hub.client().request("PUT", "/" + name, headers, body);
    };
    const auto refused = put("late", -60, {});
    CHECK(refused.status == 400);
    CHECK(refused.body.find("The certificate of the ApnsCredential expired at 20") !=
          std::string::npos);
    CHECK(put("soon", 20 * 86'400, {}).status == 201);
    CHECK(put("long", 90 * 86'400, {}).status == 201);
    CHECK(put("long", -60, {{"If-Match", "*"}}).status == 400);

    hub.files.make();
    hub.service->reload(hub.config);
    CHECK(hub.logged("a provider's certificate ends soon or has ended hub=soon platform=apns"));
    CHECK_FALSE(hub.logged("ends soon or has ended hub=long"));
    const auto page = hub.service->parts().metrics.text();
    const auto figure = [&page](const std::string& name) {
        const auto at = page.find("\n" + name + " ");
        REQUIRE(at != std::string::npos);
        return std::stod(page.substr(at + name.size() + 2));
    };
    const auto now_s = static_cast<double>(pns::system_clock().wall_ms()) / 1'000;
    CHECK(std::abs(figure("pushhub_credential_end_seconds") - now_s - 20 * 86'400) < 600);
    CHECK(std::abs(figure("pushhub_tls_certificate_end_seconds") - now_s - 90 * 86'400) < 600);
}

TEST_CASE("a hub that is told to stop serves until balancers have seen it", "[hub]") {
    Hub hub;
    hub.files.make();
    hub.config.shutdown_delay_ms = 3'000;
    hub.start();
    H1Client client = hub.plain();
    CHECK(client.request("GET", "/readyz").status == 200);
    std::thread stopping([&hub] { hub.service->stop(); });
    const bool told =
        support::comes_true([&client] { return client.request("GET", "/readyz").status == 503; });
    // New connections are taken, too.
    const int health = hub.client().request("GET", "/healthz").status;
    stopping.join();
    CHECK(told);
    CHECK(health == 200);
    CHECK_THROWS(hub.plain());
}
