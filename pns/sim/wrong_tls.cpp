// Tested by tests/pns_sim_faults_test.cpp.
#include "pns/sim/wrong_tls.hpp"

#include <openssl/ssl.h>

#include "pns/sim/platforms.hpp"

namespace pns::sim {

TlsContext WrongTls::get(std::string_view variant) {
    const std::lock_guard lock(mutex_);
    const auto found = made_.find(variant);
    if (found != made_.end()) return found->second;
    return made_.emplace(variant, make(variant)).first->second;
}

TlsContext WrongTls::make(std::string_view variant) const {
    if (variant == "stall" || variant == "alert") return nullptr;
    const bool own_ca = variant == "ca" || options_.ca.key_pem.empty();
    const CertificatePair ca = own_ca ? make_ca("nobody's CA") : options_.ca;
    LeafOptions leaf_options;
    if (variant.empty()) {
        leaf_options.valid_from_s = -2 * 86'400;
        leaf_options.valid_until_s = -86'400;
    }
    const bool as_usual = variant == "alpn" || variant == "tls11" || variant == "client";
    const CertificatePair leaf =
        make_leaf(ca,
                  variant == "name" ? std::vector<std::string>{"elsewhere.example"}
                                    : host_names(options_.platform),
                  leaf_options);
    TlsServerOptions tls;
    tls.certificate_pem = as_usual ? options_.certificate_pem : leaf.certificate_pem;
    tls.key_pem = as_usual ? options_.key_pem : leaf.key_pem;
    if (variant != "alpn") tls.alpn = sim_platform(options_.platform)->alpn;
    if (variant == "client") tls.client_ca_pem = ca.certificate_pem;
    auto made = make_server_context(tls);
    if (!made) return nullptr;
    if (variant == "tls11") {
        SSL_CTX* context = (*made)->native_handle();
        SSL_CTX_set_cipher_list(context, "DEFAULT:@SECLEVEL=0");
        SSL_CTX_clear_options(context, SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1);
        SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION);
    }
    return *made;
}

}  // namespace pns::sim
