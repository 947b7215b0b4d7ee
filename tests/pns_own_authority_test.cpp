// The authority that a hub makes for itself vouches for its names and nothing else.
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "pns/openssl_free.hpp"
#include "pns/own_authority.hpp"

namespace {

using Certificate = std::unique_ptr<X509, pns::Free<X509_free>>;

Certificate read(const std::string& pem) {
    const std::unique_ptr<BIO, pns::Free<BIO_free_all>> bio(
        BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    return Certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
}

/// What a client finds that trusts `ca`.
int verified(const pns::CertificatePair& ca, const pns::CertificatePair& leaf) {
    const std::unique_ptr<X509_STORE, pns::Free<X509_STORE_free>> store(X509_STORE_new());
    const std::unique_ptr<X509_STORE_CTX, pns::Free<X509_STORE_CTX_free>> context(
        X509_STORE_CTX_new());
    const Certificate root = read(ca.certificate_pem), end = read(leaf.certificate_pem);
    X509_STORE_add_cert(store.get(), root.get());
    X509_STORE_CTX_init(context.get(), store.get(), end.get(), nullptr);
    X509_verify_cert(context.get());
    return X509_STORE_CTX_get_error(context.get());
}

}  // namespace

TEST_CASE("an authority that is bounded to its names signs for no other", "[pns]") {
    const auto bounded = pns::make_ca("bounded", {"localhost", "hub.example", "127.0.0.1", "::1"});
    const auto by_any_address = pns::make_ca("addresses", {"hub.example"}, true);
    const auto dns_only = pns::make_ca("names", {"hub.example"});
    const auto wild = pns::make_ca("wild", {"*.example.com", "10.0.0.1"});
    const auto free_one = pns::make_ca("free");
    struct Row {
        const pns::CertificatePair& ca;
        std::vector<std::string> names;
        bool may;
    };
    const std::vector<Row> rows{{bounded, {"localhost", "127.0.0.1", "::1", "hub.example"}, true},
                                {bounded, {"hub.example"}, true},
                                {bounded, {"a.hub.example"}, true},
                                {bounded, {"bank.example"}, false},
                                {bounded, {"localhost", "bank.example"}, false},
                                {bounded, {"xhub.example"}, false},
                                {bounded, {"127.0.0.2"}, false},
                                {bounded, {"::2"}, false},
                                {by_any_address, {"hub.example", "192.0.2.1", "2001:db8::1"}, true},
                                {by_any_address, {"bank.example"}, false},
                                {dns_only, {"127.0.0.1"}, false},
                                {dns_only, {"::1"}, false},
                                {wild, {"a.example.com", "10.0.0.1"}, true},
                                {wild, {"*.example.com"}, true},
                                {wild, {"example.org"}, false},
                                {free_one, {"bank.example", "192.0.2.1"}, true}};
    for (const auto& [ca, names, may] : rows) {
        INFO(names.front());
        CHECK(pns::may_sign(ca, names) == may);
        const int found = verified(ca, pns::make_leaf(ca, names));
        CHECK((found == X509_V_OK) == may);
    }
}

TEST_CASE("an authority signs leaves and no further authority", "[pns]") {
    const Certificate root = read(pns::make_ca("root").certificate_pem);
    REQUIRE(root != nullptr);
    CHECK(X509_get_pathlen(root.get()) == 0);
    CHECK(X509_get_key_usage(root.get()) == (KU_KEY_CERT_SIGN | KU_CRL_SIGN));
    CHECK(X509_check_ca(root.get()) == 1);
}
