// The push services of browsers: docs/contracts/pns.md 5, 8.7. Tested by
// tests/pns_webpush_test.cpp.
//
// Three personalities by host name: Mozilla's, Apple's, and Google's for everything else. Behind
// them stands one browser key for all subscriptions, and an `auth` secret that differs from one to
// the next. Bodies are opened as a browser would, with OpenSSL's own key agreement and HKDF, so
// that a fault of pns/webpush_crypto.cpp is not met by its like.
#include "pns/sim/webpush.hpp"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "pns/handles.hpp"
#include "pns/jwt.hpp"
#include "pns/openssl_free.hpp"
#include "pns/sim/platforms.hpp"

namespace pns::sim {

namespace {

using Json = nlohmann::json;

constexpr std::size_t google_bytes_max = 4096, mozilla_bytes_max = 5630, apple_bytes_max = 4096;
constexpr std::int64_t token_life_s_max = 24 * 3600;
constexpr std::size_t salt_bytes = 16, header_bytes = 21, point_bytes = 65, tag_bytes = 16;

using KeyPointer = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, Free<EVP_PKEY_CTX_free>>;
using Kdf = std::unique_ptr<EVP_KDF, Free<EVP_KDF_free>>;
using KdfContext = std::unique_ptr<EVP_KDF_CTX, Free<EVP_KDF_CTX_free>>;
using Cipher = std::unique_ptr<EVP_CIPHER_CTX, Free<EVP_CIPHER_CTX_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;

unsigned char* bytes_of(std::string& text) {
    return reinterpret_cast<unsigned char*>(text.data());
}
const unsigned char* bytes_of(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}

std::string der_of(const std::string& pem) {
    const std::size_t start = pem.find('\n'), end = pem.rfind("-----END");
    return from_base64(std::string_view(pem).substr(start, end - start)).value_or("");
}

std::string point_of(const Key& key) {
    const std::string der = der_of(key.public_pem());
    return der.substr(der.size() - point_bytes);
}

/// The public key whose uncompressed point this is.
std::optional<Key> key_of(std::string_view point) {
    if (!is_p256_point(point)) return std::nullopt;
    constexpr std::string_view head(
        "\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01"
        "\x07\x03\x42\x00",
        26);
    return Key::read_public("-----BEGIN PUBLIC KEY-----\n" +
                            base64(std::string(head).append(point)) +
                            "\n-----END PUBLIC KEY-----\n");
}

std::string hkdf(const std::string& key, const std::string& salt, const std::string& info,
                 std::size_t bytes) {
    const Kdf kdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
    const KdfContext context(EVP_KDF_CTX_new(kdf.get()));
    char digest[] = "SHA256";
    std::string k = key, s = salt, i = info, out(bytes, '\0');
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, k.data(), k.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, s.data(), s.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, i.data(), i.size()),
        OSSL_PARAM_construct_end()};
    if (EVP_KDF_derive(context.get(), bytes_of(out), out.size(), params) != 1) out.clear();
    return out;
}

/// A browser: its key, and how it reads a push (RFC 8291 3.4, RFC 8188 2).
class Browser {
  public:
    explicit Browser(const std::string& private_pem) {
        const Bio bio(BIO_new_mem_buf(private_pem.data(), static_cast<int>(private_pem.size())));
        key_.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
        if (const auto key = Key::read_private(private_pem)) point_ = point_of(*key);
    }

