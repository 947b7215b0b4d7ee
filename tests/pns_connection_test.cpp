#include "pns/connection.hpp"

#include <boost/asio/steady_timer.hpp>
#include <catch2/catch.hpp>
#include <map>
#include <optional>

#include "pns/errc.hpp"
#include "pns/h1_codec.hpp"
#include "pns/h1_connection.hpp"
#include "pns/h2_connection.hpp"
#include "pns/nursery.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/run_until.hpp"
#include "tests/support/tls_server.hpp"

namespace {

namespace asio = boost::asio;
using pns::Connection;
using pns::errc;
using pns::error_code;
using support::Authority;
using support::H1Server;
using support::H2Server;
using support::run_until;

struct Seen {
    int answers = 0, losses = 0, status = 0;
    std::string body;
    bool cut = false;
    pns::Lost lost;
};

// A connection and what it reported, by tag.
struct Driver final : pns::ConnectionEvents {
    Driver(asio::io_context& loop, bool h2, pns::ConnectionSettings settings)
        : nursery(loop.get_executor()),
          connection(
              h2 ? pns::make_h2_connection(loop.get_executor(), std::move(settings), *this)
                 : pns::make_h1_connection(loop.get_executor(), std::move(settings), *this)) {
        nursery.start(run());
    }
    pns::Task<void> run() { ended = co_await connection->run(); }
    static Seen& seen(void* tag) { return *static_cast<Seen*>(tag); }
    void on_answer(Connection&, void* tag, const pns::Answer& answer) override {
        auto& s = seen(tag);
        ++s.answers;
        s.status = answer.status;
        s.body = answer.body;
        s.cut = answer.body_cut;
    }
    void on_lost(Connection&, void* tag, const pns::Lost& lost) override {
        ++seen(tag).losses;
        seen(tag).lost = lost;
    }
    void on_change(Connection&) override { ++changes; }
    void on_goaway(Connection&, std::uint32_t, std::string_view debug) override { goaway = debug; }
    bool submit(Seen& tag, std::string_view path = "/") {
        std::vector<pns::H2Header> headers;
        headers.push_back({"x-a", "b"});
        pns::WireRequest request;
        request.path = path;
        request.headers = headers;
        request.body = std::make_shared<const std::string>("body");
        return connection->submit(request, &tag);
    }
    bool ready() const { return connection->room() > 0; }
    pns::Nursery nursery;
    std::unique_ptr<Connection> connection;
    std::optional<error_code> ended;
    std::string goaway;
    int changes = 0;
};

pns::ConnectionSettings settings_for(const pns::Target& target, bool h2,
                                     const std::string& ca_file = Authority::get().file()) {
    static pns::TrustStore trust;
    pns::TlsClientOptions tls;
    tls.ca_file = ca_file;
    tls.alpn = h2 ? "h2" : "http/1.1";
    pns::ConnectionSettings out;
    out.clock = &pns::system_clock();
    out.origin.host = "push.test";
    out.target = target;
    out.tls = pns::make_client_context(trust, tls).value();
    out.times.connect_timeout_ms = 5'000;
    return out;
}

pns::Target at(std::uint16_t port) {
    pns::Target out;
    out.host = "127.0.0.1";
    out.port = port;
    return out;
}

template <class Server>
void finish(asio::io_context& loop, Driver& driver, Server& server) {
    driver.connection->close(errc::stopped);
    REQUIRE(run_until(loop, [&] { return driver.ended && driver.nursery.size() == 0; }));
    server.stop();
    REQUIRE(run_until(loop, [&] { return server.ended(); }));
}

}  // namespace

