// Tested by tests/hub_service_test.cpp.

#include "hub/server/tls_files.hpp"

#include <openssl/ssl.h>

#include <algorithm>
#include <stdexcept>
#include <string_view>

#include "hub/process/private_file.hpp"
#include "pns/own_authority.hpp"

namespace hub {

namespace {

namespace ssl = boost::asio::ssl;

pns::CertificatePair authority(const std::filesystem::path& folder) {
    const auto certificate = folder / "ca.pem";
    const auto key = folder / "ca.key";
    if (std::filesystem::exists(certificate) && std::filesystem::exists(key)) {
        return {read_small_file(certificate), read_small_file(key)};
    }
    auto made = pns::make_ca("pushhub local CA");
    write_private_file(key, made.key_pem);
    write_private_file(certificate, made.certificate_pem);
    std::filesystem::permissions(certificate, std::filesystem::perms(0644));
    return made;
}

bool offers(std::string_view list, std::string_view protocol) {
    while (!list.empty()) {
        const auto size = static_cast<unsigned char>(list.front());
        list.remove_prefix(1);
        if (list.substr(0, size) == protocol) return true;
        list.remove_prefix(std::min<std::size_t>(size, list.size()));
    }
    return false;
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* in, unsigned in_size, void*) {
    static constexpr std::string_view h2 = "h2";
    static constexpr std::string_view h1 = "http/1.1";
    const std::string_view offered(reinterpret_cast<const char*>(in), in_size);
    const auto chosen = offers(offered, h2) ? h2 : offers(offered, h1) ? h1 : std::string_view();
    if (chosen.empty()) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = reinterpret_cast<const unsigned char*>(chosen.data());
    *out_size = static_cast<unsigned char>(chosen.size());
    return SSL_TLSEXT_ERR_OK;
}

}  // namespace

TlsFiles prepare_tls_files(const Config& config) {
    if (!config.tls_cert_file.empty()) return {config.tls_cert_file, config.tls_key_file, {}};
    const auto folder = config.data_dir / "tls";
    std::filesystem::create_directories(folder);
    const auto ca = authority(folder);
    std::vector<std::string> names{"localhost", "127.0.0.1", "::1"};
    for (std::string name : config.host_names) {
        if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
    pns::LeafOptions options;
    options.valid_until_s = 825 * 86'400;
    const auto leaf = pns::make_leaf(ca, names, options);
    TlsFiles files{folder / "server.pem", folder / "server.key", folder / "ca.pem"};
    write_private_file(files.key, leaf.key_pem);
    write_private_file(files.certificate, leaf.certificate_pem);
    return files;
}

ssl::context make_tls_context(const TlsFiles& files) {
    ssl::context context(ssl::context::tls_server);
    SSL_CTX* native = context.native_handle();
    SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION);
    SSL_CTX_set_options(
        native, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (SSL_CTX_set_cipher_list(native, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
        throw std::runtime_error("this OpenSSL has none of the ciphers for TLS 1.2");
    SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(native, choose_protocol, nullptr);
    pns::error_code failure;
    context.use_certificate_chain_file(files.certificate.string(), failure);
    if (failure) {
        throw std::runtime_error("cannot use the certificate " + files.certificate.string() + ": " +
                                 failure.message());
    }
    context.use_private_key_file(files.key.string(), ssl::context::pem, failure);
    if (failure || SSL_CTX_check_private_key(native) != 1) {
        throw std::runtime_error("cannot use the key " + files.key.string() +
                                 ": it does not belong to the certificate or is no PEM key");
    }
    return context;
}

}  // namespace hub