    std::optional<std::string> open(std::string_view body, const std::string& auth) const {
        if (!key_ || body.size() < header_bytes + point_bytes + tag_bytes + 1) return std::nullopt;
        const std::string salt(body.substr(0, salt_bytes));
        std::uint32_t record_bytes = 0;
        for (std::size_t at = salt_bytes; at < salt_bytes + 4; ++at)
            record_bytes = (record_bytes << 8) | static_cast<unsigned char>(body[at]);
        const auto id_bytes = static_cast<unsigned char>(body[salt_bytes + 4]);
        if (id_bytes != point_bytes) return std::nullopt;
        const std::string theirs(body.substr(header_bytes, point_bytes));
        const std::string_view record = body.substr(header_bytes + point_bytes);
        if (record_bytes < 18 || record.size() > record_bytes) return std::nullopt;

        const std::string shared = agree(theirs);
        if (shared.empty()) return std::nullopt;
        const std::string info = std::string("WebPush: info").append(1, '\0') + point_ + theirs;
        const std::string ikm = hkdf(shared, auth, info, 32);
        const auto label = [](const char* text) { return std::string(text).append(1, '\0'); };
        const std::string cek = hkdf(ikm, salt, label("Content-Encoding: aes128gcm"), 16);
        const std::string nonce = hkdf(ikm, salt, label("Content-Encoding: nonce"), 12);
        auto plain = decrypt(record, cek, nonce);
        if (!plain) return std::nullopt;
        // The last record: plain text, 2, zeros.
        const std::size_t end = plain->find_last_not_of('\0');
        if (end == std::string::npos || (*plain)[end] != '\x02') return std::nullopt;
        plain->resize(end);
        return plain;
    }

    const std::string& point() const { return point_; }

  private:
    std::string agree(const std::string& point) const {
        if (!is_p256_point(point)) return {};
        const KeyPointer theirs(EVP_PKEY_new());
        const KeyContext context(EVP_PKEY_CTX_new(key_.get(), nullptr));
        std::string out(32, '\0');
        std::size_t size = out.size();
        const bool good = EVP_PKEY_copy_parameters(theirs.get(), key_.get()) == 1 &&
                          EVP_PKEY_set1_encoded_public_key(
                              theirs.get(), bytes_of(std::string_view(point)), point.size()) == 1 &&
                          EVP_PKEY_derive_init(context.get()) == 1 &&
                          EVP_PKEY_derive_set_peer(context.get(), theirs.get()) == 1 &&
                          EVP_PKEY_derive(context.get(), bytes_of(out), &size) == 1 &&
                          size == out.size();
        ERR_clear_error();
        return good ? out : std::string();
    }

    static std::optional<std::string> decrypt(std::string_view record, const std::string& cek,
                                              const std::string& nonce) {
        const Cipher cipher(EVP_CIPHER_CTX_new());
        std::string out(record.substr(0, record.size() - tag_bytes));
        std::string tag(record.substr(record.size() - tag_bytes));
        int size = 0, rest = 0;
        const bool good =
            EVP_DecryptInit_ex(cipher.get(), EVP_aes_128_gcm(), nullptr,
                               bytes_of(std::string_view(cek)),
                               bytes_of(std::string_view(nonce))) == 1 &&
            EVP_DecryptUpdate(cipher.get(), bytes_of(out), &size, bytes_of(out),
                              static_cast<int>(out.size())) == 1 &&
            EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, tag_bytes, tag.data()) == 1 &&
            EVP_DecryptFinal_ex(cipher.get(), bytes_of(out) + size, &rest) == 1;
        ERR_clear_error();
        if (!good) return std::nullopt;
        return out;
    }

    KeyPointer key_;
    std::string point_;
};

std::string auth_secret(std::string_view endpoint) {
    return sha256_hex(endpoint).substr(0, 16);
}

std::string handle_of(std::string_view endpoint, std::string_view point) {
    return R"({"endpoint":")" + std::string(endpoint) + R"(","p256dh":")" + base64url(point) +
           R"(","auth":")" + base64url(auth_secret(endpoint)) + R"("})";
}

enum class Service { google, mozilla, apple };

Service service_of(std::string_view host) {
    if (within_domain(host, "push.services.mozilla.com")) return Service::mozilla;
    if (within_domain(host, "push.apple.com")) return Service::apple;
    return Service::google;
}

