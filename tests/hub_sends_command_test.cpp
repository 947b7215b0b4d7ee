// `pushhub sends` as it is called: which hub it speaks to, and with what it ends.

#include <catch2/catch.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "hub/cli/dev.hpp"
#include "hub/cli/hub_address.hpp"
#include "hub/cli/sends_watch.hpp"
#include "hub/service.hpp"
#include "pns/exit_code.hpp"
#include "pns/sim/simulator.hpp"
#include "tests/support/world.hpp"

namespace {

using hub::HubArguments;
using pns::sim::Act;
using support::World;

int run(int (*verb)(int, char**), std::vector<std::string> arguments) {
    std::vector<char*> pointers;
    for (std::string& one : arguments) pointers.push_back(one.data());
    return verb(static_cast<int>(pointers.size()), pointers.data());
}

int sends(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "sends");
    return run(hub::sends_main, std::move(arguments));
}

/// Sets variables of the environment for as long as it lives.
class Environment {
  public:
    explicit Environment(std::map<std::string, std::string> values) : values_(std::move(values)) {
        for (const auto& [name, value] : values_) ::setenv(name.c_str(), value.c_str(), 1);
    }
    ~Environment() {
        for (const auto& [name, value] : values_) ::unsetenv(name.c_str());
    }
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;

  private:
    std::map<std::string, std::string> values_;
};

const std::string flagged = "Endpoint=sb://flag.test:1/;SharedAccessKeyName=f;SharedAccessKey=fk";
const std::string ambient = "endpoint=sb://env.test/;sharedaccesskeyname=e;sharedaccesskey=ek";

}  // namespace

TEST_CASE("a flag beats the environment, whichever of several says the same", "[hub]") {
    const HubArguments environment{"http://url.test:5/there", ambient, "hub", std::nullopt};
    struct Case {
        HubArguments flags;
        std::string url, hub, rule;
    };
    const std::vector<Case> cases{
        {{}, "http://url.test:5", "hub", "e"},
        {{{}, flagged, {}, {}}, "https://flag.test:1", "hub", "f"},
        {{"https://[::1]:7/x/", {}, {}, {}}, "https://[::1]:7", "x", "e"},
        {{"https://u", flagged, "y", {}}, "https://u", "y", "f"},
        {{"HTTP://u:80", {}, {}, {}}, "http://u:80", "hub", "e"},
        {{{}, "SharedAccessKeyName=f;SharedAccessKey=fk", {}, {}}, "http://url.test:5", "hub", "f"},
    };
    for (const Case& c : cases) {
        const auto target = hub::hub_target(c.flags, environment);
        CHECK(target.url == c.url);
        CHECK(target.hub == c.hub);
        CHECK(target.rule == c.rule);
        CHECK(target.key == c.rule + "k");
    }
    const std::string none = "/no/such/file.pem";
    const std::vector<HubArguments> wrong{
        {{}, "Endpoint=sb://h/", {}, {}},            // no key
        {"ftp://h/x", flagged, {}, {}},              // no scheme of ours
        {"h/x", flagged, {}, {}},                    //
        {"https:///x", flagged, {}, {}},             //
        {"https://h", flagged, {}, {}},              // no hub
        {"https://h/x/y", flagged, {}, {}},          //
        {"https://h/x", flagged, "z", {}},           // two hubs
        {"https://h/x", flagged, {}, none},          // not readable
        {"https://h/x", flagged, {}, "/"},           //
        {"https://h/x", flagged, {}, "/dev/null"},   // no certificate
        {"http://h/x", flagged, {}, "/etc/passwd"},  // has no meaning
    };
    for (const HubArguments& flags : wrong)
        CHECK_THROWS_AS(hub::hub_target(flags, {}), std::invalid_argument);
    CHECK_THROWS_AS(hub::hub_target({}, {"https://h/x", flagged, {}, none}), std::invalid_argument);
    CHECK_THROWS_AS(hub::hub_target({}, {}), std::invalid_argument);
    // The variable of a script that is not set leads to no other hub.
    const std::vector<std::pair<HubArguments, std::string>> blank{
        {{"", {}, {}, {}}, "--url"},
        {{" ", {}, {}, {}}, "--url"},
        {{{}, "", {}, {}}, "--connection"},
        {{{}, {}, "", {}}, "--hub"},
        {{{}, {}, {}, ""}, "--ca-file"}};
    for (const auto& [flags, name] : blank) {
        CHECK_THROWS_WITH(hub::hub_target(flags, environment),
                          Catch::Contains(name) && Catch::Contains("is blank"));
    }
    CHECK(hub::HubUrl::parse("sb://[::1]:8443/").host == "::1");
}

