// Web Push: docs/contracts/pns.md 5; RFC 8030, 8291, 8292. Tested by tests/pns_webpush_test.cpp.
//
// Each origin has its own connections and its own VAPID token. prepare() checks headers once;
// encode() seals the body for one subscription, which is most of a push's cost. judge() knows the
// words of Google, Mozilla and Apple, since statuses alone do not tell a dead subscription from a
// wrong key. An endpoint's host was checked by EndpointGuard and is checked again where its name
// is resolved.
#include <algorithm>
#include <array>
#include <boost/system/system_error.hpp>

#include "pns/alarm.hpp"
#include "pns/answers.hpp"
#include "pns/errc.hpp"
#include "pns/json_walk.hpp"
#include "pns/jwt.hpp"
#include "pns/providers.hpp"
#include "pns/webpush_crypto.hpp"

namespace pns {

namespace {

constexpr std::int64_t ttl_s_max = 28 * 24 * 3600;  // what the services clamp to
constexpr std::int64_t token_life_s = 12 * 3600;    // RFC 8292 allows a day
constexpr std::int64_t rate_pause_ms = 5'000;
constexpr std::int64_t channel_pause_ms = 600'000;
constexpr std::size_t topic_bytes_max = 32;
constexpr std::size_t subject_bytes_max = 256;
constexpr std::array<std::string_view, 4> urgencies = {"very-low", "low", "normal", "high"};

/// Where a handle leads, and to whose eyes.
struct Subscription {
    Url endpoint;
    WebPushKeys keys;
};

/// Reads the canonical form that normalise_browser_handle() writes, and nothing else. Whether the
/// point lies on the curve is checked here or where it is used.
enum class Point : std::uint8_t { checked, used };
std::optional<Subscription> read_subscription(std::string_view handle,
                                              Point point = Point::checked) {
    const auto take = [&handle](std::string_view before) -> std::string_view {
        if (!handle.starts_with(before)) return {};
        const std::size_t end = handle.find('"', before.size());
        if (end == std::string_view::npos) return {};
        const std::string_view value = handle.substr(before.size(), end - before.size());
        handle.remove_prefix(end);
        return value;
    };
    const auto endpoint = parse_url(take(R"({"endpoint":")"));
    auto p256dh = from_base64url(take(R"(","p256dh":")"));
    auto auth = from_base64url(take(R"(","auth":")"));
    if (handle != "\"}" || !endpoint || !endpoint->secure || !p256dh || !auth ||
        auth->size() < 16 || (point == Point::checked && !is_on_p256(*p256dh)))
        return std::nullopt;
    Subscription out;
    out.endpoint = *endpoint;
    out.keys.p256dh = std::move(*p256dh);
    out.keys.auth = std::move(*auth);
    return out;
}

bool is_digits(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_base64url(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '-' || c == '_';
    });
}

/// Edge on Windows is reached through WNS, which wants its own words beside the standard's.
bool is_wns(const Origin& origin) {
    return within_domain(origin.host, "notify.windows.com");
}
/// Google turns a Topic into one of the four collapse keys that it keeps per device.
bool keeps_few_topics(const Origin& origin) {
    return within_domain(origin.host, "googleapis.com") ||
           within_domain(origin.host, "google.com") || is_wns(origin);
}

/// A client may name any path of a known service's hosts. What is said where the service takes no
/// pushes is no verdict on the key.
bool takes_pushes(std::string_view handle) {
    const auto to = read_subscription(handle);
    if (!to) return false;
    const auto begins = [&](std::initializer_list<std::string_view> paths) {
        return std::any_of(paths.begin(), paths.end(), [&](std::string_view path) {
            return std::string_view(to->endpoint.target).starts_with(path);
        });
    };
    const std::string& host = to->endpoint.origin.host;
    if (within_domain(host, "google.com") || within_domain(host, "googleapis.com"))
        return begins({"/fcm/send/", "/gcm/send/", "/wp/", "/preprod/wp/"});
    if (within_domain(host, "push.services.mozilla.com")) return begins({"/wpush/"});
    return true;
}

class WebPushPrepared final : public Prepared {
  public:
    std::int64_t ttl_s = ttl_s_max;
    bool has_topic = false;
};

class WebPush final : public Account {
  public:
    struct Setup {
        Key key;
        std::string public_key;  // base64url of the point
        std::string subject;
    };
    explicit WebPush(Setup setup) : setup_(std::move(setup)) {}

    const Platform& platform() const override { return *platform_by_name("browser"); }
    Protocol protocol() const override { return Protocol::h2; }
    bool falls_back_to_h1() const override { return true; }
    Hosts hosts() const override { return Hosts::subscription; }
    bool tokens_per_origin() const override { return true; }

