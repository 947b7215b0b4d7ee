#include "hub/process/config.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

using hub::Config;
using hub::Ended;
using hub::Settings;

namespace {

/// A file that is removed with the object.
struct File {
    explicit File(const std::string& text) {
        path = std::filesystem::temp_directory_path() /
               ("pushhub_config_" + std::to_string(::getpid()) + ".toml");
        std::ofstream(path) << text;
    }
    ~File() { std::filesystem::remove(path); }
    std::filesystem::path path;
};

struct Variable {
    Variable(const char* n, const char* value) : name(n) { ::setenv(n, value, 1); }
    ~Variable() { ::unsetenv(name); }
    const char* name;
};

Config taken(const std::vector<std::string>& args) {
    const auto read = hub::read_settings(args);
    if (const auto* ended = std::get_if<Ended>(&read)) FAIL(ended->text);
    return std::get<Settings>(read).config;
}

std::string refusal(const std::vector<std::string>& args) {
    const auto read = hub::read_settings(args);
    REQUIRE(std::holds_alternative<Ended>(read));
    const auto& ended = std::get<Ended>(read);
    CHECK(ended.exit_code == 2);
    return ended.text;
}

bool mentions(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a setting comes from flag, environment, file or default, in this order", "[hub]") {
    const File file(
        "lanes = 3\nstore_threads = 5\nlisten = \"127.0.0.1:0\"\n"
        "host_names = [\"a.example\", \"b.example\"]\nroot_key = \"0123456789abcdef==\"\n");
    const Variable environment("PUSHHUB_LANES", "4");
    const std::vector<std::string> with_file{"--config", file.path.string()};
    auto config = taken(with_file);
    CHECK(config.lanes == 4);
    CHECK(config.store_threads == 5);
    CHECK(config.listen == "127.0.0.1:0");
    CHECK(config.host_names == std::vector<std::string>{"a.example", "b.example"});
    CHECK(config.root_key == "0123456789abcdef==");
    CHECK(config.partitions == Config().partitions);

    config = taken({"--config", file.path.string(), "--lanes", "6"});
    CHECK(config.lanes == 6);
    CHECK(taken({"--lanes=7"}).lanes == 7);
    CHECK(taken({"--host-names", "x.example,y.example"}).host_names.size() == 2);
    CHECK(taken({"--host-names=x.example", "--host-names=y.example"}).host_names.size() == 2);
}

TEST_CASE("the environment can set every kind of key", "[hub]") {
    const Variable names("PUSHHUB_HOST_NAMES", "a.example,b.example");
    const Variable folder("PUSHHUB_DATA_DIR", "/tmp/some where");
    const Variable empty("PUSHHUB_LOG_LEVEL", "");
    const auto config = taken({});
    CHECK(config.host_names.size() == 2);
    CHECK(config.data_dir == "/tmp/some where");
    CHECK(config.log_level == "info");
}

TEST_CASE("a wrong setting is refused in one line with key, value and what is right", "[hub]") {
    struct Row {
        std::string flag, key, right;
    };
    const std::vector<Row> rows{
        {"--lanes=many", "lanes = \"many\"", "from 0 to 256"},
        {"--lanes=-1", "lanes = \"-1\"", "from 0 to 256"},
        {"--lanes=257", "lanes = \"257\"", "from 0 to 256"},
        {"--partitions=0", "partitions = \"0\"", "from 1 to 1024"},
        {"--drain-ms-max=1.5", "drain_ms_max = \"1.5\"", "whole number"},
        {"--drain-ms-max=99999999999999999999", "drain_ms_max", "whole number"},
        {"--listen=8443", "listen = \"8443\"", "ADDRESS:PORT"},
        {"--listen=localhost:8443", "listen = \"localhost:8443\"", "literal address"},
        {"--listen=127.0.0.1:65536", "listen", "ADDRESS:PORT"},
        {"--listen=::1:80", "listen", "[::1]:0"},
        {"--listen-plain=0.0.0.0:80", "listen_plain = \"0.0.0.0:80\"", "loopback"},
        {"--listen-plain=10.0.0.1:80", "listen_plain", "loopback"},
        {"--tls-cert-file=/nonexistent", "tls_cert_file", "can be read"},
        {"--tls-key-file=/dev/null", "tls_key_file", "together"},
        {"--host-names=https://x", "host_names = \"https://x\"", "without scheme"},
        {"--root-key-name=a;b", "root_key_name", "without blank"},
        {"--connect-to=nowhere", "connect_to = \"nowhere\"", "HOST:PORT=ADDRESS:PORT"},
        {"--connect-to=a:1=b:99999", "connect_to", "HOST:PORT=ADDRESS:PORT"},
        {"--log-level=loud", "log_level = \"loud\"", "debug, info, warn, error or off"},
        {"--log-format=xml", "log_format", "text or json"},
        {"--provider-ca-file=/nonexistent", "provider_ca_file", "can be read"},
        {"--data-dir=", "data-dir", ""},
        {"--no-such-flag=1", "no-such-flag", ""},
    };
    for (const auto& row : rows) {
        const auto text = refusal({row.flag});
        INFO(row.flag << " -> " << text);
        CHECK(mentions(text, row.key));
        CHECK(mentions(text, row.right));
    }
    const auto secret = refusal({"--root-key=short"});
    CHECK(mentions(secret, "root_key = \"***\""));
    CHECK_FALSE(mentions(secret, "short"));
}

TEST_CASE("a file with an unknown key or bad text is refused, naming it", "[hub]") {
    struct Row {
        std::string text, mention;
    };
    const std::vector<Row> rows{
        {"lanse = 3\n", "lanse"},
        {"[server]\nlanes = 3\n", "server"},
        {"lanes = \"many\"\n", "lanes = \"many\""},
        {"listen = [\"127.0.0.1:0\", \"127.0.0.1:1\"]\n", "listen"},
    };
    for (const auto& row : rows) {
        const File file(row.text);
        const auto text = refusal({"--config", file.path.string()});
        INFO(row.text << " -> " << text);
        CHECK(mentions(text, row.mention));
        CHECK_FALSE(mentions(text, "\n"));
    }
    CHECK(mentions(refusal({"--config", "/nonexistent.toml"}), "/nonexistent.toml"));
}

TEST_CASE("printed settings read back as they were, without secrets", "[hub]") {
    Config config;
    config.lanes = 12;
    config.data_dir = "/var/lib/push hub";
    config.host_names = {"a.example", "b.example"};
    config.connect_to = {"api.push.apple.com:443=127.0.0.1:9000"};
    config.root_key_name = "quote\"back\\slash";
    config.log_format = "json";
    CHECK(mentions(hub::print_config(config), "root_key = \"\""));
    config.root_key = "a very secret key indeed";
    const auto printed = hub::print_config(config);
    CHECK(mentions(printed, "root_key = \"***\""));
    CHECK_FALSE(mentions(printed, "a very secret"));

    config.root_key.clear();
    config.root_key_name = "plain";
    const File file(hub::print_config(config));
    const auto read = taken({"--config", file.path.string()});
    CHECK(hub::print_config(read) == hub::print_config(config));
    CHECK(read.connect_to == config.connect_to);
}

TEST_CASE("defaults are sound and help tells every key", "[hub]") {
    CHECK(hub::check_config(Config()).empty());
    const auto read = hub::read_settings({"--help"});
    const auto& ended = std::get<Ended>(read);
    CHECK(ended.exit_code == 0);
    for (const char* flag : {"--data-dir", "--listen", "--sas-clock-skew-s", "--log-format"}) {
        CHECK(mentions(ended.text, flag));
    }
    const auto asked = hub::read_settings({"--check-config", "--print-config"});
    CHECK(std::get<Settings>(asked).check_only);
    CHECK(std::get<Settings>(asked).print_config);
}

TEST_CASE("a switch is true or false and nothing else", "[hub]") {
    const File file("gcm_through_fcmv1 = true\n");
    CHECK_FALSE(taken({}).gcm_through_fcmv1);
    CHECK(taken({"--config", file.path.string()}).gcm_through_fcmv1);
    CHECK_FALSE(
        taken({"--config", file.path.string(), "--gcm-through-fcmv1=false"}).gcm_through_fcmv1);
    CHECK(mentions(refusal({"--gcm-through-fcmv1=1"}), "must be true or false"));
    Config config;
    config.gcm_through_fcmv1 = true;
    CHECK(mentions(hub::print_config(config), "\ngcm_through_fcmv1 = true\n"));
}
