// A sender while its provider or its credential fails, over real sockets.

#include <catch2/catch.hpp>

#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "pns/errc.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/sender_bench.hpp"

namespace {

using pns::Outcome;
using support::H1Server;
using support::H2Server;
using support::run_until;
using Bench = support::SenderBench;
using Kind = pns::Verdict::Kind;

pns::TokenSource signed_tokens(int& minted) {
    pns::SelfSigned source;
    source.renew_s_min = 0;
    source.mint = [&minted](std::int64_t) -> pns::Result<std::string> {
        return "token-" + std::to_string(++minted);
    };
    return source;
}

}  // namespace

TEST_CASE("a provider that is unwell is asked by one push, and its first answer opens the door",
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
    // The owner gives back what may come again, as the fan-out does while the door is open.
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
            CHECK(unsent->door > pns::Sender::credential_door);
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

TEST_CASE("the first sender that finds a provider back spares the others their wait", "[pns]") {
    support::ManualClock first_clock, second_clock;
    Bench first(first_clock), second(second_clock);
    H2Server server(first.loop, {"push.test"});
    bool well = false;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        p.answer(r.stream, well ? 200 : 502);
    };
    second.returns = first.returns;
    for (Bench* bench : {&first, &second}) {
        bench->rules = {server.rule("push.test")};
        bench->open();
    }
    const auto until = [&](auto done) {
        return run_until(first.loop, [&] {
            if (second.loop.stopped()) second.loop.restart();
            second.loop.poll();
            return done();
        });
    };
    const auto shut = [&](Bench& bench, support::ManualClock& clock) {
        for (int i = 0; i < 8; ++i) bench.send("x");
        REQUIRE(until([&] { return bench.told == 8; }));
        clock.pass_ms(400);
        bench.send("x");
        REQUIRE(until([&] { return bench.sender->shut(); }));
    };
    shut(first, first_clock);
    shut(second, second_clock);
    well = true;
    first.send("x");
    first_clock.pass_ms(1'000);
    REQUIRE(until([&] { return !first.opened.empty(); }));
    second.send("x");  // its clock stands still
    CHECK(until([&] { return !second.opened.empty(); }));
    CHECK_FALSE(second.sender->shut());
    CHECK(until([&] { return first.told == 10 && second.told == 10; }));
    second.stop();
    first.stop();
    first.end(server);
}

namespace {

struct Heard final : pns::HealthListener {
    void unwell(pns::Trouble trouble, std::string_view host, std::string_view reason) override {
        any_unwell_ = true;
        told.push_back({trouble, std::string(host), std::string(reason)});
    }
    void well(std::string_view) override { any_unwell_ = false; }
    struct Told {
        pns::Trouble trouble;
        std::string host, reason;
    };
    std::vector<Told> told;
};

}  // namespace

TEST_CASE("a provider that takes nothing is told of, however short each of its waits is", "[pns]") {
    const bool per_origin = GENERATE(false, true);
    const int status = GENERATE(429, 500);
    CAPTURE(per_origin, status);
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    bool takes = false;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        p.answer(r.stream, takes ? 200 : status, {}, {{"x-throttle-ms", "300"}});
    };
    bench.rules = {server.rule("push.test")};
    bench.settings.retry_budget_percent = 0;
    support::FakeProvider provider;
    provider.tokens_per_origin = per_origin;
    bench.open(provider);
    const auto health = std::make_shared<Heard>();
    bench.sender->on_health(health);
    std::vector<Bench::Item*> again;
    std::size_t accepted = 0;
    bench.then = [&](Bench::Item& item) {
        if (item.verdicts.back().is<pns::Accepted>())
            ++accepted;
        else
            again.push_back(&item);
    };
    const auto begun_ms = pns::system_clock().steady_ms();
    for (int i = 0; i < 8; ++i) bench.send("x" + std::to_string(i));
    const auto keep_trying = [&] {
        for (Bench::Item* item : std::exchange(again, {})) {
            item->verdicts.clear();
            bench.sender->submit(item->push);
        }
    };
    REQUIRE(run_until(bench.loop, [&] {
        keep_trying();
        return !health->told.empty();
    }));
    if (status == 429)
        CHECK(pns::system_clock().steady_ms() - begun_ms >= pns::Drought::begins_after_ms);
    CHECK(health->told.front().trouble ==
          (status == 429 ? pns::Trouble::throttled : pns::Trouble::unreachable));
    // Server errors of several targets shut the outlet of their origin.
    CHECK(health->told.front().host == (per_origin || status == 500 ? "push.test" : ""));
    CHECK(health->told.front().reason == std::to_string(status));
    takes = true;
    REQUIRE(run_until(bench.loop, [&] {
        keep_trying();
        return accepted == 8;
    }));
    CHECK_FALSE(health->any_unwell());
    bench.then = nullptr;
    bench.stop();
    bench.end(server);
}

