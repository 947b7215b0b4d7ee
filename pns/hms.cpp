// Huawei Push Kit, API v1 (Android) and v3 (HarmonyOS 5 and later): docs/contracts/pns.md 6.1.
// Tested by tests/pns_hms_test.cpp.
//
// The credential chooses: v3 takes the tokens of a service account only, v1 does not know them. The
// reply is HTTP 200 nearly always: a code in its body decides. Each request has one token, so
// that a partial success never has to be taken apart.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "pns/answers.hpp"
#include "pns/json_walk.hpp"
#include "pns/jwt.hpp"
#include "pns/providers.hpp"

namespace pns {

namespace {

using Json = nlohmann::json;

constexpr std::size_t body_bytes_max = 4096;
constexpr std::size_t token_bytes_max = 1024;
constexpr std::int64_t flow_pause_ms = 10'000;
constexpr std::string_view token_url = "https://oauth-login.cloud.huawei.com/oauth2/v3/token";
constexpr std::string_view push_url = "https://push-api.cloud.huawei.com";

enum class Rule {
    accept,
    prune,
    suspect,
    drop,
    drop_size,
    drop_interface,
    config,
    reauthorise,
    throttle_perhaps,
    throttle_push,
    retry,
    down,
};
struct Row {
    std::string_view code;
    Rule rule;
};
constexpr std::array<Row, 26> rows = {{
    {"80000000", Rule::accept},
    {"80100000", Rule::prune},  // the one token that was sent is the illegal one
    {"80100001", Rule::drop},
    {"80100002", Rule::drop},
    {"80100003", Rule::drop},
    {"80100004", Rule::drop},  // the time to live is over
    {"80100013", Rule::drop},
    {"80100016", Rule::drop},
    {"80100017", Rule::throttle_perhaps},  // of messages to topics, says the reference
    {"80100018", Rule::drop},
    {"80100022", Rule::drop},  // an image that Huawei has not approved
    {"80200001", Rule::reauthorise},
    {"80200003", Rule::reauthorise},
    {"80200005", Rule::reauthorise},
    {"80300002", Rule::config},
    // HarmonyOS tokens of API v3 answer this too although they live: never proof by itself.
    {"80300007", Rule::suspect},
    {"80300008", Rule::drop_size},
    {"80300010", Rule::drop_interface},
    {"80300011", Rule::drop},  // the body asks for a priority that the app may not have
    {"80300013", Rule::drop},
    {"80300029", Rule::throttle_push},  // of test messages alone
    {"80300030", Rule::drop_interface},
    {"80300036", Rule::config},  // a token signed for more than a day: our clock or theirs
    {"80300037", Rule::config},  // the app is penalised
    {"80600003", Rule::down},    // their own login service
    {"81000001", Rule::retry},
}};

constexpr std::int64_t service_token_life_s = 3600;

class Hms final : public Account {
  public:
    struct Service {
        std::string project, key_id, account;
        Key key;
    };
    struct Setup {
        Url token;
        Origin origin;
        std::string app_id, client_id, client_secret;
        std::optional<Service> service;  ///< API v3
    };
    explicit Hms(Setup setup)
        : setup_(std::move(setup)),
          path_(setup_.service ? "/v3/" + setup_.service->project + "/messages:send"
                               : "/v1/" + setup_.app_id + "/messages:send") {}

    const Platform& platform() const override { return *platform_by_name("hms"); }
    Protocol protocol() const override { return Protocol::h1; }

    TokenSource token_source() const override {
        if (setup_.service) return signed_by(*setup_.service);
        return login_with(setup_.token, form_of({{"grant_type", "client_credentials"},
                                                 {"client_id", setup_.client_id},
                                                 {"client_secret", setup_.client_secret}}));
    }

