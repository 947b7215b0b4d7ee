#include <array>
#include <boost/asio/post.hpp>
#include <deque>
#include <set>
#include <utility>

#include "pns/bearer.hpp"
#include "pns/clock.hpp"
#include "pns/nursery.hpp"
#include "tests/support/run_until.hpp"
#include "tests/support/simulators.hpp"

namespace {

using nlohmann::json;

/// Submits every push once, again after retry_later, until all verdicts are final.
struct Round final : pns::PushOwner {
    struct Device {
        std::string handle;
        pns::Push push;
        int verdicts = 0, attempts = 0;
        bool final = false;
        std::optional<pns::Verdict> last;
    };

    explicit Round(std::vector<std::string> handles) {
        devices.resize(handles.size());
        for (std::size_t i = 0; i < handles.size(); ++i) devices[i].handle = std::move(handles[i]);
    }

    /// Devices from `others_from` on get `other`.
    void run(const std::string& platform, const pns::Network& network, const pns::Message& message,
             std::size_t others_from = SIZE_MAX, const pns::Message& other = {}) {
        sender = pns::Sender::create(io, support::made_credential(platform).credential,
                                     pns::default_settings(platform), network, bearers);
        const auto prepared = [&](const pns::Message& one) {
            auto made = sender->prepare(one);
            REQUIRE(std::holds_alternative<std::shared_ptr<const pns::Prepared>>(made));
            return std::get<std::shared_ptr<const pns::Prepared>>(made);
        };
        const auto plain = prepared(message);
        const auto odd = others_from < devices.size() ? prepared(other) : nullptr;
        for (std::size_t i = 0; i < devices.size(); ++i) {
            pns::Push& push = devices[i].push;
            push.handle = devices[i].handle;
            push.prepared = i < others_from ? plain : odd;
            push.id[0] = static_cast<std::uint8_t>(i >> 8);
            push.id[1] = static_cast<std::uint8_t>(i);
            push.owner = this;
            push.index = static_cast<std::uint32_t>(i);
            waiting.push_back(&push);
        }
        pns::Nursery nursery(io.get_executor());
        nursery_ = &nursery;
        asio_post([this] { pump(); });
        io.run();
        CHECK(nursery.size() == 0);
        CHECK(!nursery.first_error());
    }

    void pump() {
        while (!waiting.empty() && sender->room() > 0) {
            pns::Push* push = waiting.back();
            waiting.pop_back();
            ++devices[push->index].attempts;
            sender->submit(*push);
        }
    }

    void on_verdict(pns::Push& push, pns::Verdict&& verdict) override {
        if (on_first_verdict) std::exchange(on_first_verdict, nullptr)();
        Device& device = devices[push.index];
        ++device.verdicts;
        device.last.emplace(std::move(verdict));
        const auto kind = device.last->kind();
        const bool again =
            kind == pns::Verdict::Kind::retry_later || kind == pns::Verdict::Kind::not_sent;
        if (again && device.attempts < 3) {
            waiting.push_back(&push);
            asio_post([this] { pump(); });
            return;
        }
        REQUIRE(!device.final);
        device.final = true;
        pump();
        if (++finals == devices.size()) nursery_->start(sender->stop(1000));
    }

    template <class Function>
    void asio_post(Function function) {
        boost::asio::post(io, std::move(function));
    }

    boost::asio::io_context io{1};
    std::deque<Device> devices;
    std::vector<pns::Push*> waiting;
    pns::BearerCache bearers{pns::system_clock()};
    std::unique_ptr<pns::Sender> sender;
    std::size_t finals = 0;
    std::function<void()> on_first_verdict;

