#pragma once

// Message encryption for Web Push: content coding aes128gcm (RFC 8188) with keys by RFC 8291, one
// record. Any thread.
//
// RFC 8291 3.1 wants a key pair made for each message, so none is used twice. Most of a push's cost
// is the Diffie-Hellman product with the subscriber's key, which no reuse would save.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pns/task.hpp"

namespace pns {

inline constexpr std::size_t p256_point_bytes = 65;  ///< uncompressed
inline constexpr std::size_t web_push_salt_bytes = 16;
inline constexpr std::size_t web_push_record_bytes = 4096;  ///< what every push service takes
inline constexpr std::size_t web_push_overhead_bytes = 103;
inline constexpr std::size_t web_push_plain_bytes_max =
    web_push_record_bytes - web_push_overhead_bytes;

/// An uncompressed point that lies on P-256. Cheaper than is_p256_point(), for every push.
bool is_on_p256(std::string_view point);

/// What a subscription says about its browser's keys.
struct WebPushKeys {
    std::string p256dh;  ///< 65 bytes, a point on P-256
    std::string auth;    ///< at least 16 bytes
};

/// The sender's key pair and salt for one message. A secret until the message is sealed.
class EphemeralKeys {
  public:
    /// Fresh and random, perhaps made with others a moment before; errc::signing_failed if the
    /// system has no randomness.
    static Result<EphemeralKeys> generate();
    /// Fixed ones, for test vectors: a scalar of 32 bytes and a salt of 16.
    static Result<EphemeralKeys> of(std::string_view private_scalar, std::string_view salt);
    ~EphemeralKeys();
    EphemeralKeys(EphemeralKeys&&) noexcept;
    EphemeralKeys& operator=(EphemeralKeys&&) noexcept;

    std::string_view public_point() const {
        return {reinterpret_cast<const char*>(point_.data()), point_.size()};
    }
    std::string_view salt() const {
        return {reinterpret_cast<const char*>(salt_.data()), salt_.size()};
    }
    /// X coordinate of the product with another's point; nothing if that is no point of P-256.
    std::optional<std::array<std::uint8_t, 32>> agree(std::string_view point) const;

  private:
    struct Scalar;
    EphemeralKeys();
    bool compute_point();
    static bool make_together(std::vector<EphemeralKeys>& out, std::size_t count);

    std::unique_ptr<Scalar> scalar_;
    std::array<std::uint8_t, p256_point_bytes> point_{};
    std::array<std::uint8_t, web_push_salt_bytes> salt_{};
};

/// The body of a push: header and the one record. At most web_push_plain_bytes_max of plain text,
/// which `padded_bytes` lengthens with zeros up to that bound (0 = its own length). errc::bad_key
/// for keys that are none.
Result<std::string> seal_web_push(const WebPushKeys& to, std::string_view plain,
                                  const EphemeralKeys& mine, std::size_t padded_bytes = 0);

}  // namespace pns