TEST_CASE("server errors of several targets are the provider's, those of one are its own",
          "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    bool well = false;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        p.answer(r.stream, well ? 200 : 500);
    };
    bench.rules = {server.rule("push.test")};
    bench.open();
    const int targets = GENERATE(1, 3, 12);
    CAPTURE(targets);
    std::vector<Bench::Item*> again;
    int answers = 0, accepted = 0;
    std::map<std::string, int> own;
    bench.then = [&](Bench::Item& item) {
        const auto& verdict = item.verdicts.back();
        if (verdict.is<pns::Accepted>()) {
            ++accepted;
            return;
        }
        again.push_back(&item);
        const auto* later = verdict.get<pns::RetryLater>();
        if (later == nullptr) return;
        ++answers;
        own[item.handle] += !later->of_provider;
    };
    const auto keep_trying = [&] {
        for (Bench::Item* item : std::exchange(again, {})) {
            item->verdicts.clear();
            bench.sender->submit(item->push);
        }
    };
    for (int i = 0; i < targets; ++i) bench.send("x" + std::to_string(i));
    REQUIRE(run_until(bench.loop, [&] {
        keep_trying();
        return targets < 4 ? answers >= 60 : bench.sender->shut();
    }));
    CHECK(bench.sender->shut() == (targets >= 4));
    if (targets >= 4) {
        const int before = answers;
        REQUIRE(run_until(bench.loop, [&] {
            keep_trying();
            return answers >= before + 2;
        }));
        CHECK(bench.sender->shut());  // by whatever target the probe went to
        for (const auto& [handle, count] : own) CHECK(count <= 1);
    } else {
        for (const auto& [handle, count] : own) CHECK(count * targets >= 40);
    }
    well = true;
    REQUIRE(run_until(bench.loop, [&] {
        keep_trying();
        return accepted == targets;
    }));
    CHECK_FALSE(bench.sender->shut());
    bench.then = nullptr;
    bench.stop();
    bench.end(server);
}

TEST_CASE("a credential refused for a wrong clock is tried at once when the clock is set",
          "[pns]") {
    support::ManualClock clock;
    Bench bench(clock);
    H2Server server(bench.loop, {"push.test"});
    const auto true_s = [steady_ms = clock.steady_ms(), wall_s = clock.wall_ms() / 1'000, &clock] {
        return wall_s + (clock.steady_ms() - steady_ms) / 1'000;
    };
    int arrived = 0;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++arrived;
        const auto signed_s = std::stoll(r.authorization.substr(7));
        p.answer(r.stream, signed_s > true_s() + 60 ? 403 : 200);
    };
    bench.rules = {server.rule("push.test")};
    pns::SelfSigned source;
    source.mint = [](std::int64_t now_s) -> pns::Result<std::string> {
        return std::to_string(now_s);
    };
    support::FakeProvider provider;
    provider.tokens = source;
    provider.one_stream = true;
    clock.step_ms(3 * 3'600'000);
    bench.open(provider);
    for (int i = 0; i < 20; ++i) bench.send("x");
    REQUIRE(bench.wait_for(19));
    REQUIRE(bench.sender->shut());
    const int before = arrived;
    clock.step_ms(-3 * 3'600'000);
    bench.send("y");  // no time passes
    REQUIRE(bench.wait_for(20));
    CHECK(run_until(bench.loop, [&] { return !bench.opened.empty(); }));
    CHECK(arrived > before);
    CHECK_FALSE(bench.sender->shut());
    REQUIRE(bench.wait_for(21));
    CHECK(bench.sender->figures().accepted >= 1);
    bench.stop();
    bench.end(server);
}

