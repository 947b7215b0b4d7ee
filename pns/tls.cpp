// Tested by tests/pns_connection_test.cpp.
//
// Contexts are made once and shared; connections only take sessions from them. A client always
// verifies chain and host name: there is no switch that turns this off. OpenSSL's queue of errors
// is emptied after each call that may fill it, because the next user of the thread would read it.

#include "pns/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ssl/error.hpp>
#include <stdexcept>

#include "pns/errc.hpp"

namespace pns {

namespace {

void forget_errors() {
    ERR_clear_error();
}

// ALPN's wire form: each name with its length before it.
std::string alpn_wire(const std::vector<std::string>& names) {
    std::string out;
    for (const auto& name : names) {
        out.push_back(static_cast<char>(name.size()));
        out += name;
    }
    return out;
}

const unsigned char* bytes(const std::string& s) {
    return reinterpret_cast<const unsigned char*>(s.data());
}

TlsContext base_context(asio::ssl::context::method method) {
    auto context = std::make_shared<asio::ssl::context>(method);
    SSL_CTX* raw = context->native_handle();
    SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
    SSL_CTX_set_options(raw, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS);
    return context;
}

bool use_identity(asio::ssl::context& context, const std::string& certificate_pem,
                  const std::string& key_pem) {
    error_code ec;
    context.use_certificate_chain(asio::buffer(certificate_pem), ec);
    if (!ec) context.use_private_key(asio::buffer(key_pem), asio::ssl::context::pem, ec);
    const bool fits = !ec && SSL_CTX_check_private_key(context.native_handle()) == 1;
    forget_errors();
    return fits;
}

// The server's list of protocols lives in the context's ex data.
int alpn_index() {
    static const int index = SSL_CTX_get_ex_new_index(
        0, nullptr, nullptr, nullptr, [](void*, void* list, CRYPTO_EX_DATA*, int, long, void*) {
            delete static_cast<std::string*>(list);
        });
    return index;
}

int select_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                const unsigned char* offered, unsigned int offered_size, void*) {
    const auto* list =
        static_cast<std::string*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), alpn_index()));
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, out_size, bytes(*list),
                              static_cast<unsigned int>(list->size()), offered,
                              offered_size) != OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

bool is_address(const std::string& host) {
    error_code ec;
    asio::ip::make_address(host, ec);
    return !ec;
}

}  // namespace

Result<std::shared_ptr<x509_store_st>> TrustStore::anchors(const std::string& ca_file,
                                                           bool system) {
    const std::lock_guard lock(mutex_);
    for (const Parsed& one : parsed_) {
        if (one.ca_file == ca_file && one.system == system) return one.store;
    }
    const std::shared_ptr<X509_STORE> store(X509_STORE_new(), &X509_STORE_free);
    if (!store) throw std::bad_alloc();
    if (system) X509_STORE_set_default_paths(store.get());
    const bool read = ca_file.empty() || X509_STORE_load_file(store.get(), ca_file.c_str()) == 1;
    forget_errors();
    if (!read) return error_code(errc::bad_pem);
    parsed_.push_back({ca_file, system, store});
    return store;
}

Result<TlsContext> make_client_context(TrustStore& trust, const TlsClientOptions& options) {
    auto store = trust.anchors(options.ca_file, options.system_anchors);
    if (!store) return store.error();
    auto context = base_context(asio::ssl::context::tls_client);
    SSL_CTX_set1_cert_store(context->native_handle(), store->get());
    error_code ec;
    context->set_verify_mode(asio::ssl::verify_peer, ec);
    if (ec) return ec;
    if (!options.certificate_pem.empty() &&
        !use_identity(*context, options.certificate_pem, options.key_pem)) {
        return error_code(errc::bad_pem);
    }
    if (!options.alpn.empty()) {
        std::vector<std::string> names = {options.alpn};
        if (!options.alpn_fallback.empty()) names.push_back(options.alpn_fallback);
        const auto wire = alpn_wire(names);
        SSL_CTX_set_alpn_protos(context->native_handle(), bytes(wire),
                                static_cast<unsigned int>(wire.size()));
    }
    return context;
}

Result<TlsContext> make_server_context(const TlsServerOptions& options) {
    auto context = base_context(asio::ssl::context::tls_server);
    if (!use_identity(*context, options.certificate_pem, options.key_pem)) {
        return error_code(errc::bad_pem);
    }
    SSL_CTX* raw = context->native_handle();
    SSL_CTX_set_options(raw, SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (SSL_CTX_set_cipher_list(raw, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
        throw std::runtime_error("this OpenSSL has none of the ciphers for TLS 1.2");
    if (!options.alpn.empty()) {
        SSL_CTX_set_ex_data(raw, alpn_index(), new std::string(alpn_wire(options.alpn)));
        SSL_CTX_set_alpn_select_cb(raw, &select_alpn, nullptr);
    }
    if (!options.client_ca_pem.empty()) {
        error_code ec;
        context->add_certificate_authority(asio::buffer(options.client_ca_pem), ec);
        if (ec) {
            forget_errors();
            return error_code(errc::bad_pem);
        }
        SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    const std::string session_context = "pushhub";
    SSL_CTX_set_session_id_context(raw, bytes(session_context),
                                   static_cast<unsigned int>(session_context.size()));
    return context;
}

bool expect_host(ssl_st* ssl, const std::string& host) {
    bool ok = false;
    if (is_address(host)) {
        ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1;
    } else {
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        ok = SSL_set1_host(ssl, host.c_str()) == 1 &&
             SSL_set_tlsext_host_name(ssl, host.c_str()) == 1;
    }
    forget_errors();
    return ok;
}

std::string_view chosen_protocol(ssl_st* ssl) {
    const unsigned char* name = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl, &name, &size);
    return {reinterpret_cast<const char*>(name), size};
}

error_code handshake_error(ssl_st* ssl, const error_code& ec) {
    if (SSL_get_verify_result(ssl) != X509_V_OK) return errc::certificate_not_trusted;
    const bool tls = ec.category() == asio::error::get_ssl_category();
    return tls ? error_code(errc::tls_failed) : error_code(errc::connection_ended);
}

}  // namespace pns
