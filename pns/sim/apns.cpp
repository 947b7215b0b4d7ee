// Apple's side: contracts/pns.md 1.3 to 1.6, 8.3. Tested by tests/pns_sim_test.cpp.
#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>

#include "pns/handles.hpp"
#include "pns/jwt.hpp"
#include "pns/sim/provider.hpp"

namespace pns::sim {

namespace {

using Json = nlohmann::json;

constexpr std::string_view device_path = "/3/device/";
constexpr std::int64_t token_life_ms = 60 * 60'000;
constexpr std::int64_t token_ahead_ms = 60'000;  ///< how far a clock may be ahead
constexpr std::int64_t token_update_ms = 20 * 60'000;

struct PushType {
    std::string_view name, topic_suffix;
};
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

bool is_uuid(std::string_view text) {
    if (text.size() != 36) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        const char c = text[i];
        const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (dash ? c != '-' : !hex) return false;
    }
    return true;
}

std::string make_uuid() {
    static thread_local std::mt19937_64 random{std::random_device{}()};
    std::array<char, 40> text{};
    const auto a = random(), b = random();
    const int size =
        std::snprintf(text.data(), text.size(), "%08x-%04x-4%03x-8%03x-%012llx",
                      static_cast<unsigned>(a >> 32), static_cast<unsigned>(a >> 16 & 0xffff),
                      static_cast<unsigned>(a & 0xfff), static_cast<unsigned>(b >> 48 & 0xfff),
                      static_cast<unsigned long long>(b & 0xffffffffffffU));
    return {text.data(), static_cast<std::size_t>(size)};
}

Reply refusal(int status, const char* reason) {
    return reply_of(status, reason, R"({"reason":")" + std::string(reason) + "\"}");
}

class Apns final : public Provider {
  public:
    Apns(const SimOptions& options, RuleBook& rules, Journal& journal)
        : Provider(options, rules, journal) {
        if (!options.trust.public_key_pem.empty())
            key_ = Key::read_public(options.trust.public_key_pem);
    }

    bool is_token_request(const Request&) const override { return false; }

  protected:
    Reply mint(const Request&, std::int64_t) override { return refusal(404, "BadPath"); }

    std::optional<Reply> check(const Request& request, Visit& visit, std::int64_t now_ms,
                               Incoming& push) override {
        auto out = check_all(request, visit, now_ms, push);
        if (out) out->headers.emplace_back("apns-id", push.id);
        return out;
    }

    Reply act(const Behaviour& behaviour, const Incoming& push, std::int64_t now_ms) override {
        Reply reply = acted(behaviour, now_ms);
        reply.headers.emplace_back("apns-id", push.id);
        return reply;
    }

  private:
    Reply acted(const Behaviour& behaviour, std::int64_t now_ms) const {
        switch (behaviour.act) {
            case Act::gone: {
                const auto since = behaviour.timestamp_ms ? behaviour.timestamp_ms : now_ms;
                return reply_of(
                    410, "Unregistered",
                    R"({"reason":"Unregistered","timestamp":)" + std::to_string(since) + '}');
            }
            case Act::bad_handle:
                return refusal(400, "BadDeviceToken");
            case Act::wrong_app:
                return refusal(400, "DeviceTokenNotForTopic");
            case Act::throttled:
                return refusal(429, "TooManyRequests");
            case Act::server_error:
                return refusal(500, "InternalServerError");
            case Act::unavailable:
                return refusal(503, "ServiceUnavailable");
            case Act::answer: {
                Json body = {{"reason", behaviour.reason}};
                if (behaviour.timestamp_ms) body["timestamp"] = behaviour.timestamp_ms;
                return rule_answer(behaviour,
                                   behaviour.status == 200 ? std::string() : body.dump());
            }
            default:
                break;
        }
        Reply reply = reply_of(200, {});
        reply.accepted = true;
        return reply;
    }

    std::optional<Reply> check_all(const Request& request, Visit& visit, std::int64_t now_ms,
                                   Incoming& push) const {
        const std::string_view id = request.header("apns-id");
        push.id = is_uuid(id) ? lower(id) : make_uuid();
        if (request.path.starts_with(device_path)) {
            auto handle = normalise_apns_handle(request.path.substr(device_path.size()));
            if (auto* canonical = std::get_if<std::string>(&handle)) push.handle = *canonical;
        }
        if (!id.empty() && !is_uuid(id)) return refusal(400, "BadMessageId");
        if (request.method != "POST") return refusal(405, "MethodNotAllowed");
        if (auto bad = check_headers(request)) return bad;
        if (!request.path.starts_with(device_path)) return refusal(404, "BadPath");
        if (request.path.size() == device_path.size()) return refusal(400, "MissingDeviceToken");
        if (push.handle.empty()) return refusal(400, "BadDeviceToken");
        if (key_)
            if (auto bad = check_token(request, visit, now_ms)) return bad;
        if (request.body.empty()) return refusal(400, "PayloadEmpty");
        const std::size_t bytes_max = request.header("apns-push-type") == "voip" ? 5120 : 4096;
        if (request.body.size() > bytes_max) return refusal(413, "PayloadTooLarge");
        return std::nullopt;
    }

