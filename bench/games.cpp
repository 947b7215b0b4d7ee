#include "bench/games.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <stdexcept>

#include "bench/client.hpp"
#include "bench/dev.hpp"
#include "bench/hub_setup.hpp"
#include "bench/sim_control.hpp"
#include "bench/telemetry.hpp"
#include "bench/terminal.hpp"
#include "bench/winter_games.hpp"

namespace bench {
namespace {

constexpr unsigned client_connections = 4;
constexpr double send_timeout_s = 120;
constexpr std::size_t bodies_compared_max = 100;

/// One send of the programme. Native sends go to one platform, template sends (platform empty) to
/// all.
struct Event {
    std::string title;
    std::string_view platform;
    std::string format;
    std::string expression;
    std::string body;
    std::string athlete;  ///< template sends: the one property
};

std::vector<Event> programme(std::uint32_t devices) {
    const std::string somebody = "$UserId:{u" + std::to_string(devices / 2 / 10 * 10 + 8) + "}";
    const auto everywhere = [](std::string title, std::string expression, std::string athlete) {
        std::string body = R"({"athlete":")" + athlete + "\"}";
        return Event{std::move(title),  "", "template", std::move(expression), std::move(body),
                     std::move(athlete)};
    };
    return {
        everywhere("Dutch fans and Kramer's followers, unless muted",
                   "(country:nl || athlete:kramer) && !muted", "Kramer"),
        {"Biathlon start list, native FCM", "fcmv1", "fcmv1", "sport:biathlon && !muted",
         R"({"message":{"notification":{"title":"Biathlon","body":"The start list is out"}}})", ""},
        {"Skating record, native APNs", "apns", "apple", "sport:speedskating || sport:shorttrack",
         R"({"aps":{"alert":{"title":"Speed skating","body":"New Olympic record"}}})", ""},
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
    Scenario(std::uint32_t devices, std::uint64_t seed, const DevHub& hub)
        : games_(devices, seed),
          hub_(hub),
          client_(hub.connection_string(), hub.ca_file(), client_connections),
          pruned_(devices, false) {
        for (const std::string_view platform : platform_names)
            sims_.emplace(platform, SimControl(hub.sim_url(platform)));
    }

    void register_devices();
    void run(const Event& event, std::size_t number);
    bool finish() const;

  private:
    void check(bool holds, const std::string& what);
    void compare_received(const std::map<std::string_view, std::vector<std::string>>& expected);
    void check_languages(const Event& event, const std::vector<std::uint32_t>& audience);
    void check_pruned(const std::vector<std::uint32_t>& audience);
    std::string installation_path(std::string_view id) const;

    WinterGames games_;
    const DevHub& hub_;
    HubClient client_;
    std::map<std::string_view, SimControl> sims_;
    std::vector<bool> pruned_;
    std::uint64_t pushes_ = 0, checks_ = 0, failures_ = 0, pruned_count_ = 0, sends_ = 0;
    std::int64_t first_ms_ = 0, last_ms_ = 0;  ///< of the event at hand, as the simulators saw it
};

std::string Scenario::installation_path(std::string_view id) const {
    return "/" + std::string(DevHub::hub_name) + "/installations/" + std::string(id) +
           "?api-version=2020-06";
}

void Scenario::check(bool holds, const std::string& what) {
    ++checks_;
    if (holds) return;
    ++failures_;
    std::printf("    %s %s\n", red("WRONG").c_str(), what.c_str());
}

void Scenario::register_devices() {
    std::map<std::string_view, std::vector<std::string>> dead;
    for (std::uint32_t i = 0; i < games_.size(); ++i)
        if (const Device d = games_.device(i); d.dead) dead[d.platform].push_back(d.handle);
    for (const auto& [platform, handles] : dead) sims_.at(platform).kill(handles);

    bench::register_devices(client_, std::string(DevHub::hub_name), games_);
}

void Scenario::compare_received(
    const std::map<std::string_view, std::vector<std::string>>& expected) {
    std::uint64_t received = 0;
    first_ms_ = last_ms_ = 0;
    for (const auto& [platform, sim] : sims_) {
        SimControl::Accepted accepted = sim.accepted();
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
              "the " + std::string(platform) + " simulator misses " + grouped(missing.size()) +
                  " pushes and has " + grouped(extra.size()) + " too many");
        received += accepted.handles.size();
        if (accepted.handles.empty()) continue;
        if (first_ms_ == 0 || accepted.first_at_ms < first_ms_) first_ms_ = accepted.first_at_ms;
        last_ms_ = std::max(last_ms_, accepted.last_at_ms);
    }
    std::printf("    received  %s pushes, compared handle by handle with the expected devices\n",
                grouped(received).c_str());
}

void Scenario::check_languages(const Event& event, const std::vector<std::uint32_t>& audience) {
    if (event.athlete.empty() || audience.empty()) return;
    std::size_t wrong = 0, asked = 0;
    std::set<std::string_view> languages;
    const std::size_t samples = std::min(audience.size(), bodies_compared_max);
    for (std::size_t k = 0; k < samples; ++k) {
        const Device d = games_.device(audience[k * audience.size() / samples]);
        if (d.dead) continue;
        ++asked;
        languages.insert(d.language);
        const std::string body = sims_.at(d.platform).body_of(d.handle);
        // JSON and XML may escape what is not ASCII: compare what is left after undoing JSON's way.
        std::string text = body;
        if (d.platform != "wns") {
            const auto json = nlohmann::json::parse(body, nullptr, false);
            text = json.is_discarded() ? body : json.dump();
        }
        wrong += text.find(WinterGames::greeting(d, event.athlete)) == std::string::npos;
    }
    check(wrong == 0,
          grouped(wrong) + " of " + grouped(asked) + " bodies are not in their device's language");
    std::printf(
        "    language  %s bodies in %s languages compared with the devices' own templates\n",
        grouped(asked).c_str(), grouped(languages.size()).c_str());
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
    client_.call_many(
        [&](ClientRequest& request) {
            if (next == asked.size()) return false;
            request.tag = asked[next++];
            request.path = installation_path(
                games_.device(static_cast<std::uint32_t>(request.tag)).installation_id);
            return true;
        },
        [&](const ClientRequest& request, const ClientReply& reply) {
            const auto json = nlohmann::json::parse(reply.body, nullptr, false);
            const bool expired =
                reply.status == 200 && json.is_object() && json.value("pushChannelExpired", false);
            const bool should = games_.device(static_cast<std::uint32_t>(request.tag)).dead;
            wrong += reply.status != 200 || expired != should;
        });
    check(wrong == 0, "the registry disagrees with the providers about " + grouped(wrong) + " of " +
                          grouped(asked.size()) + " handles");
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
        Device device = games_.device(i);
        if (device.dead) {
            ++dead[std::string(device.platform)];
            ++dead_count;
        } else {
            expected[device.platform].push_back(std::move(device.handle));
            ++alive_count;
        }
    }

