// Apple Push Notification service: contracts/pns.md 1. Tested by tests/pns_apns_test.cpp.
#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "pns/answers.hpp"
#include "pns/certificate_file.hpp"
#include "pns/json_walk.hpp"
#include "pns/jwt.hpp"
#include "pns/providers.hpp"

namespace pns {

namespace {

constexpr std::size_t body_bytes_max = 4096;
constexpr std::size_t voip_body_bytes_max = 5120;
constexpr std::size_t collapse_id_bytes_max = 64;
constexpr std::int64_t minute_ms = 60'000;
/// Apple counts token changes over 20 minutes; asking again at a quarter of that finds the end soon
/// enough.
constexpr std::int64_t token_updates_pause_ms = 5 * minute_ms;

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

enum class Rule {
    drop,
    drop_size,
    drop_interface,
    config,
    suspect_handle,
    suspect_app,
    prune_if_older,
    reauthorise,
    other_connection,
    reconnect_retry,
    throttle_credential,
    throttle_handle,
    retry_error,
    retry_down,
    shutdown,
};
struct Row {
    int status;
    std::string_view reason;
    Rule rule;
};
// contracts/pns.md 1.6
constexpr std::array<Row, 36> rows = {{
    {400, "BadCollapseId", Rule::drop},
    {400, "BadDeviceToken", Rule::suspect_handle},
    {400, "BadExpirationDate", Rule::drop},
    {400, "BadMessageId", Rule::drop},
    {400, "BadPriority", Rule::drop},
    {400, "BadTopic", Rule::config},
    {400, "DeviceTokenNotForTopic", Rule::suspect_app},
    {400, "DuplicateHeaders", Rule::drop},
    {400, "IdleTimeout", Rule::reconnect_retry},
    {400, "InvalidPushType", Rule::drop},
    {400, "MissingDeviceToken", Rule::drop_interface},
    {400, "MissingTopic", Rule::config},
    {400, "PayloadEmpty", Rule::drop},
    {400, "TopicDisallowed", Rule::config},
    {403, "BadCertificate", Rule::config},
    {403, "BadCertificateEnvironment", Rule::config},
    {403, "ExpiredProviderToken", Rule::reauthorise},
    {403, "Forbidden", Rule::config},
    {403, "InvalidProviderToken", Rule::config},
    {403, "MissingProviderToken", Rule::config},
    {403, "UnrelatedKeyIdInToken", Rule::other_connection},
    {403, "BadEnvironmentKeyIdInToken", Rule::config},
    {404, "BadPath", Rule::drop_interface},
    {405, "MethodNotAllowed", Rule::drop_interface},
    {410, "ExpiredToken", Rule::prune_if_older},
    {410, "Unregistered", Rule::prune_if_older},
    {410, "", Rule::prune_if_older},
    {413, "PayloadTooLarge", Rule::drop_size},
    {413, "", Rule::drop_size},
    {429, "TooManyProviderTokenUpdates", Rule::throttle_credential},
    {429, "TooManyRequests", Rule::throttle_handle},
    {429, "", Rule::throttle_handle},
    {500, "InternalServerError", Rule::retry_error},
    {500, "", Rule::retry_error},
    {503, "ServiceUnavailable", Rule::retry_down},
    {503, "Shutdown", Rule::shutdown},
}};

std::optional<std::int64_t> to_integer(std::string_view text) {
    std::int64_t out = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return out;
}

/// What the shape of a payload says about its push type.
struct PayloadShape {
    bool is_object = false, content_available = false, visible = false;
};

PayloadShape look_at(std::string_view body) {
    PayloadShape shape;
    const bool valid =
        walk_json(body, [&](const JsonPlace& place, JsonKind kind, std::string_view text) {
            if (place.depth == 0) shape.is_object = kind == JsonKind::object;
            if (place.is("aps", "content-available"))
                shape.content_available = text == "1" || text == "true";
            if (place.is("aps", "alert") || place.is("aps", "badge") || place.is("aps", "sound"))
                shape.visible = shape.visible || kind != JsonKind::null;
        });
    shape.is_object = shape.is_object && valid;
    return shape;
}

std::string_view infer_push_type(const PayloadShape& shape, std::string_view topic) {
    for (const PushType& type : push_types)
        if (!type.topic_suffix.empty() && topic.ends_with(type.topic_suffix)) return type.name;
    return shape.content_available && !shape.visible ? "background" : "alert";
}

void append_uuid(std::string& out, const std::array<std::uint8_t, 16>& id) {
    constexpr std::string_view hex = "0123456789abcdef";
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
        out += hex[id[i] >> 4];
        out += hex[id[i] & 15];
    }
}

class Apns final : public Account {
  public:
    struct Setup {
        Origin origin;
        std::optional<Key> key;  ///< token authentication
        std::string key_id, team_id, app;
        CertificateFile certificate;  ///< else this
    };
    explicit Apns(Setup setup) : setup_(std::move(setup)) {}

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