    std::optional<Reply> check_headers(const Request& request) const {
        std::array<std::string_view, 32> seen;
        std::size_t count = 0;
        for (const H2Header& header : request.headers) {
            if (!header.name.starts_with("apns-") && header.name != "authorization") continue;
            const auto end = seen.begin() + static_cast<std::ptrdiff_t>(count);
            if (std::find(seen.begin(), end, header.name) != end)
                return refusal(400, "DuplicateHeaders");
            if (count < seen.size()) seen[count++] = header.name;
        }
        if (request.header("apns-collapse-id").size() > 64) return refusal(400, "BadCollapseId");
        const std::string_view expiration = request.header("apns-expiration");
        if (expiration.size() > 18 || !std::all_of(expiration.begin(), expiration.end(),
                                                   [](char c) { return c >= '0' && c <= '9'; }))
            return refusal(400, "BadExpirationDate");
        const std::string_view type = request.header("apns-push-type");
        const auto* known =
            std::find_if(push_types.begin(), push_types.end(),
                         [&](const PushType& candidate) { return candidate.name == type; });
        if (known == push_types.end() && !type.empty()) return refusal(400, "InvalidPushType");
        const std::string_view priority = request.header("apns-priority");
        if (!priority.empty() && priority != "1" && priority != "5" && priority != "10")
            return refusal(400, "BadPriority");
        if (type == "background" && priority != "5" && priority != "1")
            return refusal(400, "BadPriority");
        return check_topic(request.header("apns-topic"), type,
                           known == push_types.end() ? std::string_view() : known->topic_suffix);
    }

    std::optional<Reply> check_topic(std::string_view topic, std::string_view type,
                                     std::string_view suffix) const {
        const std::string& app = options_.trust.app;
        if (topic.empty()) return key_ ? std::optional(refusal(400, "MissingTopic")) : std::nullopt;
        if (app.empty() || type == "mdm") return std::nullopt;
        if (!topic.starts_with(app)) return refusal(400, "TopicDisallowed");
        if (topic.substr(app.size()) != suffix)
            return refusal(400, topic.size() == app.size() || topic[app.size()] == '.'
                                    ? "DeviceTokenNotForTopic"
                                    : "TopicDisallowed");
        return std::nullopt;
    }

    /// The JWT, once per connection and token: verifying costs more than all the rest.
    std::optional<Reply> check_token(const Request& request, Visit& visit,
                                     std::int64_t now_ms) const {
        const std::string_view authorization = request.header("authorization");
        if (authorization.empty()) return refusal(403, "MissingProviderToken");
        if (authorization == visit.authorization)
            return now_ms < visit.good_until_ms
                       ? std::nullopt
                       : std::optional(refusal(403, "ExpiredProviderToken"));
        if (authorization.size() < 8 || !same_ignoring_case(authorization.substr(0, 7), "bearer "))
            return refusal(403, "InvalidProviderToken");
        const auto jwt = split_jwt(authorization.substr(7));
        if (!jwt) return refusal(403, "InvalidProviderToken");
        const Json header = Json::parse(jwt->header, nullptr, false);
        const Json claims = Json::parse(jwt->claims, nullptr, false);
        if (!header.is_object() || !claims.is_object() || header.value("alg", Json()) != "ES256" ||
            header.value("kid", Json()) != options_.trust.key_id ||
            claims.value("iss", Json()) != options_.trust.team_id ||
            !claims.value("iat", Json()).is_number_integer())
            return refusal(403, "InvalidProviderToken");
        const std::int64_t issued_s = claims["iat"].get<std::int64_t>();
        if (issued_s < 0 || issued_s > (now_ms + token_ahead_ms) / 1000 ||
            !key_->verify(jwt->signed_part, jwt->signature))
            return refusal(403, "InvalidProviderToken");
        if (issued_s * 1000 + token_life_ms <= now_ms) return refusal(403, "ExpiredProviderToken");
        if (!visit.authorization.empty() && now_ms - visit.token_since_ms < token_update_ms)
            return refusal(429, "TooManyProviderTokenUpdates");
        visit.authorization = authorization;
        visit.token_since_ms = now_ms;
        visit.good_until_ms = issued_s * 1000 + token_life_ms;
        return std::nullopt;
    }

    std::optional<Key> key_;  ///< none: certificate authentication, done by TLS
};

}  // namespace

std::unique_ptr<Provider> make_apns(const SimOptions& options, RuleBook& rules, Journal& journal) {
    return std::make_unique<Apns>(options, rules, journal);
}

}  // namespace pns::sim
