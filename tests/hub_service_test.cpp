// The whole service in this process, black box over TLS: start, credentials, rights, stop, start
// again.

#include "hub/service.hpp"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "hub/access/sas.hpp"
#include "hub/api/parts.hpp"
#include "hub/process/log.hpp"
#include "hub/process/metrics.hpp"
#include "pns/clock.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/registry_fixture.hpp"
#include "tests/support/world.hpp"

namespace {

/// How many threads the system still gives to this process; below zero: as many as it likes.
std::atomic<int> threads_left = -1;

}  // namespace

/// In place of the C library's, of this whole program.
extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                              void* (*run)(void*), void* argument) noexcept {
    using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
    static const auto create = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create"));
    if (threads_left >= 0 && threads_left.fetch_sub(1) <= 0) {
        threads_left = 0;
        return EAGAIN;
    }
    return create(thread, attributes, run, argument);
}

namespace {

namespace fs = std::filesystem;
using support::Answer;
using support::H1Client;

/// A directory that is removed with the object.
struct Folder {
    Folder() {
        std::string pattern = (fs::temp_directory_path() / "pushhub_service_XXXXXX").string();
        path = ::mkdtemp(pattern.data());
    }
    ~Folder() {
        std::error_code ignored;
        fs::remove_all(path, ignored);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    fs::path path;
};

hub::Config config_in(const Folder& folder) {
    hub::open_log("off", "text");
    hub::Config config;
    config.data_dir = folder.path / "data";
    config.listen = "127.0.0.1:0";
    config.listen_plain = "127.0.0.1:0";
    config.lanes = 2;
    config.posting_cache_mib = 1;
    config.block_cache_mib = 1;
    config.drain_ms_max = 2'000;
    return config;
}

std::unique_ptr<hub::Service> started(const hub::Config& config) {
    std::string why;
    auto service = hub::Service::start(config, why);
    INFO(why);
    REQUIRE(service);
    return service;
}

H1Client client_of(const hub::Service& service) {
    support::ClientOptions options;
    options.ca_file = service.ca_file().string();
    options.alpn = "http/1.1";
    return H1Client(service.port(), options);
}

support::HeaderList signed_by(const hub::Rule& rule, const std::string& key = {},
                              const std::string& host = "localhost") {
    const auto expiry_s = pns::system_clock().wall_ms() / 1'000 + 600;
    return {{"Authorization", hub::make_sas("https://" + host + "/", rule.name,
                                            key.empty() ? rule.primary_key : key, expiry_s)}};
}

constexpr const char* hub_body =
    R"(<entry xmlns="http://www.w3.org/2005/Atom"><content type="application/xml">)"
    R"(<NotificationHubDescription )"
    R"(xmlns="http://schemas.microsoft.com/netservices/2010/10/servicebus/connect"/>)"
    R"(</content></entry>)";

hub::Rule rule_of(hub::Service& service, const std::string& hub, const std::string& name) {
    const auto state = service.parts().hubs.find(hub);
    REQUIRE(state);
    for (const auto& rule : state->description.rules) {
        if (rule.name == name) return rule;
    }
    FAIL("no rule " + name);
    return {};
}

unsigned mode_of(const fs::path& path) {
    struct stat info {};
    REQUIRE(::stat(path.c_str(), &info) == 0);
    return info.st_mode & 0777;
}

bool says(const Answer& answer, const std::string& text) {
    return answer.body.find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("a first start makes keys and certificates that later starts keep", "[hub]") {
    const Folder folder;
    const auto config = config_in(folder);
    std::string connection_string;
    std::string ca;
    {
        auto service = started(config);
        connection_string = service->connection_string();
        CHECK(service->url() == "https://127.0.0.1:" + std::to_string(service->port()));
        CHECK(connection_string.starts_with("Endpoint=sb://127.0.0.1:"));
        CHECK(mode_of(service->root_key_file()) == 0600);
        for (const char* name : {"ca.key", "server.key"}) {
            CHECK(mode_of(config.data_dir / "tls" / name) == 0600);
        }
        std::getline(std::ifstream(service->ca_file()), ca, '\0');
        auto client = client_of(*service);
        CHECK(client.request("GET", "/healthz").status == 200);
        const auto& root = service->parts().namespace_rules.front();
        CHECK(client.request("PUT", "/orders", signed_by(root), hub_body).status == 201);
        service->stop();
    }
    auto service = started(config);
    const auto key_of = [](const std::string& text) { return text.substr(text.find(";Shared")); };
    CHECK(key_of(service->connection_string()) == key_of(connection_string));
    std::string again;
    std::getline(std::ifstream(service->ca_file()), again, '\0');
    CHECK(again == ca);
    auto client = client_of(*service);
    const auto& root = service->parts().namespace_rules.front();
    CHECK(client.request("GET", "/orders", signed_by(root)).status == 200);
}

TEST_CASE("the process tells how it is", "[hub]") {
    const Folder folder;
    auto service = started(config_in(folder));
    auto client = client_of(*service);
    CHECK(client.request("GET", "/healthz").body == "ok\n");
    CHECK(client.request("GET", "/readyz").body == "ready\n");
    const auto version = nlohmann::json::parse(client.request("GET", "/version").body);
    CHECK(version["name"] == "pushhub");
    const auto page = client.request("GET", "/metrics");
    CHECK(page.header("content-type").starts_with("text/plain; version=0.0.4"));
    for (const char* name : {"pushhub_registrations 0", "pushhub_sends_open 0",
                             "pushhub_connections 1", "pushhub_http_requests_total{"}) {
        INFO(name);
        CHECK(says(page, name));
    }
    support::ClientOptions plain;
    plain.tls = false;
    CHECK(H1Client(service->plain_port(), plain).request("GET", "/readyz").status == 200);
}

TEST_CASE("who may not is refused in the contract's shape", "[hub]") {
    const Folder folder;
    auto service = started(config_in(folder));
    auto client = client_of(*service);
    const auto root = service->parts().namespace_rules.front();
    CHECK(client.request("PUT", "/orders", signed_by(root), hub_body).status == 201);
    const auto listen = rule_of(*service, "orders", "DefaultListenSharedAccessSignature");
    const auto full = rule_of(*service, "orders", "DefaultFullSharedAccessSignature");

    const auto unauthorized = [&](std::string_view target, const support::HeaderList& headers,
                                  const std::string& code) {
        const auto answer = client.request("GET", target, headers);
        INFO(target << " " << answer.body);
        CHECK(answer.status == 401);
        CHECK(says(answer, "<Error><Code>401</Code><Detail>" + code));
        CHECK(says(answer, ".TrackingId:" + answer.header("trackingid")));
    };
    unauthorized("/orders", {}, "MissingToken");
    unauthorized("/orders", {{"Authorization", "Basic x"}}, "MalformedToken");
    unauthorized("/orders", signed_by(full, listen.primary_key), "InvalidSignature");
    unauthorized("/orders", signed_by(full, {}, "elsewhere.example"), "InvalidAudience");
    unauthorized("/", signed_by(full), "InvalidSignature");  // unknown at namespace scope
    unauthorized("/nobody", {}, "MissingToken");
    unauthorized("/nobody", signed_by(full), "InvalidSignature");

    const auto forbidden = [&](std::string_view method, std::string_view target,
                               const hub::Rule& rule) {
        const auto answer = client.request(method, target, signed_by(rule));
        INFO(method << " " << target);
        CHECK(answer.status == 403);
        CHECK(answer.body.empty());
        CHECK(answer.header("retry-after").empty());
        CHECK(answer.header("trackingid").size() == 36);
        CHECK(answer.header("x-ms-correlation-request-id").size() == 36);
    };
    forbidden("POST", "/orders/messages", listen);
    forbidden("GET", "/orders", listen);
    forbidden("GET", "/orders/registrations", listen);
    forbidden("GET", "/orders/tags/a/registrations", listen);
    forbidden("GET", "/orders/messages/NH-1", listen);

    const auto missing = client.request("GET", "/nobody/installations/x", signed_by(root));
    CHECK(missing.status == 404);
    CHECK(says(missing, "No service is hosted at the specified address."));
    CHECK(client.request("GET", "/ORDERS", signed_by(full)).status == 200);
    CHECK(client.request("GET", "/", signed_by(root)).status == 200);
    CHECK(client.request("GET", "/$Resources/NotificationHubs/?$skip=0", signed_by(root)).status ==
          200);
    const auto filtered = client.request(
        "GET", "/orders/registrations?$filter=ChannelUri%20eq%20'abc'", signed_by(listen));
    CHECK(filtered.status == 200);
    CHECK(client.request("GET", "/orders/registrations", signed_by(full)).status == 200);
}

TEST_CASE("a disabled hub refuses its devices and sends, not its management", "[hub]") {
    const Folder folder;
    auto service = started(config_in(folder));
    auto client = client_of(*service);
    const auto root = service->parts().namespace_rules.front();
    CHECK(client.request("PUT", "/orders", signed_by(root), hub_body).status == 201);
    const auto state = service->parts().hubs.find("orders");
    auto description = state->description;
    description.disabled = true;
    service->parts().hubs.put(state->row, description);
    for (const char* target : {"/orders/registrations", "/orders/installations/x"}) {
        const auto answer = client.request("GET", target, signed_by(root));
        CHECK(answer.status == 403);
        CHECK(says(answer, "The notification hub is disabled."));
    }
    CHECK(client.request("GET", "/orders", signed_by(root)).status == 200);
}

TEST_CASE("a start that gets too few threads says so and leaves nothing behind", "[hub]") {
    const Folder other, folder;
    const auto first = started(config_in(other));  // RocksDB has the threads it shares
    const auto config = config_in(folder);
    int refusals = 0;
    for (;; ++refusals) {
        REQUIRE(refusals < 100);
        threads_left = refusals;
        std::string why;
        const auto service = hub::Service::start(config, why);
        threads_left = -1;
        if (service) break;
        INFO(why);
        CHECK(why.find("the system gives no more threads") != std::string::npos);
    }
    CHECK(refusals > 6);  // writer, lanes, store threads, feedback, trace, jobs
}

TEST_CASE("what ended while the hub was away is removed soon after it starts", "[hub]") {
    const Folder folder;
    const auto config = config_in(folder);
    {
        const auto service = started(config);
        auto& registry = service->parts().registry;
        const auto root = signed_by(service->parts().namespace_rules.front());
        REQUIRE(client_of(*service).request("PUT", "/orders", root, hub_body).status == 201);
        const auto hub = service->parts().hubs.find("orders")->row.number;
        auto ended = registry_test::registration("1-1-1", "handle", {"red"});
        ended.expires_at_ms = pns::system_clock().wall_ms() - 3'600'000;
        REQUIRE(registry_test::wait<registry::Registration>([&](auto done) {
                    registry.put_registration(hub, ended, {}, done);
                }).has_value());
    }
    const auto service = started(config);
    auto client = client_of(*service);
    CHECK(support::comes_true([&] {
        REQUIRE(client.request("GET", "/healthz").status == 200);
        return service->parts().registry.figures().registrations == 0;
    }));
}

TEST_CASE("what cannot start says why in one line", "[hub]") {
    const Folder folder;
    const auto config = config_in(folder);
    const auto refused = [](const hub::Config& wrong) {
        std::string why;
        CHECK_FALSE(hub::Service::start(wrong, why));
        CHECK(why.find('\n') == std::string::npos);
        return why;
    };
    {
        auto service = started(config);
        auto same_store = config;
        CHECK_FALSE(refused(same_store).empty());
    }
    auto bad = config;
    bad.listen = "192.0.2.1:443";  // not an address of this machine
    CHECK(refused(bad).find("cannot listen on 192.0.2.1:443") != std::string::npos);
    bad = config;
    bad.lanes = 10'000;
    CHECK(refused(bad).find("lanes") != std::string::npos);
    bad = config;
    const auto text = folder.path / "text";
    std::ofstream(text) << "no certificate";
    bad.tls_cert_file = bad.tls_key_file = text.string();
    CHECK(refused(bad).find("cannot use the certificate " + text.string()) != std::string::npos);
    std::ofstream(config.data_dir / "root.key") << "";
    CHECK(refused(config).find("root.key") != std::string::npos);
}

TEST_CASE("stopping waits for no provider, whatever a handler asked it for", "[hub]") {
    // Takes connections and says nothing.
    boost::asio::io_context loop;
    boost::asio::ip::tcp::acceptor mute(loop, {boost::asio::ip::address_v4::loopback(), 0});
    const std::string mute_at = ":2196=127.0.0.1:" + std::to_string(mute.local_endpoint().port());
    hub::Config settings;
    settings.connect_to = {"api-manage-broadcast.push.apple.com" + mute_at};
    support::World world(settings, {"apns"});
    pns::sim::Rules rules;
    pns::sim::Behaviour never;
    never.act = pns::sim::Act::never;
    rules.shares = {{never, 1.0}};
    world.sim("apns").set_rules(rules);
    world.install("phone", "apns", support::handle_of("apns", 1));
    const auto made = world.send("apple", "all", support::apple_body);
    struct Call {
        const char* alpn;
        std::string method, target, body;
        double at_work;  ///< requests, once this one is; a stream's answer has begun by then
    };
    const std::string events = "/app/sends/" + made + "/events";
    const std::vector<Call> calls{
        {"h2", "GET", events, "", 0},
        {"http/1.1", "GET", events, "", 0},
        {"h2", "POST", "/app/messages?test=true", support::apple_body, 1},
        {"http/1.1", "POST", "/app/messages?test=true", support::apple_body, 2},
        {"h2", "GET", "/app/apns/channels", "", 3},
        {"http/1.1", "GET", "/app/apns/channels", "", 4},
    };
    support::HeaderList headers = signed_by(world.service().parts().namespace_rules.front());
    headers.emplace_back("ServiceBusNotification-Format", "apple");
    const auto make = [&world, &headers](const Call& call) {
        support::ClientOptions options;
        options.ca_file = world.service().ca_file().string();
        options.alpn = call.alpn;
        try {
            if (options.alpn == "h2") {
                hub::HubClient client(world.service().connection_string(), options.ca_file);
                hub::ClientRequest request;
                request.method = call.method;
                request.path = call.target;
                request.body = call.body;
                request.headers = {{"servicebusnotification-format", "apple"}};
                client.call(std::move(request));
            } else {
                H1Client client(world.service().port(), options);
                client.request(call.method, call.target, headers, call.body);
            }
        } catch (const std::exception&) {  // cut off
        }
    };
    const auto at_work = [&world] {
        constexpr std::string_view name = "\npushhub_requests_in_flight ";
        const auto page = world.service().parts().metrics.text();
        return std::stod(page.substr(page.find(name) + name.size()));
    };
    std::vector<std::thread> callers;
    for (const Call& call : calls) {
        callers.emplace_back(make, std::cref(call));
        INFO(call.alpn << ' ' << call.target);
        CHECK(support::comes_true([&] { return at_work() >= call.at_work; }));
    }
    auto stopped = std::async(std::launch::async, [&world] { world.service().stop(); });
    CHECK(stopped.wait_for(std::chrono::seconds(15)) == std::future_status::ready);
    stopped.get();
    for (auto& caller : callers) caller.join();
}
