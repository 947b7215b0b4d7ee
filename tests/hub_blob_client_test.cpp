// The client of other services' blobs, against a hub's own blob area.

#include "hub/bulk/blob_client.hpp"

#include <openssl/err.h>
#include <openssl/x509.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <thread>

#include "pns/clock.hpp"
#include "tests/support/dns_server.hpp"
#include "tests/support/hub_world.hpp"
#include "tests/support/run_until.hpp"

TEST_CASE("URLs of blobs are taken apart, or refused", "[hub]") {
    struct Row {
        std::string url, host;
        int port;
    };
    for (const auto& row : std::vector<Row>{{"https://A.b/c/d?e=f", "a.b", 443},
                                            {"https://a.b:8443/c", "a.b", 8443},
                                            {"https://[::1]:8443/c", "[::1]", 8443}}) {
        const auto url = hub::parse_blob_url(row.url);
        REQUIRE(hub::ok(url));
        CHECK(std::get<hub::BlobUrl>(url).host == row.host);
        CHECK(std::get<hub::BlobUrl>(url).port == row.port);
    }
    for (const char* wrong :
         {"", "https://", "http://a/b", "https://a b/c", "https://u@h/c", "https://h/c#d",
          "https://h:0/c", "https://h:99999/", "https://h:x/", "ftp://h/c", "https://h/\r\nX: y"}) {
        INFO(wrong);
        CHECK_FALSE(hub::ok(hub::parse_blob_url(wrong)));
    }
    const auto container = std::get<hub::BlobUrl>(hub::parse_blob_url("https://h/c/?s=1"));
    const auto blob = hub::blob_in(container, "ns//a b/x");
    CHECK(blob.path == "/c/ns//a%20b/x");
    CHECK(blob.query == "s=1");
    const auto allowed = [](const std::string& url, std::vector<std::string> hosts) {
        return hub::is_allowed_host(std::get<hub::BlobUrl>(hub::parse_blob_url(url)), hosts);
    };
    CHECK(allowed("https://a.b/", {"A.b"}));
    CHECK(allowed("https://x.a.b/", {"*.a.b"}));
    CHECK_FALSE(allowed("https://a.b/", {"*.a.b"}));
    CHECK_FALSE(allowed("https://xa.b/", {"*.a.b"}));
    CHECK_FALSE(allowed("https://a.b:8443/", {"a.b"}));
    CHECK(allowed("https://a.b:8443/", {"a.b:8443"}));
    CHECK_FALSE(allowed("https://a.b/", {}));
}

TEST_CASE("blobs of another service are read in pieces and written; what is in the way is told",
          "[hub]") {
    // A hub takes no blocks: what it answers becomes the job's failure, after no retries.
    support::HubWorld store;
    store.put_hub("orders");
    std::atomic<bool> stop = false;
    hub::BlobClient::Settings settings;
    settings.ca_file = store.service().ca_file().string();
    settings.hosts = {"localhost:" + std::to_string(store.service().port())};
    hub::BlobClient client(pns::system_clock(), settings, stop);
    const support::Folder folder;
    std::ofstream(folder.path / "large") << std::string(5u << 20, 'x');
    const auto url =
        store.client().request("GET", "/orders/blobcontainers/jobs", store.root_headers()).body;
    const auto target = std::get<hub::BlobUrl>(hub::parse_blob_url(url));
    const auto sent = client.put(hub::blob_in(target, "large"), folder.path / "large");
    REQUIRE_FALSE(hub::ok(sent));
    CHECK(std::get<hub::Refusal>(sent).message == "localhost answered 501.");
    std::ofstream(folder.path / "small") << "hello";
    CHECK(hub::ok(client.put(hub::blob_in(target, "small"), folder.path / "small")));
    auto got = client.get(hub::blob_in(target, "small"), 1, "");
    REQUIRE(hub::ok(got));
    CHECK(std::get<hub::BlobClient::Piece>(got).bytes == "ello");
    CHECK(std::get<hub::BlobClient::Piece>(got).total == 5);
    ERR_raise(ERR_LIB_X509, X509_R_BASE64_DECODE_ERROR);  // left by something else on this thread
    got = hub::BlobClient(pns::system_clock(), settings, stop)
              .get(hub::blob_in(target, "small"), 1, "");
    CHECK(hub::ok(got));
    ERR_clear_error();
    got = client.get(hub::blob_in(target, "small"), 5, "");
    REQUIRE(hub::ok(got));
    CHECK(std::get<hub::BlobClient::Piece>(got).bytes.empty());
    CHECK_FALSE(hub::ok(client.get(hub::blob_in(target, "small"), 0, "\"other\"")));
    settings.ca_file.clear();
    hub::BlobClient stranger(pns::system_clock(), settings, stop);
    const auto distrusted = stranger.get(hub::blob_in(target, "small"), 0, "");
    REQUIRE_FALSE(hub::ok(distrusted));
    CHECK(std::get<hub::Refusal>(distrusted).message.find("not trusted") != std::string::npos);
}

TEST_CASE("a silent name server does not hold a blob client that is to stop", "[hub]") {
    boost::asio::io_context loop(1);
    support::DnsServer dns(loop);
    dns.silent = true;
    std::atomic<bool> stop = false;
    hub::BlobClient::Settings settings;
    settings.timeout_ms = 600'000;
    settings.name_servers = dns.address();
    hub::BlobClient client(pns::system_clock(), settings, stop);
    const auto url = std::get<hub::BlobUrl>(hub::parse_blob_url("https://blobs.test/c/a"));
    std::string message;
    std::thread reader([&] {
        const auto got = client.get(url, 0, "");
        if (!hub::ok(got)) message = std::get<hub::Refusal>(got).message;
    });
    const bool asked = support::run_until(loop, [&] { return dns.queries > 0; });
    stop = true;
    reader.join();
    CHECK(asked);
    CHECK(message == "blobs.test: the process stops.");
    dns.stop();
    REQUIRE(support::run_until(loop, [&] { return dns.ended(); }));
}

TEST_CASE("a host of another's domain leads to no address of the operator's network", "[hub]") {
    boost::asio::io_context loop(1);
    support::DnsServer dns(loop);
    dns.addresses = {boost::asio::ip::address_v4::loopback(),
                     boost::asio::ip::make_address_v4("10.0.0.1")};
    std::atomic<bool> stop = false;
    hub::BlobClient::Settings settings;
    settings.timeout_ms = 5'000;
    settings.name_servers = dns.address();
    // The port is closed: who may go there is refused by the system.
    const auto url = std::get<hub::BlobUrl>(hub::parse_blob_url("https://blobs.test:1/c/a"));
    const auto asked_with = [&](std::vector<std::string> hosts) {
        settings.hosts = std::move(hosts);
        std::string message;
        std::atomic<bool> done = false;
        std::thread reader([&] {
            const auto got = hub::BlobClient(pns::system_clock(), settings, stop).get(url, 0, "");
            if (!hub::ok(got)) message = std::get<hub::Refusal>(got).message;
            done = true;
        });
        CHECK(support::run_until(loop, [&] { return done.load(); }));
        reader.join();
        return message;
    };
    const std::string refused = "addresses are not public";
    CHECK(asked_with({}).find(refused) != std::string::npos);
    CHECK(asked_with({"*.test:1"}).find(refused) != std::string::npos);
    CHECK(asked_with({"blobs.test:1"}).find(refused) == std::string::npos);
    dns.stop();
    REQUIRE(support::run_until(loop, [&] { return dns.ended(); }));
}
