// Tested by tests/hub_service_test.cpp.

#include "hub/server/tls_files.hpp"

#include <algorithm>
#include <stdexcept>

#include "hub/process/private_file.hpp"
#include "pns/own_authority.hpp"

namespace hub {

namespace {

pns::CertificatePair authority(const std::filesystem::path& folder) {
    const auto certificate = folder / "ca.pem";
    const auto key = folder / "ca.key";
    if (std::filesystem::exists(certificate) && std::filesystem::exists(key)) {
        return {read_small_file(certificate), read_small_file(key)};
    }
    auto made = pns::make_ca("pushhub local CA");
    write_private_file(key, made.key_pem);
    write_private_file(certificate, made.certificate_pem);
    return made;
}

}  // namespace

TlsFiles prepare_tls_files(const Config& config) {
    if (!config.tls_cert_file.empty()) return {config.tls_cert_file, config.tls_key_file, {}};
    const auto folder = config.data_dir / "tls";
    std::filesystem::create_directories(folder);
    const auto ca = authority(folder);
    std::vector<std::string> names{"localhost", "127.0.0.1", "::1"};
    for (std::string name : config.host_names) {
        if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
    pns::LeafOptions options;
    options.valid_until_s = 825 * 86'400;
    const auto leaf = pns::make_leaf(ca, names, options);
    TlsFiles files{folder / "server.pem", folder / "server.key", folder / "ca.pem"};
    write_private_file(files.key, leaf.key_pem);
    write_private_file(files.certificate, leaf.certificate_pem);
    return files;
}

pns::TlsContext make_tls_context(const TlsFiles& files) {
    pns::TlsServerOptions options;
    options.certificate_pem = read_small_file(files.certificate);
    options.key_pem = read_small_file(files.key);
    options.alpn = {"h2", "http/1.1"};
    const auto made = pns::make_server_context(options);
    if (!made) {
        throw std::runtime_error("cannot use the certificate " + files.certificate.string() +
                                 " with the key " + files.key.string() +
                                 ": one of them is no PEM, or they do not belong together");
    }
    return *made;
}

}  // namespace hub
