// Microsoft's side: docs/contracts/pns.md 3, 8.5. Tested by tests/pns_sim_test.cpp.
//
// check() tests token, channel and headers as Microsoft documents them; act() answers in the
// spelling of the status header that belongs to the channel. Tokens are bound to the app. Shared
// by all loops: what is kept (tokens, a count of messages) is safe from any thread.
#include <algorithm>

#include "pns/handles.hpp"
#include "pns/sim/provider.hpp"

namespace pns::sim {

namespace {

constexpr std::size_t body_bytes_max = 5000;
constexpr std::int64_t token_life_s = 86'400;

Reply refusal(int status, std::string word) {
    Reply reply = reply_of(status, word);
    if (!word.empty()) reply.headers.emplace_back("x-wns-error-description", std::move(word));
    return reply;
}

bool is_tag(std::string_view text) {
    return text.size() <= 16 && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
           });
}

class Wns final : public Provider {
  public:
    Wns(const SimOptions& options, RuleBook& rules, Journal& journal)
        : Provider(options, rules, journal), desk_("EgAsim") {}

    bool is_token_request(const Request& request) const override {
        return request.path == "/accesstoken.srf" || request.path.ends_with("/oauth2/v2.0/token");
    }
    void revoke_tokens() override { desk_.revoke_all(); }

  protected:
    Reply mint(const Request& request, std::int64_t now_ms) override {
        const bool entra = request.path != "/accesstoken.srf";
        auto form = read_form(request.body);
        if (request.method != "POST" || form["grant_type"] != "client_credentials")
            return token_refusal(400, "unsupported_grant_type", "client_credentials is needed");
        if (form["client_id"] != options_.trust.client_id ||
            form["client_secret"] != options_.trust.client_secret)
            return token_refusal(entra ? 401 : 400, "invalid_client",
                                 "Invalid client id or secret");
        const std::string& scope = form["scope"];
        const bool good_scope = entra ? scope.starts_with("https://wns.windows.com/.default")
                                      : scope == "notify.windows.com";
        if (!good_scope) return token_refusal(400, "invalid_scope", "The scope is not valid");
        const std::string token = desk_.issue(now_ms, life_s());
        // Entra ID has been seen to give the number as a string.
        if (entra)
            return token_reply(token,
                               '"' + std::to_string(life_s() - 1) + "\",\"ext_expires_in\":\"" +
                                   std::to_string(life_s() - 1) + '"',
                               "Bearer");
        return token_reply(token, std::to_string(life_s()), "bearer");
    }

    std::optional<Reply> check(const Request& request, Visit& visit, std::int64_t now_ms,
                               Incoming& push) override {
        auto handle = normalise_wns_handle("https://" + std::string(request.authority) +
                                           std::string(request.path));
        if (auto* canonical = std::get_if<std::string>(&handle)) push.handle = *canonical;
        if (push.handle.empty()) return refusal(404, "The channel URI is not valid");
        if (request.method != "POST") return refusal(405, "Method not allowed");
        if (check_bearer(desk_, request, visit, now_ms) != TokenDesk::State::good) {
            Reply reply = refusal(401, "The access token is not valid");
            reply.headers.emplace_back("www-authenticate", "Bearer error=\"invalid_token\"");
            return reply;
        }
        return check_headers(request);
    }

    Reply refuse_credential(const Incoming&) override {
        Reply reply = refusal(401, "The access token is not valid");
        reply.headers.emplace_back("www-authenticate", "Bearer error=\"invalid_token\"");
        return reply;
    }

    Reply act(const Behaviour& behaviour, const Incoming& push, std::int64_t) override {
        switch (behaviour.act) {
            case Act::gone:
                return refusal(410, "The channel expired");
            case Act::bad_handle:
                return refusal(404, "The channel does not exist");
            case Act::wrong_app:
                return refusal(403, "The token is of another app");
            case Act::server_error:
                return refusal(500, "");
            case Act::unavailable:
                return refusal(503, "");
            case Act::answer: {
                Reply reply = rule_answer(behaviour, {});
                if (!behaviour.reason.empty())
                    reply.headers.emplace_back("x-wns-error-description", behaviour.reason);
                return reply;
            }
            case Act::throttled: {
                Reply reply = status_reply(push, "channelthrottled");
                if (!behaviour.retry_after.empty())
                    reply.headers.emplace_back("x-wns-continue-after", behaviour.retry_after);
                return reply;
            }
            case Act::dropped:
                return status_reply(push, "dropped");
            default:
                break;
        }
        Reply reply = status_reply(push, "received");
        reply.accepted = true;
        reply.word.clear();
        return reply;
    }

  private:
    std::int64_t life_s() const {
        return options_.token_life_s == SimOptions{}.token_life_s ? token_life_s
                                                                  : options_.token_life_s;
    }

    /// Servers write the elder header, which old clients read, and some the documented one beside
    /// it: half of the channels get both.
    Reply status_reply(const Incoming& push, const char* status) const {
        Reply reply = reply_of(200, status);
        reply.headers.emplace_back("x-wns-notificationstatus", status);
        if (place_of(push.handle, options_.seed ^ 0x5753U) < 0.5)
            reply.headers.emplace_back("x-wns-status", status);
        reply.headers.emplace_back("x-wns-deviceconnectionstatus", "connected");
        reply.headers.emplace_back("x-wns-msg-id", std::to_string(++messages_ % 10'000'000'000));
        return reply;
    }

    static std::optional<Reply> check_headers(const Request& request) {
        const std::string type = lower(request.header("x-wns-type"));
        const std::string_view content_type = request.header("content-type");
        const bool raw = type == "wns/raw";
        if (!raw && type != "wns/toast" && type != "wns/tile" && type != "wns/badge")
            return refusal(400, "X-WNS-Type is missing or not valid");
        if (!content_type.starts_with(raw ? "application/octet-stream" : "text/xml"))
            return refusal(400, "Content-Type does not agree with X-WNS-Type");
        if (!is_tag(request.header("x-wns-tag"))) return refusal(400, "X-WNS-Tag is not valid");
        if (!is_tag(request.header("x-wns-group"))) return refusal(400, "X-WNS-Group is not valid");
        const std::string cache = lower(request.header("x-wns-cache-policy"));
        if (!cache.empty() && cache != "cache" && cache != "no-cache")
            return refusal(400, "X-WNS-Cache-Policy is not valid");
        if (const auto ttl = request.header("x-wns-ttl"); !ttl.empty()) {
            if (!std::all_of(ttl.begin(), ttl.end(), [](char c) { return c >= '0' && c <= '9'; }))
                return refusal(400, "X-WNS-TTL is not valid");
            const bool now_only = ttl.find_first_not_of('0') == std::string_view::npos;
            if (!cache.empty() && now_only == (cache == "cache"))
                return refusal(400, "Ttl value conflicts with X-WNS-Cache-Policy.");
        }
        if (request.body.size() > body_bytes_max) return refusal(413, "The payload is too large");
        if (request.body.empty()) return refusal(400, "The payload is empty");
        return std::nullopt;
    }

    TokenDesk desk_;
    mutable std::atomic<std::uint64_t> messages_{0};
};

}  // namespace

std::unique_ptr<Provider> make_wns(const SimOptions& options, RuleBook& rules, Journal& journal) {
    return std::make_unique<Wns>(options, rules, journal);
}

}  // namespace pns::sim
