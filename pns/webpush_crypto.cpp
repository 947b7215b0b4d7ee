// Tested by tests/pns_webpush_test.cpp.
//
// seal() makes a key pair and a salt, multiplies with the subscriber's point, derives key and
// nonce by HKDF, and appends one encrypted record. What OpenSSL is slow to set up is kept once for
// each thread. A point that does not lie on the curve is refused before it is used. Keys and
// plaintext must not outlive the call.
#include "pns/webpush_crypto.hpp"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cassert>
#include <new>

#include "pns/errc.hpp"
#include "pns/openssl_free.hpp"

namespace pns {

namespace {

constexpr std::size_t hash_bytes = 32, tag_bytes = 16;
using Hash = std::array<std::uint8_t, hash_bytes>;

using Group = std::unique_ptr<EC_GROUP, Free<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, Free<EC_POINT_clear_free>>;
using Number = std::unique_ptr<BIGNUM, Free<BN_clear_free>>;

const unsigned char* bytes_of(std::string_view text) {
    return reinterpret_cast<const unsigned char*>(text.data());
}
std::string_view text_of(const Hash& hash) {
    return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

// What OpenSSL 3 is slow to look up or to allocate, once per thread. The curve is used through
// EC_POINT: the same constant-time code that EVP_PKEY_derive ends in, without its 60 µs of
// parameter handling per push.
struct Workshop {
    Group group{EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1)};
    std::unique_ptr<BN_CTX, Free<BN_CTX_free>> numbers{BN_CTX_secure_new()};
    std::unique_ptr<EVP_MAC, Free<EVP_MAC_free>> hmac{EVP_MAC_fetch(nullptr, "HMAC", nullptr)};
    std::unique_ptr<EVP_MAC_CTX, Free<EVP_MAC_CTX_free>> mac;
    std::unique_ptr<EVP_CIPHER, Free<EVP_CIPHER_free>> aes{
        EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr)};
    std::unique_ptr<EVP_CIPHER_CTX, Free<EVP_CIPHER_CTX_free>> cipher{EVP_CIPHER_CTX_new()};

    Workshop() {
        if (hmac) mac.reset(EVP_MAC_CTX_new(hmac.get()));
        char digest[] = "SHA256";
        const OSSL_PARAM params[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
            OSSL_PARAM_construct_end()};
        const bool complete = group && numbers && mac && aes && cipher &&
                              EVP_MAC_CTX_set_params(mac.get(), params) == 1;
        if (!complete) throw std::bad_alloc();
    }
};

Workshop& workshop() {
    static thread_local Workshop mine;
    return mine;
}

/// HMAC-SHA-256 over the parts in turn.
bool hmac(Hash& out, std::string_view key, std::initializer_list<std::string_view> parts) {
    EVP_MAC_CTX* mac = workshop().mac.get();
    bool good = EVP_MAC_init(mac, bytes_of(key), key.size(), nullptr) == 1;
    for (std::string_view part : parts)
        good = good && EVP_MAC_update(mac, bytes_of(part), part.size()) == 1;
    std::size_t size = 0;
    return good && EVP_MAC_final(mac, out.data(), &size, out.size()) == 1 && size == out.size();
}

constexpr std::string_view one("\x01", 1);
constexpr std::string_view key_label("WebPush: info\0", 14);
constexpr std::string_view cek_label("Content-Encoding: aes128gcm\0", 28);
constexpr std::string_view nonce_label("Content-Encoding: nonce\0", 24);

struct RecordKeys {
    Hash cek, nonce;  ///< 16 and 12 bytes of them are used
};

/// RFC 8291 3.3 and 3.4, RFC 8188 2.2 and 2.3.
bool derive(RecordKeys& out, const WebPushKeys& to, const EphemeralKeys& mine,
            std::string_view shared) {
    Hash prk_key, ikm, prk;
    const bool good =
        hmac(prk_key, to.auth, {shared}) &&
        hmac(ikm, text_of(prk_key), {key_label, to.p256dh, mine.public_point(), one}) &&
        hmac(prk, mine.salt(), {text_of(ikm)}) && hmac(out.cek, text_of(prk), {cek_label, one}) &&
        hmac(out.nonce, text_of(prk), {nonce_label, one});
    OPENSSL_cleanse(prk_key.data(), prk_key.size());
    OPENSSL_cleanse(ikm.data(), ikm.size());
    OPENSSL_cleanse(prk.data(), prk.size());
    return good;
}

/// Appends the encrypted record and its tag.
bool encrypt(std::string& out, const RecordKeys& keys, std::string_view plain,
             std::size_t padding_bytes) {
    EVP_CIPHER_CTX* cipher = workshop().cipher.get();
    const std::size_t start = out.size();
    out.append(plain).append(1, '\x02').append(padding_bytes, '\0');
    const auto record_bytes = static_cast<int>(out.size() - start);
    auto* record = reinterpret_cast<unsigned char*>(out.data() + start);
    std::array<unsigned char, tag_bytes> tag;
    int size = 0, rest = 0;
    const bool good =
        EVP_EncryptInit_ex2(cipher, workshop().aes.get(), keys.cek.data(), keys.nonce.data(),
                            nullptr) == 1 &&
        EVP_EncryptUpdate(cipher, record, &size, record, record_bytes) == 1 &&
        size == record_bytes && EVP_EncryptFinal_ex(cipher, tag.data(), &rest) == 1 && rest == 0 &&
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, tag_bytes, tag.data()) == 1;
    out.append(reinterpret_cast<const char*>(tag.data()), tag.size());
    return good;
}

}  // namespace

