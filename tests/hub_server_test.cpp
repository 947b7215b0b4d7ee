// Listener, HTTP/1.1, HTTP/2 and dispatch over loopback, with a route table of this test's own.

#include <openssl/ssl.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <map>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

#include "hub/process/log.hpp"
#include "hub/send/fanout.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/http_client.hpp"
#include "tests/support/route_server.hpp"

namespace {

using hub::Call;
using hub::Response;
using support::Answer;
using support::ClientOptions;
using support::frame;
using support::H1Client;
using support::H2Client;
using support::plain;
using support::quick_config;
using support::tls_files;
using support::trusting;
using Clock = std::chrono::steady_clock;

struct Barrier;
Barrier* barrier = nullptr;  ///< where handlers wait; null while no test holds them

/// Handlers wait here until a test, or the end of its server, lets them go on.
struct Barrier {
    Barrier() { barrier = this; }
    ~Barrier() { barrier = nullptr; }
    void wait_for(int count) {
        REQUIRE(support::comes_true([&] { return waiting >= count; }));
    }
    void let_go() {
        if (!std::exchange(open, true)) opening.set_value();
    }

    std::atomic<int> waiting = 0;
    bool open = false;
    std::promise<void> opening;
    std::shared_future<void> opened = opening.get_future().share();
};

pns::Task<Response> echo(Call call) {
    Response response;
    response.headers.emplace_back("X-Method", call.request.method);
    response.headers.emplace_back("X-Args", call.args.empty() ? "" : call.args.back());
    response.headers.emplace_back("X-Host", call.request.host);
    response.headers.emplace_back("X-Evil", "a\r\nInjected: yes");
    response.body = call.request.body;
    co_return response;
}

pns::Task<Response> blow_up(Call) {
    throw std::runtime_error("S3cret inside");
    co_return Response{};
}

pns::Task<Response> nothing(Call) {
    Response response;
    response.status = 204;
    co_return response;
}

/// The store threads of the server under test.
hub::StorePool* pool = nullptr;

pns::Task<Response> large(Call) {
    Response response;
    response.body.assign(3 << 20, 'x');
    co_return response;
}

/// What a body or an answer in pieces holds on to while it is at work.
std::atomic<int> held_files = 0, opened_files = 0;
struct HeldFile {
    HeldFile() {
        ++held_files;
        ++opened_files;
    }
    ~HeldFile() { --held_files; }
};
std::atomic<std::size_t> pieces_bytes = 0;

/// The size and a sum of a body that comes in pieces.
pns::Task<Response> add_up(Call call) {
    const HeldFile file;
    pieces_bytes = 0;
    std::size_t size = 0, sum = 0;
    for (;;) {
        const auto piece = co_await call.request.more();
        if (!hub::ok(piece)) {
            const auto& refusal = std::get<hub::Refusal>(piece);
            co_return hub::error(call.request, refusal.status, refusal.message);
        }
        const auto& bytes = std::get<std::string>(piece);
        if (bytes.empty()) break;
        for (const char c : bytes) sum = sum * 31 + static_cast<unsigned char>(c);
        size += bytes.size();
        pieces_bytes = size;
        if (barrier == nullptr) continue;
        auto wait = [held = barrier->opened] {
            ++barrier->waiting;
            held.wait();
        };
        co_await hub::on_store(*pool, std::move(wait));
    }
    Response response;
    response.body = std::to_string(size) + ":" + std::to_string(sum);
    co_return response;
}

std::string added_up(std::string_view body) {
    std::size_t sum = 0;
    for (const char c : body) sum = sum * 31 + static_cast<unsigned char>(c);
    return std::to_string(body.size()) + ":" + std::to_string(sum);
}

pns::Task<Response> streamed(Call) {
    Response response;
    response.streams = true;
    response.body = "first";
    response.more = []() -> pns::Task<std::string> { co_return std::string(); };
    co_return response;
}

/// An answer far larger than memory should hold.
pns::Task<Response> endless(Call) {
    constexpr std::size_t piece_bytes = 256 * 1024;
    pieces_bytes = 0;
    Response response;
    response.more_bytes = 4'000 * piece_bytes;
    response.more = [file = std::make_shared<HeldFile>()]() -> pns::Task<std::string> {
        pieces_bytes += piece_bytes;
        co_return std::string(piece_bytes, 'x');
    };
    co_return response;
}

pns::Task<Response> broken_off(Call) {
    Response response;
    response.more_bytes = 10;
    response.more = []() -> pns::Task<std::string> { co_return std::string(); };
    co_return response;
}

pns::Task<Response> slow(Call) {
    auto work = [held = barrier->opened] {
        ++barrier->waiting;
        held.wait();
    };
    co_await hub::on_store(*pool, std::move(work));
    Response response;
    response.body = "late";
    co_return response;
}

constexpr std::array table{
    hub::Route{"GET", "/echo", hub::Right::none, 64 * 1024, echo, "a"},
    hub::Route{"POST", "/echo", hub::Right::none, 1'000, echo},
    hub::Route{"PUT", "/big", hub::Right::none, 512 * 1024, echo},
    hub::Route{"PUT", "/pieces", hub::Right::none, 4 << 20, add_up, hub::Trait::pieces},
    hub::Route{"PUT", "/unread", hub::Right::none, 4 << 20, nothing, hub::Trait::pieces},
    hub::Route{"GET", "/endless", hub::Right::none, 1'000, endless},
    hub::Route{"GET", "/stream", hub::Right::none, 1'000, streamed},
    hub::Route{"GET", "/broken-off", hub::Right::none, 1'000, broken_off},
    hub::Route{"GET", "/health", hub::Right::none, 1'000, echo, hub::Trait::health},
    hub::Route{"GET", "/throw", hub::Right::none, 1'000, blow_up},
    hub::Route{"DELETE", "/nothing", hub::Right::none, 1'000, nothing},
    hub::Route{"GET", "/large", hub::Right::none, 1'000, large},
    hub::Route{"GET", "/slow", hub::Right::none, 1'000, slow},
    hub::Route{"GET", "/{hub}/thing/{id}", hub::Right::listen, 1'000, echo},
    hub::Route{"GET", "/{hub}/slow", hub::Right::listen, 1'000, slow},
};

/// The server of these tests, with what its handlers wait at.
class Server : public support::Server {
  public:
    explicit Server(hub::Config given = quick_config()) : support::Server(table, std::move(given)) {
        pool = &store();
    }
    ~Server() {
        if (barrier != nullptr) barrier->let_go();
        stop(std::chrono::milliseconds(0));
    }
};

void check_error(const Answer& answer, int status) {
    CHECK(answer.status == status);
    CHECK(answer.body.starts_with("<Error><Code>" + std::to_string(status) + "</Code><Detail>"));
    CHECK(answer.header("content-type") == "application/xml; charset=utf-8");
    const auto id = answer.header("trackingid");
    CHECK(id.size() == 36);
    CHECK(answer.body.find(".TrackingId:" + id) != std::string::npos);
    CHECK(answer.header("x-ms-correlation-request-id") == id);
    CHECK_FALSE(answer.header("date").empty());
}

}  // namespace

TEST_CASE("both protocols give the same answers", "[hub]") {
    Server server;
    H1Client one(server.port, trusting());
    H2Client two(server.port, trusting());
    CHECK(one.wire().protocol() == "http/1.1");
    const std::string guid = "11111111-2222-4333-8444-555555555555";
    const auto both = [&](auto check, std::string_view method, std::string_view target,
                          const support::HeaderList& headers = {}, const std::string& body = {}) {
        INFO(method << " " << target);
        check(one.request(method, target, headers, body));
        check(two.request(method, target, headers, body));
    };
    both(
        [](const Answer& a) {
            CHECK(a.status == 200);
            CHECK(a.body == "hello");
            CHECK(a.header("x-method") == "POST");
            CHECK(a.header("x-host").starts_with("localhost:"));
            CHECK(a.header("content-length") == "5");
            CHECK(a.header("injected").empty());
        },
        "POST", "/echo", {}, "hello");
    both([&](const Answer& a) { CHECK(a.header("trackingid") == guid); }, "GET", "/ECHO/?x=1",
         {{"TrackingId", guid}});
    both([](const Answer& a) { check_error(a, 404); }, "GET", "/a/b/c");
    both(
        [](const Answer& a) {
            check_error(a, 405);
            CHECK(a.header("allow") == "GET, POST, HEAD");
        },
        "DELETE", "/echo");
    both(
        [](const Answer& a) {
            check_error(a, 500);
            CHECK(a.body.find("S3cret") == std::string::npos);
        },
        "GET", "/throw");
    both(
        [](const Answer& a) {
            CHECK(a.status == 204);
            CHECK(a.header("content-length").empty());
            CHECK(a.body.empty());
        },
        "DELETE", "/nothing");
    both([](const Answer& a) { CHECK(a.body.size() == 3 << 20); }, "GET", "/large");
    both([](const Answer& a) { check_error(a, 413); }, "POST", "/echo", {},
         std::string(1'001, 'x'));
    if (true) {  // the oversize body has cost HTTP/1.1 its connection
        H1Client again(server.port, trusting());
        CHECK(again.request("PUT", "/big", {}, std::string(512 * 1024, 'y')).body.size() ==
              512 * 1024);
        CHECK(two.request("PUT", "/big", {}, std::string(512 * 1024, 'y')).body.size() ==
              512 * 1024);
        check_error(again.request("GET", "/orders/thing/7"), 401);
        check_error(two.request("GET", "/nobody/thing/7"), 401);
        const support::HeaderList good{{"Authorization", "good"}};
        CHECK(again.request("GET", "/orders/thing/a%2Fb", good).header("x-args") == "a/b");
        const auto missing = two.request("GET", "/nobody/thing/7", good);
        check_error(missing, 404);
        CHECK(missing.body.find("No service is hosted at the specified address.") !=
              std::string::npos);
    }
    const auto page = server.metrics();
    CHECK(page.find(R"(route="/echo",status="200")") != std::string::npos);
    CHECK(page.find("/a/b/c") == std::string::npos);
}

TEST_CASE("a request body may come in any framing and in any pieces", "[hub]") {
    Server server;
    H1Client client(server.plain_port, plain());
    const std::string chunked =
        "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n";
    client.send(chunked);
    CHECK(client.read_answer().body == "hello world");
    for (const char c : chunked) client.send(std::string(1, c));
    CHECK(client.read_answer().body == "hello world");

    std::string pipelined;
    for (int i = 0; i < 20; ++i) {
        pipelined +=
            "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n" + std::to_string(10 + i);
    }
    client.send(pipelined);
    for (int i = 0; i < 20; ++i) CHECK(client.read_answer().body == std::to_string(10 + i));

    client.send("\r\nGET http://other.example:99/echo?a=b HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(client.read_answer().header("x-host") == "other.example:99");
    // The line end that is left over may come alone.
    const std::string late = "\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n";
    for (const char c : late) client.send(std::string(1, c));
    CHECK(client.read_answer().header("x-host") == "h");

    client.send(
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    CHECK(client.read_answer().status == 100);
    client.send("abc");
    CHECK(client.read_answer().body == "abc");

    CHECK(client.request("OPTIONS", "/echo").status == 405);
    CHECK(client.request("GET", "/echo").status == 200);

    client.send("GET /echo HTTP/1.0\r\n\r\n");
    CHECK(client.read_answer().header("connection") == "close");
    CHECK(client.ended());
}

TEST_CASE("a malformed request gets 400 with the reason and loses its connection", "[hub]") {
    Server server;
    const std::string get = "GET /echo HTTP/1.1\r\n";
    const std::string post = "POST /echo HTTP/1.1\r\nHost: h\r\n";
    struct Row {
        std::string bytes;
        int status;
    };
    const std::vector<Row> rows{
        {"nonsense\r\n\r\n", 400},
        {"\x16\x03\x01\x02 client hello\r\n\r\n", 400},
        {"GET /echo HTTP/2.0\r\nHost: h\r\n\r\n", 400},
        {"GET /echo HTTP/1.1\nHost: h\n\n", 400},
        {"GET echo HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"GET /a%00 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {get + "\r\n", 400},
        {get + "Host: a\r\nHost: b\r\n\r\n", 400},
        {get + "Host: a/b\r\n\r\n", 400},
        {get + "Host: <script>\r\n\r\n", 400},
        {get + "Host: h\r\nBad Header: x\r\n\r\n", 400},
        {get + "Host: h\r\nX: a\r\n folded\r\n\r\n", 400},
        {get + "Host: h\r\nX: a\r\n\tfolded\r\n\r\n", 400},
        {get + " Host: h\r\n\r\n", 400},
        {get + "Host: h\r\nX : a\r\n\r\n", 400},
        {get + "Host: h\r\nX: a\rb\r\n\r\n", 400},
        {post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400},
        {post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400},
        {post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
        {post + "Content-Length: 3, 3\r\n\r\nabc", 400},
        {post + "Content-Length: -1\r\n\r\n", 400},
        {post + "Content-Length: +3\r\n\r\nabc", 400},
        {post + "Content-Length: 99999999999999999999999\r\n\r\n", 400},
        {post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400},
        {post + "Transfer-Encoding: gzip\r\n\r\n", 400},
        {post + "Transfer-Encoding: identity\r\n\r\n", 400},
        {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {"POST /echo HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
        {post + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
        {post + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n", 400},
        {post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 400},
        {post + "Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + std::string(1'001, 'x'), 413},
        {post + "Transfer-Encoding: chunked\r\n\r\n1f4\r\n" + std::string(500, 'x') +
             "\r\n1f5\r\n" + std::string(501, 'x'),
         413},
        {post + "Content-Length: 1001\r\n\r\n", 413},
        {post + "Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n", 413},
        {post + "Content-Length: 18446744073709551615\r\n\r\n", 413},
        {get + "Host: h\r\nX: " + std::string(17'000, 'x'), 431},
        {"GET /" + std::string(17'000, 'x'), 431},
        {"GET /" + std::string(9'000, 'x') + " HTTP/1.1\r\nHost: h\r\n\r\n", 400},
    };
    for (const auto& row : rows) {
        for (const bool in_pieces : {false, true}) {
            INFO(row.bytes.substr(0, 200) << (in_pieces ? " in pieces" : ""));
            H1Client client(server.plain_port, plain());
            if (in_pieces) {
                for (std::size_t i = 0; i < row.bytes.size(); i += 7) {
                    client.send(std::string_view(row.bytes).substr(i, 7));
                }
            } else {
                client.send(row.bytes);
            }
            const auto answer = client.read_answer();
            check_error(answer, row.status);
            CHECK(answer.header("connection") == "close");
            client.wire().finish_sending();
            CHECK(client.ended());
        }
    }
    // Told as soon as it is seen, whatever the server had read before.
    H1Client torn(server.plain_port, plain());
    torn.send("GET /ec");
    const H1Client after(server.plain_port, plain());
    REQUIRE(support::comes_true([&] { return server.connections() >= 2; }));
    torn.send("ho HTTP/1.1\nHost: h\n\n");
    check_error(torn.read_answer(), 400);
    CHECK(H1Client(server.plain_port, plain()).request("GET", "/echo").status == 200);
}

TEST_CASE("a client that is slow with handshake, head, body or reading is cut", "[hub]") {
    auto config = quick_config();
    config.header_timeout_ms = config.body_timeout_ms = config.idle_timeout_ms = 50;
    Server server(config);

    CHECK(H1Client(server.port, plain()).wire().receive_all().empty());  // no client hello
    CHECK(H1Client(server.plain_port, plain()).ended());
    H1Client head(server.plain_port, plain());
    head.send("GET /echo HTTP/1.1\r\nHo");
    CHECK(head.ended());
    H1Client body(server.plain_port, plain());
    body.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    CHECK(body.ended());
    H1Client idle(server.port, trusting());
    CHECK(idle.request("GET", "/echo").status == 200);
    CHECK(idle.ended());

    auto options = plain();
    options.small_receive_buffer = true;
    H1Client deaf(server.plain_port, options);
    for (int i = 0; i < 8; ++i) deaf.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(!deaf.wire().receive().empty());  // the connection is accepted and being answered
    REQUIRE(support::comes_true([&] { return server.connections() == 0; }));
    CHECK(deaf.wire().receive_all().size() < 8U * (3U << 20));

    H2Client two(server.port);
    CHECK(two.request("GET", "/echo").status == 200);
    CHECK(two.ended_with_goaway());
    auto options_two = trusting();
    options_two.alpn = "h2";
    support::Wire stalled(server.port, options_two);
    stalled.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, "") +
                 frame(1, 4, 1, "\x83\x87\x04\x05/echo\x01\x01h") + frame(0, 0, 1, "ab"));
    stalled.receive_all();
}

TEST_CASE("a server that stood still reads what has come before it judges who was late", "[hub]") {
    barrier = nullptr;
    auto config = quick_config();
    config.header_timeout_ms = config.body_timeout_ms = config.idle_timeout_ms = 4'000;
    Server server(config);
    // Several reads' worth, and less than what a socket takes without a reader.
    const std::string body(48'000, 'x');
    const std::array<std::string, 2> targets{"/big", "/pieces"};
    std::vector<H1Client> ones;
    std::vector<support::Wire> twos;
    auto h2 = trusting();
    h2.alpn = "h2";
    for (const std::string& target : targets) {
        ones.emplace_back(server.plain_port, plain());
        ones.back().send("PUT " + target +
                         " HTTP/1.1\r\nHost: h\r\nContent-Length: 48000\r\n"
                         "Expect: 100-continue\r\n\r\n");
        CHECK(ones.back().read_answer().status == 100);
        twos.emplace_back(server.port, h2);
        const std::string head = "\x02\x03PUT\x87\x04" +
                                 std::string(1, static_cast<char>(target.size())) + target +
                                 "\x01\x01h";
        twos.back().send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, "") +
                         frame(1, 4, 1, head));
        std::string seen;  // the answer to the settings says that the head was read, too
        while (seen.find(frame(4, 1, 0, "")) == std::string::npos) {
            const auto some = twos.back().receive();
            REQUIRE_FALSE(some.empty());
            seen += some;
        }
    }
    server.freeze([&] {
        for (H1Client& one : ones) one.send(body);
        for (support::Wire& two : twos) {
            for (const int part : {0, 1, 2})
                two.send(frame(0, part == 2, 1, body.substr(0, body.size() / 3)));
        }
        support::stand_still(std::chrono::milliseconds(config.body_timeout_ms + 500));
    });
    for (std::size_t i = 0; i < targets.size(); ++i) {
        INFO(targets[i]);
        const bool echoed = targets[i] == "/big";
        CHECK(ones[i].read_answer().body == (echoed ? body : added_up(body)));
        std::string seen;
        const auto whole = [&] {
            return echoed ? std::count(seen.begin(), seen.end(), 'x') == 48'000
                          : seen.find(added_up(body)) != std::string::npos;
        };
        for (auto some = twos[i].receive(); !some.empty(); some = twos[i].receive()) {
            seen += some;
            if (whole()) break;
        }
        CHECK(whole());
    }
}

TEST_CASE("a body in pieces is the same over both protocols", "[hub]") {
    Server server;
    H2Client two(server.port);
    std::string body(3'000'001, '\0');
    for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * i % 251);
    for (const std::size_t size : {0, 1, 65'535, 65'536, 131'072, 3'000'001}) {
        INFO(size);
        const auto part = body.substr(0, size);
        H1Client one(server.port, trusting());
        CHECK(one.request("PUT", "/pieces", {}, part).body == added_up(part));
        CHECK(one.request("PUT", "/unread", {}, part).status == 204);
        CHECK(one.request("PUT", "/pieces", {}, part).body == added_up(part));
        CHECK(two.request("PUT", "/pieces", {}, part).body == added_up(part));
        CHECK(two.request("PUT", "/pieces", {{"x-no-length", "1"}}, part).body == added_up(part));
        CHECK(two.request("PUT", "/unread", {}, part).status == 204);
    }
    H1Client chunked(server.plain_port, plain());
    std::string chunks = "PUT /pieces HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 20; ++i) chunks += "10000\r\n" + body.substr(0, 65'536) + "\r\n";
    chunked.send(chunks + "0\r\n\r\n");
    CHECK(chunked.read_answer().body.starts_with("1310720:"));
    CHECK(chunked.request("GET", "/echo").status == 200);

    const std::string large((4 << 20) + 1, 'x');
    H1Client announced(server.port, trusting());
    announced.send("PUT /pieces HTTP/1.1\r\nHost: h\r\nContent-Length: 4194305\r\n\r\n");
    const auto refused = announced.read_answer();
    check_error(refused, 413);
    const std::string detail = "The request body is larger than 4194304 bytes.";
    CHECK(refused.body.find(detail) != std::string::npos);
    H1Client unannounced(server.plain_port, plain());
    unannounced.send("PUT /pieces HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 64; ++i) unannounced.send("10000\r\n" + large.substr(0, 65'536) + "\r\n");
    unannounced.send("1\r\nx\r\n0\r\n\r\n");
    const auto refused_late = unannounced.read_answer();
    check_error(refused_late, 413);
    CHECK(refused_late.body.find(detail) != std::string::npos);
    for (const support::HeaderList& headers : {{}, support::HeaderList{{"x-no-length", "1"}}}) {
        const auto over = two.request("PUT", "/pieces", headers, large);
        check_error(over, 413);
        CHECK(over.body.find(detail) != std::string::npos);
    }
    CHECK(two.request("GET", "/echo").status == 200);
    CHECK(held_files == 0);
}

TEST_CASE("a body in pieces comes no faster than it is taken", "[hub]") {
    Barrier held;
    Server server;
    H2Client client(server.port);
    const std::string body(2'000'000, 'x');
    const int stream = client.start("PUT", "/pieces", {}, body);
    held.wait_for(1);
    // Other streams go on while this one waits.
    for (int i = 0; i < 50; ++i) {
        CHECK(client.request("PUT", "/big", {}, std::string(200'000, 'y')).body.size() == 200'000);
    }
    CHECK(pieces_bytes <= 65'535);
    held.let_go();
    CHECK(client.wait(stream).body == added_up(body));
}

TEST_CASE("an upload that is reset or stalls ends, and its connection goes on", "[hub]") {
    auto config = quick_config();
    config.body_timeout_ms = 300;
    Server server(config);
    opened_files = 0;
    H2Client client(server.port);
    const std::string body(2'000'000, 'x');
    SECTION("reset") {
        const int stream = client.start("PUT", "/pieces", {}, body);
        REQUIRE(support::comes_true([] { return opened_files > 0; }));
        client.reset(stream);
        REQUIRE(support::comes_true([] { return held_files == 0; }));
    }
    SECTION("stalled over HTTP/2") {
        const int stream = client.start("PUT", "/pieces", {}, body);  // sends one window
        REQUIRE(support::comes_true([] { return opened_files > 0; }));
        REQUIRE(support::comes_true([] { return held_files == 0; }));
        CHECK(client.wait(stream).status == 0);
    }
    SECTION("stalled over HTTP/1.1") {
        H1Client stalled(server.plain_port, plain());
        stalled.send("PUT /pieces HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
        CHECK(stalled.ended());
        REQUIRE(support::comes_true([] { return held_files == 0; }));
    }
    SECTION("disconnected") {
        {
            H2Client gone(server.port);
            gone.start("PUT", "/pieces", {}, body);
            REQUIRE(support::comes_true([] { return opened_files > 0; }));
        }
        REQUIRE(support::comes_true([] { return held_files == 0; }));
    }
    // What was not taken has given the connection's window back.
    for (int i = 0; i < 5; ++i) {
        CHECK(client.request("PUT", "/pieces", {}, body).body == added_up(body));
    }
}

TEST_CASE("who does not read a large answer holds little memory and no file for long", "[hub]") {
    auto config = quick_config();
    config.body_timeout_ms = 300;
    Server server(config);
    opened_files = 0;
    constexpr std::size_t some_bytes = 2 << 20;
    SECTION("one stream") {
        H2Client client(server.port);
        const int stream = client.start("GET", "/endless");
        REQUIRE(support::comes_true([] { return opened_files > 0; }));
        REQUIRE(support::comes_true([] { return held_files == 0; }));
        CHECK(pieces_bytes <= some_bytes);
        CHECK(client.wait(stream).status == 200);  // cut
        CHECK(client.request("GET", "/echo").status == 200);
    }
    SECTION("many streams") {
        H2Client client(server.port);
        for (int i = 0; i < 30; ++i) client.start("GET", "/endless");
        REQUIRE(support::comes_true([] { return opened_files >= 30; }));
        REQUIRE(support::comes_true([] { return held_files == 0; }));
        CHECK(pieces_bytes <= 30 * some_bytes);  // the connection, which nobody reads, may be cut
    }
    SECTION("reset by the reader") {
        H2Client client(server.port);
        const int stream = client.start("GET", "/endless");
        REQUIRE(support::comes_true([] { return opened_files > 0; }));
        client.reset(stream);
        REQUIRE(support::comes_true([] { return held_files == 0; }));
        CHECK(client.request("GET", "/echo").status == 200);
    }
    SECTION("gone") {
        {
            H2Client client(server.port);
            client.start("GET", "/endless");
            REQUIRE(support::comes_true([] { return opened_files > 0; }));
        }
        REQUIRE(support::comes_true([] { return held_files == 0; }));
    }
    H2Client client(server.port);
    const auto cut = client.request("GET", "/broken-off");
    CHECK(cut.body.empty());
    CHECK(client.request("GET", "/echo").status == 200);
}

TEST_CASE("what is not TLS 1.2 or later, or not our protocols, gets no connection", "[hub]") {
    Server server;
    // Whoever forgot the s of https is told so.
    for (const std::string method : {"GET", "DELETE"}) {
        H1Client wrong(server.port, plain());
        wrong.send(method + " /echo HTTP/1.1\r\nHost: h\r\n\r\n");
        const auto told = wrong.read_answer();
        CHECK(told.status == 400);
        CHECK(told.body.find("This port speaks HTTPS") != std::string::npos);
        CHECK(wrong.ended());
    }
    H1Client binary(server.port, plain());
    binary.send(std::string("\0\1\2\3", 4) + std::string(100, 'x'));
    CHECK(binary.wire().receive_all().find("HTTP/1.1") == std::string::npos);

    ClientOptions old;
    old.tls_version_max = TLS1_1_VERSION;
    CHECK_THROWS(H1Client(server.port, old));
    old.tls_version_max = TLS1_2_VERSION;
    CHECK(H1Client(server.port, old).request("GET", "/echo").status == 200);
    ClientOptions strange;
    strange.alpn = "spdy/3";
    CHECK_THROWS(H1Client(server.port, strange));
    ClientOptions none;
    CHECK(H1Client(server.port, none).request("GET", "/echo").status == 200);

    auto garbage = trusting();
    garbage.alpn = "h2";
    support::Wire wire(server.port, garbage);
    wire.send("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(wire.receive_all().find("HTTP/1.1") == std::string::npos);
}

TEST_CASE("HTTP/2 refuses what its requests must not be", "[hub]") {
    Server server;
    H2Client client(server.port);
    check_error(client.request("GET", "/%zz"), 400);
    CHECK(client.request("GET", "/echo", {{":authority", "a/b"}}).status == 0);
    check_error(client.request("GET", "/echo", {{":authority", "user@host"}}), 400);
    check_error(client.request("POST", "/echo", {{"x-no-length", "1"}}, std::string(2'000, 'x')),
                413);
    CHECK(client.request("PUT", "/big", {{"x-no-length", "1"}}, std::string(600'000, 'x')).status ==
          0);
    CHECK(client.request("GET", "/echo", {{"x-big", std::string(17'000, 'x')}}).status == 0);
    CHECK(client.request("GET", "/echo", {{"content-length", "5"}}).status == 0);
    CHECK(client.request("GET", "/echo", {{"connection", "close"}}).status == 0);
    CHECK(client.request("GET", "/echo").status == 200);
}

TEST_CASE("many streams of many connections are answered, each with its own", "[hub]") {
    Server server;
    std::vector<std::thread> threads;
    std::atomic<int> right = 0;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            H2Client client(server.port);
            client.request("GET", "/echo");
            for (int round = 0; round < 5; ++round) {
                std::map<int, std::string> sent;
                for (int i = 0; i < 50; ++i) {
                    auto body = std::to_string(t) + "/" + std::to_string(round * 50 + i);
                    const int stream = client.start("POST", "/echo", {}, body);
                    sent.emplace(stream, std::move(body));
                }
                for (const auto& [stream, body] : sent) {
                    if (client.wait(stream).body == body) ++right;
                }
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(right == 4 * 5 * 50);
}

TEST_CASE("requests beyond the bound get 503 at once", "[hub]") {
    Barrier held;
    auto config = quick_config();
    config.requests_in_flight_max = 10;
    Server server(config);
    H2Client client(server.port);
    std::vector<int> streams;
    for (int i = 0; i < 10; ++i) streams.push_back(client.start("GET", "/slow"));
    held.wait_for(10);
    const auto busy = client.request("GET", "/echo");
    check_error(busy, 503);
    CHECK(busy.header("retry-after") == "1");
    held.let_go();
    for (const int stream : streams) CHECK(client.wait(stream).body == "late");
    CHECK(client.request("GET", "/echo").status == 200);
}

TEST_CASE("a hub whose requests hang leaves places at work to the others", "[hub][hostile]") {
    constexpr int places = 10, share = 7;  // 1 of its own, and 80 % of the 8 that nobody owns
    const std::vector<std::pair<std::string, std::string>> good{{"authorization", "good"}};
    Barrier held;
    auto config = quick_config();
    config.requests_in_flight_max = places;
    Server server(config);
    server.dispatch().share_requests(hub::Shares(
        "requests_in_flight", "requests at work", [] { return std::uint64_t{places}; },
        [] {
            return hub::ShareRule{80, 2};
        }));
    H2Client greedy(server.port), other(server.port);
    std::vector<int> streams;
    for (int i = 0; i < share; ++i) streams.push_back(greedy.start("GET", "/orders/slow", good));
    held.wait_for(share);
    for (int i = 0; i < 5; ++i) {
        const auto busy = greedy.request("GET", "/orders/thing/1", good);
        check_error(busy, 429);
        CHECK(busy.header("retry-after") == "1");
        CHECK(busy.body.find("its own share") != std::string::npos);
    }
    CHECK(server.metrics().find("pushhub_requests_limited_total{by=\"hub_share\"} 5") !=
          std::string::npos);
    // The other hub has its own, whatever hangs, and no more than that.
    for (int i = 0; i < 5; ++i) CHECK(other.request("GET", "/tickets/thing/1", good).status == 200);
    const int hangs = other.start("GET", "/tickets/slow", good);
    held.wait_for(share + 1);
    check_error(other.request("GET", "/tickets/thing/1", good), 429);
    held.let_go();
    for (const int stream : streams) CHECK(greedy.wait(stream).body == "late");
    CHECK(other.wait(hangs).body == "late");
    CHECK(greedy.request("GET", "/orders/thing/1", good).status == 200);
}

TEST_CASE("streams that are reset do not let more handlers run than streams", "[hub]") {
    Barrier held;
    Server server;
    H2Client client(server.port);
    client.request("GET", "/echo");
    for (int i = 0; i < 200; ++i) client.reset(client.start("GET", "/slow"));
    CHECK(client.request("GET", "/echo").status == 0);
    CHECK(held.waiting <= 50);
    held.let_go();
    H2Client other(server.port);
    CHECK(other.request("GET", "/echo").status == 200);
}

TEST_CASE("connections beyond the bound are closed at once if those that are there work", "[hub]") {
    Barrier held;
    auto config = quick_config();
    config.connections_max = 2;
    Server server(config);
    const std::string slow_request = "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n";
    H1Client first(server.plain_port, plain());
    first.send(slow_request);
    {
        H1Client second(server.plain_port, plain());
        second.send(slow_request);
        held.wait_for(2);
        H1Client third(server.plain_port, plain());
        CHECK(third.ended());
        CHECK(server.inbound.refused_total() == 1);
        // Whoever looks after the hub still gets in.
        CHECK(H1Client(server.admin_port, plain()).request("GET", "/health").status == 200);
        held.let_go();
        CHECK(second.read_answer().body == "late");
    }
    CHECK(first.read_answer().body == "late");
    CHECK(H1Client(server.plain_port, plain()).request("GET", "/echo").status == 200);
}

TEST_CASE("connections that are not taken are told of once in a while", "[hub]") {
    tls_files();  // which shuts the log, the first time
    std::ostringstream log;
    hub::open_log("warn", "text", &log);
    Barrier held;
    Server server;
    H1Client busy(server.plain_port, plain());
    busy.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    held.wait_for(1);
    SECTION("because of the bound that a reload changed") {
        server.config().connections_max = 1;
    }
    SECTION("because of what the descriptors allow") {
        server.inbound.connections_max = 1;
    }
    SECTION("because only the descriptors of others are left") {
        server.inbound.descriptors_below = 5;
    }
    std::vector<std::unique_ptr<H1Client>> clients;
    for (int i = 0; i < 30; ++i)
        clients.push_back(std::make_unique<H1Client>(server.plain_port, plain()));
    for (const auto& client : clients) CHECK(client->ended());
    held.let_go();
    server.stop(std::chrono::milliseconds(0));
    hub::open_log("off", "text");
    const std::string text = log.str();
    CHECK(std::count(text.begin(), text.end(), '\n') == 1);
    CHECK(text.find("there is no room for all connections") != std::string::npos);
}

TEST_CASE("a port that somebody listens on is not claimed", "[hub]") {
    Server server;
    const auto address = boost::asio::ip::make_address("127.0.0.1");
    boost::asio::ip::tcp::endpoint taken(address, server.port), free(address, 0);
    CHECK(hub::claim_port(taken) == boost::asio::error::address_in_use);
    CHECK_FALSE(hub::claim_port(free));
    CHECK(free.port() != 0);
}

TEST_CASE("each door leads to what it is for", "[hub]") {
    auto config = quick_config();
    config.closed_pages = {"echo"};
    Server server(config);
    struct Row {
        std::uint16_t port;
        int health, page, other;
    };
    const std::vector<Row> rows{{server.plain_port, 200, 200, 200},
                                {server.outside_port, 200, 404, 200},
                                {server.admin_port, 200, 404, 404}};
    for (const Row& row : rows) {
        INFO(row.port);
        H1Client client(row.port, plain());
        CHECK(client.request("GET", "/health").status == row.health);
        CHECK(client.request("GET", "/echo").status == row.page);
        CHECK(client.request("GET", "/large").status == row.other);
        CHECK(client.request("GET", "/orders/thing/1", {{"Authorization", "good"}}).status ==
              row.other);
    }
    CHECK(H2Client(server.port, trusting()).request("GET", "/echo").status == 404);
}

TEST_CASE("a HEAD has the head of the GET and no more", "[hub]") {
    Barrier held;
    held.let_go();
    Server server;
    H1Client one(server.port, trusting());
    H2Client two(server.port, trusting());
    for (const char* target : {"/large", "/endless", "/echo"}) {
        INFO(target);
        one.send("HEAD " + std::string(target) + " HTTP/1.1\r\nHost: h\r\n\r\n");
        const auto head = one.read_answer(true), other = two.request("HEAD", target);
        for (const auto* answer : {&head, &other}) {
            CHECK(answer->status == 200);
            CHECK(answer->body.empty());
        }
        CHECK(head.header("content-length") == other.header("content-length"));
    }
    // How long a stream gets is not known, and the connection goes on.
    one.send("HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n");
    const auto stream = one.read_answer(true);
    CHECK(stream.status == 200);
    for (const auto& answer : {stream, two.request("HEAD", "/stream")}) {
        CHECK(answer.header("content-length").empty());
        CHECK(answer.body.empty());
    }
    CHECK(two.request("GET", "/stream").body == "first");
    one.send("HEAD /large HTTP/1.1\r\nHost: h\r\n\r\n");
    CHECK(one.read_answer(true).header("content-length") == std::to_string(3 << 20));
    CHECK(support::comes_true([] { return held_files == 0; }));
}

TEST_CASE("stopping lets requests at work finish and closes the rest", "[hub]") {
    Barrier held;
    Server server;
    H1Client idle(server.port, trusting());
    CHECK(idle.request("GET", "/echo").status == 200);
    H2Client idle_two(server.port);
    CHECK(idle_two.request("GET", "/echo").status == 200);
    H1Client one(server.port, trusting());
    one.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    H2Client two(server.port);
    const int stream = two.start("GET", "/slow");
    held.wait_for(2);
    server.begin_stop(std::chrono::seconds(20));
    CHECK(idle.ended());
    CHECK(idle_two.ended_with_goaway());
    held.let_go();
    const auto answer = one.read_answer();
    CHECK(answer.body == "late");
    CHECK(answer.header("connection") == "close");
    CHECK(one.ended());
    CHECK(two.wait(stream).body == "late");
    CHECK(two.ended_with_goaway());
    server.stop(std::chrono::seconds(20));
    CHECK_THROWS(H1Client(server.port, trusting()));
}

TEST_CASE("stopping cuts what does not finish in time", "[hub]") {
    Barrier held;
    Server server;
    H2Client two(server.port);
    const int stream = two.start("GET", "/slow");
    H1Client half(server.plain_port, plain());
    half.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    held.wait_for(1);
    server.begin_stop(std::chrono::milliseconds(30));
    CHECK(half.ended());
    CHECK(two.wait(stream).status == 0);
    held.let_go();
    server.stop(std::chrono::milliseconds(30));
}
