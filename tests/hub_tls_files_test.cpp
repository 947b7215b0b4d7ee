#include "hub/server/tls_files.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "hub/process/config.hpp"

namespace {

namespace fs = std::filesystem;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

Certificate leaf_of(const std::string& listen, const fs::path& dir) {
    hub::Config config;
    config.data_dir = dir;
    config.listen = listen;
    config.host_names = {"push.example.test"};
    std::ifstream in(hub::prepare_tls_files(config).certificate);
    const std::string pem{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    const std::unique_ptr<BIO, decltype(&BIO_free)> bytes(
        BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
    return {PEM_read_bio_X509(bytes.get(), nullptr, nullptr, nullptr), &X509_free};
}

bool names(const Certificate& leaf, const std::string& name) {
    return X509_check_host(leaf.get(), name.data(), name.size(), 0, nullptr) == 1 ||
           X509_check_ip_asc(leaf.get(), name.c_str(), 0) == 1;
}

}  // namespace

TEST_CASE("the self-made certificate names what the hub listens on", "[hub]") {
    const fs::path dir = fs::temp_directory_path() / ("pushhub-tls-" + std::to_string(::getpid()));
    fs::create_directories(dir);
    const auto loopback = leaf_of("127.0.0.1:8443", dir);
    for (const char* name : {"localhost", "127.0.0.1", "::1", "push.example.test"})
        CHECK(names(loopback, name));
    CHECK_FALSE(names(loopback, "192.0.2.7"));
    CHECK(names(leaf_of("192.0.2.7:8443", dir), "192.0.2.7"));
    CHECK(names(leaf_of("[2001:db8::7]:8443", dir), "2001:db8::7"));
    const auto all = leaf_of("0.0.0.0:8443", dir);
    CHECK(names(all, "localhost"));
    CHECK(names(all, "push.example.test"));
    char host[256] = {};
    REQUIRE(::gethostname(host, sizeof host - 1) == 0);
    CHECK(names(all, host));
    ifaddrs* first = nullptr;
    REQUIRE(::getifaddrs(&first) == 0);
    for (const ifaddrs* one = first; one != nullptr; one = one->ifa_next) {
        if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET) continue;
        char text[INET_ADDRSTRLEN] = {};
        ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr, text,
                    sizeof text);
        INFO(text);
        CHECK(names(all, text));
    }
    ::freeifaddrs(first);
    fs::remove_all(dir);
}

TEST_CASE("an authority is told when it may not vouch for a name that is new", "[hub]") {
    const fs::path dir =
        fs::temp_directory_path() / ("pushhub-tls-names-" + std::to_string(::getpid()));
    fs::create_directories(dir);
    hub::Config config;
    config.data_dir = dir;
    config.host_names = {"push.example.test"};
    CHECK_NOTHROW(hub::prepare_tls_files(config));
    CHECK_NOTHROW(hub::prepare_tls_files(config));
    config.host_names = {"bank.example.test"};
    CHECK_THROWS_WITH(hub::prepare_tls_files(config),
                      Catch::Contains("was made for other names than bank.example.test"));
    fs::remove_all(dir);
}