TEST_CASE("a token that changed too soon costs no push and holds nothing", "[pns]") {
    support::ManualClock clock;
    Bench bench(clock);
    H2Server server(bench.loop, {"push.test"});
    std::string known;
    int too_soon = 0;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        const auto token = r.authorization;
        if (known.empty()) known = token;
        too_soon += token != known;
        p.answer(r.stream, token == known ? 200 : 425, {}, {{"x-throttle-ms", "300000"}});
    };
    bench.rules = {server.rule("push.test")};
    pns::SelfSigned source;
    source.mint = [](std::int64_t now_s) -> pns::Result<std::string> {
        return std::to_string(now_s);
    };
    support::FakeProvider provider;
    provider.tokens = source;
    bench.open(provider);
    bench.send("x");
    REQUIRE(bench.wait_for(1));
    clock.step_ms(-90'000);
    for (int i = 0; i < 50; ++i) bench.send("x");
    REQUIRE(bench.wait_for(51));
    for (const auto& item : bench.items) CHECK(item.verdicts.at(0).is<pns::Accepted>());
    CHECK(too_soon >= 1);
    const int before = too_soon;
    clock.step_ms(90'000);
    for (int i = 0; i < 50; ++i) bench.send("x");
    REQUIRE(bench.wait_for(101));
    CHECK(too_soon == before);
    for (const auto& item : bench.items) CHECK(item.verdicts.at(0).is<pns::Accepted>());
    CHECK(bench.opened.empty());
    bench.stop();
    bench.end(server);
}

TEST_CASE("a push is to blame for a lost answer if nothing else was lost and others are answered",
          "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    std::size_t together = 1;  // so many arrive before the connection ends
    std::size_t ending = 0;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        if (r.path == "/well") return p.answer(r.stream, 200);
        if (r.path == "/reset") {
            p.session().reset(r.stream, 2);  // INTERNAL_ERROR, of this stream alone
            return p.flush();
        }
        if (++ending < together) return;
        ending = 0;
        p.cut();
    };
    bench.rules = {server.rule("push.test")};
    bench.open();
    const auto blamed = [&](const std::string& handle, std::size_t count = 1) {
        const std::size_t before = bench.told;
        std::vector<Bench::Item*> items;
        for (std::size_t i = 0; i < count; ++i) items.push_back(&bench.send(handle));
        REQUIRE(bench.wait_for(before + count));
        int out = 0;
        for (const Bench::Item* item : items) {
            const auto* lost = item->verdicts.back().get<pns::NoAnswer>();
            REQUIRE(lost != nullptr);
            out += lost->own_fault ? 1 : 0;
        }
        return out;
    };
    const auto well = [&] {
        const std::size_t before = bench.told;
        bench.send("well");
        REQUIRE(bench.wait_for(before + 1));
        REQUIRE(bench.items.back().verdicts.back().is<pns::Accepted>());
    };
    CHECK(blamed("cut") == 0);  // nobody was answered yet: it may be the provider
    well();
    CHECK(blamed("cut") == 1);
    CHECK(blamed("cut") == 0);
    well();
    CHECK(blamed("reset") == 1);
    CHECK(blamed("reset") == 0);
    well();
    together = 3;
    CHECK(blamed("cut", 3) == 0);  // one of them, or none
    bench.stop();
    bench.end(server);
}

TEST_CASE("a provider that asks for half an hour is asked after a tenth of it", "[pns]") {
    support::ManualClock clock;
    Bench bench(clock);
    H2Server server(bench.loop, {"push.test"});
    int arrived = 0;
    bool well = false;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++arrived;
        p.answer(r.stream, well ? 200 : 502, {}, {{"x-wait-ms", "1700000"}});
    };
    bench.rules = {server.rule("push.test")};
    bench.open();
    for (int i = 0; i < 8; ++i) {
        clock.pass_ms(100);
        bench.send("x");
        REQUIRE(bench.wait_for(static_cast<std::size_t>(i) + 1));
    }
    REQUIRE(bench.sender->shut());
    const int before = arrived;
    well = true;
    bench.send("x");
    clock.pass_ms(169'000);
    CHECK(run_until(bench.loop, [&] {
        clock.pass_ms(10);
        return arrived > before;
    }));
    CHECK(bench.wait_for(9));
    CHECK_FALSE(bench.sender->shut());
    bench.stop();
    bench.end(server);
}

