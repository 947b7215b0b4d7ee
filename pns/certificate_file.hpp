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

/// `der` is the file itself, not base64. Nothing when it is no PKCS#12, the password is wrong, or
/// leaf or key is missing.
std::optional<CertificateFile> read_certificate_file(std::string_view der,
                                                     const std::string& password);

/// The last second, since 1970, for which the first certificate of a PEM text is valid. Nothing: it
/// has none.
std::optional<std::int64_t> certificate_end_s(const std::string& pem);

}  // namespace pns
