// Tested by tests/hub_service_test.cpp and tests/hub_tls_files_test.cpp.

#include "hub/server/tls_files.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "hub/process/config.hpp"
#include "hub/process/private_file.hpp"
#include "pns/own_authority.hpp"

namespace hub {

namespace {

/// One that is new vouches for the DNS names in `names` only. Addresses are not bounded: those that
/// a hub listens on come and go.
pns::CertificatePair authority(const std::filesystem::path& folder, OwnAuthority own,
                               const std::vector<std::string>& names) {
    const auto certificate = folder / "ca.pem";
    const auto key = folder / "ca.key";
    if (std::filesystem::exists(certificate) && std::filesystem::exists(key)) {
        return {read_small_file(certificate), read_small_file(key)};
    }
    // A key alone is what a start left that was cut off: nobody has seen a certificate of it.
    if (own == OwnAuthority::must_be_there || std::filesystem::exists(certificate)) {
        const auto& gone = std::filesystem::exists(certificate) ? key : certificate;
        throw std::runtime_error(gone.string() +
                                 " is not there: put it back, or take ca.pem and ca.key away and "
                                 "start anew for another authority");
    }
    auto made = pns::make_ca("pushhub local CA", names, true);
    write_private_file(key, made.key_pem);
    write_private_file(certificate, made.certificate_pem);
    return made;
}

std::string name_of_machine() {
    char host[256] = {};
    return ::gethostname(host, sizeof host - 1) == 0 ? host : "";
}

/// What clients may call the address that `listen` names: itself, or for all addresses those of the
/// machine and its name. The first few, and none that only means something on one link.
std::vector<std::string> names_of(const std::string& listen) {
    constexpr std::size_t names_max = 32;
    ListenAddress at;
    if (!parse_listen(listen, at)) return {};
    boost::system::error_code none;
    const auto address = boost::asio::ip::make_address(at.address, none);
    if (none) return {};
    if (!address.is_unspecified()) return {address.to_string()};
    std::vector<std::string> out;
    if (const auto host = name_of_machine(); !host.empty()) out.push_back(host);
    ifaddrs* first = nullptr;
    if (::getifaddrs(&first) != 0) return out;
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> all(first, &::freeifaddrs);
    for (const ifaddrs* one = first; one != nullptr && out.size() < names_max;
         one = one->ifa_next) {
        if (one->ifa_addr == nullptr) continue;
        char text[INET6_ADDRSTRLEN] = {};
        // The family says which kind of address sockaddr stands for: there is no other way to it.
        if (one->ifa_addr->sa_family == AF_INET) {
            const auto* v4 = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
            ::inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
        } else if (one->ifa_addr->sa_family == AF_INET6 && address.is_v6()) {
            const auto* v6 = reinterpret_cast<const sockaddr_in6*>(one->ifa_addr);
            if (!IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr))
                ::inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
        }
        if (text[0] != '\0') out.emplace_back(text);
    }
    return out;
}

/// Leaves out names that an older authority may not vouch for: the machine has another name now.
/// Throws if it is one of `configured`.
void keep_signable(const pns::CertificatePair& ca, std::vector<std::string>& names,
                   const std::vector<std::string>& configured) {
    if (pns::may_sign(ca, names)) return;
    std::erase_if(names, [&](const std::string& name) {
        if (pns::may_sign(ca, {name})) return false;
        if (std::find(configured.begin(), configured.end(), name) != configured.end()) {
            throw std::runtime_error("the authority in tls/ca.pem was made for other names than " +
                                     name +
                                     ": take ca.pem and ca.key away and start anew for another, "
                                     "which clients then have to trust");
        }
        return true;
    });
}

}  // namespace

TlsFiles prepare_tls_files(const Config& config, OwnAuthority own) {
    if (!config.tls_cert_file.empty()) return {config.tls_cert_file, config.tls_key_file, {}};
    const auto folder = config.data_dir / "tls";
    std::filesystem::create_directories(folder);
    std::vector<std::string> names{"localhost", "127.0.0.1", "::1"};
    std::vector<std::string> more = config.host_names;
    for (std::string& name : names_of(config.listen)) more.push_back(std::move(name));
    for (std::string name : more) {
        if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
    // The hub may listen on all addresses later.
    std::vector<std::string> vouched = names;
    if (const auto host = name_of_machine(); !host.empty()) vouched.push_back(host);
    const auto ca = authority(folder, own, vouched);
    keep_signable(ca, names, config.host_names);
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
