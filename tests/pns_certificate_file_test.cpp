// A PKCS#12 file says itself how long it takes to open: what asks for too much is refused before
// anything is derived.
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

#include <catch2/catch.hpp>
#include <ctime>
#include <string>

#include "pns/certificate_file.hpp"
#include "tests/support/der.hpp"

namespace {

struct Iterations {
    int key = 2'048, certificates = 2'048, mac = 2'048;
};

/// Sealed with PBES2 as OpenSSL 3 does, with the older PBE by 3DES, or only with a MAC.
std::string pkcs12(const Iterations& iterations, bool old_ciphers = false, bool plain = false) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* leaf = X509_new();
    X509_set_version(leaf, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(leaf), 1);
    X509_gmtime_adj(X509_getm_notBefore(leaf), -60);
    X509_gmtime_adj(X509_getm_notAfter(leaf), 3'600);
    X509_set_pubkey(leaf, key);
    X509_sign(leaf, key, EVP_sha256());
    const int key_cipher = old_ciphers ? NID_pbe_WithSHA1And3_Key_TripleDES_CBC : NID_aes_256_cbc;
    STACK_OF(PKCS7)* safes = nullptr;
    STACK_OF(PKCS12_SAFEBAG)* bags = nullptr;
    PKCS12_add_cert(&bags, leaf);
    PKCS12_add_safe(&safes, bags, plain ? -1 : key_cipher, iterations.certificates, "pass");
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    bags = nullptr;
    PKCS12_add_key(&bags, key, 0, iterations.key, plain ? -1 : key_cipher, "pass");
    PKCS12_add_safe(&safes, bags, -1, 0, nullptr);
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
    PKCS12* file = PKCS12_add_safes(safes, 0);
    sk_PKCS7_pop_free(safes, PKCS7_free);
    PKCS12_set_mac(file, "pass", -1, nullptr, 0, iterations.mac, EVP_sha256());
    unsigned char* der = nullptr;
    const int size = i2d_PKCS12(file, &der);
    std::string out(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
    OPENSSL_free(der);
    PKCS12_free(file);
    X509_free(leaf);
    EVP_PKEY_free(key);
    return out;
}

double thread_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

bool opens(const std::string& der) {
    return pns::read_certificate_file(der, "pass").has_value();
}

}  // namespace

/// A file with this count has it replaced by another of as many bytes, so that no test has to hash
/// a password a million times.
constexpr int marked = 0x010203;

std::string with_count(std::string der, int count) {
    const std::string before{2, 3, 1, 2, 3};
    const std::string after{2, 3, static_cast<char>(count >> 16), static_cast<char>(count >> 8),
                            static_cast<char>(count)};
    std::size_t at = der.find(before);
    REQUIRE(at != std::string::npos);
    for (; at != std::string::npos; at = der.find(before, at)) der.replace(at, 5, after);
    return der;
}

TEST_CASE("a certificate file that takes too long to open is refused at once", "[pns]") {
    const int above = static_cast<int>(pns::certificate_iterations_max) + 1;
    CHECK(opens(pkcs12({})));
    CHECK(opens(pkcs12({}, true)));
    CHECK(opens(pkcs12({}, false, true)));
    CHECK(opens(pkcs12({marked, marked, marked})));
    for (const bool old_ciphers : {false, true}) {
        for (const Iterations& iterations :
             {Iterations{marked, 1, 1}, Iterations{1, marked, 1}, Iterations{1, 1, marked}}) {
            const std::string file = with_count(pkcs12(iterations, old_ciphers), above);
            INFO(iterations.key << " " << iterations.certificates << " " << iterations.mac);
            const double begin = thread_seconds();
            CHECK_FALSE(opens(file));
            CHECK(thread_seconds() - begin < 0.1);
        }
        // All parts together.
        CHECK_FALSE(opens(with_count(pkcs12({1, marked, marked}, old_ciphers), above / 2 + 1)));
    }
}

TEST_CASE("a certificate file that was opened is not opened again", "[pns]") {
    const std::string file = pkcs12({200'000, 1, 1});
    const double begin = thread_seconds();
    REQUIRE(opens(file));
    const double first = thread_seconds() - begin;
    const double again = thread_seconds();
    for (int i = 0; i < 10; ++i) CHECK(opens(file));
    CHECK(thread_seconds() - again < first);
    CHECK_FALSE(pns::read_certificate_file(file, "other").has_value());
}

TEST_CASE("a PKCS#12 file with a part that has no content is refused", "[pns]") {
    using support::der;
    const std::string pkcs7("\x2a\x86\x48\x86\xf7\x0d\x01\x07", 8);
    const std::string data = der(0x06, pkcs7 + '\x01');
    for (const char kind : {'\x01', '\x02', '\x03', '\x05', '\x06'}) {
        const std::string safes = der(0x30, der(0x30, der(0x06, pkcs7 + kind)));
        const std::string content = der(0x30, data + der(0xa0, der(0x04, safes)));
        CHECK_FALSE(opens(der(0x30, der(0x02, "\x03") + content)));
    }
}
