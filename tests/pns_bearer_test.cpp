#include "pns/bearer.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <optional>
#include <thread>

#include "pns/alarm.hpp"
#include "pns/oauth_answer.hpp"
#include "tests/support/fake_account.hpp"
#include "tests/support/run_until.hpp"
#include "tests/support/tls_server.hpp"

namespace {

namespace asio = boost::asio;
using support::H1Server;
using support::run_until;

std::string token_json(const std::string& token, const std::string& expires = "3600") {
    return R"({"access_token":")" + token + R"(","token_type":"Bearer","expires_in":)" + expires +
           "}";
}

support::FakeProvider fetching() {
    pns::Fetched source;
    source.origin.host = "token.test";
    source.path = "/token";
    source.form = [](std::int64_t) -> pns::Result<std::string> { return std::string("a=b"); };
    support::FakeProvider provider;
    provider.tokens = source;
    return provider;
}

// One loop with its users of one account.
struct Lane {
    Lane(pns::BearerCache& cache, const support::FakeProvider& provider, const std::string& rule)
        : account(provider), nursery(loop.get_executor()) {
        pns::BearerUser::Settings settings;
        settings.account = &account;
        settings.ca_file = support::Authority::get().file();
        if (!rule.empty()) settings.connect_to = pns::ConnectTo::parse({rule}).value();
        settings.on_news = [this] { ++news; };
        user.emplace(cache, nursery, std::move(settings));
    }
    void end() {
        user->stop();
        REQUIRE(run_until(loop, [&] { return nursery.size() == 0; }));
        user.reset();
    }
    asio::io_context loop{1};
    support::FakeAccount account;
    pns::Nursery nursery;
    std::optional<pns::BearerUser> user;
    int news = 0;
};

}  // namespace

