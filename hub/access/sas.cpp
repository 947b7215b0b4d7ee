// check_sas() goes through the steps of the contract in order: split the token, look at its
// expiry, compare host and path, find the rule, compare the signature. Each thread keeps the
// signatures that it computed last, as clients send the same token again and again. Comparison
// takes constant time. No refusal repeats a key or a signature.
#include "hub/access/sas.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>

#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "tagexpr/keyed_hash.hpp"

namespace hub {
namespace {

Refusal unauthorized(std::string message) {
    return {401, std::move(message)};
}

Refusal malformed(std::string_view why) {
    return unauthorized("MalformedToken: " + std::string(why));
}

struct Token {
    std::string_view sr;
    std::string_view sig;
    std::string_view se;
    std::string_view skn;
};

Parsed<Token> split(std::string_view header) {
    constexpr std::string_view scheme = "SharedAccessSignature";
    if (header.empty())
        return unauthorized("MissingToken: The request has no Authorization header");
    if (header.size() > sas_header_bytes_max)
        return malformed("The Authorization header is too long");
    if (header.size() <= scheme.size() ||
        !same_ignoring_case(header.substr(0, scheme.size()), scheme) ||
        header[scheme.size()] != ' ')
        return malformed("The Authorization header does not start with 'SharedAccessSignature '");
    header = trimmed(header.substr(scheme.size()));

    std::map<std::string, std::string_view> fields;
    while (!header.empty()) {
        const std::size_t end = std::min(header.find('&'), header.size());
        const std::string_view field = header.substr(0, end);
        header.remove_prefix(std::min(end + 1, header.size()));
        const std::size_t equals = field.find('=');
        if (equals == std::string_view::npos) continue;
        if (!fields.emplace(lower(field.substr(0, equals)), field.substr(equals + 1)).second)
            return malformed("The token has a field twice");
    }
    Token token;
    const std::array<std::pair<const char*, std::string_view*>, 4> wanted{
        {{"sr", &token.sr}, {"sig", &token.sig}, {"se", &token.se}, {"skn", &token.skn}}};
    for (const auto& [name, value] : wanted) {
        const auto found = fields.find(name);
        if (found == fields.end() || found->second.empty())
            return malformed(std::string("The token has no '") + name + "'");
        *value = found->second;
    }
    return token;
}

/// Without a port; IPv6 literals keep their brackets.
std::string host_name(std::string_view host) {
    const std::size_t bracket = host.rfind(']');
    const std::size_t colon = host.rfind(':');
    if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket))
        host = host.substr(0, colon);
    if (!host.empty() && host.back() == '.') host.remove_suffix(1);
    return lower(host);
}

/// Percent-decoded, without query and trailing slashes.
std::string comparable_path(std::string_view path) {
    std::string out = percent_decoded(path.substr(0, path.find_first_of("?#")));
    while (!out.empty() && out.back() == '/') out.pop_back();
    return out;
}

struct Resource {
    std::string host;
    std::string path;
};

/// The URI in `sr`: encoded once by most clients, twice by some.
std::optional<Resource> resource_of(std::string_view sr) {
    std::string uri = percent_decoded(sr);
    std::size_t scheme = uri.find("://");
    if (scheme == std::string::npos) {
        uri = percent_decoded(uri);
        scheme = uri.find("://");
    }
    if (scheme == std::string::npos) return std::nullopt;
    const std::string_view rest = std::string_view(uri).substr(scheme + 3);
    const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
    return Resource{host_name(rest.substr(0, end)), comparable_path(rest.substr(end))};
}

/// Names of hubs and words of routes ignore case. What comes after them is an id, which is exact;
/// but clients sign their address in lower case, so only one with a capital letter is compared so.
bool covers(std::string_view signed_path, std::string_view path) {
    constexpr int slashes_before_ids = 3;  // "/hub/installations/id"
    if (signed_path.size() > path.size()) return false;
    const bool ends_there =
        path.size() == signed_path.size() || signed_path.empty() || path[signed_path.size()] == '/';
    if (!ends_there || !same_ignoring_case(path.substr(0, signed_path.size()), signed_path))
        return false;
    std::size_t id = 0;
    for (int i = 0; i < slashes_before_ids && id != std::string_view::npos; ++i)
        id = signed_path.find('/', i == 0 ? 0 : id + 1);
    if (id == std::string_view::npos) return true;
    const std::string_view signed_id = signed_path.substr(id);
    const bool lower_case = lower(signed_id) == signed_id;
    return lower_case || path.substr(id, signed_id.size()) == signed_id;
}

