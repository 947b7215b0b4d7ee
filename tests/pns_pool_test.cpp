#include "pns/pool.hpp"

#include <catch2/catch.hpp>
#include <limits>

#include "pns/clock.hpp"
#include "pns/errc.hpp"
#include "tests/support/run_until.hpp"
#include "tests/support/tls_server.hpp"

namespace {

using pns::Connection;
using support::H2Server;
using support::run_until;

/// A pool on a server of the test's; the clock of renew() and steer() is the test's.
struct PoolBench final : pns::ConnectionEvents {
    explicit PoolBench(std::size_t connections_max = 1)
        : nursery(loop.get_executor()),
          server(loop, {"push.test"}),
          pool(nursery, settings(connections_max), *this, [this](pns::error_code) { ++ended; }) {
        server.on_request = [this](H2Server::Peer& peer, const H2Server::Request& request) {
            held.emplace_back(&peer, request.stream);
        };
    }
    ~PoolBench() {
        pool.close(pns::errc::stopped);
        server.stop();
        CHECK(run_until(loop, [&] { return nursery.size() == 0 && server.ended(); }));
    }
    pns::PoolSettings settings(std::size_t connections_max) const {
        static pns::TrustStore trust;
        pns::TlsClientOptions tls;
        tls.ca_file = support::Authority::get().file();
        tls.alpn = "h2";
        pns::PoolSettings out;
        out.connection.clock = &pns::system_clock();
        out.connection.origin.host = "push.test";
        out.connection.target.host = "127.0.0.1";
        out.connection.target.port = server.port();
        out.connection.tls = pns::make_client_context(trust, tls).value();
        out.connection.times.connections_max = connections_max;
        out.connection.times.connect_timeout_ms = 5'000;
        return out;
    }
    void on_answer(Connection&, void*, const pns::Answer&) override { ++answers; }
    void on_lost(Connection&, void*, const pns::Lost&) override { ++losses; }
    void on_change(Connection&) override { pool.hand_over(); }
    void on_goaway(Connection&, std::uint32_t, std::string_view) override {}

    /// The connection that took it.
    Connection* submit() {
        Connection* const picked = pool.pick();
        REQUIRE(picked != nullptr);
        pns::WireRequest request;
        request.path = "/";
        REQUIRE(picked->submit(request, this));
        const auto count = held.size() + 1;
        REQUIRE(until([&] { return held.size() == count; }));
        return picked;
    }
    void answer(std::size_t i) { held[i].first->answer(held[i].second, 200); }
    /// False as well if there was a moment without a connection that takes requests.
    template <class Predicate>
    bool until(Predicate done) {
        bool always = true;
        return run_until(loop,
                         [&] {
                             always = always && (!opened || pool.ready() > 0);
                             return done();
                         }) &&
               always;
    }
    Connection* open_first() {
        pool.steer(now_ms, 1);
        REQUIRE(until([&] { return pool.ready() == 1; }));
        opened = true;
        return pool.pick();
    }

    boost::asio::io_context loop{1};
    pns::Nursery nursery;
    H2Server server;
    pns::Pool pool;
    std::vector<std::pair<H2Server::Peer*, std::int32_t>> held;
    std::int64_t now_ms = pns::system_clock().steady_ms();
    int answers = 0, losses = 0, ended = 0;
    bool opened = false;
};
constexpr std::int64_t day_ms = 24 * 3'600'000;

pns::PoolNumbers h2(std::size_t queued, std::size_t ready, std::size_t window) {
    pns::PoolNumbers n;
    n.queued = queued;
    n.ready = ready;
    n.window = window;
    n.connections_max = 8;
    n.now_ms = 100'000;
    n.pressed_since_ms = 99'000;
    return n;
}

}  // namespace

