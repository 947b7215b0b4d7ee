#include "pns/sender.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <random>

#include "pns/alarm.hpp"
#include "pns/bearer.hpp"
#include "pns/clock.hpp"
#include "pns/nursery.hpp"
#include "tests/support/sender_bench.hpp"

namespace {

namespace asio = boost::asio;
using pns::Outcome;
using pns::Verdict;
using support::H1Server;
using support::H2Server;
using support::run_until;
using Bench = support::SenderBench;
using Kind = Verdict::Kind;

pns::TokenSource signed_tokens(int& minted, std::int64_t renew_s_min = 20 * 60) {
    pns::SelfSigned source;
    source.renew_s_min = renew_s_min;
    source.mint = [&minted](std::int64_t) -> pns::Result<std::string> {
        return "token-" + std::to_string(++minted);
    };
    return source;
}

}  // namespace

TEST_CASE("a sender delivers thousands of pushes, each with one verdict", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    std::map<std::string, int> arrived;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++arrived[r.path];
        CHECK(r.body == "{}");
        p.answer(r.stream, r.path.ends_with("7") ? 410 : 200);
    };
    bench.rules = {server.rule("push.test")};
    bench.open();
    for (int i = 0; i < 3'000; ++i) bench.send(std::to_string(i));
    CHECK(bench.sender->room() == bench.settings.queue_pushes_max - 3'000);
    REQUIRE(bench.wait_for(3'000));
    CHECK(arrived.size() == 3'000);
    for (const auto& item : bench.items) {
        CHECK(item.verdicts[0].kind() ==
              (item.handle.ends_with("7") ? Kind::dead : Kind::accepted));
    }
    CHECK(bench.sender->figures().accepted == 2'700);
    CHECK(bench.sender->room() == bench.settings.queue_pushes_max);
    bench.stop();
    bench.end(server);
}

TEST_CASE("an owner may submit from its verdict", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    bench.rules = {server.rule("push.test")};
    bench.settings.queue_pushes_max = 10;
    bench.open();
    bench.then = [&](Bench::Item&) {
        if (bench.items.size() < 500) bench.send("again");
    };
    for (int i = 0; i < 10; ++i) bench.send("x");
    CHECK(bench.sender->room() == 0);
    REQUIRE(bench.wait_for(500));
    bench.stop();
    bench.end(server);
}

TEST_CASE("streams that were not processed are sent again, never lost, never doubled", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    std::map<std::string, int> accepted;
    int seen = 0;
    std::mt19937 random(7);
    std::map<int, bool> gone;  // by connection: GOAWAY sent
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++seen;
        if (gone[p.ordinal()]) return;  // above GOAWAY's id
        if (seen % 11 == 0) {
            p.session().reset(r.stream, 7);
            p.flush();
            return;
        }
        if (p.requests == 100 && p.ordinal() <= 4) {
            gone[p.ordinal()] = true;
            p.session().submit_goaway(0, {}, r.stream - 2);
            p.flush();
            return;
        }
        ++accepted[r.path];
        p.answer(r.stream, 200);
    };
    bench.rules = {server.rule("push.test")};
    bench.open();
    for (int i = 0; i < 600; ++i) bench.send(std::to_string(i));
    REQUIRE(bench.wait_for(600));
    std::map<Kind, int> kinds;
    for (const auto& item : bench.items) {
        ++kinds[item.verdicts[0].kind()];
        const int copies = accepted["/" + item.handle];
        CHECK(copies <= 1);
        if (item.verdicts[0].kind() == Kind::accepted) CHECK(copies == 1);
    }
    CAPTURE(kinds[Kind::lost], kinds[Kind::not_sent]);
    CHECK(kinds[Kind::accepted] + kinds[Kind::not_sent] == 600);
    CHECK(kinds[Kind::accepted] >= 590);
    CHECK(bench.sender->figures().goaways >= 1);
    CHECK(bench.sender->figures().resends >= 50);
    bench.stop();
    bench.end(server);
}

TEST_CASE("what was written and never answered is lost, with its outcome unknown", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    int arrived = 0;
    server.on_request = [&](H2Server::Peer&, const H2Server::Request&) { ++arrived; };
    bench.rules = {server.rule("push.test")};
    SECTION("the connection is cut") {
        bench.open();
        for (int i = 0; i < 20; ++i) bench.send("x");
        REQUIRE(run_until(bench.loop, [&] { return arrived == 20; }));
        server.cut_all();
    }
    SECTION("no answer in time") {
        bench.settings.request_timeout_ms = 100;
        bench.open();
        for (int i = 0; i < 20; ++i) bench.send("x");
    }
    REQUIRE(bench.wait_for(20));
    for (const auto& item : bench.items) {
        CHECK(item.verdicts[0].kind() == Kind::lost);
        CHECK(item.verdicts[0].outcome() == Outcome::unknown);
    }
    CHECK(bench.sender->figures().lost == 20);
    bench.stop();
    bench.end(server);
}

TEST_CASE("a provider that cannot be reached gives pushes back in time", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {GENERATE(as<std::string>(), "push.test", "other.test")});
    bench.settings.request_timeout_ms = 300;
    bench.rules = {server.rule("push.test")};
    const bool trusted = GENERATE(true, false);
    server.drop_on_accept = trusted;
    bench.open();
    for (int i = 0; i < 4; ++i) bench.send("x");
    // One push stays: it goes out as soon as the provider is there.
    REQUIRE(bench.wait_for(3));
    if (trusted) {
        for (const auto& item : bench.items) {
            if (item.verdicts.empty()) continue;
            CHECK(item.verdicts[0].kind() == Kind::not_sent);
            CHECK(item.verdicts[0].outcome() == Outcome::pns_unreachable);
            CHECK(item.verdicts[0].get<pns::NotSent>()->door > pns::Sender::credential_door);
        }
        CHECK(server.accepted() < 15);
    }
    bench.stop();
    bench.end(server);
}

TEST_CASE("a provider that is not trusted is waited for, not a hot loop", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"other.test"});
    bench.settings.request_timeout_ms = 200;
    bench.rules = {server.rule("push.test")};
    bench.open();
    for (int i = 0; i < 100; ++i) bench.send("x");
    REQUIRE(bench.wait_for(99));
    for (const auto& item : bench.items) {
        if (item.verdicts.empty()) continue;
        CHECK(item.verdicts[0].kind() == Kind::not_sent);
        CHECK(item.verdicts[0].outcome() == Outcome::pns_unreachable);
    }
    CHECK(server.accepted() < 15);
    bench.stop();
    bench.end(server);
}

TEST_CASE("repeated configuration verdicts halt the credential", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    int arrived = 0;
    server.limits.streams_max_offered = 4;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++arrived;
        p.answer(r.stream, 403);
    };
    bench.rules = {server.rule("push.test")};
    support::FakeProvider provider;
    provider.one_stream = true;
    bench.open(provider);
    for (int i = 0; i < 500; ++i) bench.send("x");
    // All but the next probe come back: those that were asked for refused, the others not sent.
    REQUIRE(bench.wait_for(499));
    CHECK(arrived <= 24);  // and a probe each second
    int refused = 0;
    for (const auto& item : bench.items) {
        if (item.verdicts.empty()) continue;
        refused += item.verdicts[0].blames_credential();
        CHECK(item.verdicts[0].outcome() == Outcome::invalid_credentials);
        if (const auto* unsent = item.verdicts[0].get<pns::NotSent>()) {
            CHECK(unsent->door == pns::Sender::credential_door);
            CHECK(unsent->after_ms <= 1'000);
        }
    }
    CHECK(refused == arrived);
    CHECK(bench.sender->shut());
    bench.send("late");
    REQUIRE(bench.wait_for(500));
    CHECK(arrived <= 24);
    bench.stop();
    bench.end(server);
}

TEST_CASE("a token refused once is renewed once for all, then answers count", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    int minted = 0;
    std::map<std::string, int> by_token;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++by_token[r.authorization];
        p.answer(r.stream, r.authorization == "bearer token-1" ? 401 : 200);
    };
    bench.rules = {server.rule("push.test")};
    support::FakeProvider provider;
    provider.tokens = signed_tokens(minted, 0);
    bench.open(provider);
    for (int i = 0; i < 60; ++i) bench.send("x");
    REQUIRE(bench.wait_for(60));
    CHECK(minted == 2);
    for (const auto& item : bench.items) CHECK(item.verdicts[0].kind() == Kind::accepted);
    CHECK(by_token["bearer token-2"] == 60);
    bench.stop();
    bench.end(server);
}

