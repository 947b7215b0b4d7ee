#include "pns/bearer.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <thread>

#include "pns/oauth_answer.hpp"
#include "tests/support/fake_account.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/run_until.hpp"
#include "tests/support/tls_server.hpp"

namespace {

namespace asio = boost::asio;
using support::H1Server;
using support::ManualClock;
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

/// Signs "<prefix><number> at <second>", the number counting up.
support::FakeProvider signing(int& minted, std::int64_t renew_s_min = 1'200) {
    pns::SelfSigned source;
    source.renew_s_min = renew_s_min;
    source.mint = [&minted](std::int64_t now_s) -> pns::Result<std::string> {
        return std::to_string(++minted) + "-at-" + std::to_string(now_s);
    };
    support::FakeProvider provider;
    provider.tokens = source;
    return provider;
}

struct KeptTokens final : pns::TokenStore {
    std::optional<std::string> load(const std::string& key) override {
        ++loads;
        const auto found = texts.find(key);
        return found == texts.end() ? std::nullopt : std::optional(found->second);
    }
    void save(const std::string& key, std::string text) override { texts[key] = std::move(text); }
    std::map<std::string, std::string> texts;
    int loads = 0;
};

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
        {400,
         R"({"error":")" + std::string(500, 'e') + R"(","error_description":")" +
             std::string(500, 'd') + "\"}",
         "", 0, false},
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
    pns::BearerCache cache{pns::system_clock()};
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
            if (!bearer) bearer = lane.user->current();
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
    pns::BearerCache cache{pns::system_clock()};
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
    ManualClock clock;
    pns::BearerCache fresh(clock);
    std::optional<pns::BearerUser> user;
    user.emplace(fresh, nursery, settings);

    const auto start_ms = clock.steady_ms();
    CHECK(user->current() == nullptr);
    CHECK_FALSE(user->trouble());
    REQUIRE(run_until(loop, [&] { return news == 1; }));
    const auto first = user->current();
    REQUIRE(first);
    CHECK(first->renew_at_ms - start_ms >= 80'000);
    CHECK(first->renew_at_ms - start_ms <= 92'000);
    CHECK(server.requests == 1);

    status = 500;
    // Its life is no matter of the wall clock.
    clock.step_ms(-7'200'000);
    clock.pass_ms(first->renew_at_ms - start_ms - 1);
    CHECK(user->current() == first);
    CHECK(user->fetches() == 1);
    clock.step_ms(14'400'000);
    clock.pass_ms(1);
    CHECK(user->current() == first);
    CHECK(user->current() == first);
    REQUIRE(run_until(loop, [&] { return news == 2; }));
    CHECK(server.requests == 2);
    REQUIRE(user->trouble());
    CHECK_FALSE(user->trouble()->configuration);
    CHECK(user->trouble()->outcome == pns::Outcome::token_provider_unreachable);
    CHECK(user->trouble()->retry_at_ms > clock.wall_ms());
    CHECK(user->trouble()->retry_at_ms <= clock.wall_ms() + 1'000);
    clock.pass_ms(first->expires_at_ms - clock.steady_ms() - 1);
    CHECK(user->current() == first);
    REQUIRE(run_until(loop, [&] { return news == 3; }));
    status = 200;
    clock.pass_ms(1);
    CHECK(user->current() == nullptr);
    clock.pass_ms(5'000);
    CHECK(user->current() == nullptr);
    REQUIRE(run_until(loop, [&] { return news == 4; }));
    const auto second = user->current();
    REQUIRE(second);
    CHECK(second->serial > first->serial);
    user->stop();
    REQUIRE(run_until(loop, [&] { return nursery.size() == 0; }));
    user.reset();
    server.stop();
    REQUIRE(run_until(loop, [&] { return server.ended(); }));
}

TEST_CASE("a refusal of the current token renews it, one of an older token does not", "[pns]") {
    ManualClock clock;
    pns::BearerCache cache(clock);
    int minted = 0;
    Lane lane(cache, signing(minted), "");
    const std::int64_t start_ms = clock.steady_ms();
    const auto first = lane.user->current();
    REQUIRE(first);
    CHECK(first->authorization == "bearer 1-at-1800000000");
    CHECK(first->renew_at_ms <= start_ms + 3'000'000);
    CHECK(first->renew_at_ms >= start_ms + 2'840'000);
    clock.pass_ms(1'199'000);
    CHECK_FALSE(lane.user->refused(first->serial));
    CHECK(lane.user->current() == first);
    clock.pass_ms(1'000);
    CHECK(lane.user->refused(first->serial));
    const auto second = lane.user->current();
    REQUIRE(second);
    CHECK(second->serial > first->serial);
    clock.pass_ms(1'000);
    CHECK(lane.user->refused(first->serial));
    CHECK(lane.user->current() == second);
    CHECK(minted == 2);
    // An hour later, without traffic in between.
    clock.pass_ms(3'600'000);
    const auto third = lane.user->current();
    REQUIRE(third);
    CHECK(minted == 3);
    lane.end();
}

TEST_CASE("a token is signed anew when the wall clock steps, and the step is told once", "[pns]") {
    ManualClock clock;
    pns::BearerCache::Settings settings;
    std::vector<std::int64_t> steps_ms;
    settings.on_clock_step = [&](std::int64_t step_ms) { steps_ms.push_back(step_ms); };
    pns::BearerCache cache(clock, settings);
    int minted = 0;
    Lane lane(cache, signing(minted), ""), other(cache, signing(minted), "");
    clock.step_ms(10'800'000);  // three hours fast when the process starts
    const auto fast = lane.user->current();
    REQUIRE(fast);
    CHECK(other.user->current() == fast);
    const auto fast_steps = steps_ms;
    clock.pass_ms(5'000);
    clock.step_ms(-10'800'000);
    const auto right = lane.user->current();
    REQUIRE(right);
    CHECK(right->authorization == "bearer 2-at-1800000005");
    CHECK(other.user->current() == right);
    CHECK(minted == 2);
    CHECK(fast_steps == std::vector<std::int64_t>{10'800'000});
    CHECK(steps_ms == std::vector<std::int64_t>{10'800'000, -10'800'000});
    // What no provider minds is no step, and a refusal is bounded as ever.
    clock.pass_ms(5'000);
    clock.step_ms(-60'000);
    CHECK(lane.user->current() == right);
    CHECK_FALSE(lane.user->refused(right->serial));
    // Refused by a provider before anybody looked at the clock.
    clock.step_ms(-3'600'000);
    CHECK(lane.user->refused(right->serial));
    const auto back = lane.user->current();
    REQUIRE(back);
    CHECK(back->authorization == "bearer 3-at-1799996350");
    CHECK(steps_ms.size() == 3);
    lane.end();
    other.end();
}

TEST_CASE("a step of the wall clock that leaves a token good signs no other", "[pns]") {
    ManualClock clock;
    pns::BearerCache cache(clock);
    int minted = 0;
    Lane lane(cache, signing(minted), "");
    const auto first = lane.user->current();
    REQUIRE(first);
    const auto forward_ms = GENERATE(90'000, 20 * 60'000);
    CAPTURE(forward_ms);
    clock.pass_ms(60'000);
    clock.step_ms(forward_ms);
    CHECK(lane.user->current() == first);
    clock.step_ms(-forward_ms);
    CHECK(lane.user->current() == first);
    clock.step_ms(forward_ms);
    // Its age by the new time counts: 50 minutes are reached sooner.
    for (int i = 0; i < 50 && lane.user->current() == first; ++i) clock.pass_ms(60'000);
    CHECK(minted == 2);
    CHECK(clock.wall_ms() - first->made_wall_ms <= 51 * 60'000);
    CHECK(clock.wall_ms() - first->made_wall_ms >= 47 * 60'000);
    lane.end();
}

TEST_CASE("a token that changed too soon gives way to the one before it", "[pns]") {
    ManualClock clock;
    pns::BearerCache cache(clock);
    int minted = 0;
    Lane lane(cache, signing(minted), ""), other(cache, signing(minted), "");
    const auto first = lane.user->current();
    REQUIRE(first);
    CHECK_FALSE(lane.user->changed_too_soon(first->serial));  // there was none before
    CHECK(other.user->current() == first);
    clock.pass_ms(1'000);
    clock.step_ms(-90'000);
    const auto second = lane.user->current();
    REQUIRE(second != first);
    CHECK(other.user->current() == second);
    REQUIRE(lane.user->changed_too_soon(second->serial));
    const auto again = lane.user->current();
    REQUIRE(again);
    CHECK(again->authorization == first->authorization);
    CHECK(again->serial > second->serial);
    // Another loop that meets the same learns of it.
    REQUIRE(other.user->changed_too_soon(second->serial));
    CHECK(other.user->current() == again);
    for (int i = 0; i < 4; ++i) {
        clock.step_ms(i % 2 == 0 ? 90'000 : -90'000);
        CHECK(lane.user->current() == again);
    }
    CHECK(minted == 2);
    SECTION("until it is due") {
        clock.pass_ms(50 * 60'000);
        const auto third = lane.user->current();
        REQUIRE(third);
        CHECK(third->authorization.starts_with("bearer 3-"));
    }
    SECTION("until it is refused as well: then there is none to go back to") {
        clock.step_ms(-90'000);
        REQUIRE(lane.user->refused(again->serial));
        const auto third = lane.user->current();
        REQUIRE(third);
        CHECK(minted == 3);
        CHECK_FALSE(lane.user->changed_too_soon(third->serial));
    }
    lane.end();
    other.end();
}

TEST_CASE("a process that stands still between two looks at the clocks sees no step", "[pns]") {
    struct Stopping final : pns::Clock {
        std::int64_t wall_us() const override {
            if (stops) inner.pass_ms(600'000);
            stops = false;
            return inner.wall_us();
        }
        std::int64_t steady_us() const override { return inner.steady_us(); }
        mutable ManualClock inner;
        mutable bool stops = false;
    } clock;
    pns::BearerCache::Settings settings;
    int steps = 0;
    settings.on_clock_step = [&](std::int64_t) { ++steps; };
    pns::BearerCache cache(clock, settings);
    int minted = 0;
    Lane lane(cache, signing(minted), "");
    const auto first = lane.user->current();
    REQUIRE(first);
    clock.stops = true;
    CHECK(lane.user->current() == first);
    CHECK(steps == 0);
    lane.end();
}

TEST_CASE("a self-signed token outlives the process, as long as it would have been used", "[pns]") {
    ManualClock clock;
    KeptTokens kept;
    pns::BearerCache::Settings settings;
    settings.store = &kept;
    int minted = 0;
    const auto token_after_restart = [&] {
        pns::BearerCache cache(clock, settings);
        Lane lane(cache, signing(minted), "");
        const auto bearer = lane.user->current();
        REQUIRE(bearer);
        CHECK(lane.user->fetches() <= 1);
        // For its second token the process asks nobody.
        const auto loads = kept.loads;
        clock.pass_ms(3'600'000);
        REQUIRE(lane.user->current());
        CHECK(kept.loads == loads);
        clock.pass_ms(-3'600'000);
        lane.end();
        return bearer->authorization;
    };
    {
        pns::BearerCache cache(clock, settings);
        Lane lane(cache, signing(minted), "");
        REQUIRE(lane.user->current());
        lane.end();
    }
    const auto text = kept.texts.at("fake");
    CHECK(text == "1800000000 1-at-1800000000");
    const auto again = [&] {
        kept.texts["fake"] = text;
        return token_after_restart();
    };
    CHECK(again() == "bearer 1-at-1800000000");
    clock.pass_ms(2'000'000);
    CHECK(again() == "bearer 1-at-1800000000");
    SECTION("a refusal before the provider's interval is over signs no other") {
        kept.texts["fake"] = "1800001900 x";
        pns::BearerCache cache(clock, settings);
        Lane lane(cache, signing(minted), "");
        const auto bearer = lane.user->current();
        REQUIRE(bearer);
        CHECK(bearer->authorization == "bearer x");
        CHECK_FALSE(lane.user->refused(bearer->serial));
        clock.pass_ms(1'100'000);
        CHECK(lane.user->refused(bearer->serial));
        lane.end();
    }
    SECTION("not when it is due for renewal") {
        clock.pass_ms(1'000'000);
        CHECK(again() != "bearer 1-at-1800000000");
    }
    SECTION("not when it comes from the future") {
        clock.step_ms(-2'000'001);
        CHECK(again() != "bearer 1-at-1800000000");
    }
    SECTION("not when the file is damaged") {
        for (const char* bad : {"", "x", "1800000000", "1800000000 ", "1800000000 a b",
                                "1800000000 a\nb", "99999999999999999999 a", " 1800000000 a"}) {
            CAPTURE(bad);
            kept.texts["fake"] = bad;
            CHECK(token_after_restart().find("-at-1800002000") != std::string::npos);
        }
    }
    SECTION("not under another key") {
        pns::BearerCache cache(clock, settings);
        auto provider = signing(minted);
        provider.key = "other";
        Lane lane(cache, provider, "");
        REQUIRE(lane.user->current());
        CHECK(lane.user->fetches() == 1);
        CHECK(kept.texts.count("other") == 1);
        lane.end();
    }
    SECTION("no token of a single origin") {
        auto provider = signing(minted);
        provider.tokens_per_origin = true;
        provider.key = "origin";
        pns::BearerCache cache(clock, settings);
        Lane lane(cache, provider, "");
        REQUIRE(lane.user->current());
        CHECK(kept.texts.count("origin") == 0);
        lane.end();
    }
}

TEST_CASE("a credential that cannot sign, or that the endpoint refuses, is configuration",
          "[pns]") {
    ManualClock clock;
    pns::BearerCache cache(clock);
    SECTION("signing fails") {
        pns::SelfSigned source;
        source.mint = [](std::int64_t) -> pns::Result<std::string> {
            return pns::error_code(pns::errc::signing_failed);
        };
        support::FakeProvider provider;
        provider.tokens = source;
        Lane lane(cache, provider, "");
        CHECK(lane.user->current() == nullptr);
        REQUIRE(lane.user->trouble());
        CHECK(lane.user->trouble()->configuration);
        // Soon at first, and then after a hundredth of the time that it has failed.
        for (int i = 0; i < 240; ++i) {
            clock.pass_ms(500);
            lane.user->current();
        }
        CHECK(lane.user->fetches() >= 60);
        CHECK(lane.user->fetches() <= 121);
        const auto in_two_minutes = lane.user->fetches();
        for (int i = 0; i < 28 * 60; ++i) {
            clock.pass_ms(1'000);
            lane.user->current();
        }
        CHECK(lane.user->fetches() - in_two_minutes <= 300);
        CHECK(lane.user->trouble()->retry_at_ms <= clock.wall_ms() + 20'000);
        lane.end();
    }
    SECTION("the endpoint refuses") {
        Lane lane(cache, fetching(), "");
        lane.end();
        asio::io_context server_loop(1);
        H1Server server(server_loop, {"token.test"});
        server.reply = [](const H1Server::Request&) {
            return H1Server::answer(
                400, R"({"error":"invalid_grant","error_description":"Invalid JWT\tSignature."})");
        };
        Lane user(cache, fetching(), server.rule("token.test"));
        user.user->current();
        REQUIRE(run_until(user.loop, [&] {
            server_loop.poll();
            return user.news == 1;
        }));
        REQUIRE(user.user->trouble());
        CHECK(user.user->trouble()->configuration);
        CHECK(user.user->trouble()->outcome == pns::Outcome::token_provider_interface_error);
        CHECK(user.user->trouble()->reason ==
              "token endpoint answered 400 invalid_grant: Invalid JWT?Signature.");
        CHECK(user.user->trouble()->retry_at_ms <= clock.wall_ms() + 1'000);
        const auto refuse = [&] {
            const auto before = user.user->fetches();
            REQUIRE(run_until(user.loop, [&] {
                server_loop.poll();
                user.user->current();
                return user.user->fetches() > before && user.user->trouble();
            }));
            return user.user->trouble()->retry_at_ms - clock.wall_ms();
        };
        clock.pass_ms(3'600'000);
        CHECK(refuse() == 36'000);
        CHECK(user.user->current() == nullptr);
        CHECK(user.user->fetches() == 2);
        // A clock that was set may be what it was refused for.
        clock.step_ms(-7'200'000);
        CHECK(refuse() == 1'000);
        CHECK(user.user->fetches() == 3);
        user.end();
        server.stop();
        REQUIRE(run_until(server_loop, [&] { return server.ended(); }));
    }
}

TEST_CASE("a user that stops in mid-fetch leaves the fetch to another", "[pns]") {
    pns::BearerCache cache{pns::system_clock()};
    asio::io_context server_loop(1);
    H1Server server(server_loop, {"token.test"});
    server.hold = true;
    server.reply = [](const H1Server::Request&) { return H1Server::answer(200, token_json("t")); };
    Lane quitter(cache, fetching(), server.rule("token.test"));
    Lane heir(cache, fetching(), server.rule("token.test"));
    quitter.user->current();
    REQUIRE(run_until(quitter.loop, [&] {
        server_loop.poll();
        return server.requests == 1;
    }));
    CHECK(heir.user->current() == nullptr);
    CHECK(heir.user->fetches() == 0);
    quitter.end();
    server.release();
    REQUIRE(run_until(heir.loop, [&] {
        server_loop.poll();
        return heir.user->current() != nullptr;
    }));
    CHECK(heir.user->fetches() == 1);
    heir.end();
    server.stop();
    REQUIRE(run_until(server_loop, [&] { return server.ended(); }));
}
