#include "tests/torture_load.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "bench/telemetry.hpp"
#include "hub/api/parts.hpp"
#include "hub/cli/hub_setup.hpp"
#include "hub/text/times.hpp"
#include "pns/clock.hpp"
#include "registry/registry.hpp"
#include "tests/support/comes_true.hpp"

namespace torture {

using hub::ClientReply;
using hub::ClientRequest;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t mortal_from = 1'000'000, moving_from = 2'000'000;

void sleep_ms(std::uint64_t ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
}

}  // namespace

void Verdict::expect(bool holds, const std::string& what) {
    if (holds) {
        ++passed_;
        return;
    }
    const std::lock_guard lock(print_mutex_);
    if (++failed_ <= 20) {
        std::printf("FAILED: %s\n", what.c_str());
        std::fflush(stdout);
    }
}

// --- requests ---

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

ClientRequest put_installation(const std::string& id, const Provider& provider,
                               const std::string& handle, const std::string& tag) {
    ClientRequest request;
    request.method = "PUT";
    request.path = "/" + std::string(hub_name) + "/installations/" + id;
    request.headers = {{"content-type", "application/json"}};
    request.body = R"({"installationId":")" + id + R"(","platform":")" + provider.name +
                   R"(","pushChannel":")" + handle + R"(","tags":[")" + tag + R"("]})";
    return request;
}

ClientRequest message(const Provider& provider, const std::string& tag, std::string body) {
    ClientRequest request;
    request.method = "POST";
    request.path = "/" + std::string(hub_name) + "/messages";
    request.headers = {{"servicebusnotification-format", provider.format},
                       {"servicebusnotification-tags", tag}};
    if (std::string_view(provider.platform) == "wns") {
        request.headers.emplace_back("x-wns-type", "wns/raw");
        request.headers.emplace_back("content-type", "application/octet-stream");
    } else {
        request.headers.emplace_back("content-type", "application/json");
    }
    request.body = std::move(body);
    return request;
}

ClientReply get_installation(hub::HubClient& client, const std::string& id) {
    ClientRequest request;
    request.path = "/" + std::string(hub_name) + "/installations/" + id;
    return client.call(std::move(request));
}

bool has_tag(const ClientReply& reply, const std::string& tag) {
    return reply.status == 200 && reply.body.find('"' + tag + '"') != std::string::npos;
}

// --- the load ---

Load::Load(Hub& hub, Verdict& verdict, const Options& options)
    : hub_(hub), verdict_(verdict), options_(options) {}

void Load::populate() {
    const auto client = hub_.connect();
    hub::create_hub(*client, hub_name, hub_.credentials());
    for (const Provider& provider : providers) {
        for (int i = 0; i < options_.devices; ++i) {
            const std::string tail = std::string(provider.platform) + "-" + std::to_string(i);
            const auto number = static_cast<std::uint64_t>(i);
            const auto fixed = client->call(put_installation(
                "f-" + tail, provider, handle_of(provider.platform, number), "fixed"));
            const auto mortal = client->call(
                put_installation("d-" + tail, provider,
                                 handle_of(provider.platform, mortal_from + number), "mortal"));
            if (fixed.status != 200 || mortal.status != 200)
                throw std::runtime_error("an installation was refused: " + fixed.body);
        }
    }
}

void Load::start() {
    workers_.emplace_back([this] { work(1, [this](Worker& w) { post_send(w, false); }); });
    workers_.emplace_back(
        [this] { work(2, [this](Worker& w) { post_send(w, !options_.lossy); }); });
    workers_.emplace_back([this] { work(3, [this](Worker& w) { put_moving(w); }); });
    workers_.emplace_back([this] { work(4, [this](Worker& w) { strike_dead(w); }); });
}

void Load::stop() {
    stopping_ = true;
    for (auto& worker : workers_) worker.join();
    workers_.clear();
}

void Load::pause() {
    paused_ = true;
    if (!support::comes_true([this] { return resting_ == workers_.size(); }, options_.settle_s))
        throw std::runtime_error("the clients do not come to rest");
}