/// What a service answers to one kind of fault.
struct Words {
    int google_status;
    std::string_view google_text;
    int mozilla_status, mozilla_errno;
    std::string_view mozilla_error;
    int apple_status;
    std::string_view apple_reason;
};

constexpr Words no_such_path = {404, "Not Found", 404, 102, "Not Found", 404, "BadPath"};
constexpr Words bad_ttl = {
    400, "TTL is missing or not valid", 400, 111, "Missing TTL Header", 400, "BadTtl"};
constexpr Words bad_urgency = {
    400, "Urgency is not valid", 400, 116, "Invalid Urgency value", 400, "BadUrgency"};
constexpr Words bad_topic = {400, "Topic is not valid", 400, 113, "Invalid Topic",
                             400, "BadWebPushTopic"};
constexpr Words bad_encoding = {400,
                                "Content-Encoding must be aes128gcm",
                                400,
                                110,
                                "Invalid encryption headers",
                                400,
                                "BadWebPushRequest"};
constexpr Words no_vapid = {
    401, "Authorization header must be specified", 401, 109, "Missing VAPID", 403, "BadJwtToken"};
constexpr Words bad_vapid = {403, "invalid JWT provided", 401, 109, "Invalid VAPID",
                             403, "BadJwtToken"};
constexpr Words other_key = {
    403,
    "the VAPID credentials in the authorization header do not correspond to the credentials used "
    "to create the subscriptions.",
    401,
    109,
    "VAPID public key mismatch",
    400,
    "VapidPkHashMismatch"};
constexpr Words too_big = {400,
                           "binary data passed in the request must be less than 4096 bytes.",
                           413,
                           104,
                           "Payload Too Large",
                           413,
                           "PayloadTooLarge"};
constexpr Words gone = {
    410, "push subscription has unsubscribed or expired.", 410, 106, "Gone", 410, "Unregistered"};
constexpr Words dead = {404, "Not Found", 404, 102, "Not Found", 404, "BadDeviceToken"};
constexpr Words too_many = {429, "Too Many Requests", 429, 120, "Too many requests",
                            429, "TooManyRequests"};
constexpr Words broken = {500, "Internal Server Error", 500, 999, "Internal Server Error",
                          500, "InternalServerError"};
constexpr Words overloaded = {503, "Service Unavailable", 503, 201, "Service Unavailable",
                              503, "ServiceUnavailable"};
constexpr Words unreadable = {400,
                              "the browser cannot decrypt this",
                              400,
                              110,
                              "The browser cannot decrypt this",
                              400,
                              "BadWebPushRequest"};

Reply say(Service service, const Words& words) {
    if (service == Service::google) {
        Reply reply = reply_of(words.google_status, std::string(words.google_text),
                               std::string(words.google_text) + '\n');
        reply.headers.emplace_back("content-type", "text/plain; charset=utf-8");
        return reply;
    }
    Json body;
    Reply reply;
    if (service == Service::mozilla) {
        body = {{"code", words.mozilla_status},
                {"errno", words.mozilla_errno},
                {"error", words.mozilla_error},
                {"message", words.mozilla_error},
                {"more_info", "http://autopush.readthedocs.io/en/latest/http.html#error-codes"}};
        reply = reply_of(words.mozilla_status, "errno " + std::to_string(words.mozilla_errno));
        if (words.mozilla_status == 410)
            reply.headers.emplace_back("cache-control", "max-age=86400");
    } else {
        body = {{"reason", words.apple_reason}};
        reply = reply_of(words.apple_status, std::string(words.apple_reason));
    }
    reply.body = body.dump();
    reply.headers.emplace_back("content-type", "application/json");
    return reply;
}