TEST_CASE("a provider that refuses all streams is told of before anything times out", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    constexpr std::uint32_t refused_stream = 7;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        p.session().reset(r.stream, refused_stream);
        p.flush();
    };
    bench.rules = {server.rule("push.test")};
    bench.open();
    const auto health = std::make_shared<Heard>();
    bench.sender->on_health(health);
    std::vector<Bench::Item*> again;
    bench.then = [&](Bench::Item& item) { again.push_back(&item); };
    for (int i = 0; i < 8; ++i) bench.send("x" + std::to_string(i));
    REQUIRE(run_until(bench.loop, [&] {
        for (Bench::Item* item : std::exchange(again, {})) {
            item->verdicts.clear();
            bench.sender->submit(item->push);
        }
        return !health->told.empty();
    }));
    CHECK(health->told.front().trouble == pns::Trouble::throttled);
    CHECK(health->told.front().reason.find("REFUSED_STREAM") != std::string::npos);
    bench.then = nullptr;
    bench.stop();
    bench.end(server);
}

TEST_CASE("the totals of senders tell of the end of what waited, without another turn", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    bool answers = true;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        if (answers) p.answer(r.stream, 200);
    };
    bench.rules = {server.rule("push.test")};
    bench.settings.request_timeout_ms = 300;
    bench.open();
    for (int i = 0; i < 20; ++i) bench.send("x");
    REQUIRE(bench.wait_for(20));
    CHECK(bench.totals->queued == 0);
    CHECK(bench.totals->connections == 1);
    answers = false;
    bench.send("x");
    REQUIRE(bench.wait_for(21));
    CHECK(run_until(bench.loop, [&] { return bench.totals->lost == 1; }));
    bench.stop();
    CHECK(bench.totals->queued == 0);
    CHECK(bench.totals->connections == 0);
    bench.end(server);
}

TEST_CASE("a sender that stops takes what it had waiting out of the totals", "[pns]") {
    Bench bench;
    bench.rules = {"push.test:443=127.0.0.1:9"};
    bench.open();
    for (int i = 0; i < 20; ++i) bench.send("x");
    REQUIRE(run_until(bench.loop, [&] { return bench.totals->queued > 0; }));
    bench.stop();
    CHECK(bench.totals->queued == 0);
    CHECK(bench.totals->connections == 0);
}

TEST_CASE("what is withdrawn while the credential is in doubt says so", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    server.limits.streams_max_offered = 1;
    std::function<void()> answer_second;
    int arrived = 0;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        if (++arrived == 1) return p.answer(r.stream, 403);
        answer_second = [&p, stream = r.stream] { p.answer(stream, 403); };
    };
    bench.rules = {server.rule("push.test")};
    support::FakeProvider provider;
    provider.one_stream = true;
    bench.open(provider);
    for (int i = 0; i < 3; ++i) bench.send("x", nullptr, 7);
    REQUIRE(run_until(bench.loop, [&] { return bench.told == 1 && answer_second; }));
    bench.sender->withdraw(7);  // the third, which waits behind the second
    REQUIRE(bench.wait_for(2));
    std::size_t withdrawn = 0;
    for (const Bench::Item& item : bench.items) {
        if (item.verdicts.empty()) continue;
        const auto* unsent = item.verdicts.front().get<pns::NotSent>();
        if (unsent == nullptr) continue;
        ++withdrawn;
        CHECK(unsent->outcome == Outcome::invalid_credentials);
    }
    CHECK(withdrawn == 1);
    answer_second();
    REQUIRE(bench.wait_for(3));
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
    REQUIRE(run_until(
        bench.loop,
        [&] {
            for (Bench::Item* item : std::exchange(waiting, {})) {
                item->verdicts.clear();
                bench.sender->submit(item->push);
            }
            return accepted == hosts;
        },
        60));
    CHECK(arrived == hosts);
    bench.then = nullptr;
    bench.stop();
    bench.end(server);
}

