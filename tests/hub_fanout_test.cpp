// The whole way of a send: a hub, real TLS, four simulated providers, and what the registry says
// afterwards.

#include "hub/fanout.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>

#include "bench/client.hpp"
#include "bench/hub_setup.hpp"
#include "bench/telemetry.hpp"
#include "hub/service.hpp"
#include "pns/sim/certificate.hpp"
#include "pns/sim/simulator.hpp"

namespace {

using bench::ClientReply;
using bench::ClientRequest;
using pns::sim::Act;
using pns::sim::Behaviour;

constexpr double wait_s = 60;
const std::vector<std::string> all_platforms{"apns", "fcmv1", "wns", "adm"};

/// A hub named "app" and a simulator per provider, under one throw-away directory.
class World {
  public:
    World() {
        static int count = 0;
        directory_ = std::filesystem::temp_directory_path() /
                     ("pushhub-fanout-" + std::to_string(getpid()) + "-" + std::to_string(count++));
        std::filesystem::create_directories(directory_);
        const auto ca = pns::sim::make_ca("pushhub test");
        std::ofstream(directory_ / "providers.pem") << ca.certificate_pem;
        for (const std::string& platform : all_platforms) {
            auto made = pns::sim::make_credential(platform);
            const auto leaf = pns::sim::make_leaf(ca, pns::sim::host_names(platform));
            pns::sim::SimOptions options;
            options.platform = platform;
            options.trust = made.trust;
            options.certificate_pem = leaf.certificate_pem;
            options.key_pem = leaf.key_pem;
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
        bench::put_hub(*client_, "app", credentials_);
    }
    ~World() {
        stop();
        std::filesystem::remove_all(directory_);
    }

    void start() {
        std::string why;
        service_ = hub::Service::start(config_, why);
        INFO(why);
        REQUIRE(service_);
        client_ = std::make_unique<bench::HubClient>(service_->connection_string(),
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
        std::vector<std::pair<std::string, std::string>> headers{
            {"servicebusnotification-format", format}};
        if (!tags.empty()) headers.emplace_back("servicebusnotification-tags", tags);
        if (!delivery.empty()) headers.emplace_back("pushhub-delivery", delivery);
        const auto reply = call("POST", "/app/messages", body, std::move(headers));
        INFO(reply.body);
        REQUIRE(reply.status == 201);
        std::string id(reply.header("location"));
        id = id.substr(0, id.find('?'));
        return id.substr(id.rfind('/') + 1);
    }
    bench::Telemetry finish(const std::string& id) {
        return bench::wait_until_final(*client_, "app", id, wait_s);
    }
    bool expired(const std::string& id) {
        return call("GET", "/app/installations/" + id).body.find(R"("pushChannelExpired":true)") !=
               std::string::npos;
    }
    void check_registry() {
        const auto hub = service_->parts().hubs.find("app");
        CHECK(service_->parts().registry.verify(hub->row.number).empty());
    }

    pns::sim::Simulator& sim(const std::string& platform) { return *sims_.at(platform); }
    hub::Service& service() { return *service_; }
    hub::Config& config() { return config_; }

  private:
    std::filesystem::path directory_;
    hub::Config config_;
    std::map<std::string, std::unique_ptr<pns::sim::Simulator>> sims_;
    std::vector<pns::Credential> credentials_;
    std::unique_ptr<hub::Service> service_;
    std::unique_ptr<bench::HubClient> client_;
};

std::string handle_of(const std::string& platform, int i) {
    char hex[17];
    std::snprintf(hex, sizeof hex, "%016X", i);
    if (platform == "apns") return std::string(48, 'A') + hex;
    if (platform == "wns") return std::string("https://db5.notify.windows.com/?token=") + hex;
    if (platform == "adm") return std::string("amzn1.adm-registration.v3.") + hex;
    return std::string("fcm") + hex + ":APA91bExample";
}

std::string id_of(const std::string& platform, int i) {
    return platform + "-" + std::to_string(i);
}

const std::string apple_body = R"({"aps":{"alert":"hello"}})";
const std::string with_template =
    R"("tags":["all"],"templates":{"t":{"body":"{\"aps\":{\"alert\":\"$(text)\"}}"}})";

std::string template_of(const std::string& platform) {
    if (platform == "apns") return with_template;
    if (platform == "fcmv1") {
        return R"("tags":["all"],"templates":{"t":{"body":"{\"message\":{\"data\":{\"m\":\"$(text)\"}}}"}})";
    }
    if (platform == "adm")
        return R"("tags":["all"],"templates":{"t":{"body":"{\"data\":{\"m\":\"$(text)\"}}"}})";
    return R"("tags":["all"],"templates":{"t":{"headers":{"X-WNS-Type":"wns/toast"},"body":"<toast><visual><binding template=\"ToastText01\"><text id=\"1\">$(text)</text></binding></visual></toast>"}})";
}