    std::string token_key() const override {
        if (setup_.service) {
            return "hms " + setup_.service->account + ' ' + setup_.service->key_id + ' ' +
                   setup_.service->key.fingerprint();
        }
        return login_key("hms", setup_.token, setup_.client_id, setup_.client_secret);
    }
    Origin origin(std::string_view) const override { return setup_.origin; }
    Checked<std::shared_ptr<const Prepared>> prepare(const Message& message) const override;
    void encode(const Push& push, Encoded& out) const override;
    Judgement judge(const Push& push, const Answer& answer) const override;

  private:
    static SelfSigned signed_by(const Service& service);

    Setup setup_;
    std::string path_;
};

SelfSigned Hms::signed_by(const Service& service) {
    SelfSigned source;
    source.life_s = service_token_life_s;
    source.renew_s_min = 60;
    source.mint = [service](std::int64_t now_s) -> Result<std::string> {
        std::string claims = R"({"aud":")" + std::string(token_url) + R"(","iss":")";
        append_json_escaped(claims, service.account);
        claims += R"(","iat":)" + std::to_string(now_s) + R"(,"exp":)" +
                  std::to_string(now_s + service_token_life_s) + '}';
        return sign_jwt(service.key, service.key_id, "JWT", claims, RsaPadding::pss);
    };
    return source;
}

/// "86400s", at most 15 days.
bool is_ttl(std::string_view text) {
    constexpr std::size_t digits_max = 7;
    if (text.size() < 2 || text.size() > digits_max + 1 || text.back() != 's') return false;
    text.remove_suffix(1);
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<Refusal> check_body(std::string_view body) {
    std::string fault;
    bool has_message = false, empty_message = true;
    const bool valid =
        walk_json(body, [&](const JsonPlace& place, JsonKind kind, std::string_view text) {
            if (!fault.empty()) return;
            if (place.depth == 0 && kind != JsonKind::object) {
                fault = R"(An HMS body must be a JSON object {"message":{…}}.)";
            } else if (place.is("message")) {
                if (kind != JsonKind::object) fault = "message must be an object.";
                if (has_message) fault = "message is given twice.";
                has_message = true;
            } else if (place.is("validate_only")) {
                if (kind != JsonKind::boolean) fault = "validate_only must be true or false.";
            } else if (place.depth == 1) {
                fault = "An HMS body may have only message and validate_only beside each other.";
            } else if (place.depth == 2 && place.keys[0] == "message") {
                empty_message = false;
                const std::string& name = place.keys[1];
                if (name == "token" || name == "topic" || name == "condition")
                    fault =
                        "message." + name + " must not be given: PushHub adds each device's token.";
                else if (name == "data" && kind != JsonKind::string)
                    fault = "message.data must be a string.";
                else if ((name == "notification" || name == "android") && kind != JsonKind::object)
                    fault = "message." + name + " must be an object.";
            } else if (place.below("message", "android") && place.keys[2] == "ttl" &&
                       (kind != JsonKind::string || !is_ttl(text))) {
                fault = R"(message.android.ttl must be seconds such as "86400s".)";
            }
        });
    if (fault.empty() && !valid) fault = "An HMS body must be valid JSON in UTF-8.";
    if (fault.empty() && (!has_message || empty_message))
        fault = R"(An HMS body must be {"message":{…}} with data, notification or android.)";
    if (!fault.empty()) return bad_format(std::move(fault));
    return std::nullopt;
}

std::optional<Refusal> check_service_body(std::string_view body) {
    std::string fault;
    bool has_payload = false, empty_payload = true;
    const bool valid =
        walk_json(body, [&](const JsonPlace& place, JsonKind kind, std::string_view) {
            if (!fault.empty()) return;
            if (place.depth == 0 && kind != JsonKind::object) {
                fault = R"(An HMS body must be a JSON object {"payload":{…}}.)";
            } else if (place.is("payload")) {
                if (kind != JsonKind::object) fault = "payload must be an object.";
                if (has_payload) fault = "payload is given twice.";
                has_payload = true;
            } else if (place.is("pushOptions")) {
                if (kind != JsonKind::object) fault = "pushOptions must be an object.";
            } else if (place.is("target")) {
                fault = "target must not be given: PushHub adds each device's token.";
            } else if (place.depth == 1) {
                fault = "An HMS body may have only payload and pushOptions beside each other.";
            } else if (place.depth == 2 && place.keys[0] == "payload") {
                empty_payload = false;
            }
        });
    if (fault.empty() && !valid) fault = "An HMS body must be valid JSON in UTF-8.";
    if (fault.empty() && (!has_payload || empty_payload))
        fault = R"(An HMS body must be {"payload":{…}}.)";
    if (!fault.empty()) return bad_format(std::move(fault));
    return std::nullopt;
}

/// 0 notification, 1 card, 2 voice, 6 background, 7 live view, 10 call; empty if it is none.
std::string_view push_type(const Message& message) {
    const std::string_view given = message_header(message, "push-type");
    if (given.empty()) return "0";
    for (const std::string_view known : {"0", "1", "2", "6", "7", "10"})
        if (given == known) return known;
    return {};
}

Checked<std::shared_ptr<const Prepared>> prepare_for_service(const Message& message) {
    if (auto refusal = check_service_body(message.body)) return std::move(*refusal);
    const auto type = push_type(message);
    if (type.empty()) return bad_format("push-type must be 0, 1, 2, 6, 7 or 10.");
    const std::size_t at = message.body.find('{') + 1;
    auto prepared = std::make_shared<Prepared>();
    prepared->body_head = message.body.substr(0, at) + R"("target":{"token":[")";
    prepared->body_tail = R"("]},)" + message.body.substr(at);
    prepared->headers.emplace_back("content-type", "application/json");
    prepared->headers.emplace_back("push-type", type);
    prepared->expires_at_ms = message.expires_at_ms;
    return std::shared_ptr<const Prepared>(std::move(prepared));
}

