#pragma once

// A PKCS#12 file, as APNs certificates are uploaded, taken apart into PEM. Pure; any thread.

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

}  // namespace pns
