// Firebase Cloud Messaging, HTTP v1: docs/contracts/pns.md 2. Tested by tests/pns_fcm_test.cpp.
//
// prepare() checks the body and cuts it where the target goes; encode() joins the pieces with the
// device's token, byte for byte otherwise, and adds a tag that lets a copy replace the first push.
// judge() reads the error code first, then Google's status, then HTTP's. Only an answer that names
// the token may lead to its retirement: a wrong project looks much like a dead token.
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

/// Of decoded names and values, for each platform.
constexpr std::size_t payload_bytes_max = 4096;
/// Of the JSON around them, where a character may be an escape of six: what an API request may
/// have.
constexpr std::size_t body_bytes_max = 64 * 1024;
constexpr std::size_t own_tag_bytes = 3 + 22;  // the name tag, and an identity
constexpr std::int64_t second_ms = 1000;
constexpr std::int64_t quota_pause_ms = 60 * second_ms;
constexpr std::int64_t error_pause_ms = 10 * second_ms;
constexpr std::int64_t assertion_life_s = 3600;
constexpr std::string_view token_url = "https://oauth2.googleapis.com/token";
/// Before a Firebase Installation ID, which FCM takes in place of a registration token.
constexpr std::string_view fid_prefix = "fid:";
constexpr std::string_view scope = "https://www.googleapis.com/auth/firebase.messaging";

bool is_reserved_key(std::string_view key) {
    return key == "from" || key == "message_type" || key.starts_with("google") ||
           key.starts_with("gcm");
}

struct FcmPrepared final : Prepared {
    std::string replace_tail;  ///< body_tail with a hole, by which a copy replaces its first one
    std::size_t hole_at = 0;
};

class Fcm final : public Account {
  public:
    struct Setup {
        Origin origin;
        Key key;
        std::string project, client_email;
    };
    explicit Fcm(Setup setup)
        : setup_(std::move(setup)), path_("/v1/projects/" + setup_.project + "/messages:send") {}

    const Platform& platform() const override { return *platform_by_name("fcmv1"); }
    Protocol protocol() const override { return Protocol::h2; }

    TokenSource token_source() const override {
        Fetched source;
        const auto url = parse_url(token_url);
        source.origin = url->origin;
        source.path = url->target;
        source.form = [key = setup_.key,
                       email = setup_.client_email](std::int64_t now_s) -> Result<std::string> {
            const Json claims = {{"iss", email},
                                 {"scope", scope},
                                 {"aud", token_url},
                                 {"iat", now_s},
                                 {"exp", now_s + assertion_life_s}};
            const auto assertion = sign_jwt(key, {}, "JWT", claims.dump());
            if (!assertion) return assertion.error();
            return form_of({{"grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
                            {"assertion", *assertion}});
        };
        return source;
    }

    std::string token_key() const override {
        return "fcmv1:" + setup_.project + ':' +
               sha256_hex(setup_.client_email + ' ' + setup_.key.fingerprint());
    }
    std::string rate_key() const override { return setup_.project; }
    Origin origin(std::string_view) const override { return setup_.origin; }
    Checked<std::shared_ptr<const Prepared>> prepare(const Message& message) const override;
    void encode(const Push& push, Encoded& out) const override;
    Judgement judge(const Push& push, const Answer& answer) const override;

  private:
    Setup setup_;
    std::string path_;
};

/// Decoded bytes of the names and values in a block.
struct Weight {
    std::size_t data = 0, notification = 0, payload = 0;
};
struct Weights {
    Weight common, android, webpush, apns;

