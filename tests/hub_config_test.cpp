#include "hub/process/config.hpp"

#include <unistd.h>

#include <algorithm>
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
        {"--listen-plain=10.0.0.1:80", "listen_plain", "listen_plain_public"},
        {"--listen-plain-public=80", "listen_plain_public = \"80\"", "ADDRESS:PORT"},
        {"--admin-listen=host:80", "admin_listen = \"host:80\"", "literal address"},
        {"--closed-pages=metrics,healthz", "closed_pages = \"healthz\"", "openapi.json"},
        {"--root-key-secondary=a;b", "root_key_secondary = \"***\"", "without blank"},
        {"--data-dir=\xFF", "data_dir", "UTF-8"},
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
        {"\nlanse = 3\n", ":2: unknown key \"lanse\"; the nearest is lanes"},
        {"xyzzy = 3\n", ":1: unknown key \"xyzzy\""},
        {"[server]\nlanes = 3\n", ":1: unknown key \"server\""},
        {"lanes = \"many\"\n", ":1: lanes = \"many\": must be a whole number from 0 to 256"},
        {"lanes = \"3\"\n", "without quotes"},
        {"lanes = 3.5\n", "whole number"},
        {"lanes = 257\n", ":1: lanes = \"257\": must be a whole number from 0 to 256"},
        {"gcm_through_fcmv1 = \"true\"\n", "must be true or false, without quotes"},
        {"log_level = 3\n", "must be a text in quotes"},
        {"host_names = \"a.example\"\n", "must be a list of texts"},
        {"host_names = [1, 2]\n", "must be a list of texts"},
        {"listen = [\"127.0.0.1:0\", \"127.0.0.1:1\"]\n", "one value, not a list"},
        {"listen = \"8443\"\n", ":1: listen = \"8443\": must be ADDRESS:PORT"},
        {"lanes = 3\nlanes = 4\n", ":2: no TOML"},
        {"lanes = \n", ":1: no TOML"},
        {"listen = \"127.0.0.1:0\n", ":1: no TOML"},
        {"root_key = \"\\x\"\n", ":1: no TOML"},
        {"root_key = \"abcdef\"\n", ":1: root_key = \"***\""},
    };
    for (const auto& row : rows) {
        const File file(row.text);
        const auto text = refusal({"--config", file.path.string()});
        INFO(row.text << " -> " << text);
        CHECK(mentions(text, row.mention));
        CHECK_FALSE(mentions(text, "\n"));
        CHECK(mentions(text, file.path.string() + ":"));
    }
    CHECK(mentions(refusal({"--config", "/nonexistent.toml"}), "/nonexistent.toml"));
    CHECK(mentions(refusal({"--config", "/"}), "/: cannot be read"));
    CHECK(mentions(refusal({"--lanse=3"}), "the nearest is --lanes"));
    CHECK(mentions(refusal({"serve"}), "\"serve\" is no flag"));
}

TEST_CASE("everything that is wrong is told at once, with its place", "[hub]") {
    const File file("lanse = 3\nlanes = 999\nlisten = \"here\"\nstore_threads = 0\n");
    const Variable environment("PUSHHUB_LOG_FORMAT", "xml");
    const auto text = refusal(
        {"--config", file.path.string(), "--trace=some", "--partitions=0", "--listem=127.0.0.1:0"});
    const std::string path = file.path.string();
    for (const std::string& part :
         {path + ":1: unknown key \"lanse\"", path + ":2: lanes = \"999\"",
          path + ":3: listen = \"here\"", path + ":4: store_threads = \"0\"",
          std::string("PUSHHUB_LOG_FORMAT: log_format = \"xml\""), std::string("trace = \"some\""),
          std::string("partitions = \"0\""),
          std::string("unknown flag \"--listem\"; the nearest is --listen")}) {
        INFO(part << " in " << text);
        CHECK(mentions(text, part));
    }
    CHECK(std::count(text.begin(), text.end(), '\n') == 7);
}