  private:
    pns::Nursery* nursery_ = nullptr;
};

std::vector<std::string> handles_of(const std::string& platform, std::size_t count) {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < count; ++i) {
        const std::string number = std::to_string(10'000 + i);
        if (platform == "apns")
            out.push_back("ABCD0" + number);
        else if (platform == "wns")
            out.push_back("https://db5p.notify.windows.com/?token=" + number);
        else
            out.push_back("handle:" + number);
    }
    return out;
}

pns::Message message_for(const std::string& platform) {
    if (platform == "apns") return support::message_of(R"({"aps":{"alert":"hello"}})");
    if (platform == "fcmv1") return support::message_of(R"({"message":{"data":{"a":"b"}}})");
    if (platform == "wns") return support::message_of("<toast/>", {{"x-wns-type", "wns/toast"}});
    return support::message_of(R"({"data":{"a":"b"}})");
}

/// Pushes that go out again at every verdict, until it is told to end.
struct Traffic final : pns::PushOwner {
    Traffic(const std::string& platform, const pns::SenderSettings& settings,
            const pns::Network& network) {
        sender = pns::Sender::create(io, support::made_credential(platform).credential, settings,
                                     network, bearers);
        const auto prepared =
            std::get<std::shared_ptr<const pns::Prepared>>(sender->prepare(message_for(platform)));
        handles = handles_of(platform, pushes.size());
        for (std::size_t i = 0; i < pushes.size(); ++i) {
            pushes[i].handle = handles[i];
            pushes[i].prepared = prepared;
            pushes[i].owner = this;
            sender->submit(pushes[i]);
        }
        open = pushes.size();
    }
    void on_verdict(pns::Push& push, pns::Verdict&& verdict) override {
        ++verdicts;
        if (verdict.kind() != pns::Verdict::Kind::accepted) ++others;
        for (std::size_t i = push.id.size(); ++push.id[--i] == 0 && i > 0;) {
        }
        if (ending)
            --open;
        else
            sender->submit(push);
    }
    void end() {
        ending = true;
        REQUIRE(support::run_until(io, [&] { return open == 0; }));
        pns::Nursery nursery(io.get_executor());
        nursery.start(sender->stop(5'000));
        REQUIRE(support::run_until(io, [&] { return nursery.size() == 0; }));
    }

    boost::asio::io_context io{1};
    pns::BearerCache bearers{pns::system_clock()};
    std::unique_ptr<pns::Sender> sender;
    std::vector<std::string> handles;
    std::array<pns::Push, 40> pushes;
    std::uint64_t verdicts = 0, others = 0;
    std::size_t open = 0;
    bool ending = false;
};

}  // namespace

TEST_CASE("senders and simulators agree on every push of all four providers", "[pns]") {
    using Kind = pns::Verdict::Kind;
    constexpr std::size_t count = 400;
    for (const std::string platform : {"apns", "fcmv1", "wns", "adm"}) {
        INFO(platform);
        auto options = support::sim_options(platform);
        options.threads = 2;
        const auto sim = support::start_sim(std::move(options));
        const auto handles = handles_of(platform, count);
        json table;
        const std::vector<const char*> acts = {"gone", "bad_handle", "server_error_once",
                                               "wrong_app", "ok"};
        for (std::size_t i = 0; i < count; i += 4) table[handles[i]] = acts[i / 4 % acts.size()];
        sim->set_rules(support::rules_of(platform, {{"handles", table}}));

        Round round(handles);
        round.run(platform, support::network_of(*sim), message_for(platform));
        std::uint64_t accepted = 0, verdicts = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const Round::Device& device = round.devices[i];
            INFO("device " << i << ": " << device.last->reason());
            REQUIRE(device.final);
            const std::string act = i % 4 == 0 ? acts[i / 4 % acts.size()] : "ok";
            CHECK(device.attempts == (act == "server_error_once" ? 2 : 1));
            CHECK(device.verdicts == device.attempts);
            const bool good = act == "ok" || act == "server_error_once";
            if (good) CHECK(device.last->kind() == Kind::accepted);
            if (act == "gone") CHECK(device.last->kind() == Kind::dead);
            if (act == "bad_handle")
                CHECK(device.last->kind() ==
                      (platform == "wns" || platform == "adm" ? Kind::dead : Kind::suspect));
            if (act == "wrong_app")
                CHECK(device.last->kind() == (platform == "adm" ? Kind::dead : Kind::suspect));
            accepted += good ? 1 : 0;
            verdicts += static_cast<std::uint64_t>(device.verdicts);
        }
        const auto counters = sim->counters();
        CHECK(counters.accepted == accepted);
        CHECK(counters.received == verdicts);
        CHECK(counters.refused_total == verdicts - accepted);
        CHECK(counters.doubles == 0);
        CHECK(counters.tokens_minted == (platform == "apns" ? 0 : 1));
        CHECK(counters.journal_left_out == 0);
        std::vector<std::string> received;
        for (const auto& entry : sim->entries(true)) received.push_back(entry.handle);
        std::sort(received.begin(), received.end());
        CHECK(std::adjacent_find(received.begin(), received.end()) == received.end());
        CHECK(received.size() == accepted);
        sim->stop();
        CHECK(sim->counters().connections == 0);
    }
}

TEST_CASE("pushes with a topic of their own stop no others", "[pns]") {
    constexpr std::size_t good = 100, foreign = 600;
    const auto sim = support::start_sim("apns");
    Round round(handles_of("apns", good + foreign));
    auto other = message_for("apns");
    other.headers.emplace_back("apns-topic", "com.example.foreign");
    // The last ones are submitted first.
    round.run("apns", support::network_of(*sim), message_for("apns"), good, other);
    for (std::size_t i = 0; i < good + foreign; ++i) {
        const Round::Device& device = round.devices[i];
        CHECK(device.attempts == 1);
        CHECK(!device.last->is<pns::NotSent>());
        CHECK(device.last->is<pns::Accepted>() == (i < good));
        CHECK(!device.last->blames_credential());
    }
}

TEST_CASE("hot devices do not stop the project", "[pns]") {
    constexpr std::size_t hot = 8, each = 10, good = 100;
    auto options = support::sim_options("fcmv1");
    options.handle_minute_max = 2;
    const auto sim = support::start_sim(std::move(options));
    auto handles = handles_of("fcmv1", good + hot);
    for (std::size_t i = 0; i < hot * (each - 1); ++i) handles.push_back(handles[good + i % hot]);
    Round round(std::move(handles));
    round.run("fcmv1", support::network_of(*sim), message_for("fcmv1"));
    std::size_t throttled = 0;
    for (std::size_t i = 0; i < round.devices.size(); ++i) {
        const Round::Device& device = round.devices[i];
        CHECK(!device.last->is<pns::NotSent>());
        if (i < good) CHECK((device.attempts == 1 && device.last->is<pns::Accepted>()));
        throttled += device.last->outcome() == pns::Outcome::channel_throttled;
    }
    CHECK(throttled == hot * (each - 2));
}

TEST_CASE("an ADM rotation reaches the caller as the new handle", "[pns]") {
    const auto sim = support::start_sim("adm");
    sim->set_rules(
        support::rules_of("adm", {{"handles", {{"old", {{"act", "rotate"}, {"to", "new"}}}}}}));
    Round round({"old", "kept"});
    round.run("adm", support::network_of(*sim), message_for("adm"));
    CHECK(round.devices[0].last->get<pns::Accepted>()->new_handle == "new");
    CHECK(round.devices[1].last->get<pns::Accepted>()->new_handle.empty());
}

TEST_CASE("a token revoked during a send is fetched anew and every push still arrives", "[pns]") {
    for (const std::string platform : {"fcmv1", "wns", "adm"}) {
        INFO(platform);
        const auto sim = support::start_sim(platform);
        const auto handles = handles_of(platform, 300);
        Round round(handles);
        round.on_first_verdict = [&] { sim->revoke_tokens(); };
        round.run(platform, support::network_of(*sim), message_for(platform));
        for (const auto& device : round.devices)
            CHECK(device.last->kind() == pns::Verdict::Kind::accepted);
        const auto counters = sim->counters();
        CHECK(counters.accepted == handles.size());
        CHECK(counters.doubles == 0);
        CHECK(counters.tokens_minted <= 2);
    }
}

TEST_CASE("connections are replaced at their age without a moment that has none", "[pns]") {
    for (const std::string platform : {"apns", "fcmv1"}) {
        INFO(platform);
        auto options = support::sim_options(platform);
        options.handle_minute_max = options.handle_hour_max = 1'000'000;
        const auto sim = support::start_sim(std::move(options));
        pns::SenderSettings settings = pns::default_settings(platform);
        settings.connections_max = 1;
        settings.age_max_ms = 60;
        settings.pushes_per_s_max = 0;
        Traffic traffic(platform, settings, support::network_of(*sim));
        REQUIRE(support::run_until(
            traffic.io, [&] { return traffic.sender->figures().connects >= 6; }, 60));
        const auto happenings = sim->happenings();
        traffic.end();
        CHECK(traffic.others == 0);
        CHECK(traffic.sender->figures().resends == 0);
        CHECK(traffic.sender->figures().lost == 0);
        const auto counters = sim->counters();
        CHECK(counters.accepted == traffic.verdicts);
        CHECK(counters.journal_left_out == 0);
        CHECK(counters.after_goaway == 0);
        CHECK(counters.streams_peak > 1);
        // By what the provider saw: when one of them said GOAWAY another one was open that had not.
        std::set<std::uint64_t> carried, serving;
        for (const auto& entry : sim->entries(true)) carried.insert(entry.connection);
        CHECK(carried.size() >= 5);
        for (const auto& happening : happenings) {
            if (carried.count(happening.connection) == 0) continue;
            if (happening.what == "tls h2") serving.insert(happening.connection);
            if (happening.what != "goaway received") continue;
            CHECK(serving.erase(happening.connection) == 1);
            CHECK(!serving.empty());
        }
    }
}