namespace {

/// Takes connections and says nothing.
struct BlackHole {
    explicit BlackHole(boost::asio::io_context& loop)
        : acceptor(loop, {boost::asio::ip::address_v4::loopback(), 0}) {
        accept();
    }
    void accept() {
        acceptor.async_accept([this](boost::system::error_code failure, auto socket) {
            if (failure) return;
            taken.push_back(std::move(socket));
            accept();
        });
    }
    void close() {
        acceptor.close();
        taken.clear();
    }
    std::string rule(const std::string& host) const {
        return host + ":443=127.0.0.1:" + std::to_string(acceptor.local_endpoint().port());
    }
    boost::asio::ip::tcp::acceptor acceptor;
    std::vector<boost::asio::ip::tcp::socket> taken;
};

}  // namespace

TEST_CASE("hosts that somebody made up do not hold up the others", "[pns]") {
    Bench bench;
    bench.settings.connect_timeout_ms = bench.settings.request_timeout_ms = 600'000;
    H2Server server(bench.loop, {"*.push.test"});
    std::size_t arrived = 0;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        ++arrived;
        p.answer(r.stream, 200);
    };
    BlackHole hole(bench.loop);
    bench.rules = {server.rule("*.push.test"), hole.rule("*.hole.test")};
    support::FakeProvider provider;
    provider.host_in_handle = true;
    bench.open(provider);
    std::size_t accepted = 0;
    bench.then = [&](Bench::Item& item) {
        if (item.verdicts.back().is<pns::Accepted>()) ++accepted;
    };
    constexpr std::size_t made_up = 600, good = 100;
    for (std::size_t i = 0; i < made_up; ++i) bench.send("h" + std::to_string(i) + ".hole.test/x");
    for (std::size_t i = 0; i < good; ++i)
        bench.send("h" + std::to_string(i % 10) + ".push.test/" + std::to_string(i));
    // However long a connection may take: nobody waits for one that does not come about.
    REQUIRE(run_until(bench.loop, [&] { return accepted == good; }));
    CHECK(arrived == good);
    // Those that have answered have places of their own; no stranger has to go for them.
    for (std::size_t i = 0; i < 2 * made_up; ++i)
        bench.send("i" + std::to_string(i) + ".hole.test/x");
    const std::size_t told = bench.told;
    for (std::size_t i = 0; i < 10; ++i) bench.send("h" + std::to_string(i) + ".push.test/again");
    REQUIRE(run_until(bench.loop, [&] { return accepted == good + 10; }));
    CHECK(bench.told >= told + 10);
    // What was made up is bounded in places, and each of its pushes is told why it waits.
    CHECK(bench.sender->figures().connections <= 256 + 10);
    for (std::size_t i = 0; i < made_up; ++i) {
        if (bench.items[i].verdicts.empty()) continue;
        const auto* unsent = bench.items[i].verdicts[0].get<pns::NotSent>();
        REQUIRE(unsent != nullptr);
        CHECK(unsent->outcome == Outcome::pns_unreachable);
        CHECK(unsent->after_ms >= 1'000);
    }
    bench.then = nullptr;
    bench.stop(0);
    hole.close();
    bench.end(server);
}

