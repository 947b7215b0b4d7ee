// Tested by tests/pns_apns_channels_test.cpp.
#include "pns/apns_channels.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pns/answers.hpp"
#include "pns/apns_credential.hpp"
#include "pns/apns_reasons.hpp"
#include "pns/providers.hpp"

namespace pns {

namespace {

using Json = nlohmann::json;
using Verb = ChannelCall::Verb;

bool keeps_latest(const Json& body) {
    if (!body.is_object()) return false;
    const auto policy = body.find("message-storage-policy");
    return policy != body.end() && policy->is_number_integer() && *policy == 1;
}

}  // namespace

void append_uuid(std::string& out, const std::array<std::uint8_t, 16>& id) {
    constexpr std::string_view hex = "0123456789abcdef";
    std::array<char, 36> text;
    char* at = text.data();
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *at++ = '-';
        *at++ = hex[id[i] >> 4];
        *at++ = hex[id[i] & 15];
    }
    out.append(text.data(), text.size());
}

bool is_channel_id(std::string_view id) {
    return !id.empty() && id.size() <= channel_id_bytes_max &&
           std::all_of(id.begin(), id.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '+' || c == '/' || c == '=' || c == '-' || c == '_';
           });
}

Checked<ExchangeRequest> channel_request(const Credential& credential, const ChannelCall& call) {
    const auto read = read_apns_credential(credential);
    if (const auto* refusal = std::get_if<Refusal>(&read)) return *refusal;
    const auto& setup = std::get<ApnsCredential>(read);
    if (setup.app.empty())
        return bad_credential("Channels need AppName, the bundle id, in the APNs credential.");
    ExchangeRequest out;
    out.origin = setup.channels;
    out.path = "/1/apps/";
    append_percent_encoded(out.path, setup.app);
    out.path += call.verb == Verb::list ? "/all-channels" : "/channels";
    out.method = call.verb == Verb::create ? "POST" : call.verb == Verb::remove ? "DELETE" : "GET";
    std::string id;
    append_uuid(id, call.request_id);
    out.headers.emplace_back("apns-request-id", std::move(id));
    if (call.verb == Verb::read || call.verb == Verb::remove)
        out.headers.emplace_back("apns-channel-id", call.id);
    if (call.verb == Verb::create) {
        out.headers.emplace_back("content-type", "application/json");
        out.body = std::string(R"({"message-storage-policy":)") + (call.keeps_latest ? '1' : '0') +
                   R"(,"push-type":"LiveActivity"})";
    }
    return out;
}

std::variant<ChannelAnswer, Judgement> read_channel_answer(const ChannelCall& call,
                                                           const ExchangeAnswer& answer,
                                                           std::int64_t now_ms) {
    ChannelAnswer out;
    out.request_id = clean_reason(answer.header("apns-request-id"), call.id);
    if (call.verb == Verb::remove && answer.status == 404) return out;
    if (answer.status < 200 || answer.status > 299) {
        return answer.judged_by(
            [&](const Answer& said) {
                return judge_apns_refusal(ApnsSurface::channel, call.id, said);
            },
            now_ms);
    }
    const Json body = Json::parse(answer.body, nullptr, false);
    const auto unreadable = [&] {
        return refused(Outcome::pns_interface_error,
                       "the answer of the channel service is unreadable");
    };
    if (call.verb == Verb::create) {
        out.id = answer.header("apns-channel-id");
        if (!is_channel_id(out.id)) return unreadable();
        out.keeps_latest = call.keeps_latest;
    } else if (call.verb == Verb::read) {
        if (!body.is_object()) return unreadable();
        out.keeps_latest = keeps_latest(body);
    } else if (call.verb == Verb::list) {
        const auto ids = body.is_object() ? body.find("channels") : body.end();
        if (answer.body_cut || ids == body.end() || !ids->is_array()) return unreadable();
        for (const Json& id : *ids)
            if (id.is_string() && is_channel_id(id.get_ref<const std::string&>()))
                out.ids.push_back(id.get<std::string>());
    }
    return out;
}

}  // namespace pns
