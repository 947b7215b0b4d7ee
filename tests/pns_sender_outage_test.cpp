// A sender while its provider or its credential fails, over real sockets.

#include <catch2/catch.hpp>

#include <algorithm>

#include "tests/support/sender_bench.hpp"

namespace {

using pns::Outcome;
using support::H2Server;
using support::run_until;
using Bench = support::SenderBench;
using Kind = pns::Verdict::Kind;

}  // namespace

TEST_CASE("a provider that is unwell is asked by one push, and its first answer opens the gate",
          "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    bool well = false;
    int arrived = 0;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++arrived;
        p.answer(r.stream, well ? 200 : 502);
    };
    bench.rules = {server.rule("push.test")};
    bench.open();
    // The owner gives back what may come again, as the fan-out does while the gate is open.
    std::vector<Bench::Item*> waiting;
    std::size_t accepted = 0;
    bench.then = [&](Bench::Item& item) {
        const auto& verdict = item.verdicts.back();
        if (verdict.is<pns::Accepted>()) ++accepted;
        if (verdict.is<pns::NotSent>() || verdict.is<pns::RetryLater>()) waiting.push_back(&item);
    };
    for (int i = 0; i < 200; ++i) bench.send("x");
    const auto again = [&] {
        for (Bench::Item* item : std::exchange(waiting, {})) {
            item->verdicts.clear();
            bench.sender->submit(item->push);
        }
    };
    REQUIRE(run_until(bench.loop, [&] {
        if (!bench.sender->shut()) again();
        return bench.sender->shut();
    }));
    const int before = arrived;
    // The owner sends something when nothing is left to be a probe.
    const auto keep_probing = [&] {
        if (bench.sender->figures().queued == 0) again();
    };
    REQUIRE(run_until(bench.loop, [&] {
        keep_probing();
        return arrived >= before + 2;
    }));
    CHECK(bench.opened.empty());
    CHECK(arrived <= before + 3);  // probes only
    for (const Bench::Item* item : waiting) {
        if (const auto* unsent = item->verdicts.back().get<pns::NotSent>())
            CHECK(unsent->gate > pns::Sender::credential_gate);
    }
    well = true;
    REQUIRE(run_until(bench.loop, [&] {
        keep_probing();
        return !bench.opened.empty();
    }));
    CHECK_FALSE(bench.sender->shut());
    again();
    REQUIRE(run_until(bench.loop, [&] {
        again();
        return accepted == 200;
    }));
    bench.then = nullptr;
    bench.stop();
    bench.end(server);
}

TEST_CASE("a push whose device changed while it waited comes back unsent", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    int arrived = 0;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++arrived;
        p.answer(r.stream, 200);
    };
    bench.rules = {server.rule("push.test")};
    bench.open();
    for (int i = 0; i < 10; ++i) bench.send("x");
    bench.changed = {2, 5};
    REQUIRE(bench.wait_for(10));
    CHECK(arrived == 8);
    for (std::uint32_t i = 0; i < 10; ++i) {
        const bool changed = bench.changed.contains(i);
        CHECK(bench.items[i].verdicts[0].kind() == (changed ? Kind::not_sent : Kind::accepted));
    }
    bench.stop();
    bench.end(server);
}

TEST_CASE("a refused credential is tried by one push at a time, and opens when it is taken",
          "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    int refused = 0;
    server.limits.streams_max_offered = 10;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++refused;
        p.answer(r.stream, 403);
    };
    bench.rules = {server.rule("push.test")};
    support::FakeProvider provider;
    provider.one_stream = true;
    bench.open(provider);
    for (int i = 0; i < 1'000; ++i) bench.send("x");
    REQUIRE(bench.wait_for(999));
    CHECK(bench.sender->shut());
    CHECK(refused <= 24);  // what was under way with the first one, then one at a time
    const auto unsent = std::count_if(bench.items.begin(), bench.items.end(), [](const auto& item) {
        return !item.verdicts.empty() && item.verdicts[0].template is<pns::NotSent>();
    });
    CHECK(unsent >= 970);
    bench.stop();
    bench.end(server);
}

TEST_CASE("pushes to more hosts than there are places wait for a place, and all go out", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"*.push.test"});
    std::size_t arrived = 0;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++arrived;
        p.answer(r.stream, 200);
    };
    bench.rules = {server.rule("*.push.test")};
    support::FakeProvider provider;
    provider.host_in_handle = true;
    bench.open(provider);
    constexpr int hosts = 400;
    std::size_t accepted = 0;
    std::vector<Bench::Item*> waiting;
    bench.then = [&](Bench::Item& item) {
        const auto& verdict = item.verdicts.back();
        if (verdict.is<pns::Accepted>()) ++accepted;
        if (verdict.is<pns::NotSent>()) waiting.push_back(&item);
    };
    for (int i = 0; i < hosts; ++i) bench.send("h" + std::to_string(i) + ".push.test/x");
    REQUIRE(run_until(bench.loop, [&] {
        for (Bench::Item* item : std::exchange(waiting, {})) {
            item->verdicts.clear();
            bench.sender->submit(item->push);
        }
        return accepted == hosts;
    }));
    CHECK(arrived == hosts);
    bench.then = nullptr;
    bench.stop();
    bench.end(server);
}