    void add(const JsonPlace& place, std::string_view text) {
        if (place.depth < 3 || place.keys[0] != "message") return;
        Weight* block = place.keys[1] == "android"   ? &android
                        : place.keys[1] == "webpush" ? &webpush
                        : place.keys[1] == "apns"    ? &apns
                                                     : nullptr;
        if (block != nullptr && place.depth < 4) return;
        const std::string& part = place.keys[block != nullptr ? 2 : 1];
        if (block == nullptr) block = &common;
        const std::size_t bytes = place.name_bytes + text.size();
        if (part == "data") block->data += bytes;
        if (part == "notification") block->notification += bytes;
        if (part == "payload") block->payload += bytes;
    }
    /// What a device of one platform gets, at least: blocks of its own replace those that all
    /// share.
    std::size_t of(const Weight& own) const {
        if (own.payload > 0) return own.payload;
        return (own.data > 0 ? own.data : common.data) +
               (own.notification > 0 ? own.notification : common.notification);
    }
};

/// What keeps a body from being one that the hub can add a token to.
std::optional<Refusal> check_body(std::string_view body, Weights& weights) {
    std::string fault;
    bool has_message = false, empty_message = true;
    const bool valid =
        walk_json(body, [&](const JsonPlace& place, JsonKind kind, std::string_view text) {
            if (!fault.empty()) return;
            weights.add(place, text);
            if (place.depth == 0 && kind != JsonKind::object) {
                fault = R"(An FCM v1 body must be a JSON object {"message":{…}}.)";
            } else if (place.is("message")) {
                if (kind != JsonKind::object) fault = "message must be an object.";
                if (has_message) fault = "message is given twice.";
                has_message = true;
            } else if (place.depth == 1 && place.keys[0] != "validate_only") {
                fault = "An FCM v1 body may have only message and validate_only beside each other.";
            } else if (place.depth == 2 && place.keys[0] == "message") {
                empty_message = false;
                const std::string& name = place.keys[1];
                if (name == "token" || name == "fid" || name == "topic" || name == "condition")
                    fault = "message." + name + " must not be given: PushHub adds the target.";
                else if (name == "data" && kind != JsonKind::object && kind != JsonKind::null)
                    fault = "message.data must be an object of strings.";
            } else if (place.below("message", "data")) {
                if (kind != JsonKind::string)
                    fault = "All values of message.data must be strings.";
                else if (is_reserved_key(place.keys[2]))
                    fault =
                        "message.data has a reserved key: from, message_type, google… and gcm… are "
                        "Firebase's own.";
            }
        });
    if (fault.empty() && !valid) fault = "An FCM v1 body must be valid JSON in UTF-8.";
    if (fault.empty() && !has_message) fault = R"(An FCM v1 body must be {"message":{…}}.)";
    if (!fault.empty()) return bad_format(std::move(fault));
    const std::pair<const char*, std::size_t> platforms[] = {
        {"The FCM message for Android", weights.of(weights.android)},
        {"The FCM message for browsers", weights.of(weights.webpush)},
        {"The FCM message for Apple", weights.of(weights.apns)}};
    for (const auto& [what, bytes] : platforms)
        if (bytes > payload_bytes_max) return bad_size(what, bytes, payload_bytes_max);
    return std::nullopt;
}

/// Gives what Android displays a tag of its own, if the back end gave none. A data message stays as
/// it is: its app has to tell copies apart. `message_at` is where the message object begins.
void make_replaceable(std::string_view body, std::size_t message_at, FcmPrepared& prepared) {
    bool displayed = false, has_tag = false, plain = true;
    bool android = false, android_notification = false;
    walk_json(body, [&](const JsonPlace& place, JsonKind kind, std::string_view) {
        const bool is_object = kind == JsonKind::object;
        if (place.is("message", "notification")) displayed = displayed || is_object;
        if (place.is("message", "android")) {
            android = true;
            plain = plain && is_object;
        }
        if (place.below("message", "android") && place.keys[2] == "notification") {
            android_notification = true;
            displayed = displayed || is_object;
            plain = plain && is_object;
        }
        if (place.depth == 4 && place.keys[0] == "message" && place.keys[1] == "android" &&
            place.keys[2] == "notification" && place.keys[3] == "tag")
            has_tag = true;
    });
    if (!displayed || has_tag || !plain) return;
    std::size_t at = message_at;
    std::string before = R"("android":{"notification":{"tag":")", after = R"("}})";
    if (android) {
        const auto inner = find_object_member(body.substr(at), "android");
        if (!inner) return;
        at += *inner;
        before = R"("notification":{"tag":")";
        after = R"("})";
    }
    if (android_notification) {
        const auto inner = find_object_member(body.substr(at), "notification");
        if (!inner) return;
        at += *inner;
        before = R"("tag":")";
        after = "\"";
    }
    const std::string_view rest = body.substr(at + 1);
    if (rest[rest.find_first_not_of(" \t\r\n")] != '}') after += ',';
    const bool in_message = at == message_at;
    // The target stands before all of this, so in the message itself a comma comes first.
    std::string tail = "\",";
    if (!in_message) tail += body.substr(message_at + 1, at - message_at);
    tail += before;
    prepared.hole_at = tail.size();
    tail += after;
    tail += rest;
    prepared.replace_tail = std::move(tail);
}