    std::printf("\n  %s %s\n", bold("Send " + std::to_string(number)).c_str(), event.title.c_str());
    std::printf("    %s  tags: %s\n", event.format.c_str(),
                event.expression.empty() ? "(broadcast)" : event.expression.c_str());
    for (const auto& [platform, sim] : sims_) sim.forget();
    const auto started = std::chrono::steady_clock::now();
    const std::string id = post_send(client_, std::string(DevHub::hub_name), event.format,
                                     event.expression, event.body);
    const Telemetry t =
        wait_until_final(client_, std::string(DevHub::hub_name), id, send_timeout_s);
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();

    std::printf("    audience  %s devices, %s expected\n", grouped(t.devices()).c_str(),
                grouped(audience.size()).c_str());
    for (const auto& [platform, counts] : t.outcomes) {
        std::printf("    %s", padded(platform, 10).c_str());
        for (const auto& [outcome, count] : counts)
            std::printf("%s %s  ", outcome.c_str(), grouped(count).c_str());
        std::puts("");
    }
    std::printf("    pruned    %s dead handles\n",
                grouped(t.devices() - t.devices("Success")).c_str());
    compare_received(expected);
    check_languages(event, audience);
    const auto after = [&](std::int64_t at) {
        return at == 0 ? std::string("-")
                       : grouped(static_cast<std::uint64_t>(
                             std::max<std::int64_t>(0, at - t.enqueued_at_ms))) +
                             " ms";
    };
    const double push_seconds = last_ms_ > t.enqueued_at_ms
                                    ? static_cast<double>(last_ms_ - t.enqueued_at_ms) / 1000
                                    : seconds;
    std::printf("    time      first push %s, last push %s after acceptance; %s pushes/s\n",
                after(first_ms_).c_str(), after(last_ms_).c_str(),
                grouped(static_cast<std::uint64_t>(static_cast<double>(t.devices()) /
                                                   std::max(push_seconds, 0.001)))
                    .c_str());