TEST_CASE("connect-to rules send names elsewhere", "[pns]") {
    const auto rules =
        pns::ConnectTo::parse({"API.push.test:443=127.0.0.1:9001",
                               "*.notify.test:443=localhost:9002", "v6.test:2197=[::1]:9003"});
    REQUIRE(rules.has_value());
    struct Row {
        std::string_view host;
        std::uint16_t port;
        std::string_view to;
        std::uint16_t to_port;
    };
    const Row rows[] = {
        {"api.push.test", 443, "127.0.0.1", 9001},
        {"Api.Push.Test", 443, "127.0.0.1", 9001},
        {"api.push.test", 444, "api.push.test", 444},
        {"db5.notify.test", 443, "localhost", 9002},
        {"a.b.notify.test", 443, "localhost", 9002},
        {"notify.test", 443, "notify.test", 443},
        {"evilnotify.test", 443, "evilnotify.test", 443},
        {".notify.test", 443, ".notify.test", 443},
        {"v6.test", 2197, "::1", 9003},
        {"other.test", 443, "other.test", 443},
    };
    for (const auto& row : rows) {
        CAPTURE(row.host);
        const auto target = rules->resolve(row.host, row.port);
        CHECK(target.host == row.to);
        CHECK(target.port == row.to_port);
    }
    for (const char* bad : {"", "a", "a:1", "a:1=", "a=b", "a:1=b", "a:x=b:1", "a:1=b:0",
                            "a:1=b:65536", ":1=b:1", "a:1=:1", "a:1=*.b:1", "*.:1=b:1",
                            "a.*.b:1=b:1", "a:1=::1:80", "a:1=[]:1", "a b:1=c:1"}) {
        CAPTURE(bad);
        CHECK_FALSE(pns::ConnectTo::parse({bad}).has_value());
    }
}

TEST_CASE("an HTTP/2 connection carries many requests and drains after GOAWAY", "[pns]") {
    asio::io_context loop(1);
    H2Server server(loop, {"push.test"});
    std::vector<std::int32_t> held;
    H2Server::Peer* peer = nullptr;
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        peer = &p;
        CHECK(r.authority == "push.test");
        CHECK(r.body == "body");
        r.path == "/held" ? held.push_back(r.stream) : p.answer(r.stream, 200, "fine");
    };
    Driver driver(loop, true, settings_for(at(server.port()), true));
    REQUIRE(run_until(loop, [&] { return driver.ready(); }));
    std::vector<Seen> seen(50);
    for (auto& s : seen) REQUIRE(driver.submit(s));
    Seen below, above;
    REQUIRE(driver.submit(below, "/held"));
    REQUIRE(driver.submit(above, "/held"));
    REQUIRE(
        run_until(loop, [&] { return held.size() == 2 && driver.connection->in_flight() == 2; }));
    for (const auto& s : seen) {
        CHECK(s.answers == 1);
        CHECK(s.body == "fine");
    }
    peer->session().submit_goaway(0, "{\"reason\":\"Shutdown\"}", std::min(held[0], held[1]));
    peer->flush();
    REQUIRE(run_until(loop, [&] { return driver.connection->in_flight() == 1; }));
    CHECK(driver.goaway == "{\"reason\":\"Shutdown\"}");
    CHECK(driver.connection->state() == Connection::State::draining);
    CHECK(driver.connection->room() == 0);
    CHECK(above.losses == 1);
    CHECK_FALSE(above.lost.processed_unknown);
    peer->answer(std::min(held[0], held[1]), 200);
    REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
    CHECK(below.answers == 1);
    CHECK(driver.ended == errc::retired);
    finish(loop, driver, server);
}

TEST_CASE("a connection that never closes after GOAWAY is closed at the drain deadline", "[pns]") {
    asio::io_context loop(1);
    H2Server server(loop, {"push.test"});
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request&) {
        p.session().submit_goaway();
        p.flush();
    };
    auto settings = settings_for(at(server.port()), true);
    settings.times.drain_ms_max = 30;
    Driver driver(loop, true, settings);
    REQUIRE(run_until(loop, [&] { return driver.ready(); }));
    Seen seen;
    driver.submit(seen);
    REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
    CHECK(driver.ended == errc::retired);
    CHECK(seen.losses == 1);
    CHECK(seen.lost.processed_unknown);
    finish(loop, driver, server);
}

