#pragma once

// JSON Web Tokens signed with ES256 (APNs), RS256 and PS256 (service accounts of Google's and
// Huawei's), and the base64 dialects around them (RFC 7515, RFC 4648). Keys are immutable after
// construction and may be used from any thread. Signing takes 50 µs (ES256) to 1 ms (RS256): once
// per token, never per push.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "pns/task.hpp"

namespace pns {

std::string base64url(std::string_view bytes);  ///< without padding
/// Strict on characters, lenient on padding.
std::optional<std::string> from_base64url(std::string_view text);
std::string base64(std::string_view bytes);
/// Skips white space; padding optional.
std::optional<std::string> from_base64(std::string_view text);
/// SHA-256 as lower-case hex: names a secret in a cache key without holding it.
std::string sha256_hex(std::string_view bytes);

/// An uncompressed point that lies on P-256: other points leak a private key to whoever chose them.
bool is_p256_point(std::string_view bytes);

/// How an RSA key signs: RS256 or PS256 (RFC 7518 3.3, 3.5). P-256 keys ignore it.
enum class RsaPadding : std::uint8_t { pkcs1, pss };

inline constexpr int rsa_bits_max = 8'192;

/// A P-256 or RSA key, private or public only.
class Key {
  public:
    /// PKCS#8 (or the older EC/RSA forms) as PEM, as PEM whose line ends are the two characters
    /// `\n`, or as bare base64 of the DER, as hub descriptions carry it.
    static std::optional<Key> read_private(std::string_view text);
    static std::optional<Key> read_public(std::string_view pem);
    static Key generate_p256();
    static Key generate_rsa(int bits = 2048);

    bool is_p256() const;
    /// Only one that signs in time.
    bool is_rsa(int bits_min = 2048) const;
    /// Of RSA, no number has more than rsa_bits_max: time grows with the third power of the longest
    /// (0.3 s with 8192 bits), and whoever made the key chose the length of each.
    bool signs_in_time() const;
    std::string private_pem() const;  ///< PKCS#8
    std::string public_pem() const;
    std::string fingerprint() const;  ///< sha256_hex of the public key's DER

    /// A signature over `text` in JWS form, over SHA-256: r‖s for P-256.
    Result<std::string> sign(std::string_view text, RsaPadding padding = RsaPadding::pkcs1) const;
    bool verify(std::string_view text, std::string_view signature,
                RsaPadding padding = RsaPadding::pkcs1) const;

  private:
    struct Handle;
    explicit Key(std::shared_ptr<const Handle> handle) : handle_(std::move(handle)) {}
    std::shared_ptr<const Handle> handle_;
};

/// `{"alg":…,"kid":…,"typ":…}` (empty kid or typ: left out) over `claims`, a JSON object in text
/// form.
Result<std::string> sign_jwt(const Key& key, std::string_view kid, std::string_view typ,
                             std::string_view claims, RsaPadding padding = RsaPadding::pkcs1);

/// A token taken apart, its signature not yet checked. Text of the two JSON objects, undecoded
/// further.
struct Jwt {
    std::string header, claims, signed_part, signature;
};
/// `padded`: its parts may be base64 with `=`, `+`, `/`, as clients of APNs write and Apple takes.
std::optional<Jwt> split_jwt(std::string_view token, bool padded = false);
/// An ECDSA signature in DER as the raw form of JWS; nothing if it is none.
std::optional<std::string> raw_signature(std::string_view der);

}  // namespace pns
