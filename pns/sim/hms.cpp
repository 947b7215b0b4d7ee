// Huawei's side: docs/contracts/pns.md 6.1, 8.8. Tested by tests/pns_hms_test.cpp. API v3 for an
// app with a service account, else v1.
//
// Nearly every answer is HTTP 200, and the code in its body decides. check() and act() follow
// Huawei's tables; the token endpoint serves v1, and a JWT of the service account is verified for
// v3. Shared by all loops: what is kept (tokens, a count of messages) is safe from any thread.
#include "pns/sim/hms.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pns/handles.hpp"
#include "pns/jwt.hpp"
#include "pns/sim/platforms.hpp"

namespace pns::sim {

namespace {

using Json = nlohmann::json;

constexpr std::size_t body_bytes_max = 4096;
constexpr std::size_t tokens_max = 1000;
constexpr std::string_view audience = "https://oauth-login.cloud.huawei.com/oauth2/v3/token";
constexpr std::int64_t service_token_s_max = 86'400;

/// Nearly everything is HTTP 200: the code tells.
Reply reply_code(int status, std::string_view code, std::string_view message,
                 std::string_view request_id = "sim") {
    const Json body = {{"code", code}, {"msg", message}, {"requestId", request_id}};
    Reply reply = reply_of(status, std::string(code), body.dump());
    reply.headers.emplace_back("content-type", "application/json");
    return reply;
}

/// The token of a request with one is not one of this app's.
Reply illegal(std::size_t tokens, const std::string& handle) {
    const Json detail = {
        {"success", tokens - 1}, {"failure", 1}, {"illegal_tokens", Json::array({handle})}};
    return reply_code(200, "80100000", detail.dump());
}

bool is_ttl(const Json& value) {
    if (!value.is_string()) return false;
    const auto& text = value.get_ref<const std::string&>();
    return text.size() > 1 && text.find_first_not_of("0123456789") == text.size() - 1 &&
           text.back() == 's';
}

class Hms final : public Provider {
  public:
    Hms(const SimOptions& options, RuleBook& rules, Journal& journal)
        : Provider(options, rules, journal),
          desk_("hms-sim-"),
          key_(Key::read_public(options.trust.public_key_pem)),
          path_(key_ ? "/v3/" + options.trust.project + "/messages:send"
                     : "/v1/" + options.trust.app + "/messages:send") {}

    bool is_token_request(const Request& request) const override {
        // The elder one is what Huawei's first SDKs ask.
        return request.path == "/oauth2/v3/token" || request.path == "/oauth2/v2/token";
    }
    void revoke_tokens() override { desk_.revoke_all(); }

  protected:
    Reply mint(const Request& request, std::int64_t now_ms) override {
        auto form = read_form(request.body);
        if (request.method != "POST" || form["grant_type"] != "client_credentials")
            return token_refusal(400, "unsupported_grant_type", "client_credentials is needed");
        if (form["client_id"] != options_.trust.client_id ||
            form["client_secret"] != options_.trust.client_secret)
            return token_refusal(400, "invalid_client", "client_secret is wrong");
        return token_reply(desk_.issue(now_ms, options_.token_life_s),
                           std::to_string(options_.token_life_s), "Bearer");
    }

    std::optional<Reply> check(const Request& request, Visit& visit, std::int64_t now_ms,
                               Incoming& push) override {
        if (request.path != path_) return reply_code(404, "404", "Not Found");
        if (request.method != "POST") return reply_code(405, "405", "Method Not Allowed");
        const Json body = Json::parse(request.body, nullptr, false);
        if (key_) return check_v3(request, body, now_ms, push);
        const Json message = body.is_object() ? body.value("message", Json()) : Json();
        const Json tokens = message.is_object() ? message.value("token", Json()) : Json();
        if (tokens.is_array() && !tokens.empty() && tokens.front().is_string())
            push.handle = tokens.front().get<std::string>();
        switch (check_bearer(desk_, request, visit, now_ms)) {
            case TokenDesk::State::good:
                break;
            case TokenDesk::State::expired:
                return reply_code(200, "80200003", "The access token has expired");
            default:
                return reply_code(200, "80200001", "Authentication failed");
        }
        if (request.body.size() > body_bytes_max)
            return reply_code(200, "80300008", "The message body is too large");
        if (!message.is_object()) return reply_code(200, "80100003", "The structure is wrong");
        push.dry_run = body.value("validate_only", Json()) == true;
        return check_message(message, tokens);
    }

    Reply act(const Behaviour& behaviour, const Incoming& push, std::int64_t) override {
        switch (behaviour.act) {
            case Act::gone:
            case Act::bad_handle:
                return illegal(1, push.handle);
            case Act::wrong_app:
                return reply_code(200, "80300002", "No permission to send to this app");
            case Act::throttled:
            case Act::unavailable:
                return reply_code(503, "503", "Flow control");
            case Act::server_error:
                return reply_code(200, "81000001", "System inner error");
            case Act::answer:
                if (behaviour.status == 200 && behaviour.body.empty())
                    return reply_code(200, behaviour.reason, "");
                return rule_answer(behaviour, Json{{"code", behaviour.reason}}.dump());
            default:
                break;
        }
        Reply reply = reply_code(200, "80000000", "Success", "sim-" + std::to_string(++messages_));
        reply.word.clear();
        reply.accepted = true;
        return reply;
    }

