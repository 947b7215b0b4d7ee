// Tested by tests/pns_jwt_test.cpp.
//
// Key wraps an OpenSSL key; sign() and verify() turn between DER and the raw form of JWS. Reading
// a key accepts PEM, also with line ends that were escaped on their way, and never asks for a
// password. Errors of OpenSSL become values, and its queue is left empty. No key is ever printed
// except by private_pem(), which tests and simulators use.
#include "pns/jwt.hpp"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <new>

#include "pns/openssl_free.hpp"
#include "pns/text.hpp"

namespace pns {

namespace {

constexpr std::string_view standard =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view url_safe =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::size_t ecdsa_half = 32;
constexpr std::size_t jwt_bytes_max = 16 * 1024;

using KeyPointer = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Digest = std::unique_ptr<EVP_MD_CTX, Free<EVP_MD_CTX_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Signature = std::unique_ptr<ECDSA_SIG, Free<ECDSA_SIG_free>>;

const unsigned char* bytes_of(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}

std::string encode(std::string_view bytes, std::string_view alphabet, bool padded) {
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    std::uint32_t group = 0;
    int bits = 0;
    for (char c : bytes) {
        group = (group << 8) | static_cast<unsigned char>(c);
        bits += 8;
        while (bits >= 6) {
            bits -= 6;
            out += alphabet[(group >> bits) & 63];
        }
    }
    if (bits > 0) out += alphabet[(group << (6 - bits)) & 63];
    while (padded && out.size() % 4 != 0) out += '=';
    return out;
}

std::optional<std::string> decode(std::string_view text, std::string_view alphabet, bool spaces) {
    std::array<std::int8_t, 256> value;
    value.fill(-1);
    for (std::size_t i = 0; i < alphabet.size(); ++i)
        value[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
    std::string out;
    out.reserve(text.size() / 4 * 3 + 3);
    std::uint32_t group = 0;
    int bits = 0;
    std::size_t digits = 0, padding = 0;
    for (char c : text) {
        if (spaces && (c == ' ' || c == '\n' || c == '\r' || c == '\t')) continue;
        if (c == '=') {
            if (++padding > 2) return std::nullopt;
            continue;
        }
        const int digit = value[static_cast<unsigned char>(c)];
        if (digit < 0 || padding > 0) return std::nullopt;
        group = ((group << 6) | static_cast<std::uint32_t>(digit)) & 0xffffff;
        bits += 6;
        ++digits;
        if (bits >= 8) {
            bits -= 8;
            out += static_cast<char>((group >> bits) & 0xff);
        }
    }
    if (digits % 4 == 1) return std::nullopt;
    return out;
}

std::string drained(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    return {data, static_cast<std::size_t>(size)};
}

/// Turns the two characters `\n` into a line end: JSON carried into a form field unread.
std::string with_line_ends(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == 'n' || text[i + 1] == 'r')) {
            if (text[i + 1] == 'n') out += '\n';
            ++i;
        } else {
            out += text[i];
        }
    }
    return out;
}

/// Never asks on the terminal for the password of an encrypted key.
int no_password(char*, int, int, void*) {
    return -1;
}

}  // namespace

std::optional<std::string> raw_signature(std::string_view der) {
    const unsigned char* at = bytes_of(der);
    Signature signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
    if (!signature) return std::nullopt;
    std::array<unsigned char, 2 * ecdsa_half> raw;
    if (BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), raw.data(), ecdsa_half) < 0 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), raw.data() + ecdsa_half, ecdsa_half) < 0)
        return std::nullopt;
    return std::string(reinterpret_cast<char*>(raw.data()), raw.size());
}

