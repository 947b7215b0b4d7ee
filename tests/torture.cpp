// Kills a hub with SIGKILL at random moments while it registers, sends, schedules and prunes,
// starts it again, and compares in the end what it acknowledged with what the simulated providers
// received.
//
// A program of its own: the hub is another process, the simulators live in this one and survive.
// The last line is `N passed, N failed`; the status is 0 if nothing failed.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "bench/client.hpp"
#include "bench/hub_setup.hpp"
#include "bench/process.hpp"
#include "bench/telemetry.hpp"
#include "hub/parts.hpp"
#include "hub/times.hpp"
#include "pns/sim/certificate.hpp"
#include "pns/sim/simulator.hpp"
#include "registry/registry.hpp"

namespace {

using bench::ClientReply;
using bench::ClientRequest;
using Clock = std::chrono::steady_clock;

struct Options {
    std::string pushhub;
    unsigned kills = 20;
    std::uint64_t seed = 1;
    int devices = 300;  ///< of each provider, that never change
    double settle_s = 180;
    bool keep = false;
};

/// Providers whose request body is the message as it was posted.
struct Provider {
    const char* platform;  ///< of the simulator
    const char* format;    ///< of the send
    const char* name;      ///< in an installation
};
constexpr Provider providers[] = {
    {"apns", "apple", "apns"}, {"adm", "adm", "adm"}, {"wns", "windows", "wns"}};

std::string handle_of(std::string_view platform, std::uint64_t number) {
    char hex[17];
    std::snprintf(hex, sizeof hex, "%016llX", static_cast<unsigned long long>(number));
    if (platform == "apns") return std::string(48, 'A') + hex;
    if (platform == "adm") return std::string("amzn1.adm-registration.v3.") + hex;
    return std::string("https://db5.notify.windows.com/?token=") + hex;
}

std::string body_of(std::string_view platform, const std::string& mark) {
    if (platform == "apns") return R"({"aps":{"alert":")" + mark + R"("}})";
    if (platform == "adm")  // with a consolidation key of its own it goes out as it is
        return R"({"data":{"mark":")" + mark + R"("},"consolidationKey":"k"})";
    return mark;  // WNS: raw
}

/// One send that was posted. Without an id its answer never came: it may be there or not.
struct Sent {
    std::string id;
    const Provider* provider = nullptr;
    std::string body;
    bool at_most_once = false;
    bool scheduled = false;
    bool mortal = false;  ///< to the devices that die
};

/// What the hub has told about an installation: the last state it acknowledged, and one it may have
/// taken.
struct Written {
    std::string acknowledged, doubtful;
};

class Torture {
  public:
    explicit Torture(const Options& options)
        : options_(options),
          directory_(std::filesystem::temp_directory_path() /
                     ("pushhub-torture-" + std::to_string(::getpid()))),
          random_(options.seed) {
        std::filesystem::create_directories(directory_);
        const auto ca = pns::sim::make_ca("pushhub torture");
        std::ofstream(directory_ / "providers.pem") << ca.certificate_pem;
        std::string connect_to;
        for (const Provider& provider : providers) {
            const std::string platform = provider.platform;
            auto made = pns::sim::make_credential(platform);
            const auto leaf = pns::sim::make_leaf(ca, pns::sim::host_names(platform));
            pns::sim::SimOptions sim;
            sim.platform = platform;
            sim.trust = made.trust;
            sim.certificate_pem = leaf.certificate_pem;
            sim.key_pem = leaf.key_pem;
            sim.seed = options.seed;
            sim.latency = {pns::sim::Latency::Model::uniform, 1, 30};
            sims_[platform] = std::move(pns::sim::Simulator::start(std::move(sim)).value());
            credentials_.push_back(std::move(made.credential));
            for (const auto& rule : sims_[platform]->connect_to())
                connect_to += (connect_to.empty() ? "" : ",") + rule;
        }
        const std::uint16_t port = bench::free_port(), plain = bench::free_port();
        plain_url_ = "http://127.0.0.1:" + std::to_string(plain);
        command_ = {options.pushhub,
                    "serve",
                    "--data-dir",
                    data().string(),
                    "--listen",
                    "127.0.0.1:" + std::to_string(port),
                    "--listen-plain",
                    "127.0.0.1:" + std::to_string(plain),
                    "--lanes",
                    "2",
                    "--provider-ca-file",
                    (directory_ / "providers.pem").string(),
                    "--connect-to",
                    connect_to,
                    "--checkpoint-ms",
                    "50",
                    "--fanout-chunk-devices",
                    "64",
                    "--log-level",
                    "warn"};
        start();
        std::ifstream key_file(data() / "root.key");
        std::string key;
        std::getline(key_file, key);
        connection_string_ =
            "Endpoint=sb://localhost:" + std::to_string(port) +
            "/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=" + key;
    }

