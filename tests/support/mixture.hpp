#pragma once

// A mixture: a whole hub whose provider has several faults at once and goes away now and then,
// while good and bad pushes go out side by side and devices change. Judged by the journal of the
// simulator. Devices change only while the provider is away, when nothing is on its way: so what
// comes afterwards was sent with knowledge of the change.

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <stdexcept>

#include "pns/clock.hpp"
#include "tests/support/world.hpp"

namespace support {

struct MixtureOrder {
    std::string platform;  ///< apns, wns or adm: bodies arrive as they were posted
    std::vector<std::pair<int, std::string_view>> faults;  ///< each strikes `share` of the pushes
    int rounds = 2;
    std::uint64_t seed = 1;
    double share = 0.005;
};

struct MixtureResult {
    std::vector<std::string> problems;
    std::uint64_t success = 0, unknown = 0, other = 0, struck = 0, doubles = 0, received = 0;
    int pruned = 0;
    std::size_t sends = 0, changes = 0;
};

inline std::string name_of(const MixtureOrder& order) {
    std::string out;
    for (const auto& [number, variant] : order.faults) {
        const auto* row = pns::sim::fault_row(number, variant);
        REQUIRE(row != nullptr);
        out += (out.empty() ? "" : ", ") + pns::sim::fault_name(*row);
    }
    return out + ", away now and then; good, bad and changing devices";
}

class Mixture {
  public:
    explicit Mixture(const MixtureOrder& order)
        : order_(order), random_(order.seed), world_({}, {order.platform, healthy}) {
        for (int i = 0; i < healthy_count; ++i)
            world_.install(id_of(healthy, i), healthy, handle_of(healthy, i));
        for (const auto& [kind, count] : std::vector<std::pair<Kind, int>>{{Kind::good, 40},
                                                                           {Kind::moving, 16},
                                                                           {Kind::dead, 3},
                                                                           {Kind::refused, 10},
                                                                           {Kind::hot, 2}}) {
            for (int i = 0; i < count; ++i) add(kind);
        }
        pns::sim::Rules rules;
        for (const Device& device : devices_) {
            const auto behaviour = behaviour_of(device.kind);
            if (behaviour)
                rules.handles[handle_of(order_.platform, now(device).handle)] = *behaviour;
        }
        sim().set_rules(rules);
    }

    MixtureResult run() {
        for (int i = 0; i < order_.rounds; ++i) one_round();
        sim().set_faults({});
        for (Sent& sent : sent_) finish(sent);
        judge();
        return std::move(result_);
    }

  private:
    enum class Kind : std::uint8_t { good, moving, dead, refused, hot };
    struct State {
        std::int64_t since_us = 0;  ///< its PUT or DELETE was answered; wall clock
        bool present = true, tagged = true;
        int handle = 0;
        std::string user;
    };
    struct Device {
        Kind kind = Kind::good;
        std::string id;
        std::vector<State> states;  ///< the last one is now
    };
    struct Sent {
        std::string id, body, user;  ///< user empty: to all
        bool at_most_once = false;
        std::int64_t at_us = 0;
        bench::Telemetry told;
        std::uint64_t audience = 0;
    };

    static constexpr const char* healthy = "fcmv1";
    static constexpr int healthy_count = 20;
    static constexpr int changes_a_round = 8;

    pns::sim::Simulator& sim() { return world_.sim(order_.platform); }
    static const State& now(const Device& device) { return device.states.back(); }
    static const State& at(const Device& device, std::int64_t at_us) {
        const auto later =
            std::find_if(device.states.rbegin(), device.states.rend(),
                         [&](const State& state) { return state.since_us <= at_us; });
        return later == device.states.rend() ? device.states.front() : *later;
    }
    static bool meant(const Sent& sent, const State& state) {
        return state.present && state.tagged && (sent.user.empty() || state.user == sent.user);
    }

    std::optional<pns::sim::Behaviour> behaviour_of(Kind kind) const {
        pns::sim::Behaviour out;
        if (kind == Kind::dead) {
            out.act = pns::sim::Act::gone;
        } else if (kind == Kind::refused) {
            out.act = pns::sim::Act::answer;
            out.status = 413;
            out.reason = order_.platform == "apns" ? "PayloadTooLarge" : "MessageTooLarge";
        } else if (kind == Kind::hot) {
            out.act = pns::sim::Act::throttled;
            out.retry_after = "1";
            out.times = 2;
        } else {
            return std::nullopt;
        }
        return out;
    }

