#include "pns/bearer.hpp"
#include "pns/clock.hpp"
#include "pns/jwt.hpp"
#include "pns/nursery.hpp"
#include "pns/sim/hms.hpp"
#include "tests/support/simulators.hpp"

namespace {

using support::message_of;
using support::refusal_of;

const std::string body = R"({"message":{"data":"{\"a\":1}","android":{"ttl":"86400s"}}})";

const pns::sim::MadeCredential& service_credential() {
    static const pns::sim::MadeCredential made = pns::sim::make_hms_service_credential();
    return made;
}

std::string refused_credential(
    const char* name, const std::string& value,
    pns::Credential credential = support::made_credential("hms").credential) {
    credential.properties[name] = value;
    auto checked = pns::platform_by_name("hms")->check_credential(credential);
    const auto* refusal = std::get_if<pns::Refusal>(&checked);
    return refusal ? refusal->message : "(taken)";
}

/// Submits pushes one after the other and keeps their verdicts.
struct Line final : pns::PushOwner {
    Line(pns::BearerCache& shared, std::vector<std::string> to)
        : bearers(shared), handles(std::move(to)) {}

    void run(const pns::sim::Simulator& sim, const pns::Message& message = message_of(body),
             const pns::Credential& credential = support::made_credential("hms").credential) {
        sender = pns::Sender::create(io, credential, pns::default_settings("hms"),
                                     support::network_of(sim), bearers);
        push.prepared = std::get<std::shared_ptr<const pns::Prepared>>(sender->prepare(message));
        push.owner = this;
        pns::Nursery nursery(io.get_executor());
        children = &nursery;
        next();
        io.run();
        CHECK(!nursery.first_error());
    }
    void next() {
        if (verdicts.size() == handles.size()) {
            children->start(sender->stop(1'000));
            return;
        }
        push.handle = handles[verdicts.size()];
        sender->submit(push);
    }
    void on_verdict(pns::Push&, pns::Verdict&& verdict) override {
        verdicts.push_back(std::move(verdict));
        next();
    }

    boost::asio::io_context io{1};
    pns::BearerCache& bearers;
    std::vector<std::string> handles;
    std::vector<pns::Verdict> verdicts;
    std::unique_ptr<pns::Sender> sender;
    pns::Push push;
    pns::Nursery* children = nullptr;
};

}  // namespace

TEST_CASE("an HMS push puts one token before what the back end wrote", "[pns]") {
    const auto account = support::open_account("hms");
    pns::Push push;
    push.handle = "tok\"en";
    push.prepared = support::prepare(*account, message_of(body));
    pns::Encoded encoded;
    for (int i = 0; i < 2; ++i) {
        account->encode(push, encoded);
        CHECK(encoded.path ==
              "/v1/" + support::made_credential("hms").trust.app + "/messages:send");
        CHECK(encoded.body ==
              R"({"message":{"token":["tok\"en"],"data":"{\"a\":1}","android":{"ttl":"86400s"}}})");
        CHECK(encoded.headers.empty());
    }
    CHECK(account->origin("x").host == "push-api.cloud.huawei.com");
    CHECK(account->authorization("t") == "Bearer t");
}

TEST_CASE("an HMS message that Huawei would refuse is refused before it is sent", "[pns]") {
    const auto account = support::open_account("hms");
    const std::string format = "InvalidNotificationFormat";
    const auto message = [](const std::string& members) {
        return R"({"message":{)" + members + "}}";
    };
    CHECK(refusal_of(*account, message_of(body)) == "(taken)");
    CHECK(refusal_of(*account, message_of(R"({"validate_only":true,"message":{"data":"x"}})")) ==
          "(taken)");
    for (const std::string& bad : std::vector<std::string>{
             "", "[]", "{}", "{", R"({"message":{}})", R"({"message":[]})",
             R"({"message":{"data":"a"},"message":{"data":"b"}})",
             R"({"message":{"data":"a"},"other":1})",
             R"({"validate_only":"yes","message":{"data":"a"}})", message(R"("token":["t"])"),
             message(R"("data":"a","topic":"t")"), message(R"("data":{"a":"b"})"),
             message(R"("notification":"x")"), message(R"("data":"a","android":{"ttl":86400})"),
             message(R"("data":"a","android":{"ttl":"soon"})")}) {
        INFO(bad);
        CHECK(refusal_of(*account, message_of(bad)) == format);
    }
    const auto sized = [&](std::size_t bytes) {
        return message(R"("data":")" + std::string(bytes - 23, 'x') + '"');
    };
    REQUIRE(sized(4096).size() == 4096);
    CHECK(refusal_of(*account, message_of(sized(4096))) == "(taken)");
    CHECK(refusal_of(*account, message_of(sized(4097))) == "InvalidNotificationSize");
    pns::Message topic = message_of(body);
    topic.target = pns::Message::Target::topic;
    CHECK(refusal_of(*account, topic) == format);
}