TEST_CASE("the answers of token endpoints are read strictly, expires_in leniently", "[pns]") {
    struct Row {
        int status;
        std::string body;
        std::string token;  // empty: refused
        std::int64_t life_s;
        bool configuration;
    };
    const Row rows[] = {
        {200, token_json("t"), "t", 3600, false},
        {200, token_json("t", "\"86400\""), "t", 86400, false},
        {200, token_json("t", "3599.5"), "t", 3599, false},
        {200, token_json("t", "2"), "t", 2, false},
        {200, token_json("t", "null"), "t", 300, false},
        {200, token_json("t", "-5"), "t", 300, false},
        {200, token_json("t", "1e300"), "t", 300, false},
        {200, token_json("t", "\"soon\""), "t", 300, false},
        {200, token_json("t", "99999999999"), "t", 30 * 86'400, false},
        {200, R"({"access_token":"t"})", "t", 300, false},
        {200, token_json(""), "", 0, false},
        {200, token_json("a b"), "", 0, false},
        {200, token_json("a\\r\\nx: y"), "", 0, false},
        {200, R"({"access_token":5})", "", 0, false},
        {200, "<html>", "", 0, false},
        {200, "", "", 0, false},
        {200, std::string(100'000, '['), "", 0, false},
        {400, R"({"error":"invalid_grant","error_description":"x"})", "", 0, true},
        {400, R"({"error":"temporarily_unavailable"})", "", 0, false},
        {401, R"({"error":"invalid_client"})", "", 0, true},
        {403, "", "", 0, true},
        {408, "", "", 0, false},
        {429, R"({"error":"slow_down"})", "", 0, false},
        {500, R"({"error":"invalid_grant"})", "", 0, false},
        {503, "", "", 0, false},
    };
    for (const auto& row : rows) {
        CAPTURE(row.status, row.body.substr(0, 80));
        pns::Answer answer;
        answer.status = row.status;
        answer.body = row.body;
        const auto read = pns::read_oauth_answer(answer);
        if (row.token.empty()) {
            REQUIRE(std::holds_alternative<pns::OauthRefusal>(read));
            CHECK(std::get<pns::OauthRefusal>(read).configuration == row.configuration);
            CHECK(std::get<pns::OauthRefusal>(read).reason.size() < 200);
        } else {
            REQUIRE(std::holds_alternative<pns::OauthToken>(read));
            CHECK(std::get<pns::OauthToken>(read).access_token == row.token);
            CHECK(std::get<pns::OauthToken>(read).life_s == row.life_s);
        }
    }
}

TEST_CASE("a token is fetched once for two loops and shared", "[pns]") {
    pns::BearerCache cache;
    asio::io_context server_loop(1);
    H1Server server(server_loop, {"token.test"});
    server.reply = [&](const H1Server::Request& r) {
        CHECK(r.body == "a=b");
        CHECK(r.head.starts_with("POST /token HTTP/1.1\r\nhost: token.test\r\n"));
        return H1Server::answer(200, token_json("shared"));
    };
    const auto rule = server.rule("token.test");
    std::atomic<int> done{0};
    std::string got[2];
    auto lane_thread = [&](int i) {
        Lane lane(cache, fetching(), rule);
        std::shared_ptr<const pns::Bearer> bearer;
        run_until(lane.loop, [&] {
            if (!bearer) bearer = lane.user->current(pns::wall_now_ms());
            return bearer != nullptr;
        });
        if (bearer) got[i] = bearer->authorization;
        ++done;
        run_until(lane.loop, [&] { return done == 2; });
        lane.user->stop();
        run_until(lane.loop, [&] { return lane.nursery.size() == 0; });
        lane.user.reset();
    };
    std::thread a(lane_thread, 0), b(lane_thread, 1);
    const bool both = run_until(server_loop, [&] { return done == 2; });
    a.join();
    b.join();
    CHECK(both);
    CHECK(got[0] == "bearer shared");
    CHECK(got[1] == "bearer shared");
    CHECK(server.requests == 1);
    server.stop();
    REQUIRE(run_until(server_loop, [&] { return server.ended(); }));
}

TEST_CASE("the old token is served during renewal and after a failed one, until it expires",
          "[pns]") {
    pns::BearerCache cache;
    Lane lane(cache, fetching(), "token.test:443=127.0.0.1:1");
    lane.end();

    asio::io_context& loop = lane.loop;
    H1Server server(loop, {"token.test"});
    int status = 200;
    server.reply = [&](const H1Server::Request&) {
        return H1Server::answer(status, token_json("t" + std::to_string(server.requests), "100"));
    };
    pns::Nursery nursery(loop.get_executor());
    pns::BearerUser::Settings settings;
    support::FakeAccount account(fetching());
    settings.account = &account;
    settings.ca_file = support::Authority::get().file();
    settings.connect_to = pns::ConnectTo::parse({server.rule("token.test")}).value();
    int news = 0;
    settings.on_news = [&] { ++news; };
    pns::BearerCache fresh;
    std::optional<pns::BearerUser> user;
    user.emplace(fresh, nursery, settings);

    const auto start_ms = pns::wall_now_ms();
    CHECK(user->current(start_ms) == nullptr);
    CHECK_FALSE(user->trouble());
    REQUIRE(run_until(loop, [&] { return news == 1; }));
    const auto first = user->current(start_ms);
    REQUIRE(first);
    CHECK(first->renew_at_ms - start_ms >= 80'000);
    CHECK(first->renew_at_ms - start_ms <= 92'000);
    CHECK(server.requests == 1);

    status = 500;
    CHECK(user->current(first->renew_at_ms) == first);
    CHECK(user->current(first->renew_at_ms) == first);
    REQUIRE(run_until(loop, [&] { return news == 2; }));
    CHECK(server.requests == 2);
    REQUIRE(user->trouble());
    CHECK_FALSE(user->trouble()->configuration);
    CHECK(user->trouble()->outcome == pns::Outcome::token_provider_unreachable);
    CHECK(user->current(first->expires_at_ms - 1) == first);
    REQUIRE(run_until(loop, [&] { return news == 3; }));
    status = 200;
    CHECK(user->current(first->expires_at_ms) == nullptr);
    REQUIRE(run_until(loop, [&] { return news == 4; }));
    const auto second = user->current(pns::wall_now_ms());
    REQUIRE(second);
    CHECK(second->serial > first->serial);
    user->stop();
    REQUIRE(run_until(loop, [&] { return nursery.size() == 0; }));
    user.reset();
    server.stop();
    REQUIRE(run_until(loop, [&] { return server.ended(); }));
}

TEST_CASE("a refusal of the current token renews it, one of an older token does not", "[pns]") {
    pns::BearerCache cache;
    int minted = 0;
    pns::SelfSigned source;
    source.renew_s_min = 1'200;
    source.mint = [&](std::int64_t) -> pns::Result<std::string> {
        return std::to_string(++minted);
    };
    support::FakeProvider provider;
    provider.tokens = source;
    Lane lane(cache, provider, "");
    const std::int64_t start_ms = pns::wall_now_ms();
    const auto first = lane.user->current(start_ms);
    REQUIRE(first);
    CHECK(first->authorization == "bearer 1");
    CHECK(first->renew_at_ms <= start_ms + 3'000'000);
    CHECK(first->renew_at_ms >= start_ms + 2'840'000);
    CHECK_FALSE(lane.user->refused(first->serial, start_ms + 1'199'000));
    CHECK(lane.user->current(start_ms + 1'199'000) == first);
    CHECK(lane.user->refused(first->serial, start_ms + 1'200'000));
    const auto second = lane.user->current(start_ms + 1'200'000);
    REQUIRE(second);
    CHECK(second->serial > first->serial);
    CHECK(lane.user->refused(first->serial, start_ms + 1'201'000));
    CHECK(lane.user->current(start_ms + 1'201'000) == second);
    CHECK(minted == 2);
    // An hour later, without traffic in between.
    const auto third = lane.user->current(second->expires_at_ms + 1);
    REQUIRE(third);
    CHECK(minted == 3);
    lane.end();
}

TEST_CASE("a credential that cannot sign, or that the endpoint refuses, is configuration",
          "[pns]") {
    pns::BearerCache cache;
    SECTION("signing fails") {
        pns::SelfSigned source;
        source.mint = [](std::int64_t) -> pns::Result<std::string> {
            return pns::error_code(pns::errc::signing_failed);
        };
        support::FakeProvider provider;
        provider.tokens = source;
        Lane lane(cache, provider, "");
        CHECK(lane.user->current(1'000) == nullptr);
        REQUIRE(lane.user->trouble());
        CHECK(lane.user->trouble()->configuration);
        for (int i = 0; i < 100; ++i) lane.user->current(1'000 + i * 500);
        CHECK(lane.user->fetches() == 1);
        lane.end();
    }
    SECTION("the endpoint refuses") {
        Lane lane(cache, fetching(), "");
        lane.end();
        asio::io_context server_loop(1);
        H1Server server(server_loop, {"token.test"});
        server.reply = [](const H1Server::Request&) {
            return H1Server::answer(400, R"({"error":"invalid_grant"})");
        };
        Lane user(cache, fetching(), server.rule("token.test"));
        user.user->current(pns::wall_now_ms());
        REQUIRE(run_until(user.loop, [&] {
            server_loop.poll();
            return user.news == 1;
        }));
        REQUIRE(user.user->trouble());
        CHECK(user.user->trouble()->configuration);
        CHECK(user.user->trouble()->outcome == pns::Outcome::token_provider_interface_error);
        CHECK(user.user->trouble()->reason == "token endpoint answered 400 invalid_grant");
        user.end();
        server.stop();
        REQUIRE(run_until(server_loop, [&] { return server.ended(); }));
    }
}

TEST_CASE("a user that stops in mid-fetch leaves the fetch to another", "[pns]") {
    pns::BearerCache cache;
    asio::io_context server_loop(1);
    H1Server server(server_loop, {"token.test"});
    server.hold = true;
    server.reply = [](const H1Server::Request&) { return H1Server::answer(200, token_json("t")); };
    Lane quitter(cache, fetching(), server.rule("token.test"));
    Lane heir(cache, fetching(), server.rule("token.test"));
    quitter.user->current(pns::wall_now_ms());
    REQUIRE(run_until(quitter.loop, [&] {
        server_loop.poll();
        return server.requests == 1;
    }));
    CHECK(heir.user->current(pns::wall_now_ms()) == nullptr);
    CHECK(heir.user->fetches() == 0);
    quitter.end();
    server.release();
    REQUIRE(run_until(heir.loop, [&] {
        server_loop.poll();
        return heir.user->current(pns::wall_now_ms()) != nullptr;
    }));
    CHECK(heir.user->fetches() == 1);
    heir.end();
    server.stop();
    REQUIRE(run_until(server_loop, [&] { return server.ended(); }));
}