    TokenSource token_source() const override { return NoToken(); }
    std::string token_key() const override { return "browser:" + sha256_hex(setup_.public_key); }
    TokenSource token_source_for(const Origin& origin) const override;
    std::string token_key_for(const Origin& origin) const override {
        return token_key() + ' ' + sha256_hex(setup_.subject) + ' ' + audience(origin);
    }
    std::string authorization(std::string_view token) const override {
        return "vapid t=" + std::string(token) + ", k=" + setup_.public_key;
    }

    Origin origin(std::string_view handle) const override {
        auto read = read_subscription(handle);
        return read ? std::move(read->endpoint.origin) : Origin{"", 443};
    }
    Checked<std::shared_ptr<const Prepared>> prepare(const Message& message) const override;
    void encode(const Push& push, Encoded& out) const override;
    Judgement judge(const Push& push, const Answer& answer) const override;

  private:
    static std::string audience(const Origin& origin) {
        std::string out = "https://" + origin.host;
        if (origin.port != 443) out += ':' + std::to_string(origin.port);
        return out;
    }

    Setup setup_;
};

TokenSource WebPush::token_source_for(const Origin& origin) const {
    SelfSigned source;
    source.life_s = token_life_s;
    source.renew_s = token_life_s / 2;
    source.renew_s_min = 60;
    source.mint = [setup = setup_,
                   aud = audience(origin)](std::int64_t now_s) -> Result<std::string> {
        std::string claims = R"({"aud":")" + aud + R"(","exp":)" +
                             std::to_string(now_s + token_life_s) + R"(,"sub":")";
        append_json_escaped(claims, setup.subject);
        return sign_jwt(setup.key, {}, "JWT", claims + R"("})");
    };
    return source;
}

Checked<std::shared_ptr<const Prepared>> WebPush::prepare(const Message& message) const {
    for (std::string_view name : {"ttl", "urgency", "topic"}) {
        const auto same = [name](const auto& header) { return header.first == name; };
        if (std::count_if(message.headers.begin(), message.headers.end(), same) > 1)
            return bad_format("Header " + std::string(name) + " is given twice.");
    }
    if (message.body.size() > web_push_plain_bytes_max)
        return bad_size("The Web Push message", message.body.size(), web_push_plain_bytes_max);

    auto prepared = std::make_shared<WebPushPrepared>();
    prepared->body = std::make_shared<const std::string>(message.body);
    prepared->expires_at_ms = message.expires_at_ms;
    const std::string_view ttl = message_header(message, "ttl");
    if (!ttl.empty()) {
        if (!is_digits(ttl)) return bad_format("TTL must be seconds, 0 for now or never.");
        const bool longest = ttl.size() > 9;
        if (!longest)
            prepared->ttl_s = std::min<std::int64_t>(std::stoll(std::string(ttl)), ttl_s_max);
    }
    const std::string urgency = lower(message_header(message, "urgency"));
    if (!urgency.empty()) {
        if (std::find(urgencies.begin(), urgencies.end(), urgency) == urgencies.end())
            return bad_format("Urgency must be very-low, low, normal or high.");
        prepared->headers.emplace_back("urgency", urgency);
    }
    std::string topic(message_header(message, "topic"));
    if (!topic.empty()) {
        if (topic.size() > topic_bytes_max || !is_base64url(topic))
            return bad_format("Topic must have at most 32 of the characters A-Z a-z 0-9 - _.");
        // Apple decodes it, and no base64 has such a length.
        if (topic.size() % 4 == 1) topic.resize(topic_bytes_max, '-');
        prepared->headers.emplace_back("topic", std::move(topic));
        prepared->has_topic = true;
    }
    if (!message.body.empty()) {
        prepared->headers.emplace_back("content-encoding", "aes128gcm");
        prepared->headers.emplace_back("content-type", "application/octet-stream");
    }
    return std::shared_ptr<const Prepared>(std::move(prepared));
}

