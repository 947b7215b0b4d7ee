#include "pns/name_lookup.hpp"

#include <poll.h>

#include <catch2/catch.hpp>
#include <memory>
#include <optional>

#include "pns/clock.hpp"
#include "pns/errc.hpp"
#include "pns/nursery.hpp"
#include "pns/tls_link.hpp"
#include "tests/support/dns_server.hpp"
#include "tests/support/run_until.hpp"

namespace {

namespace asio = boost::asio;
using pns::errc;
using support::DnsServer;
using support::run_until;

/// A link that is being opened, and how that ended.
struct Opening {
    Opening(asio::io_context& loop, const std::string& host, const std::string& servers,
            std::int64_t timeout_ms = 10'000, bool public_only = false)
        : alarm(
              loop.get_executor(), [this](std::int64_t now_ms) { return tick(now_ms); },
              pns::system_clock()),
          link(loop.get_executor(), options(host, servers, timeout_ms, public_only), alarm),
          nursery(loop.get_executor()) {
        nursery.start(alarm.run());
        nursery.start(run());
    }
    static pns::TlsLink::Options options(const std::string& host, const std::string& servers,
                                         std::int64_t timeout_ms, bool public_only) {
        pns::TrustStore trust;
        pns::TlsClientOptions tls;
        tls.alpn = "h2";
        pns::TlsLink::Options out;
        out.host = out.target.host = host;
        out.target.port = 1;  // nobody listens
        out.target.public_only = public_only;
        out.tls = *pns::make_client_context(trust, tls);
        out.alpn = tls.alpn;
        out.connect_timeout_ms = timeout_ms;
        out.name_servers = servers;
        return out;
    }
    std::int64_t tick(std::int64_t now_ms) {
        if (link.deadline_ms() <= now_ms) link.expire();
        return link.deadline_ms();
    }
    pns::Task<void> run() {
        ended = co_await link.open();
        alarm.stop();
    }
    bool is_over() const { return nursery.size() == 0; }
    pns::RunningAlarm alarm;
    pns::TlsLink link;
    pns::Nursery nursery;
    std::optional<pns::error_code> ended;
};

std::vector<asio::ip::address> looked_up(const std::string& host) {
    pns::NameLookup lookup(host);
    while (!lookup.step()) {
        pollfd watched{lookup.descriptor(), POLLIN, 0};
        REQUIRE(::poll(&watched, 1, 20'000) == 1);
    }
    return lookup.addresses();
}

}  // namespace

TEST_CASE("literals, localhost and /etc/hosts need no name server", "[pns]") {
    using asio::ip::make_address;
    CHECK(looked_up("192.0.2.7") == std::vector{make_address("192.0.2.7")});
    CHECK(looked_up("2001:db8::1") == std::vector{make_address("2001:db8::1")});
    CHECK(looked_up("").empty());
    for (const char* name : {"localhost", "LocalHost"}) {
        const auto found = looked_up(name);
        CHECK_FALSE(found.empty());
        for (const auto& address : found) CHECK(address.is_loopback());
    }
}

TEST_CASE("a silent name server holds one name until its deadline, no other, and no stop",
          "[pns]") {
    asio::io_context loop(1);
    DnsServer dns(loop);
    dns.silent = true;
    std::vector<std::unique_ptr<Opening>> pending;
    for (int i = 0; i < 40; ++i) {
        pending.push_back(std::make_unique<Opening>(loop, "name" + std::to_string(i) + ".push.test",
                                                    dns.address(), 600'000));
    }
    REQUIRE(run_until(loop, [&] { return dns.queries >= 40; }));

    Opening other(loop, "localhost", dns.address());
    REQUIRE(run_until(loop, [&] { return other.is_over(); }));
    CHECK(other.ended == errc::connect_failed);
    Opening bounded(loop, "bounded.push.test", dns.address(), 30);
    REQUIRE(run_until(loop, [&] { return bounded.is_over(); }));
    CHECK(bounded.ended == errc::connect_timeout);

    for (const auto& one : pending) {
        CHECK_FALSE(one->ended);
        one->link.close();
    }
    loop.poll();  // no waiting
    for (const auto& one : pending) {
        CHECK(one->is_over());
        CHECK(one->ended == errc::stopped);
    }
    dns.stop();
    REQUIRE(run_until(loop, [&] { return dns.ended(); }));
}

TEST_CASE("the addresses of a name server are used and checked", "[pns]") {
    asio::io_context loop(1);
    DnsServer dns(loop);
    const auto end_of = [&](bool public_only) {
        Opening one(loop, "a.push.test", dns.address(), 10'000, public_only);
        REQUIRE(run_until(loop, [&] { return one.is_over(); }));
        return one.ended;
    };
    CHECK(end_of(false) == errc::resolve_failed);
    dns.addresses = {asio::ip::make_address_v4("127.0.0.1")};
    CHECK(end_of(false) == errc::connect_failed);
    CHECK(end_of(true) == errc::address_not_public);
    dns.addresses.insert(dns.addresses.begin(), asio::ip::make_address_v4("8.8.8.8"));
    CHECK(end_of(true) == errc::address_not_public);
    dns.stop();
    REQUIRE(run_until(loop, [&] { return dns.ended(); }));
}
