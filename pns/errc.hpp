#pragma once

// What can go wrong on the way to a provider. What a provider says is not here: that is a Verdict
// (pns/platform.hpp).

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>

namespace pns {

enum class errc {
    resolve_failed = 1,       ///< no address for the provider's name
    connect_failed,           ///< no address of the provider accepts
    connect_timeout,          ///< resolving, connecting or the TLS handshake took too long
    tls_failed,               ///< the TLS handshake failed for another reason than the certificate
    certificate_not_trusted,  ///< chain or name of the provider's certificate: configuration
    alpn_refused,             ///< the provider did not choose the protocol we need
    settings_timeout,         ///< no HTTP/2 SETTINGS after the handshake
    ping_timeout,             ///< the connection no longer answers
    protocol_error,           ///< the peer broke HTTP
    connection_ended,         ///< closed by the peer, or the network
    idle_closed,              ///< closed here: not used for long
    retired,                  ///< closed here: drained after GOAWAY, age or a judgement
    stopped,                  ///< closed here: the sender ends
    bad_connect_to,           ///< a --connect-to rule is none
    bad_pem,                  ///< a certificate, key or CA file cannot be read
    bad_key,                  ///< a signing key cannot be read or is of the wrong kind
    signing_failed,           ///< the signature could not be made
    token_refused,            ///< the token endpoint refuses the credential: configuration
    token_unreachable,        ///< the token endpoint gave no usable answer for now
    token_malformed,          ///< the token endpoint's answer is not OAuth JSON
    address_not_public,       ///< a name that a handle brought leads to a private address
    bad_push_service,         ///< a rule for push services is none
    no_descriptors,           ///< those that are left belong to others (Target)
};

const boost::system::error_category& error_category() noexcept;

inline boost::system::error_code make_error_code(errc e) noexcept {
    return {static_cast<int>(e), error_category()};
}

}  // namespace pns

template <>
struct boost::system::is_error_code_enum<pns::errc> : std::true_type {};