Checked<std::shared_ptr<const Prepared>> Fcm::prepare(const Message& message) const {
    if (message.target == Message::Target::channel)
        return bad_format("FCM pushes go to devices, topics or conditions.");
    if (message.body.empty()) return bad_format("An FCM body must not be empty.");
    if (message.body.size() > body_bytes_max)
        return bad_size("The FCM body", message.body.size(), body_bytes_max);
    Weights weights;
    if (auto refusal = check_body(message.body, weights)) return std::move(*refusal);
    const auto at = find_object_member(message.body, "message");
    if (!at) return bad_format("The name message must be written without escapes.");

    // The target becomes the first member; everything else goes on byte for byte. That of a device
    // is named only when its handle is known: token or fid.
    const std::string_view rest = std::string_view(message.body).substr(*at + 1);
    const std::size_t first = rest.find_first_not_of(" \t\r\n");
    auto prepared = std::make_shared<FcmPrepared>();
    prepared->body_head = message.body.substr(0, *at + 1);
    if (message.target == Message::Target::topic) prepared->body_head += R"("topic":")";
    if (message.target == Message::Target::condition) prepared->body_head += R"("condition":")";
    prepared->body_tail = rest[first] == '}' ? "\"" : "\",";
    prepared->body_tail += rest;
    // The tag has to find room.
    const std::size_t android_bytes =
        std::max(weights.of(weights.android), weights.of(weights.common)) + own_tag_bytes;
    if (message.target == Message::Target::device && android_bytes <= payload_bytes_max)
        make_replaceable(message.body, *at, *prepared);
    prepared->headers.emplace_back("content-type", "application/json");
    prepared->expires_at_ms = message.expires_at_ms;
    return std::shared_ptr<const Prepared>(std::move(prepared));
}

void Fcm::encode(const Push& push, Encoded& out) const {
    out.path = path_;
    out.headers.clear();
    out.body = push.prepared->body_head;
    std::string_view target = push.handle;
    if (out.body.back() == '{') {
        const bool is_fid = target.starts_with(fid_prefix);
        if (is_fid) target.remove_prefix(fid_prefix.size());
        out.body += is_fid ? R"("fid":")" : R"("token":")";
    }
    append_json_escaped(out.body, target);
    const auto& prepared = static_cast<const FcmPrepared&>(*push.prepared);
    if (prepared.hole_at == 0 || !has_identity(push)) {
        out.body += prepared.body_tail;
        return;
    }
    // A copy that is sent again after a lost answer replaces the first one on the device.
    out.body.append(prepared.replace_tail, 0, prepared.hole_at);
    out.body += identity_of(push);
    out.body.append(prepared.replace_tail, prepared.hole_at);
}

struct ErrorBody {
    std::string status, message, error_code, error_info, apns_reason;
    std::string quota;          ///< all that is said about the limit that was met, in lower case
    bool quota_metric = false;  ///< ... by the name of its metric
    bool names_token = false;
};

std::string text_member(const Json& object, const char* name) {
    if (!object.is_object()) return {};
    const auto member = object.find(name);
    return member != object.end() && member->is_string() ? member->get<std::string>()
                                                         : std::string();
}

const Json& list_member(const Json& object, const char* name) {
    static const Json none = Json::array();
    if (!object.is_object()) return none;
    const auto member = object.find(name);
    return member != object.end() && member->is_array() ? *member : none;
}

bool text_names_token(std::string_view text) {
    const std::string plain = lower(text);
    return plain.find("not a valid fcm registration token") != std::string::npos ||
           plain.find("invalid registration token") != std::string::npos;
}

bool names_target(std::string_view field) {
    return field == "message.token" || field == "message.fid";
}

/// Metadata of an ErrorInfo, or a violation of a QuotaFailure.
void read_quota(const Json& said, ErrorBody& out) {
    for (const char* name :
         {"quota_metric", "quotaMetric", "quota_limit", "quotaId", "quota_unit", "description"})
        out.quota += lower(text_member(said, name)) + ' ';
    out.quota_metric = out.quota_metric || !text_member(said, "quota_metric").empty() ||
                       !text_member(said, "quotaMetric").empty();
}

