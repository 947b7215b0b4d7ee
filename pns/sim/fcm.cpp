// Google's side: docs/contracts/pns.md 2, 8.4. Tested by tests/pns_sim_test.cpp.
//
// check() goes through Google's rules for headers, body and target, the quota included; act()
// answers in Google's shapes, HTML pages among them. The token endpoint verifies the assertion
// with the account's public key. Shared by all loops; the quota and the rates of devices are
// meters with locks of their own.
#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

#include "pns/jwt.hpp"
#include "pns/sim/meter.hpp"
#include "pns/sim/provider.hpp"

namespace pns::sim {

namespace {

using Json = nlohmann::json;

constexpr std::size_t payload_bytes_max = 4096;
constexpr std::int64_t clock_slack_s = 300;
constexpr double ttl_s_max = 2'419'200;
constexpr std::string_view token_url = "https://oauth2.googleapis.com/token";
constexpr std::string_view type_prefix = "type.googleapis.com/";

Json fcm_error(std::string_view code) {
    return {{"@type", std::string(type_prefix) + "google.firebase.fcm.v1.FcmError"},
            {"errorCode", code}};
}

Json error_info(std::string_view reason) {
    return {{"@type", std::string(type_prefix) + "google.rpc.ErrorInfo"},
            {"reason", reason},
            {"domain", "googleapis.com"},
            {"metadata",
             {{"service", "fcm.googleapis.com"},
              {"method", "google.firebase.fcm.v1.FcmService.SendMessage"}}}};
}

Json bad_field(std::string_view field, std::string_view description) {
    return {{"@type", std::string(type_prefix) + "google.rpc.BadRequest"},
            {"fieldViolations", Json::array({{{"field", field}, {"description", description}}})}};
}

Reply refusal(int http, std::string_view status, std::string_view word, std::string_view message,
              Json details = Json::array()) {
    Json error = {{"code", http}, {"message", message}, {"status", status}};
    if (!details.empty()) error["details"] = std::move(details);
    Reply reply = reply_of(http, std::string(word), Json{{"error", std::move(error)}}.dump());
    reply.headers.emplace_back("content-type", "application/json; charset=UTF-8");
    return reply;
}

constexpr std::array<const char*, 3> overrides = {"android", "webpush", "apns"};

/// Decoded names and values.
std::size_t decoded_bytes(const Json& value) {
    if (value.is_string()) return value.get_ref<const std::string&>().size();
    if (!value.is_structured()) return value.is_null() ? 0 : value.dump().size();
    std::size_t bytes = 0;
    for (const auto& [name, item] : value.items())
        bytes += (value.is_object() ? name.size() : 0) + decoded_bytes(item);
    return bytes;
}

/// What a device of one platform gets: its override in place of what all share.
std::size_t bytes_for(const Json& message, const char* platform) {
    const Json own = message.value(platform, Json::object());
    if (!own.is_object()) return 0;
    if (own.contains("payload")) return decoded_bytes(own["payload"]);
    std::size_t bytes = 0;
    for (const char* part : {"data", "notification"})
        bytes += decoded_bytes((own.contains(part) ? own : message).value(part, Json()));
    return bytes;
}

Reply invalid(std::string_view message) {
    return refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", message,
                   Json::array({fcm_error("INVALID_ARGUMENT")}));
}

Reply invalid_token() {
    return refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT token",
                   "The registration token is not a valid FCM registration token",
                   Json::array({fcm_error("INVALID_ARGUMENT"),
                                bad_field("message.token", "Invalid registration token")}));
}

Reply html(int status, std::string_view title) {
    Reply reply = reply_of(
        status, "HTML", "<!DOCTYPE html><html lang=en><title>" + std::string(title) + "</title>");
    reply.headers.emplace_back("content-type", "text/html; charset=UTF-8");
    return reply;
}

bool is_reserved(std::string_view key) {
    return key == "from" || key == "message_type" || key.starts_with("google") ||
           key.starts_with("gcm");
}

bool is_ttl(const Json& value) {
    if (!value.is_string()) return false;
    const auto text = value.get<std::string>();
    if (text.size() < 2 || text.back() != 's' || text.front() == '-') return false;
    double seconds = 0;
    const char* end = text.data() + text.size() - 1;
    const auto [at, error] = std::from_chars(text.data(), end, seconds);
    return error == std::errc() && at == end && seconds >= 0 && seconds <= ttl_s_max;
}

/// One of a list of scopes is enough: Firebase's own SDK asks for several.
bool may_send(const Json& scopes) {
    if (!scopes.is_string()) return false;
    std::string_view left = scopes.get_ref<const std::string&>();
    while (!left.empty()) {
        const std::string_view scope = left.substr(0, left.find(' '));
        left.remove_prefix(std::min(scope.size() + 1, left.size()));
        if (scope == "https://www.googleapis.com/auth/firebase.messaging" ||
            scope == "https://www.googleapis.com/auth/cloud-platform")
            return true;
    }
    return false;
}

class Fcm final : public Provider {
  public:
    Fcm(const SimOptions& options, RuleBook& rules, Journal& journal)
        : Provider(options, rules, journal),
          desk_("ya29.sim."),
          key_(Key::read_public(options.trust.public_key_pem)),
          path_("/v1/projects/" + options.trust.project + "/messages:send") {}