std::multiset<std::string> accepted(World& world, const std::string& platform) {
    std::multiset<std::string> handles;
    for (const auto& entry : world.sim(platform).entries(true)) handles.insert(entry.handle);
    return handles;
}

}  // namespace

TEST_CASE("a template send reaches every living device once and prunes the dead", "[hub]") {
    World world;
    constexpr int per_platform = 60, dead_per_platform = 6;
    for (const auto& platform : all_platforms) {
        pns::sim::Rules rules;
        for (int i = 0; i < per_platform; ++i) {
            world.install(id_of(platform, i), platform, handle_of(platform, i),
                          template_of(platform));
            if (i < dead_per_platform) {
                Behaviour gone;
                gone.act = Act::gone;
                rules.handles[handle_of(platform, i)] = gone;
            }
        }
        world.sim(platform).set_rules(rules);
    }
    const auto told = world.finish(world.send("template", "all && !nobody", R"({"text":"Storm"})"));
    CHECK(told.state == "Completed");
    CHECK(told.devices() == per_platform * all_platforms.size());
    CHECK(told.devices("Success") == (per_platform - dead_per_platform) * all_platforms.size());
    for (const auto& platform : all_platforms) {
        INFO(platform);
        const auto received = accepted(world, platform);
        CHECK(received.size() == per_platform - dead_per_platform);
        CHECK(std::set(received.begin(), received.end()).size() == received.size());
        CHECK(world.sim(platform).counters().doubles == 0);
        for (int i = 0; i < per_platform; ++i) {
            CHECK(world.expired(id_of(platform, i)) == (i < dead_per_platform));
            CHECK(received.count(handle_of(platform, i)) == (i < dead_per_platform ? 0u : 1u));
        }
    }
    // The dead are not selected any more.
    const auto again = world.finish(world.send("template", "all", R"({"text":"Again"})"));
    CHECK(again.devices() == (per_platform - dead_per_platform) * all_platforms.size());
    CHECK(again.devices("Success") == again.devices());
    world.check_registry();
}

TEST_CASE("a native send counts what each device's provider said", "[hub]") {
    World world;
    for (int i = 0; i < 12; ++i) world.install(id_of("apns", i), "apns", handle_of("apns", i));
    pns::sim::Rules rules;
    Behaviour fails_once, bad;
    fails_once.act = Act::unavailable;
    fails_once.times = 1;
    bad.act = Act::answer;
    bad.status = 400;
    bad.reason = "BadCollapseId";
    rules.handles[handle_of("apns", 1)] = fails_once;
    rules.handles[handle_of("apns", 2)] = bad;
    world.sim("apns").set_rules(rules);
    const auto told = world.finish(world.send("apple", "all", apple_body));
    CHECK(told.devices() == 12);
    CHECK(told.devices("Success") == 11);
    CHECK(accepted(world, "apns").count(handle_of("apns", 1)) == 1);
    CHECK_FALSE(world.expired(id_of("apns", 2)));
}

