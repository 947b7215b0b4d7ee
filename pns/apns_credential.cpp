// Tested by tests/pns_apns_test.cpp.
#include "pns/apns_credential.hpp"

#include <algorithm>

#include "pns/handles.hpp"
#include "pns/providers.hpp"

namespace pns {

namespace {

constexpr std::uint16_t manage_port = 2196, manage_port_sandbox = 2195;

struct Endpoint {
    bool sandbox = false;
    std::uint16_t port = 443;
    std::optional<Origin> own;  ///< not Apple's
};

/// What an Endpoint property of either authentication mode names.
std::optional<Endpoint> read_endpoint(const Credential& credential) {
    Endpoint out;
    std::string text = lower(property(credential, "Endpoint"));
    if (text.empty()) return out;
    if (text.find("://") == std::string::npos) text.insert(0, "https://");
    const auto url = parse_url(text);
    if (!url || !url->secure) return std::nullopt;
    const std::string& host = url->origin.host;
    out.sandbox = host == "api.sandbox.push.apple.com" ||
                  host == "api.development.push.apple.com" ||
                  host == "gateway.sandbox.push.apple.com";
    if (!out.sandbox && host != "api.push.apple.com" && host != "gateway.push.apple.com") {
        if (!is_operators_host(credential, url->origin)) return std::nullopt;
        out.own = url->origin;
        return out;
    }
    // Credentials of the binary protocol name its port with the gateway.
    const bool old = host.starts_with("gateway.") && url->origin.port == 2195;
    if (!old && url->origin.port != 443 && url->origin.port != 2197) return std::nullopt;
    out.port = url->origin.port == 2197 ? 2197 : 443;
    return out;
}

/// Apple's text names the hosts of device pushes for broadcasts too, its examples others: either
/// may be set.
std::optional<Origin> broadcast_origin(const Credential& credential, const Endpoint& endpoint) {
    const bool sandbox = endpoint.sandbox;
    const std::string plain = sandbox ? "api.sandbox.push.apple.com" : "api.push.apple.com";
    std::string text = lower(property(credential, "BroadcastEndpoint"));
    if (text.empty()) return endpoint.own.value_or(Origin{plain, 443});
    if (text.find("://") == std::string::npos) text.insert(0, "https://");
    const auto url = parse_url(text);
    if (!url || !url->secure) return std::nullopt;
    if (is_operators_host(credential, url->origin)) return url->origin;
    if (url->origin.port != 443 && url->origin.port != 2197) return std::nullopt;
    const std::string other =
        sandbox ? "api-broadcast.sandbox.push.apple.com" : "api-broadcast.push.apple.com";
    if (url->origin.host != plain && url->origin.host != other) return std::nullopt;
    return url->origin;
}

bool is_apple_id(std::string_view text) {
    return text.size() == 10 && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
           });
}

std::optional<Refusal> open_token_mode(const Credential& credential, ApnsCredential& setup) {
    if (auto refusal = missing_property(credential, {"Token", "KeyId", "AppName", "AppId"}))
        return refusal;
    setup.key_id = property(credential, "KeyId");
    setup.team_id = property(credential, "AppId");
    setup.app = property(credential, "AppName");
    if (!is_apple_id(setup.key_id))
        return bad_credential(
            "KeyId must be the 10 letters and digits that Apple shows for the key.");
    if (!is_apple_id(setup.team_id))
        return bad_credential("AppId must be the team id: 10 letters and digits.");
    if (!is_printable(setup.app) || setup.app.size() > 255)
        return bad_credential("AppName must be the bundle id of the app.");
    setup.key = Key::read_private(property(credential, "Token"));
    if (!setup.key)
        return bad_credential("Token must hold the private key of the .p8 file (PKCS#8, base64).");
    if (!setup.key->is_p256()) return bad_credential("The key in Token must be on curve P-256.");
    return std::nullopt;
}

std::optional<Refusal> open_certificate_mode(const Credential& credential, ApnsCredential& setup) {
    const auto der = from_base64(property(credential, "ApnsCertificate"));
    if (!der || der->empty()) return bad_credential("ApnsCertificate must be PKCS#12 in base64.");
    auto certificate =
        read_certificate_file(*der, std::string(property(credential, "CertificateKey")));
    if (!certificate)
        return bad_credential(
            "ApnsCertificate is no PKCS#12 file with certificate and private key, "
            "or CertificateKey is not its password, or the file asks for more than " +
            std::to_string(certificate_iterations_max) + " iterations to open it.");
    setup.certificate = std::move(*certificate);
    setup.app = property(credential, "AppName");
    if (setup.app.empty() && is_printable(setup.certificate.subject_uid))
        setup.app = setup.certificate.subject_uid;
    return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> apns_credential_end_s(const Credential& credential) {
    if (!property(credential, "Token").empty()) return std::nullopt;
    const auto der = from_base64(property(credential, "ApnsCertificate"));
    if (!der) return std::nullopt;
    const auto file =
        read_certificate_file(*der, std::string(property(credential, "CertificateKey")));
    return file ? certificate_end_s(file->chain_pem) : std::nullopt;
}

Checked<ApnsCredential> read_apns_credential(const Credential& credential) {
    ApnsCredential setup;
    const auto endpoint = read_endpoint(credential);
    if (!endpoint)
        return bad_credential(
            "Endpoint must name api.push.apple.com, api.sandbox.push.apple.com "
            "(gateway.… and api.development.… are understood) or a host in the setting "
            "credential_hosts.");
    const bool sandbox = endpoint->sandbox;
    setup.devices = {sandbox ? "api.sandbox.push.apple.com" : "api.push.apple.com", endpoint->port};
    setup.channels = {sandbox ? "api-manage-broadcast.sandbox.push.apple.com"
                              : "api-manage-broadcast.push.apple.com",
                      sandbox ? manage_port_sandbox : manage_port};
    if (endpoint->own) setup.devices = setup.channels = *endpoint->own;
    const auto broadcast = broadcast_origin(credential, *endpoint);
    if (!broadcast)
        return bad_credential(
            "BroadcastEndpoint must name api.push.apple.com or api-broadcast.push.apple.com, with "
            ".sandbox before .push where Endpoint has it, or be left out.");
    setup.broadcast = *broadcast;
    const bool with_certificate =
        property(credential, "Token").empty() && !property(credential, "ApnsCertificate").empty();
    auto refusal = with_certificate ? open_certificate_mode(credential, setup)
                                    : open_token_mode(credential, setup);
    if (refusal) return std::move(*refusal);
    return setup;
}

}  // namespace pns