namespace {

std::optional<std::string> to_der(std::string_view raw) {
    if (raw.size() != 2 * ecdsa_half) return std::nullopt;
    Signature signature(ECDSA_SIG_new());
    BIGNUM* r = BN_bin2bn(bytes_of(raw), ecdsa_half, nullptr);
    BIGNUM* s = BN_bin2bn(bytes_of(raw) + ecdsa_half, ecdsa_half, nullptr);
    if (!signature || !r || !s || ECDSA_SIG_set0(signature.get(), r, s) != 1) {
        BN_free(r);
        BN_free(s);
        return std::nullopt;
    }
    unsigned char* der = nullptr;
    const int size = i2d_ECDSA_SIG(signature.get(), &der);
    if (size <= 0) return std::nullopt;
    std::string out(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
    OPENSSL_free(der);
    return out;
}

boost::system::error_code signing_failed() {
    return boost::system::errc::make_error_code(boost::system::errc::invalid_argument);
}

/// The salt is as long as the digest: RFC 7518 3.5.
bool pad(EVP_PKEY_CTX* context, const EVP_PKEY* key, RsaPadding padding) {
    if (padding == RsaPadding::pkcs1 || EVP_PKEY_is_a(key, "RSA") != 1) return true;
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1;
}

}  // namespace

struct Key::Handle {
    KeyPointer key;
};

std::string base64url(std::string_view bytes) {
    return encode(bytes, url_safe, false);
}
std::string base64(std::string_view bytes) {
    return encode(bytes, standard, true);
}
std::optional<std::string> from_base64url(std::string_view text) {
    return decode(text, url_safe, false);
}
std::optional<std::string> from_base64(std::string_view text) {
    return decode(text, standard, true);
}

std::string sha256_hex(std::string_view bytes) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
    SHA256(bytes_of(bytes), bytes.size(), digest.data());
    return to_hex({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

bool is_p256_point(std::string_view bytes) {
    if (bytes.size() != 65 || bytes.front() != '\x04') return false;
    std::unique_ptr<EC_GROUP, Free<EC_GROUP_free>> group(
        EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
    if (!group) return false;
    std::unique_ptr<EC_POINT, Free<EC_POINT_free>> point(EC_POINT_new(group.get()));
    const bool good = point && EC_POINT_oct2point(group.get(), point.get(), bytes_of(bytes),
                                                  bytes.size(), nullptr) == 1;
    ERR_clear_error();
    return good;
}

std::optional<Key> Key::read_private(std::string_view text) {
    const std::string plain = with_line_ends(text);
    KeyPointer key;
    if (plain.find("-----BEGIN") != std::string::npos) {
        Bio bio(BIO_new_mem_buf(plain.data(), static_cast<int>(plain.size())));
        key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr));
    } else if (const auto der = from_base64(plain); der && !der->empty()) {
        const unsigned char* at = bytes_of(*der);
        key.reset(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(der->size())));
    }
    ERR_clear_error();
    if (!key) return std::nullopt;
    return Key(std::make_shared<const Handle>(Handle{std::move(key)}));
}

std::optional<Key> Key::read_public(std::string_view pem) {
    Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    KeyPointer key(PEM_read_bio_PUBKEY(bio.get(), nullptr, no_password, nullptr));
    ERR_clear_error();
    if (!key) return std::nullopt;
    return Key(std::make_shared<const Handle>(Handle{std::move(key)}));
}

Key Key::generate_p256() {
    KeyPointer key(EVP_EC_gen("P-256"));
    if (!key) throw std::bad_alloc();
    return Key(std::make_shared<const Handle>(Handle{std::move(key)}));
}

Key Key::generate_rsa(int bits) {
    KeyPointer key(EVP_RSA_gen(static_cast<unsigned>(bits)));
    if (!key) throw std::bad_alloc();
    return Key(std::make_shared<const Handle>(Handle{std::move(key)}));
}

bool Key::is_p256() const {
    std::array<char, 64> group{};
    std::size_t size = 0;
    return EVP_PKEY_is_a(handle_->key.get(), "EC") == 1 &&
           EVP_PKEY_get_group_name(handle_->key.get(), group.data(), group.size(), &size) == 1 &&
           std::string_view(group.data(), size) == "prime256v1";
}

bool Key::is_rsa(int bits_min) const {
    return EVP_PKEY_is_a(handle_->key.get(), "RSA") == 1 &&
           EVP_PKEY_get_bits(handle_->key.get()) >= bits_min && signs_in_time();
}

bool Key::signs_in_time() const {
    if (EVP_PKEY_is_a(handle_->key.get(), "RSA") != 1 &&
        EVP_PKEY_is_a(handle_->key.get(), "RSA-PSS") != 1)
        return true;
    const auto is_short = [&](const std::string& name) {
        BIGNUM* raw = nullptr;
        EVP_PKEY_get_bn_param(handle_->key.get(), name.c_str(), &raw);
        const std::unique_ptr<BIGNUM, Free<BN_clear_free>> number(raw);
        return !number || BN_num_bits(number.get()) <= rsa_bits_max;
    };
    bool all = is_short(OSSL_PKEY_PARAM_RSA_N) && is_short(OSSL_PKEY_PARAM_RSA_E) &&
               is_short(OSSL_PKEY_PARAM_RSA_D);
    constexpr int primes_max = 10;
    for (int i = 1; i <= primes_max; ++i) {
        for (const char* part : {OSSL_PKEY_PARAM_RSA_FACTOR, OSSL_PKEY_PARAM_RSA_EXPONENT,
                                 OSSL_PKEY_PARAM_RSA_COEFFICIENT})
            all = all && is_short(part + std::to_string(i));
    }
    ERR_clear_error();
    return all;
}

std::string Key::private_pem() const {
    Bio bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PKCS8PrivateKey(bio.get(), handle_->key.get(), nullptr, nullptr, 0, nullptr,
                                  nullptr);
    return drained(bio.get());
}

std::string Key::public_pem() const {
    Bio bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PUBKEY(bio.get(), handle_->key.get());
    return drained(bio.get());
}

std::string Key::fingerprint() const {
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(handle_->key.get(), &der);
    if (size <= 0) return {};
    const std::string out =
        sha256_hex({reinterpret_cast<char*>(der), static_cast<std::size_t>(size)});
    OPENSSL_free(der);
    return out;
}

Result<std::string> Key::sign(std::string_view text, RsaPadding padding) const {
    Digest digest(EVP_MD_CTX_new());
    EVP_PKEY_CTX* context = nullptr;
    std::size_t size = 0;
    if (!digest ||
        EVP_DigestSignInit(digest.get(), &context, EVP_sha256(), nullptr, handle_->key.get()) !=
            1 ||
        !pad(context, handle_->key.get(), padding) ||
        EVP_DigestSign(digest.get(), nullptr, &size, bytes_of(text), text.size()) != 1)
        return signing_failed();
    std::string out(size, '\0');
    if (EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(out.data()), &size,
                       bytes_of(text), text.size()) != 1)
        return signing_failed();
    out.resize(size);
    if (!is_p256()) return out;
    auto raw = raw_signature(out);
    if (!raw) return signing_failed();
    return std::move(*raw);
}