void WebPush::encode(const Push& push, Encoded& out) const {
    const auto& prepared = static_cast<const WebPushPrepared&>(*push.prepared);
    const auto to = read_subscription(push.handle, Point::used);
    out.headers.clear();
    out.body.clear();
    out.path = to ? to->endpoint.target : "/";
    if (!to) return;  // origin() has refused it: no connection leads here

    std::int64_t ttl_s = prepared.ttl_s;
    if (prepared.expires_at_ms != std::numeric_limits<std::int64_t>::max())
        ttl_s = std::clamp((prepared.expires_at_ms - push.encoded_at_ms) / 1000, std::int64_t{0},
                           ttl_s);
    out.headers.emplace_back("ttl", std::to_string(ttl_s));
    const Origin& origin = to->endpoint.origin;
    if (is_wns(origin))
        out.headers.emplace_back("x-wns-cache-policy", ttl_s == 0 ? "no-cache" : "cache");
    // A copy that is sent again after a lost answer replaces the first one, if that still waits.
    const bool known = std::any_of(push.id.begin(), push.id.end(), [](auto b) { return b != 0; });
    if (!prepared.has_topic && known && !keeps_few_topics(origin)) {
        std::string id(reinterpret_cast<const char*>(push.id.data()), push.id.size());
        id.resize(topic_bytes_max / 4 * 3, '\0');
        out.headers.emplace_back("topic", base64url(id));
    }
    if (prepared.body->empty()) return;
    const auto mine = EphemeralKeys::generate();
    if (!mine) throw boost::system::system_error(mine.error());
    auto sealed = seal_web_push(to->keys, *prepared.body, *mine);
    if (!sealed) throw boost::system::system_error(sealed.error());
    out.body = std::move(*sealed);
}

/// What the body of an answer says: Apple's reason, Mozilla's message and errno, or Google's text.
struct Said {
    std::string text;
    std::string errno_digits;
    bool in_json = false;  ///< Apple and Mozilla; a proxy answers with a page or with nothing
};

Said read_said(std::string_view body) {
    Said said;
    std::string reason, message;
    const bool json = !body.empty() && body.front() == '{' &&
                      walk_json(body, [&](const JsonPlace& place, JsonKind, std::string_view text) {
                          if (place.is("reason")) reason = text;
                          if (place.is("message")) message = text;
                          if (place.is("errno")) said.errno_digits = text;
                      });
    if (!json && !body.empty() && body.front() != '<') said.text = body;
    said.in_json = !reason.empty() || !said.errno_digits.empty();
    if (json) said.text = reason.empty() ? message : reason;
    if (!said.errno_digits.empty()) said.text = "errno " + said.errno_digits + ' ' + said.text;
    return said;
}

/// The answer's own word, without the handle or the part of it that a service may repeat.
std::string reason_of(const Said& said, const Push& push, int status) {
    const std::string digits = std::to_string(status);
    if (said.text.empty()) return "HTTP " + digits;
    const auto to = read_subscription(push.handle);
    const std::string_view secret = to ? std::string_view(to->endpoint.target) : push.handle;
    return clean_reason(said.text, secret.size() > 1 ? secret : push.handle);
}

Judgement WebPush::judge(const Push& push, const Answer& answer) const {
    if (answer.status == 200 || answer.status == 201 || answer.status == 202) {
        // Edge: taken is not all that WNS may say with a success.
        const std::string state = wns_state(answer);
        if (state == "dropped") return refused(Outcome::dropped, state);
        if (state == "channelthrottled")
            return target_throttled(state, retry_after_ms(answer, channel_pause_ms));
        return accepted(answer.header("apns-id"));
    }
    const Said said = read_said(answer.body);
    std::string reason = reason_of(said, push, answer.status);
    const auto says = [&](std::string_view words) {
        return said.text.find(words) != std::string::npos;
    };
    // The subscription was made for another key: only the browser can make a new one.
    const bool refused_key = answer.status == 400 || answer.status == 401 || answer.status == 403;
    if (refused_key && says("VapidPkHashMismatch"))
        return retired(Outcome::wrong_channel, std::move(reason));
    if (refused_key && says("key mismatch"))
        return suspected(Outcome::wrong_channel, std::move(reason));
    switch (answer.status) {
        case 400:
            if (says("4096 bytes"))
                return refused(Outcome::invalid_notification_size, std::move(reason));
            if (says("BadVapidPublicKey"))
                return misconfigured(Outcome::invalid_credentials, std::move(reason));
            return refused(Outcome::invalid_notification_format, std::move(reason));
        case 401:
            if (!takes_pushes(push.handle))
                return suspected(Outcome::wrong_channel, std::move(reason));
            return unauthorised(std::move(reason));
        case 403:
            if ((says("BadJwtToken") || says("invalid JWT")) && takes_pushes(push.handle))
                return misconfigured(Outcome::invalid_credentials, std::move(reason));
            return suspected(Outcome::wrong_channel, std::move(reason));
        case 404:
        case 410: {
            // Of a fresh subscription it is doubtful: hub/send/prune_proof.hpp.
            const Outcome dead =
                answer.status == 404 ? Outcome::bad_channel : Outcome::expired_channel;
            if (!said.in_json && !says("subscription") && !is_of_wns(answer))
                return suspected(dead, std::move(reason));
            return retired(dead, std::move(reason));
        }
        case 413:
            return refused(Outcome::invalid_notification_size, std::move(reason));
        case 406:  // WNS
        case 429:
            if (answer.status == 406 && !is_of_wns(answer))
                return unlisted(answer, std::move(reason));
            if (says("TooManyRequests"))  // Apple counts them for each device
                return target_throttled(std::move(reason), retry_after_ms(answer, rate_pause_ms));
            return perhaps_throttled(std::move(reason), retry_after_ms(answer, rate_pause_ms));
        case 503: {
            const std::int64_t after_ms = retry_after_ms(answer, 0);
            Judgement out = unwell(Outcome::pns_unavailable, std::move(reason), after_ms);
            out.throttle_origin_ms = after_ms;
            return out;
        }
        default:
            if (answer.status >= 300 && answer.status <= 399)
                return refused(Outcome::pns_interface_error,
                               "a redirection, which is never followed");
            return unlisted(answer, std::move(reason));
    }
}