TEST_CASE("a token signed too recently is not signed again", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    int minted = 0;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        p.answer(r.stream, 401);
    };
    bench.rules = {server.rule("push.test")};
    support::FakeProvider provider;
    provider.tokens = signed_tokens(minted);
    bench.open(provider);
    for (int i = 0; i < 5; ++i) bench.send("x");
    REQUIRE(bench.wait_for(5));
    CHECK(minted == 1);
    for (const auto& item : bench.items) CHECK(item.verdicts[0].blames_credential());
    bench.stop();
    bench.end(server);
}

TEST_CASE("a throttled credential pauses; a long pause gives the queue back", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    server.limits.streams_max_offered = 1;
    std::vector<std::int64_t> times;
    const std::string pause = GENERATE(as<std::string>(), "150", "600000");
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        times.push_back(pns::system_clock().steady_ms());
        if (times.size() > 1) return p.answer(r.stream, 200);
        p.answer(r.stream, 429, {}, {{"x-throttle-ms", pause}});
    };
    bench.rules = {server.rule("push.test")};
    support::FakeProvider provider;
    provider.one_stream = true;
    bench.open(provider);
    for (int i = 0; i < 5; ++i) bench.send("x");
    REQUIRE(bench.wait_for(pause == "150" ? 5 : 4));
    if (pause == "150") {
        REQUIRE(times.size() == 5);
        CHECK(times[1] - times[0] >= 150);
    } else {
        CHECK(times.size() == 1);
        for (const auto& item : bench.items) {
            if (item.verdicts.empty()) continue;
            if (const auto* later = item.verdicts[0].get<pns::RetryLater>())
                CHECK(later->after_ms > 500'000);
            if (const auto* unsent = item.verdicts[0].get<pns::NotSent>())
                CHECK(unsent->after_ms > 500'000);
        }
    }
    bench.stop();
    bench.end(server);
}

TEST_CASE("an expired push is not sent", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    int arrived = 0;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++arrived;
        p.answer(r.stream, 200);
    };
    bench.rules = {server.rule("push.test")};
    bench.open();
    pns::Message old;
    old.expires_at_ms = pns::system_clock().wall_ms() - 1;
    const auto& item = bench.send("old", bench.prepare(old));
    bench.send("new");
    REQUIRE(bench.wait_for(2));
    CHECK(item.verdicts[0].kind() == Kind::not_sent);
    CHECK(item.verdicts[0].outcome() == Outcome::abandoned);
    CHECK(arrived == 1);
    bench.stop();
    bench.end(server);
}

