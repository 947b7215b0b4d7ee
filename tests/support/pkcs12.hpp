#pragma once

// Client certificates for APNs, as they are uploaded.

#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include <algorithm>
#include <string>

#include "pns/jwt.hpp"

namespace support {

/// How the parts of a PKCS#12 file are kept: numbers as PKCS12_create() takes them.
struct Pkcs12Form {
    int cipher = 0;  ///< of key and certificate; -1: none
    int iterations = 0;
    int mac_iterations = 0;  ///< -1: no sum
};

/// A self-signed certificate with UID `bundle`, as PKCS#12 in base64, valid for `valid_s`
/// from now on.
inline std::string make_pkcs12(const char* bundle, const char* password, long valid_s = 3'600,
                               Pkcs12Form form = {}) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* leaf = X509_new();
    X509_set_version(leaf, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(leaf), 1);
    X509_gmtime_adj(X509_getm_notBefore(leaf), std::min(valid_s, 0L) - 60);
    X509_gmtime_adj(X509_getm_notAfter(leaf), valid_s);
    X509_set_pubkey(leaf, key);
    X509_NAME* name = X509_get_subject_name(leaf);
    X509_NAME_add_entry_by_txt(name, "UID", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(bundle), -1, -1, 0);
    X509_set_issuer_name(leaf, name);
    X509_sign(leaf, key, EVP_sha256());
    PKCS12* file = PKCS12_create(password, "push", key, leaf, nullptr, form.cipher, form.cipher,
                                 form.iterations, form.mac_iterations, 0);
    unsigned char* der = nullptr;
    const int size = i2d_PKCS12(file, &der);
    std::string out = pns::base64({reinterpret_cast<char*>(der), static_cast<std::size_t>(size)});
    OPENSSL_free(der);
    PKCS12_free(file);
    X509_free(leaf);
    EVP_PKEY_free(key);
    return out;
}

}  // namespace support