ErrorBody read_error(std::string_view text) {
    ErrorBody out;
    const Json body = Json::parse(text, nullptr, false);
    if (!body.is_object() || !body.contains("error")) return out;
    const Json& error = body["error"];
    out.status = text_member(error, "status");
    out.message = text_member(error, "message");
    out.names_token = text_names_token(out.message);
    for (const Json& detail : list_member(error, "details")) {
        const std::string type = text_member(detail, "@type");
        if (type.ends_with("google.firebase.fcm.v1.FcmError"))
            out.error_code = text_member(detail, "errorCode");
        else if (type.ends_with("google.rpc.ErrorInfo")) {
            out.error_info = text_member(detail, "reason");
            if (detail.contains("metadata")) read_quota(detail["metadata"], out);
        } else if (type.ends_with("google.rpc.QuotaFailure"))
            for (const Json& violation : list_member(detail, "violations"))
                read_quota(violation, out);
        else if (type.ends_with("google.firebase.fcm.v1.ApnsError"))
            out.apns_reason = text_member(detail, "reason");
        else if (type.ends_with("google.rpc.BadRequest"))
            for (const Json& violation : list_member(detail, "fieldViolations"))
                out.names_token =
                    out.names_token || (names_target(text_member(violation, "field")) &&
                                        text_names_token(text_member(violation, "description")));
    }
    return out;
}

Judgement judge_invalid(const ErrorBody& error, std::string reason) {
    if (error.names_token) return suspected(Outcome::bad_channel, std::move(reason));
    const std::string plain = lower(error.message);
    const bool too_big =
        plain.find("too big") != std::string::npos || plain.find("too large") != std::string::npos;
    return refused(
        too_big ? Outcome::invalid_notification_size : Outcome::invalid_notification_format,
        std::move(reason));
}

/// The code is the same for the project, a topic and a device (docs/contracts/pns.md 2.5). The
/// details tell them apart, where there are any.
Judgement over_quota(const ErrorBody& error, const Answer& answer, std::string reason) {
    const std::int64_t after_ms = retry_after_ms(answer, quota_pause_ms);
    const std::string said = error.quota + lower(error.message);
    const auto says = [&](std::string_view word) { return said.find(word) != std::string::npos; };
    if (says("device") || says("topic")) return target_throttled(std::move(reason), after_ms);
    if (error.quota_metric || says("project")) return throttled(std::move(reason), after_ms);
    return perhaps_throttled(std::move(reason), after_ms);
}

Judgement judge_error_code(const ErrorBody& error, const Answer& answer, std::string reason) {
    const std::string& code = error.error_code;
    if (code == "UNREGISTERED") return retired(Outcome::expired_channel, std::move(reason));
    if (code == "INVALID_ARGUMENT") return judge_invalid(error, std::move(reason));
    if (code == "SENDER_ID_MISMATCH") return suspected(Outcome::wrong_token, std::move(reason));
    if (code == "QUOTA_EXCEEDED") return over_quota(error, answer, std::move(reason));
    if (code == "INTERNAL")
        return retry(Outcome::pns_server_error, std::move(reason),
                     retry_after_ms(answer, error_pause_ms));
    if (code == "UNAVAILABLE")
        return unwell(Outcome::pns_unavailable, std::move(reason), retry_after_ms(answer, 0));
    // The project's APNs or web push key is at fault: its Android devices still work, so the
    // credential goes on.
    if (code == "THIRD_PARTY_AUTH_ERROR" || code == "APNS_AUTH_ERROR")
        return refused(Outcome::invalid_credentials, std::move(reason));
    if (answer.status >= 500) return unlisted(answer, std::move(reason));
    return refused(Outcome::unknown_error, std::move(reason));
}

/// The class of an answer without an FcmError: its canonical status, or what its HTTP status stands
/// for.
std::string_view class_of(const ErrorBody& error, int http) {
    constexpr std::array<std::string_view, 7> known = {
        "INVALID_ARGUMENT",   "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND",
        "RESOURCE_EXHAUSTED", "INTERNAL",        "UNAVAILABLE"};
    const auto found = std::find(known.begin(), known.end(), error.status);
    if (found != known.end()) return *found;
    switch (http) {
        case 400:
            return "INVALID_ARGUMENT";
        case 401:
            return "UNAUTHENTICATED";
        case 403:
            return "PERMISSION_DENIED";
        case 404:
            return "NOT_FOUND";
        case 429:
            return "RESOURCE_EXHAUSTED";
        case 500:
            return "INTERNAL";
        case 502:
            return "BAD_GATEWAY";
        case 503:
            return "UNAVAILABLE";
        default:
            return {};
    }
}