TEST_CASE("every verb ends with the codes that the documents list", "[hub]") {
    for (const auto verb : {hub::sends_main, hub::dev_main, hub::serve_main, pns::sim::sim_main}) {
        CHECK(run(verb, {"verb", "--help"}) == pns::exit_done);
        CHECK(run(verb, {"verb", "--no-such-flag"}) == pns::exit_usage);
    }
    CHECK(run(hub::dev_main, {"dev", "--devices", "many"}) == pns::exit_usage);
    CHECK(run(pns::sim::sim_main, {"sim", "apns", "--latency", "soon"}) == pns::exit_usage);
    CHECK(run(pns::sim::sim_main, {"sim", "apns", "--rules", "/dev/null"}) == pns::exit_usage);
    CHECK(sends({}) == pns::exit_usage);
    CHECK(sends({"watch"}) == pns::exit_usage);

    hub::Config config;
    config.listen_plain = "127.0.0.1:0";
    World world(config, {"apns"});
    for (int i = 0; i < 3; ++i)
        world.install(support::id_of("apns", i), "apns", support::handle_of("apns", i));
    const std::string good = world.service().connection_string();
    const std::string ca = world.service().ca_file().string();
    const std::string id = world.send("apple", "all", support::apple_body);
    world.finish(id);
    const Environment environment({
        {"PUSHHUB_CONNECTION_STRING",
         "Endpoint=sb://127.0.0.1:1/;SharedAccessKeyName=x;SharedAccessKey=wrong"},
        {"PUSHHUB_HUB", "app"},
        {"PUSHHUB_CA_FILE", ca},
    });
    CHECK(sends({"list"}) == pns::exit_unreachable);
    CHECK(sends({"list", "--connection-string", good}) == pns::exit_done);
    CHECK(sends({"show", id, "--connection-string", good}) == pns::exit_done);
    CHECK(sends({"show", id, "--connection-string", good, "--hub", "no"}) == pns::exit_failed);
    CHECK(sends({"cancel", id, "--connection-string", good}) == pns::exit_failed);
    CHECK(sends({"watch", "NH-none", "--connection-string", good}) == pns::exit_failed);
    CHECK(sends({"watch", id, "--connection-string", good}) == pns::exit_done);
    CHECK(sends({"list", "--connection-string", good, "--ca-file", "/no/such"}) == pns::exit_usage);
    const std::string plain = "http://127.0.0.1:" + std::to_string(world.service().plain_port());
    CHECK(sends({"list", "--connection-string", good, "--url", plain}) == pns::exit_done);
    const std::string tls = "https://127.0.0.1:" + std::to_string(world.service().plain_port());
    CHECK(sends({"list", "--connection-string", good, "--url", tls}) == pns::exit_unreachable);

    pns::sim::Behaviour bad;
    bad.act = Act::bad_handle;
    pns::sim::Rules rules;
    for (int i = 0; i < 3; ++i) rules.handles[support::handle_of("apns", i)] = bad;
    world.sim("apns").set_rules(rules);
    const std::string lost = world.send("apple", "all", support::apple_body);
    world.finish(lost);
    CHECK(sends({"watch", lost, "--connection-string", good}) == pns::exit_undelivered);
}
