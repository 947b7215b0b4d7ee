// Windows Push Notification Services: docs/contracts/pns.md 3. Tested by tests/pns_wns_test.cpp.
//
// The handle is the address, so each host is an origin with connections of its own. prepare()
// checks type, headers and size once; judge() reads the status and WNS's own headers. The token
// belongs to one app: the sender's guard lets it go to hosts of notify.windows.com, or to those
// that the operator has named.
#include <algorithm>
#include <array>

#include "pns/answers.hpp"
#include "pns/http_date.hpp"
#include "pns/jwt.hpp"
#include "pns/providers.hpp"

namespace pns {

namespace {

constexpr std::size_t body_bytes_max = 5000;
constexpr std::size_t tag_bytes_max = 16;
constexpr std::int64_t minute_ms = 60'000;
constexpr std::int64_t channel_pause_ms = 10 * minute_ms;
constexpr std::int64_t service_pause_ms = 5 * minute_ms;
constexpr std::int64_t hour_ms = 60 * minute_ms;
constexpr std::string_view login_url = "https://login.live.com/accesstoken.srf";
constexpr std::array<std::string_view, 4> login_hosts = {
    "login.live.com", "login.microsoftonline.com", "login.microsoftonline.us",
    "login.partner.microsoftonline.cn"};

struct WnsPrepared final : Prepared {
    bool replaceable = false;  ///< shown to the user, and neither tag nor group of the back end's
};

class Wns final : public Account {
  public:
    struct Setup {
        Url login;
        std::string client_id, client_secret, scope;
    };
    explicit Wns(Setup setup) : setup_(std::move(setup)) {}

    const Platform& platform() const override { return *platform_by_name("wns"); }
    Protocol protocol() const override { return Protocol::h1; }
    Hosts hosts() const override { return Hosts::channel; }

    TokenSource token_source() const override {
        return login_with(setup_.login, form_of({{"grant_type", "client_credentials"},
                                                 {"client_id", setup_.client_id},
                                                 {"client_secret", setup_.client_secret},
                                                 {"scope", setup_.scope}}));
    }

    std::string token_key() const override {
        return login_key("wns", setup_.login, setup_.client_id, setup_.client_secret);
    }
    Origin origin(std::string_view handle) const override;
    Checked<std::shared_ptr<const Prepared>> prepare(const Message& message) const override;
    void encode(const Push& push, Encoded& out) const override;
    Judgement judge(const Push& push, const Answer& answer) const override;

  private:
    Setup setup_;
};

// A handle may be older than a rule for handles: an empty host, which no connection is made to,
// answers one that no longer passes. Nothing goes out in clear: http means the port of https.
Origin Wns::origin(std::string_view handle) const {
    auto url = parse_url(handle);
    if (!url) return {};
    if (!url->secure && url->origin.port == 80) url->origin.port = 443;
    return std::move(url->origin);
}

void Wns::encode(const Push& push, Encoded& out) const {
    constexpr std::string_view before_host = "://";
    const std::size_t scheme = push.handle.find(before_host);
    const std::size_t slash = scheme == std::string_view::npos
                                  ? scheme
                                  : push.handle.find('/', scheme + before_host.size());
    out.path = slash == std::string_view::npos ? std::string_view("/") : push.handle.substr(slash);
    out.headers.clear();
    out.body.clear();
    // A copy that is sent again after a lost answer replaces the first one on the device.
    if (has_identity(push) && static_cast<const WnsPrepared&>(*push.prepared).replaceable) {
        constexpr std::string_view hex = "0123456789abcdef";
        std::string tag;
        for (std::size_t i = 0; i < tag_bytes_max / 2; ++i) {
            tag += hex[push.id[i] >> 4];
            tag += hex[push.id[i] & 15];
        }
        out.headers.emplace_back("x-wns-tag", std::move(tag));
    }
}

/// The name of the root element, past byte order mark, declaration and comments.
std::string_view root_element(std::string_view xml) {
    if (xml.starts_with("\xef\xbb\xbf")) xml.remove_prefix(3);
    while (true) {
        xml.remove_prefix(std::min(xml.find_first_not_of(" \t\r\n"), xml.size()));
        std::string_view end;
        if (xml.starts_with("<?"))
            end = "?>";
        else if (xml.starts_with("<!--"))
            end = "-->";
        else
            break;
        const std::size_t at = xml.find(end);
        if (at == std::string_view::npos) return {};
        xml.remove_prefix(at + end.size());
    }
    if (!xml.starts_with('<')) return {};
    return xml.substr(1, xml.find_first_of(" \t\r\n/>", 1) - 1);
}

bool is_alphanumeric(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    });
}

