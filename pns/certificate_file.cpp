// Tested by tests/pns_apns_test.cpp.
#include "pns/certificate_file.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <openssl/x509.h>

#include <memory>

#include "pns/openssl_free.hpp"

namespace pns {

namespace {

void free_chain(STACK_OF(X509) * chain) {
    sk_X509_pop_free(chain, X509_free);
}

using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;

/// Keychain exports are encrypted with 40-bit RC2, which OpenSSL 3 keeps in its legacy provider.
void allow_legacy_ciphers() {
    static const std::unique_ptr<OSSL_PROVIDER, Free<OSSL_PROVIDER_unload>> legacy(
        OSSL_PROVIDER_try_load(nullptr, "legacy", 1));
}

std::string drained(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

std::string uid_of(X509* leaf) {
    X509_NAME* subject = X509_get_subject_name(leaf);
    const int at = X509_NAME_get_index_by_NID(subject, NID_userId, -1);
    if (at < 0) return {};
    const ASN1_STRING* value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
    return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
            static_cast<std::size_t>(ASN1_STRING_length(value))};
}

}  // namespace

std::optional<CertificateFile> read_certificate_file(std::string_view der,
                                                     const std::string& password) {
    allow_legacy_ciphers();
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    std::unique_ptr<PKCS12, Free<PKCS12_free>> file(
        d2i_PKCS12(nullptr, &at, static_cast<long>(der.size())));
    EVP_PKEY* raw_key = nullptr;
    X509* raw_leaf = nullptr;
    STACK_OF(X509)* raw_chain = nullptr;
    const bool parsed =
        file && PKCS12_parse(file.get(), password.c_str(), &raw_key, &raw_leaf, &raw_chain) == 1;
    ERR_clear_error();
    std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>> key(raw_key);
    std::unique_ptr<X509, Free<X509_free>> leaf(raw_leaf);
    std::unique_ptr<STACK_OF(X509), Free<free_chain>> chain(raw_chain);
    if (!parsed || !key || !leaf) return std::nullopt;

    CertificateFile out;
    Bio certificates(BIO_new(BIO_s_mem())), key_text(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(certificates.get(), leaf.get());
    for (int i = 0; chain && i < sk_X509_num(chain.get()); ++i)
        PEM_write_bio_X509(certificates.get(), sk_X509_value(chain.get(), i));
    PEM_write_bio_PKCS8PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    out.chain_pem = drained(certificates.get());
    out.key_pem = drained(key_text.get());
    out.subject_uid = uid_of(leaf.get());
    return out;
}

std::optional<std::int64_t> certificate_end_s(const std::string& pem) {
    const Bio bytes(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    const std::unique_ptr<X509, Free<X509_free>> leaf(
        PEM_read_bio_X509(bytes.get(), nullptr, nullptr, nullptr));
    ERR_clear_error();
    const std::unique_ptr<ASN1_TIME, Free<ASN1_TIME_free>> epoch(ASN1_TIME_set(nullptr, 0));
    int days = 0, seconds = 0;
    if (!leaf || !epoch ||
        ASN1_TIME_diff(&days, &seconds, epoch.get(), X509_get0_notAfter(leaf.get())) != 1)
        return std::nullopt;
    return std::int64_t{days} * 86'400 + seconds;
}

}  // namespace pns
