// Impl makes the certificates and starts the simulators, then the hub with their addresses, then
// registers the hub `dev` with their credentials. Simulators and service have threads of their
// own; the main thread registers devices and waits for a signal. It is for trying things out:
// nothing here is meant for a network that others can reach.
#include "hub/cli/dev.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <vector>

#include "hub/cli/client.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/cli/terminal.hpp"
#include "hub/cli/winter_games.hpp"
#include "hub/process/log.hpp"
#include "hub/process/private_file.hpp"
#include "hub/service.hpp"
#include "pns/exit_code.hpp"
#include "pns/own_authority.hpp"
#include "pns/sim/arguments.hpp"
#include "pns/sim/credentials.hpp"
#include "pns/sim/simulator.hpp"

namespace hub {
namespace {

namespace fs = std::filesystem;

/// Those that the seeded devices have, and browsers, which come by hand.
constexpr std::array<std::string_view, 5> dev_platforms{"apns", "fcmv1", "wns", "adm", "browser"};

constexpr unsigned client_connections = 2;

std::string read_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// The authority of the data directory: made at the first start, so that clients need to trust it
/// once.
pns::CertificatePair authority(const fs::path& dir) {
    const fs::path certificate = dir / "ca.pem", key = dir / "ca.key";
    if (fs::exists(certificate) && fs::exists(key)) return {read_file(certificate), read_file(key)};
    const pns::CertificatePair made = pns::make_ca("pushhub dev CA");
    write_private_file(key, made.key_pem);
    write_private_file(certificate, made.certificate_pem);
    return made;
}

std::string quoted(const std::string& value) {
    std::string out = "'";
    for (const char c : value) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

}  // namespace

struct DevHub::Impl {
    explicit Impl(const DevOptions& options);