    bool is_token_request(const Request& request) const override {
        return request.path == "/token";
    }
    void revoke_tokens() override { desk_.revoke_all(); }
    Habits habits() const override {
        Habits habits;
        habits.streams_max = 100;
        habits.pings_in_row_max = 2;
        habits.idle_ms = 4 * 60'000;
        habits.age_ms = 60 * 60'000;
        habits.takes_any_scheme = true;
        habits.over_limit_text = "exceeded_max_concurrent_streams";
        return habits;
    }

  protected:
    Reply mint(const Request& request, std::int64_t now_ms) override {
        if (request.method != "POST")
            return token_refusal(405, "invalid_request", "POST is needed");
        const auto form = read_form(request.body);
        const auto grant = form.find("grant_type");
        const auto assertion = form.find("assertion");
        if (grant == form.end() || assertion == form.end() ||
            grant->second != "urn:ietf:params:oauth:grant-type:jwt-bearer")
            return token_refusal(400, "unsupported_grant_type", "Invalid grant_type: ");
        const auto jwt = split_jwt(assertion->second);
        if (!jwt) return token_refusal(400, "invalid_grant", "Invalid JWT");
        const Json header = Json::parse(jwt->header, nullptr, false);
        const Json claims = Json::parse(jwt->claims, nullptr, false);
        if (!header.is_object() || !claims.is_object() || header.value("alg", Json()) != "RS256" ||
            !key_ || !key_->verify(jwt->signed_part, jwt->signature))
            return token_refusal(400, "invalid_grant", "Invalid JWT Signature.");
        return mint_for(claims, now_ms);
    }

    std::optional<Reply> check(const Request& request, Visit& visit, std::int64_t now_ms,
                               Incoming& push) override {
        // Google's generated clients end the address with a question mark.
        const std::string_view path = request.path;
        const bool here = path.substr(0, path.size() - (path.ends_with('?') ? 1 : 0)) == path_;
        if (request.method != "POST" || !here) {
            // Another project of Google's: the JSON form; anything else: the front end's page.
            if (request.method == "POST" && request.path.starts_with("/v1/projects/"))
                return refusal(404, "NOT_FOUND", "NOT_FOUND", "Requested entity was not found.");
            return html(404, "Error 404 (Not Found)!!1");
        }
        const Json body = Json::parse(request.body, nullptr, false);
        const Json* message = nullptr;
        if (body.is_object() && body.contains("message")) message = &body["message"];
        if (message && message->is_object() && message->contains("token") &&
            (*message)["token"].is_string())
            push.handle = (*message)["token"].get<std::string>();

        const auto state = check_bearer(desk_, request, visit, now_ms);
        if (state != TokenDesk::State::good) {
            const bool missing = request.header("authorization").empty();
            const char* reason = missing ? "CREDENTIALS_MISSING" : "ACCESS_TOKEN_EXPIRED";
            return refusal(401, "UNAUTHENTICATED", reason,
                           "Request had invalid authentication credentials.",
                           Json::array({error_info(reason)}));
        }
        if (!request.header("content-type").starts_with("application/json"))
            return invalid("Content-Type must be application/json.");
        if (!message || !message->is_object()) return invalid("Invalid JSON payload received.");
        if (message->contains("fid") && (*message)["fid"].is_string())
            push.handle = (*message)["fid"].get<std::string>();
        auto bad = check_message(*message, push);
        // What is refused for its content counts as usage too, what is refused by quota does not.
        if (!quota_.take({}, now_ms))
            return over_quota(project_quota(), quota_.wait_ms({}, now_ms));
        if (!bad && !push.handle.empty()) {
            if (!per_minute_.take(push.handle, now_ms))
                return over_quota(device_quota(), per_minute_.wait_ms(push.handle, now_ms));
            if (!per_hour_.take(push.handle, now_ms))
                return over_quota(device_quota(), per_hour_.wait_ms(push.handle, now_ms));
        }
        push.dry_run = !bad && body.value("validate_only", Json()) == true;
        return bad;
    }

    Reply refuse_credential(const Incoming&) override {
        return refusal(401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED",
                       "Request had invalid authentication credentials.",
                       Json::array({error_info("ACCESS_TOKEN_EXPIRED")}));
    }

