// Attacks on the server layer over loopback: each is bounded, and what it meets is what
// docs/limits.md says. tests/hostile/ has the same as clients of their own, for a whole hub.

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <catch2/catch.hpp>
#include <list>
#include <sstream>

#include "hub/process/memory_reserve.hpp"
#include "tests/support/route_server.hpp"

namespace {

using hub::Call;
using hub::Response;
using support::Answer;
using support::comes_true;
using support::frame;
using support::H1Client;
using support::H2Client;
using support::plain;
using support::quick_config;
using support::Server;
using support::trusting;

constexpr std::size_t large_bytes = 3 << 20;
std::atomic<int> uploads_begun = 0;

pns::Task<Response> size_of(Call call) {
    Response response;
    response.body = std::to_string(call.request.body.size());
    co_return response;
}

pns::Task<Response> large(Call) {
    Response response;
    response.body.assign(large_bytes, 'x');
    co_return response;
}

/// Fits into what systems hold of a connection.
pns::Task<Response> medium(Call) {
    Response response;
    response.body.assign(100'000, 'x');
    co_return response;
}

const std::shared_ptr<const std::string>& page() {
    static const auto bytes = std::make_shared<const std::string>(200'000, 'p');
    return bytes;
}

pns::Task<Response> shared(Call) {
    Response response;
    response.shared_body = page();
    co_return response;
}

/// As an upload whose signature is in the URL.
pns::Task<Response> upload(Call call) {
    ++uploads_begun;
    if (!call.request.param("sig")) co_return hub::error(call.request, 403, "no signature");
    std::size_t size = 0;
    for (;;) {
        const auto piece = co_await call.request.more();
        if (!hub::ok(piece)) co_return hub::error(call.request, 400, "ended early");
        const auto& bytes = std::get<std::string>(piece);
        if (bytes.empty()) break;
        size += bytes.size();
    }
    Response response;
    response.body = std::to_string(size);
    co_return response;
}

constexpr std::array table{
    hub::Route{"GET", "/size", hub::Right::none, 1'000, size_of},
    hub::Route{"PUT", "/{hub}/size", hub::Right::send, 512 * 1024, size_of},
    hub::Route{"PUT", "/upload", hub::Right::none, 64 << 20, upload, hub::Trait::pieces, "sig"},
    hub::Route{"GET", "/large", hub::Right::none, 1'000, large},
    hub::Route{"GET", "/medium", hub::Right::none, 1'000, medium},
    hub::Route{"GET", "/shared", hub::Right::none, 1'000, shared},
    hub::Route{"GET", "/{hub}/size", hub::Right::listen, 1'000, size_of},
};

std::string put(const std::string& target, std::size_t bytes, const std::string& more = "") {
    return "PUT " + target + " HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(bytes) +
           "\r\n" + more + "\r\n";
}

constexpr const char* preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

support::ClientOptions h2() {
    auto options = trusting();
    options.alpn = "h2";
    return options;
}

std::string numbered(int type, int flags, std::uint32_t stream, const std::string& payload) {
    std::string out = frame(type, flags, 0, payload);
    for (int i = 0; i < 4; ++i) out[5 + i] = static_cast<char>(stream >> (24 - 8 * i));
    return out;
}

/// HPACK without Huffman and table: method and scheme by index, then a path of less than 127 bytes.
std::string get_head(const std::string& path) {
    return "\x82\x87\x04" + std::string(1, static_cast<char>(path.size())) + path + "\x01\x01h";
}

/// The error code of the first GOAWAY in what the server has sent; nothing: there is none.
std::optional<int> goaway_in(const std::string& seen) {
    const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(seen[at]); };
    for (std::size_t at = 0; at + 9 <= seen.size();) {
        const std::size_t length =
            (std::size_t{byte(at)} << 16) | (byte(at + 1) << 8) | byte(at + 2);
        if (byte(at + 3) == 7 && at + 17 <= seen.size()) return byte(at + 16);
        at += 9 + length;
    }
    return std::nullopt;
}

/// Sends `part` again and again until the server has had enough. Reads what it says meanwhile, as
/// far as a PING after each part goes.
std::string flood(Server& server, const std::string& begin, const std::string& part, int parts) {
    support::Wire wire(server.port, h2());
    std::string seen;
    wire.send(preface + frame(4, 0, 0, "") + begin);
    for (int i = 0; i < parts; ++i) {
        const std::string mark = "mark" + std::to_string(1'000 + i);
        if (!wire.send(part + frame(6, 0, 0, mark))) break;
        while (seen.find(mark) == std::string::npos) {
            const auto some = wire.receive();
            if (some.empty()) return seen;
            seen += some;
        }
    }
    return seen + wire.receive_all();
}

std::string times(const std::string& part, int count) {
    std::string out;
    for (int i = 0; i < count; ++i) out += part;
    return out;
}

/// A connection from another address than the clients' own.
struct Neighbour {
    Neighbour(std::uint16_t port, const char* from) : socket(io) {
        namespace ip = boost::asio::ip;
        socket.open(ip::tcp::v4());
        socket.bind({ip::make_address(from), 0});
        socket.connect({ip::make_address("127.0.0.1"), port});
    }
    /// Has the server closed it?
    bool ended() {
        socket.non_blocking(true);
        char byte = 0;
        boost::system::error_code failure;
        socket.read_some(boost::asio::buffer(&byte, 1), failure);
        return failure && failure != boost::asio::error::would_block;
    }
    boost::asio::io_context io;
    boost::asio::ip::tcp::socket socket;
};

}  // namespace

TEST_CASE("the head decides before any of the body is read", "[hub][hostile]") {
    Server server(table, quick_config());
    SECTION("HTTP/1.1: the refusal comes in place of 100, and the connection ends") {
        H1Client client(server.plain_port, plain());
        client.send(put("/orders/size", 500'000, "Expect: 100-continue\r\n"));
        const auto answer = client.read_answer();
        CHECK(answer.status == 401);
        CHECK(answer.header("connection") == "close");
        CHECK(client.ended());
    }
    SECTION("HTTP/1.1: the refusal does not wait for the body") {
        for (const std::string framing : {"Content-Length: 500000", "Transfer-Encoding: chunked"}) {
            H1Client client(server.plain_port, plain());
            client.send("PUT /orders/size HTTP/1.1\r\nHost: h\r\n" + framing + "\r\n\r\n");
            CHECK(client.read_answer().status == 401);
            client.wire().finish_sending();
            CHECK(client.ended());
        }
    }
    SECTION("HTTP/1.1: a short body costs an honest client no connection") {
        H1Client client(server.plain_port, plain());
        for (int i = 0; i < 3; ++i) {
            CHECK(client.request("PUT", "/orders/size", {}, std::string(60'000, 'x')).status ==
                  401);
            CHECK(client.request("PUT", "/orders/size", {{"Authorization", "good"}}, "abc").body ==
                  "3");
        }
    }
    SECTION("HTTP/1.1: an upload without its signature is not asked for") {
        H1Client client(server.plain_port, plain());
        client.send(put("/upload", 60 << 20, "Expect: 100-continue\r\n"));
        CHECK(client.read_answer().status == 403);
        CHECK(client.ended());
        H1Client right(server.plain_port, plain());
        right.send(put("/upload?sig=1", 5, "Expect: 100-continue\r\n"));
        CHECK(right.read_answer().status == 100);
        right.send("hello");
        CHECK(right.read_answer().body == "5");
        CHECK(right.request("GET", "/size").status == 200);
    }
    SECTION("HTTP/2: refused at the head, and told to send no more") {
        support::Wire wire(server.port, h2());
        const std::string head = "\x02\x03PUT\x87\x04\x0c/orders/size\x01\x01h";
        wire.send(preface + frame(4, 0, 0, "") + frame(1, 4, 1, head));
        const std::string stop = frame(3, 0, 1, std::string(4, '\0'));
        std::string seen;
        while (seen.find(stop) == std::string::npos) {
            const auto some = wire.receive();
            REQUIRE_FALSE(some.empty());
            seen += some;
        }
        CHECK(seen.find("MissingToken") != std::string::npos);
    }
    SECTION("HTTP/2: an upload without its signature, and one with it") {
        H2Client client(server.port);
        const std::string body(2'000'000, 'x');
        CHECK(client.request("PUT", "/upload", {}, body).status == 403);
        CHECK(client.request("PUT", "/orders/size", {}, std::string(500'000, 'x')).status == 401);
        CHECK(client.request("PUT", "/upload?sig=1", {}, body).body == "2000000");
        CHECK(client
                  .request("PUT", "/orders/size", {{"authorization", "good"}},
                           std::string(500'000, 'x'))
                  .body == "500000");
    }
    CHECK(comes_true([&] { return server.dispatch().bodies().held() == 0; }));
}

TEST_CASE("bodies that are being received are bounded, all connections together",
          "[hub][hostile]") {
    auto config = quick_config();
    config.request_bodies_mib_max = 1;
    Server server(table, config);
    const std::string head = put("/orders/size", 500'000, "Authorization: good\r\n");
    {
        std::vector<H1Client> holders;
        for (int i = 0; i < 4; ++i) {
            holders.emplace_back(server.plain_port, plain());
            holders.back().send(head + std::string(499'999, 'x'));
        }
        // Two fit; the others are told at the part that does not.
        int refused = 0;
        REQUIRE(comes_true([&] { return server.dispatch().bodies().held() >= 900'000; }));
        H1Client late(server.plain_port, plain());
        late.send(head + std::string(499'999, 'x'));
        const auto answer = late.read_answer();
        refused += answer.status == 503;
        CHECK(answer.header("retry-after") == "1");
        CHECK(refused == 1);
        CHECK(server.dispatch().bodies().held() <= 1 << 20);

        H2Client two(server.port);
        const auto other = two.request("PUT", "/orders/size", {{"authorization", "good"}},
                                       std::string(500'000, 'x'));
        CHECK(other.status == 503);
        CHECK(two.request("GET", "/size").status == 200);
    }
    REQUIRE(comes_true([&] { return server.dispatch().bodies().held() == 0; }));
    H1Client after(server.plain_port, plain());
    after.send(head + std::string(500'000, 'x'));
    CHECK(after.read_answer().body == "500000");
}

TEST_CASE("answers to a window of zero are bounded and do not stay", "[hub][hostile]") {
    auto config = quick_config();
    config.body_timeout_ms = 400;
    config.answers_mib_max = 24;
    Server server(table, config);
    const std::string zero_window = std::string("\0\4\0\0\0\0", 6);
    std::list<support::Wire> wires;
    std::size_t most = 0;
    const auto attack = [&](const std::string& path) {
        for (int c = 0; c < 12; ++c) {
            auto& wire = wires.emplace_back(server.port, h2());
            std::string bytes = preface + frame(4, 0, 0, zero_window);
            for (int i = 0; i < 40; ++i) bytes += frame(1, 5, 2 * i + 1, get_head(path));
            wire.send(bytes);
            most = std::max(most, server.dispatch().answers().held());
        }
    };
    SECTION("made for each") {
        attack("/large");
        REQUIRE(comes_true([&] {
            most = std::max(most, server.dispatch().answers().held());
            return server.dispatch().answers().held() >= large_bytes;
        }));
        // Each lane may have made one more when the bound was met.
        CHECK(most <= (24U << 20) + 2 * large_bytes);
    }
    SECTION("shared") {
        attack("/shared");
        CHECK(server.dispatch().answers().held() < 1 << 20);
    }
    REQUIRE(comes_true([&] { return server.dispatch().answers().held() == 0; }));
    if (page().use_count() > 1) CHECK(comes_true([] { return page().use_count() == 1; }));
    CHECK(H1Client(server.plain_port, plain()).request("GET", "/large").body.size() == large_bytes);
}

TEST_CASE("an answer that many share is the same over both protocols", "[hub]") {
    Server server(table, quick_config());
    H1Client one(server.plain_port, plain());
    H2Client two(server.port);
    for (int i = 0; i < 2; ++i) {
        for (const auto& answer : {one.request("GET", "/shared"), two.request("GET", "/shared")}) {
            CHECK(answer.body == *page());
            CHECK(answer.header("content-length") == "200000");
        }
    }
    CHECK(two.request("HEAD", "/shared").body.empty());
    CHECK(two.request("HEAD", "/shared").header("content-length") == "200000");
}

TEST_CASE("a client that reads nothing of an answer is cut, whatever the system has taken of it",
          "[hub][hostile]") {
    auto config = quick_config();
    config.body_timeout_ms = 300;
    config.idle_timeout_ms = 60'000;
    Server server(table, config);
    auto options = plain();
    options.small_receive_buffer = true;
    H1Client deaf(server.plain_port, options);
    deaf.send("GET /medium HTTP/1.1\r\nHost: h\r\n\r\n");
    REQUIRE(comes_true([&] { return server.connections() == 1; }));
    CHECK(comes_true([&] { return server.connections() == 0; }));
    // Whoever reads keeps its connection, however long it is silent.
    H1Client honest(server.plain_port, plain());
    CHECK(honest.request("GET", "/medium").body.size() == 100'000);
    support::stand_still(std::chrono::milliseconds(700));
    CHECK(honest.request("GET", "/size").status == 200);
}

TEST_CASE("frames that carry nothing, or end streams, have a budget", "[hub][hostile]") {
    Server server(table, quick_config());
    const std::string four(4, '\0'), increment("\0\0\0\1", 4);
    const std::string open_post = frame(1, 4, 1, "\x83" + get_head("/size").substr(1));
    struct Row {
        std::string name, begin, part;
    };
    std::string resets;
    const std::vector<Row> rows{
        {"PING", "", times(frame(6, 0, 0, "12345678"), 500)},
        {"SETTINGS", "", times(frame(4, 0, 0, ""), 500)},
        {"WINDOW_UPDATE", "", times(frame(8, 0, 0, increment), 500)},
        {"PRIORITY", "", times(frame(2, 0, 3, four + "\x10"), 500)},
        {"empty DATA", open_post, times(frame(0, 0, 1, ""), 500)},
        {"padded empty DATA", open_post, times(frame(0, 8, 1, std::string(1, '\0')), 500)},
        {"a type that there is not", "", times(frame(99, 0, 0, "x"), 500)},
    };
    for (const Row& row : rows) {
        INFO(row.name);
        const auto seen = flood(server, row.begin, row.part, 60);
        CHECK(goaway_in(seen) == 11);
    }
    // CONTINUATION may have no PING between; nghttp2 has a bound of its own.
    support::Wire wire(server.port, h2());
    wire.send(preface + frame(4, 0, 0, "") + frame(1, 1, 1, get_head("/size")));
    constexpr int parts_max = 2'000;
    int parts = 0;
    while (parts < parts_max && wire.send(times(frame(9, 0, 1, ""), 500))) ++parts;
    CHECK(parts < parts_max);
    CHECK(H2Client(server.port).request("GET", "/size").status == 200);
}

TEST_CASE("rapid resets end the connection, many cancellations do not", "[hub][hostile]") {
    Server server(table, quick_config());
    support::Wire wire(server.port, h2());
    wire.send(preface + frame(4, 0, 0, ""));
    const std::string cancel("\0\0\0\x8", 4);
    for (std::uint32_t i = 0; i < 20'000; i += 100) {
        std::string part;
        for (std::uint32_t s = 2 * i + 1; s < 2 * (i + 100); s += 2)
            part += numbered(1, 5, s, get_head("/size")) + numbered(3, 0, s, cancel);
        if (!wire.send(part)) break;
    }
    CHECK(goaway_in(wire.receive_all()) == 11);

    H2Client client(server.port);
    for (int i = 0; i < 1'000; ++i) {
        client.reset(client.start("GET", "/size"));
        if (i % 50 == 0) CHECK(client.request("GET", "/size").status == 200);
    }
    CHECK(client.request("GET", "/size").status == 200);
}

TEST_CASE("who opens more streams than there may be and does not read is not read any more",
          "[hub][hostile]") {
    auto config = quick_config();
    config.body_timeout_ms = 400;
    Server server(table, config);
    auto options = h2();
    options.small_receive_buffer = true;
    support::Wire deaf(server.port, options);
    // Requests without an end hold all streams.
    std::string bytes = preface + frame(4, 0, 0, "");
    std::uint32_t stream = 1;
    bool going = deaf.send(bytes);
    std::size_t sent = 0;
    constexpr std::size_t sent_max = 64 << 20;
    while (going && sent < sent_max) {
        std::string part;
        for (int i = 0; i < 500; ++i, stream += 2)
            part += numbered(1, 4, stream, "\x83" + get_head("/size").substr(1));
        going = deaf.send(part);
        sent += part.size();
    }
    CHECK_FALSE(going);
    CHECK(sent < sent_max);
    CHECK(comes_true([&] { return server.connections() == 0; }));
}

TEST_CASE("a header block that decodes to much more than it is ends the connection",
          "[hub][hostile]") {
    Server server(table, quick_config());
    support::Wire wire(server.port, h2());
    // A literal of 3900 bytes for the table (RFC 7541 6.2.1, length 127 + 3773), then its index.
    const std::string value(3'900, 'v');
    std::string block = get_head("/size") + std::string("\x40\x01x\x7f\xbd\x1d") + value;
    block += std::string(10'000, '\xbe');
    wire.send(preface + frame(4, 0, 0, "") + frame(1, 5, 1, block));
    for (int i = 3; i < 100; i += 2) {
        if (!wire.send(frame(1, 5, i, get_head("/size") + std::string(10'000, '\xbe')))) break;
    }
    CHECK(goaway_in(wire.receive_all()) == 11);
    CHECK(H2Client(server.port).request("GET", "/size").status == 200);
}

TEST_CASE("one address cannot have all connections", "[hub][hostile]") {
    auto config = quick_config();
    config.connections_per_address_max = 3;
    config.balancer_addresses = {"127.0.0.9", "127.0.1.0/24"};
    Server server(table, config);
    std::list<Neighbour> held;
    for (int i = 0; i < 3; ++i) held.emplace_back(server.plain_port, "127.0.0.2");
    REQUIRE(comes_true([&] { return server.connections() == 3; }));
    Neighbour fourth(server.plain_port, "127.0.0.2");
    CHECK(comes_true([&] { return fourth.ended(); }));
    CHECK(server.inbound.refused_total() == 1);
    CHECK(H1Client(server.plain_port, plain()).request("GET", "/size").status == 200);
    REQUIRE(comes_true([&] { return server.connections() == 3; }));
    std::size_t open = 3;
    for (const char* balancer : {"127.0.0.9", "127.0.1.77"}) {
        for (int i = 0; i < 5; ++i) held.emplace_back(server.plain_port, balancer);
        open += 5;
        CHECK(comes_true([&] { return server.connections() == open; }));
    }
    held.clear();
    REQUIRE(comes_true([&] { return server.connections() == 0; }));
    Neighbour again(server.plain_port, "127.0.0.2");
    CHECK(comes_true([&] { return server.connections() == 1; }));
}

TEST_CASE("when all connections are taken, the one that has waited longest goes",
          "[hub][hostile]") {
    auto config = quick_config();
    config.connections_max = 8;
    config.balancer_addresses = {};
    config.header_timeout_ms = config.idle_timeout_ms = 60'000;
    Server server(table, config);
    H1Client honest(server.plain_port, plain());
    CHECK(honest.request("GET", "/size").status == 200);
    std::list<Neighbour> idle;
    for (std::size_t i = 0; i < 30; ++i) {
        idle.emplace_back(server.plain_port, "127.0.0.2");
        // Lanes accept at a pace of their own: one after the other, so that their order is known.
        REQUIRE(comes_true([&] {
            return i < 7 ? server.connections() == i + 2 : server.inbound.ended_total() == i - 6;
        }));
    }
    // Those of the address that has the most go, so the honest one is still there.
    CHECK(comes_true([&] { return server.inbound.ended_total() >= 23; }));
    CHECK(honest.request("GET", "/size").status == 200);
    CHECK(comes_true([&] { return idle.front().ended(); }));
    CHECK_FALSE(idle.back().ended());
    H1Client another(server.plain_port, plain());
    CHECK(another.request("GET", "/size").status == 200);
    CHECK(honest.request("GET", "/size").status == 200);
    CHECK(comes_true([&] { return server.connections() <= 8; }));
}

TEST_CASE("handshakes that nobody ends do not keep others out", "[hub][hostile]") {
    auto config = quick_config();
    config.handshakes_max = 4;
    Server server(table, config);
    std::list<Neighbour> silent;
    for (int i = 0; i < 20; ++i) silent.emplace_back(server.port, "127.0.0.2");
    REQUIRE(comes_true([&] { return server.inbound.ended_total() >= 16; }));
    CHECK(comes_true([&] { return server.inbound.handshakes() <= 4; }));
    CHECK(H1Client(server.port, trusting()).request("GET", "/size").status == 200);
    CHECK(H2Client(server.port).request("GET", "/size").status == 200);
}

TEST_CASE("where there is no memory, a connection ends and the listener stays", "[hub][hostile]") {
    Server server(table, quick_config());
    for (int i = 0; i < 3; ++i) {
        H1Client one(server.plain_port, plain());
        CHECK(one.request("GET", "/orders/size", {{"Authorization", "too much"}}).status == 0);
        H2Client two(server.port);
        CHECK(two.request("GET", "/size").status == 200);
        CHECK(two.request("GET", "/orders/size", {{"authorization", "too much"}}).status == 0);
    }
    CHECK(H1Client(server.plain_port, plain()).request("GET", "/size").status == 200);
    CHECK(comes_true([&] { return server.connections() == 0; }));
}

TEST_CASE("the reserve of memory is given up once, and set aside again", "[hub][hostile]") {
    const auto before = std::get_new_handler();
    hub::keep_memory_reserve();
    CHECK_FALSE(hub::memory_reserve_used());
    for (int i = 0; i < 2; ++i) CHECK_THROWS_AS(std::get_new_handler()(), std::bad_alloc);
    CHECK(hub::memory_reserve_used());
    hub::refill_memory_reserve();
    CHECK_FALSE(hub::memory_reserve_used());
    std::set_new_handler(before);
}
