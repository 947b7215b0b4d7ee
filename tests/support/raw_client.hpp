#pragma once

// Blocking clients that say exactly what a test tells them, over real sockets and TLS.

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "pns/h2_session.hpp"
#include "pns/tls.hpp"

namespace support {

struct RawAnswer {
    int status = 0;  ///< 0 = the stream or connection was lost
    std::map<std::string, std::string> headers;
    std::string body;
};

using RawHeaders = std::vector<std::pair<std::string, std::string>>;

class RawTls {
  public:
    RawTls(std::uint16_t port, const std::string& ca_pem, const std::string& host,
           const char* protocol)
        : context_(boost::asio::ssl::context::tls_client) {
        context_.add_certificate_authority(boost::asio::buffer(ca_pem));
        context_.set_verify_mode(boost::asio::ssl::verify_peer);
        stream_ = std::make_unique<Stream>(io_, context_);
        std::string wire(1, static_cast<char>(std::char_traits<char>::length(protocol)));
        wire += protocol;
        SSL_set_alpn_protos(stream_->native_handle(),
                            reinterpret_cast<const unsigned char*>(wire.data()),
                            static_cast<unsigned>(wire.size()));
        REQUIRE(pns::expect_host(stream_->native_handle(), host));
        stream_->next_layer().connect({boost::asio::ip::address_v4::loopback(), port});
        stream_->next_layer().set_option(boost::asio::ip::tcp::no_delay(true));
        stream_->handshake(Stream::client);
        protocol_ = pns::chosen_protocol(stream_->native_handle());
    }
    using Stream = boost::asio::ssl::stream<boost::asio::ip::tcp::socket>;
    Stream& stream() { return *stream_; }
    const std::string& protocol() const { return protocol_; }

  private:
    boost::asio::io_context io_;
    boost::asio::ssl::context context_;
    std::unique_ptr<Stream> stream_;
    std::string protocol_;
};

class RawH2 : private pns::H2Events {
  public:
    RawH2(std::uint16_t port, const std::string& ca_pem, const std::string& host)
        : tls_(port, ca_pem, host, "h2"),
          host_(host),
          session_(pns::H2Session::Role::client, {}, *this) {
        REQUIRE(tls_.protocol() == "h2");
    }

    std::string scheme = "https";

    std::int32_t submit(const std::string& path, const RawHeaders& headers, const std::string& body,
                        const std::string& method = "POST") {
        std::vector<pns::H2Header> all = {{":method", method, false},
                                          {":scheme", scheme, false},
                                          {":authority", host_, false},
                                          {":path", path, false}};
        for (const auto& [name, value] : headers) all.push_back({name, value, false});
        return session_.submit_request(all, std::make_shared<const std::string>(body));
    }
    RawAnswer request(const std::string& path, const RawHeaders& headers, const std::string& body,
                      const std::string& method = "POST") {
        const auto stream = submit(path, headers, body, method);
        REQUIRE(stream > 0);
        return wait(stream);
    }
    RawAnswer wait(std::int32_t stream) {
        while (answers_.count(stream) == 0 && turn()) {
        }
        return answers_[stream];
    }
    /// Reads once; false when the connection has ended.
    bool turn() {
        std::vector<std::uint8_t> out;
        boost::system::error_code ec;
        if (session_.drain(out)) boost::asio::write(tls_.stream(), boost::asio::buffer(out), ec);
        std::vector<std::uint8_t> in(16 * 1024);
        const auto size = tls_.stream().read_some(boost::asio::buffer(in), ec);
        if (ec) {
            session_.abandon();
            return false;
        }
        return session_.feed(std::span(in).first(size));
    }
    pns::H2Session& session() { return session_; }
    std::string goaway;

  private:
    void on_message(std::int32_t stream, const pns::H2Message& message) override {
        RawAnswer& answer = answers_[stream];
        answer.status = message.status;
        answer.body = message.body;
        for (const auto& header : message.headers)
            answer.headers[std::string(header.name)] = header.value;
    }
    void on_lost(std::int32_t stream, const pns::H2Lost&) override { answers_[stream] = {}; }
    void on_goaway(const pns::H2Goaway& said) override { goaway = said.debug; }

    RawTls tls_;
    std::string host_;
    pns::H2Session session_;
    std::map<std::int32_t, RawAnswer> answers_;
};

/// Reads one HTTP/1.1 answer; status 0 when the connection ends first.
template <class Stream>
RawAnswer read_h1(Stream& stream) {
    RawAnswer answer;
    std::string buffer;
    boost::system::error_code ec;
    const auto head_size =
        boost::asio::read_until(stream, boost::asio::dynamic_buffer(buffer), "\r\n\r\n", ec);
    if (ec) return answer;
    std::string head = buffer.substr(0, head_size - 2);
    answer.status = std::stoi(head.substr(9, 3));
    std::size_t length = 0;
    for (std::size_t at = head.find("\r\n") + 2; at < head.size();) {
        const std::size_t end = head.find("\r\n", at), colon = head.find(": ", at);
        answer.headers[head.substr(at, colon - at)] = head.substr(colon + 2, end - colon - 2);
        at = end + 2;
    }
    if (answer.headers.count("content-length"))
        length = std::stoul(answer.headers["content-length"]);
    answer.body = buffer.substr(head_size);
    if (answer.body.size() < length) {
        std::string rest(length - answer.body.size(), '\0');
        boost::asio::read(stream, boost::asio::buffer(rest), ec);
        answer.body += rest;
    }
    return answer;
}

class RawH1 {
  public:
    RawH1(std::uint16_t port, const std::string& ca_pem, const std::string& host)
        : tls_(port, ca_pem, host, "http/1.1"), host_(host) {}
    RawAnswer request(const std::string& path, const RawHeaders& headers, const std::string& body,
                      const std::string& method = "POST") {
        std::string text = method + " " + path + " HTTP/1.1\r\nHost: " + host_ + "\r\n";
        for (const auto& [name, value] : headers) text += name + ": " + value + "\r\n";
        text += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
        return raw(text);
    }
    RawAnswer raw(const std::string& text) {
        boost::system::error_code ec;
        boost::asio::write(tls_.stream(), boost::asio::buffer(text), ec);
        return read_h1(tls_.stream());
    }

  private:
    RawTls tls_;
    std::string host_;
};

/// One request to a plain HTTP port on loopback.
inline RawAnswer plain_http(std::uint16_t port, const std::string& method,
                            const std::string& target, const std::string& body = {}) {
    boost::asio::io_context io;
    boost::asio::ip::tcp::socket socket(io);
    socket.connect({boost::asio::ip::address_v4::loopback(), port});
    const std::string text =
        method + " " + target +
        " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) +
        "\r\n\r\n" + body;
    boost::asio::write(socket, boost::asio::buffer(text));
    return read_h1(socket);
}

}  // namespace support