bool is_number(std::string_view text) {
    return !text.empty() && text.size() <= 10 &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// The value of `name=` among the parameters of an Authorization header.
std::string_view parameter(std::string_view parameters, std::string_view name) {
    while (!parameters.empty()) {
        std::string_view one = parameters.substr(0, parameters.find(','));
        parameters.remove_prefix(std::min(one.size() + 1, parameters.size()));
        one.remove_prefix(std::min(one.find_first_not_of(' '), one.size()));
        if (one.starts_with(name) && one.substr(name.size()).starts_with('='))
            return one.substr(name.size() + 1);
    }
    return {};
}

class WebPush final : public Provider {
  public:
    WebPush(const SimOptions& options, RuleBook& rules, Journal& journal)
        : Provider(options, rules, journal), browser_(options.trust.browser_key_pem) {
        if (const auto key = Key::read_public(options.trust.public_key_pem))
            bound_point_ = point_of(*key);
    }

    bool is_token_request(const Request&) const override { return false; }
    Habits habits() const override {
        Habits out;
        out.streams_max = 100;
        return out;
    }

  protected:
    Reply mint(const Request&, std::int64_t) override { return reply_of(404, "no tokens here"); }

    std::optional<Reply> check(const Request& request, Visit& visit, std::int64_t now_ms,
                               Incoming& push) override {
        const auto url =
            parse_url("https://" + std::string(request.authority) + std::string(request.path));
        if (!url) return say(Service::google, no_such_path);
        const Service service = service_of(url->origin.host);
        const std::string endpoint = "https://" + url->origin.host + url->target;
        if (!is_path(service, url->target)) return say(service, no_such_path);
        push.handle = handle_of(endpoint, browser_.point());
        if (request.method != "POST") return reply_of(405, "Method Not Allowed");
        if (auto refusal = check_headers(service, request)) return refusal;
        if (auto refusal = check_vapid(service, url->origin.host, request, visit, now_ms))
            return refusal;
        const std::size_t bytes_max = service == Service::mozilla ? mozilla_bytes_max
                                      : service == Service::apple ? apple_bytes_max
                                                                  : google_bytes_max;
        if (request.body.size() > bytes_max) return say(service, too_big);
        if (!request.body.empty()) {
            auto plain = browser_.open(request.body, auth_secret(endpoint));
            if (!plain) return say(service, unreadable);
            push.opened = std::move(*plain);
        }
        push.id = std::string(request.header("topic")) + ' ' + push.opened;
        return std::nullopt;
    }

    Reply act(const Behaviour& behaviour, const Incoming& push, std::int64_t) override {
        const auto origin = browser_origin(push.handle);
        const Service service = origin ? service_of(origin->host) : Service::google;
        switch (behaviour.act) {
            case Act::gone:
                return say(service, gone);
            case Act::bad_handle:
                return say(service, dead);
            case Act::wrong_app:
                return say(service, other_key);
            case Act::throttled:
                return say(service, too_many);
            case Act::server_error:
                return say(service, broken);
            case Act::unavailable:
                return say(service, overloaded);
            case Act::answer: {
                Reply reply = rule_answer(behaviour, behaviour.reason);
                reply.accepted = behaviour.status >= 200 && behaviour.status <= 202;
                return reply;
            }
            default:
                break;
        }
        Reply reply = reply_of(201, {});
        reply.accepted = true;
        const std::string number = std::to_string(++messages_);
        if (service == Service::apple)
            reply.headers.emplace_back(
                "apns-id",
                "00000000-0000-4000-8000-" + std::string(12 - number.size(), '0') + number);
        else
            reply.headers.emplace_back("location",
                                       "https://" + (origin ? origin->host : "") + "/m/" + number);
        return reply;
    }

  private:
    static bool is_path(Service service, std::string_view target) {
        if (service == Service::mozilla)
            return target.starts_with("/wpush/v1/") || target.starts_with("/wpush/v2/");
        if (service == Service::google)
            return target.starts_with("/fcm/send/") || target.starts_with("/wp/");
        return target.size() > 1;
    }

    static std::optional<Reply> check_headers(Service service, const Request& request) {
        if (!is_number(request.header("ttl"))) return say(service, bad_ttl);
        const std::string_view urgency = request.header("urgency");
        if (!urgency.empty() && urgency != "very-low" && urgency != "low" && urgency != "normal" &&
            urgency != "high")
            return say(service, bad_urgency);
        const std::string_view topic = request.header("topic");
        const bool decodable = service != Service::apple || topic.size() % 4 != 1;
        if (topic.size() > 32 || !is_topic_text(topic) || !decodable)
            return say(service, bad_topic);
        if (!request.body.empty() && request.header("content-encoding") != "aes128gcm")
            return say(service, bad_encoding);
        return std::nullopt;
    }

    static bool is_topic_text(std::string_view topic) {
        return std::all_of(topic.begin(), topic.end(), [](char c) {
            return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                   c == '-' || c == '_';
        });
    }

    /// RFC 8292; a header that was found good is not looked at again on this connection.
    std::optional<Reply> check_vapid(Service service, const std::string& host,
                                     const Request& request, Visit& visit,
                                     std::int64_t now_ms) const {
        const std::string_view header = request.header("authorization");
        if (!header.empty() && header == visit.authorization && now_ms < visit.good_until_ms)
            return std::nullopt;
        if (header.size() < 6 || !same_ignoring_case(header.substr(0, 6), "vapid "))
            return say(service, no_vapid);
        const auto point = from_base64url(parameter(header.substr(6), "k"));
        const auto jwt = split_jwt(parameter(header.substr(6), "t"));
        if (!point || !jwt) return say(service, bad_vapid);
        const auto key = key_of(*point);
        if (!key || !key->verify(jwt->signed_part, jwt->signature)) return say(service, bad_vapid);
        const Json head = Json::parse(jwt->header, nullptr, false);
        const Json claims = Json::parse(jwt->claims, nullptr, false);
        if (!head.is_object() || head.value("alg", Json()) != "ES256" || !claims.is_object())
            return say(service, bad_vapid);
        const Json exp = claims.value("exp", Json()), sub = claims.value("sub", Json());
        const std::int64_t now_s = now_ms / 1000;
        const bool good = claims.value("aud", Json()) == "https://" + host &&
                          exp.is_number_integer() && exp.get<std::int64_t>() > now_s &&
                          exp.get<std::int64_t>() <= now_s + token_life_s_max && is_contact(sub);
        if (!good) return say(service, bad_vapid);
        if (!bound_point_.empty() && *point != bound_point_) return say(service, other_key);
        visit.authorization = header;
        visit.good_until_ms = exp.get<std::int64_t>() * 1000;
        return std::nullopt;
    }

    static bool is_contact(const Json& sub) {
        if (!sub.is_string()) return false;
        const auto& text = sub.get_ref<const std::string&>();
        if (text.find("localhost") != std::string::npos) return false;
        return text.starts_with("mailto:") || text.starts_with("https://");
    }

    Browser browser_;
    std::string bound_point_;
    std::atomic<std::uint64_t> messages_{0};
};

}  // namespace

std::string subscription(const Trust& trust, std::string_view endpoint) {
    const auto key = Key::read_private(trust.browser_key_pem);
    return key ? handle_of(endpoint, point_of(*key)) : std::string();
}

std::unique_ptr<Provider> make_web_push(const SimOptions& options, RuleBook& rules,
                                        Journal& journal) {
    return std::make_unique<WebPush>(options, rules, journal);
}

MadeCredential make_web_push_credential() {
    const Key key = Key::generate_p256();
    const std::string der = der_of(key.private_pem());
    MadeCredential made;
    made.trust.public_key_pem = key.public_pem();
    made.trust.browser_key_pem = Key::generate_p256().private_pem();
    made.credential.properties["Subject"] = "mailto:push@example.org";
    made.credential.properties["VapidPublicKey"] = base64url(point_of(key));
    // PrivateKeyInfo: the scalar stands behind 36 bytes.
    made.credential.properties["VapidPrivateKey"] = base64url(der.substr(36, 32));
    return made;
}

}  // namespace pns::sim