TEST_CASE("an HMS credential may name only hosts of Huawei's", "[pns]") {
    const std::vector<std::pair<const char*, std::string>> rows = {
        {"AppId", "12a"},
        {"AppId", "1/2"},
        {"ClientSecret", "a b"},
        {"AuthTokenUrl", "https://evil.test/oauth2/v3/token"},
        {"AuthTokenUrl", "http://oauth-login.cloud.huawei.com/oauth2/v3/token"},
        {"HmsEndpoint", "https://push-api.cloud.huawei.com.evil.test"},
        {"HmsEndpoint", "https://push-api.cloud.huawei.com:8443"},
        {"HmsEndpoint", "https://push-api.cloud.huawei.com/v1"},
    };
    for (const auto& [name, value] : rows) {
        INFO(name << " " << value);
        CHECK(refused_credential(name, value).find(name) != std::string::npos);
    }
    CHECK(refused_credential("HmsEndpoint", "https://push-api-dre.cloud.huawei.com") == "(taken)");
}

TEST_CASE("the HMS sender and the simulator agree", "[pns]") {
    using Kind = pns::Verdict::Kind;
    const auto sim = support::start_sim("hms");
    const auto answer = [](const char* code) {
        return nlohmann::json{{"act", "answer"}, {"status", 200}, {"reason", code}};
    };
    const std::vector<std::pair<std::string, nlohmann::json>> acts = {
        {"good", "ok"},
        {"dead", "gone"},
        {"inner", "server_error"},
        {"short", answer("80100018")},
        {"maybe", answer("80300007")},
        {"foreign", "wrong_app"},
        {"last", "ok"},
    };
    std::vector<std::string> handles;
    nlohmann::json table;
    for (const auto& [handle, act] : acts) {
        handles.push_back(handle);
        table[handle] = act;
    }
    sim->set_rules(support::rules_of("hms", {{"handles", table}}));
    pns::BearerCache bearers{pns::system_clock()};
    Line line(bearers, handles);
    line.run(*sim);
    const std::vector<Kind> expected = {Kind::accepted, Kind::dead,    Kind::retry_later,
                                        Kind::refused,  Kind::suspect, Kind::refused,
                                        Kind::accepted};
    REQUIRE(line.verdicts.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        INFO(handles[i] << ": " << line.verdicts[i].reason());
        CHECK(line.verdicts[i].kind() == expected[i]);
    }
    CHECK(line.verdicts[5].blames_credential());
    CHECK(sim->counters().accepted == 2);
    std::string got;
    REQUIRE(sim->body_of("good", got));
    CHECK(got == R"({"message":{"token":["good"],"data":"{\"a\":1}","android":{"ttl":"86400s"}}})");
}

TEST_CASE("a revoked HMS token is renewed once and the push goes out", "[pns]") {
    const auto sim = support::start_sim("hms");
    pns::BearerCache bearers{pns::system_clock()};
    Line first(bearers, {"a"});
    first.run(*sim);
    sim->revoke_tokens();
    Line second(bearers, {"b", "c"});
    second.run(*sim);
    CHECK(sim->counters().accepted == 3);
    for (const pns::Verdict& verdict : second.verdicts)
        CHECK(verdict.kind() == pns::Verdict::Kind::accepted);
}