bool Key::verify(std::string_view text, std::string_view signature, RsaPadding padding) const {
    std::string der(signature);
    if (is_p256()) {
        auto converted = to_der(signature);
        if (!converted) return false;
        der = std::move(*converted);
    }
    Digest digest(EVP_MD_CTX_new());
    EVP_PKEY_CTX* context = nullptr;
    const bool good =
        digest &&
        EVP_DigestVerifyInit(digest.get(), &context, EVP_sha256(), nullptr, handle_->key.get()) ==
            1 &&
        pad(context, handle_->key.get(), padding) &&
        EVP_DigestVerify(digest.get(), bytes_of(der), der.size(), bytes_of(text), text.size()) == 1;
    ERR_clear_error();
    return good;
}

Result<std::string> sign_jwt(const Key& key, std::string_view kid, std::string_view typ,
                             std::string_view claims, RsaPadding padding) {
    const std::string_view rsa = padding == RsaPadding::pss ? "PS256" : "RS256";
    std::string header = R"({"alg":")";
    header.append(key.is_p256() ? "ES256" : rsa).append("\"");
    if (!typ.empty()) header.append(R"(,"typ":")").append(typ).append("\"");
    if (!kid.empty()) header.append(R"(,"kid":")").append(kid).append("\"");
    header += '}';
    std::string token = base64url(header) + '.' + base64url(claims);
    auto signature = key.sign(token, padding);
    if (!signature) return signature.error();
    token.append(".").append(base64url(*signature));
    return token;
}

std::optional<Jwt> split_jwt(std::string_view token, bool padded) {
    const auto part = [padded](std::string_view text) {
        if (!padded) return from_base64url(text);
        std::string url_safe_text(text.substr(0, text.find_last_not_of('=') + 1));
        std::replace(url_safe_text.begin(), url_safe_text.end(), '+', '-');
        std::replace(url_safe_text.begin(), url_safe_text.end(), '/', '_');
        return from_base64url(url_safe_text);
    };
    if (token.size() > jwt_bytes_max) return std::nullopt;
    const std::size_t first = token.find('.');
    if (first == std::string_view::npos) return std::nullopt;
    const std::size_t second = token.find('.', first + 1);
    if (second == std::string_view::npos) return std::nullopt;
    auto header = part(token.substr(0, first));
    auto claims = part(token.substr(first + 1, second - first - 1));
    auto signature = part(token.substr(second + 1));
    if (!header || !claims || !signature) return std::nullopt;
    Jwt jwt;
    jwt.header = std::move(*header);
    jwt.claims = std::move(*claims);
    jwt.signed_part = token.substr(0, second);
    jwt.signature = std::move(*signature);
    return jwt;
}

}  // namespace pns