    ~Torture() {
        hub_.reset();
        if (!options_.keep) {
            std::error_code ignored;
            std::filesystem::remove_all(directory_, ignored);
        }
    }

    int run() {
        populate();
        std::vector<std::thread> workers;
        workers.emplace_back([this] { work(1, [this](Worker& w) { post_send(w, false); }); });
        workers.emplace_back([this] { work(2, [this](Worker& w) { post_send(w, true); }); });
        workers.emplace_back([this] { work(3, [this](Worker& w) { put_moving(w); }); });
        workers.emplace_back([this] { work(4, [this](Worker& w) { strike_dead(w); }); });
        for (unsigned kill = 1; kill <= options_.kills; ++kill) {
            const auto wait_ms = std::uniform_int_distribution<int>(20, 1'500)(random_);
            std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
            hub_->kill();
            const double ready_s = start();
            slowest_start_s_ = std::max(slowest_start_s_, ready_s);
            if (kill % 10 == 0 || kill == options_.kills) {
                std::printf(
                    "  kill %u of %u: %zu sends and %zu changes acknowledged, ready after "
                    "%.2f s\n",
                    kill, options_.kills, acknowledged_sends(), changes_.load(), ready_s);
                std::fflush(stdout);
            }
        }
        stopping_ = true;
        for (auto& worker : workers) worker.join();
        check();
        std::printf("seed %llu: %u passed, %u failed\n",
                    static_cast<unsigned long long>(options_.seed), passed_, failed_);
        return failed_ == 0 ? 0 : 1;
    }

  private:
    struct Worker {
        std::mt19937_64 random;
        std::unique_ptr<bench::HubClient> client;
    };

    std::filesystem::path data() const { return directory_ / "hub"; }

    double start() {
        const auto begun = Clock::now();
        const auto elapsed_s = [&] {
            return std::chrono::duration<double>(Clock::now() - begun).count();
        };
        hub_ = std::make_unique<bench::Process>(command_, directory_ / "hub.log");
        while (elapsed_s() < 60) {
            try {
                if (bench::plain_call(plain_url_, "GET", "/readyz").status == 200)
                    return elapsed_s();
            } catch (const std::exception&) {  // not listening yet
            }
            if (!hub_->running()) break;
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        throw std::runtime_error("the hub does not come up: " + hub_->output());
    }

    std::unique_ptr<bench::HubClient> connect() const {
        return std::make_unique<bench::HubClient>(connection_string_,
                                                  (data() / "tls" / "ca.pem").string());
    }

    static std::string installation(const std::string& id, const Provider& provider,
                                    const std::string& handle, const std::string& tags) {
        return R"({"installationId":")" + id + R"(","platform":")" + provider.name +
               R"(","pushChannel":")" + handle + R"(","tags":[")" + tags + R"("]})";
    }

    static ClientRequest put(const std::string& id, std::string body) {
        ClientRequest request;
        request.method = "PUT";
        request.path = "/torture/installations/" + id;
        request.headers = {{"content-type", "application/json"}};
        request.body = std::move(body);
        return request;
    }

    void populate() {
        const auto client = connect();
        bench::put_hub(*client, "torture", credentials_);
        for (const Provider& provider : providers) {
            for (int i = 0; i < options_.devices; ++i) {
                const std::string tail = std::string(provider.platform) + "-" + std::to_string(i);
                const auto number = static_cast<std::uint64_t>(i);
                const auto fixed = client->call(
                    put("f-" + tail, installation("f-" + tail, provider,
                                                  handle_of(provider.platform, number), "fixed")));
                const auto mortal = client->call(
                    put("d-" + tail,
                        installation("d-" + tail, provider,
                                     handle_of(provider.platform, 1'000'000 + number), "mortal")));
                if (fixed.status != 200 || mortal.status != 200)
                    throw std::runtime_error("an installation was refused: " + fixed.body);
            }
        }
    }