TEST_CASE("a service account sends by API v3, with the kind of push in a header", "[pns]") {
    const auto account = support::open_with(service_credential().credential);
    const std::string payload = R"({"payload":{"notification":{"title":"a"}}})";
    pns::Push push;
    push.handle = "tok\"en";
    push.prepared = support::prepare(*account, message_of(' ' + payload));
    pns::Encoded encoded;
    account->encode(push, encoded);
    CHECK(encoded.path == "/v3/" + service_credential().trust.project + "/messages:send");
    CHECK(encoded.body ==
          R"( {"target":{"token":["tok\"en"]},"payload":{"notification":{"title":"a"}}})");
    CHECK(support::header_of(push.prepared->headers, "push-type") == "0");
    const auto call = support::prepare(*account, message_of(payload, {{"push-type", "10"}}));
    CHECK(support::header_of(call->headers, "push-type") == "10");

    const std::string format = "InvalidNotificationFormat";
    CHECK(refusal_of(*account, message_of(payload, {{"push-type", "3"}})) == format);
    CHECK(refusal_of(*account, message_of(R"({"pushOptions":{"ttl":60},"payload":{"a":1}})")) ==
          "(taken)");
    for (const std::string& bad : std::vector<std::string>{
             "", "[]", "{}", "{", body, R"({"payload":{}})", R"({"payload":"x"})",
             R"({"payload":{"a":1},"payload":{"a":1}})", R"({"payload":{"a":1},"target":{}})",
             R"({"payload":{"a":1},"pushOptions":7})", R"({"payload":{"a":1},"message":{}})"}) {
        INFO(bad);
        CHECK(refusal_of(*account, message_of(bad)) == format);
    }
}

TEST_CASE("a service account's credential is whole or refused", "[pns]") {
    const auto& good = service_credential().credential;
    CHECK(refused_credential("KeyId", "k", good) == "(taken)");
    for (const char* name : {"ProjectId", "KeyId", "SubAccount", "PrivateKey"}) {
        INFO(name);
        CHECK(refused_credential(name, "", good).find(name) != std::string::npos);
    }
    CHECK(refused_credential("ProjectId", "../x", good).find("ProjectId") != std::string::npos);
    CHECK(refused_credential("KeyId", "a\"b", good).find("KeyId") != std::string::npos);
    CHECK(refused_credential("PrivateKey", pns::Key::generate_p256().private_pem(), good)
              .find("PrivateKey") != std::string::npos);
}

TEST_CASE("the service account's sender and the simulator agree", "[pns]") {
    using Kind = pns::Verdict::Kind;
    const auto& made = service_credential();
    auto options = support::sim_options("hms");
    options.trust = made.trust;
    const auto sim = support::start_sim(std::move(options));
    sim->set_rules(support::rules_of(
        "hms", {{"handles",
                 {{"dead", {{"act", "answer"}, {"status", 200}, {"reason", "80300007"}}},
                  {"late", {{"act", "answer"}, {"status", 200}, {"reason", "81000001"}}}}}}));
    const auto message = message_of(R"({"payload":{"notification":{"title":"a"}}})");
    pns::BearerCache bearers{pns::system_clock()};
    Line line(bearers, {"good", "dead", "late", "last"});
    line.run(*sim, message, made.credential);
    const std::vector<Kind> expected = {Kind::accepted, Kind::suspect, Kind::retry_later,
                                        Kind::accepted};
    REQUIRE(line.verdicts.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        INFO(line.handles[i] << ": " << line.verdicts[i].reason());
        CHECK(line.verdicts[i].kind() == expected[i]);
    }
    CHECK(sim->counters().tokens_minted == 0);
    CHECK(sim->counters().connects == 1);

    pns::Credential stranger = made.credential;
    stranger.properties["KeyId"] = "another";
    Line refused(bearers, {"good"});
    refused.run(*sim, message, stranger);
    CHECK(refused.verdicts[0].kind() == Kind::refused);
    CHECK(refused.verdicts[0].blames_credential());
    CHECK(sim->counters().accepted == 2);
}