Checked<std::shared_ptr<const Prepared>> Hms::prepare(const Message& message) const {
    if (message.target != Message::Target::device)
        return bad_format("HMS pushes go to devices only.");
    if (message.body.empty()) return bad_format("An HMS body must not be empty.");
    if (message.body.size() > body_bytes_max)
        return bad_size("The HMS body", message.body.size(), body_bytes_max);
    if (setup_.service) return prepare_for_service(message);
    if (auto refusal = check_body(message.body)) return std::move(*refusal);
    const auto at = find_object_member(message.body, "message");
    if (!at) return bad_format("The name message must be written without escapes.");

    // The device's token becomes the first member; everything else goes on byte for byte.
    auto prepared = std::make_shared<Prepared>();
    prepared->body_head = message.body.substr(0, *at + 1) + R"("token":[")";
    prepared->body_tail = R"("],)" + message.body.substr(*at + 1);
    prepared->headers.emplace_back("content-type", "application/json; charset=utf-8");
    prepared->expires_at_ms = message.expires_at_ms;
    return std::shared_ptr<const Prepared>(std::move(prepared));
}

void Hms::encode(const Push& push, Encoded& out) const {
    out.path = path_;
    out.headers.clear();
    out.body = push.prepared->body_head;
    append_json_escaped(out.body, push.handle);
    out.body += push.prepared->body_tail;
}

struct Reply {
    std::string code, message, request_id;
};

std::string text_member(const Json& object, const char* name) {
    const auto member = object.find(name);
    return member != object.end() && member->is_string() ? member->get<std::string>()
                                                         : std::string();
}

Reply read_reply(std::string_view body) {
    Reply out;
    const Json object = Json::parse(body, nullptr, false);
    if (!object.is_object()) return out;
    const auto code = object.find("code");
    if (code != object.end() && code->is_number_integer()) out.code = code->dump();
    if (code != object.end() && code->is_string()) out.code = code->get<std::string>();
    out.message = text_member(object, "msg");
    out.request_id = text_member(object, "requestId");
    return out;
}