    fs::path data_dir;
    std::map<std::string, std::unique_ptr<pns::sim::Simulator>, std::less<>> simulators;
    std::unique_ptr<Service> service;
    std::string url, connection_string, ca_file;
};

DevHub::Impl::Impl(const DevOptions& options) {
    fs::create_directories(options.data_dir);
    data_dir = fs::absolute(options.data_dir);
    const pns::CertificatePair ca = authority(data_dir);
    ca_file = (data_dir / "ca.pem").string();

    std::vector<pns::Credential> credentials;
    Config config;
    for (const std::string_view platform : dev_platforms) {
        pns::sim::MadeCredential made = pns::sim::make_credential(platform);
        const pns::CertificatePair leaf = pns::make_leaf(ca, pns::sim::host_names(platform));
        pns::sim::SimOptions sim;
        sim.platform = std::string(platform);
        sim.trust = std::move(made.trust);
        sim.certificate_pem = leaf.certificate_pem;
        sim.key_pem = leaf.key_pem;
        auto started = pns::sim::Simulator::start(std::move(sim));
        if (!started)
            throw std::runtime_error("the " + std::string(platform) +
                                     " simulator does not start: " + started.error().message());
        for (std::string& rule : (*started)->connect_to())
            config.connect_to.push_back(std::move(rule));
        simulators.emplace(platform, std::move(*started));
        credentials.push_back(std::move(made.credential));
    }

    const pns::CertificatePair leaf = pns::make_leaf(ca, {"localhost", "127.0.0.1", "::1"});
    write_private_file(data_dir / "hub.pem", leaf.certificate_pem);
    write_private_file(data_dir / "hub.key", leaf.key_pem);
    config.data_dir = data_dir / "hub";
    config.listen = "127.0.0.1:" + std::to_string(options.port);
    config.tls_cert_file = (data_dir / "hub.pem").string();
    config.tls_key_file = (data_dir / "hub.key").string();
    config.provider_ca_file = ca_file;
    config.log_level = options.log_level;
    config.fcm_messages_per_minute = 0;  // the simulator has no quota
    if (const auto wrong = hub::check_config(config); !wrong.empty())
        throw std::invalid_argument(wrong.front());
    open_log(config.log_level, config.log_format);
    std::string why;
    service = Service::start(config, why);
    if (!service) throw std::runtime_error(why);
    const std::string port = std::to_string(service->port());
    url = "https://localhost:" + port;
    const ConnectionString given = ConnectionString::parse(service->connection_string());
    connection_string = "Endpoint=sb://localhost:" + port +
                        "/;SharedAccessKeyName=" + given.key_name + ";SharedAccessKey=" + given.key;

    HubClient client(connection_string, ca_file);
    create_hub(client, std::string(hub_name), credentials);
}

DevHub::DevHub(const DevOptions& options) : impl_(std::make_unique<Impl>(options)) {}
DevHub::~DevHub() {
    if (impl_->service) impl_->service->stop();
}

const std::string& DevHub::url() const {
    return impl_->url;
}
const std::string& DevHub::connection_string() const {
    return impl_->connection_string;
}
const std::string& DevHub::ca_file() const {
    return impl_->ca_file;
}
std::string DevHub::sim_url(std::string_view platform) const {
    const auto found = impl_->simulators.find(platform);
    if (found == impl_->simulators.end()) throw std::invalid_argument("no such simulator");
    return found->second->control_url();
}

namespace {

/// For scripts to source; appears whole or not at all.
void write_env_file(const fs::path& file, const DevHub& hub) {
    const std::vector<std::pair<std::string, std::string>> values{
        {"PUSHHUB_CONNECTION_STRING", hub.connection_string()},
        {"PUSHHUB_HUB", std::string(DevHub::hub_name)},
        {"PUSHHUB_CA_FILE", hub.ca_file()},
        {"PUSHHUB_URL", hub.url()},
        {"PUSHHUB_SIM_APNS_URL", hub.sim_url("apns")},
        {"PUSHHUB_SIM_FCM_URL", hub.sim_url("fcmv1")},
        {"PUSHHUB_SIM_WNS_URL", hub.sim_url("wns")},
        {"PUSHHUB_SIM_ADM_URL", hub.sim_url("adm")},
        {"PUSHHUB_SIM_BROWSER_URL", hub.sim_url("browser")},
    };
    std::string text;
    for (const auto& [name, value] : values) text += "export " + name + "=" + quoted(value) + "\n";
    write_private_file(file, text);
}

void introduce(const DevHub& hub, const fs::path& data_dir) {
    std::printf("\npushhub dev is up. Data in %s; Ctrl-C stops it.\n\n", data_dir.c_str());
    std::printf("  hub                %s/%s\n", hub.url().c_str(),
                std::string(DevHub::hub_name).c_str());
    std::printf("  connection string  %s\n", hub.connection_string().c_str());
    std::printf("  trust this CA      %s\n", hub.ca_file().c_str());
    for (const std::string_view platform : dev_platforms)
        std::printf("  simulator %-8s %s\n", std::string(platform).c_str(),
                    hub.sim_url(platform).c_str());
    const ConnectionString given = ConnectionString::parse(hub.connection_string());
    std::printf(
        "\nTry it (bash, curl, openssl): everyone who follows Kramer or lives in the "
        "Netherlands\n\n");
    std::printf(
        "  key='%s'\n"
        "  sr=$(printf %%s '%s/' | sed 's|:|%%3A|g; s|/|%%2F|g'); se=$(($(date +%%s) + 3600))\n"
        "  sig=$(printf '%%s\\n%%s' \"$sr\" \"$se\" | openssl dgst -sha256 -hmac \"$key\" -binary "
        "| base64 | "
        "sed 's|+|%%2B|g; s|/|%%2F|g; s|=|%%3D|g')\n"
        "  curl -i --cacert '%s' -H \"Authorization: SharedAccessSignature "
        "sr=$sr&sig=$sig&se=$se&skn=%s\" \\\n"
        "    -H 'Content-Type: application/json' -H 'ServiceBusNotification-Format: template' \\\n"
        "    -H 'ServiceBusNotification-Tags: (country:nl || athlete:kramer) && !muted' \\\n"
        "    -d '{\"athlete\":\"Kramer\"}' '%s/%s/messages?api-version=2020-06'\n\n",
        given.key.c_str(), hub.url().c_str(), hub.ca_file().c_str(), given.key_name.c_str(),
        hub.url().c_str(), std::string(DevHub::hub_name).c_str());
    std::fflush(stdout);
}

}  // namespace

int dev_main(int argc, char** argv) {
    CLI::App app("A hub, simulators of all providers and seeded devices, for trying things out.",
                 "pushhub dev");
    DevOptions options;
    std::uint32_t devices = 1'000;
    fs::path env_file;
    app.add_option("--data-dir", options.data_dir,
                   "everything lives here; default: pushhub-dev-<pid> under the current directory");
    app.add_option("--devices", devices, "devices to register")->check(CLI::Range(0, 10'000'000));
    app.add_option("--port", options.port, "TLS port of the hub; 0 = any free");
    app.add_option("--env-file", env_file,
                   "written when everything is ready, for scripts to source");
    app.add_option("--log-level", options.log_level, "debug, info, warn, error or off");
    if (const auto ended = pns::sim::read_arguments(app, argc, argv)) return *ended;
    if (options.data_dir.empty()) options.data_dir = "pushhub-dev-" + std::to_string(::getpid());
    try {
        StopSignal stop;
        const DevHub hub(options);
        if (devices > 0) {
            HubClient client(hub.connection_string(), hub.ca_file(), client_connections);
            register_devices(client, std::string(DevHub::hub_name), WinterGames(devices));
        }
        introduce(hub, fs::absolute(options.data_dir));
        if (!env_file.empty()) write_env_file(env_file, hub);
        stop.wait();
        std::puts("stopping");
    } catch (const std::invalid_argument& wrong) {
        std::fprintf(stderr, "pushhub dev: %s\n", wrong.what());
        return pns::exit_usage;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "pushhub dev: %s\n", error.what());
        return pns::exit_failed;
    }
    return pns::exit_done;
}

}  // namespace hub
