// The program itself, started as an operator does.

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/process.hpp"
#include "hub/cli/client.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/process/private_file.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/hub_world.hpp"

namespace {

namespace fs = std::filesystem;

/// `pushhub serve` in `folder`, after what a shell does first.
struct Served {
    Served(const fs::path& folder, const std::string& name, std::vector<std::string> arguments,
           const std::string& before = ":")
        : data(folder / name) {
        std::vector<std::string> all{"sh",
                                     "-c",
                                     before + "; exec \"$0\" \"$@\"",
                                     bench::hub_program(),
                                     "serve",
                                     "--data-dir",
                                     data.string(),
                                     "--listen-plain=127.0.0.1:0",
                                     "--lanes=2"};
        all.insert(all.end(), arguments.begin(), arguments.end());
        process = std::make_unique<bench::Process>(all, folder / (name + ".out"));
    }
    bool says(const std::string& text) const {
        return process->output().find(text) != std::string::npos;
    }
    bool ended() const {
        return support::comes_true([this] { return !process->running(); });
    }

    fs::path data;
    std::unique_ptr<bench::Process> process;
};

std::string port_argument(std::uint16_t port) {
    return "--listen=127.0.0.1:" + std::to_string(port);
}

}  // namespace

TEST_CASE("a started hub closes its files, keeps descriptors for its store, owns its port",
          "[hub]") {
    const support::Folder folder;
    const std::uint16_t port = bench::free_port();
    // Made before by others, open to all.
    fs::create_directories(folder.path / "data");
    fs::permissions(folder.path / "data", fs::perms(0755));
    Served hub(folder.path, "data", {port_argument(port)}, "umask 022; ulimit -n 256");
    hub.process->wait_for("pushhub: a new store in ", 60);
    hub.process->wait_for("pushhub " PUSHHUB_VERSION " listens on ", 60);
    CHECK(hub.says("fewer inbound connections than connections_max"));
    for (const auto& entry : fs::recursive_directory_iterator(folder.path / "data")) {
        struct stat info {};
        REQUIRE(::lstat(entry.path().c_str(), &info) == 0);
        INFO(entry.path());
        CHECK((info.st_mode & 077) == 0);
    }
    CHECK(fs::status(folder.path / "data").permissions() == fs::perms(0700));

    const std::string connection =
        "Endpoint=sb://127.0.0.1:" + std::to_string(port) +
        "/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=" +
        hub::read_small_file(hub.data / "root.key");
    hub::HubClient client(connection, (hub.data / "tls" / "ca.pem").string());
    hub::create_hub(client, "orders", {});
    // Strangers that say nothing.
    std::vector<std::unique_ptr<support::Wire>> idle;
    support::ClientOptions plain;
    plain.tls = false;
    for (int i = 0; i < 200; ++i) idle.push_back(std::make_unique<support::Wire>(port, plain));
    for (int i = 0; i < 50; ++i) {
        hub::ClientRequest request;
        request.method = "PUT";
        request.path = "/orders/installations/i" + std::to_string(i);
        request.body = R"({"installationId":"i)" + std::to_string(i) +
                       R"(","platform":"apns","pushChannel":")" + std::string(64, 'A') + "\"}";
        request.headers = {{"content-type", "application/json"}};
        REQUIRE(client.call(std::move(request)).status == 200);
    }
    CHECK(support::comes_true([&hub] { return hub.says("there is no room for all connections"); }));

    Served second(folder.path, "second", {port_argument(port)});
    CHECK(second.ended());
    CHECK(second.says("cannot listen on 127.0.0.1:" + std::to_string(port)));
    CHECK_FALSE(second.says("listens on"));
    idle.clear();
    hub.process->stop();
    CHECK_FALSE(hub.says("input/output error"));
    Served again(folder.path, "data", {port_argument(port)});
    again.process->wait_for("pushhub " PUSHHUB_VERSION " listens on ", 60);
    CHECK_FALSE(again.says("a new store"));
}