TEST_CASE("a pool connects on need, grows under lasting pressure and never beyond its bound",
          "[pns]") {
    CHECK(pns::should_connect(h2(1, 0, 0)));
    CHECK_FALSE(pns::should_connect(h2(0, 0, 0)));
    CHECK_FALSE(pns::should_connect(h2(200, 1, 100)));
    CHECK(pns::should_connect(h2(201, 1, 100)));
    CHECK_FALSE(pns::should_connect(h2(10'000, 8, 800)));

    auto n = h2(1'000, 1, 100);
    n.pressed_since_ms = n.now_ms - 199;
    CHECK_FALSE(pns::should_connect(n));
    n.pressed_since_ms = n.now_ms - 200;
    CHECK(pns::should_connect(n));
    n.connecting = 1;
    CHECK_FALSE(pns::should_connect(n));
    n.connecting = 0;
    n.unproven = 1;
    CHECK_FALSE(pns::should_connect(n));
    n.unproven = 0;
    n.retry_at_ms = n.now_ms + 1;
    CHECK_FALSE(pns::should_connect(n));
}

TEST_CASE("a connect that hangs keeps no others from being tried, once a second", "[pns]") {
    const bool one_at_a_time = GENERATE(false, true);
    auto n = h2(1, 0, 0);
    n.one_at_a_time = one_at_a_time;
    n.connecting = 1;
    n.connect_ms = n.now_ms - 999;
    CHECK_FALSE(pns::should_connect(n));
    n.connect_ms = n.now_ms - 1'000;
    CHECK(pns::should_connect(n));
    n.connecting = 2;
    CHECK(pns::should_connect(n));
    n.connecting = 3;
    CHECK_FALSE(pns::should_connect(n));
    n.connecting = 1;
    n.ready = 1;
    CHECK_FALSE(pns::should_connect(n));
    n.ready = 0;
    n.connections_max = 1;
    CHECK_FALSE(pns::should_connect(n));
}

TEST_CASE("a provider that stalls handshakes is connected to soon after its return", "[pns]") {
    PoolBench bench(8);
    bench.server.stall_handshake = true;
    const auto steer = [&] { bench.pool.steer(pns::system_clock().steady_ms(), 1); };
    const auto begun_ms = pns::system_clock().steady_ms();
    REQUIRE(run_until(bench.loop, [&] {
        steer();
        return bench.server.accepted() >= 4;  // some of them were given up for others
    }));
    CHECK(pns::system_clock().steady_ms() - begun_ms < 5'000);
    CHECK(bench.pool.connections() <= 3);
    CHECK_FALSE(bench.pool.trouble());  // the first one still has time
    bench.server.stall_handshake = false;
    const auto back_ms = pns::system_clock().steady_ms();
    REQUIRE(run_until(bench.loop, [&] {
        steer();
        return bench.pool.ready() > 0;
    }));
    CHECK(pns::system_clock().steady_ms() - back_ms < 2'500);
}

TEST_CASE("a limit that shrinks is not answered by more connections", "[pns]") {
    auto n = h2(1'000, 1, 1);
    n.shrunk_ms = n.now_ms - 1'000;
    CHECK_FALSE(pns::should_connect(n));
    n.shrunk_ms = n.now_ms - 60'000;
    CHECK(pns::should_connect(n));
    n = h2(1'000, 0, 0);
    n.shrunk_ms = n.now_ms;
    CHECK(pns::should_connect(n));  // there is none at all
}

TEST_CASE("an HTTP/1.1 pool has one connection for each waiting push, within bounds", "[pns]") {
    auto n = h2(10, 1, 1);
    n.one_at_a_time = true;
    n.pressed_since_ms = 0;
    std::size_t opened = 0;
    while (pns::should_connect(n)) {
        ++n.connecting;
        ++opened;
    }
    CHECK(opened == 7);
    n = h2(2, 1, 1);
    n.one_at_a_time = true;
    n.connecting = 2;
    CHECK_FALSE(pns::should_connect(n));
}

TEST_CASE("connects that fail together are one failure", "[pns]") {
    constexpr std::uint64_t random = std::numeric_limits<std::uint64_t>::max();
    const pns::ConnectionRecord dead;
    for (const int count : {1, 2, 8, 64}) {
        pns::ConnectBackoff backoff;
        CHECK(backoff.retry_at_ms() == 0);
        for (int i = 0; i < count; ++i) backoff.ended(dead, 1'000, 1'400 + i, random);
        CHECK(backoff.demerits() == 2);
        CHECK(backoff.retry_at_ms() >= 1'450);
        CHECK(backoff.retry_at_ms() <= 2'400);
        // One that was begun after it is the next.
        backoff.ended(dead, 1'401, 3'000, random);
        CHECK(backoff.demerits() == 4);
        CHECK(backoff.retry_at_ms() <= 5'000);
    }
}

TEST_CASE("the wait before a connect is within its bounds for any jitter", "[pns]") {
    const pns::ConnectionRecord dead;
    for (std::uint64_t random : {std::uint64_t{0}, std::uint64_t{49}, std::uint64_t{777},
                                 std::uint64_t{59'999}, std::uint64_t{1} << 63}) {
        pns::ConnectBackoff backoff;
        std::int64_t now_ms = 1'000, bound_ms = 1'000;
        // Also long after the demerits have reached their bound.
        for (int i = 0; i < 100; ++i) {
            const auto began_ms = now_ms;
            now_ms += 10;
            backoff.ended(dead, began_ms, now_ms, random);
            CHECK(backoff.retry_at_ms() >= now_ms + 50);
            CHECK(backoff.retry_at_ms() <= now_ms + bound_ms);
            now_ms = backoff.retry_at_ms();
            bound_ms = std::min<std::int64_t>(bound_ms * 2, 60'000);
        }
    }
}

TEST_CASE(
    "a provider that cannot be reached is tried again within a second, however long it is away",
    "[pns]") {
    pns::ConnectionRecord refused, ended;
    refused.reached = false;
    pns::ConnectBackoff backoff;
    std::int64_t now_ms = 1'000;
    for (std::uint64_t i = 0; i < 5'000; ++i) {
        const auto began_ms = now_ms;
        now_ms += 10;
        backoff.ended(refused, began_ms, now_ms, i * 777);
        REQUIRE(backoff.retry_at_ms() >= now_ms + 50);
        REQUIRE(backoff.retry_at_ms() <= now_ms + 1'000);
        now_ms = backoff.retry_at_ms();
    }
    // Back, it ends the first connection: that is no pattern yet.
    backoff.ended(ended, now_ms, now_ms + 10, std::numeric_limits<std::uint64_t>::max());
    CHECK(backoff.retry_at_ms() <= now_ms + 2'010);
}

TEST_CASE("an answer ends the backoff, idling does not", "[pns]") {
    constexpr std::uint64_t random = 900;
    pns::ConnectionRecord dead, good, idle;
    good.answers = 1'000;
    good.lived_ms = 60'000;
    idle.closed_by_us = true;
    pns::ConnectBackoff backoff;
    for (int i = 1; i <= 5; ++i) backoff.ended(dead, i * 1'000, i * 1'000 + 10, random);
    const auto demerits = backoff.demerits();
    const auto retry_at_ms = backoff.retry_at_ms();
    CHECK(demerits == 10);
    backoff.ended(idle, 6'000, 7'000, random);
    CHECK(backoff.demerits() == demerits);
    CHECK(backoff.retry_at_ms() == retry_at_ms);
    backoff.ended(good, 500, 7'500, random);
    CHECK(backoff.demerits() == 0);
    CHECK(backoff.retry_at_ms() == 0);
    backoff.ended(dead, 8'000, 8'010, random);
    CHECK(backoff.demerits() == 2);
}

TEST_CASE("connects back off from failures and recover with answers", "[pns]") {
    pns::ConnectionRecord dead, good, brief;
    good.answers = 1'000;
    good.lived_ms = 60'000;
    brief.answers = 2;
    brief.lived_ms = 100;
    unsigned demerits = 0;
    constexpr std::uint64_t random = std::numeric_limits<std::uint64_t>::max();
    CHECK(pns::connect_wait_ms(0, random) == 0);
    std::int64_t bound = 1'000;
    for (int i = 0; i < 50; ++i) {
        demerits = pns::demerits_after(demerits, dead);
        CHECK(pns::connect_wait_ms(demerits, 0) == 50);
        CHECK(pns::connect_wait_ms(demerits, random) <= bound);
        CHECK(pns::connect_wait_ms(demerits, static_cast<std::uint64_t>(bound)) == bound);
        bound = std::min<std::int64_t>(bound * 2, 60'000);
    }
    CHECK(pns::demerits_after(demerits, good) == 0);
    demerits = pns::demerits_after(0, brief);
    CHECK(pns::connect_wait_ms(demerits, random) == 0);  // once is no pattern
    demerits = pns::demerits_after(demerits, brief);
    CHECK(pns::connect_wait_ms(demerits, random) >= 50);
    brief.one_at_a_time = true;
    CHECK(pns::demerits_after(demerits, brief) == 0);
    dead.closed_by_us = true;
    CHECK(pns::demerits_after(4, dead) == 4);
}

TEST_CASE("a pool that needs little for minutes lets a connection go, one at a time", "[pns]") {
    auto n = h2(0, 3, 3'000);
    n.in_flight = 900;
    n.slack_since_ms = 1;
    n.now_ms = 300'001;
    CHECK(pns::is_slack(n));
    CHECK(pns::should_retire(n));
    n.now_ms = 300'000;
    CHECK_FALSE(pns::should_retire(n));
    n.now_ms = 300'001;
    n.in_flight = 1'000;  // two would be half full
    CHECK_FALSE(pns::should_retire(n));
    n.in_flight = 0;
    n.queued = 1;
    CHECK_FALSE(pns::should_retire(n));
    n.queued = 0;
    n.connecting = 1;
    CHECK_FALSE(pns::should_retire(n));
    CHECK_FALSE(pns::is_slack(h2(0, 1, 1'000)));
    n = h2(0, 3, 3);
    n.one_at_a_time = true;  // idle ones close by themselves
    CHECK_FALSE(pns::is_slack(n));
}

TEST_CASE("connections that a peer ends but holds open are not replaced without bound", "[pns]") {
    auto n = h2(1'000, 0, 0);
    n.draining = 17;
    CHECK(pns::should_connect(n));
    n.draining = 18;
    CHECK_FALSE(pns::should_connect(n));
}

TEST_CASE("connections opened together do not grow old together", "[pns]") {
    CHECK(pns::jittered_age_ms(1'000, 0) == 1'000);
    CHECK(pns::jittered_age_ms(1'000, 100) == 900);
    CHECK(pns::jittered_age_ms(1'000, 101) == 1'000);
    CHECK(pns::jittered_age_ms(0, 7) == 0);
    for (int i = 0; i < 100; ++i) {
        const auto age = pns::jittered_age_ms(3'600'000);
        CHECK((age >= 3'240'000 && age <= 3'600'000));
    }
}

TEST_CASE("an old connection is replaced within the bounds of any other connect", "[pns]") {
    auto n = h2(0, 1, 1'000);
    n.connections_max = 1;
    CHECK_FALSE(pns::should_replace(n));
    n.old = 1;
    CHECK(pns::should_replace(n));
    n.connecting = 1;
    CHECK_FALSE(pns::should_replace(n));
    n.connecting = 0;
    n.retry_at_ms = n.now_ms + 1;
    CHECK_FALSE(pns::should_replace(n));
    n.retry_at_ms = n.now_ms;
    n.draining = 3;
    CHECK_FALSE(pns::should_replace(n));
}

TEST_CASE("an old connection takes requests until its successor has answered, then drains",
          "[pns]") {
    PoolBench bench;
    Connection* const old = bench.open_first();
    bench.pool.renew(bench.now_ms);
    CHECK(bench.pool.connections() == 1);
    CHECK(bench.submit() == old);

    bench.pool.renew(bench.now_ms + day_ms + 60'000);
    CHECK(bench.pool.connections() == 2);
    CHECK(bench.pool.pick() == old);  // the new one is not there yet
    REQUIRE(bench.until([&] { return bench.pool.ready() == 2; }));
    CHECK(old->state() == Connection::State::ready);
    Connection* const young = bench.submit();
    CHECK(young != old);
    CHECK(bench.submit() == old);  // one request is what an untried connection gets

    bench.answer(1);
    REQUIRE(bench.until([&] { return old->state() == Connection::State::draining; }));
    CHECK(bench.pool.pick() == young);
    CHECK(bench.answers == 1);
    bench.pool.renew(bench.now_ms + 2 * day_ms / 3);
    CHECK(bench.pool.connections() == 2);
    bench.answer(0);
    bench.answer(2);
    REQUIRE(bench.until([&] { return bench.ended == 1; }));
    CHECK(bench.answers == 3);
    CHECK(bench.losses == 0);
    CHECK(bench.pool.connections() == 1);
    CHECK(bench.server.accepted() == 2);
}

TEST_CASE("an old connection goes on while no successor can be had", "[pns]") {
    PoolBench bench;
    Connection* const old = bench.open_first();
    const auto then_ms = bench.now_ms + day_ms + 60'000;
    bench.server.drop_on_accept = true;
    bench.pool.renew(then_ms);
    REQUIRE(bench.until([&] { return bench.ended == 1; }));
    CHECK(bench.submit() == old);
    bench.pool.renew(pns::system_clock().steady_ms());  // young still at this time
    CHECK(bench.pool.connections() == 1);
    bench.server.drop_on_accept = false;
    bench.pool.renew(then_ms);
    REQUIRE(bench.until([&] { return bench.pool.ready() == 2; }));
    CHECK(bench.submit() != old);
    bench.answer(1);
    bench.answer(0);
    REQUIRE(bench.until([&] { return bench.ended == 2; }));
    CHECK(bench.answers == 2);
    CHECK(bench.losses == 0);
}

TEST_CASE("an old connection that the provider ends first leaves its successor in charge",
          "[pns]") {
    PoolBench bench;
    bench.open_first();
    bench.pool.renew(bench.now_ms + day_ms + 60'000);
    REQUIRE(bench.until([&] { return bench.pool.ready() == 2; }));
    bench.server.peers.front()->cut();
    REQUIRE(bench.until([&] { return bench.ended == 1; }));
    Connection* const young = bench.submit();
    CHECK(bench.submit() == young);
    bench.answer(0);
    bench.answer(1);
    REQUIRE(bench.until([&] { return bench.answers == 2; }));
    CHECK(young->state() == Connection::State::ready);
}
