#include "pns/own_authority.hpp"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>

#include "pns/openssl_free.hpp"

namespace pns {

namespace {

using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free>>;

void need(bool ok) {
    if (!ok) throw std::runtime_error("OpenSSL could not make a certificate");
}

std::string text(BIO* bio) {
    char* bytes = nullptr;
    const long size = BIO_get_mem_data(bio, &bytes);
    return {bytes, static_cast<std::size_t>(size)};
}

std::string to_pem(EVP_PKEY* key) {
    const Bio bio(BIO_new(BIO_s_mem()));
    need(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
    return text(bio.get());
}

std::string to_pem(X509* certificate) {
    const Bio bio(BIO_new(BIO_s_mem()));
    need(PEM_write_bio_X509(bio.get(), certificate) == 1);
    return text(bio.get());
}

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    need(extension != nullptr);
    const int added = X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    need(added == 1);
}

Certificate blank(EVP_PKEY* key, const std::string& common_name, const std::string& uid,
                  long from_s, long until_s) {
    Certificate out(X509_new());
    need(out != nullptr);
    X509_set_version(out.get(), 2);
    std::uint64_t serial = 0;
    need(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(out.get()), serial >> 1);
    X509_gmtime_adj(X509_getm_notBefore(out.get()), from_s);
    X509_gmtime_adj(X509_getm_notAfter(out.get()), until_s);
    X509_set_pubkey(out.get(), key);
    X509_NAME* subject = X509_get_subject_name(out.get());
    auto add = [&](const char* field, const std::string& value) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(value.c_str());
        need(X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8, bytes, -1, -1, 0) == 1);
    };
    if (!uid.empty()) add("UID", uid);
    add("CN", common_name.substr(0, 64));
    return out;
}

std::optional<boost::asio::ip::address> address_of(const std::string& name) {
    boost::system::error_code not_address;
    const auto address = boost::asio::ip::make_address(name, not_address);
    if (not_address) return std::nullopt;
    return address;
}

/// "critical,permitted;DNS:a,permitted;IP:127.0.0.1/255.255.255.255,…". A kind of name that is not
/// among them is excluded as a whole.
std::string constraints(const std::vector<std::string>& names, bool any_address) {
    std::string out = "critical";
    bool has_dns = false, has_v4 = any_address, has_v6 = any_address;
    for (const auto& name : names) {
        const auto address = address_of(name);
        if (!address) {
            out += ",permitted;DNS:" + name.substr(name.starts_with("*.") ? 2 : 0);
            has_dns = true;
        } else if (any_address) {
            continue;
        } else if (address->is_v4()) {
            out += ",permitted;IP:" + name + "/255.255.255.255";
            has_v4 = true;
        } else {
            out += ",permitted;IP:" + name + "/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
            has_v6 = true;
        }
    }
    if (!has_dns) out += ",excluded;DNS:";
    if (!has_v4) out += ",excluded;IP:0.0.0.0/0.0.0.0";
    if (!has_v6) out += ",excluded;IP:::/::";
    return out;
}

}  // namespace

CertificatePair make_ca(const std::string& common_name, const std::vector<std::string>& names,
                        bool any_address) {
    const Key key(EVP_EC_gen("P-256"));
    need(key != nullptr);
    const Certificate ca = blank(key.get(), common_name, "", -3600, 10L * 365 * 86'400);
    X509_set_issuer_name(ca.get(), X509_get_subject_name(ca.get()));
    extend(ca.get(), ca.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    extend(ca.get(), ca.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
    extend(ca.get(), ca.get(), NID_subject_key_identifier, "hash");
    if (!names.empty())
        extend(ca.get(), ca.get(), NID_name_constraints, constraints(names, any_address));
    need(X509_sign(ca.get(), key.get(), EVP_sha256()) > 0);
    CertificatePair out;
    out.certificate_pem = to_pem(ca.get());
    out.key_pem = to_pem(key.get());
    return out;
}

CertificatePair make_leaf(const CertificatePair& ca, const std::vector<std::string>& names,
                          const LeafOptions& options) {
    need(!names.empty());
    const Bio ca_bio(
        BIO_new_mem_buf(ca.certificate_pem.data(), static_cast<int>(ca.certificate_pem.size())));
    const Certificate issuer(PEM_read_bio_X509(ca_bio.get(), nullptr, nullptr, nullptr));
    const Bio key_bio(BIO_new_mem_buf(ca.key_pem.data(), static_cast<int>(ca.key_pem.size())));
    const Key issuer_key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
    need(issuer != nullptr && issuer_key != nullptr);

    const Key key(EVP_EC_gen("P-256"));
    need(key != nullptr);
    const Certificate leaf = blank(key.get(), names.front(), options.subject_uid,
                                   options.valid_from_s, options.valid_until_s);
    X509_set_issuer_name(leaf.get(), X509_get_subject_name(issuer.get()));
    extend(leaf.get(), issuer.get(), NID_basic_constraints, "critical,CA:FALSE");
    extend(leaf.get(), issuer.get(), NID_key_usage, "critical,digitalSignature");
    extend(leaf.get(), issuer.get(), NID_ext_key_usage, "serverAuth,clientAuth");
    extend(leaf.get(), issuer.get(), NID_authority_key_identifier, "keyid");
    std::string alternatives;
    for (const auto& name : names) {
        if (!alternatives.empty()) alternatives += ',';
        alternatives += (address_of(name) ? "IP:" : "DNS:") + name;
    }
    extend(leaf.get(), issuer.get(), NID_subject_alt_name, alternatives);
    need(X509_sign(leaf.get(), issuer_key.get(), EVP_sha256()) > 0);
    CertificatePair out;
    out.certificate_pem = to_pem(leaf.get()) + ca.certificate_pem;
    out.key_pem = to_pem(key.get());
    return out;
}

bool may_sign(const CertificatePair& ca, const std::vector<std::string>& names) {
    const auto read = [](const std::string& pem) {
        const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
        return Certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    };
    const Certificate issuer = read(ca.certificate_pem);
    if (issuer == nullptr) return false;
    const std::unique_ptr<NAME_CONSTRAINTS, Free<NAME_CONSTRAINTS_free>> bounds(
        static_cast<NAME_CONSTRAINTS*>(
            X509_get_ext_d2i(issuer.get(), NID_name_constraints, nullptr, nullptr)));
    if (bounds == nullptr) return true;
    const Certificate leaf = read(make_leaf(ca, names).certificate_pem);
    // Only then its names are known to OpenSSL.
    return leaf != nullptr && X509_check_purpose(leaf.get(), -1, 0) != -1 &&
           NAME_CONSTRAINTS_check(leaf.get(), bounds.get()) == X509_V_OK;
}

}  // namespace pns
