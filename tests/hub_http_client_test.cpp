// The blocking client, against a server that says what a test tells it.

#include "hub/process/http_client.hpp"

#include <sys/socket.h>

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "pns/clock.hpp"
#include "tests/support/comes_true.hpp"
#include "tests/support/hub_world.hpp"

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using hub::HttpCall;
using hub::HttpClient;
using hub::HttpFailure;
using hub::HttpReply;

/// Answers one request on each connection, in the order of `answers`, then closes; an empty answer
/// is none: the connection stays open until the server goes.
class Server {
  public:
    explicit Server(std::vector<std::string> answers)
        : acceptor_(io_, {asio::ip::address_v4::loopback(), 0}),
          thread_([this, answers = std::move(answers)] { serve(answers); }) {}
    ~Server() {
        ::shutdown(acceptor_.native_handle(), SHUT_RDWR);  // wakes a thread that accepts
        thread_.join();
    }

    std::string url(const std::string& path = "/") const {
        return "http://127.0.0.1:" + std::to_string(port()) + path;
    }
    std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    /// What was asked, once all answers are given.
    const std::vector<std::string>& asked() {
        if (thread_.joinable()) thread_.join();
        thread_ = std::thread([] {});
        return asked_;
    }
    std::atomic<bool> silent{false};  ///< a request has come that gets no answer

  private:
    void serve(const std::vector<std::string>& answers) {
        for (const std::string& answer : answers) {
            tcp::socket socket(io_);
            boost::system::error_code ec;
            acceptor_.accept(socket, ec);
            if (ec) return;
            std::string request;
            const auto head =
                asio::read_until(socket, asio::dynamic_buffer(request), "\r\n\r\n", ec);
            const auto length = request.find("Content-Length: ");
            if (length != std::string::npos && length < head) {
                const std::size_t whole = head + std::stoul(request.substr(length + 16));
                if (whole > request.size())
                    asio::read(socket, asio::dynamic_buffer(request),
                               asio::transfer_exactly(whole - request.size()), ec);
            }
            asked_.push_back(request);
            if (answer.empty()) {
                silent = true;
                asio::read(socket, asio::dynamic_buffer(request), ec);  // until the client hangs up
            } else {
                asio::write(socket, asio::buffer(answer), ec);
            }
        }
    }

    asio::io_context io_;
    tcp::acceptor acceptor_;
    std::vector<std::string> asked_;
    std::thread thread_;
};

std::string answer(const std::string& status, const std::string& headers, const std::string& body) {
    return "HTTP/1.1 " + status + "\r\n" + headers +
           "Content-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" +
           body;
}

HttpCall get(const std::string& url) {
    HttpCall call;
    call.url = url;
    return call;
}

}  // namespace

TEST_CASE("an exchange goes to the host that is named and no further", "[hub]") {
    ::setenv("http_proxy", "http://127.0.0.1:1", 1);
    Server server({answer("200 OK", "X-One:  a b \r\nx-one: c\r\n", "hello"),
                   answer("302 Found", "Location: http://127.0.0.1:1/\r\n", ""),
                   answer("200 OK", "", "elsewhere")});
    HttpClient client(pns::system_clock(), {});
    const auto reply = std::get<HttpReply>(client.call(get(server.url("/a//../b%20c?d=e"))));
    CHECK(reply.status == 200);
    CHECK(reply.header("x-one") == "a b");
    CHECK(reply.body == "hello");
    CHECK(std::get<HttpReply>(client.call(get(server.url()))).status == 302);
    HttpCall routed = get("http://name.invalid:4711/");
    routed.connect_to = pns::Target{"127.0.0.1", server.port()};
    CHECK(std::get<HttpReply>(client.call(routed)).body == "elsewhere");
    const auto& asked = server.asked();
    CHECK(asked[0].starts_with("GET /a//../b%20c?d=e HTTP/1.1\r\n"));
    CHECK(asked[2].find("Host: name.invalid:4711\r\n") != std::string::npos);
    ::unsetenv("http_proxy");
}