  private:
    std::optional<Reply> check_v3(const Request& request, const Json& body, std::int64_t now_ms,
                                  Incoming& push) const {
        const Json target = body.is_object() ? body.value("target", Json()) : Json();
        const Json tokens = target.is_object() ? target.value("token", Json()) : Json();
        if (tokens.is_array() && !tokens.empty() && tokens.front().is_string())
            push.handle = tokens.front().get<std::string>();
        if (const auto fault = check_service_token(request, now_ms)) return fault;
        const auto type = request.header("push-type");
        if (type != "0" && type != "1" && type != "2" && type != "6" && type != "7" && type != "10")
            return reply_code(400, "80100001", "push-type is wrong");
        if (request.body.size() - std::min(request.body.size(), push.handle.size()) >
            body_bytes_max + 64)
            return reply_code(400, "80300008", "The message body is too large");
        const Json payload = body.is_object() ? body.value("payload", Json()) : Json();
        if (!payload.is_object() || payload.empty())
            return reply_code(400, "80100003", "Illegal payload");
        if (!tokens.is_array() || tokens.empty())
            return reply_code(400, "80100001", "target.token is needed");
        if (tokens.size() > tokens_max) return reply_code(400, "80300010", "Too many tokens");
        return std::nullopt;
    }

    std::optional<Reply> check_service_token(const Request& request, std::int64_t now_ms) const {
        const auto refused = [](std::string_view why) { return reply_code(401, "80200001", why); };
        const std::string_view authorization = request.header("authorization");
        if (!authorization.starts_with("Bearer ")) return refused("Authentication Error.");
        const auto jwt = split_jwt(authorization.substr(7));
        if (!jwt) return refused("no token");
        const Json header = Json::parse(jwt->header, nullptr, false);
        const Json claims = Json::parse(jwt->claims, nullptr, false);
        if (!header.is_object() || header.value("alg", Json()) != "PS256" ||
            header.value("kid", Json()) != options_.trust.key_id || !claims.is_object() ||
            claims.value("iss", Json()) != options_.trust.client_email ||
            claims.value("aud", Json()) != audience ||
            !key_->verify(jwt->signed_part, jwt->signature, RsaPadding::pss))
            return refused("the token is not this project's");
        const Json issued = claims.value("iat", Json()), ends = claims.value("exp", Json());
        if (!issued.is_number_integer() || !ends.is_number_integer()) return refused("no times");
        if (ends.get<std::int64_t>() - issued.get<std::int64_t>() > service_token_s_max)
            return reply_code(401, "80300036", "JWT expire period over threshold.");
        if (ends.get<std::int64_t>() * 1'000 <= now_ms)
            return reply_code(401, "80200005", "Jwt token expired.");
        return std::nullopt;
    }

    static std::optional<Reply> check_message(const Json& message, const Json& tokens) {
        const auto has = [&](const char* name) { return !message.value(name, Json()).is_null(); };
        const bool others = has("topic") || has("condition");
        if (tokens.is_null() && others) return std::nullopt;
        if (!tokens.is_array() || tokens.empty() || others)
            return reply_code(200, "80100001", "Exactly one kind of target is needed");
        if (tokens.size() > tokens_max) return reply_code(200, "80300010", "Too many tokens");
        for (const Json& token : tokens) {
            if (!token.is_string() || !is_printable(token.get_ref<const std::string&>()) ||
                token.get_ref<const std::string&>().empty())
                return illegal(tokens.size(), token.is_string() ? token.get<std::string>() : "");
        }
        if (const auto text = message.find("data"); text != message.end() && !text->is_string())
            return reply_code(200, "80100003", "data must be a string");
        const Json android = message.value("android", Json::object());
        if (!android.is_object()) return reply_code(200, "80100003", "android must be an object");
        const Json ttl = android.value("ttl", Json());
        if (!ttl.is_null() && !is_ttl(ttl))
            return reply_code(200, "80100004", "The time to live is wrong");
        const Json key = android.value("collapse_key", Json());
        if (!key.is_null() && (!key.is_number_integer() || key < -1 || key > 100))
            return reply_code(200, "80100013", "collapse_key must be -1 to 100");
        return std::nullopt;
    }

    TokenDesk desk_;
    std::optional<Key> key_;  // of the service account
    std::string path_;
    std::atomic<std::uint64_t> messages_{0};
};

}  // namespace

std::unique_ptr<Provider> make_hms(const SimOptions& options, RuleBook& rules, Journal& journal) {
    return std::make_unique<Hms>(options, rules, journal);
}

MadeCredential make_hms_service_credential() {
    const Key key = Key::generate_rsa();
    MadeCredential made;
    made.trust.public_key_pem = key.public_pem();
    made.trust.key_id = random_text(32, "0123456789abcdef");
    made.trust.client_email = random_text(18, "123456789");
    made.trust.project = random_text(18, "123456789");
    made.credential.platform = "hms";
    made.credential.properties["ProjectId"] = made.trust.project;
    made.credential.properties["KeyId"] = made.trust.key_id;
    made.credential.properties["SubAccount"] = made.trust.client_email;
    made.credential.properties["PrivateKey"] = key.private_pem();
    return made;
}

MadeCredential make_hms_credential() {
    MadeCredential made;
    made.trust.app = random_text(9, "123456789");
    made.trust.client_id = made.trust.app;
    made.trust.client_secret = random_text(64, "0123456789abcdef");
    made.credential.properties["AppId"] = made.trust.app;
    made.credential.properties["ClientSecret"] = made.trust.client_secret;
    return made;
}

}  // namespace pns::sim