/// What the token is for, and what it was used for.
std::string wrong_audience(const SasCheck& check, const std::optional<Resource>& resource,
                           bool known_host) {
    if (!resource) return "its sr is no address";
    if (known_host) return "the path of its sr is not that of the request or above it";
    std::string asked = "the request went to the host '" + shown(host_name(check.host)) + "'";
    if (!check.hosts.empty()) {
        asked = "this service has the host names ";
        for (std::size_t i = 0; i < check.hosts.size(); ++i)
            asked += (i > 0 ? ", '" : "'") + shown(host_name(check.hosts[i])) + "'";
    }
    return "it is for the host '" + shown(resource->host) + "', and " + asked;
}

const Rule* find_rule(std::span<const Rule> rules, std::string_view name) {
    const auto found = std::find_if(rules.begin(), rules.end(),
                                    [&](const Rule& rule) { return rule.name == name; });
    return found == rules.end() ? nullptr : &*found;
}

/// sas_signature(), which costs more than all else of a check: clients send a token as long as it
/// is valid, so what was computed last is kept for a while, on every thread.
const std::string& kept_signature(std::string_view key, std::string_view sr, std::string_view se) {
    struct Kept {
        std::string key, sr, se, signature;
    };
    thread_local std::array<Kept, 256> all;
    Kept& kept =
        all[(tagexpr::keyed_hash(key) ^ tagexpr::keyed_hash(sr) * 31 ^ tagexpr::keyed_hash(se)) %
            all.size()];
    if (kept.key != key || kept.sr != sr || kept.se != se)
        kept = {std::string(key), std::string(sr), std::string(se), sas_signature(key, sr, se)};
    return kept.signature;
}

bool signed_with(std::string_view key, const Token& token, std::string_view signature) {
    if (key.empty()) return false;
    const std::string& expected = kept_signature(key, token.sr, token.se);
    return expected.size() == signature.size() &&
           CRYPTO_memcmp(expected.data(), signature.data(), expected.size()) == 0;
}

}  // namespace

std::string sas_signature(std::string_view key, std::string_view sr, std::string_view se) {
    std::string text(sr);
    text.append("\n").append(se);
    std::array<unsigned char, 32> digest{};
    unsigned length = 0;
    HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
         reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &length);
    std::array<unsigned char, 48> encoded{};
    const int size = EVP_EncodeBlock(encoded.data(), digest.data(), static_cast<int>(length));
    return {encoded.begin(), encoded.begin() + size};
}

Parsed<SasMatch> check_sas(const SasCheck& check) {
    const auto parsed = split(check.authorization);
    if (const auto* refusal = std::get_if<Refusal>(&parsed)) return *refusal;
    const Token& token = std::get<Token>(parsed);

    std::int64_t expiry_s = 0;
    const auto [end, error] =
        std::from_chars(token.se.data(), token.se.data() + token.se.size(), expiry_s);
    if (error != std::errc{} || end != token.se.data() + token.se.size() || expiry_s < 0)
        return malformed("'se' is not a number of seconds since 1970");
    if (expiry_s <= check.now_s - check.skew_s)
        return unauthorized("ExpiredToken: The token expired at " +
                            iso_seconds(std::min<std::int64_t>(expiry_s, 253'402'300'799) * 1000));

    const auto resource = resource_of(token.sr);
    const bool known_host =
        resource && (check.hosts.empty() ? resource->host == host_name(check.host)
                                         : std::any_of(check.hosts.begin(), check.hosts.end(),
                                                       [&](const std::string& name) {
                                                           return host_name(name) == resource->host;
                                                       }));
    if (!known_host || !covers(resource->path, comparable_path(check.path)))
        return unauthorized(
            "InvalidAudience: The authorization header contains a token with a wrong audience: " +
            wrong_audience(check, resource, known_host));

    const std::string name = percent_decoded(token.skn);
    SasMatch match{find_rule(check.hub_rules, name), false};
    if (match.rule == nullptr) match = {find_rule(check.namespace_rules, name), true};
    std::string signature = percent_decoded(token.sig);
    // A '+' that some client put through a form encoder.
    std::replace(signature.begin(), signature.end(), ' ', '+');
    const bool valid =
        match.rule != nullptr && (signed_with(match.rule->primary_key, token, signature) ||
                                  signed_with(match.rule->secondary_key, token, signature));
    if (!valid) return unauthorized("InvalidSignature: The token has an invalid signature.");
    return match;
}

std::string rule_named_in(std::string_view authorization) {
    const auto parsed = split(authorization);
    return ok(parsed) ? percent_decoded(std::get<Token>(parsed).skn) : std::string();
}

std::string make_sas(std::string_view uri, std::string_view rule_name, std::string_view key,
                     std::int64_t expiry_s) {
    std::string sr;
    append_percent_encoded(sr, lower(uri));
    const std::string se = std::to_string(expiry_s);
    std::string out = "SharedAccessSignature sr=" + sr + "&sig=";
    append_percent_encoded(out, sas_signature(key, sr, se));
    out += "&se=" + se + "&skn=";
    append_percent_encoded(out, rule_name);
    return out;
}

}  // namespace hub