    void add(Kind kind) {
        Device& device = devices_.emplace_back();
        const int number = static_cast<int>(devices_.size());
        device.kind = kind;
        device.id = "mixed-" + std::to_string(number);
        device.states.push_back({0, true, true, next_handle_++, "user-" + std::to_string(number)});
        write(device);
    }

    void write(Device& device) {
        State& state = device.states.back();
        if (state.present) {
            world_.install(device.id, order_.platform, handle_of(order_.platform, state.handle),
                           R"("userId":")" + state.user + R"(","tags":[")" +
                               (state.tagged ? "all" : "none") + "\"]");
        } else {
            const auto reply = world_.call("DELETE", "/app/installations/" + device.id);
            REQUIRE(reply.status == 204);
        }
        state.since_us = pns::system_clock().wall_us();
    }

    void change(Device& device) {
        State next = now(device);
        if (!next.present) {
            next.present = true;
            next.handle = next_handle_++;
        } else {
            switch (random_() % 5) {
                case 0:
                    next.user += "x";
                    break;
                case 1:
                    next.tagged = !next.tagged;
                    break;
                case 2:
                    next.handle = next_handle_++;
                    break;
                case 3:
                    next.present = false;
                    break;
                default:
                    break;  // presented once more
            }
        }
        device.states.push_back(std::move(next));
        write(device);
        ++result_.changes;
    }

    Device& any_moving() {
        for (;;) {
            Device& device = devices_[random_() % devices_.size()];
            if (device.kind == Kind::moving) return device;
        }
    }

    std::string body(const std::string& mark) const {
        if (order_.platform == "apns") return R"({"aps":{"alert":")" + mark + R"("}})";
        if (order_.platform == "adm")  // with a consolidation key of its own it goes out as it is
            return R"({"data":{"mark":")" + mark + R"("},"consolidationKey":"k"})";
        return mark;
    }

    void post(const std::string& user, bool at_most_once) {
        Sent& sent = sent_.emplace_back();
        sent.body = body("mixed " + std::to_string(sent_.size()) + " to " + user);
        sent.user = user;
        sent.at_most_once = at_most_once;
        std::vector<std::pair<std::string, std::string>> headers{
            {"pushhub-delivery", at_most_once ? "at-most-once" : "at-least-once"}};
        std::string format = order_.platform;
        if (format == "apns") format = "apple";
        if (format == "wns") {
            format = "windows";
            headers.emplace_back("x-wns-type", "wns/raw");
            headers.emplace_back("content-type", "application/octet-stream");
        }
        sent.at_us = pns::system_clock().wall_us();
        sent.id = world_.send_with(format, user.empty() ? "all" : "all && $UserId:{" + user + "}",
                                   sent.body, std::move(headers));
    }

    std::vector<pns::sim::Fault> mixed_faults() const {
        std::vector<pns::sim::Fault> out;
        for (const auto& [number, variant] : order_.faults) {
            pns::sim::Fault fault;
            fault.row = pns::sim::fault_row(number, variant);
            fault.share = order_.share;
            if (number == 19) fault.ms = 300;
            out.push_back(std::move(fault));
        }
        return out;
    }

    void take_away() {
        auto faults = mixed_faults();
        pns::sim::Fault& away = faults.emplace_back();
        away.row = pns::sim::fault_row(29, "");
        sim().set_faults(std::move(faults), random_());
        // One whose handshake is under way is ended once it is through.
        const auto ended = [this] {
            if (sim().counters().connections == 0) return true;
            sim().event({pns::sim::Event::Kind::reset, 0, "", 0});
            return false;
        };
        need(comes_true(ended), "the connections did not end");
    }

    void one_round() {
        sim().set_faults(mixed_faults(), random_());
        const auto before = sim().counters().received;
        post("", false);
        post("", true);
        post(now(any_moving()).user, false);
        const auto struck = [&] { return sim().counters().received > before + 20; };
        if (!comes_true(struck)) throw std::runtime_error("nothing came in during the faults");
        take_away();
        post("", false);
        post(now(any_moving()).user, true);
        for (int i = 0; i < changes_a_round; ++i) change(any_moving());
        const auto told = world_.finish(world_.send(
            healthy, "all", R"({"message":{"notification":{"title":"t","body":"b"}}})"));
        need(told.devices("Success") == healthy_count, "healthy devices were held by sick ones");
    }

