// How a sender shares what it has: between sends, between loops, between fresh pushes and retries.

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

#include "pns/alarm.hpp"
#include "pns/clock.hpp"
#include "tests/support/sender_bench.hpp"
#include "tests/support/simulators.hpp"

namespace {

using pns::Outcome;
using support::H1Server;
using support::H2Server;
using support::run_until;
using Bench = support::SenderBench;
using Kind = pns::Verdict::Kind;

support::FakeProvider one_stream_first() {
    support::FakeProvider provider;
    provider.one_stream = true;
    return provider;
}

}  // namespace

TEST_CASE("a push to one user passes a broadcast that waits for the same provider", "[pns]") {
    Bench bench;
    const bool h2 = GENERATE(true, false);
    H2Server h2_server(bench.loop, {"push.test"});
    H1Server h1_server(bench.loop, {"push.test"});
    std::vector<std::string> arrived;
    h2_server.limits.streams_max_offered = 10;
    bench.settings.connections_max = 1;
    h2_server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        arrived.push_back(r.path);
        p.answer(r.stream, 200);
    };
    h1_server.reply = [&](const H1Server::Request& r) {
        arrived.push_back(r.head.substr(5, r.head.find(' ', 5) - 5));
        return H1Server::answer(200, "");
    };
    bench.rules = {h2 ? h2_server.rule("push.test") : h1_server.rule("push.test")};
    auto provider = one_stream_first();
    if (!h2) provider.protocol = pns::Account::Protocol::h1;
    bench.open(provider);
    for (int i = 0; i < 2'000; ++i) bench.send("broadcast", nullptr, 1);
    std::vector<std::size_t> at;  // what had arrived when a single push was submitted
    std::uint32_t flow = 1;
    bench.then = [&](Bench::Item&) {
        if (bench.told % 100 != 50 || at.size() >= 10) return;
        at.push_back(arrived.size());
        bench.send("single", nullptr, ++flow);
    };
    REQUIRE(bench.wait_for(2'010));
    REQUIRE(at.size() == 10);
    std::vector<std::size_t> came;
    for (std::size_t i = 0; i < arrived.size(); ++i) {
        if (arrived[i].ends_with("single")) came.push_back(i);
    }
    REQUIRE(came.size() == 10);
    // Not behind more than what was on its way already.
    for (std::size_t i = 0; i < came.size(); ++i) CHECK(came[i] <= at[i] + 20);
    bench.stop();
    bench.end(h2_server);
    bench.end(h1_server);
}

TEST_CASE("all senders of a credential together keep to the provider's rate", "[pns]") {
    const auto rates = std::make_shared<pns::RateBuckets>();
    Bench first, second;
    H2Server server(first.loop, {"push.test"});
    H2Server server2(second.loop, {"push.test"});
    for (Bench* bench : {&first, &second}) {
        bench->rates = rates;
        bench->settings.pushes_per_s_max = 2'000;
        bench->rules = {(bench == &first ? server : server2).rule("push.test")};
        bench->open();
    }
    const auto from_ms = pns::system_clock().steady_ms();
    for (int i = 0; i < 1'600; ++i) {
        first.send("x");
        second.send("x");
    }
    REQUIRE(run_until(first.loop, [&] {
        second.loop.poll();
        if (second.loop.stopped()) second.loop.restart();
        return first.told + second.told == 3'200;
    }));
    const auto took_ms = pns::system_clock().steady_ms() - from_ms;
    CHECK(took_ms >= 590);  // 2000 at once, 1200 at 2000 a second
    CHECK(first.sender->figures().rate_waits + second.sender->figures().rate_waits > 0);
    for (Bench* bench : {&first, &second}) {
        CHECK(bench->sender->figures().accepted == 1'600);
        CHECK(bench->sender->figures().connects == 1);  // waiting for the clock is no pressure
    }
    first.stop();
    second.stop();
    first.end(server);
    second.end(server2);
}

TEST_CASE("retries over the budget come back unsent, fresh pushes do not wait", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    std::map<std::string, int> arrived;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++arrived[r.path];
        p.answer(r.stream, 200);
    };
    bench.rules = {server.rule("push.test")};
    bench.open();
    for (int i = 0; i < 500; ++i) bench.send("fresh");  // save up 100 retries
    for (int i = 0; i < 2'000; ++i) bench.send("retry", nullptr, 0, 1);
    REQUIRE(bench.wait_for(2'500));
    CHECK(arrived["/fresh"] == 500);
    CHECK(arrived["/retry"] >= 1'100);
    CHECK(arrived["/retry"] < 1'300);
    int put_off = 0;
    for (const auto& item : bench.items) {
        const auto& v = item.verdicts[0];
        const auto* unsent = v.get<pns::NotSent>();
        if (unsent == nullptr) continue;
        ++put_off;
        CHECK(unsent->after_ms >= 1'000);
        CHECK(unsent->after_ms <= 72'000);
    }
    CHECK(put_off + arrived["/retry"] == 2'000);
    CHECK(bench.sender->figures().retries_put_off == static_cast<std::uint64_t>(put_off));
    bench.stop();
    CHECK(bench.totals->retries_put_off == static_cast<std::uint64_t>(put_off));
    bench.end(server);
}

TEST_CASE("a peer that died while it owes answers is noticed before they time out", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    int arrived = 0;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        if (++arrived == 1) return p.answer(r.stream, 200);
        server.mute = true;
    };
    bench.settings.request_timeout_ms = 2'000;
    bench.settings.ping_timeout_ms = 50;
    bench.rules = {server.rule("push.test")};
    bench.open(one_stream_first());
    bench.send("x");
    REQUIRE(bench.wait_for(1));
    for (int i = 0; i < 5; ++i) bench.send("x");
    REQUIRE(bench.wait_for(6));
    for (std::size_t i = 1; i < 6; ++i) {
        CHECK(bench.items[i].verdicts[0].kind() == Kind::lost);
        CHECK(bench.items[i].verdicts[0].reason() == "the connection ended before the answer");
    }
    bench.stop();
    bench.end(server);
}

TEST_CASE("GOAWAY with ENHANCE_YOUR_CALM gives the provider a rest", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    std::vector<std::int64_t> times;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        times.push_back(pns::system_clock().steady_ms());
        if (times.size() > 1) return p.answer(r.stream, 200);
        p.session().submit_goaway(11, {}, 0);
        p.flush();
    };
    bench.rules = {server.rule("push.test")};
    bench.open();
    bench.send("x");
    REQUIRE(bench.wait_for(1));
    CHECK(bench.items[0].verdicts[0].kind() == Kind::accepted);
    REQUIRE(times.size() == 2);
    CHECK(times[1] - times[0] >= 950);
    bench.stop();
    bench.end(server);
}

TEST_CASE("a limit that moves up and down is never overrun, and nothing is lost by it", "[pns]") {
    const unsigned seed = GENERATE(31U, 32U, 33U);
    CAPTURE(seed);
    std::mt19937 random(seed);
    const std::string platform = seed % 2 == 0 ? "fcmv1" : "apns";
    auto options = support::sim_options(platform);
    options.streams_max = 100;
    const auto simulator = support::start_sim(std::move(options));
    Bench bench;
    pns::Network network = support::network_of(*simulator);
    auto settings = pns::default_settings(platform);
    settings.pushes_per_s_max = 0;
    settings.connections_max = 3;
    bench.sender = pns::Sender::create(bench.loop, support::made_credential(platform).credential,
                                       settings, network, bench.bearers);
    pns::Message message;
    message.body =
        platform == "apns" ? R"({"aps":{"alert":"hello"}})" : R"({"message":{"data":{"a":"b"}}})";
    bench.prepared = std::get<0>(bench.sender->prepare(message));
    constexpr std::size_t pushes = 3'000;
    bench.then = [&](Bench::Item&) {
        if (bench.told % 100 == 0) {
            pns::sim::Event event;
            event.kind = pns::sim::Event::Kind::settings;
            event.streams_max = random() % 4 == 0 ? 1 : static_cast<std::uint32_t>(random() % 200);
            if (event.streams_max == 0 && bench.told % 300 != 0) event.streams_max = 1;
            simulator->event(event);
            if (event.streams_max == 0) {
                event.streams_max = 20;
                simulator->event(event);
            }
        }
        if (bench.items.size() < pushes) {
            const std::string number = std::to_string(10'000 + bench.items.size());
            bench.send(platform == "apns" ? "ABCD0" + number : "handle:" + number);
        }
    };
    for (int i = 0; i < 500; ++i) {
        const std::string number = std::to_string(10'000 + i);
        bench.send(platform == "apns" ? "ABCD0" + number : "handle:" + number);
    }
    REQUIRE(bench.wait_for(pushes));
    for (const auto& item : bench.items) REQUIRE(item.verdicts[0].kind() == Kind::accepted);
    const auto counters = simulator->counters();
    CHECK(counters.accepted == pushes);
    CHECK(counters.above_limit == 0);
    CHECK(counters.after_goaway == 0);
    CHECK(counters.doubles == 0);
    bench.stop();
}
