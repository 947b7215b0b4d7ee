// Amazon's side: docs/contracts/pns.md 4, 8.6. Tested by tests/pns_sim_test.cpp.
//
// check() goes through Amazon's rules in order, act() answers as the rule of the handle says, and
// the token endpoint is TokenDesk's. The object is shared by all loops of a simulator: what it
// keeps (tokens, a count of messages) is safe from any thread.
#include <openssl/evp.h>

#include <array>
#include <nlohmann/json.hpp>

#include "pns/handles.hpp"
#include "pns/jwt.hpp"
#include "pns/sim/provider.hpp"

namespace pns::sim {

namespace {

using Json = nlohmann::json;

constexpr std::size_t body_bytes_max = 6144;
constexpr std::size_t consolidation_key_max = 64;
constexpr std::int64_t expires_after_s_max = 2'678'400;
constexpr std::string_view head = "/messaging/registrations/";
constexpr std::string_view tail = "/messages";

Reply refusal(int status, const std::string& reason) {
    Reply reply = reply_of(status, reason, R"({"reason":")" + reason + "\"}");
    reply.headers.emplace_back("content-type", "application/json");
    return reply;
}

/// Base64 of MD5 over `key:value` pairs, sorted by key, joined by commas.
std::string checksum(const Json& data) {
    std::string text;
    for (const auto& [key, value] : data.items()) {
        if (!text.empty()) text += ',';
        text += key + ':' + value.get<std::string>();
    }
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_md5(), nullptr);
    return base64({reinterpret_cast<char*>(digest.data()), size});
}

class Adm final : public Provider {
  public:
    Adm(const SimOptions& options, RuleBook& rules, Journal& journal)
        : Provider(options, rules, journal), desk_("Atc|sim") {}

    bool is_token_request(const Request& request) const override {
        return request.path == "/auth/O2/token";
    }
    void revoke_tokens() override { desk_.revoke_all(); }

  protected:
    Reply mint(const Request& request, std::int64_t now_ms) override {
        auto form = read_form(request.body);
        if (request.method != "POST")
            return token_refusal(400, "invalid_request", "POST is needed");
        if (form["grant_type"] != "client_credentials")
            return token_refusal(400, "unsupported_grant_type", "client_credentials is needed");
        if (form["client_id"] != options_.trust.client_id ||
            form["client_secret"] != options_.trust.client_secret)
            return token_refusal(401, "invalid_client", "Client authentication failed");
        if (form["scope"] != "messaging:push")
            return token_refusal(400, "invalid_scope", "The requested scope is not valid");
        return token_reply(desk_.issue(now_ms, options_.token_life_s),
                           std::to_string(options_.token_life_s) + R"(,"scope":"messaging:push")",
                           "bearer");
    }

    std::optional<Reply> check(const Request& request, Visit& visit, std::int64_t now_ms,
                               Incoming& push) override {
        const std::string_view path = request.path;
        const bool shaped = path.size() > head.size() + tail.size() && path.starts_with(head) &&
                            path.ends_with(tail);
        if (shaped) {
            const auto id = path.substr(head.size(), path.size() - head.size() - tail.size());
            if (id.find('/') == std::string_view::npos) push.handle = percent_decoded(id);
        }
        if (push.handle.empty() || request.method != "POST") return refusal(404, "NotFound");
        if (check_bearer(desk_, request, visit, now_ms) != TokenDesk::State::good)
            return refusal(401, "AccessTokenExpired");
        if (!is_printable(push.handle)) return refusal(400, "InvalidRegistrationId");
        if (request.header("x-amzn-type-version") != "com.amazon.device.messaging.ADMMessage@1.0" ||
            request.header("x-amzn-accept-type") !=
                "com.amazon.device.messaging.ADMSendResult@1.0" ||
            !request.header("content-type").starts_with("application/json"))
            return refusal(400, "InvalidType");
        if (request.body.size() > body_bytes_max) return refusal(413, "MessageTooLarge");
        return check_body(Json::parse(request.body, nullptr, false));
    }

    Reply refuse_credential(const Incoming&) override { return refusal(401, "AccessTokenExpired"); }

    Reply act(const Behaviour& behaviour, const Incoming& push, std::int64_t) override {
        switch (behaviour.act) {
            case Act::gone:
                return refusal(400, "Unregistered");
            case Act::bad_handle:
            case Act::wrong_app:
                return refusal(400, "InvalidRegistrationId");
            case Act::throttled:
                return refusal(429, "MaxRateExceeded");
            case Act::server_error:
                return refusal(500, "InternalServerError");
            case Act::unavailable:
                return refusal(503, "ServiceUnavailable");
            case Act::answer:
                return rule_answer(behaviour, Json{{"reason", behaviour.reason}}.dump());
            default:
                break;
        }
        std::string id = push.handle;
        if (behaviour.act == Act::rotate)
            id = behaviour.to.empty() ? push.handle + ".next" : behaviour.to;
        Reply reply = reply_of(200, {}, Json{{"registrationID", id}}.dump());
        reply.headers.emplace_back("content-type", "application/json");
        reply.headers.emplace_back("x-amzn-requestid", "sim-" + std::to_string(++messages_));
        reply.accepted = true;
        return reply;
    }

  private:
    static std::optional<Reply> check_body(const Json& body) {
        if (!body.is_object()) return refusal(400, "InvalidData");
        const Json data = body.value("data", Json());
        if (!data.is_object() && !body.contains("notification")) return refusal(400, "InvalidData");
        if (data.is_object())
            for (const auto& [key, value] : data.items())
                if (!value.is_string()) return refusal(400, "InvalidData");
        if (const auto key = body.find("consolidationKey");
            key != body.end() &&
            (!key->is_string() || key->get<std::string>().size() > consolidation_key_max))
            return refusal(400, "InvalidConsolidationKey");
        if (const auto after = body.find("expiresAfter"); after != body.end()) {
            if (!after->is_number_integer() || after->get<std::int64_t>() < 1 ||
                after->get<std::int64_t>() > expires_after_s_max)
                return refusal(400, "InvalidExpiration");
        }
        if (const auto md5 = body.find("md5");
            md5 != body.end() && data.is_object() && *md5 != checksum(data))
            return refusal(400, "InvalidChecksum");
        return std::nullopt;
    }

    TokenDesk desk_;
    std::atomic<std::uint64_t> messages_{0};
};

}  // namespace

std::unique_ptr<Provider> make_adm(const SimOptions& options, RuleBook& rules, Journal& journal) {
    return std::make_unique<Adm>(options, rules, journal);
}

}  // namespace pns::sim