TEST_CASE("stop answers every push: queued, in flight, with or without a deadline", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    server.limits.streams_max_offered = 10;
    const bool answers = GENERATE(true, false);
    int arrived = 0;
    std::vector<std::int32_t> held;
    H2Server::Peer* peer = nullptr;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++arrived;
        peer = &p;
        held.push_back(r.stream);
    };
    bench.rules = {server.rule("push.test")};
    support::FakeProvider provider;
    provider.one_stream = true;
    bench.open(provider);
    for (int i = 0; i < 50; ++i) bench.send("x");
    REQUIRE(run_until(bench.loop, [&] { return arrived == 10; }));
    if (answers) {
        bench.then = [&](Bench::Item&) {
            for (const auto s : std::exchange(held, {})) peer->answer(s, 200);
        };
    }
    bench.stop(answers ? 5'000 : 50);
    std::map<Kind, int> kinds;
    for (const auto& item : bench.items) ++kinds[item.verdicts[0].kind()];
    CHECK(kinds[Kind::not_sent] == 40);
    CHECK(kinds[answers ? Kind::accepted : Kind::lost] == 10);
    bench.end(server);
}

TEST_CASE("a sender that never sent may be destroyed without stopping", "[pns]") {
    Bench bench;
    bench.open();
    bench.sender.reset();
}

TEST_CASE("unusable networks are refused at creation", "[pns]") {
    Bench bench;
    bench.rules = {"nonsense"};
    CHECK_THROWS_AS(bench.open(), boost::system::system_error);
}

TEST_CASE("an HTTP/1.1 sender serves many hosts with few connections each", "[pns]") {
    Bench bench;
    H1Server server(bench.loop, {"a.notify.test", "b.notify.test", "c.notify.test"});
    const int close_after = GENERATE(0, 5);
    server.reply = [&](const H1Server::Request& r) {
        return H1Server::answer(
            200, "", close_after > 0 && r.nth == close_after ? "connection: close\r\n" : "");
    };
    bench.rules = {server.rule("*.notify.test")};
    bench.settings.connections_max = 4;
    support::FakeProvider provider;
    provider.protocol = pns::Account::Protocol::h1;
    provider.host_in_handle = true;
    bench.open(provider);
    const std::string hosts[] = {"a.notify.test/x", "b.notify.test/x", "c.notify.test/x"};
    for (int i = 0; i < 300; ++i) bench.send(hosts[i % 3]);
    REQUIRE(bench.wait_for(300));
    for (const auto& item : bench.items) CHECK(item.verdicts[0].kind() == Kind::accepted);
    CHECK(server.requests == 300);
    if (close_after == 0) CHECK(server.accepted() <= 12);
    bench.stop();
    bench.end(server);
}

