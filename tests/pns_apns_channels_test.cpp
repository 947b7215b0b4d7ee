// Broadcast channels: encoding, answers, and the simulator at the other end of a real connection.

#include "pns/apns_channels.hpp"

#include "pns/alarm.hpp"
#include "pns/bearer.hpp"
#include "pns/clock.hpp"
#include "pns/nursery.hpp"
#include "tests/support/simulators.hpp"

namespace {

using pns::ChannelAnswer;
using pns::ChannelCall;
using support::header_of;
using support::message_of;
using support::refusal_of;
using Kind = pns::Verdict::Kind;

const std::string update =
    R"({"aps":{"timestamp":1795200000,"event":"update","content-state":{"score":"2:1"}}})";

pns::Message broadcast_of(std::string body, pns::Headers headers = {}) {
    pns::Message message = message_of(std::move(body), std::move(headers));
    message.target = pns::Message::Target::channel;
    return message;
}

pns::ExchangeAnswer answer_of(int status, std::string body, pns::Headers headers = {}) {
    pns::ExchangeAnswer out;
    out.status = status;
    out.body = std::move(body);
    out.headers = std::move(headers);
    return out;
}

Kind kind_of(ChannelCall::Verb verb, int status, const std::string& reason) {
    ChannelCall call;
    call.verb = verb;
    call.id = "abc";
    const auto read = pns::read_channel_answer(
        call, answer_of(status, R"({"reason":")" + reason + "\"}"), support::now_ms);
    if (std::holds_alternative<ChannelAnswer>(read)) return Kind::accepted;
    return std::get<pns::Judgement>(read).verdict.kind();
}

/// Runs calls and pushes of one credential against one simulator.
struct Bench final : pns::PushOwner {
    explicit Bench(const pns::sim::Simulator& sim) : network(support::network_of(sim)) {}