bool is_number(std::string_view text) {
    return !text.empty() && text.size() <= 10 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<Refusal> check_wns_headers(const Message& message) {
    if (auto refusal = check_message_headers(message, "x-wns-")) return refusal;
    const auto header = [&](std::string_view name) { return message_header(message, name); };
    const auto cache = lower(header("x-wns-cache-policy"));
    if (!cache.empty() && cache != "cache" && cache != "no-cache")
        return bad_format("X-WNS-Cache-Policy must be cache or no-cache.");
    for (std::string_view name : {"x-wns-requestforstatus", "x-wns-suppresspopup"}) {
        const auto value = lower(header(name));
        if (!value.empty() && value != "true" && value != "false")
            return bad_format(std::string(name) + " must be true or false.");
    }
    for (std::string_view name : {"x-wns-tag", "x-wns-group"})
        if (header(name).size() > tag_bytes_max || !is_alphanumeric(header(name)))
            return bad_format(std::string(name) + " must have at most 16 letters and digits.");
    const auto ttl = header("x-wns-ttl");
    if (!ttl.empty() && !is_number(ttl)) return bad_format("X-WNS-TTL must be seconds.");
    if (!ttl.empty() && !cache.empty()) {
        const bool now_only = ttl.find_first_not_of('0') == std::string_view::npos;
        if (now_only == (cache == "cache"))
            return bad_format(
                "X-WNS-TTL 0 goes with X-WNS-Cache-Policy no-cache, a longer one with cache.");
    }
    const auto priority = header("x-wns-priority");
    if (!priority.empty() && priority != "1" && priority != "2" && priority != "3" &&
        priority != "4")
        return bad_format("X-WNS-PRIORITY must be 1, 2, 3 or 4.");
    return std::nullopt;
}

Checked<std::shared_ptr<const Prepared>> Wns::prepare(const Message& message) const {
    if (message.target != Message::Target::device)
        return bad_format("WNS pushes go to devices only.");
    if (auto refusal = check_wns_headers(message)) return std::move(*refusal);
    if (message.body.empty()) return bad_format("A WNS body must not be empty.");
    if (message.body.size() > body_bytes_max)
        return bad_size("The WNS body", message.body.size(), body_bytes_max);

    const std::string_view root = root_element(message.body);
    const bool known_root = root == "toast" || root == "tile" || root == "badge";
    std::string type = lower(message_header(message, "x-wns-type"));
    if (type.empty()) {
        if (!known_root)
            return bad_format("X-WNS-Type is needed: wns/toast, wns/tile, wns/badge or wns/raw.");
        type = "wns/" + std::string(root);
    }
    const bool raw = type == "wns/raw";
    if (!raw && type != "wns/toast" && type != "wns/tile" && type != "wns/badge")
        return bad_format("X-WNS-Type must be wns/toast, wns/tile, wns/badge or wns/raw.");
    if (!raw && type.substr(4) != root)
        return bad_format("The body of " + type + " must be XML with the root element " +
                          type.substr(4) + ".");

    auto prepared = std::make_shared<WnsPrepared>();
    prepared->replaceable = (type == "wns/toast" || type == "wns/tile") &&
                            message_header(message, "x-wns-tag").empty() &&
                            message_header(message, "x-wns-group").empty();
    prepared->body = std::make_shared<const std::string>(message.body);
    prepared->expires_at_ms = message.expires_at_ms;
    prepared->headers.emplace_back("content-type", raw ? "application/octet-stream" : "text/xml");
    prepared->headers.emplace_back("x-wns-type", type);
    for (const auto& [name, value] : message.headers)
        if (name.starts_with("x-wns-") && name != "x-wns-type")
            prepared->headers.emplace_back(name, value);
    return std::shared_ptr<const Prepared>(std::move(prepared));
}

/// X-WNS-CONTINUE-AFTER, else Retry-After, else `otherwise_ms`.
std::int64_t continue_after_ms(const Answer& answer, std::int64_t otherwise_ms) {
    return parse_retry_after_ms(answer.header("x-wns-continue-after"), answer.now_ms)
        .value_or(retry_after_ms(answer, otherwise_ms));
}

Judgement Wns::judge(const Push& push, const Answer& answer) const {
    std::string reason = clean_reason(answer.header("x-wns-error-description"), push.handle);
    if (reason.empty() && answer.status != 200) reason = "HTTP " + std::to_string(answer.status);
    const std::string state = wns_state(answer);
    if (reason.empty()) reason = clean_reason(state, push.handle);
    // With 406 and 429 too, where the state says that the service means this channel alone.
    if (state == "channelthrottled")
        return target_throttled(std::move(reason), continue_after_ms(answer, channel_pause_ms));
    switch (answer.status) {
        case 200:
            if (state == "dropped") return refused(Outcome::dropped, std::move(reason));
            return accepted(answer.header("x-wns-msg-id"));
        case 400:
            return refused(Outcome::invalid_notification_format, std::move(reason));
        case 401:
            return unauthorised(std::move(reason));
        case 403:
            return suspected(Outcome::wrong_channel, std::move(reason));
        case 404:
            if (!is_of_wns(answer)) return suspected(Outcome::bad_channel, std::move(reason));
            return retired(Outcome::bad_channel, std::move(reason));
        case 406:
            return throttled(std::move(reason), continue_after_ms(answer, service_pause_ms));
        case 410:
            if (!is_of_wns(answer)) return suspected(Outcome::expired_channel, std::move(reason));
            return retired(Outcome::expired_channel, std::move(reason));
        case 412:
            return retry(Outcome::channel_disconnected, std::move(reason),
                         continue_after_ms(answer, hour_ms));
        case 413:
            return refused(Outcome::invalid_notification_size, std::move(reason));
        case 429:  // the month's quota is spent
            return throttled(std::move(reason), continue_after_ms(answer, hour_ms));
        default:
            return unlisted(answer, std::move(reason));
    }
}

}  // namespace

