#pragma once

// The certificate of the listener: the operator's, or one of our own making. Start-up only:
// failures are exceptions.

#include <filesystem>

#include "hub/process/config.hpp"
#include "pns/tls.hpp"

namespace hub {

struct TlsFiles {
    std::filesystem::path certificate;  ///< PEM chain, leaf first
    std::filesystem::path key;
    std::filesystem::path ca;  ///< what clients must trust; empty with an operator's certificate
};

/// Without Config::tls_cert_file, data_dir/tls/ca.pem is made once and stays. The leaf is made anew
/// at each start, for localhost, the loopback addresses and Config::host_names. Keys have mode
/// 0600.
TlsFiles prepare_tls_files(const Config& config);

/// ALPN h2 before http/1.1. Any thread may open streams on it.
pns::TlsContext make_tls_context(const TlsFiles& files);

}  // namespace hub