/// The point of a P-256 key: what its SubjectPublicKeyInfo ends with.
std::string point_of(const Key& key) {
    const std::string pem = key.public_pem();
    const std::size_t start = pem.find('\n'), end = pem.rfind("-----END");
    const auto der = from_base64(std::string_view(pem).substr(start, end - start));
    return der && der->size() > p256_point_bytes ? der->substr(der->size() - p256_point_bytes)
                                                 : std::string();
}

/// Base64url or base64, padded or not.
std::optional<std::string> plain_bytes(std::string_view text) {
    std::string url_safe(text);
    std::replace(url_safe.begin(), url_safe.end(), '+', '-');
    std::replace(url_safe.begin(), url_safe.end(), '/', '_');
    return from_base64url(url_safe);
}

/// The 32 bytes that tools for Web Push print, or any form that Key reads.
std::optional<Key> read_vapid_key(std::string_view text) {
    const auto scalar = plain_bytes(text);
    if (!scalar || scalar->size() != 32) return Key::read_private(text);
    const auto pair = EphemeralKeys::of(*scalar, std::string(web_push_salt_bytes, '\0'));
    if (!pair) return std::nullopt;
    // PrivateKeyInfo of id-ecPublicKey, prime256v1 (RFC 5208, RFC 5915).
    constexpr std::string_view head(
        "\x30\x81\x87\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48"
        "\xce\x3d\x03\x01\x07\x04\x6d\x30\x6b\x02\x01\x01\x04\x20",
        36);
    constexpr std::string_view middle("\xa1\x44\x03\x42\x00", 5);
    std::string der(head);
    der.append(*scalar).append(middle).append(pair->public_point());
    return Key::read_private(base64(der));
}

bool is_contact(std::string_view subject) {
    if (subject.empty() || subject.size() > subject_bytes_max || !is_printable(subject))
        return false;
    if (subject.starts_with("mailto:")) {
        const std::size_t at = subject.rfind('@');
        if (at == std::string_view::npos || at <= 7) return false;
        // The rule for host names keeps localhost out, which Apple refuses.
        const auto host = parse_url("https://" + std::string(subject.substr(at + 1)));
        return host && host->target == "/" && subject.back() != '/';
    }
    const auto url = parse_url(subject);
    return url && url->secure;
}

}  // namespace

Checked<std::unique_ptr<Account>> open_web_push(const Credential& credential) {
    if (auto refusal =
            missing_property(credential, {"Subject", "VapidPublicKey", "VapidPrivateKey"}))
        return std::move(*refusal);
    const std::string_view subject = property(credential, "Subject");
    if (!is_contact(subject))
        return bad_credential(
            "Subject must be a contact for the push services: mailto:<name>@<domain> or an https "
            "URL, not of localhost.");
    auto key = read_vapid_key(property(credential, "VapidPrivateKey"));
    if (!key || !key->is_p256())
        return bad_credential(
            "VapidPrivateKey must be a P-256 private key: its 32 bytes in base64url, or PEM.");
    const auto given = plain_bytes(property(credential, "VapidPublicKey"));
    if (!given || !is_on_p256(*given))
        return bad_credential(
            "VapidPublicKey must be an uncompressed P-256 point, 65 bytes in base64url.");
    if (*given != point_of(*key))
        return bad_credential("VapidPublicKey does not belong to VapidPrivateKey.");
    WebPush::Setup setup{std::move(*key), base64url(*given), std::string(subject)};
    return std::unique_ptr<Account>(std::make_unique<WebPush>(std::move(setup)));
}

}  // namespace pns