TEST_CASE("a request without an answer times out, the connection goes on", "[pns]") {
    asio::io_context loop(1);
    H2Server server(loop, {"push.test"});
    server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
        if (r.path != "/never") p.answer(r.stream, 200);
    };
    auto settings = settings_for(at(server.port()), true);
    settings.times.request_timeout_ms = 30;
    Driver driver(loop, true, settings);
    REQUIRE(run_until(loop, [&] { return driver.ready(); }));
    Seen never, after;
    driver.submit(never, "/never");
    REQUIRE(run_until(loop, [&] { return never.losses == 1; }));
    CHECK(never.lost.timed_out);
    CHECK(never.lost.processed_unknown);
    REQUIRE(run_until(loop, [&] { return server.lost == 1; }));
    REQUIRE(driver.submit(after));
    REQUIRE(run_until(loop, [&] { return after.answers + after.losses == 1; }));
    CHECK(after.answers == 1);
    CHECK(driver.connection->in_flight() == 0);
    finish(loop, driver, server);
}

TEST_CASE("answers that came while the process stood still are read before it judges deadlines",
          "[pns]") {
    asio::io_context loop(1), provider(1);  // the provider goes on
    support::ManualClock clock;
    constexpr std::int64_t gap_ms = 60'000;
    const auto both_until = [&](auto done) {
        return run_until(loop, [&] {
            provider.poll();
            return done();
        });
    };
    SECTION("HTTP/2") {
        H2Server server(provider, {"push.test"});
        std::vector<std::int32_t> held;
        H2Server::Peer* peer = nullptr;
        server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
            peer = &p;
            held.push_back(r.stream);
        };
        auto settings = settings_for(at(server.port()), true);
        settings.clock = &clock;
        Driver driver(loop, true, settings);
        REQUIRE(both_until([&] { return driver.ready(); }));
        std::vector<Seen> seen(50);
        for (auto& s : seen) REQUIRE(driver.submit(s));
        REQUIRE(both_until([&] { return held.size() == seen.size(); }));
        for (const auto stream : held) {
            peer->answer(stream, 200, std::string(2'000, 'x'));
            provider.poll();  // each in a TLS record of its own
        }
        clock.pass_ms(gap_ms);
        Seen extra;
        REQUIRE(driver.submit(extra));  // looks at the clock before anything is read
        REQUIRE(both_until([&] { return driver.connection->in_flight() == 1; }));
        for (const auto& s : seen) {
            CHECK(s.answers == 1);
            CHECK(s.losses == 0);
        }
        CHECK(driver.ready());
        driver.connection->close(errc::stopped);
        REQUIRE(both_until([&] { return driver.ended && driver.nursery.size() == 0; }));
        server.stop();
        REQUIRE(run_until(provider, [&] { return server.ended(); }));
    }
    SECTION("HTTP/1.1") {
        H1Server server(provider, {"push.test"});
        auto settings = settings_for(at(server.port()), false);
        settings.clock = &clock;
        settings.times.request_timeout_ms = 1;  // the clock stands still: looked at again and again
        server.reply = [](const H1Server::Request&) {
            return H1Server::answer(200, std::string(100'000, 'x'));
        };
        Driver driver(loop, false, settings);
        REQUIRE(both_until([&] { return driver.ready(); }));
        Seen seen;
        REQUIRE(driver.submit(seen));
        server.hold = true;
        REQUIRE(both_until([&] { return server.requests == 1; }));
        server.release();
        provider.poll();
        clock.pass_ms(gap_ms);
        // Until the connection's own timer is due as well as its socket.
        asio::steady_timer later(provider, std::chrono::milliseconds(5));
        bool due = false;
        later.async_wait([&](error_code) { due = true; });
        REQUIRE(run_until(provider, [&] { return due; }));
        REQUIRE(both_until([&] { return seen.answers + seen.losses == 1; }));
        CHECK(seen.answers == 1);
        driver.connection->close(errc::stopped);
        REQUIRE(both_until([&] { return driver.ended && driver.nursery.size() == 0; }));
        server.stop();
        REQUIRE(run_until(provider, [&] { return server.ended(); }));
    }
}

TEST_CASE("a peer without SETTINGS or PING answers is given up", "[pns]") {
    asio::io_context loop(1);
    H2Server server(loop, {"push.test"});
    auto settings = settings_for(at(server.port()), true);
    SECTION("no SETTINGS") {
        server.mute = true;
        settings.times.connect_timeout_ms = 200;
        Driver driver(loop, true, settings);
        REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
        CHECK(driver.ended == errc::settings_timeout);
        finish(loop, driver, server);
    }
    SECTION("no PING answer") {
        settings.times.ping_idle_ms = 20;
        settings.times.ping_timeout_ms = 30;
        server.on_request = [&](H2Server::Peer& p, const H2Server::Request& r) {
            p.answer(r.stream, 200);
            server.mute = true;
        };
        server.mute = false;
        Driver driver(loop, true, settings);
        REQUIRE(run_until(loop, [&] { return driver.ready(); }));
        Seen seen;
        driver.submit(seen);
        REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
        CHECK(driver.ended == errc::ping_timeout);
        finish(loop, driver, server);
    }
    SECTION("PING answers keep it, idling ends it") {
        settings.times.ping_idle_ms = 10;
        settings.times.ping_timeout_ms = 5'000;
        settings.times.idle_close_ms = 100;
        Driver driver(loop, true, settings);
        REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
        CHECK(driver.ended == errc::idle_closed);
        finish(loop, driver, server);
    }
}

TEST_CASE("a connection that runs out of stream ids is old, and ends with its last answer",
          "[pns]") {
    asio::io_context loop(1);
    H2Server server(loop, {"push.test"});
    auto settings = settings_for(at(server.port()), true);
    settings.stream_id_first = (1U << 31) - 1024 - 3;
    Driver driver(loop, true, settings);
    REQUIRE(run_until(loop, [&] { return driver.ready(); }));
    CHECK(driver.connection->is_old(pns::system_clock().steady_ms()));
    Seen first, last, none;
    REQUIRE(driver.submit(first));
    REQUIRE(driver.submit(last));
    CHECK_FALSE(driver.submit(none));
    CHECK(driver.connection->state() == Connection::State::draining);
    REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
    CHECK(first.answers == 1);
    CHECK(last.answers == 1);
    finish(loop, driver, server);
}

TEST_CASE("a connection is old at its age, and goes on until it is told", "[pns]") {
    asio::io_context loop(1);
    H2Server server(loop, {"push.test"});
    Driver driver(loop, true, settings_for(at(server.port()), true));
    const auto age_max_ms = pns::SenderSettings().age_max_ms;
    CHECK_FALSE(driver.connection->is_old(pns::system_clock().steady_ms() + age_max_ms));
    REQUIRE(run_until(loop, [&] { return driver.ready(); }));
    const auto ready_ms = driver.connection->ready_ms();
    CHECK_FALSE(driver.connection->is_old(ready_ms + age_max_ms * 9 / 10 - 1));
    CHECK(driver.connection->is_old(ready_ms + age_max_ms));
    Seen seen;
    REQUIRE(driver.submit(seen));
    driver.connection->drain();
    CHECK_FALSE(driver.ready());
    CHECK_FALSE(driver.connection->is_old(ready_ms + age_max_ms));
    REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
    CHECK(seen.answers == 1);
    finish(loop, driver, server);
}

TEST_CASE("a cut connection loses its requests once each, the written ones as unknown", "[pns]") {
    asio::io_context loop(1);
    H2Server server(loop, {"push.test"});
    int arrived = 0;
    server.on_request = [&](H2Server::Peer&, const H2Server::Request&) { ++arrived; };
    Driver driver(loop, true, settings_for(at(server.port()), true));
    REQUIRE(run_until(loop, [&] { return driver.ready(); }));
    std::vector<Seen> seen(20);
    for (auto& s : seen) driver.submit(s);
    REQUIRE(run_until(loop, [&] { return arrived == 20; }));
    server.cut_all();
    Seen unwritten;
    driver.submit(unwritten);
    driver.connection->close(errc::stopped);
    REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
    for (const auto& s : seen) {
        CHECK(s.losses == 1);
        CHECK(s.lost.processed_unknown);
    }
    CHECK(unwritten.losses == 1);
    CHECK_FALSE(unwritten.lost.processed_unknown);
    finish(loop, driver, server);
}

TEST_CASE("connecting fails with the class of its cause", "[pns]") {
    asio::io_context loop(1);
    const auto& authority = Authority::get();
    struct Case {
        const char* name;
        std::function<std::unique_ptr<H2Server>()> server;
        std::function<void(pns::ConnectionSettings&)> change;
        errc expected;
    };
    auto plain = [&] {
        return std::make_unique<H2Server>(loop, std::vector<std::string>{"push.test"});
    };
    auto nothing = [](pns::ConnectionSettings&) {};
    pns::LeafOptions expired;
    expired.valid_from_s = -7'200;
    expired.valid_until_s = -3'600;
    const Case cases[] = {
        {"wrong name",
         [&] { return std::make_unique<H2Server>(loop, std::vector<std::string>{"other.test"}); },
         nothing, errc::certificate_not_trusted},
        {"expired",
         [&] {
             return std::make_unique<H2Server>(loop, std::vector<std::string>{},
                                               authority.server({"push.test"}, "h2", expired));
         },
         nothing, errc::certificate_not_trusted},
        {"unknown authority", plain,
         [](pns::ConnectionSettings& s) { s.tls = settings_for(s.target, true, "").tls; },
         errc::certificate_not_trusted},
        {"other protocol",
         [&] {
             return std::make_unique<H2Server>(loop, std::vector<std::string>{},
                                               authority.server({"push.test"}, "http/1.1"));
         },
         nothing, errc::tls_failed},
        {"no protocol",
         [&] {
             return std::make_unique<H2Server>(loop, std::vector<std::string>{},
                                               authority.server({"push.test"}, ""));
         },
         nothing, errc::alpn_refused},
        {"closed after accept",
         [&] {
             auto s = plain();
             s->drop_on_accept = true;
             return s;
         },
         nothing, errc::connection_ended},
        {"handshake stalls",
         [&] {
             auto s = plain();
             s->stall_handshake = true;
             return s;
         },
         [](pns::ConnectionSettings& s) { s.times.connect_timeout_ms = 100; },
         errc::connect_timeout},
        {"nobody listens",
         [&] {
             auto s = plain();
             s->stop_accepting();
             return s;
         },
         nothing, errc::connect_failed},
        {"no such name", plain,
         [](pns::ConnectionSettings& s) { s.target.host = "no-such-name.invalid"; },
         errc::resolve_failed},
    };
    for (const auto& c : cases) {
        CAPTURE(c.name);
        auto server = c.server();
        pns::Target target;
        target.host = "127.0.0.1";
        target.port = 1;
        if (std::string_view(c.name) != "nobody listens") target = at(server->port());
        auto settings = settings_for(target, true);
        c.change(settings);
        Driver driver(loop, true, settings);
        REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
        CHECK(driver.ended->message() == error_code(c.expected).message());
        finish(loop, driver, *server);
    }
}

TEST_CASE("client certificates are shown to servers that ask", "[pns]") {
    asio::io_context loop(1);
    const auto& ca = Authority::get().ca();
    const auto leaf = pns::make_leaf(ca, {"push.test"});
    pns::TlsServerOptions options;
    options.certificate_pem = leaf.certificate_pem;
    options.key_pem = leaf.key_pem;
    options.alpn = {"h2"};
    options.client_ca_pem = ca.certificate_pem;
    H2Server server(loop, {}, pns::make_server_context(options).value());
    auto settings = settings_for(at(server.port()), true);
    const bool with = GENERATE(true, false);
    if (with) {
        const auto own = pns::make_leaf(ca, {"client.test"});
        pns::TrustStore trust;
        pns::TlsClientOptions tls;
        tls.ca_file = Authority::get().file();
        tls.alpn = "h2";
        tls.certificate_pem = own.certificate_pem;
        tls.key_pem = own.key_pem;
        settings.tls = pns::make_client_context(trust, tls).value();
        tls.key_pem = leaf.key_pem;
        CHECK_FALSE(pns::make_client_context(trust, tls).has_value());
    }
    Driver driver(loop, true, settings);
    Seen seen;
    REQUIRE(run_until(loop, [&] { return driver.ended || driver.ready(); }));
    if (driver.ready()) driver.submit(seen);
    REQUIRE(run_until(loop, [&] { return driver.ended || seen.answers == 1; }));
    CHECK((seen.answers == 1) == with);
    finish(loop, driver, server);
}

TEST_CASE("an HTTP/1.1 answer is read in any pieces", "[pns]") {
    struct Row {
        std::string bytes;
        bool end;    // the peer closes after it
        int status;  // 0: broken, -1: more is wanted
        std::string body;
        bool cut, keep;
    };
    const std::string huge =
        "HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + std::string(300'000, 'x');
    const Row rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok", false, 200, "ok", false, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false, 200, "", false,
         false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
         false, 200, "abc", false, true},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 410 Gone\r\nContent-Length: 1\r\n\r\nx", false, 410,
         "x", false, true},
        {"HTTP/1.1 200 OK\r\n\r\nuntil the end", true, 200, "until the end", false, false},
        {"HTTP/1.1 503 Busy\r\nContent-Length: 10\r\n\r\nhal", true, 503, "hal", true, false},
        {"HTTP/1.1 204 None\r\n\r\n", false, 204, "", false, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2", true, 0, "", false, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", false, -1, "", false, false},
        {"nonsense\r\n\r\n", false, 0, "", false, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n", false, 0, "", false, false},
        {"HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'h') + "\r\n\r\n", false, 0, "", false,
         false},
        {huge, false, 200, "", true, false},
        // Lines behind the head that never end take no more memory than a head may.
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;" +
             std::string(100'000, 'e'),
         false, 200, "ab", true, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx: " +
             std::string(100'000, 't'),
         false, 200, "ab", true, false},
        {"", true, 0, "", false, false},
    };
    for (const std::size_t piece : {1U, 7U, 100'000U}) {
        for (const auto& row : rows) {
            if (piece == 1 && row.bytes.size() > 100'000) continue;
            CAPTURE(piece, row.bytes.substr(0, 80));
            pns::H1Parser parser;
            auto step = pns::H1Parser::Step::more;
            for (std::size_t i = 0; i < row.bytes.size() && step == pns::H1Parser::Step::more;
                 i += piece) {
                step = parser.feed(std::string_view(row.bytes).substr(i, piece));
            }
            if (row.end && step == pns::H1Parser::Step::more) step = parser.feed_end();
            if (row.status <= 0) {
                CHECK(step ==
                      (row.status == 0 ? pns::H1Parser::Step::broken : pns::H1Parser::Step::more));
                continue;
            }
            REQUIRE(step == pns::H1Parser::Step::complete);
            CHECK(parser.answer().status == row.status);
            if (row.bytes.size() < 1000) CHECK(parser.answer().body == row.body);
            CHECK(parser.answer().body.size() <= pns::H1Parser::body_bytes_max);
            CHECK(parser.answer().body_cut == row.cut);
            CHECK(parser.keep_alive() == row.keep);
        }
    }
    pns::H1Parser parser;
    parser.feed("HTTP/1.1 200 OK\r\nX-MixedCase: v\r\nContent-Length: 0\r\n\r\n");
    CHECK(parser.answer().header("x-mixedcase") == "v");
}

TEST_CASE("an HTTP/1.1 connection is reused, one request at a time", "[pns]") {
    asio::io_context loop(1);
    H1Server server(loop, {"push.test"});
    server.reply = [](const H1Server::Request& r) {
        CHECK(r.head.starts_with("POST / HTTP/1.1\r\nhost: push.test\r\nx-a: b\r\n"));
        CHECK(r.body == "body");
        return H1Server::answer(200, std::to_string(r.nth));
    };
    Driver driver(loop, false, settings_for(at(server.port()), false));
    REQUIRE(run_until(loop, [&] { return driver.ready(); }));
    for (int i = 1; i <= 20; ++i) {
        Seen seen;
        REQUIRE(driver.submit(seen));
        Seen second;
        CHECK_FALSE(driver.submit(second));
        REQUIRE(run_until(loop, [&] { return seen.answers == 1; }));
        CHECK(seen.body == std::to_string(i));
    }
    CHECK(server.accepted() == 1);
    finish(loop, driver, server);
}

TEST_CASE("the ways an HTTP/1.1 connection ends keep to the rule of lost requests", "[pns]") {
    asio::io_context loop(1);
    H1Server server(loop, {"push.test"});
    auto settings = settings_for(at(server.port()), false);
    SECTION("connection: close after the answer") {
        server.reply = [](const H1Server::Request&) {
            return H1Server::answer(200, "", "connection: close\r\n");
        };
        Driver driver(loop, false, settings);
        REQUIRE(run_until(loop, [&] { return driver.ready(); }));
        Seen seen;
        driver.submit(seen);
        REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
        CHECK(seen.answers == 1);
        finish(loop, driver, server);
    }
    SECTION("closed by the peer while idle: seen before the next request") {
        server.close_after_reply = true;
        Driver driver(loop, false, settings);
        REQUIRE(run_until(loop, [&] { return driver.ready(); }));
        Seen seen;
        driver.submit(seen);
        REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
        CHECK(seen.answers == 1);
        CHECK(seen.losses == 0);
        CHECK_FALSE(driver.ready());
        finish(loop, driver, server);
    }
    SECTION("closed without an answer: unknown") {
        server.reply = [](const H1Server::Request&) { return std::string(); };
        Driver driver(loop, false, settings);
        REQUIRE(run_until(loop, [&] { return driver.ready(); }));
        Seen seen;
        driver.submit(seen);
        REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
        CHECK(seen.losses == 1);
        CHECK(seen.lost.processed_unknown);
        finish(loop, driver, server);
    }
    SECTION("closed before the request was written: not processed") {
        Driver driver(loop, false, settings);
        REQUIRE(run_until(loop, [&] { return driver.ready(); }));
        Seen seen;
        driver.submit(seen);
        driver.connection->close(errc::stopped);
        REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
        CHECK(seen.losses == 1);
        CHECK_FALSE(seen.lost.processed_unknown);
        finish(loop, driver, server);
    }
    SECTION("an answer cut after its head counts") {
        server.reply = [](const H1Server::Request&) {
            return std::string("HTTP/1.1 410 Gone\r\ncontent-length: 50\r\n\r\nhalf");
        };
        server.close_after_reply = true;
        Driver driver(loop, false, settings);
        REQUIRE(run_until(loop, [&] { return driver.ready(); }));
        Seen seen;
        driver.submit(seen);
        REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
        CHECK(seen.answers == 1);
        CHECK(seen.status == 410);
        CHECK(seen.cut);
        finish(loop, driver, server);
    }
    SECTION("no answer in time") {
        server.hold = true;
        settings.times.request_timeout_ms = 30;
        Driver driver(loop, false, settings);
        REQUIRE(run_until(loop, [&] { return driver.ready(); }));
        Seen seen;
        driver.submit(seen);
        REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
        CHECK(seen.losses == 1);
        CHECK(seen.lost.timed_out);
        CHECK(seen.lost.processed_unknown);
        finish(loop, driver, server);
    }
    SECTION("unasked bytes") {
        server.reply = [](const H1Server::Request&) {
            return H1Server::answer(200, "") + H1Server::answer(200, "");
        };
        Driver driver(loop, false, settings);
        REQUIRE(run_until(loop, [&] { return driver.ready(); }));
        Seen seen;
        driver.submit(seen);
        REQUIRE(run_until(loop, [&] { return driver.ended.has_value(); }));
        CHECK(seen.answers + seen.losses == 1);
        finish(loop, driver, server);
    }
}
