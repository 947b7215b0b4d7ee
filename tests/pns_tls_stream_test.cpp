#include "pns/tls_stream.hpp"

#include <openssl/ssl.h>

#include <boost/asio/ssl/error.hpp>
#include <catch2/catch.hpp>
#include <random>

#include "pns/nursery.hpp"
#include "pns/tls.hpp"
#include "tests/support/tls_server.hpp"

namespace {

namespace asio = boost::asio;
using Bytes = std::vector<std::uint8_t>;
using pns::TlsStream;

Bytes random_bytes(std::mt19937_64& random, std::size_t size) {
    Bytes out(size);
    for (auto& byte : out) byte = static_cast<std::uint8_t>(random());
    return out;
}

/// A client and a server on two ends of one TCP connection.
class Pair {
  public:
    Pair() : client_socket(loop.get_executor()), server_socket(loop.get_executor()) {
        asio::ip::tcp::acceptor acceptor(loop, {asio::ip::address_v4::loopback(), 0});
        client_socket.connect(acceptor.local_endpoint());
        acceptor.accept(server_socket);
        server_context_ = support::Authority::get().server({"localhost"}, "");
        pns::TlsClientOptions options;
        options.ca_file = support::Authority::get().file();
        client_context_ = pns::make_client_context(trust_, options).value();
        client.emplace(client_socket, client_context_->native_handle(), TlsStream::Side::client);
        server.emplace(server_socket, server_context_->native_handle(), TlsStream::Side::server);
        REQUIRE(pns::expect_host(client->native_handle(), "localhost"));
    }
    /// Runs both to their ends.
    void run(pns::Task<void> one, pns::Task<void> other) {
        pns::Nursery nursery(loop.get_executor());
        nursery.start(std::move(one));
        nursery.start(std::move(other));
        loop.restart();
        loop.run();
        if (nursery.first_error()) std::rethrow_exception(nursery.first_error());
    }
    void shake_hands() { run(shake(*client), shake(*server)); }

    asio::io_context loop;
    TlsStream::Socket client_socket, server_socket;
    std::optional<TlsStream> client, server;

  private:
    static pns::Task<void> shake(TlsStream& stream) {
        const pns::error_code failure = co_await stream.handshake();
        CHECK_FALSE(failure);
    }

    pns::TrustStore trust_;
    pns::TlsContext server_context_, client_context_;
};

pns::Task<void> send_all(TlsStream& stream, const Bytes& bytes, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    for (std::size_t at = 0; at < bytes.size();) {
        const std::size_t sizes[] = {1, 100, 16'384, 16'385, 70'000, 300'000};
        const auto size = std::min<std::size_t>(bytes.size() - at, sizes[random() % 6]);
        // The peer has to answer with keys of its own, maybe while it writes.
        if (random() % 8 == 0) SSL_key_update(stream.native_handle(), SSL_KEY_UPDATE_REQUESTED);
        const std::span<const std::uint8_t> piece(bytes.data() + at, size);
        const TlsStream::Moved written = co_await stream.write(piece);
        REQUIRE_FALSE(written.failure);
        REQUIRE(written.bytes == size);
        at += size;
    }
}

pns::Task<void> receive_all(TlsStream& stream, Bytes& into, std::size_t wanted,
                            std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Bytes room(70'000);
    while (into.size() < wanted) {
        const std::size_t sizes[] = {1, 7, 512, 16'384, 70'000};
        const std::span<std::uint8_t> piece(room.data(), sizes[random() % 5]);
        const TlsStream::Moved read = co_await stream.read_some(piece);
        REQUIRE_FALSE(read.failure);
        into.insert(into.end(), room.begin(),
                    room.begin() + static_cast<std::ptrdiff_t>(read.bytes));
        if (random() % 2 == 0) continue;
        const std::size_t more = stream.read_ready(piece);
        into.insert(into.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(more));
    }
}

pns::Task<void> both(pns::Nursery& nursery, pns::Task<void> one, pns::Task<void> other) {
    nursery.start(std::move(one));
    nursery.start(std::move(other));
    co_return;
}

}  // namespace

TEST_CASE("bytes pass both ways at once, in pieces of any size, through changes of keys", "[pns]") {
    Pair pair;
    pair.shake_hands();
    std::mt19937_64 random(1);
    const Bytes there = random_bytes(random, 3'000'000), back = random_bytes(random, 3'000'000);
    Bytes at_server, at_client;
    pns::Nursery nursery(pair.loop.get_executor());
    auto client = both(nursery, send_all(*pair.client, there, 2),
                       receive_all(*pair.client, at_client, back.size(), 3));
    auto server = both(nursery, send_all(*pair.server, back, 4),
                       receive_all(*pair.server, at_server, there.size(), 5));
    pair.run(std::move(client), std::move(server));
    CHECK_FALSE(nursery.first_error());
    CHECK(at_server == there);
    CHECK(at_client == back);
}

TEST_CASE("a goodbye is told from an end without one", "[pns]") {
    for (const bool goodbye : {true, false}) {
        Pair pair;
        pair.shake_hands();
        const auto leave = [](Pair& of, bool says) -> pns::Task<void> {
            const Bytes last(1'000, 7);
            co_await of.server->write(last);
            if (says) co_await of.server->shutdown();
            of.server_socket.close();
        };
        pns::error_code end;
        std::size_t got = 0;
        const auto listen = [](Pair& of, pns::error_code& how,
                               std::size_t& sum) -> pns::Task<void> {
            Bytes room(100);
            while (!how) {
                const TlsStream::Moved read = co_await of.client->read_some(room);
                sum += read.bytes;
                how = read.failure;
            }
        };
        pair.run(leave(pair, goodbye), listen(pair, end, got));
        CHECK(got == 1'000);
        CHECK(end == (goodbye ? pns::error_code(asio::error::eof)
                              : pns::error_code(asio::ssl::error::stream_truncated)));
    }
}

TEST_CASE("of a write that fails, only whole records that left are counted", "[pns]") {
    Pair pair;
    pair.shake_hands();
    TlsStream::Moved written;
    const Bytes much(32u << 20, 1);
    const auto write = [](Pair& of, const Bytes& bytes, TlsStream::Moved& out) -> pns::Task<void> {
        out = co_await of.client->write(bytes);
    };
    const auto cut = [](Pair& of) -> pns::Task<void> {
        // The peer reads nothing: the write waits for the socket, which ends.
        pns::SteadyTimer timer(of.loop.get_executor());
        timer.expires_after(std::chrono::milliseconds(50));
        co_await timer.async_wait(pns::as_result);
        of.client_socket.close();
    };
    pair.run(write(pair, much, written), cut(pair));
    CHECK(written.failure);
    CHECK(written.bytes < much.size());
    CHECK(written.bytes % (16 * 1024) == 0);
}

TEST_CASE("a client that does not trust the server says so to it", "[pns]") {
    Pair pair;
    REQUIRE(pns::expect_host(pair.client->native_handle(), "another"));
    pns::error_code at_client, at_server;
    const auto shake = [](TlsStream& stream, pns::error_code& out) -> pns::Task<void> {
        out = co_await stream.handshake();
        if (out) co_return;
        Bytes room(10);
        const TlsStream::Moved read = co_await stream.read_some(room);
        out = read.failure;
    };
    pair.run(shake(*pair.client, at_client), shake(*pair.server, at_server));
    CHECK(at_client.category() == asio::error::get_ssl_category());
    CHECK(at_server.category() == asio::error::get_ssl_category());
}
