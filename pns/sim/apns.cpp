// Apple's side: docs/contracts/pns.md 1.3 to 1.6, 8.3. Tested by tests/pns_sim_test.cpp.
//
// check_all() goes through id, headers, path, device token, authorisation and payload; Apple's own
// order is not known. A connection begins with one stream and gets more after its first good
// token; tokens are verified once for each connection, as that costs more than all the rest, and
// every good one is counted against Apple's 20 minutes. act() answers as the rule of the handle
// says. What connections share is under one mutex.
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "pns/handles.hpp"
#include "pns/jwt.hpp"
#include "pns/sim/apns_channels.hpp"
#include "pns/sim/meter.hpp"

namespace pns::sim {

namespace {

using Json = nlohmann::json;

constexpr std::string_view device_path = "/3/device/";
constexpr std::size_t body_bytes_max = 4096, long_body_bytes_max = 5120;
constexpr std::size_t tokens_remembered_max = 100'000;
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

struct TrustedKey {
    std::string id, environment;
    Key key;
};

bool is_sandbox(std::string_view authority) {
    return authority.find(".sandbox.") != std::string_view::npos ||
           authority.find(".development.") != std::string_view::npos;
}

Reply refusal(int status, const char* reason) {
    return apns_refusal(status, reason);
}

class Apns final : public Provider {
  public:
    Apns(const SimOptions& options, RuleBook& rules, Journal& journal)
        : Provider(options, rules, journal) {
        const Trust& trust = options.trust;
        add_key(trust.public_key_pem, trust.key_id, {});
        for (const auto& other : trust.other_keys)
            add_key(other.public_key_pem, other.key_id, other.environment);
    }

    bool is_token_request(const Request&) const override { return false; }
    void revoke_tokens() override {
        const std::lock_guard lock(tokens_mutex_);
        expired_.merge(seen_);
        seen_.clear();
        epoch_.fetch_add(1, std::memory_order_release);
    }
    Habits habits() const override {
        Habits habits;
        habits.opens_with_one_stream = !keys_.empty();
        habits.idle_ms = 3'600'000;
        return habits;
    }

  protected:
    Reply mint(const Request&, std::int64_t) override { return refusal(404, "BadPath"); }

    std::optional<Reply> check(const Request& request, Visit& visit, std::int64_t now_ms,
                               Incoming& push) override {
        auto out = check_all(request, visit, now_ms, push);
        if (out) out->headers.emplace_back(push.broadcast ? "apns-request-id" : "apns-id", push.id);
        return out;
    }

    std::optional<Reply> administer(const Request& request, Visit& visit,
                                    std::int64_t now_ms) override {
        if (!channels_.is_management(request)) return std::nullopt;
        if (!keys_.empty())
            if (auto bad = check_token(request, visit, now_ms)) return bad;
        return channels_.manage(request);
    }

    Reply act(const Behaviour& behaviour, const Incoming& push, std::int64_t now_ms) override {
        Reply reply = push.broadcast ? ChannelDesk::acted(behaviour) : acted(behaviour, now_ms);
        reply.headers.emplace_back(push.broadcast ? "apns-request-id" : "apns-id", push.id);
        return reply;
    }

    Reply refuse_credential(const Incoming& push) override {
        Reply reply = refusal(403, "InvalidProviderToken");
        reply.headers.emplace_back("apns-id", push.id);
        return reply;
    }

