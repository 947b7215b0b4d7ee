// Apple Push Notification service: docs/contracts/pns.md 1. Tested by tests/pns_apns_test.cpp.
//
// prepare() chooses push type, topic, priority and expiration once for all devices and refuses
// what Apple would refuse; encode() adds path and identity of one device; judge() hands refusals
// to apns_reasons.cpp. Broadcasts to channels take the same way with another path. The topic is
// the credential's unless the message names one. Pure; any loop.
#include <algorithm>
#include <array>
#include <charconv>

#include "pns/answers.hpp"
#include "pns/apns_channels.hpp"
#include "pns/apns_credential.hpp"
#include "pns/apns_payload.hpp"
#include "pns/apns_reasons.hpp"
#include "pns/providers.hpp"

namespace pns {

namespace {

constexpr std::size_t body_bytes_max = 4096;
constexpr std::size_t voip_body_bytes_max = 5120;
constexpr std::size_t broadcast_body_bytes_max = 5120;
constexpr std::size_t collapse_id_bytes_max = 64;
/// Apple keeps a push for 30 days, so a later time says nothing more, and 32 bits hold this one.
constexpr std::int64_t expiration_s_max = 2'147'483'647;

struct PushType {
    std::string_view name, topic_suffix;
};
// Apple adds a type about yearly: others pass through and need an explicit apns-topic if theirs has
// a suffix.
constexpr std::array<PushType, 11> push_types = {{
    {"alert", ""},
    {"background", ""},
    {"voip", ".voip"},
    {"complication", ".complication"},
    {"fileprovider", ".pushkit.fileprovider"},
    {"location", ".location-query"},
    {"liveactivity", ".push-type.liveactivity"},
    {"pushtotalk", ".voip-ptt"},
    {"widgets", ".push-type.widgets"},
    {"controls", ".push-type.controls"},
    {"mdm", ""},
}};

std::optional<std::int64_t> to_integer(std::string_view text) {
    std::int64_t out = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return out;
}

std::string_view infer_push_type(const ApnsPayload& payload, std::string_view topic) {
    for (const PushType& type : push_types)
        if (!type.topic_suffix.empty() && topic.ends_with(type.topic_suffix)) return type.name;
    if (payload.is_live_activity()) return "liveactivity";
    return payload.content_available && !payload.visible ? "background" : "alert";
}

struct ApnsPrepared final : Prepared {
    bool replaceable = false;  ///< shown to the user, and no apns-collapse-id of the back end's
};

class Apns final : public Account {
  public:
    explicit Apns(ApnsCredential setup) : setup_(std::move(setup)) {}

    const Platform& platform() const override { return *platform_by_name("apns"); }
    Protocol protocol() const override { return Protocol::h2; }
    bool starts_with_one_stream() const override { return setup_.key.has_value(); }

    TokenSource token_source() const override {
        if (!setup_.key) return NoToken{};
        SelfSigned source;
        source.mint = [key = *setup_.key, kid = setup_.key_id,
                       team = setup_.team_id](std::int64_t now_s) -> Result<std::string> {
            return sign_jwt(key, kid, {},
                            R"({"iss":")" + team + R"(","iat":)" + std::to_string(now_s) + '}');
        };
        return source;
    }

    std::string token_key() const override {
        if (!setup_.key) return "apns:certificate:" + sha256_hex(setup_.certificate.chain_pem);
        return "apns:" + setup_.team_id + ':' + setup_.key_id + ':' + setup_.key->fingerprint();
    }

    std::pair<std::string, std::string> client_certificate() const override {
        return {setup_.certificate.chain_pem, setup_.certificate.key_pem};
    }

    Origin origin(std::string_view handle) const override {
        return handle.starts_with(channel_prefix) ? setup_.broadcast : setup_.devices;
    }
    std::string authorization(std::string_view token) const override {
        return "bearer " + std::string(token);
    }

    Checked<std::shared_ptr<const Prepared>> prepare(const Message& message) const override;
    void encode(const Push& push, Encoded& out) const override;
    Judgement judge(const Push& push, const Answer& answer) const override;

  private:
    Checked<std::string> topic_for(const Message& message, std::string_view push_type) const;
    Checked<std::shared_ptr<const Prepared>> prepare_device(const Message& message) const;
    Checked<std::shared_ptr<const Prepared>> prepare_broadcast(const Message& message) const;