/// Huawei calls a token failed also for what the message asks: a kind of push that the app may not
/// send, pictures that were not approved for it.
bool blames_message(std::string_view message) {
    constexpr std::array<std::string_view, 5> words = {
        "noPushTypeRight", "differentImgVerifyPolicy", "notSupportPlayVoice",
        "noRightToSendThisLiveNotificationEvent", "atomicUnableSendUnsubscribedMsg"};
    return std::any_of(words.begin(), words.end(), [&](std::string_view word) {
        return message.find(word) != std::string_view::npos;
    });
}

/// As code 80300037 does.
bool blames_app(std::string_view message) {
    return message.find("disableSendHuaweiMsgBecauseOfPenalty") != std::string_view::npos;
}

/// `msg` of a partial success is JSON text itself, and lists the tokens that failed.
Judgement judge_partial(const Push& push, const Reply& reply, std::string reason) {
    const Json said = Json::parse(reply.message, nullptr, false);
    const Json tokens = said.is_object() ? said.value("illegal_tokens", Json()) : Json();
    if (!tokens.is_array() || tokens.empty())
        return suspected(Outcome::bad_channel, std::move(reason));
    if (std::find(tokens.begin(), tokens.end(), Json(std::string(push.handle))) != tokens.end())
        return retired(Outcome::expired_channel, std::move(reason));
    // Not about ours, and it says that some were taken: ours was the only one.
    const Json taken = said.value("success", Json());
    if (taken.is_number_integer() && taken > 0) return accepted(reply.request_id);
    return refused(Outcome::unknown_error, std::move(reason));
}

Judgement follow(Rule rule, const Push& push, const Reply& reply, const Answer& answer,
                 std::string reason) {
    switch (rule) {
        case Rule::accept:
            return accepted(reply.request_id);
        case Rule::prune:
            if (blames_app(reply.message))
                return misconfigured(Outcome::invalid_credentials, std::move(reason));
            if (blames_message(reply.message))
                return refused(Outcome::invalid_notification_format, std::move(reason));
            return judge_partial(push, reply, std::move(reason));
        case Rule::suspect:
            if (blames_app(reply.message))
                return misconfigured(Outcome::invalid_credentials, std::move(reason));
            if (blames_message(reply.message))
                return refused(Outcome::invalid_notification_format, std::move(reason));
            return suspected(Outcome::bad_channel, std::move(reason));
        case Rule::drop:
            return refused(Outcome::invalid_notification_format, std::move(reason));
        case Rule::drop_size:
            return refused(Outcome::invalid_notification_size, std::move(reason));
        case Rule::drop_interface:
            return refused(Outcome::pns_interface_error, std::move(reason));
        case Rule::config:
            return misconfigured(Outcome::invalid_credentials, std::move(reason));
        case Rule::reauthorise:
            return unauthorised(std::move(reason));
        case Rule::throttle_perhaps:
            return perhaps_throttled(std::move(reason), retry_after_ms(answer, flow_pause_ms));
        case Rule::throttle_push:
            return target_throttled(std::move(reason), retry_after_ms(answer, flow_pause_ms));
        case Rule::down:
            return unwell(Outcome::pns_unavailable, std::move(reason), retry_after_ms(answer, 0));
        case Rule::retry:
            break;
    }
    return retry(Outcome::pns_server_error, std::move(reason), retry_after_ms(answer, 0));
}

Judgement Hms::judge(const Push& push, const Answer& answer) const {
    const Reply reply = read_reply(answer.body);
    std::string reason = reply.code.empty() ? "HTTP " + std::to_string(answer.status) : reply.code;
    if (!reply.message.empty()) reason += ": " + reply.message;
    reason = clean_reason(reason, push.handle);
    for (const Row& row : rows)
        if (row.code == reply.code) return follow(row.rule, push, reply, answer, std::move(reason));
    switch (answer.status) {
        case 200: {
            // The code that would have decided is gone with the body, or never came.
            if (answer.body_cut || reply.code.empty()) return {NoAnswer{std::move(reason)}};
            return refused(Outcome::unknown_error, std::move(reason));
        }
        case 401:
            return unauthorised(std::move(reason));
        case 404:
            return misconfigured(Outcome::invalid_credentials, std::move(reason));
        case 503:
            return throttled(std::move(reason), retry_after_ms(answer, flow_pause_ms));
        default:
            return unlisted(answer, std::move(reason));
    }
}