    check(t.state == (audience.empty() ? "NoTargetFound" : "Completed"), "the state is " + t.state);
    check(t.devices() == audience.size(), "the counts add up to " + grouped(t.devices()));
    check(t.devices("Success") == alive_count,
          grouped(t.devices("Success")) + " successes instead of " + grouped(alive_count));
    for (const auto& [platform, count] : dead) {
        std::uint64_t refused = 0;
        if (const auto it = t.outcomes.find(platform); it != t.outcomes.end())
            for (const auto& [outcome, n] : it->second)
                if (outcome == "ExpiredChannel" || outcome == "BadChannel") refused += n;
        check(refused == count,
              grouped(refused) + " dead handles on " + platform + " instead of " + grouped(count));
    }
    check_pruned(audience);
    for (const std::uint32_t i : audience)
        if (games_.device(i).dead) pruned_[i] = true;
    pruned_count_ += dead_count;
    pushes_ += audience.size();
    ++sends_;
    std::fflush(stdout);
}

bool Scenario::finish() const {
    std::puts("");
    if (failures_ == 0)
        std::printf(
            "%s %s sends, %s pushes, %s dead handles pruned: every device was reached exactly as "
            "expected "
            "(%s checks)\n",
            green("PASS").c_str(), grouped(sends_).c_str(), grouped(pushes_).c_str(),
            grouped(pruned_count_).c_str(), grouped(checks_).c_str());
    else
        std::printf("%s %s of %s checks do not hold\n", red("FAIL").c_str(),
                    grouped(failures_).c_str(), grouped(checks_).c_str());
    return failures_ == 0;
}

}  // namespace

int games_main(int argc, char** argv) {
    CLI::App app(
        "The Winter Games: registers devices, sends, and checks every push against an oracle.",
        "pushhub bench games");
    std::uint32_t devices = 100'000;
    std::uint64_t seed = 2026;
    std::filesystem::path data_dir;
    app.add_option("--devices", devices, "devices to register")->check(CLI::Range(100, 10'000'000));
    app.add_option("--seed", seed, "seed of the population");
    app.add_option("--data-dir", data_dir,
                   "kept afterwards; default: a directory of its own that is removed");
    CLI11_PARSE(app, argc, argv);

    const bool keep = !data_dir.empty();
    if (!keep) data_dir = "pushhub-games-" + std::to_string(::getpid());
    bool held = false;
    try {
        std::printf(
            "%s devices on four platforms, 300 interest tags, 20 languages, 2%% dead handles, seed "
            "%s\n",
            bold(grouped(devices)).c_str(), std::to_string(seed).c_str());
        DevOptions options;
        options.data_dir = data_dir;
        const DevHub hub(options);
        std::printf("  hub and simulators are up: %s, data in %s\n", hub.url().c_str(),
                    data_dir.c_str());
        Scenario scenario(devices, seed, hub);
        scenario.register_devices();
        std::size_t number = 0;
        for (const Event& event : programme(devices)) scenario.run(event, ++number);
        held = scenario.finish();
    } catch (const std::exception& error) {
        std::printf("%s %s\n", red("FAIL").c_str(), error.what());
    }
    if (!keep) {
        std::error_code ignored;
        std::filesystem::remove_all(data_dir, ignored);
    }
    return held ? 0 : 1;
}

}  // namespace bench
