// Tested by tests/pns_webpush_test.cpp.
//
// seal() multiplies with the subscriber's point, derives key and nonce by HKDF, and appends one
// encrypted record. Key pairs are made a few at a time, since the inversion that a point ends with
// is then shared; each is used once. What OpenSSL is slow to set up is kept once for each thread.
// SHA-256 and coordinates are used by functions that OpenSSL 3 calls deprecated: through EVP the
// five HMACs take twice as long, and there is no other way to read a point without an inversion. A
// point that does not lie on the curve is refused before it is used. Keys and plaintext must not
// outlive the call.
#include "pns/webpush_crypto.hpp"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cassert>
#include <new>

#include "pns/errc.hpp"
#include "pns/openssl_free.hpp"

namespace pns {

namespace {

constexpr std::size_t hash_bytes = 32, tag_bytes = 16, scalar_bytes = 32, coordinate_bytes = 32;
constexpr std::size_t pairs_together_max = 16;
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
    std::unique_ptr<EVP_CIPHER, Free<EVP_CIPHER_free>> aes{
        EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr)};
    std::unique_ptr<EVP_CIPHER_CTX, Free<EVP_CIPHER_CTX_free>> cipher{EVP_CIPHER_CTX_new()};

    std::array<Point, pairs_together_max> points;
    Number x{BN_new()}, y{BN_new()}, z{BN_new()};

    Workshop() {
        bool complete = group && numbers && aes && cipher && x && y && z;
        for (Point& point : points) {
            if (complete) point.reset(EC_POINT_new(group.get()));
            complete = complete && point;
        }
        if (!complete) throw std::bad_alloc();
    }
};