Checked<std::unique_ptr<Account>> open_wns(const Credential& credential) {
    if (auto refusal = missing_property(credential, {"PackageSid", "SecretKey"}))
        return std::move(*refusal);
    std::string_view endpoint = property(credential, "WindowsLiveEndpoint");
    if (endpoint.empty()) endpoint = login_url;
    const auto url = parse_url(endpoint);
    const bool of_microsoft =
        url && url->secure && url->origin.port == 443 &&
        std::find(login_hosts.begin(), login_hosts.end(), url->origin.host) != login_hosts.end();
    if (!url || !url->secure || (!of_microsoft && !is_operators_host(credential, url->origin)))
        return bad_credential(
            "WindowsLiveEndpoint must be " + std::string(login_url) +
            ", https://login.microsoftonline.com/<tenant>/oauth2/v2.0/token or of "
            "a host in the setting credential_hosts.");
    Wns::Setup setup;
    setup.login = *url;
    setup.client_id = property(credential, "PackageSid");
    setup.client_secret = property(credential, "SecretKey");
    const bool entra = of_microsoft ? url->origin.host != "login.live.com"
                                    : url->target.find("/oauth2/") != std::string::npos;
    setup.scope = entra ? "https://wns.windows.com/.default" : "notify.windows.com";
    if (!is_printable(setup.client_id) || setup.client_id.size() > 512)
        return bad_credential("PackageSid must be ms-app://s-1-15-2-… or the id of an Entra app.");
    if (!is_printable(setup.client_secret) || setup.client_secret.size() > 512)
        return bad_credential("SecretKey must be the app's client secret.");
    return std::unique_ptr<Account>(std::make_unique<Wns>(std::move(setup)));
}

}  // namespace pns