TEST_CASE("several targets that have to wait hold their origin, not the others", "[pns]") {
    Bench bench;
    H1Server server(bench.loop, {"a.notify.test", "b.notify.test"});
    server.reply = [&](const H1Server::Request& r) {
        return H1Server::answer(r.head.find("/hot") == std::string::npos ? 200 : 420, "", "");
    };
    bench.rules = {server.rule("*.notify.test")};
    support::FakeProvider provider;
    provider.protocol = pns::Account::Protocol::h1;
    provider.host_in_handle = provider.tokens_per_origin = true;
    bench.open(provider);
    // As many targets as it takes, but of two origins.
    for (const char* handle :
         {"a.notify.test/hot1", "a.notify.test/hot2", "a.notify.test/hot3", "b.notify.test/hot4"})
        bench.send(handle);
    REQUIRE(bench.wait_for(4));
    bench.send("a.notify.test/x");
    bench.send("b.notify.test/x");
    REQUIRE(bench.wait_for(6));
    for (std::size_t i : {4U, 5U}) CHECK(bench.items[i].verdicts[0].is<pns::Accepted>());
    bench.send("a.notify.test/hot4");
    REQUIRE(bench.wait_for(7));
    bench.send("a.notify.test/y");
    bench.send("b.notify.test/y");
    REQUIRE(bench.wait_for(8));
    CHECK(bench.items[7].verdicts.empty());
    CHECK(bench.items[8].verdicts.at(0).is<pns::Accepted>());
    bench.stop();
    bench.end(server);
}

TEST_CASE("under random faults every push gets exactly one verdict", "[pns]") {
    const auto seed = GENERATE(range(1U, 9U));
    CAPTURE(seed);
    std::mt19937 random(seed);
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    server.limits.streams_max_offered = static_cast<std::uint32_t>(random() % 50 + 1);
    std::map<std::string, int> answered;
    std::map<int, std::int32_t> last;  // by connection: GOAWAY's id
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        if (last.count(p.ordinal()) == 1 && r.stream > last[p.ordinal()]) return;
        const auto dice = random() % 1000;
        if (dice < 10) return;  // never answered
        if (dice < 13) return p.cut();
        if (dice < 16) {
            const auto id = std::max(r.stream - 2, 0);
            last.emplace(p.ordinal(), id);
            p.session().submit_goaway(0, "{}", id);
            return p.flush();
        }
        if (dice < 30) {
            p.session().reset(r.stream, dice % 2 == 0 ? 7 : 2);
            return p.flush();
        }
        if (dice < 40) {
            p.session().submit_settings_streams_max(static_cast<std::uint32_t>(random() % 30 + 1));
        }
        if (dice < 45) return p.answer(r.stream, 503);
        ++answered[r.path];
        p.answer(r.stream, dice < 100 ? 410 : 200, std::string(random() % 100, 'b'));
    };
    bench.rules = {server.rule("push.test")};
    bench.settings.request_timeout_ms = 2'000;
    bench.settings.drain_ms_max = 1'000;
    bench.open();
    for (int i = 0; i < 500; ++i) bench.send(std::to_string(i));
    REQUIRE(bench.wait_for(400));
    bench.stop(200);
    std::map<Kind, int> kinds;
    for (const auto& item : bench.items) {
        const auto kind = item.verdicts.at(0).kind();
        ++kinds[kind];
        const int copies = answered["/" + item.handle];
        CHECK(copies <= 1);
        if (kind == Kind::accepted || kind == Kind::dead) CHECK(copies == 1);
        if (kind == Kind::not_sent) CHECK(copies == 0);
    }
    // One run may end in nothing but silence; all of them may not.
    static int accepted_of_all_seeds = 0;
    accepted_of_all_seeds += kinds[Kind::accepted];
    if (seed == 8) CHECK(accepted_of_all_seeds > 8 * 50);
    bench.end(server);
}