TEST_CASE("many devices of one host that says nothing leave the queue to the others", "[pns]") {
    Bench bench;
    bench.settings.connect_timeout_ms = 600'000;
    bench.settings.queue_pushes_max = 1'024;
    H2Server server(bench.loop, {"good.push.test"});
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        p.answer(r.stream, 200);
    };
    BlackHole hole(bench.loop);
    bench.rules = {server.rule("good.push.test"), hole.rule("*.hole.test")};
    support::FakeProvider provider;
    provider.host_in_handle = true;
    bench.open(provider);
    for (int i = 0; i < 1'000; ++i) bench.send("h" + std::to_string(i % 4) + ".hole.test/x");
    REQUIRE(bench.wait_for(1'000 - 512 - 4));
    CHECK(bench.sender->room() >= 512 - 4);
    const auto& turned_away = bench.items.back().verdicts.at(0);
    REQUIRE(turned_away.is<pns::NotSent>());
    CHECK(turned_away.get<pns::NotSent>()->door > pns::Sender::credential_door);
    auto& good = bench.send("good.push.test/x");
    REQUIRE(run_until(bench.loop, [&] { return !good.verdicts.empty(); }));
    CHECK(good.verdicts[0].is<pns::Accepted>());
    bench.stop(0);
    hole.close();
    bench.end(server);
}

TEST_CASE("what waits for the first answer of a host is told when it has come", "[pns]") {
    Bench bench;
    bench.settings.queue_pushes_max = 64;
    H2Server server(bench.loop, {"new.push.test"});
    std::function<void()> answer;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        if (answer) return p.answer(r.stream, 200);
        answer = [&p, stream = r.stream] { p.answer(stream, 200); };
    };
    bench.rules = {server.rule("new.push.test")};
    support::FakeProvider provider;
    provider.host_in_handle = true;
    bench.open(provider);
    for (int i = 0; i < 20; ++i) bench.send("new.push.test/x");
    REQUIRE(run_until(bench.loop, [&] { return answer && bench.told > 0; }));
    CHECK(bench.sender->figures().in_flight == 1);  // one push finds out
    const auto* unsent = bench.items.back().verdicts.at(0).get<pns::NotSent>();
    REQUIRE(unsent != nullptr);
    CHECK(bench.opened.empty());
    answer();
    REQUIRE(bench.wait_for(20));
    CHECK(bench.opened == std::vector<std::uint32_t>{unsent->door});
    bench.stop();
    bench.end(server);
}

TEST_CASE("a probe that comes back into the queue goes out again, and the credential opens",
          "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    const bool token_refused = GENERATE(false, true);
    CAPTURE(token_refused);
    server.limits.streams_max_offered = 1;
    int minted = 0;
    bool returned = false;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        if (!bench.sender->shut()) return p.answer(r.stream, 403);
        if (std::exchange(returned, true)) return p.answer(r.stream, 200);
        if (token_refused) return p.answer(r.stream, 401);
        p.session().reset(r.stream, 7);  // not processed
        p.flush();
    };
    bench.rules = {server.rule("push.test")};
    bench.settings.refused_wait_ms_min = 50;
    support::FakeProvider provider;
    provider.one_stream = true;
    provider.tokens = signed_tokens(minted);
    bench.open(provider);
    for (int i = 0; i < 40; ++i) bench.send("x");
    REQUIRE(bench.wait_for(40));
    CHECK(returned);
    CHECK_FALSE(bench.sender->shut());
    CHECK(bench.opened == std::vector<std::uint32_t>{pns::Sender::credential_door});
    CHECK(bench.sender->figures().accepted >= 1);
    bench.stop();
    bench.end(server);
}

TEST_CASE("a queue that a hold of ours kept from going is no silence of the provider", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    server.limits.streams_max_offered = 1;
    bool first = true;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        if (std::exchange(first, false))
            return p.answer(r.stream, 429, {}, {{"x-throttle-ms", "1900"}});
        p.answer(r.stream, 200);
    };
    bench.rules = {server.rule("push.test")};
    bench.settings.request_timeout_ms = 1'000;
    support::FakeProvider provider;
    provider.one_stream = true;
    bench.open(provider);
    for (int i = 0; i < 6; ++i) bench.send("x");
    REQUIRE(bench.wait_for(6));
    for (std::size_t i = 1; i < 6; ++i) CHECK(bench.items[i].verdicts.at(0).is<pns::Accepted>());
    CHECK(bench.opened.empty());
    bench.stop();
    bench.end(server);
}

