// Broadcast channels of Live Activities (docs/contracts/pns.md 1.5): management at Apple, and
// messages to a channel. JSON. Tested by tests/hub_channels_test.cpp.
//
//   POST   /{hub}/apns/channels                 {"storage":"none"|"latest"}  201 {"id","storage"}
//   GET    /{hub}/apns/channels                                              200 {"channels":[…]}
//   GET    /{hub}/apns/channels/{id}                                         200 {"id","storage"}
//   DELETE /{hub}/apns/channels/{id}                                         204
//   POST   /{hub}/apns/channels/{id}/messages   the payload; apns-priority, apns-expiration
//
// Apple keeps the channels; the hub stores nothing of them.

#include <openssl/rand.h>

#include <boost/asio/this_coro.hpp>

#include "hub/api/handlers.hpp"
#include "hub/api/one_push.hpp"
#include "hub/api/parts.hpp"
#include "hub/http/problem.hpp"
#include "hub/http/responses.hpp"
#include "hub/send/fanout.hpp"
#include "hub/text/json_text.hpp"
#include "hub/text/text.hpp"
#include "pns/apns_channels.hpp"

namespace asio = boost::asio;

namespace hub {

namespace {

using Json = nlohmann::ordered_json;
using Verb = pns::ChannelCall::Verb;

constexpr std::string_view unknown_channel = "Apple knows no channel with this id for the app.";
constexpr std::string_view bad_id =
    "A channel id is base64 as Apple gives it; in a path, '/' and '+' are percent-encoded.";

std::string_view storage_name(bool keeps_latest) {
    return keeps_latest ? "latest" : "none";
}

/// {"storage":"none"|"latest"}; an empty body means none.
Parsed<bool> read_storage(const std::string& body) {
    if (trimmed(body).empty()) return false;
    auto read = read_json(body, "The body");
    if (!ok(read)) return std::get<Refusal>(std::move(read));
    const auto& value = std::get<nlohmann::json>(read);
    if (!value.is_object()) return bad_request("The body must be a JSON object.");
    for (const auto& [name, member] : value.items()) {
        if (name != "storage")
            return bad_request("The member '" + shown(name) + "' is unknown; storage is expected.");
        if (member != "none" && member != "latest")
            return bad_request("The member 'storage' must be \"none\" or \"latest\".");
    }
    return value.contains("storage") && value.at("storage") == "latest";
}

struct Called {
    std::optional<pns::ChannelAnswer> answer;
    Response problem;  ///< without an answer
};

pns::Task<Called> call_apple(const Call& call, pns::ChannelCall wanted) {
    const Request& request = call.request;
    Called out;
    const auto properties = call.hub->description.credentials.find("apns");
    if (properties == call.hub->description.credentials.end()) {
        out.problem = problem(request, 409, "no-credential", "The hub has no ApnsCredential.");
        co_return out;
    }
    RAND_bytes(wanted.request_id.data(), static_cast<int>(wanted.request_id.size()));
    const pns::Credential credential{"apns", properties->second,
                                     call.parts.config.credential_hosts};
    auto made = pns::channel_request(credential, wanted);
    auto opened = pns::open_account(credential);
    const auto* refusal = std::get_if<pns::Refusal>(&made);
    if (refusal == nullptr) refusal = std::get_if<pns::Refusal>(&opened);
    if (refusal != nullptr) {
        out.problem = problem(request, 409, "no-credential", refusal->message);
        co_return out;
    }
    const auto account = std::get<std::unique_ptr<pns::Account>>(std::move(opened));
    auto prepared = std::get<pns::ExchangeRequest>(std::move(made));
    std::function<bool(const pns::ExchangeAnswer&)> token_refused =
        [](const pns::ExchangeAnswer& answer) {
            return answer.status == 403 &&
                   answer.body.find("ExpiredProviderToken") != std::string::npos;
        };
    const pns::SenderSettings settings = pns::default_settings("apns");
    const pns::Executor loop = co_await asio::this_coro::executor;
    Fanout& fanout = call.parts.fanout;
    const auto got =
        co_await pns::exchange(loop, *account, std::move(prepared), settings, fanout.network(),
                               fanout.bearers(), std::move(token_refused));
    if (!got) {
        out.problem =
            problem(request, 503, "provider-unreachable",
                    "Apple's channel service gave no answer: " + got.error().message() + '.');
        out.problem.headers.emplace_back("Retry-After", "10");
        co_return out;
    }
    auto read = pns::read_channel_answer(wanted, *got, call.parts.clock.wall_ms());
    if (auto* answer = std::get_if<pns::ChannelAnswer>(&read)) {
        out.answer = std::move(*answer);
    } else {
        out.problem =
            one_push_answer(request, std::get<pns::Judgement>(read).verdict, unknown_channel);
    }
    co_return out;
}

Response channel_answer(int status, const std::string& id, bool keeps_latest) {
    const Json body = {{"id", id}, {"storage", storage_name(keeps_latest)}};
    return json_answer(status, body.dump());
}

}  // namespace

pns::Task<Response> post_channel(Call call) {
    const Request& request = call.request;
    const auto storage = read_storage(request.body);
    if (!ok(storage)) co_return problem(request, std::get<Refusal>(storage));
    pns::ChannelCall wanted;
    wanted.verb = Verb::create;
    wanted.keeps_latest = std::get<bool>(storage);
    auto called = co_await call_apple(call, std::move(wanted));
    if (!called.answer) co_return std::move(called.problem);
    Response out = channel_answer(201, called.answer->id, called.answer->keeps_latest);
    out.headers.emplace_back("Location", absolute_url(request, {call.hub->row.name, "apns",
                                                                "channels", called.answer->id}));
    co_return out;
}

pns::Task<Response> list_channels(Call call) {
    pns::ChannelCall wanted;
    auto called = co_await call_apple(call, std::move(wanted));
    if (!called.answer) co_return std::move(called.problem);
    const Json body = {{"channels", called.answer->ids}};
    co_return json_answer(200, body.dump());
}

pns::Task<Response> get_channel(Call call) {
    pns::ChannelCall wanted;
    wanted.verb = Verb::read;
    wanted.id = call.args.back();
    if (!pns::is_channel_id(wanted.id))
        co_return problem(call.request, 400, "invalid-channel-id", bad_id);
    auto called = co_await call_apple(call, std::move(wanted));
    if (!called.answer) co_return std::move(called.problem);
    co_return channel_answer(200, call.args.back(), called.answer->keeps_latest);
}

pns::Task<Response> delete_channel(Call call) {
    pns::ChannelCall wanted;
    wanted.verb = Verb::remove;
    wanted.id = call.args.back();
    if (!pns::is_channel_id(wanted.id))
        co_return problem(call.request, 400, "invalid-channel-id", bad_id);
    auto called = co_await call_apple(call, std::move(wanted));
    if (!called.answer) co_return std::move(called.problem);
    Response gone;
    gone.status = 204;
    co_return gone;
}

pns::Task<Response> post_channel_message(Call call) {
    const Request& request = call.request;
    const std::string& id = call.args.back();
    if (!pns::is_channel_id(id)) co_return problem(request, 400, "invalid-channel-id", bad_id);
    std::string payload = json_in_utf8(request.body);
    if (auto refusal = check_json(payload, "The payload")) co_return problem(request, *refusal);
    pns::Message message;
    message.target = pns::Message::Target::channel;
    message.body = std::move(payload);
    for (const auto& [name, value] : request.headers)
        if (name.starts_with("apns-")) message.headers.emplace_back(name, value);
    std::string handle = std::string(pns::channel_prefix) + id;
    const auto result = co_await push_once(call, "apns", std::move(message), std::move(handle));
    co_return one_push_answer(request, result, unknown_channel);
}

}  // namespace hub
