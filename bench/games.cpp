// The programme is a list of sends. For each the oracle says who must be reached, in which
// language and which handles must be gone; the simulators' journals and the hub's telemetry must
// say the same. The population is a function of the seed, so nothing has to be kept. Hub and
// simulators are processes of their own; this one posts, waits and compares.
#include "bench/games.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>

#include "bench/experiment.hpp"
#include "bench/hub_process.hpp"
#include "bench/sim_control.hpp"
#include "bench/store_fill.hpp"
#include "bench/telemetry.hpp"
#include "hub/cli/client.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/cli/terminal.hpp"
#include "hub/cli/winter_games.hpp"
#include "hub/device/installation_json.hpp"

namespace bench {
namespace {

constexpr unsigned client_connections = 4;
constexpr std::size_t bodies_compared_max = 100;
constexpr const char* hub_name = "games";
constexpr std::size_t stream_sends = 30;
constexpr double promise_s = 120;  ///< every device of a broadcast is reached by then

struct Options {
    std::uint32_t devices = 100'000;
    std::uint64_t seed = 2026;
    unsigned lanes = 0;
    bool fill = false;
};

/// One send of the programme. Native sends go to one platform, template sends (platform empty) to
/// all.
struct Event {
    std::string title;
    std::string_view platform;
    std::string format;
    std::string expression;
    std::string body;
    std::string athlete;     ///< template sends: the one property
    bool everybody = false;  ///< the first send to all: the one the promise is about
};

std::vector<Event> programme(std::uint32_t devices) {
    const std::string somebody = "$UserId:{u" + std::to_string(devices / 2 / 10 * 10 + 8) + "}";
    const auto everywhere = [](std::string title, std::string expression, std::string athlete) {
        std::string body = R"({"athlete":")" + athlete + "\"}";
        const bool everybody = expression.empty();
        return Event{
            std::move(title),   "",       "template", std::move(expression), std::move(body),
            std::move(athlete), everybody};
    };
    return {
        everywhere("Dutch fans and Kramer's followers, unless muted",
                   "(country:nl || athlete:kramer) && !muted", "Kramer"),
        {"Biathlon start list, native FCM", "fcmv1", "fcmv1", "sport:biathlon && !muted",
         R"({"message":{"notification":{"title":"Biathlon","body":"The start list is out"}}})", "",
         false},
        {"Skating record, native APNs", "apns", "apple", "sport:speedskating || sport:shorttrack",
         R"({"aps":{"alert":{"title":"Speed skating","body":"New Olympic record"}}})", "", false},
        everywhere(
            "Localised, each device in its own language: ice hockey and curling outside three "
            "countries",
            "!(country:us || country:ca || country:gb) && (sport:icehockey || sport:curling)",
            "Lindqvist"),
        everywhere("One user, all their devices", somebody, "Tanaka"),
        everywhere("Broadcast to every device", "", "Nieminen"),
        everywhere("Broadcast again: only the living are left", "", "Nieminen"),
    };
}

class Scenario {
  public:
    Scenario(Experiment& experiment, const Options& options)
        : options_(options),
          results_(experiment.results()),
          games_(options.devices, options.seed),
          sink_(
              experiment.dir(),
              {{hub::platform_names.begin(), hub::platform_names.end()}, 1, false, std::string()}),
          hub_(experiment.dir(), sink_, {options.lanes, {}}),
          pruned_(options.devices, false) {
        connect();
        hub::create_hub(*client_, hub_name, sink_.credentials());
    }

    void register_devices();
    void run(const Event& event, std::size_t number);
    /// Localised sends to the followers of many athletes, posted without waiting for one another.
    void run_stream();
    void finish();