TEST_CASE("nobody there, no credentials and no sender end in honest outcomes", "[hub]") {
    World world;
    CHECK(world.finish(world.send("apple", "nobody", apple_body)).state == "NoTargetFound");
    bench::put_hub(*std::make_unique<bench::HubClient>(world.service().connection_string(),
                                                       world.service().ca_file().string()),
                   "bare", {});
    const std::string installation = R"({"installationId":"x","platform":"apns","pushChannel":")" +
                                     handle_of("apns", 1) + R"("})";
    REQUIRE(world.call("PUT", "/bare/installations/x", installation).status == 200);
    const auto reply = world.call("POST", "/bare/messages", apple_body,
                                  {{"servicebusnotification-format", "apple"}});
    REQUIRE(reply.status == 201);
    std::string id(reply.header("location"));
    id = id.substr(0, id.find('?'));
    bench::HubClient client(world.service().connection_string(),
                            world.service().ca_file().string());
    CHECK(bench::wait_until_final(client, "bare", id.substr(id.rfind('/') + 1), wait_s)
              .devices("InvalidCredentials") == 1);

    world.install("old", "gcm", "legacy-token-1");
    CHECK(
        world.finish(world.send("gcm", "", R"({"data":{"a":"b"}})")).devices("PnsInterfaceError") ==
        1);
}

TEST_CASE("of native registrations with one handle a single one gets the push", "[hub]") {
    World world;
    for (int i = 0; i < 5; ++i)
        world.install("same-" + std::to_string(i), "apns", handle_of("apns", 7));
    world.install("other", "apns", handle_of("apns", 8));
    const auto told = world.finish(world.send("apple", "all", apple_body));
    CHECK(told.devices("Success") == 2);
    CHECK(told.devices("Skipped") == 4);
    CHECK(accepted(world, "apns").count(handle_of("apns", 7)) == 1);
}

TEST_CASE("a send goes on after a restart and misses nobody", "[hub]") {
    World world;
    constexpr int devices = 40, silent = 10;
    pns::sim::Rules rules;
    for (int i = 0; i < devices; ++i) {
        world.install(id_of("apns", i), "apns", handle_of("apns", i));
        if (i >= silent) continue;
        Behaviour never;
        never.act = Act::never;
        rules.handles[handle_of("apns", i)] = never;
    }
    world.sim("apns").set_rules(rules);
    const auto id = world.send("apple", "all", apple_body);
    world.stop();
    world.sim("apns").set_rules({});
    world.start();
    const auto told = world.finish(id);
    CHECK(told.state == "Completed");
    CHECK(told.devices("Success") == devices);
    const auto received = accepted(world, "apns");
    CHECK(std::set(received.begin(), received.end()).size() == devices);
}

TEST_CASE("at most once never doubles over a restart", "[hub]") {
    World world;
    constexpr int devices = 40, silent = 10;
    pns::sim::Rules rules;
    for (int i = 0; i < devices; ++i) {
        world.install(id_of("apns", i), "apns", handle_of("apns", i));
        if (i >= silent) continue;
        Behaviour never;
        never.act = Act::never;
        rules.handles[handle_of("apns", i)] = never;
    }
    world.sim("apns").set_rules(rules);
    const auto id = world.send("apple", "all", apple_body, "at-most-once");
    while (world.sim("apns").counters().received < devices) std::this_thread::yield();
    world.stop();
    world.sim("apns").set_rules({});
    world.start();
    const auto told = world.finish(id);
    CHECK(told.devices() == devices);
    CHECK(told.devices("Unknown") == silent);
    CHECK(told.devices("Success") == devices - silent);
    CHECK(world.sim("apns").counters().received == devices);
}

TEST_CASE("a new credential takes effect without a restart", "[hub]") {
    World world;
    world.install("one", "apns", handle_of("apns", 1));
    CHECK(world.finish(world.send("apple", "", apple_body)).devices("Success") == 1);
    auto wrong = pns::sim::make_credential("apns");
    bench::HubClient client(world.service().connection_string(),
                            world.service().ca_file().string());
    bench::put_hub(client, "app", {wrong.credential});
    CHECK(world.finish(world.send("apple", "", apple_body)).devices("InvalidCredentials") == 1);
    CHECK_FALSE(world.expired("one"));
}
