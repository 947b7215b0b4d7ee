#pragma once

// The TLS contexts of all our clients and servers: TLS 1.2 or newer, no compression, no
// renegotiation. Clients always verify. Servers take only ciphers with forward secrecy.
//
// A TrustStore parses the system's anchors (and an extra CA file) once for all contexts of a
// process: parsing costs tens of milliseconds, a context per credential costs little. Any thread;
// immutable after making.

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "pns/task.hpp"

struct ssl_st;
struct x509_store_st;

namespace pns {

using TlsContext = std::shared_ptr<asio::ssl::context>;

/// Trust anchors by CA file, parsed once each.
class TrustStore {
  public:
    /// The system's anchors, if asked for, and those of `ca_file` (PEM; may be empty).
    /// errc::bad_pem if the file has none.
    Result<std::shared_ptr<x509_store_st>> anchors(const std::string& ca_file, bool system);

  private:
    struct Parsed {
        std::string ca_file;
        bool system;
        std::shared_ptr<x509_store_st> store;
    };
    std::mutex mutex_;
    std::vector<Parsed> parsed_;
};

struct TlsClientOptions {
    std::string ca_file;          ///< extra trust anchors
    bool system_anchors = true;   ///< trust those of the system, too
    std::string certificate_pem;  ///< client certificate chain and key; empty = none
    std::string key_pem;
    std::string alpn;           ///< "h2", "http/1.1"
    std::string alpn_fallback;  ///< offered after it; empty = nothing else
};
Result<TlsContext> make_client_context(TrustStore& trust, const TlsClientOptions& options);

struct TlsServerOptions {
    std::string certificate_pem;  ///< leaf and its chain
    std::string key_pem;
    std::vector<std::string> alpn;  ///< in order of preference; a client without ALPN is accepted
    std::string client_ca_pem;  ///< demand client certificates signed by these; empty = none asked
};
Result<TlsContext> make_server_context(const TlsServerOptions& options);

/// SNI and name check of one client connection; `host` is a DNS name or an address literal.
bool expect_host(ssl_st* ssl, const std::string& host);
/// What ALPN chose, or empty.
std::string_view chosen_protocol(ssl_st* ssl);
/// After a failed handshake: was it our check of the peer's certificate
/// (errc::certificate_not_trusted) or something else?
error_code handshake_error(ssl_st* ssl, const error_code& ec);

}  // namespace pns