    void finish(const Request& request, Visit& visit, const Incoming& push, Reply& reply,
                std::int64_t) override {
        if (reply.accepted && (push.broadcast || is_sandbox(request.authority)))
            reply.headers.emplace_back("apns-unique-id", make_uuid());
        const bool counts = reply.status >= 400 && reply.status < 500 && reply.status != 410;
        if (counts) visit.client_errors += reply.word == "BadDeviceToken" ? 2 : 1;
        if (options_.client_errors_max > 0 && visit.client_errors >= options_.client_errors_max) {
            reply.goodbye = Reply::Goodbye{0, R"({"reason":"TooManyClientErrors"})"};
            visit.client_errors = 0;
        }
        if (!options_.collapse || !visit.opened) return;
        const std::uint32_t usual =
            options_.streams_max != 0 ? options_.streams_max : habits().streams_max;
        const std::uint32_t now = reply.accepted ? usual : 1;
        if (now != visit.streams_max) reply.streams_max = visit.streams_max = now;
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

    void add_key(const std::string& pem, const std::string& id, const std::string& environment) {
        if (pem.empty()) return;
        auto key = Key::read_public(pem);
        if (key) keys_.push_back({id, environment, std::move(*key)});
    }

    std::optional<Reply> check_all(const Request& request, Visit& visit, std::int64_t now_ms,
                                   Incoming& push) {
        if (channels_.is_broadcast(request)) {
            push.broadcast = true;
            push.id = ChannelDesk::request_id(request);
            if (!keys_.empty())
                if (auto bad = check_token(request, visit, now_ms)) return bad;
            return channels_.check(request, push);
        }
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
        if (is_elsewhere(push.handle, request.authority)) return refusal(400, "BadDeviceToken");
        if (!keys_.empty())
            if (auto bad = check_token(request, visit, now_ms)) return bad;
        if (request.body.empty()) return refusal(400, "PayloadEmpty");
        const bool voip = request.header("apns-push-type") == "voip";
        if (request.body.size() > (voip ? long_body_bytes_max : body_bytes_max))
            return refusal(413, "PayloadTooLarge");
        if (!per_second_.take(push.handle, now_ms)) return refusal(429, "TooManyRequests");
        return std::nullopt;
    }

    /// A token of the other environment.
    bool is_elsewhere(std::string_view handle, std::string_view authority) const {
        const std::string& prefix = options_.sandbox_prefix;
        if (prefix.empty() || handle.size() < prefix.size()) return false;
        return same_ignoring_case(handle.substr(0, prefix.size()), prefix) != is_sandbox(authority);
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
        if (topic.empty())
            return keys_.empty() ? std::nullopt : std::optional(refusal(400, "MissingTopic"));
        if (app.empty() || type == "mdm") return std::nullopt;
        if (!topic.starts_with(app)) return refusal(400, "TopicDisallowed");
        if (topic.substr(app.size()) != suffix)
            return refusal(400, topic.size() == app.size() || topic[app.size()] == '.'
                                    ? "DeviceTokenNotForTopic"
                                    : "TopicDisallowed");
        return std::nullopt;
    }

    /// The JWT, once per connection and token: verifying costs more than all the rest.
    std::optional<Reply> check_token(const Request& request, Visit& visit, std::int64_t now_ms) {
        const std::string_view authorization = request.header("authorization");
        if (authorization.empty()) return refusal(403, "MissingProviderToken");
        const std::uint64_t epoch = epoch_.load(std::memory_order_acquire);
        if (authorization == visit.authorization && epoch == visit.good_epoch)
            return now_ms < visit.good_until_ms
                       ? std::nullopt
                       : std::optional(refusal(403, "ExpiredProviderToken"));
        if (authorization.size() < 8 || !same_ignoring_case(authorization.substr(0, 7), "bearer "))
            return refusal(403, "InvalidProviderToken");
        auto jwt = split_jwt(authorization.substr(7), true);
        if (!jwt) return refusal(403, "InvalidProviderToken");
        // Apple takes signatures in DER as well.
        if (auto raw = raw_signature(jwt->signature)) jwt->signature = std::move(*raw);
        const Json header = Json::parse(jwt->header, nullptr, false);
        const Json claims = Json::parse(jwt->claims, nullptr, false);
        if (!header.is_object() || !claims.is_object() || header.value("alg", Json()) != "ES256" ||
            claims.value("iss", Json()) != options_.trust.team_id ||
            !claims.value("iat", Json()).is_number_integer())
            return refusal(403, "InvalidProviderToken");
        const auto key = std::find_if(keys_.begin(), keys_.end(), [&](const TrustedKey& known) {
            return header.value("kid", Json()) == known.id;
        });
        const std::int64_t issued_s = claims["iat"].get<std::int64_t>();
        if (key == keys_.end() || issued_s < 0 || issued_s > (now_ms + token_ahead_ms) / 1000 ||
            !key->key.verify(jwt->signed_part, jwt->signature))
            return refusal(403, "InvalidProviderToken");
        if (!key->environment.empty() &&
            (key->environment == "sandbox") != is_sandbox(request.authority))
            return refusal(403, "BadEnvironmentKeyIdInToken");
        if (issued_s * 1000 + token_life_ms <= now_ms || is_expired(authorization))
            return refusal(403, "ExpiredProviderToken");
        if (!visit.key_id.empty() && visit.key_id != key->id)
            return refusal(403, "UnrelatedKeyIdInToken");
        if (is_too_soon(authorization, visit, now_ms))
            return refusal(429, "TooManyProviderTokenUpdates");
        if (authorization != visit.authorization) visit.token_since_ms = now_ms;
        visit.key_id = key->id;
        visit.authorization = authorization;
        visit.good_epoch = epoch;
        visit.good_until_ms = issued_s * 1000 + token_life_ms;
        return std::nullopt;
    }

    /// Remembers every token that was ever good.
    bool is_expired(std::string_view authorization) {
        const std::size_t hash = std::hash<std::string_view>()(authorization);
        const std::lock_guard lock(tokens_mutex_);
        if (expired_.count(hash) != 0) return true;
        if (seen_.size() >= tokens_remembered_max) seen_.clear();
        if (seen_.insert(hash).second) journal_.provider_token();
        return false;
    }

    bool is_too_soon(std::string_view authorization, const Visit& visit, std::int64_t now_ms) {
        if (!options_.jwt_by_address)
            return !visit.authorization.empty() && authorization != visit.authorization &&
                   now_ms - visit.token_since_ms < token_update_ms;
        const std::size_t hash = std::hash<std::string_view>()(authorization);
        const std::lock_guard lock(tokens_mutex_);
        auto [at, first] = by_address_.try_emplace(visit.peer, now_ms, hash);
        if (first || at->second.second == hash) return false;
        if (now_ms - at->second.first < token_update_ms) return true;
        at->second = {now_ms, hash};
        return false;
    }

    std::vector<TrustedKey> keys_;  ///< none: certificate authentication, done by TLS
    ChannelDesk channels_{options_.trust.app};
    Meter per_second_{options_.handle_second_max, 1'000};
    std::atomic<std::uint64_t> epoch_{1};
    std::mutex tokens_mutex_;
    std::unordered_set<std::size_t> seen_, expired_;
    std::map<std::string, std::pair<std::int64_t, std::size_t>> by_address_;
};

}  // namespace

std::unique_ptr<Provider> make_apns(const SimOptions& options, RuleBook& rules, Journal& journal) {
    return std::make_unique<Apns>(options, rules, journal);
}

}  // namespace pns::sim