    /// Repeats `step` until the end. A request that is lost leaves its record doubtful; the client
    /// connects anew.
    void work(std::uint64_t number, const std::function<void(Worker&)>& step) {
        Worker worker;
        worker.random.seed(options_.seed * 1'000 + number);
        while (!stopping_) {
            try {
                if (!worker.client) worker.client = connect();
                step(worker);
            } catch (const std::exception&) {
                worker.client.reset();
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
            }
        }
    }

    void post_send(Worker& worker, bool scheduled) {
        const Provider& provider = providers[worker.random() % std::size(providers)];
        Sent sent;
        sent.provider = &provider;
        sent.scheduled = scheduled;
        sent.at_most_once = worker.random() % 2 == 0;
        sent.mortal = !scheduled && worker.random() % 4 == 0;
        const std::size_t slot = add_send(sent);
        sent.body = body_of(provider.platform, "send " + std::to_string(slot));
        ClientRequest request;
        request.method = "POST";
        request.path = scheduled ? "/torture/schedulednotifications" : "/torture/messages";
        request.headers = {
            {"servicebusnotification-format", provider.format},
            {"servicebusnotification-tags", sent.mortal ? "mortal" : "fixed"},
            {"pushhub-delivery", sent.at_most_once ? "at-most-once" : "at-least-once"}};
        if (std::string_view(provider.platform) == "wns") {
            request.headers.emplace_back("x-wns-type", "wns/raw");
            request.headers.emplace_back("content-type", "application/octet-stream");
        } else {
            request.headers.emplace_back("content-type", "application/json");
        }
        if (scheduled) {
            const auto in_ms = static_cast<std::int64_t>(worker.random() % 4'000);
            request.headers.emplace_back("servicebusnotification-scheduletime",
                                         hub::iso_seconds(hub::now_ms() + 1'000 + in_ms));
        }
        request.body = sent.body;
        set_send(slot, sent);
        const ClientReply reply = worker.client->call(std::move(request));
        if (reply.status == 429 || reply.status == 503) {
            refused(slot);
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            return;
        }
        if (reply.status != 201) {
            wrong("a send was answered " + std::to_string(reply.status) + ": " + reply.body);
            return;
        }
        std::string id(reply.header("location"));
        id = id.substr(0, id.find('?'));
        sent.id = id.substr(id.rfind('/') + 1);
        set_send(slot, sent);
        std::this_thread::sleep_for(std::chrono::milliseconds(worker.random() % 250));
    }

    void put_moving(Worker& worker) {
        const std::string id = "m-" + std::to_string(worker.random() % 200);
        const Provider& provider = providers[worker.random() % std::size(providers)];
        const std::string tag = "state:" + std::to_string(worker.random() % 1'000'000);
        const std::string body = installation(
            id, provider, handle_of(provider.platform, 2'000'000 + worker.random() % 5'000), tag);
        {
            const std::lock_guard lock(mutex_);
            moving_[id].doubtful = tag;
        }
        const ClientReply reply = worker.client->call(put(id, body));
        const std::lock_guard lock(mutex_);
        if (reply.status == 200) {
            moving_[id] = {tag, {}};
            ++changes_;
        } else if (reply.status == 429 || reply.status == 503) {
            moving_[id].doubtful.clear();
        } else {
            wrong("an installation was answered " + std::to_string(reply.status));
        }
    }

    void strike_dead(Worker& worker) {
        const Provider& provider = providers[worker.random() % std::size(providers)];
        const auto number = static_cast<int>(worker.random() % 1'000'000) % options_.devices;
        // At most a tenth dies, or the gate for bulk retirements holds them back.
        if (number % 10 == 0) {
            const std::lock_guard lock(mutex_);
            if (dead_
                    .emplace(std::string(provider.platform) + "-" + std::to_string(number),
                             &provider)
                    .second) {
                pns::sim::Rules rules;
                pns::sim::Behaviour gone;
                gone.act = pns::sim::Act::gone;
                rules.handles[handle_of(provider.platform,
                                        1'000'000 + static_cast<std::uint64_t>(number))] = gone;
                sims_.at(provider.platform)->add_rules(std::move(rules));
            }
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }

    // --- the record of what was posted ---

    std::size_t add_send(const Sent& sent) {
        const std::lock_guard lock(mutex_);
        sends_.push_back(sent);
        return sends_.size() - 1;
    }
    void set_send(std::size_t slot, const Sent& sent) {
        const std::lock_guard lock(mutex_);
        sends_[slot] = sent;
    }
    void refused(std::size_t slot) {
        const std::lock_guard lock(mutex_);
        sends_[slot].provider = nullptr;
    }
    std::size_t acknowledged_sends() {
        const std::lock_guard lock(mutex_);
        std::size_t count = 0;
        for (const Sent& sent : sends_) count += sent.id.empty() ? 0 : 1;
        return count;
    }

    // --- the verdict ---

    void wrong(const std::string& what) {
        const std::lock_guard lock(print_mutex_);
        if (++failed_ <= 20) std::printf("FAILED: %s\n", what.c_str());
    }
    void expect(bool holds, const std::string& what) {
        if (holds) {
            ++passed_;
        } else {
            wrong(what);
        }
    }

    void check() {
        const auto client = connect();
        post_last_mortal(*client);
        std::unordered_map<std::string, bench::Telemetry> final_states;
        for (const Sent& sent : sends_) {
            if (sent.id.empty()) continue;
            final_states[sent.id] =
                bench::wait_until_final(*client, "torture", sent.id, options_.settle_s);
        }
        // (handle, body) -> times accepted, by provider.
        std::map<std::string,
                 std::unordered_map<std::uint64_t, std::unordered_map<std::string, int>>>
            accepted;
        for (const auto& [platform, sim] : sims_) {
            auto& of_platform = accepted[platform];
            for (const auto& entry : sim->entries(true))
                ++of_platform[entry.body_hash][entry.handle];
        }
        std::uint64_t doubles = 0, pushes = 0, unknown = 0, missing = 0;
        for (const Sent& sent : sends_) {
            if (sent.provider == nullptr) continue;
            const std::string platform = sent.provider->platform;
            const auto& received = accepted[platform][std::hash<std::string_view>()(sent.body)];
            std::uint64_t reached = 0, twice = 0;
            const std::uint64_t first = sent.mortal ? 1'000'000 : 0;
            for (int i = 0; i < options_.devices; ++i) {
                const auto found =
                    received.find(handle_of(platform, first + static_cast<std::uint64_t>(i)));
                const int times = found == received.end() ? 0 : found->second;
                reached += times > 0 ? 1 : 0;
                twice += times > 1 ? static_cast<std::uint64_t>(times - 1) : 0;
            }
            pushes += reached;
            doubles += twice;
            const std::string who = platform + (sent.scheduled ? " scheduled" : "") +
                                    (sent.at_most_once ? " at-most-once send " : " send ") +
                                    sent.id;
            if (sent.at_most_once) expect(twice == 0, who + " doubled " + std::to_string(twice));
            if (sent.id.empty()) continue;
            const bench::Telemetry& told = final_states.at(sent.id);
            const auto all = static_cast<std::uint64_t>(options_.devices);
            if (sent.mortal) {
                expect(told.devices() <= all, who + " counts more devices than there are");
                continue;
            }
            expect(told.devices() == all, who + " counts " + std::to_string(told.devices()) +
                                              " devices of " + std::to_string(all) + ", state " +
                                              told.state);
            const std::uint64_t in_doubt = told.devices() - told.devices("Success");
            unknown += in_doubt;
            missing += all - reached;
            if (sent.at_most_once) {
                expect(all - reached <= in_doubt, who + " missed " + std::to_string(all - reached) +
                                                      " and owns up to " +
                                                      std::to_string(in_doubt));
            } else {
                expect(reached == all, who + " missed " + std::to_string(all - reached));
            }
        }
        check_installations(*client);
        client_done_check();
        std::printf(
            "%zu sends, %llu pushes; at-least-once doubled %llu (%.1f a kill); at-most-once "
            "missed %llu, all told as not delivered (%llu in doubt); slowest start %.2f s\n",
            sends_.size(), static_cast<unsigned long long>(pushes),
            static_cast<unsigned long long>(doubles),
            static_cast<double>(doubles) / std::max(1U, options_.kills),
            static_cast<unsigned long long>(missing), static_cast<unsigned long long>(unknown),
            slowest_start_s_);
    }

    /// The dead are found out at the latest by these.
    void post_last_mortal(bench::HubClient& client) {
        for (const Provider& provider : providers) {
            std::vector<std::pair<std::string, std::string>> headers;
            if (std::string_view(provider.platform) == "wns") {
                headers = {{"x-wns-type", "wns/raw"}, {"content-type", "application/octet-stream"}};
            }
            const std::string id = bench::post_send(client, "torture", provider.format, "mortal",
                                                    body_of(provider.platform, "last"), headers);
            bench::wait_until_final(client, "torture", id, options_.settle_s);
        }
    }

    void check_installations(bench::HubClient& client) {
        const auto get = [&client](const std::string& id) {
            ClientRequest request;
            request.path = "/torture/installations/" + id;
            return client.call(std::move(request));
        };
        for (const auto& [id, written] : moving_) {
            const ClientReply reply = get(id);
            const auto holds = [&reply](const std::string& tag) {
                return reply.status == 200 && reply.body.find('"' + tag + '"') != std::string::npos;
            };
            if (written.acknowledged.empty()) {
                expect(reply.status == 404 || holds(written.doubtful), id + " is a third thing");
            } else {
                expect(holds(written.acknowledged) ||
                           (!written.doubtful.empty() && holds(written.doubtful)),
                       id + " lost what was acknowledged");
            }
        }
        for (const auto& [tail, provider] : dead_) {
            expect(get("d-" + tail).body.find(R"("pushChannelExpired":true)") != std::string::npos,
                   "the dead handle of d-" + tail + " was not retired");
        }
        for (const Provider& provider : providers) {
            for (int i = 0; i < options_.devices; ++i) {
                const std::string id =
                    std::string("f-") + provider.platform + "-" + std::to_string(i);
                const ClientReply reply = get(id);
                expect(reply.status == 200 &&
                           reply.body.find(R"("pushChannelExpired":true)") == std::string::npos,
                       id + " was lost or retired");
            }
        }
    }

    /// Stops the hub as an operator would, and looks at its store from inside.
    void client_done_check() {
        hub_->stop();
        registry::Options options;
        options.directory = data() / "store";
        std::string why;
        const auto registry = registry::Registry::open(options, why);
        expect(registry.has_value(), "the store opens: " + why);
        if (!registry) return;
        const auto hubs = (*registry)->hubs();
        for (const auto& row : hubs) {
            for (const std::string& fault : (*registry)->verify(row.number))
                wrong("the store: " + fault);
        }
        ++passed_;
    }

    Options options_;
    std::filesystem::path directory_;
    std::map<std::string, std::unique_ptr<pns::sim::Simulator>> sims_;
    std::vector<pns::Credential> credentials_;
    std::vector<std::string> command_;
    std::string plain_url_, connection_string_;
    std::unique_ptr<bench::Process> hub_;
    std::mt19937_64 random_;
    double slowest_start_s_ = 0;
    std::atomic<bool> stopping_ = false;
    std::atomic<std::size_t> changes_ = 0;

    std::mutex mutex_;  ///< guards what follows
    std::vector<Sent> sends_;
    std::map<std::string, Written> moving_;
    std::map<std::string, const Provider*> dead_;

    std::mutex print_mutex_;
    unsigned passed_ = 0, failed_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Kills a hub at random moments and checks that it kept every promise.", "torture");
    Options options;
    options.pushhub =
        (std::filesystem::path(bench::own_program()).parent_path() / "pushhub").string();
    app.add_option("--kills", options.kills, "how often the hub is killed")
        ->check(CLI::Range(1, 100'000));
    app.add_option("--seed", options.seed, "of the moments and of what is posted");
    app.add_option("--devices", options.devices, "that never change, of each provider")
        ->check(CLI::Range(10, 100'000));
    app.add_option("--pushhub", options.pushhub, "the program to kill");
    app.add_flag("--keep", options.keep, "leave the directory for a look");
    CLI11_PARSE(app, argc, argv);
    try {
        return Torture(options).run();
    } catch (const std::exception& error) {
        std::printf("torture: %s\n0 passed, 1 failed\n", error.what());
        return 1;
    }
}
