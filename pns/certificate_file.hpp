#pragma once

// A PKCS#12 file, as APNs certificates are uploaded, taken apart into PEM; when a certificate
// ends. Pure; any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pns {

struct CertificateFile {
    std::string chain_pem;  ///< leaf first
    std::string key_pem;
    std::string subject_uid;  ///< UID of the leaf's subject: the bundle id in Apple's certificates;
                              ///< may be empty
};

/// A file says itself how often its password is hashed, up to 2^31 times, which is hours. Exports
/// of Apple's keychain and OpenSSL have some thousand, those that are made with care up to half a
/// million in all their parts.
constexpr std::int64_t certificate_iterations_max = 600'000;

/// `der` is the file itself, not base64. Nothing when it is no PKCS#12, the password is wrong, leaf
/// or key is missing, it takes more than certificate_iterations_max, or the key does not sign in
/// time (Key::signs_in_time). The first time this may take half a second: not for a lane; the files
/// read last are remembered.
std::optional<CertificateFile> read_certificate_file(std::string_view der,
                                                     const std::string& password);

/// The last second, since 1970, for which the first certificate of a PEM text is valid. Nothing: it
/// has none.
std::optional<std::int64_t> certificate_end_s(const std::string& pem);

}  // namespace pns