TEST_CASE("a body is sent whole, from memory or piece by piece", "[hub]") {
    Server server({answer("201 Created", "", ""), answer("201 Created", "", ""),
                   answer("200 OK", "", ""), answer("200 OK", "", "")});
    HttpClient client(pns::system_clock(), {});
    std::string body(300'000, 'a');
    for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * i % 251);
    HttpCall call = get(server.url());
    call.method = "PUT";
    call.headers = {"X-Two: b"};
    call.body = body;
    CHECK(std::get<HttpReply>(client.call(call)).status == 201);
    call.body.clear();
    call.read_body_bytes = body.size();
    call.read_body = [&](std::uint64_t offset, std::span<char> room) {
        std::copy_n(body.data() + offset, room.size(), room.data());
        return true;
    };
    CHECK(std::get<HttpReply>(client.call(call)).status == 201);
    HttpCall empty = get(server.url());
    empty.method = "POST";
    CHECK(std::get<HttpReply>(client.call(empty)).status == 200);
    call.read_body = [](std::uint64_t, std::span<char>) { return false; };
    const auto unread = std::get<HttpFailure>(client.call(call));
    CHECK(unread.why == "the file to send cannot be read");
    const auto& asked = server.asked();
    for (int i = 0; i < 2; ++i) {
        CHECK((asked[static_cast<std::size_t>(i)].ends_with("\r\n\r\n" + body)));
        CHECK(asked[0].find("X-Two: b\r\n") != std::string::npos);
        CHECK(asked[0].find("Expect") == std::string::npos);
    }
    CHECK(asked[2].starts_with("POST / HTTP/1.1\r\n"));
    CHECK(asked[2].find("Content-Length: 0\r\n") != std::string::npos);
}

TEST_CASE("answers are bounded, or taken as they come", "[hub]") {
    const std::string large(5'000, 'x');
    Server server({answer("200 OK", "", large), answer("500 Error", "", large),
                   answer("200 OK", "", large), "nonsense\r\n\r\n"});
    HttpClient client(pns::system_clock(), {});
    HttpCall call = get(server.url());
    call.body_bytes_max = 4'999;
    const auto refused = std::get<HttpFailure>(client.call(call));
    CHECK(refused.why == "the service sent more than it was asked for");
    CHECK_FALSE(refused.hopeless);
    const auto cut = std::get<HttpReply>(client.call(call));
    CHECK(cut.status == 500);
    CHECK(cut.body.size() == 4'999);
    std::string seen;
    call.on_bytes = [&](int status, std::string_view bytes) {
        CHECK(status == 200);
        seen += bytes;
        return false;
    };
    CHECK(std::get<HttpReply>(client.call(call)).status == 200);
    CHECK(!seen.empty());
    CHECK(large.starts_with(seen));
    CHECK(std::holds_alternative<HttpFailure>(client.call(get(server.url()))));
}

TEST_CASE("what does not answer is given up, by time or by a stop", "[hub]") {
    Server server({"", ""});
    HttpClient::Settings hasty;
    hasty.timeout_ms = 50;
    const auto late =
        std::get<HttpFailure>(HttpClient(pns::system_clock(), hasty).call(get(server.url())));
    CHECK(late.why == "the service did not answer in time");
    server.silent = false;
    std::atomic<bool> stop = false;
    HttpClient::Settings settings;
    settings.stop = &stop;
    std::thread stopper([&] { stop = support::comes_true([&] { return server.silent.load(); }); });
    const auto stopped =
        std::get<HttpFailure>(HttpClient(pns::system_clock(), settings).call(get(server.url())));
    stopper.join();
    CHECK(stopped.why == "the process stops");
    for (const char* wrong : {"ftp://127.0.0.1/", "file:///etc/passwd", "nonsense://", ""}) {
        INFO(wrong);
        const auto failure =
            std::get<HttpFailure>(HttpClient(pns::system_clock(), {}).call(get(wrong)));
        CHECK(failure.hopeless);
        CHECK(failure.why == "its address is no URL of HTTP");
    }
}

TEST_CASE("a certificate is trusted only by the anchors that are named", "[hub]") {
    support::HubWorld world;
    const std::string url =
        "https://localhost:" + std::to_string(world.service().port()) + "/healthz";
    HttpClient::Settings settings;
    settings.ca_file = world.service().ca_file().string();
    for (const bool system : {true, false}) {
        settings.system_anchors = system;
        CHECK(
            std::get<HttpReply>(HttpClient(pns::system_clock(), settings).call(get(url))).status ==
            200);
    }
    const auto stranger = std::get<HttpFailure>(HttpClient(pns::system_clock(), {}).call(get(url)));
    CHECK(stranger.hopeless);
    CHECK(stranger.why == "its certificate is not trusted");
    // The name in the URL counts, not where the connection goes.
    HttpCall other = get("https://example.org/healthz");
    other.connect_to = pns::Target{"localhost", world.service().port()};
    CHECK(std::get<HttpFailure>(HttpClient(pns::system_clock(), settings).call(other)).hopeless);
    settings.ca_file = "/nonexistent.pem";
    CHECK(std::get<HttpFailure>(HttpClient(pns::system_clock(), settings).call(get(url))).hopeless);
}