  private:
    void connect() {
        client_ = std::make_unique<hub::HubClient>(hub_.connection_string(), hub_.ca_file(),
                                                   client_connections);
    }
    const SimControl& sim(std::string_view platform) const {
        return sink_.control(std::string(platform));
    }
    double send_timeout_s() const { return 120 + options_.devices / 5'000.0; }
    void check(bool holds, const std::string& what);
    void compare_received(const std::map<std::string_view, std::vector<std::string>>& expected);
    void check_languages(const Event& event, const std::vector<std::uint32_t>& audience);
    void check_pruned(const std::vector<std::uint32_t>& audience);
    std::string installation_path(std::string_view id) const;

    const Options& options_;
    Results& results_;
    hub::WinterGames games_;
    Sink sink_;
    HubProcess hub_;
    std::unique_ptr<hub::HubClient> client_;
    std::vector<bool> pruned_;
    std::uint64_t pushes_ = 0, checks_ = 0, failures_ = 0, pruned_count_ = 0, sends_ = 0;
    std::int64_t first_ms_ = 0, last_ms_ = 0;  ///< of the event at hand, as the simulators saw it
};

std::string Scenario::installation_path(std::string_view id) const {
    return std::string("/") + hub_name + "/installations/" + std::string(id) +
           "?api-version=2020-06";
}

void Scenario::check(bool holds, const std::string& what) {
    ++checks_;
    if (holds) return;
    ++failures_;
    std::printf("    %s %s\n", hub::red("WRONG").c_str(), what.c_str());
}

void Scenario::register_devices() {
    std::map<std::string_view, std::vector<std::string>> dead;
    for (std::uint32_t i = 0; i < games_.size(); ++i)
        if (const hub::GamesDevice d = games_.device(i); d.dead)
            dead[d.platform].push_back(d.handle);
    for (const auto& [platform, handles] : dead) sim(platform).kill(handles);

    const auto begun = std::chrono::steady_clock::now();
    if (options_.fill) {
        client_.reset();
        hub_.stop();
        fill_store(hub_.data_dir(), hub_name, games_.size(), [this](std::uint32_t i) {
            const hub::GamesDevice d = games_.device(i);
            auto parsed = hub::parse_installation(games_.installation_json(d), d.installation_id,
                                                  hub::normalise_handle);
            if (!hub::ok(parsed)) throw std::runtime_error("no installation: " + d.handle);
            return std::get<registry::Installation>(std::move(parsed));
        });
        hub_.start();
        connect();
    } else {
        hub::register_devices(*client_, hub_name, games_);
    }
    results_.add(
        "register_per_s",
        games_.size() /
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
}

void Scenario::compare_received(
    const std::map<std::string_view, std::vector<std::string>>& expected) {
    std::uint64_t received = 0;
    first_ms_ = last_ms_ = 0;
    for (const std::string_view platform : hub::platform_names) {
        SimControl::Accepted accepted = sim(platform).accepted();
        std::sort(accepted.handles.begin(), accepted.handles.end());
        std::vector<std::string> wanted;
        if (const auto it = expected.find(platform); it != expected.end()) wanted = it->second;
        std::sort(wanted.begin(), wanted.end());
        std::vector<std::string> missing, extra;
        std::set_difference(wanted.begin(), wanted.end(), accepted.handles.begin(),
                            accepted.handles.end(), std::back_inserter(missing));
        std::set_difference(accepted.handles.begin(), accepted.handles.end(), wanted.begin(),
                            wanted.end(), std::back_inserter(extra));
        check(missing.empty() && extra.empty(),
              "the " + std::string(platform) + " simulator misses " + hub::grouped(missing.size()) +
                  " pushes and has " + hub::grouped(extra.size()) + " too many");
        received += accepted.handles.size();
        if (accepted.handles.empty()) continue;
        if (first_ms_ == 0 || accepted.first_at_ms < first_ms_) first_ms_ = accepted.first_at_ms;
        last_ms_ = std::max(last_ms_, accepted.last_at_ms);
    }
    std::printf("    received  %s pushes, compared handle by handle with the expected devices\n",
                hub::grouped(received).c_str());
}

void Scenario::check_languages(const Event& event, const std::vector<std::uint32_t>& audience) {
    if (event.athlete.empty() || audience.empty()) return;
    std::size_t wrong = 0, asked = 0;
    std::set<std::string_view> languages;
    const std::size_t samples = std::min(audience.size(), bodies_compared_max);
    for (std::size_t k = 0; k < samples; ++k) {
        const hub::GamesDevice d = games_.device(audience[k * audience.size() / samples]);
        if (d.dead) continue;
        const std::optional<std::string> kept = sim(d.platform).body_of(d.handle);
        if (!kept) continue;
        ++asked;
        languages.insert(d.language);
        const std::string& body = *kept;
        // JSON and XML may escape what is not ASCII: compare what is left after undoing JSON's way.
        std::string text = body;
        if (d.platform != "wns") {
            const auto json = nlohmann::json::parse(body, nullptr, false);
            text = json.is_discarded() ? body : json.dump();
        }
        wrong += text.find(hub::WinterGames::greeting(d, event.athlete)) == std::string::npos;
    }
    check(asked > 0, "the simulators kept no body to compare");
    check(wrong == 0, hub::grouped(wrong) + " of " + hub::grouped(asked) +
                          " bodies are not in their device's language");
    std::printf(
        "    language  %s bodies in %s languages compared with the devices' own templates\n",
        hub::grouped(asked).c_str(), hub::grouped(languages.size()).c_str());
}

void Scenario::check_pruned(const std::vector<std::uint32_t>& audience) {
    // Every dead device of the audience, and as many living ones: expired exactly where it must be.
    std::vector<std::uint32_t> asked;
    std::size_t dead = 0;
    for (const std::uint32_t i : audience)
        if (games_.device(i).dead) {
            asked.push_back(i);
            ++dead;
        }
    for (const std::uint32_t i : audience) {
        if (asked.size() >= 2 * dead) break;
        if (!games_.device(i).dead) asked.push_back(i);
    }
    std::size_t next = 0, wrong = 0;
    client_->call_many(
        [&](hub::ClientRequest& request) {
            if (next == asked.size()) return false;
            request.tag = asked[next++];
            request.path = installation_path(
                games_.device(static_cast<std::uint32_t>(request.tag)).installation_id);
            return true;
        },
        [&](const hub::ClientRequest& request, const hub::ClientReply& reply) {
            const auto json = nlohmann::json::parse(reply.body, nullptr, false);
            const bool expired =
                reply.status == 200 && json.is_object() && json.value("pushChannelExpired", false);
            const bool should = games_.device(static_cast<std::uint32_t>(request.tag)).dead;
            wrong += reply.status != 200 || expired != should;
        });
    check(wrong == 0, "the registry disagrees with the providers about " + hub::grouped(wrong) +
                          " of " + hub::grouped(asked.size()) + " handles");
}

void Scenario::run(const Event& event, std::size_t number) {
    std::vector<std::uint32_t> audience = games_.audience(event.expression);
    std::erase_if(audience, [&](std::uint32_t i) {
        return pruned_[i] ||
               (!event.platform.empty() && games_.device(i).platform != event.platform);
    });
    std::map<std::string_view, std::vector<std::string>> expected;
    std::map<std::string, std::uint64_t> dead;
    std::uint64_t alive_count = 0, dead_count = 0;
    for (const std::uint32_t i : audience) {
        hub::GamesDevice device = games_.device(i);
        if (device.dead) {
            ++dead[std::string(device.platform)];
            ++dead_count;
        } else {
            expected[device.platform].push_back(std::move(device.handle));
            ++alive_count;
        }
    }

    std::printf("\n  %s %s\n", hub::bold("Send " + std::to_string(number)).c_str(),
                event.title.c_str());
    std::printf("    %s  tags: %s\n", event.format.c_str(),
                event.expression.empty() ? "(broadcast)" : event.expression.c_str());
    for (const std::string_view platform : hub::platform_names) sim(platform).forget();
    const auto started = std::chrono::steady_clock::now();
    const std::string id =
        post_send(*client_, hub_name, event.format, event.expression, event.body);
    const Telemetry t = wait_until_final(*client_, hub_name, id, send_timeout_s());
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();

    std::printf("    audience  %s devices, %s expected\n", hub::grouped(t.devices()).c_str(),
                hub::grouped(audience.size()).c_str());
    for (const auto& [platform, counts] : t.outcomes) {
        std::printf("    %s", hub::padded(platform, 10).c_str());
        for (const auto& [outcome, count] : counts)
            std::printf("%s %s  ", outcome.c_str(), hub::grouped(count).c_str());
        std::puts("");
    }
    std::printf("    pruned    %s dead handles\n",
                hub::grouped(t.devices("ExpiredChannel")).c_str());
    compare_received(expected);
    check_languages(event, audience);
    const auto after = [&](std::int64_t at) {
        return at == 0 ? std::string("-")
                       : hub::grouped(static_cast<std::uint64_t>(
                             std::max<std::int64_t>(0, at - t.enqueued_at_ms))) +
                             " ms";
    };
    const double push_seconds = last_ms_ > t.enqueued_at_ms
                                    ? static_cast<double>(last_ms_ - t.enqueued_at_ms) / 1000
                                    : seconds;
    std::printf("    time      first push %s, last push %s after acceptance; %s pushes/s\n",
                after(first_ms_).c_str(), after(last_ms_).c_str(),
                hub::grouped(static_cast<std::uint64_t>(static_cast<double>(t.devices()) /
                                                        std::max(push_seconds, 0.001)))
                    .c_str());

    if (event.everybody && !results_.has("broadcast_s")) {
        results_.add("broadcast_s", push_seconds);
        results_.add("broadcast_pushes_per_s", static_cast<double>(t.devices()) / push_seconds);
        results_.add("broadcast_first_ms", static_cast<double>(first_ms_ - t.enqueued_at_ms));
        results_.add("promise_share", push_seconds / promise_s);
        if (options_.devices <= 3'000'000)
            check(push_seconds < promise_s, "a broadcast took longer than two minutes");
    }
    check(t.state == (audience.empty() ? "NoTargetFound" : "Completed"), "the state is " + t.state);
    check(t.devices() == audience.size(), "the counts add up to " + hub::grouped(t.devices()));
    check(
        t.devices("Success") == alive_count,
        hub::grouped(t.devices("Success")) + " successes instead of " + hub::grouped(alive_count));
    for (const auto& [platform, count] : dead) {
        std::uint64_t refused = 0;
        if (const auto it = t.outcomes.find(platform); it != t.outcomes.end())
            for (const auto& [outcome, n] : it->second)
                if (outcome == "ExpiredChannel" || outcome == "BadChannel") refused += n;
        check(refused == count, hub::grouped(refused) + " dead handles on " + platform +
                                    " instead of " + hub::grouped(count));
    }
    check_pruned(audience);
    for (const std::uint32_t i : audience)
        if (games_.device(i).dead) pruned_[i] = true;
    pruned_count_ += dead_count;
    pushes_ += audience.size();
    ++sends_;
    std::fflush(stdout);
}

void Scenario::run_stream() {
    // After the broadcasts no dead handle is left: whoever follows must be reached.
    const std::vector<std::string>& athletes = hub::WinterGames::athletes();
    std::map<std::string, std::uint64_t> expected;
    for (std::size_t i = 0; i < stream_sends; ++i) expected[athletes[i * 5 % athletes.size()]] = 0;
    for (std::uint32_t i = 0; i < games_.size(); ++i) {
        const hub::GamesDevice d = games_.device(i);
        if (d.dead || std::find(d.tags.begin(), d.tags.end(), "muted") != d.tags.end()) continue;
        for (const std::string& tag : d.tags)
            if (const auto it = expected.find(tag); it != expected.end()) ++it->second;
    }
    for (const std::string_view platform : hub::platform_names) sim(platform).forget();
    const auto begun = std::chrono::steady_clock::now();
    std::map<std::string, std::string> ids;
    for (const auto& [tag, count] : expected)
        ids[tag] = post_send(*client_, hub_name, "template", tag + " && !muted",
                             R"({"athlete":"Kramer"})");
    std::uint64_t pushes = 0;
    for (const auto& [tag, count] : expected) {
        const Telemetry t = wait_until_final(*client_, hub_name, ids[tag], send_timeout_s());
        pushes += t.devices("Success");
        check(
            t.devices() == count && t.devices("Success") == count,
            tag + " reached " + hub::grouped(t.devices("Success")) + " of " + hub::grouped(count));
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    results_.add("stream_pushes_per_s", static_cast<double>(pushes) / seconds);
    results_.add("stream_sends_per_s", static_cast<double>(expected.size()) / seconds);
    pushes_ += pushes;
    sends_ += expected.size();
    std::printf(
        "\n  %s %s localised sends at once, %s pushes in %s s, %s pushes/s\n",
        hub::bold("Stream").c_str(), hub::grouped(expected.size()).c_str(),
        hub::grouped(pushes).c_str(), hub::fixed(seconds, 1).c_str(),
        hub::grouped(static_cast<std::uint64_t>(static_cast<double>(pushes) / seconds)).c_str());
}

void Scenario::finish() {
    results_.add("sends", static_cast<double>(sends_));
    results_.add("pushes", static_cast<double>(pushes_));
    results_.add("pruned", static_cast<double>(pruned_count_));
    results_.add("peak_rss_mib", hub_.process().peak_rss_mib());
    if (failures_ > 0)
        throw std::runtime_error(hub::grouped(failures_) + " of " + hub::grouped(checks_) +
                                 " checks do not hold");
    std::printf(
        "\n%s %s sends, %s pushes, %s dead handles pruned: every device was reached exactly as "
        "expected (%s checks)\n",
        hub::green("PASS").c_str(), hub::grouped(sends_).c_str(), hub::grouped(pushes_).c_str(),
        hub::grouped(pruned_count_).c_str(), hub::grouped(checks_).c_str());
}

}  // namespace

int games_main(int argc, char** argv) {
    Experiment experiment(
        "games",
        "The Winter Games: registers devices, sends, and checks every push against an "
        "oracle.",
        {1, 1, 2 * 3'600});
    Options options;
    CLI::App& app = experiment.app();
    app.add_option("--devices", options.devices, "devices to register")
        ->capture_default_str()
        ->check(CLI::Range(100, 10'000'000));
    app.add_option("--seed", options.seed, "seed of the population")->capture_default_str();
    app.add_option("--lanes", options.lanes, "loops of the hub; 0 = one per core");
    app.add_flag("--fill", options.fill,
                 "write the devices straight into the store instead of registering them");
    return experiment.run(argc, argv, [&] {
        experiment.results().option("devices", options.devices);
        std::printf(
            "%s devices on four platforms, 300 interest tags, 20 languages, 2%% dead handles, seed "
            "%s\n",
            hub::bold(hub::grouped(options.devices)).c_str(), std::to_string(options.seed).c_str());
        Scenario scenario(experiment, options);
        scenario.register_devices();
        std::size_t number = 0;
        for (const Event& event : programme(options.devices)) scenario.run(event, ++number);
        scenario.run_stream();
        scenario.finish();
    });
}

}  // namespace bench
