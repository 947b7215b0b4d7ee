// One request of a credential, with a token that has to be fetched first.

#include "pns/exchange.hpp"

#include <catch2/catch.hpp>

#include "pns/clock.hpp"
#include "pns/errc.hpp"
#include "pns/nursery.hpp"
#include "tests/support/fake_account.hpp"
#include "tests/support/run_until.hpp"
#include "tests/support/tls_server.hpp"

namespace {

namespace asio = boost::asio;
using support::H1Server;
using support::H2Server;

/// A token endpoint, a provider, and one exchange between them.
struct Bench {
    Bench() : account(provider_with_tokens()) {
        endpoint.reply = [this](const H1Server::Request&) {
            const std::string token = "t" + std::to_string(++fetches);
            return H1Server::answer(200, R"({"access_token":")" + token + R"(","expires_in":60})");
        };
        provider.on_request = [this](H2Server::Peer& peer, const H2Server::Request& r) {
            authorizations.push_back(r.authorization);
            const bool refused = r.authorization == "bearer " + refused_token;
            peer.answer(r.stream, refused ? 401 : 200, "said");
        };
        network.ca_file = support::Authority::get().file();
        network.connect_to = {endpoint.rule("token.test"), provider.rule("push.test")};
    }
    static support::FakeProvider provider_with_tokens() {
        pns::Fetched source;
        source.origin.host = "token.test";
        source.path = "/token";
        source.form = [](std::int64_t) -> pns::Result<std::string> { return std::string("a=b"); };
        support::FakeProvider provider;
        provider.tokens = source;
        return provider;
    }
    pns::Task<void> call() {
        pns::ExchangeRequest request;
        request.origin.host = "push.test";
        request.method = "GET";
        request.path = "/";
        std::function<bool(const pns::ExchangeAnswer&)> token_refused =
            [](const pns::ExchangeAnswer& answer) { return answer.status == 401; };
        const auto settings = pns::default_settings("apns");
        got = co_await pns::exchange(loop.get_executor(), account, std::move(request), settings,
                                     network, bearers, std::move(token_refused));
    }
    pns::Result<pns::ExchangeAnswer> answer() {
        got.reset();
        calls.start(call());
        REQUIRE(support::run_until(loop, [&] { return calls.size() == 0; }));
        REQUIRE(got.has_value());
        return *got;
    }
    ~Bench() {
        endpoint.stop();
        provider.stop();
        support::run_until(loop, [&] { return endpoint.ended() && provider.ended(); });
    }

    asio::io_context loop{1};
    support::FakeAccount account;
    H1Server endpoint{loop, {"token.test"}};
    H2Server provider{loop, {"push.test"}};
    pns::Network network;
    pns::BearerCache bearers{pns::system_clock()};
    pns::Nursery calls{loop.get_executor()};
    std::optional<pns::Result<pns::ExchangeAnswer>> got;
    int fetches = 0;
    std::string refused_token = "none";
    std::vector<std::string> authorizations;
};

}  // namespace

TEST_CASE("an exchange waits for a token that has to be fetched", "[pns]") {
    Bench bench;
    const auto answer = bench.answer();
    REQUIRE(answer.has_value());
    CHECK(answer->status == 200);
    CHECK(answer->body == "said");
    REQUIRE(bench.answer().has_value());  // with the token that is there
    CHECK(bench.authorizations == std::vector<std::string>{"bearer t1", "bearer t1"});
}

TEST_CASE("an exchange whose token is refused fetches another, once", "[pns]") {
    Bench bench;
    bench.refused_token = "t1";
    const auto answer = bench.answer();
    REQUIRE(answer.has_value());
    CHECK(answer->status == 200);
    CHECK(bench.authorizations == std::vector<std::string>{"bearer t1", "bearer t2"});
}

TEST_CASE("an exchange without a token says why", "[pns]") {
    Bench bench;
    bench.endpoint.reply = [](const H1Server::Request&) {
        return H1Server::answer(401, R"({"error":"invalid_client"})");
    };
    CHECK(bench.answer().error() == pns::errc::token_refused);
    CHECK(bench.authorizations.empty());
}

TEST_CASE("an exchange that is cancelled takes its fetch with it", "[pns]") {
    Bench bench;
    bench.endpoint.hold = true;
    bench.calls.start(bench.call());
    REQUIRE(support::run_until(bench.loop, [&] { return bench.endpoint.requests == 1; }));
    bench.calls.cancel();
    REQUIRE(support::run_until(bench.loop, [&] { return bench.calls.size() == 0; }));
    CHECK_FALSE(bench.got.has_value());
    bench.endpoint.release();
}