    void finish(Sent& sent) {
        sent.told = world_.finish(sent.id);
        const auto figures =
            nlohmann::json::parse(world_.call("GET", "/app/sends/" + sent.id).body);
        sent.audience = figures.value("audience", std::uint64_t{0});
        result_.success += sent.told.devices("Success");
        result_.unknown += sent.told.devices("Unknown");
        result_.other +=
            sent.told.devices() - sent.told.devices("Success") - sent.told.devices("Unknown");
    }

    void need(bool good, const std::string& otherwise) {
        if (!good && result_.problems.size() < 10) result_.problems.push_back(otherwise);
    }

    void judge() {
        std::map<std::string, Device*> owners;
        for (Device& device : devices_) {
            for (const State& state : device.states)
                owners[handle_of(order_.platform, state.handle)] = &device;
        }
        std::map<std::uint64_t, std::map<const Device*, unsigned>> taken;  // by body
        std::map<std::uint64_t, const Sent*> by_body;
        for (const Sent& sent : sent_) by_body[std::hash<std::string_view>()(sent.body)] = &sent;
        for (const auto& entry : sim().entries(true)) {
            const auto sent = by_body.find(entry.body_hash);
            const auto owner = owners.find(entry.handle);
            if (sent == by_body.end() || owner == owners.end()) {
                need(false, "a push that nobody sent");
                continue;
            }
            ++taken[entry.body_hash][owner->second];
            judge_arrival(*sent->second, *owner->second, entry);
        }
        for (const Sent& sent : sent_)
            judge_send(sent, taken[std::hash<std::string_view>()(sent.body)]);
        for (const Device& device : devices_) {
            if (device.kind == Kind::moving) continue;
            const bool expired = world_.expired(device.id);
            result_.pruned += expired;
            need(expired == (device.kind == Kind::dead), "pruned is not the truth");
        }
        const auto counters = sim().counters();
        need(counters.above_limit == 0 && counters.after_goaway == 0, "streams where none may be");
        result_.struck = counters.faults_total;
        result_.doubles = counters.doubles;
        result_.received = counters.received;
        result_.sends = sent_.size();
        world_.check_registry();
    }

    void judge_arrival(const Sent& sent, const Device& device, const pns::sim::Entry& entry) {
        const State& before = at(device, sent.at_us);
        const State& then = at(device, entry.arrival_us);
        const std::string who = " (" + device.id + ")";
        need(meant(sent, before), "a push to a device that was not meant" + who);
        need(then.present, "a push to a deleted device" + who);
        need(then.user == before.user, "the old user's text for the new one" + who);
        need(then.tagged, "a push to a device that matches no longer" + who);
        need(entry.handle == handle_of(order_.platform, then.handle), "an old handle" + who);
    }

    void judge_send(const Sent& sent, const std::map<const Device*, unsigned>& taken) {
        const auto success = sent.told.devices("Success"), unknown = sent.told.devices("Unknown");
        const auto skipped = sent.told.devices("Skipped");
        need(sent.told.state == "Completed" || sent.told.state == "NoTargetFound",
             "a send ended as " + sent.told.state);
        need(sent.told.devices() == sent.audience, "not every device has one outcome");
        need(success <= taken.size(), "called delivered, never taken");
        need(taken.size() <= success + unknown + skipped, "taken, but called something else");
        if (!sent.at_most_once) need(unknown == 0, "doubt in at-least-once");
        for (const Device& device : devices_) {
            const auto found = taken.find(&device);
            const unsigned times = found == taken.end() ? 0 : found->second;
            if (sent.at_most_once) need(times <= 1, "a double in at-most-once");
            const bool bad = device.kind == Kind::dead || device.kind == Kind::refused;
            if (bad) need(times == 0, "a bad push was taken");
            if (!sent.at_most_once && !bad && stayed(device, sent))
                need(times >= 1, "a loss in at-least-once (" + device.id + ")");
        }
    }

    /// Was and is meant, without a change but for its handle.
    static bool stayed(const Device& device, const Sent& sent) {
        const State& first = at(device, sent.at_us);
        return meant(sent, first) &&
               std::all_of(device.states.begin(), device.states.end(), [&](const State& state) {
                   return state.since_us <= sent.at_us ||
                          (meant(sent, state) && state.user == first.user);
               });
    }

    const MixtureOrder order_;
    std::mt19937_64 random_;
    World world_;
    std::vector<Device> devices_;
    std::vector<Sent> sent_;
    int next_handle_ = 1;
    MixtureResult result_;
};

}  // namespace support