    Origin origin(std::string_view) const override { return setup_.origin; }
    std::string authorization(std::string_view token) const override {
        return "bearer " + std::string(token);
    }

    Checked<std::shared_ptr<const Prepared>> prepare(const Message& message) const override;
    void encode(const Push& push, Encoded& out) const override;
    Judgement judge(const Push& push, const Answer& answer) const override;

  private:
    Checked<std::string> topic_for(const Message& message, std::string_view push_type) const;

    Setup setup_;
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

Checked<std::shared_ptr<const Prepared>> Apns::prepare(const Message& message) const {
    if (auto refusal = check_message_headers(message, "apns-")) return std::move(*refusal);
    if (message.body.empty()) return bad_format("An APNs payload must not be empty.");
    const PayloadShape shape = look_at(message.body);
    if (!shape.is_object) return bad_format("An APNs payload must be a JSON object.");

    const std::string_view explicit_type = message_header(message, "apns-push-type");
    const std::string_view type =
        !explicit_type.empty() ? explicit_type
                               : infer_push_type(shape, message_header(message, "apns-topic"));
    const std::size_t bytes_max = type == "voip" ? voip_body_bytes_max : body_bytes_max;
    if (message.body.size() > bytes_max)
        return bad_size("The APNs payload", message.body.size(), bytes_max);
    if (type == "location" && !setup_.key)
        return bad_format("apns-push-type location needs token authentication.");

    auto topic = topic_for(message, type);
    if (auto* refusal = std::get_if<Refusal>(&topic)) return std::move(*refusal);

    std::string_view priority = message_header(message, "apns-priority");
    if (priority.empty()) priority = message_header(message, "x-apns-priority");
    if (!priority.empty() && priority != "10" && priority != "5" && priority != "1")
        return bad_format("apns-priority must be 10, 5 or 1.");
    if (type == "background" && (priority.empty() || priority == "10")) {
        if (!priority.empty() && !explicit_type.empty())
            return bad_format("apns-priority must be 5 with apns-push-type background.");
        priority = "5";
    }

    const std::string_view collapse_id = message_header(message, "apns-collapse-id");
    if (collapse_id.size() > collapse_id_bytes_max)
        return bad_format("apns-collapse-id must have at most 64 bytes.");

    auto prepared = std::make_shared<Prepared>();
    prepared->body = std::make_shared<const std::string>(message.body);
    prepared->expires_at_ms = message.expires_at_ms;
    std::string expiration(message_header(message, "apns-expiration"));
    if (!expiration.empty()) {
        const auto seconds = to_integer(expiration);
        if (!seconds || *seconds < 0 || *seconds > std::numeric_limits<std::int64_t>::max() / 1000)
            return bad_format("apns-expiration must be Unix seconds, or 0 for one attempt.");
        if (*seconds > 0)
            prepared->expires_at_ms = std::min(message.expires_at_ms, *seconds * 1000);
    } else if (message.expires_at_ms != std::numeric_limits<std::int64_t>::max()) {
        expiration = std::to_string(std::max<std::int64_t>(message.expires_at_ms, 0) / 1000);
    }

    Headers& headers = prepared->headers;
    if (const auto& name = std::get<std::string>(topic); !name.empty())
        headers.emplace_back("apns-topic", name);
    headers.emplace_back("apns-push-type", type);
    if (!priority.empty()) headers.emplace_back("apns-priority", priority);
    if (!expiration.empty()) headers.emplace_back("apns-expiration", expiration);
    // apns-id is each push's own: one value for many devices would make their pushes look like one.
    constexpr std::array<std::string_view, 5> done = {
        "apns-topic", "apns-push-type", "apns-priority", "apns-expiration", "apns-id"};
    for (const auto& [name, value] : message.headers)
        if (name.starts_with("apns-") && std::find(done.begin(), done.end(), name) == done.end())
            headers.emplace_back(name, value);
    return std::shared_ptr<const Prepared>(std::move(prepared));
}

void Apns::encode(const Push& push, Encoded& out) const {
    out.path.assign("/3/device/");
    for (char c : push.handle) out.path += c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c;
    if (out.headers.size() != 1) {
        out.headers.resize(1);
        out.headers[0].first = "apns-id";
    }
    std::string& id = out.headers[0].second;
    id.clear();
    append_uuid(id, push.id);
    out.body.clear();
}

struct ErrorBody {
    std::string reason;
    std::optional<std::int64_t> timestamp_ms;
};

ErrorBody read_error(std::string_view text) {
    ErrorBody out;
    const auto body = nlohmann::json::parse(text, nullptr, false);
    if (!body.is_object()) return out;
    if (const auto reason = body.find("reason"); reason != body.end() && reason->is_string())
        out.reason = reason->get<std::string>();
    if (const auto at = body.find("timestamp"); at != body.end() && at->is_number_integer())
        if (const auto ms = at->get<std::int64_t>(); ms > 0) out.timestamp_ms = ms;
    return out;
}

Judgement follow(Rule rule, const ErrorBody& error, const Answer& answer, std::string reason) {
    Judgement out;
    switch (rule) {
        case Rule::drop:
            return refused(Outcome::invalid_notification_format, std::move(reason));
        case Rule::drop_size:
            return refused(Outcome::invalid_notification_size, std::move(reason));
        case Rule::drop_interface:
            return refused(Outcome::pns_interface_error, std::move(reason));
        case Rule::config:
            return misconfigured(Outcome::invalid_credentials, std::move(reason));
        case Rule::suspect_handle:
            return suspected(Outcome::bad_channel, std::move(reason));
        case Rule::suspect_app:
            return suspected(Outcome::wrong_token, std::move(reason));
        case Rule::prune_if_older:
            out = retired(Outcome::expired_channel, std::move(reason));
            // A time to come would prune registrations that are made only now.
            out.verdict.dead_since_ms =
                std::min(error.timestamp_ms.value_or(answer.now_ms), answer.now_ms);
            return out;
        case Rule::reauthorise:
            out = unauthorised(std::move(reason));
            out.reconnect = true;
            return out;
        case Rule::other_connection:
            out = misconfigured(Outcome::invalid_credentials, std::move(reason));
            out.step = Judgement::Step::resend_now;
            out.reconnect = true;
            return out;
        case Rule::reconnect_retry:
            out = retry(Outcome::pns_unavailable, std::move(reason));
            out.reconnect = true;
            return out;
        case Rule::throttle_credential:
            return throttled(std::move(reason), retry_after_ms(answer, token_updates_pause_ms));
        case Rule::throttle_handle:
            return retry(Outcome::channel_throttled, std::move(reason),
                         retry_after_ms(answer, minute_ms));
        case Rule::retry_error:
            return retry(Outcome::pns_server_error, std::move(reason), retry_after_ms(answer, 0));
        case Rule::retry_down:
            return retry(Outcome::pns_unavailable, std::move(reason), retry_after_ms(answer, 0));
        case Rule::shutdown:
            out = retry(Outcome::pns_unavailable, std::move(reason), retry_after_ms(answer, 0));
            out.step = Judgement::Step::resend_now;
            out.reconnect = true;
            return out;
    }
    return out;
}

Judgement Apns::judge(const Push& push, const Answer& answer) const {
    if (answer.status == 200) {
        const std::string_view unique = answer.header("apns-unique-id");
        return accepted(unique.empty() ? answer.header("apns-id") : unique);
    }
    const ErrorBody error = read_error(answer.body);
    std::string reason = clean_reason(error.reason, push.handle);
    if (reason.empty()) reason = "HTTP " + std::to_string(answer.status);
    for (const Row& row : rows)
        if (row.status == answer.status && row.reason == error.reason)
            return follow(row.rule, error, answer, std::move(reason));
    return unlisted(answer, std::move(reason));
}

/// The origin that an Endpoint property of either authentication mode names.
std::optional<Origin> apns_origin(std::string_view endpoint) {
    std::string text = lower(endpoint);
    if (text.empty()) return Origin{"api.push.apple.com", 443};
    if (text.find("://") == std::string::npos) text.insert(0, "https://");
    const auto url = parse_url(text);
    if (!url || !url->secure) return std::nullopt;
    const std::string& host = url->origin.host;
    Origin origin;
    if (host == "api.push.apple.com" || host == "gateway.push.apple.com")
        origin.host = "api.push.apple.com";
    else if (host == "api.sandbox.push.apple.com" || host == "api.development.push.apple.com" ||
             host == "gateway.sandbox.push.apple.com")
        origin.host = "api.sandbox.push.apple.com";
    else
        return std::nullopt;
    if (url->origin.port == 2197) origin.port = 2197;
    return origin;
}

bool is_apple_id(std::string_view text) {
    return text.size() == 10 && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
           });
}