    std::variant<ChannelAnswer, pns::Judgement> call(ChannelCall wanted) {
        const auto& credential = support::made_credential("apns").credential;
        const auto account = support::open_with(credential);
        auto request = std::get<pns::ExchangeRequest>(pns::channel_request(credential, wanted));
        io.restart();
        pns::Nursery nursery(io.get_executor());
        std::optional<pns::Result<pns::ExchangeAnswer>> got;
        nursery.start(run_call(*account, std::move(request), got));
        io.run();
        REQUIRE(got);
        if (!*got) FAIL(got->error().message());
        return pns::read_channel_answer(wanted, **got, support::now_ms);
    }
    ChannelAnswer answered(ChannelCall wanted) {
        auto read = call(std::move(wanted));
        if (const auto* judged = std::get_if<pns::Judgement>(&read)) FAIL(judged->verdict.reason());
        return std::get<ChannelAnswer>(std::move(read));
    }
    pns::Verdict push(const std::string& channel, const pns::Message& message) {
        io.restart();
        auto sender = pns::Sender::create(io, support::made_credential("apns").credential,
                                          pns::default_settings("apns"), network, bearers);
        auto prepared = sender->prepare(message);
        if (const auto* refusal = std::get_if<pns::Refusal>(&prepared)) FAIL(refusal->message);
        const std::string handle = std::string(pns::channel_prefix) + channel;
        pns::Push one;
        one.handle = handle;
        one.prepared = std::get<std::shared_ptr<const pns::Prepared>>(prepared);
        one.id[0] = 7;
        one.owner = this;
        pns::Nursery nursery(io.get_executor());
        children = &nursery;
        current = sender.get();
        sender->submit(one);
        io.run();
        REQUIRE(verdict);
        return *std::exchange(verdict, std::nullopt);
    }
    void on_verdict(pns::Push&, pns::Verdict&& said) override {
        verdict = std::move(said);
        children->start(current->stop(1'000));
    }

    boost::asio::io_context io{1};
    pns::Network network;
    pns::BearerCache bearers{pns::system_clock()};

  private:
    pns::Task<void> run_call(const pns::Account& account, pns::ExchangeRequest request,
                             std::optional<pns::Result<pns::ExchangeAnswer>>& got) {
        std::function<bool(const pns::ExchangeAnswer&)> never = [](const pns::ExchangeAnswer&) {
            return false;
        };
        const auto settings = pns::default_settings("apns");
        got = co_await pns::exchange(io.get_executor(), account, std::move(request), settings,
                                     network, bearers, std::move(never));
    }

    std::optional<pns::Verdict> verdict;
    pns::Sender* current = nullptr;
    pns::Nursery* children = nullptr;
};

}  // namespace

TEST_CASE("a broadcast is encoded for its channel, without topic", "[pns]") {
    const auto account = support::open_account("apns");
    const auto prepared = support::prepare(*account, broadcast_of(update));
    const pns::Headers expected = {
        {"apns-push-type", "liveactivity"}, {"apns-priority", "10"}, {"apns-expiration", "0"}};
    CHECK(prepared->headers == expected);
    CHECK(*prepared->body == update);
    pns::Push push;
    push.handle = "channel:dHN0LXNyY2gtY2hubA==";
    push.prepared = prepared;
    pns::Encoded encoded;
    account->encode(push, encoded);
    CHECK(encoded.path == "/4/broadcasts/apps/org.example.pushhub");
    CHECK(header_of(encoded.headers, "apns-channel-id") == "dHN0LXNyY2gtY2hubA==");
    CHECK(header_of(encoded.headers, "apns-request-id") == "00000000-0000-0000-0000-000000000000");
    // The buffers are used for pushes to devices again.
    push.handle = "AB";
    account->encode(push, encoded);
    CHECK(encoded.path == "/3/device/ab");
    CHECK(encoded.headers.size() == 1);
    CHECK(header_of(encoded.headers, "apns-id") == "00000000-0000-0000-0000-000000000000");
}

TEST_CASE("a broadcast that Apple would refuse is refused before it is sent", "[pns]") {
    const auto account = support::open_account("apns");
    const std::string format = "InvalidNotificationFormat";
    CHECK(refusal_of(*account, broadcast_of(update, {{"apns-priority", "5"},
                                                     {"apns-expiration", "1795286400"},
                                                     {"apns-push-type", "liveactivity"}})) ==
          "(taken)");
    for (const pns::Headers& headers : std::vector<pns::Headers>{{{"apns-topic", "org.example"}},
                                                                 {{"apns-collapse-id", "x"}},
                                                                 {{"apns-push-type", "alert"}},
                                                                 {{"apns-priority", "2"}}}) {
        INFO(headers[0].first);
        CHECK(refusal_of(*account, broadcast_of(update, headers)) == format);
    }
    const std::string start = R"({"aps":{"timestamp":1,"event":"start","content-state":{},)"
                              R"("attributes-type":"A","attributes":{},"alert":"x"}})";
    CHECK(refusal_of(*account, broadcast_of(start)) == format);
    CHECK(refusal_of(*account, broadcast_of(R"({"aps":{"alert":"x"}})")) == format);
    const auto sized = [](std::size_t bytes) {
        std::string out = update;
        out.insert(out.size() - 1, R"(,"x":")" + std::string(bytes - update.size() - 7, 'x') + '"');
        return out;
    };
    REQUIRE(sized(5120).size() == 5120);
    CHECK(refusal_of(*account, broadcast_of(sized(5120))) == "(taken)");
    CHECK(refusal_of(*account, broadcast_of(sized(5121))) == "InvalidNotificationSize");
    pns::Message topic = message_of(R"({"aps":{"alert":"x"}})");
    topic.target = pns::Message::Target::topic;
    CHECK(refusal_of(*account, topic) == format);
}

TEST_CASE("channel calls go to the management host of their environment", "[pns]") {
    pns::Credential credential = support::made_credential("apns").credential;
    ChannelCall call;
    call.id = "aWQ=";
    struct Row {
        ChannelCall::Verb verb;
        const char* method;
        const char* path;
        const char* id;
        const char* body;
    };
    const std::vector<Row> rows = {
        {ChannelCall::Verb::create, "POST", "/1/apps/org.example.pushhub/channels", "(none)",
         R"({"message-storage-policy":1,"push-type":"LiveActivity"})"},
        {ChannelCall::Verb::read, "GET", "/1/apps/org.example.pushhub/channels", "aWQ=", ""},
        {ChannelCall::Verb::remove, "DELETE", "/1/apps/org.example.pushhub/channels", "aWQ=", ""},
        {ChannelCall::Verb::list, "GET", "/1/apps/org.example.pushhub/all-channels", "(none)", ""},
    };
    for (const Row& row : rows) {
        call.verb = row.verb;
        call.keeps_latest = true;
        const auto request = std::get<pns::ExchangeRequest>(pns::channel_request(credential, call));
        CHECK(request.method == row.method);
        CHECK(request.path == row.path);
        CHECK(request.body == row.body);
        CHECK(header_of(request.headers, "apns-channel-id") == row.id);
        CHECK(request.origin.host == "api-manage-broadcast.push.apple.com");
        CHECK(request.origin.port == 2196);
    }
    credential.properties["Endpoint"] = "https://api.sandbox.push.apple.com";
    const auto sandbox = std::get<pns::ExchangeRequest>(pns::channel_request(credential, call));
    CHECK(sandbox.origin.host == "api-manage-broadcast.sandbox.push.apple.com");
    CHECK(sandbox.origin.port == 2195);
}

TEST_CASE("answers about channels are judged by the table of the contract", "[pns]") {
    using Verb = ChannelCall::Verb;
    struct Row {
        int status;
        const char* reason;
        Kind kind;
    };
    const std::vector<Row> rows = {
        {400, "BadChannelId", Kind::dead},
        {400, "ChannelNotRegistered", Kind::dead},
        {400, "FeatureNotEnabled", Kind::refused},
        {400, "CannotCreateChannelConfig", Kind::refused},
        {400, "BadRequestPayload", Kind::refused},
        {400, "MissingChannelQueueSize", Kind::refused},
        {403, "TopicMismatch", Kind::refused},
        {403, "ExpiredProviderToken", Kind::refused},
        {404, "BadPath", Kind::refused},
        {405, "MethodNotAllowed", Kind::refused},
        {413, "PayloadTooLarge", Kind::refused},
        {429, "TooManyRequests", Kind::retry_later},
        {429, "TooManyProviderTokenUpdates", Kind::retry_later},
        {500, "InternalServerError", Kind::retry_later},
        {503, "ServiceUnavailable", Kind::retry_later},
        {418, "Teapot", Kind::refused},
    };
    for (const Row& row : rows) {
        INFO(row.reason);
        CHECK(kind_of(Verb::read, row.status, row.reason) == row.kind);
    }
    CHECK(kind_of(Verb::remove, 404, "BadPath") == Kind::accepted);
    CHECK(kind_of(Verb::create, 201, "no id") == Kind::refused);
    CHECK(kind_of(Verb::list, 200, "no list") == Kind::refused);

    ChannelCall list;
    auto cut = answer_of(200, R"({"channels":["YQ==","YWI=","not an id",7]})");
    auto read = pns::read_channel_answer(list, cut, support::now_ms);
    CHECK(std::get<ChannelAnswer>(read).ids == std::vector<std::string>{"YQ==", "YWI="});
    cut.body_cut = true;
    CHECK(std::holds_alternative<pns::Judgement>(
        pns::read_channel_answer(list, cut, support::now_ms)));
}

TEST_CASE("channels are made, listed, used and removed at the simulator", "[pns]") {
    const auto sim = support::start_sim("apns");
    Bench bench(*sim);
    ChannelCall call;
    CHECK(bench.answered(call).ids.empty());
    call.verb = ChannelCall::Verb::create;
    call.keeps_latest = true;
    const std::string kept = bench.answered(call).id;
    call.keeps_latest = false;
    const std::string plain = bench.answered(call).id;
    call.verb = ChannelCall::Verb::list;
    CHECK(bench.answered(call).ids.size() == 2);
    call.verb = ChannelCall::Verb::read;
    call.id = kept;
    CHECK(bench.answered(call).keeps_latest);
    call.id = plain;
    CHECK_FALSE(bench.answered(call).keeps_latest);

    const auto taken = bench.push(plain, broadcast_of(update));
    CHECK(taken.kind() == Kind::accepted);
    CHECK_FALSE(taken.get<pns::Accepted>()->provider_id.empty());
    std::string body;
    REQUIRE(sim->body_of("channel:" + plain, body));
    CHECK(body == update);
    // Only a channel that stores takes an expiration.
    const auto tomorrow_s = pns::system_clock().wall_ms() / 1'000 + 86'400;
    const auto later = broadcast_of(update, {{"apns-expiration", std::to_string(tomorrow_s)}});
    CHECK(bench.push(kept, later).kind() == Kind::accepted);
    CHECK(bench.push(plain, later).reason() == "BadExpirationDate");

    call.verb = ChannelCall::Verb::remove;
    bench.answered(call);
    CHECK(bench.push(plain, broadcast_of(update)).kind() == Kind::dead);
    call.verb = ChannelCall::Verb::list;
    CHECK(bench.answered(call).ids == std::vector<std::string>{kept});
    CHECK(sim->counters().accepted == 2);
}