    ApnsCredential setup_;
};

Checked<std::string> Apns::topic_for(const Message& message, std::string_view push_type) const {
    std::string topic(message_header(message, "apns-topic"));
    if (topic.empty() && !setup_.app.empty()) {
        if (push_type == "mdm")
            return bad_format(
                "apns-push-type mdm needs apns-topic: the UID of the MDM certificate.");
        topic = setup_.app;
        for (const PushType& type : push_types)
            if (type.name == push_type && !topic.ends_with(type.topic_suffix))
                topic += type.topic_suffix;
    }
    if (!is_printable(topic)) return bad_format("apns-topic must have no spaces.");
    return topic;
}

/// apns-priority by the rules of its push type, empty for Apple's default.
Checked<std::string> priority_for(const Message& message, std::string_view type,
                                  bool type_is_explicit) {
    std::string priority(message_header(message, "apns-priority"));
    if (priority.empty()) priority = message_header(message, "x-apns-priority");
    if (!priority.empty() && priority != "10" && priority != "5" && priority != "1")
        return bad_format("apns-priority must be 10, 5 or 1.");
    if (type == "background" && (priority.empty() || priority == "10")) {
        if (!priority.empty() && type_is_explicit)
            return bad_format("apns-priority must be 5 with apns-push-type background.");
        return std::string("5");
    }
    if (type == "pushtotalk" && priority.empty()) return std::string("10");
    return priority;
}

struct Expiration {
    std::string header;  ///< empty: Apple's default
    std::int64_t at_ms = 0;
};

/// The header, or else the message's own end.
Checked<Expiration> expiration_for(const Message& message, std::string_view otherwise) {
    Expiration out{std::string(message_header(message, "apns-expiration")), message.expires_at_ms};
    if (!out.header.empty()) {
        const auto seconds = to_integer(out.header);
        if (!seconds || *seconds < 0 || *seconds > std::numeric_limits<std::int64_t>::max() / 1000)
            return bad_format("apns-expiration must be Unix seconds, or 0 for one attempt.");
        if (*seconds > 0) out.at_ms = std::min(out.at_ms, *seconds * 1000);
        if (*seconds > expiration_s_max) out.header = std::to_string(expiration_s_max);
    } else if (message.expires_at_ms != std::numeric_limits<std::int64_t>::max()) {
        out.header = std::to_string(
            std::clamp<std::int64_t>(message.expires_at_ms / 1000, 0, expiration_s_max));
    } else {
        out.header = otherwise;
    }
    return out;
}

Checked<std::shared_ptr<const Prepared>> Apns::prepare(const Message& message) const {
    if (auto refusal = check_message_headers(message, "apns-")) return std::move(*refusal);
    if (message.body.empty()) return bad_format("An APNs payload must not be empty.");
    switch (message.target) {
        case Message::Target::device:
            return prepare_device(message);
        case Message::Target::channel:
            return prepare_broadcast(message);
        default:
            return bad_format("APNs pushes go to devices or to broadcast channels.");
    }
}

Checked<std::shared_ptr<const Prepared>> Apns::prepare_device(const Message& message) const {
    const ApnsPayload payload = look_at_payload(message.body);
    if (!payload.is_object) return bad_format("An APNs payload must be a JSON object.");

    const std::string_view explicit_type = message_header(message, "apns-push-type");
    const std::string_view type =
        !explicit_type.empty() ? explicit_type
                               : infer_push_type(payload, message_header(message, "apns-topic"));
    const std::size_t bytes_max = type == "voip" ? voip_body_bytes_max : body_bytes_max;
    if (message.body.size() > bytes_max)
        return bad_size("The APNs payload", message.body.size(), bytes_max);
    if (type == "location" && !setup_.key)
        return bad_format("apns-push-type location needs token authentication.");
    if (type == "liveactivity")
        if (auto refusal = check_live_activity(payload, false)) return std::move(*refusal);

    auto topic = topic_for(message, type);
    if (auto* refusal = std::get_if<Refusal>(&topic)) return std::move(*refusal);
    auto priority = priority_for(message, type, !explicit_type.empty());
    if (auto* refusal = std::get_if<Refusal>(&priority)) return std::move(*refusal);
    // Who holds the button speaks now or not at all.
    auto expiration = expiration_for(message, type == "pushtotalk" ? "0" : "");
    if (auto* refusal = std::get_if<Refusal>(&expiration)) return std::move(*refusal);
    if (message_header(message, "apns-collapse-id").size() > collapse_id_bytes_max)
        return bad_format("apns-collapse-id must have at most 64 bytes.");

    auto prepared = std::make_shared<ApnsPrepared>();
    prepared->body = std::make_shared<const std::string>(message.body);
    prepared->expires_at_ms = std::get<Expiration>(expiration).at_ms;
    prepared->replaceable = type == "alert" && message_header(message, "apns-collapse-id").empty();
    Headers& headers = prepared->headers;
    if (const auto& name = std::get<std::string>(topic); !name.empty())
        headers.emplace_back("apns-topic", prepared->app = name);
    headers.emplace_back("apns-push-type", type);
    if (const auto& value = std::get<std::string>(priority); !value.empty())
        headers.emplace_back("apns-priority", value);
    if (const auto& value = std::get<Expiration>(expiration).header; !value.empty())
        headers.emplace_back("apns-expiration", value);
    // apns-id is each push's own: one value for many devices would make their pushes look like one.
    constexpr std::array<std::string_view, 5> done = {
        "apns-topic", "apns-push-type", "apns-priority", "apns-expiration", "apns-id"};
    for (const auto& [name, value] : message.headers)
        if (name.starts_with("apns-") && std::find(done.begin(), done.end(), name) == done.end())
            headers.emplace_back(name, value);
    return std::shared_ptr<const Prepared>(std::move(prepared));
}

Checked<std::shared_ptr<const Prepared>> Apns::prepare_broadcast(const Message& message) const {
    if (setup_.app.empty())
        return bad_format("Broadcasts need AppName, the bundle id, in the APNs credential.");
    if (message.body.size() > broadcast_body_bytes_max)
        return bad_size("The payload of a broadcast", message.body.size(),
                        broadcast_body_bytes_max);
    const ApnsPayload payload = look_at_payload(message.body);
    if (!payload.is_object) return bad_format("An APNs payload must be a JSON object.");
    if (auto refusal = check_live_activity(payload, true)) return std::move(*refusal);

    const std::string_view type = message_header(message, "apns-push-type");
    if (!type.empty() && type != "liveactivity")
        return bad_format("apns-push-type of a broadcast must be liveactivity.");
    for (const std::string_view name : {"apns-topic", "apns-collapse-id"})
        if (!message_header(message, name).empty())
            return bad_format("A broadcast cannot have " + std::string(name) + '.');
    auto priority = priority_for(message, "liveactivity", true);
    if (auto* refusal = std::get_if<Refusal>(&priority)) return std::move(*refusal);
    auto expiration = expiration_for(message, "0");
    if (auto* refusal = std::get_if<Refusal>(&expiration)) return std::move(*refusal);

    auto prepared = std::make_shared<ApnsPrepared>();
    prepared->body = std::make_shared<const std::string>(message.body);
    prepared->expires_at_ms = std::get<Expiration>(expiration).at_ms;
    const auto& given = std::get<std::string>(priority);
    prepared->headers = {{"apns-push-type", "liveactivity"},
                         {"apns-priority", given.empty() ? "10" : given},
                         {"apns-expiration", std::get<Expiration>(expiration).header}};
    return std::shared_ptr<const Prepared>(std::move(prepared));
}

void Apns::encode(const Push& push, Encoded& out) const {
    const bool to_channel = push.handle.starts_with(channel_prefix);
    // A copy that is sent again after a lost answer replaces the first one on the device.
    const bool collapses = !to_channel && has_identity(push) &&
                           static_cast<const ApnsPrepared&>(*push.prepared).replaceable;
    out.body.clear();
    out.headers.resize(to_channel || collapses ? 2 : 1);
    auto& [id_name, id] = out.headers[0];
    id_name = to_channel ? "apns-request-id" : "apns-id";
    id.clear();
    append_uuid(id, push.id);
    if (to_channel) {
        out.path = "/4/broadcasts/apps/";
        append_percent_encoded(out.path, setup_.app);
        out.headers[1] = {"apns-channel-id",
                          std::string(push.handle.substr(channel_prefix.size()))};
        return;
    }
    if (collapses) out.headers[1] = {"apns-collapse-id", identity_of(push)};
    constexpr std::string_view before = "/3/device/";
    out.path.assign(before).append(push.handle);
    std::transform(out.path.begin() + before.size(), out.path.end(),
                   out.path.begin() + before.size(),
                   [](char c) { return c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c; });
}

Judgement Apns::judge(const Push& push, const Answer& answer) const {
    const bool to_channel = push.handle.starts_with(channel_prefix);
    if (answer.status == 200) {
        const std::string_view unique = answer.header("apns-unique-id");
        if (!unique.empty()) return accepted(unique);
        return accepted(answer.header(to_channel ? "apns-request-id" : "apns-id"));
    }
    if (to_channel)
        return judge_apns_refusal(ApnsSurface::channel, push.handle.substr(channel_prefix.size()),
                                  answer);
    // A suffix comes with the push type, which is the message's choice too.
    const bool by_default =
        !push.prepared || (!setup_.app.empty() && push.prepared->app == setup_.app);
    return judge_apns_refusal(ApnsSurface::device, push.handle, answer,
                              by_default ? ApnsTopic::of_credential : ApnsTopic::of_message);
}

}  // namespace

Checked<std::unique_ptr<Account>> open_apns(const Credential& credential) {
    auto read = read_apns_credential(credential);
    if (auto* refusal = std::get_if<Refusal>(&read)) return std::move(*refusal);
    return std::unique_ptr<Account>(
        std::make_unique<Apns>(std::get<ApnsCredential>(std::move(read))));
}

}  // namespace pns