void Load::quiesce() {
    // A scheduled send that is being fired is counted nowhere for a moment.
    constexpr auto rest = std::chrono::seconds(1);
    pause();
    const auto until = Clock::now() + std::chrono::duration<double>(options_.settle_s);
    auto busy = Clock::now();
    while (Clock::now() - busy < rest) {
        const bool open = hub_.metric("pushhub_sends_open") != 0;
        if (open || hub_.metric("pushhub_sends_scheduled") != 0) busy = Clock::now();
        if (busy > until) throw std::runtime_error("the hub does not come to rest");
        sleep_ms(10);
    }
}

/// Repeats `step` until the end. A request that is lost leaves its record doubtful; the client
/// connects anew.
void Load::work(std::uint64_t number, const std::function<void(Worker&)>& step) {
    Worker worker;
    worker.random.seed(options_.seed * 1'000 + number);
    while (!stopping_) {
        if (paused_) {
            ++resting_;
            while (paused_ && !stopping_) sleep_ms(1);
            --resting_;
            continue;
        }
        try {
            if (!worker.client) worker.client = hub_.connect();
            step(worker);
        } catch (const std::exception&) {
            worker.client.reset();
            sleep_ms(5);
        }
    }
}

bool Load::is_refusal(const ClientReply& reply) {
    if (reply.status != 503) return false;
    ++refused_;
    if (reply.header("retry-after").empty()) verdict_.wrong("a 503 has no Retry-After");
    sleep_ms(20);
    return true;
}

void Load::post_send(Worker& worker, bool scheduled) {
    const Provider& provider = providers[worker.random() % std::size(providers)];
    Sent sent;
    sent.provider = &provider;
    sent.scheduled = scheduled;
    sent.at_most_once = worker.random() % 2 == 0;
    sent.mortal = !scheduled && worker.random() % 4 == 0;
    const std::size_t slot = add_send(sent);
    sent.body = body_of(provider.platform, "send " + std::to_string(slot));
    ClientRequest request = message(provider, sent.mortal ? "mortal" : "fixed", sent.body);
    request.headers.emplace_back("pushhub-delivery",
                                 sent.at_most_once ? "at-most-once" : "at-least-once");
    if (scheduled) {
        request.path = "/" + std::string(hub_name) + "/schedulednotifications";
        const auto in_ms = static_cast<std::int64_t>(worker.random() % 4'000);
        request.headers.emplace_back(
            "servicebusnotification-scheduletime",
            hub::iso_seconds(pns::system_clock().wall_ms() + 1'000 + in_ms));
    }
    set_send(slot, sent);
    const ClientReply reply = worker.client->call(std::move(request));
    if (is_refusal(reply)) return;
    if (reply.status == 429) {
        sent.provider = nullptr;
        set_send(slot, sent);
        sleep_ms(20);
        return;
    }
    if (reply.status != 201) {
        verdict_.wrong("a send was answered " + std::to_string(reply.status) + ": " + reply.body);
        return;
    }
    std::string id(reply.header("location"));
    id = id.substr(0, id.find('?'));
    sent.id = id.substr(id.rfind('/') + 1);
    set_send(slot, sent);
    sleep_ms(worker.random() % 250);
}

std::string Load::post_slow() {
    const auto client = hub_.connect();
    Sent sent;
    sent.provider = &providers[0];
    const std::size_t slot = add_send(sent);
    sent.body = body_of(sent.provider->platform, "slow " + std::to_string(slot));
    set_send(slot, sent);
    const std::string rate = std::to_string(std::max(1, options_.devices / 10)) + "/s";
    sent.id = bench::post_send(*client, hub_name, sent.provider->format, "fixed", sent.body,
                               {{"pushhub-rate", rate}});
    set_send(slot, sent);
    return sent.body;
}

std::size_t Load::received(const std::string& body) {
    const auto entries = hub_.sim(providers[0].platform).entries(true);
    const std::uint64_t hash = std::hash<std::string_view>()(body);
    return static_cast<std::size_t>(
        std::count_if(entries.begin(), entries.end(),
                      [hash](const auto& entry) { return entry.body_hash == hash; }));
}

void Load::put_moving(Worker& worker) {
    const std::string id = "m-" + std::to_string(worker.random() % 200);
    const Provider& provider = providers[worker.random() % std::size(providers)];
    const std::string tag = "state:" + std::to_string(worker.random() % 1'000'000'000);
    const std::string handle = handle_of(provider.platform, moving_from + worker.random() % 5'000);
    {
        const std::lock_guard lock(mutex_);
        moving_[id].doubtful.insert(tag);
    }
    const ClientReply reply = worker.client->call(put_installation(id, provider, handle, tag));
    if (is_refusal(reply)) return;
    const std::lock_guard lock(mutex_);
    if (reply.status == 200) {
        moving_[id] = {tag, {}};
        ++changes_;
    } else if (reply.status == 429) {
        moving_[id].doubtful.erase(tag);
    } else {
        verdict_.wrong("an installation was answered " + std::to_string(reply.status) + ": " +
                       reply.body);
    }
}

void Load::strike_dead(Worker& worker) {
    const Provider& provider = providers[worker.random() % std::size(providers)];
    const auto number = static_cast<int>(worker.random() % 1'000'000) % options_.devices;
    // At most a tenth dies, or the gate for bulk retirements holds them back.
    if (number % 10 == 0) {
        const std::lock_guard lock(mutex_);
        const std::string tail = std::string(provider.platform) + "-" + std::to_string(number);
        if (dead_.emplace(tail, &provider).second) {
            pns::sim::Rules rules;
            pns::sim::Behaviour gone;
            gone.act = pns::sim::Act::gone;
            rules.handles[handle_of(provider.platform,
                                    mortal_from + static_cast<std::uint64_t>(number))] = gone;
            hub_.sim(provider.platform).add_rules(std::move(rules));
        }
    }
    sleep_ms(20);
}

std::size_t Load::add_send(const Sent& sent) {
    const std::lock_guard lock(mutex_);
    sends_.push_back(sent);
    return sends_.size() - 1;
}

void Load::set_send(std::size_t slot, const Sent& sent) {
    const std::lock_guard lock(mutex_);
    sends_[slot] = sent;
}

std::size_t Load::acknowledged_sends() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(std::count_if(
        sends_.begin(), sends_.end(), [](const Sent& sent) { return !sent.id.empty(); }));
}

// --- the verdict ---

void Load::check() {
    stop();
    const auto client = hub_.connect();
    post_last_mortal(*client);
    check_sends(*client);
    check_installations(*client);
    check_store();
}

void Load::check_sends(hub::HubClient& client) {
    std::unordered_map<std::string, bench::Telemetry> final_states;
    for (const Sent& sent : sends_) {
        if (sent.id.empty()) continue;
        final_states[sent.id] =
            bench::wait_until_final(client, hub_name, sent.id, options_.settle_s);
    }
    // (handle, body) -> times accepted, by provider.
    std::map<std::string, std::unordered_map<std::uint64_t, std::unordered_map<std::string, int>>>
        accepted;
    for (const Provider& provider : providers) {
        auto& of_platform = accepted[provider.platform];
        for (const auto& entry : hub_.sim(provider.platform).entries(true))
            ++of_platform[entry.body_hash][entry.handle];
    }
    sums_.sends = sends_.size();
    sums_.acknowledged_sends = acknowledged_sends();
    sums_.changes = changes_;
    sums_.refusals = refused_;
    sums_.retired_devices = dead_.size();
    const auto all = static_cast<std::uint64_t>(options_.devices);
    for (const Sent& sent : sends_) {
        if (sent.provider == nullptr) continue;
        const std::string platform = sent.provider->platform;
        const auto& received = accepted[platform][std::hash<std::string_view>()(sent.body)];
        std::uint64_t reached = 0, twice = 0;
        const std::uint64_t first = sent.mortal ? mortal_from : 0;
        for (std::uint64_t i = 0; i < all; ++i) {
            const auto found = received.find(handle_of(platform, first + i));
            const int times = found == received.end() ? 0 : found->second;
            reached += times > 0 ? 1 : 0;
            twice += times > 1 ? static_cast<std::uint64_t>(times - 1) : 0;
        }
        sums_.pushes += reached;
        sums_.doubled += twice;
        const std::string who = platform + (sent.scheduled ? " scheduled" : "") +
                                (sent.at_most_once ? " at-most-once send " : " send ") + sent.id;
        if (sent.at_most_once)
            verdict_.expect(twice == 0, who + " doubled " + std::to_string(twice));
        if (sent.id.empty()) continue;
        const bench::Telemetry& told = final_states.at(sent.id);
        if (sent.mortal) {
            verdict_.expect(told.devices() <= all, who + " counts more devices than there are");
            continue;
        }
        verdict_.expect(told.devices() == all, who + " counts " + std::to_string(told.devices()) +
                                                   " devices of " + std::to_string(all) +
                                                   ", state " + told.state);
        const std::uint64_t in_doubt = told.devices() - told.devices("Success");
        const std::uint64_t missed = all - reached;
        sums_.told_unknown += in_doubt;
        sums_.missed += missed;
        if (sent.at_most_once) {
            verdict_.expect(missed <= in_doubt, who + " missed " + std::to_string(missed) +
                                                    " and owns up to " + std::to_string(in_doubt));
        } else {
            verdict_.expect(missed == 0, who + " missed " + std::to_string(missed));
        }
    }
}

void Load::check_lossy() {
    stop();
    const auto client = hub_.connect();
    const auto until = Clock::now() + std::chrono::duration<double>(options_.settle_s);
    sums_.sends = sends_.size();
    sums_.changes = changes_;
    for (const Sent& sent : sends_) {
        if (sent.id.empty()) continue;
        ++sums_.acknowledged_sends;
        ClientRequest request;
        request.path = "/" + std::string(hub_name) + "/sends/" + sent.id;
        ClientReply reply = client->call(request);
        nlohmann::json told;
        while (reply.status == 200 && Clock::now() < until) {
            told = nlohmann::json::parse(reply.body, nullptr, false);
            if (told.contains("endedAt")) break;
            sleep_ms(10);
            reply = client->call(request);
        }
        if (reply.status == 404) {
            ++sums_.missed;
            continue;
        }
        std::uint64_t counted = 0;
        for (const auto& outcome : told.value("outcomes", nlohmann::json::object()))
            counted += outcome.get<std::uint64_t>();
        verdict_.expect(reply.status == 200 && told.contains("endedAt") &&
                            told.value("audience", std::uint64_t{0}) == counted,
                        "the sums of a send do not hold: " + reply.body);
    }
    check_store();
}

/// The dead are found out at the latest by these.
void Load::post_last_mortal(hub::HubClient& client) {
    for (const Provider& provider : providers) {
        std::vector<std::pair<std::string, std::string>> headers;
        if (std::string_view(provider.platform) == "wns")
            headers = {{"x-wns-type", "wns/raw"}, {"content-type", "application/octet-stream"}};
        const std::string id = bench::post_send(client, hub_name, provider.format, "mortal",
                                                body_of(provider.platform, "last"), headers);
        bench::wait_until_final(client, hub_name, id, options_.settle_s);
    }
}

void Load::check_installations(hub::HubClient& client) {
    for (const auto& [id, written] : moving_) {
        const ClientReply reply = get_installation(client, id);
        const bool maybe =
            std::any_of(written.doubtful.begin(), written.doubtful.end(),
                        [&reply](const std::string& tag) { return has_tag(reply, tag); });
        if (written.acknowledged.empty()) {
            verdict_.expect(reply.status == 404 || maybe, id + " is a third thing");
        } else {
            verdict_.expect(maybe || has_tag(reply, written.acknowledged),
                            id + " lost what was acknowledged");
        }
    }
    constexpr const char* expired = R"("pushChannelExpired":true)";
    for (const auto& [tail, provider] : dead_) {
        verdict_.expect(
            get_installation(client, "d-" + tail).body.find(expired) != std::string::npos,
            "the dead handle of d-" + tail + " was not retired");
    }
    for (const Provider& provider : providers) {
        for (int i = 0; i < options_.devices; ++i) {
            const std::string id = std::string("f-") + provider.platform + "-" + std::to_string(i);
            const ClientReply reply = get_installation(client, id);
            verdict_.expect(reply.status == 200 && reply.body.find(expired) == std::string::npos,
                            id + " was lost or retired");
        }
    }
}

/// Stops the hub as an operator would, and looks at its store from inside.
void Load::check_store() {
    hub_.stop();
    registry::Options options;
    options.directory = hub_.data() / "store";
    std::string why;
    const auto registry = registry::Registry::open(options, why);
    verdict_.expect(registry.has_value(), "the store opens: " + why);
    if (!registry) return;
    std::string faults;
    for (const auto& row : (*registry)->hubs()) {
        for (const std::string& fault : (*registry)->verify(row.number)) faults += " " + fault;
    }
    verdict_.expect(faults.empty(), "the store:" + faults);
}

}  // namespace torture