TEST_CASE("SIGHUP reads settings again, SIGTERM drains", "[hub]") {
    const support::Folder folder;
    const fs::path file = folder.path / "pushhub.toml";
    std::ofstream(file) << "listen = \"127.0.0.1:0\"\n";
    Served hub(folder.path, "data", {"--config", file.string()});
    hub.process->wait_for("pushhub " PUSHHUB_VERSION " listens on ", 60);
    std::ofstream(file) << "listen = \"127.0.0.1:0\"\nsends_open_max = 7\nlanes = 1\n"
                           "store_threads = 3\n";
    ::kill(hub.process->pid(), SIGHUP);
    CHECK(support::comes_true([&hub] { return hub.says("changed=sends_open_max"); }));
    CHECK(support::comes_true([&hub] { return hub.says("which=store_threads"); }));
    std::ofstream(file) << "sends_open_max = 0\n";
    ::kill(hub.process->pid(), SIGHUP);
    CHECK(support::comes_true([&] { return hub.says(file.filename().string() + ":1"); }));
    CHECK(hub.process->running());
    hub.process->stop();
    CHECK(hub.says("stopping"));
}

TEST_CASE("SIGHUP makes no new keys where those that are in force are missed", "[hub]") {
    const support::Folder folder;
    Served hub(folder.path, "data", {"--listen=127.0.0.1:0"});
    hub.process->wait_for("pushhub " PUSHHUB_VERSION " listens on ", 60);
    for (const std::string file : {"root.key", "tls/ca.pem", "tls/ca.key"}) {
        INFO(file);
        fs::rename(hub.data / file, folder.path / "aside");
        ::kill(hub.process->pid(), SIGHUP);
        CHECK(support::comes_true([&] { return hub.says(file + " is not there"); }));
        CHECK_FALSE(fs::exists(hub.data / file));
        fs::rename(folder.path / "aside", hub.data / file);
    }
    CHECK_FALSE(hub.says("settings are read again"));
    ::kill(hub.process->pid(), SIGHUP);
    CHECK(support::comes_true([&hub] { return hub.says("settings are read again"); }));
    hub.process->stop();
}

TEST_CASE("a verb whose output does not get out has failed", "[hub]") {
    const support::Folder folder;
    const auto code_of = [&folder](const std::string& arguments) {
        bench::Process shell(
            {"sh", "-c", "\"$0\" " + arguments + " >/dev/full; echo code=$?", bench::hub_program()},
            folder.path / "out");
        CHECK(support::comes_true([&] { return !shell.running(); }));
        const std::string said = shell.output();
        return said.substr(said.find("code="));
    };
    for (const std::string arguments :
         {"--help", "--version", "serve --help", "serve --print-config"}) {
        INFO(arguments);
        CHECK(code_of(arguments) == "code=1\n");
    }
    CHECK(code_of("nonsense") == "code=2\n");
}

TEST_CASE("--check-config opens what settings name", "[hub]") {
    const support::Folder folder;
    const auto check = [&folder](std::vector<std::string> arguments, const std::string& before) {
        arguments.emplace_back("--check-config");
        arguments.emplace_back("--listen=127.0.0.1:0");
        Served hub(folder.path, "none", std::move(arguments), before);
        CHECK(hub.ended());
        return hub.process->output();
    };
    const auto has = [](const std::string& text, const std::string& part) {
        INFO(part << " in " << text);
        CHECK(text.find(part) != std::string::npos);
    };
    has(check({}, ":"), "The configuration is sound.");
    CHECK_FALSE(fs::exists(folder.path / "none"));
    std::ofstream(folder.path / "text") << "no PEM";
    const std::string text = (folder.path / "text").string();
    const auto wrong = check({"--tls-cert-file", text, "--tls-key-file", text, "--provider-ca-file",
                              text, "--data-dir", text},
                             "PUSHHUB_LISTEM=x; export PUSHHUB_LISTEM");
    has(wrong, "cannot use the certificate " + text);
    has(wrong, "provider_ca_file = \"" + text + "\": has no PEM certificate");
    has(wrong, "text is no directory");
    has(wrong, "unknown variable \"PUSHHUB_LISTEM\"; the nearest is PUSHHUB_LISTEN");
    CHECK(wrong.find("sound") == std::string::npos);
    // Everything at once, whatever kind it is of.
    const auto all = check({"--log-level=loud", "--provider-ca-file", text, "--data-dir", "/tmp"},
                           "PUSHHUB_LISTEM=x; export PUSHHUB_LISTEM");
    has(all, "log_level = \"loud\"");
    has(all, "has no PEM certificate");
    has(all, "/tmp is shared by all");
    has(all, "unknown variable \"PUSHHUB_LISTEM\"");
    has(check({"--data-dir", "/proc/pushhub"}, ":"), "cannot make a directory in /proc");
}
