// Requests that are due are collected and then posted together, many at a time. An open send is
// asked after once a second. A send to steady devices must reach each of them, whatever fails
// meanwhile: the faults lose no push of an at-least-once send. Of an at-most-once send pushes may
// be in doubt, but only if something failed while it ran.
#include "bench/soak_load.hpp"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "hub/cli/hub_setup.hpp"
#include "hub/cli/terminal.hpp"
#include "hub/text/times.hpp"
#include "pns/clock.hpp"

namespace bench {
namespace {

using nlohmann::json;

const std::string hub_name = "soak";
constexpr std::size_t in_flight_max = 32, looks_max = 200, wrong_max = 20;
constexpr double look_every_s = 1, step_s_max = 1;
constexpr double fault_every_s = 20, fault_s = 4, aftermath_s = 15;
constexpr double scheduled_ahead_s = 10, paused_s = 3;
constexpr const char* rate = "50/s";
constexpr std::uint32_t rated_groups = 8;

std::string path(const std::string& rest) {
    return "/" + hub_name + "/" + rest;
}

/// What a provider does wrong for fault_s.
struct Wrong {
    bool reset = false;  ///< its connections end, too
    json faults;
};

const std::vector<Wrong>& wrongs() {
    static const std::vector<Wrong> all = [] {
        const int ms = static_cast<int>(fault_s * 1'000);
        const auto share = [ms](const char* name, double of_all) {
            return json{{"fault", name}, {"share", of_all}, {"for_ms", ms}};
        };
        const auto answer = [ms](json rule) {
            return json{{"rule", std::move(rule)}, {"for_ms", ms}};
        };
        const json refused{{"fault", "F29"}, {"variant", "refused"}, {"ms", ms}};
        std::vector<Wrong> out;
        for (const json& fault : {refused, answer({{"act", "unavailable"}}), share("F15", 0.01),
                                  answer({{"act", "throttled"}, {"retry_after", "1"}}),
                                  share("F19", 0.05), share("F36", 0.01), share("F01", 0.02)}) {
            out.push_back({fault == refused, {{"faults", json::array({fault})}}});
        }
        return out;
    }();
    return all;
}

/// The id behind the last slash of a Location.
std::string id_of(const hub::ClientReply& reply) {
    std::string location(reply.header("location"));
    location = location.substr(0, location.find('?'));
    return location.substr(location.rfind('/') + 1);
}

}  // namespace

SoakLoad::SoakLoad(hub::HubClient& client, const Sink& sink, std::uint32_t devices,
                   std::uint64_t seed, double pace)
    : client_(client),
      sink_(sink),
      crowd_(devices),
      random_(seed),
      versions_(devices - crowd_.steady()),
      gone_(versions_.size()),
      busy_(versions_.size()) {
    const auto to_group = [](const std::string& name, bool at_most_once) {
        return [name, at_most_once](SoakLoad& load) {
            const auto& formats = SoakCrowd::formats();
            load.post_group(name, formats[load.below(4)].format, at_most_once);
        };
    };
    kinds_ = {
        {"move", 100, [](SoakLoad& load) { load.post_moving(); }},
        {"refresh", 50, [](SoakLoad& load) { load.refresh(); }},
        {"delete", 10, [](SoakLoad& load) { load.remove(load.any_moving()); }},
        {"kill", 0.5, [](SoakLoad& load) { load.kill_some(); }},
        {"single", 30, [](SoakLoad& load) { load.post_single(false); }},
        {"single, with a key", 3, [](SoakLoad& load) { load.post_single(true); }},
        {"direct", 3, [](SoakLoad& load) { load.post_direct(); }},
        {"tag", 3, to_group("tag", false)},
        {"at most once", 2, to_group("at most once", true)},
        {"template", 2, [](SoakLoad& load) { load.post_group("template", "template", false); }},
        {"rated", 1, [](SoakLoad& load) { load.post_rated(); }},
        {"scheduled", 0.5, [](SoakLoad& load) { load.post_scheduled(); }},
        {"broadcast", 0.2, [](SoakLoad& load) { load.post_to_all(); }},
        {"pause", 0.1, [](SoakLoad& load) { load.command("pause"); }},
        {"cancel", 0.03, [](SoakLoad& load) { load.command("cancel"); }},
    };
    for (Kind& kind : kinds_) kind.per_s *= pace;
}

void SoakLoad::populate() {
    hub::create_hub(client_, hub_name, sink_.credentials());
    hub::ProgressBar bar("registering", crowd_.size());
    for (std::uint32_t i = 0; i < crowd_.size();) {
        for (const std::uint32_t until = std::min(i + 1'000, crowd_.size()); i < until; ++i)
            move(i);
        flush();
        bar.set(i);
    }
    bar.finish();
    if (wrong_count_ > 0) throw std::runtime_error(wrong_.front());
    figures_ = {};
}

void SoakLoad::ask(hub::ClientRequest request, Answered answered) {
    asked_.emplace_back(std::move(request), std::move(answered));
}

void SoakLoad::flush() {
    std::size_t next = 0;
    client_.call_many(
        [&](hub::ClientRequest& request) {
            if (next == asked_.size()) return false;
            request = std::move(asked_[next].first);
            request.tag = next++;
            return true;
        },
        [&](const hub::ClientRequest& request, const hub::ClientReply& reply) {
            asked_[request.tag].second(reply);
        },
        in_flight_max);
    asked_.clear();
}

void SoakLoad::tick(double now_s, bool rest) {
    before_s_ = std::exchange(now_s_, now_s);
    const double step_s = std::min(now_s_ - before_s_, step_s_max);
    for (Kind& kind : kinds_) {
        if (rest) break;
        for (kind.owed += kind.per_s * step_s; kind.owed >= 1; --kind.owed) kind.post(*this);
    }
    for (auto& [id, at_s] : std::exchange(paused_, {})) {
        if (at_s > now_s_ && !rest) {
            paused_.emplace_back(std::move(id), at_s);
            continue;
        }
        ask({"POST", path("sends/" + id + "/resume"), {}, {}, 0}, [](const hub::ClientReply&) {});
    }
    if (!rest && now_s_ >= fault_next_s_) go_wrong();
    look_after_open();
    flush();
}

// --- sends ---

void SoakLoad::send(Order order) {
    const std::uint64_t number = ++number_;
    hub::ClientRequest request;
    request.method = "POST";
    request.path = path(order.after_s > 0 ? "schedulednotifications" : "messages");
    if (order.direct) request.path += "?direct";
    request.headers = SoakCrowd::headers(order.format);
    if (!order.tags.empty())
        request.headers.emplace_back("servicebusnotification-tags", order.tags);
    if (order.at_most_once) request.headers.emplace_back("pushhub-delivery", "at-most-once");
    if (order.after_s > 0) {
        const auto at_ms =
            pns::system_clock().wall_ms() + static_cast<std::int64_t>(order.after_s * 1'000);
        request.headers.emplace_back("servicebusnotification-scheduletime",
                                     hub::iso_seconds(at_ms));
    }
    for (auto& header : order.headers) request.headers.push_back(std::move(header));
    request.body = SoakCrowd::body(order.format, number);
    ask(std::move(request), [this, order = std::move(order)](const hub::ClientReply& reply) {
        if (reply.status == 429) {
            ++figures_.busy;
            return;
        }
        if (reply.status != 201)
            return say_wrong(order.kind + " was answered " + std::to_string(reply.status) + ": " +
                             reply.body.substr(0, 200));
        ++figures_.sends;
        Open open{order.kind, id_of(reply), order.expected, order.at_most_once, false};
        open.from_s = now_s_ + order.after_s;
        open.limit_s = order.limit_s;
        open.look_at_s = open.from_s + look_every_s;
        open.faults_before = figures_.faults;
        std::string id = open.id;
        open_.emplace(std::move(id), std::move(open));
    });
}

void SoakLoad::post_single(bool once) {
    const std::uint32_t device = any_steady();
    Order order;
    order.kind = "single";
    order.format = SoakCrowd::format_of(device);
    order.tags = below(2) == 0 ? "$InstallationId:{" + SoakCrowd::id(device) + "}"
                               : "$UserId:{user-" + std::to_string(device) + "}";
    order.expected = 1;
    if (once) order.headers = {{"idempotency-key", "key-" + std::to_string(random_())}};
    send(std::move(order));
}

void SoakLoad::post_direct() {
    const std::uint32_t device = any_steady();
    Order order;
    order.kind = "direct";
    order.format = SoakCrowd::format_of(device);
    order.expected = 1;
    order.direct = true;
    order.headers = {{"servicebusnotification-devicehandle", crowd_.handle(device, 0)}};
    send(std::move(order));
}

void SoakLoad::post_group(const std::string& kind, std::string_view format, bool at_most_once) {
    std::uint32_t group = below(SoakCrowd::groups);
    if (format == "template") group -= group % 4;  // one with templates
    Order order;
    order.kind = kind;
    order.format = format;
    order.tags = SoakCrowd::group_tag(group);
    order.expected = crowd_.audience(format, group);
    order.at_most_once = at_most_once;
    send(std::move(order));
}

void SoakLoad::post_rated() {
    Order order;
    order.kind = "rated";
    order.format = "template";
    std::uint32_t group = below(SoakCrowd::groups - 2 * rated_groups);
    for (std::uint32_t i = 0; i < rated_groups; ++i, ++group) {
        order.tags += (i == 0 ? "" : " || ") + SoakCrowd::group_tag(group);
        order.expected += crowd_.audience(order.format, group);
    }
    order.headers = {{"pushhub-rate", rate}};
    order.limit_s = 60 + static_cast<double>(order.expected) / 25;
    order.at_most_once = below(4) == 0;
    send(std::move(order));
}

void SoakLoad::post_scheduled() {
    Order order;
    order.kind = "scheduled";
    order.format = SoakCrowd::formats()[below(5)].format;
    const std::uint32_t group = below(SoakCrowd::groups / 4) * 4;
    order.tags = SoakCrowd::group_tag(group);
    order.expected = crowd_.audience(order.format, group);
    order.after_s = scheduled_ahead_s;
    send(std::move(order));
}

void SoakLoad::post_to_all() {
    const auto& formats = SoakCrowd::formats();
    const std::string moving = all_turn_ % 2 == 0 ? "" : " || moving";
    Order order;
    order.kind = "broadcast";
    order.format = formats[all_turn_++ % formats.size()].format;
    order.tags = SoakCrowd::group_tag(SoakCrowd::groups) + moving;
    if (moving.empty()) order.expected = crowd_.audience(order.format, SoakCrowd::groups);
    send(std::move(order));
}

// --- devices ---

void SoakLoad::post_moving() {
    const std::uint32_t device = any_moving(), at = device - crowd_.steady();
    if (busy_[at]) return;
    ++versions_[at];
    gone_[at] = false;
    move(device);
}

void SoakLoad::move(std::uint32_t device) {
    const bool steady = crowd_.is_steady(device);
    const std::size_t at = steady ? 0 : device - crowd_.steady();
    if (!steady) busy_[at] = true;
    hub::ClientRequest request;
    request.method = "PUT";
    request.path = path("installations/" + SoakCrowd::id(device));
    request.headers = {{"content-type", "application/json"}};
    request.body = crowd_.json(device, steady ? 0 : versions_[at]);
    ask(std::move(request), [this, steady, at](const hub::ClientReply& reply) {
        if (!steady) busy_[at] = false;
        ++figures_.changes;
        if (reply.status != 200)
            say_wrong("a PUT was answered " + std::to_string(reply.status) + ": " +
                      reply.body.substr(0, 200));
    });
}

void SoakLoad::refresh() {
    move(any_steady());
}

void SoakLoad::remove(std::uint32_t device) {
    const std::uint32_t at = device - crowd_.steady();
    if (busy_[at] || gone_[at]) return;
    busy_[at] = gone_[at] = true;
    ask({"DELETE", path("installations/" + SoakCrowd::id(device)), {}, {}, 0},
        [this, at](const hub::ClientReply& reply) {
            busy_[at] = false;
            ++figures_.deletes;
            if (reply.status != 204)
                say_wrong("a DELETE was answered " + std::to_string(reply.status));
        });
}

void SoakLoad::kill_some() {
    const std::uint32_t device = any_moving();
    const std::string handle = crowd_.handle(device, versions_[device - crowd_.steady()]);
    sink_.control(std::string(SoakCrowd::platform(device))).kill({handle});
}

// --- what happens to sends ---

void SoakLoad::command(const std::string& what) {
    const auto rated = std::find_if(open_.begin(), open_.end(), [](const auto& one) {
        return one.second.kind == "rated" && !one.second.canceled;
    });
    if (rated == open_.end()) return;
    const std::string id = rated->first;
    rated->second.limit_s += 10;
    if (what == "cancel") rated->second.canceled = true;
    ask({"POST", path("sends/" + id + "/" + what), {}, {}, 0},
        [this, id, what](const hub::ClientReply& reply) {
            ++figures_.commands;
            if (reply.status == 200 && what == "pause") paused_.emplace_back(id, now_s_ + paused_s);
            if (reply.status != 200 && reply.status != 409)
                say_wrong(what + " was answered " + std::to_string(reply.status));
        });
}

void SoakLoad::go_wrong() {
    const auto& formats = SoakCrowd::formats();
    const Wrong& wrong = wrongs()[fault_turn_ % wrongs().size()];
    const std::string platform(formats[fault_turn_ % 4].platform);
    ++fault_turn_;
    ++figures_.faults;
    sink_.control(platform).set_faults(wrong.faults);
    if (wrong.reset) sink_.control(platform).reset_connections();
    fault_until_s_ = now_s_ + fault_s;
    fault_next_s_ = now_s_ + fault_every_s;
}

bool SoakLoad::quiet(const Open& send) const {
    return send.faults_before == figures_.faults && send.from_s > fault_until_s_ + aftermath_s;
}

void SoakLoad::look_after_open() {
    std::size_t looks = 0;
    for (auto& [key, send] : open_) {
        if (send.look_at_s > now_s_ || ++looks > looks_max) continue;
        send.look_at_s = now_s_ + look_every_s;
        ask({"GET", path("messages/" + send.id), {}, {}, 0},
            [this, id = send.id](const hub::ClientReply& reply) {
                const auto found = open_.find(id);
                if (found == open_.end()) return;
                const Open& asked = found->second;
                if (reply.status != 200)
                    return say_wrong("telemetry was answered " + std::to_string(reply.status));
                const Telemetry told = parse_telemetry(reply.body);
                if (told.is_final()) {
                    judge(asked, told);
                } else if (now_s_ > asked.from_s + asked.limit_s) {
                    say_wrong("a send (" + asked.kind + ") has not ended after " +
                              hub::fixed(asked.limit_s, 0) + " s: " + told.state);
                } else {
                    return;
                }
                open_.erase(found);
            });
    }
}

void SoakLoad::judge(const Open& send, const Telemetry& told) {
    const std::uint64_t success = told.devices("Success"), unknown = told.devices("Unknown");
    figures_.pushes += success;
    figures_.unknown += unknown;
    for (const auto& [platform, counts] : told.outcomes) {
        for (const auto& [outcome, count] : counts) {
            if (outcome == "Success") told_[platform].success += count;
            const bool in_doubt = outcome == "Unknown" || send.canceled;
            if (outcome != "Success" && in_doubt) told_[platform].doubtful += count;
        }
    }
    if (send.expected == 0 || send.canceled) return;
    const bool all = told.devices() == send.expected;
    const bool reached =
        send.at_most_once ? success + unknown == send.expected : success == send.expected;
    const bool sure = unknown == 0 || !quiet(send);
    if (all && reached && sure && told.state == "Completed") return;
    std::string outcomes;
    for (const auto& [platform, counts] : told.outcomes) {
        for (const auto& [outcome, count] : counts)
            outcomes += ", " + platform + " " + outcome + " " + std::to_string(count);
    }
    say_wrong("a send (" + send.kind + (send.at_most_once ? ", at most once" : "") + ") to " +
              std::to_string(send.expected) + " devices ended as " + told.state + outcomes);
}

void SoakLoad::compare() {
    for (auto& [platform, told] : std::exchange(told_, {})) {
        const SimControl& control = sink_.control(platform);
        const std::uint64_t taken = control.taken().pushes - control.doubles();
        if (taken < told.success || taken > told.success + told.doubtful)
            say_wrong(platform + " took " + hub::grouped(taken) + " pushes, told were " +
                      hub::grouped(told.success) + " as delivered and " +
                      hub::grouped(told.doubtful) + " in doubt");
        control.forget();
    }
}

void SoakLoad::say_wrong(const std::string& what) {
    if (++wrong_count_ <= wrong_max) wrong_.push_back(what);
}

}  // namespace bench