TEST_CASE("a host whose connections were ended for another one is connected to again", "[pns]") {
    constexpr int hosts = 256;  // as many as have a place
    Bench bench;
    H1Server server(bench.loop, {"*.notify.test"});
    bench.rules = {server.rule("*.notify.test")};
    support::FakeProvider provider;
    provider.protocol = pns::Account::Protocol::h1;
    provider.host_in_handle = true;
    bench.open(provider);
    const auto handle = [](int host) { return "h" + std::to_string(host) + ".notify.test/x"; };
    for (int i = 0; i < hosts; ++i) bench.send(handle(i));
    REQUIRE(bench.wait_for(hosts));
    bench.send(handle(hosts));
    REQUIRE(bench.wait_for(hosts + 1));
    CHECK(bench.items.back().verdicts.at(0).is<pns::Accepted>());
    // Some at once, while those connections end, and all again when they have ended.
    bench.then = [&](Bench::Item& item) {
        if (!item.verdicts.back().is<pns::NotSent>()) return;
        item.verdicts.clear();
        --bench.told;
        bench.sender->submit(item.push);
    };
    for (int i = 0; i < hosts; ++i) bench.send(handle(i));
    CHECK(bench.wait_for(2 * hosts + 1));
    for (int i = 0; i < hosts; ++i) bench.send(handle(i));
    CHECK(bench.wait_for(3 * hosts + 1));
    bench.then = nullptr;
    bench.stop();
    bench.end(server);
}

TEST_CASE("a host whose token is there again is told, whatever other hosts have", "[pns]") {
    support::ManualClock clock;
    Bench bench(clock);
    H2Server server(bench.loop, {"*.push.test"});
    bench.rules = {server.rule("*.push.test")};
    bool mended = false;
    support::FakeProvider provider;
    provider.host_in_handle = provider.tokens_per_origin = true;
    provider.tokens_of = [&mended](const pns::Origin& origin) {
        pns::SelfSigned source;
        source.mint = [&mended, broken = origin.host == "z.push.test"](std::int64_t) {
            using Token = pns::Result<std::string>;
            return broken && !mended ? Token(pns::make_error_code(pns::errc::bad_key))
                                     : Token("token");
        };
        return pns::TokenSource(source);
    };
    bench.open(provider);
    for (int i = 0; i < 3; ++i) bench.send("z.push.test/x");
    REQUIRE(bench.wait_for(2));
    const auto* unsent = bench.items.front().verdicts.empty()
                             ? bench.items[1].verdicts.at(0).get<pns::NotSent>()
                             : bench.items[0].verdicts.at(0).get<pns::NotSent>();
    REQUIRE(unsent != nullptr);
    const std::uint32_t door = unsent->door;
    bench.send("a.push.test/x");
    REQUIRE(bench.wait_for(3));
    CHECK(bench.opened.empty());
    // Another host has something to do in the same turn.
    mended = true;
    clock.pass_ms(120'000);
    bench.send("a.push.test/x");
    REQUIRE(bench.wait_for(5));
    CHECK(bench.opened == std::vector<std::uint32_t>{door});
    CHECK(bench.sender->figures().accepted == 3);
    bench.stop();
    bench.end(server);
}

TEST_CASE("a loop that stood still is no silence of the provider", "[pns]") {
    Bench bench;
    H2Server server(bench.loop, {"push.test"});
    server.limits.streams_max_offered = 1;
    std::function<void()> answer_first;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        if (answer_first) return p.answer(r.stream, 200);
        answer_first = [&p, stream = r.stream] { p.answer(stream, 200); };
    };
    bench.rules = {server.rule("push.test")};
    bench.settings.request_timeout_ms = 2'000;
    support::FakeProvider provider;
    provider.one_stream = true;
    bench.open(provider);
    for (int i = 0; i < 6; ++i) bench.send("x");
    REQUIRE(run_until(bench.loop, [&] { return answer_first != nullptr; }));
    support::stand_still(std::chrono::milliseconds(2'200));
    // The sender looks at its queue before the answer comes.
    boost::asio::steady_timer later(bench.loop, std::chrono::milliseconds(100));
    later.async_wait([&](boost::system::error_code) { answer_first(); });
    REQUIRE(bench.wait_for(6));
    for (const auto& item : bench.items) {
        INFO(item.verdicts.at(0).reason());
        CHECK(item.verdicts.at(0).is<pns::Accepted>());
    }
    CHECK(bench.opened.empty());
    bench.stop();
    bench.end(server);
}
