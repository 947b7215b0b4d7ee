#pragma once

// The certificate of the listener: the operator's, or one of our own making. Start-up only:
// failures are exceptions.

#include <cstdint>
#include <filesystem>

#include "hub/process/config.hpp"
#include "pns/tls.hpp"

namespace hub {

struct TlsFiles {
    std::filesystem::path certificate;  ///< PEM chain, leaf first
    std::filesystem::path key;
    std::filesystem::path ca;  ///< what clients must trust; empty with an operator's certificate
};

/// Where nothing is there yet, an authority may be made at the start only: clients trust the one
/// that they know, and a running hub that misses it keeps what it has.
enum class OwnAuthority : std::uint8_t { may_be_made, must_be_there };

/// Without Config::tls_cert_file, data_dir/tls/ca.pem is made once and stays. The leaf is made anew
/// at each start, for localhost, the loopback addresses and Config::host_names. Keys have mode
/// 0600. Throws if the authority, or half of it, is missed.
TlsFiles prepare_tls_files(const Config& config, OwnAuthority own = OwnAuthority::may_be_made);

/// ALPN h2 before http/1.1. Any thread may open streams on it.
pns::TlsContext make_tls_context(const TlsFiles& files);

}  // namespace hub