bool is_on_p256(std::string_view point) {
    Workshop& shop = workshop();
    const Point read(EC_POINT_new(shop.group.get()));
    const bool good = point.size() == p256_point_bytes && point.front() == '\x04' && read &&
                      EC_POINT_oct2point(shop.group.get(), read.get(), bytes_of(point),
                                         point.size(), shop.numbers.get()) == 1;
    if (!good) ERR_clear_error();
    return good;
}

struct EphemeralKeys::Scalar {
    Number number{BN_secure_new()};
};

EphemeralKeys::EphemeralKeys() : scalar_(std::make_unique<Scalar>()) {
    if (!scalar_->number) throw std::bad_alloc();
}
EphemeralKeys::~EphemeralKeys() = default;
EphemeralKeys::EphemeralKeys(EphemeralKeys&&) noexcept = default;
EphemeralKeys& EphemeralKeys::operator=(EphemeralKeys&&) noexcept = default;

bool EphemeralKeys::compute_point() {
    Workshop& shop = workshop();
    const Point point(EC_POINT_new(shop.group.get()));
    return point &&
           EC_POINT_mul(shop.group.get(), point.get(), scalar_->number.get(), nullptr, nullptr,
                        shop.numbers.get()) == 1 &&
           EC_POINT_point2oct(shop.group.get(), point.get(), POINT_CONVERSION_UNCOMPRESSED,
                              point_.data(), point_.size(), shop.numbers.get()) == point_.size();
}

Result<EphemeralKeys> EphemeralKeys::generate() {
    EphemeralKeys out;
    const BIGNUM* order = EC_GROUP_get0_order(workshop().group.get());
    BIGNUM* number = out.scalar_->number.get();
    do {
        if (BN_priv_rand_range(number, order) != 1) return error_code(errc::signing_failed);
    } while (BN_is_zero(number));
    if (RAND_bytes(out.salt_.data(), web_push_salt_bytes) != 1 || !out.compute_point())
        return error_code(errc::signing_failed);
    return out;
}

Result<EphemeralKeys> EphemeralKeys::of(std::string_view private_scalar, std::string_view salt) {
    EphemeralKeys out;
    BIGNUM* number = out.scalar_->number.get();
    const BIGNUM* order = EC_GROUP_get0_order(workshop().group.get());
    if (private_scalar.size() != 32 || salt.size() != web_push_salt_bytes ||
        BN_bin2bn(bytes_of(private_scalar), 32, number) == nullptr || BN_is_zero(number) ||
        BN_cmp(number, order) >= 0 || !out.compute_point())
        return error_code(errc::bad_key);
    std::copy(salt.begin(), salt.end(), out.salt_.begin());
    return out;
}

std::optional<std::array<std::uint8_t, 32>> EphemeralKeys::agree(std::string_view point) const {
    Workshop& shop = workshop();
    const EC_GROUP* group = shop.group.get();
    const Point theirs(EC_POINT_new(group)), product(EC_POINT_new(group));
    const Number x(BN_secure_new());
    std::array<std::uint8_t, 32> out;
    // oct2point refuses what is not on the curve; P-256 has no points of small order.
    const bool good = point.size() == p256_point_bytes && point.front() == '\x04' && theirs &&
                      product && x &&
                      EC_POINT_oct2point(group, theirs.get(), bytes_of(point), point.size(),
                                         shop.numbers.get()) == 1 &&
                      EC_POINT_mul(group, product.get(), nullptr, theirs.get(),
                                   scalar_->number.get(), shop.numbers.get()) == 1 &&
                      EC_POINT_get_affine_coordinates(group, product.get(), x.get(), nullptr,
                                                      shop.numbers.get()) == 1 &&
                      BN_bn2binpad(x.get(), out.data(), static_cast<int>(out.size())) > 0;
    if (!good) {
        ERR_clear_error();
        return std::nullopt;
    }
    return out;
}

Result<std::string> seal_web_push(const WebPushKeys& to, std::string_view plain,
                                  const EphemeralKeys& mine, std::size_t padded_bytes) {
    assert(plain.size() <= web_push_plain_bytes_max);
    auto shared = mine.agree(to.p256dh);
    if (!shared || to.auth.empty()) return error_code(errc::bad_key);
    RecordKeys keys;
    const bool derived =
        derive(keys, to, mine, {reinterpret_cast<char*>(shared->data()), shared->size()});
    OPENSSL_cleanse(shared->data(), shared->size());

    std::string body;
    const std::size_t padded = std::min(padded_bytes, web_push_plain_bytes_max);
    const std::size_t padding = padded > plain.size() ? padded - plain.size() : 0;
    body.reserve(web_push_overhead_bytes + plain.size() + padding);
    body.append(mine.salt());
    for (int shift = 24; shift >= 0; shift -= 8)
        body += static_cast<char>((web_push_record_bytes >> shift) & 0xff);
    body += static_cast<char>(p256_point_bytes);
    body.append(mine.public_point());
    const bool sealed = derived && encrypt(body, keys, plain, padding);
    OPENSSL_cleanse(&keys, sizeof keys);
    if (!sealed) {
        ERR_clear_error();
        return error_code(errc::signing_failed);
    }
    return body;
}

}  // namespace pns