Judgement judge_class(const ErrorBody& error, const Answer& answer, std::string reason) {
    const std::string_view status = class_of(error, answer.status);
    if (status == "INVALID_ARGUMENT") return judge_invalid(error, std::move(reason));
    if (status == "UNAUTHENTICATED") return unauthorised(std::move(reason));
    if (status == "PERMISSION_DENIED")
        return misconfigured(Outcome::invalid_credentials, std::move(reason));
    if (status == "NOT_FOUND") {
        // Wrong project or URL, never proof against a token. A cut body may have hidden an
        // FcmError: judge this push only.
        if (answer.body_cut) return refused(Outcome::unknown_error, std::move(reason));
        return misconfigured(Outcome::invalid_credentials, std::move(reason));
    }
    if (status == "RESOURCE_EXHAUSTED") return over_quota(error, answer, std::move(reason));
    if (status == "INTERNAL")
        return retry(Outcome::pns_server_error, std::move(reason),
                     retry_after_ms(answer, error_pause_ms));
    if (status == "UNAVAILABLE")
        return unwell(Outcome::pns_unavailable, std::move(reason), retry_after_ms(answer, 0));
    if (status == "BAD_GATEWAY")
        return unwell(Outcome::pns_unavailable, std::move(reason), retry_after_ms(answer, 0));
    return unlisted(answer, std::move(reason));
}

std::string_view message_id(std::string_view name) {
    const std::size_t slash = name.rfind('/');
    return slash == std::string_view::npos ? name : name.substr(slash + 1);
}

Judgement Fcm::judge(const Push& push, const Answer& answer) const {
    if (answer.status == 200) {
        const Json body = Json::parse(answer.body, nullptr, false);
        return accepted(message_id(text_member(body, "name")));
    }
    const ErrorBody error = read_error(answer.body);
    std::string reason = !error.error_code.empty()   ? error.error_code
                         : !error.error_info.empty() ? error.error_info
                         : !error.status.empty()     ? error.status
                                                     : "HTTP " + std::to_string(answer.status);
    if (!error.apns_reason.empty()) reason += " (APNs: " + error.apns_reason + ")";
    if (!error.message.empty()) reason += ": " + error.message;
    reason = clean_reason(reason, push.handle);
    return error.error_code.empty() ? judge_class(error, answer, std::move(reason))
                                    : judge_error_code(error, answer, std::move(reason));
}

bool is_project_id(std::string_view text) {
    return !text.empty() && text.size() <= 100 && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '.' || c == ':' || c == '_';
    });
}

}  // namespace

Checked<std::unique_ptr<Account>> open_fcm(const Credential& credential) {
    if (auto refusal = missing_property(credential, {"PrivateKey", "ProjectId", "ClientEmail"}))
        return std::move(*refusal);
    std::string_view endpoint = property(credential, "FcmV1Endpoint");
    if (endpoint.empty()) endpoint = "https://fcm.googleapis.com";
    const auto url = parse_url(endpoint);
    if (!url || !url->secure || url->origin.port != 443 ||
        (url->origin.host != "fcm.googleapis.com" && url->origin.host != "fcm.mtls.googleapis.com"))
        return bad_credential("FcmV1Endpoint must be https://fcm.googleapis.com, or left out.");
    const auto project = property(credential, "ProjectId");
    if (!is_project_id(project))
        return bad_credential("ProjectId must be the id or number of the Firebase project.");
    const auto email = property(credential, "ClientEmail");
    if (!is_printable(email) || email.size() > 320 || email.find('@') == std::string_view::npos)
        return bad_credential("ClientEmail must be the service account's e-mail address.");
    auto key = Key::read_private(property(credential, "PrivateKey"));
    if (!key)
        return bad_credential("PrivateKey must be the service account's private key in PEM form.");
    if (!key->is_rsa())
        return bad_credential("PrivateKey must be an RSA key of 2048 to " +
                              std::to_string(rsa_bits_max) + " bits.");
    Fcm::Setup setup{url->origin, std::move(*key), std::string(project), std::string(email)};
    return std::unique_ptr<Account>(std::make_unique<Fcm>(std::move(setup)));
}

}  // namespace pns