std::optional<Refusal> open_token_mode(const Credential& credential, Apns::Setup& setup) {
    if (auto refusal = missing_property(credential, {"Token", "KeyId", "AppName", "AppId"}))
        return refusal;
    setup.key_id = property(credential, "KeyId");
    setup.team_id = property(credential, "AppId");
    setup.app = property(credential, "AppName");
    if (!is_apple_id(setup.key_id))
        return bad_credential(
            "KeyId must be the 10 letters and digits that Apple shows for the key.");
    if (!is_apple_id(setup.team_id))
        return bad_credential("AppId must be the team id: 10 letters and digits.");
    if (!is_printable(setup.app) || setup.app.size() > 255)
        return bad_credential("AppName must be the bundle id of the app.");
    setup.key = Key::read_private(property(credential, "Token"));
    if (!setup.key)
        return bad_credential("Token must hold the private key of the .p8 file (PKCS#8, base64).");
    if (!setup.key->is_p256()) return bad_credential("The key in Token must be on curve P-256.");
    return std::nullopt;
}

std::optional<Refusal> open_certificate_mode(const Credential& credential, Apns::Setup& setup) {
    const auto der = from_base64(property(credential, "ApnsCertificate"));
    if (!der || der->empty()) return bad_credential("ApnsCertificate must be PKCS#12 in base64.");
    auto certificate =
        read_certificate_file(*der, std::string(property(credential, "CertificateKey")));
    if (!certificate)
        return bad_credential(
            "ApnsCertificate is no PKCS#12 file with certificate and private key, "
            "or CertificateKey is not its password.");
    setup.certificate = std::move(*certificate);
    setup.app = property(credential, "AppName");
    if (setup.app.empty() && is_printable(setup.certificate.subject_uid))
        setup.app = setup.certificate.subject_uid;
    return std::nullopt;
}

}  // namespace

Checked<std::unique_ptr<Account>> open_apns(const Credential& credential) {
    Apns::Setup setup;
    const auto origin = apns_origin(property(credential, "Endpoint"));
    if (!origin)
        return bad_credential(
            "Endpoint must name api.push.apple.com or api.sandbox.push.apple.com "
            "(gateway.… and api.development.… are understood).");
    setup.origin = *origin;
    const bool with_certificate =
        property(credential, "Token").empty() && !property(credential, "ApnsCertificate").empty();
    auto refusal = with_certificate ? open_certificate_mode(credential, setup)
                                    : open_token_mode(credential, setup);
    if (refusal) return std::move(*refusal);
    return std::unique_ptr<Account>(std::make_unique<Apns>(std::move(setup)));
}

}  // namespace pns