Workshop& workshop() {
    static thread_local Workshop mine;
    return mine;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/// HMAC-SHA-256 with one key.
class Hmac {
  public:
    explicit Hmac(std::string_view key) {
        std::array<unsigned char, SHA256_CBLOCK> pad{};
        if (key.size() > pad.size()) {
            SHA256(bytes_of(key), key.size(), pad.data());
        } else {
            std::copy(key.begin(), key.end(), pad.begin());
        }
        for (unsigned char& byte : pad) byte ^= inner_pad;
        SHA256_Init(&inner_);
        SHA256_Update(&inner_, pad.data(), pad.size());
        for (unsigned char& byte : pad) byte ^= inner_pad ^ outer_pad;
        SHA256_Init(&outer_);
        SHA256_Update(&outer_, pad.data(), pad.size());
        OPENSSL_cleanse(pad.data(), pad.size());
    }
    ~Hmac() {
        OPENSSL_cleanse(&inner_, sizeof inner_);
        OPENSSL_cleanse(&outer_, sizeof outer_);
    }
    Hmac(const Hmac&) = delete;
    Hmac& operator=(const Hmac&) = delete;

    /// Of the parts in turn.
    void of(Hash& out, std::initializer_list<std::string_view> parts) const {
        SHA256_CTX at = inner_;
        for (const std::string_view part : parts) SHA256_Update(&at, part.data(), part.size());
        SHA256_Final(out.data(), &at);
        at = outer_;
        SHA256_Update(&at, out.data(), out.size());
        SHA256_Final(out.data(), &at);
        OPENSSL_cleanse(&at, sizeof at);
    }

  private:
    static constexpr unsigned char inner_pad = 0x36, outer_pad = 0x5c;
    SHA256_CTX inner_, outer_;
};

/// Coordinates of points that are made affine together, after each other: X, Y.
bool read_points(std::size_t count, std::array<std::uint8_t*, pairs_together_max> out) {
    Workshop& shop = workshop();
    const EC_GROUP* group = shop.group.get();
    std::array<EC_POINT*, pairs_together_max> points{};
    for (std::size_t i = 0; i < count; ++i) points[i] = shop.points[i].get();
    bool good = EC_POINTs_make_affine(group, count, points.data(), shop.numbers.get()) == 1;
    for (std::size_t i = 0; i < count; ++i) {
        good =
            good &&
            EC_POINT_get_Jprojective_coordinates_GFp(group, points[i], shop.x.get(), shop.y.get(),
                                                     shop.z.get(), shop.numbers.get()) == 1 &&
            BN_is_one(shop.z.get()) && BN_bn2binpad(shop.x.get(), out[i], coordinate_bytes) > 0 &&
            BN_bn2binpad(shop.y.get(), out[i] + coordinate_bytes, coordinate_bytes) > 0;
    }
    return good;
}

#pragma GCC diagnostic pop

constexpr std::string_view one("\x01", 1);
constexpr std::string_view key_label("WebPush: info\0", 14);
constexpr std::string_view cek_label("Content-Encoding: aes128gcm\0", 28);
constexpr std::string_view nonce_label("Content-Encoding: nonce\0", 24);

struct RecordKeys {
    Hash cek, nonce;  ///< 16 and 12 bytes of them are used
};

/// RFC 8291 3.3 and 3.4, RFC 8188 2.2 and 2.3.
void derive(RecordKeys& out, const WebPushKeys& to, const EphemeralKeys& mine,
            std::string_view shared) {
    Hash prk_key, ikm, prk;
    Hmac(to.auth).of(prk_key, {shared});
    Hmac(text_of(prk_key)).of(ikm, {key_label, to.p256dh, mine.public_point(), one});
    Hmac(mine.salt()).of(prk, {text_of(ikm)});
    const Hmac expand(text_of(prk));
    expand.of(out.cek, {cek_label, one});
    expand.of(out.nonce, {nonce_label, one});
    OPENSSL_cleanse(prk_key.data(), prk_key.size());
    OPENSSL_cleanse(ikm.data(), ikm.size());
    OPENSSL_cleanse(prk.data(), prk.size());
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

bool EphemeralKeys::make_together(std::vector<EphemeralKeys>& out, std::size_t count) {
    assert(out.empty() && count <= pairs_together_max);
    Workshop& shop = workshop();
    const BIGNUM* order = EC_GROUP_get0_order(shop.group.get());
    std::array<std::uint8_t, pairs_together_max * scalar_bytes> scalars;
    std::array<std::uint8_t, pairs_together_max * web_push_salt_bytes> salts;
    bool good = RAND_priv_bytes(scalars.data(), static_cast<int>(count * scalar_bytes)) == 1 &&
                RAND_bytes(salts.data(), static_cast<int>(count * web_push_salt_bytes)) == 1;
    std::array<std::uint8_t*, pairs_together_max> coordinates{};
    for (std::size_t i = 0; i < count && good; ++i) {
        EphemeralKeys& pair = out.emplace_back(EphemeralKeys());
        BIGNUM* number = pair.scalar_->number.get();
        good = BN_bin2bn(scalars.data() + i * scalar_bytes, scalar_bytes, number) != nullptr;
        while (good && (BN_is_zero(number) || BN_cmp(number, order) >= 0))
            good = BN_priv_rand_range(number, order) == 1;
        std::copy_n(salts.begin() + static_cast<std::ptrdiff_t>(i * web_push_salt_bytes),
                    web_push_salt_bytes, pair.salt_.begin());
        good = good && EC_POINT_mul(shop.group.get(), shop.points[i].get(), number, nullptr,
                                    nullptr, shop.numbers.get()) == 1;
    }
    OPENSSL_cleanse(scalars.data(), scalars.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
        out[i].point_[0] = 4;  // uncompressed
        coordinates[i] = out[i].point_.data() + 1;
    }
    good = good && read_points(count, coordinates);
    if (!good) out.clear();
    return good;
}

Result<EphemeralKeys> EphemeralKeys::generate() {
    // A thread that seals now and then makes few ahead: the next one waits for all of them.
    static thread_local std::vector<EphemeralKeys> ahead;
    static thread_local std::size_t together = 1;
    if (ahead.empty()) {
        if (!make_together(ahead, together)) return error_code(errc::signing_failed);
        together = std::min(together * 2, pairs_together_max);
    }
    EphemeralKeys out = std::move(ahead.back());
    ahead.pop_back();
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
    const bool sealed = encrypt(body, keys, plain, padding);
    OPENSSL_cleanse(&keys, sizeof keys);
    if (!sealed) {
        ERR_clear_error();
        return error_code(errc::signing_failed);
    }
    return body;
}

}  // namespace pns
