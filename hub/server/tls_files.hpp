#pragma once

// The certificate of the listener: the operator's, or one of our own making. Start-up only:
// failures are exceptions.

#include <boost/asio/ssl/context.hpp>
#include <filesystem>

#include "hub/process/config.hpp"

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

/// TLS 1.2 or later, ALPN h2 before http/1.1. Any thread may open streams on it.
boost::asio::ssl::context make_tls_context(const TlsFiles& files);

}  // namespace hub