TEST_CASE("a file may use all of TOML", "[hub]") {
    const File file(
        "\xEF\xBB\xBF# a comment\r\n"
        "root_key = \"0123456789abc#d=\\u00e9\\\"\" # and one behind\r\n"
        "namespace_name = 'plain'\n"
        "data_dir = '''/var/lib/it's \\ here'''\n"
        "host_names = [\n    \"a.example\", # first\n    \"b.example\",\n]\n"
        "sends_open_max = 1_024\nstore_threads = 0x10\n\"lanes\" = 2\n"
        "closed_pages = []\n");
    const auto config = taken({"--config", file.path.string()});
    CHECK(config.root_key == "0123456789abc#d=\xC3\xA9\"");
    CHECK(config.namespace_name == "plain");
    CHECK(config.data_dir == "/var/lib/it's \\ here");
    CHECK(config.host_names == std::vector<std::string>{"a.example", "b.example"});
    CHECK(config.sends_open_max == 1'024);
    CHECK(config.store_threads == 16);
    CHECK(config.lanes == 2);
}

TEST_CASE("what a reload may change is changed, and the rest is named", "[hub]") {
    Config running, fresh;
    fresh.requests_per_second_per_key = 7;
    fresh.shutdown_delay_ms = 1'500;
    fresh.log_level = "warn";
    fresh.root_key_secondary = "0123456789abcdef";
    fresh.lanes = 5;
    fresh.host_names = {"a.example"};
    const auto done = hub::reload_config(running, fresh);
    CHECK(done.changed == std::vector<std::string>{"root_key_secondary", "shutdown_delay_ms",
                                                   "requests_per_second_per_key", "log_level"});
    CHECK(done.waiting == std::vector<std::string>{"host_names", "lanes"});
    CHECK(running.requests_per_second_per_key == 7);
    CHECK(running.log_level == "warn");
    CHECK(running.lanes == 0);
    CHECK(hub::reload_config(running, Config(running)).changed.empty());
}

TEST_CASE("blanks around the elements of a list are none of them", "[hub]") {
    const std::vector<std::string> wanted{"games=5", "dev=6"};
    {
        const Variable environment("PUSHHUB_AUDIENCE_CEILINGS", "games=5, dev=6 , ");
        CHECK(taken({}).audience_ceilings == wanted);
    }
    const File file("audience_ceilings = [\" games=5\", \"dev=6\\t\"]\n");
    CHECK(taken({"--config", file.path.string()}).audience_ceilings == wanted);
    CHECK(taken({"--audience-ceilings", "games=5, dev=6"}).audience_ceilings == wanted);
    CHECK(mentions(refusal({"--audience-ceilings", "gam es=5"}), "must be HUB=COUNT"));
    CHECK(mentions(refusal({"--audience-ceilings", "dev=5,Dev=6"}), "another element names"));
}

TEST_CASE("a --config without a file is refused", "[hub]") {
    CHECK(mentions(refusal({"--config", ""}), "--config is blank"));
}

TEST_CASE("a variable that is no setting is named, with what was meant", "[hub]") {
    const Variable typo("PUSHHUB_LISTEM", "x"), of_dev("PUSHHUB_SIM_APNS_URL", "x"),
        of_kubernetes("PUSHHUB_PORT_8443_TCP_ADDR", "x"), service("PUSHHUB_SERVICE_HOST", "x");
    const auto read = hub::read_settings({});
    REQUIRE(std::holds_alternative<Settings>(read));
    const auto& names = std::get<Settings>(read).unknown_variables;
    CHECK(std::count(names.begin(), names.end(),
                     "unknown variable \"PUSHHUB_LISTEM\"; the nearest is PUSHHUB_LISTEN") == 1);
    for (const std::string& name : names) {
        for (const char* other : {"SIM_APNS", "PORT_8443", "SERVICE_HOST"})
            CHECK_FALSE(mentions(name, other));
    }
}

TEST_CASE("printed settings read back as they were, without secrets", "[hub]") {
    Config config;
    config.lanes = 12;
    config.data_dir = "/var/lib/push hub # \"x\" \\ \xC3\xA9 '''\n\t\x7F";
    config.host_names = {"a.example", "b.example"};
    config.connect_to = {"api.push.apple.com:443=127.0.0.1:9000"};
    config.root_key_name = "quote\"back\\slash";
    config.log_format = "json";
    CHECK(mentions(hub::print_config(config), "root_key = \"\""));
    config.root_key = "a very secret key indeed";
    const auto printed = hub::print_config(config);
    CHECK(mentions(printed, "root_key = \"***\""));
    CHECK_FALSE(mentions(printed, "a very secret"));

    const File file(hub::print_config(config));
    const auto read = taken({"--config", file.path.string()});
    CHECK(read.root_key.empty());  // what is not shown is not read as something else
    config.root_key.clear();
    CHECK(hub::print_config(read) == hub::print_config(config));
    CHECK(read.data_dir == config.data_dir);
    CHECK(read.root_key_name == config.root_key_name);
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