std::optional<Url> huawei_url(std::string_view text) {
    auto url = parse_url(text);
    if (!url || !url->secure || url->origin.port != 443 ||
        !within_domain(url->origin.host, "cloud.huawei.com"))
        return std::nullopt;
    return url;
}

bool is_app_id(std::string_view text) {
    return !text.empty() && text.size() <= 64 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Checked<Hms::Service> read_service(const Credential& credential) {
    if (auto refusal =
            missing_property(credential, {"ProjectId", "KeyId", "SubAccount", "PrivateKey"}))
        return std::move(*refusal);
    const auto project = property(credential, "ProjectId");
    const auto key_id = property(credential, "KeyId");
    const auto account = property(credential, "SubAccount");
    if (!is_app_id(project))
        return bad_credential("ProjectId must be the number of the project in AppGallery Connect.");
    const auto is_name = [](std::string_view text) {
        return is_printable(text) && text.size() <= 256 &&
               text.find_first_of("\"\\") == std::string_view::npos;
    };
    if (!is_name(key_id) || !is_name(account))
        return bad_credential("KeyId and SubAccount must be those of the service account.");
    auto key = Key::read_private(property(credential, "PrivateKey"));
    if (!key || !key->is_rsa())
        return bad_credential("PrivateKey must be the RSA key of the service account, in PEM.");
    return Hms::Service{std::string(project), std::string(key_id), std::string(account),
                        std::move(*key)};
}

bool has_service(const Credential& credential) {
    for (const char* name : {"ProjectId", "KeyId", "SubAccount", "PrivateKey"})
        if (!property(credential, name).empty()) return true;
    return false;
}

}  // namespace

Checked<std::string> normalise_hms_handle(std::string_view handle) {
    if (handle.empty() || handle.size() > token_bytes_max || !is_printable(handle))
        return Refusal{Outcome::bad_channel, "An HMS token must have 1 to " +
                                                 std::to_string(token_bytes_max) +
                                                 " printable ASCII characters without spaces."};
    return std::string(handle);
}

Checked<std::unique_ptr<Account>> open_hms(const Credential& credential) {
    Hms::Setup setup;
    if (has_service(credential)) {
        auto service = read_service(credential);
        if (auto* refusal = std::get_if<Refusal>(&service)) return std::move(*refusal);
        setup.service = std::get<Hms::Service>(std::move(service));
    } else {
        if (auto refusal = missing_property(credential, {"AppId", "ClientSecret"}))
            return std::move(*refusal);
        setup.app_id = property(credential, "AppId");
        setup.client_id = property(credential, "ClientId");
        if (setup.client_id.empty()) setup.client_id = setup.app_id;
        setup.client_secret = property(credential, "ClientSecret");
        if (!is_app_id(setup.app_id))
            return bad_credential("AppId must be the number of the app in AppGallery Connect.");
        if (!is_printable(setup.client_id) || setup.client_id.size() > 512 ||
            !is_printable(setup.client_secret) || setup.client_secret.size() > 512)
            return bad_credential("ClientId and ClientSecret must be printable, without spaces.");
    }

    const auto given_token_url = property(credential, "AuthTokenUrl");
    const auto token = huawei_url(given_token_url.empty() ? token_url : given_token_url);
    if (!token) return bad_credential("AuthTokenUrl must be " + std::string(token_url) + ".");
    const auto given_push_url = property(credential, "HmsEndpoint");
    const auto push = huawei_url(given_push_url.empty() ? push_url : given_push_url);
    if (!push || push->target != "/")
        return bad_credential("HmsEndpoint must be " + std::string(push_url) +
                              " or a regional host under cloud.huawei.com.");
    setup.token = *token;
    setup.origin = push->origin;
    return std::unique_ptr<Account>(std::make_unique<Hms>(std::move(setup)));
}

}  // namespace pns
