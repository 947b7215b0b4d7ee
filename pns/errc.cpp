#include "pns/errc.hpp"

#include <string>

namespace pns {

namespace {

const char* text(errc e) {
    switch (e) {
        case errc::resolve_failed:
            return "the provider's name has no address";
        case errc::connect_failed:
            return "no address of the provider accepts a connection";
        case errc::connect_timeout:
            return "connecting to the provider took too long";
        case errc::tls_failed:
            return "the TLS handshake with the provider failed";
        case errc::certificate_not_trusted:
            return "the provider's certificate is not trusted";
        case errc::alpn_refused:
            return "the provider did not choose the protocol offered";
        case errc::settings_timeout:
            return "the provider sent no HTTP/2 SETTINGS";
        case errc::ping_timeout:
            return "the connection no longer answers";
        case errc::protocol_error:
            return "the provider broke HTTP";
        case errc::connection_ended:
            return "the connection ended";
        case errc::idle_closed:
            return "the connection was closed after idling";
        case errc::retired:
            return "the connection was retired";
        case errc::stopped:
            return "the sender stops";
        case errc::bad_connect_to:
            return "not HOST:PORT=ADDRESS:PORT";
        case errc::bad_pem:
            return "a certificate, key or CA file cannot be read";
        case errc::bad_key:
            return "the signing key cannot be read or is of the wrong kind";
        case errc::signing_failed:
            return "the signature could not be made";
        case errc::token_refused:
            return "the token endpoint refuses the credential";
        case errc::token_unreachable:
            return "the token endpoint gave no usable answer";
        case errc::token_malformed:
            return "the token endpoint's answer is not OAuth JSON";
        case errc::address_not_public:
            return "the host has a private or special address";
        case errc::bad_push_service:
            return "not a host name, *.NAME or *, with :PORT or without";
        case errc::no_descriptors:
            return "the process has too few descriptors for another connection";
    }
    return "unknown error";
}

class Category final : public boost::system::error_category {
  public:
    const char* name() const noexcept override { return "pns"; }
    std::string message(int value) const override { return text(static_cast<errc>(value)); }
};

}  // namespace

const boost::system::error_category& error_category() noexcept {
    static const Category category;
    return category;
}

}  // namespace pns