    Reply act(const Behaviour& behaviour, const Incoming& push, std::int64_t) override {
        switch (behaviour.act) {
            case Act::gone:
                return refusal(404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found.",
                               Json::array({fcm_error("UNREGISTERED")}));
            case Act::bad_handle:
                return invalid_token();
            case Act::wrong_app:
                return refusal(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch",
                               Json::array({fcm_error("SENDER_ID_MISMATCH")}));
            case Act::throttled:
                return refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota exceeded.",
                               Json::array({fcm_error("QUOTA_EXCEEDED")}));
            case Act::server_error:
                return refusal(500, "INTERNAL", "INTERNAL", "Internal error encountered.",
                               Json::array({fcm_error("INTERNAL")}));
            case Act::unavailable:
                return refusal(503, "UNAVAILABLE", "UNAVAILABLE",
                               "The service is currently unavailable.",
                               Json::array({fcm_error("UNAVAILABLE")}));
            case Act::answer: {
                Json details = Json::array();
                if (!behaviour.reason.empty()) details.push_back(fcm_error(behaviour.reason));
                const Reply made =
                    refusal(behaviour.status, behaviour.reason, behaviour.reason, "", details);
                return rule_answer(behaviour, made.body);
            }
            default:
                break;
        }
        Reply reply = reply_of(
            200, {},
            R"({"name":"projects/)" + options_.trust.project + "/messages/" +
                (push.dry_run ? std::string("fake_message_id")
                              : std::to_string(++messages_) + "%" + options_.trust.project) +
                "\"}");
        reply.headers.emplace_back("content-type", "application/json; charset=UTF-8");
        reply.accepted = true;
        return reply;
    }

  private:
    Reply mint_for(const Json& claims, std::int64_t now_ms) {
        const Trust& trust = options_.trust;
        if (claims.value("iss", Json()) != trust.client_email)
            return token_refusal(400, "invalid_grant", "Invalid grant: account not found");
        if (claims.value("aud", Json()) != token_url)
            return token_refusal(400, "invalid_grant", "Invalid JWT: Failed audience check.");
        if (!may_send(claims.value("scope", Json())))
            return token_refusal(400, "invalid_scope",
                                 "Invalid OAuth scope or ID token audience provided.");
        const Json iat = claims.value("iat", Json()), exp = claims.value("exp", Json());
        const std::int64_t now_s = now_ms / 1000;
        if (!iat.is_number_integer() || !exp.is_number_integer() ||
            exp.get<std::int64_t>() - iat.get<std::int64_t>() > 3600 ||
            iat.get<std::int64_t>() > now_s + clock_slack_s || exp.get<std::int64_t>() <= now_s)
            return token_refusal(400, "invalid_grant",
                                 "Invalid JWT: Token must be a short-lived token (60 minutes) and "
                                 "in a reasonable timeframe.");
        return token_reply(desk_.issue(now_ms, options_.token_life_s),
                           std::to_string(std::max<std::int64_t>(options_.token_life_s - 1, 1)),
                           "Bearer");
    }

    std::optional<Reply> check_message(const Json& message, const Incoming& push) const {
        int targets = 0;
        for (const char* name : {"token", "fid", "topic", "condition"})
            targets += message.contains(name) ? 1 : 0;
        if (targets == 0) return invalid("Recipient of the message is not set.");
        if (targets > 1) return invalid("Exactly one target must be set.");
        if (message.contains("token") && push.handle.empty()) return invalid_token();
        if (const auto data = message.find("data"); data != message.end() && !data->is_null()) {
            if (!data->is_object()) return invalid("Invalid value at 'message.data'");
            for (const auto& [key, value] : data->items()) {
                if (!value.is_string())
                    return invalid("Invalid value at 'message.data[0].value' (TYPE_STRING)");
                if (is_reserved(key)) return invalid("Invalid data payload key: " + key);
            }
        }
        if (const auto android = message.find("android");
            android != message.end() && android->is_object() && android->contains("ttl") &&
            !is_ttl((*android)["ttl"]))
            return invalid("Invalid ttl");
        if (std::any_of(overrides.begin(), overrides.end(), [&](const char* name) {
                return bytes_for(message, name) > payload_bytes_max;
            }))
            return refusal(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT size",
                           "Android message is too big");
        return std::nullopt;
    }

    /// As Google answers: no FcmError, the metric in an ErrorInfo.
    static Reply project_quota() {
        Json info = error_info("RATE_LIMIT_EXCEEDED");
        info["metadata"]["quota_metric"] = "fcm.googleapis.com/send_requests";
        info["metadata"]["quota_limit"] = "SendsPerMinutePerProject";
        info["metadata"]["quota_unit"] = "1/min/{project}";
        return refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED",
                       "Quota exceeded for quota metric 'Send requests' and limit 'Send requests "
                       "per minute' of service 'fcm.googleapis.com'.",
                       Json::array({std::move(info)}));
    }
    static Reply device_quota() {
        return refusal(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Device message rate exceeded.",
                       Json::array({fcm_error("QUOTA_EXCEEDED")}));
    }
    static Reply over_quota(Reply reply, std::int64_t wait_ms) {
        reply.headers.emplace_back(
            "retry-after", std::to_string(std::max<std::int64_t>((wait_ms + 999) / 1000, 1)));
        return reply;
    }

    TokenDesk desk_;
    std::optional<Key> key_;
    std::string path_;
    Meter quota_{options_.quota_minute_max, 60'000};
    Meter per_minute_{options_.handle_minute_max, 60'000};
    Meter per_hour_{options_.handle_hour_max, 3'600'000};
    std::atomic<std::uint64_t> messages_{0};
};

}  // namespace

std::unique_ptr<Provider> make_fcm(const SimOptions& options, RuleBook& rules, Journal& journal) {
    return std::make_unique<Fcm>(options, rules, journal);
}

}  // namespace pns::sim
