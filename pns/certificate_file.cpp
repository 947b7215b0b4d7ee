// Tested by tests/pns_apns_test.cpp.
#include "pns/certificate_file.hpp"

#include <openssl/asn1t.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <openssl/x509.h>

#include <deque>
#include <map>
#include <memory>
#include <mutex>

#include "pns/jwt.hpp"
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

/// How often the algorithm hashes the password; nothing: it is none that is taken.
std::optional<std::int64_t> iterations_of(const X509_ALGOR* algorithm) {
    const ASN1_OBJECT* object = nullptr;
    int type = 0;
    const void* value = nullptr;
    X509_ALGOR_get0(&object, &type, &value, algorithm);
    if (type != V_ASN1_SEQUENCE) return std::nullopt;
    const auto number = [](const ASN1_INTEGER* integer) -> std::optional<std::int64_t> {
        std::int64_t count = 0;
        if (integer == nullptr) return 1;
        if (ASN1_INTEGER_get_int64(&count, integer) != 1 || count < 1) return std::nullopt;
        return count;
    };
    const auto* bytes = static_cast<const ASN1_STRING*>(value);
    if (OBJ_obj2nid(object) != NID_pbes2) {
        const std::unique_ptr<PBEPARAM, Free<PBEPARAM_free>> simple(
            static_cast<PBEPARAM*>(ASN1_item_unpack(bytes, ASN1_ITEM_rptr(PBEPARAM))));
        return simple ? number(simple->iter) : std::nullopt;
    }
    const std::unique_ptr<PBE2PARAM, Free<PBE2PARAM_free>> pair(
        static_cast<PBE2PARAM*>(ASN1_item_unpack(bytes, ASN1_ITEM_rptr(PBE2PARAM))));
    if (!pair) return std::nullopt;
    X509_ALGOR_get0(&object, &type, &value, pair->keyfunc);
    if (OBJ_obj2nid(object) != NID_id_pbkdf2 || type != V_ASN1_SEQUENCE) return std::nullopt;
    const std::unique_ptr<PBKDF2PARAM, Free<PBKDF2PARAM_free>> derived(static_cast<PBKDF2PARAM*>(
        ASN1_item_unpack(static_cast<const ASN1_STRING*>(value), ASN1_ITEM_rptr(PBKDF2PARAM))));
    return derived ? number(derived->iter) : std::nullopt;
}

void free_safes(STACK_OF(PKCS7) * safes) {
    sk_PKCS7_pop_free(safes, PKCS7_free);
}

void free_bags(STACK_OF(PKCS12_SAFEBAG) * bags) {
    sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free);
}

/// Would the file be opened with certificate_iterations_max at most, all its parts together? What
/// is encrypted around another part is opened for that, within the same bound.
bool is_quickly_opened(PKCS12* file, const std::string& password) {
    std::int64_t left = certificate_iterations_max;
    const auto spend = [&left](std::optional<std::int64_t> count) {
        if (!count || *count > left) return false;
        left -= *count;
        return true;
    };
    if (PKCS12_mac_present(file) == 1) {
        const ASN1_INTEGER* count = nullptr;
        PKCS12_get0_mac(nullptr, nullptr, nullptr, &count, file);
        std::int64_t number = 1;
        if (count != nullptr && ASN1_INTEGER_get_int64(&number, count) != 1) return false;
        if (number < 1 || !spend(number)) return false;
    }
    const std::unique_ptr<STACK_OF(PKCS7), Free<free_safes>> safes(PKCS12_unpack_authsafes(file));
    for (int i = 0; safes && i < sk_PKCS7_num(safes.get()); ++i) {
        PKCS7* safe = sk_PKCS7_value(safes.get(), i);
        std::unique_ptr<STACK_OF(PKCS12_SAFEBAG), Free<free_bags>> bags;
        if (safe->d.ptr == nullptr) return false;  // a part without content, which ASN.1 allows
        if (PKCS7_type_is_encrypted(safe)) {
            if (!spend(iterations_of(safe->d.encrypted->enc_data->algorithm))) return false;
            bags.reset(
                PKCS12_unpack_p7encdata(safe, password.data(), static_cast<int>(password.size())));
        } else if (PKCS7_type_is_data(safe)) {
            bags.reset(PKCS12_unpack_p7data(safe));
        }
        for (int k = 0; bags && k < sk_PKCS12_SAFEBAG_num(bags.get()); ++k) {
            const PKCS12_SAFEBAG* bag = sk_PKCS12_SAFEBAG_value(bags.get(), k);
            const int kind = PKCS12_SAFEBAG_get_nid(bag);
            if (kind == NID_safeContentsBag) return false;
            if (kind != NID_pkcs8ShroudedKeyBag) continue;
            const X509_ALGOR* algorithm = nullptr;
            X509_SIG_get0(PKCS12_SAFEBAG_get0_pkcs8(bag), &algorithm, nullptr);
            if (!spend(iterations_of(algorithm))) return false;
        }
    }
    return true;
}

/// The files that were opened last, by the hash of file and password: a hub's is looked at when it
/// is written, by each lane that sends with it and for its end, and opening one may take a while.
class Opened {
  public:
    std::optional<CertificateFile> find(const std::string& hash) {
        const std::lock_guard lock(mutex_);
        const auto known = files_.find(hash);
        if (known == files_.end()) return std::nullopt;
        return known->second;
    }
    void keep(const std::string& hash, const CertificateFile& file) {
        constexpr std::size_t kept_max = 64;
        const std::lock_guard lock(mutex_);
        if (!files_.emplace(hash, file).second) return;
        order_.push_back(hash);
        if (order_.size() <= kept_max) return;
        files_.erase(order_.front());
        order_.pop_front();
    }

  private:
    std::mutex mutex_;
    std::map<std::string, CertificateFile> files_;
    std::deque<std::string> order_;  // oldest first
};

}  // namespace

std::optional<CertificateFile> read_certificate_file(std::string_view der,
                                                     const std::string& password) {
    static Opened opened;
    const std::string hash =
        sha256_hex(std::to_string(der.size()) + '\n' + std::string(der) + password);
    if (auto known = opened.find(hash)) return known;
    allow_legacy_ciphers();
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    std::unique_ptr<PKCS12, Free<PKCS12_free>> file(
        d2i_PKCS12(nullptr, &at, static_cast<long>(der.size())));
    EVP_PKEY* raw_key = nullptr;
    X509* raw_leaf = nullptr;
    STACK_OF(X509)* raw_chain = nullptr;
    const bool parsed =
        file && is_quickly_opened(file.get(), password) &&
        PKCS12_parse(file.get(), password.c_str(), &raw_key, &raw_leaf, &raw_chain) == 1;
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
    const auto signs = Key::read_private(out.key_pem);
    if (!signs || !signs->signs_in_time()) return std::nullopt;
    out.subject_uid = uid_of(leaf.get());
    opened.keep(hash, out);
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
