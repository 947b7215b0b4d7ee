#pragma once

// TLS servers at the edge of a test, on the test's own loop: HTTP/2 (an H2Session in server role)
// and HTTP/1.1 by hand. Loopback only, on a port the system chooses. Certificates come from one
// authority per test program.

#include <unistd.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <cstdio>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pns/h2_session.hpp"
#include "pns/nursery.hpp"
#include "pns/own_authority.hpp"
#include "pns/tls.hpp"

namespace support {

namespace asio = boost::asio;

/// The authority of this test program, also as a file.
class Authority {
  public:
    static const Authority& get() {
        static const Authority authority;
        return authority;
    }
    const pns::CertificatePair& ca() const { return ca_; }
    const std::string& file() const { return file_; }
    pns::TlsContext server(const std::vector<std::string>& names, const std::string& alpn,
                           const pns::LeafOptions& options = {}) const {
        const auto leaf = pns::make_leaf(ca_, names, options);
        pns::TlsServerOptions server;
        server.certificate_pem = leaf.certificate_pem;
        server.key_pem = leaf.key_pem;
        if (!alpn.empty()) server.alpn = {alpn};
        return pns::make_server_context(server).value();
    }

  private:
    Authority() : ca_(pns::make_ca()) {
        char name[] = "/tmp/pushhub-test-ca-XXXXXX";
        const int fd = mkstemp(name);
        file_ = name;
        close(fd);
        std::ofstream(file_) << ca_.certificate_pem;
    }
    ~Authority() { std::remove(file_.c_str()); }
    pns::CertificatePair ca_;
    std::string file_;
};

/// Accepts connections and runs `Peer` coroutines until stopped. Derived classes serve.
class TlsServer {
  public:
    using Socket = asio::basic_stream_socket<asio::ip::tcp, pns::Executor>;
    using Stream = asio::ssl::stream<Socket>;

    TlsServer(asio::io_context& loop, pns::TlsContext tls)
        : nursery_(loop.get_executor()),
          tls_(std::move(tls)),
          acceptor_(loop.get_executor(),
                    asio::ip::tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {
        nursery_.start(accept());
    }
    virtual ~TlsServer() = default;
    TlsServer(const TlsServer&) = delete;
    TlsServer& operator=(const TlsServer&) = delete;

    std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
    std::string rule(const std::string& host) const {
        return host + ":443=127.0.0.1:" + std::to_string(port());
    }
    int accepted() const { return accepted_; }
    bool drop_on_accept = false;   ///< close each connection before the handshake
    bool stall_handshake = false;  ///< accept and say nothing

    /// Stops accepting and cancels every connection; run the loop until ended().
    virtual void stop() {
        pns::error_code ignored;
        acceptor_.close(ignored);
        nursery_.cancel();
    }
    bool ended() const { return nursery_.size() == 0; }
    void stop_accepting() {
        pns::error_code ignored;
        acceptor_.close(ignored);
    }

  protected:
    virtual pns::Task<void> serve(Stream& stream) = 0;
    pns::Nursery nursery_;

  private:
    pns::Task<void> accept() {
        for (;;) {
            auto [ec, socket] = co_await acceptor_.async_accept(pns::as_result);
            if (ec) co_return;
            ++accepted_;
            if (drop_on_accept) continue;
            auto stream = std::make_unique<Stream>(std::move(socket), *tls_);
            nursery_.start(serve_one(std::move(stream)));
        }
    }
    pns::Task<void> serve_one(std::unique_ptr<Stream> stream) {
        if (stall_handshake) {
            char byte = 0;
            for (;;) {
                auto [ec, n] = co_await stream->next_layer().async_read_some(asio::buffer(&byte, 1),
                                                                             pns::as_result);
                if (ec) co_return;
            }
        }
        auto [ec] = co_await stream->async_handshake(Stream::server, pns::as_result);
        if (!ec) co_await serve(*stream);
    }
    pns::TlsContext tls_;
    asio::basic_socket_acceptor<asio::ip::tcp, pns::Executor> acceptor_;
    int accepted_ = 0;
};

/// HTTP/2 provider. `on_request` may answer at once or keep the stream id for later.
class H2Server final : public TlsServer {
  public:
    struct Request {
        std::int32_t stream = 0;
        std::string path, body, authorization, authority;
    };
    class Peer final : public pns::H2Events {
      public:
        Peer(H2Server& server, Stream& stream, int ordinal)
            : ordinal_(ordinal),
              server_(server),
              stream_(stream),
              session_(pns::H2Session::Role::server, server.limits, *this),
              wake_(stream.get_executor(), asio::steady_timer::time_point::max()) {}
        int ordinal() const { return ordinal_; }
        pns::H2Session& session() { return session_; }
        void answer(std::int32_t stream, int status, const std::string& body = {},
                    const std::vector<pns::H2Header>& headers = {}) {
            session_.submit_response(stream, status, headers, body);
            flush();
        }
        void flush() { wake_.cancel(); }
        /// Drops the connection without a word.
        void cut() {
            open_ = false;
            pns::error_code ignored;
            stream_.next_layer().close(ignored);
            wake_.cancel();
        }
        int requests = 0;

      private:
        friend class H2Server;
        void on_message(std::int32_t stream, const pns::H2Message& m) override {
            Request r;
            r.stream = stream;
            r.path = m.path;
            r.body = m.body;
            r.authority = m.authority;
            r.authorization = m.header("authorization");
            ++requests;
            server_.on_request(*this, r);
        }
        void on_lost(std::int32_t, const pns::H2Lost&) override { ++server_.lost; }
        void on_pong() override {}

        pns::Task<void> write() {
            std::vector<std::uint8_t> out;
            while (open_) {
                out.clear();
                if (!server_.mute && session_.drain(out)) {
                    auto [ec, n] =
                        co_await asio::async_write(stream_, asio::buffer(out), pns::as_result);
                    if (ec) break;
                } else if (open_ && !session_.alive() && !server_.keep_dead_open) {
                    break;
                } else {
                    co_await wake_.async_wait(pns::as_result);
                }
            }
            cut();
        }
        pns::Task<void> read() {
            std::vector<std::uint8_t> in(16 * 1024);
            while (open_) {
                auto [ec, n] = co_await stream_.async_read_some(asio::buffer(in), pns::as_result);
                if (ec || !session_.feed(std::span(in).first(n))) break;
                flush();
            }
            cut();
        }
        int ordinal_;
        H2Server& server_;
        Stream& stream_;
        pns::H2Session session_;
        asio::steady_timer wake_;
        bool open_ = true;
    };

    H2Server(asio::io_context& loop, const std::vector<std::string>& names,
             pns::TlsContext tls = nullptr)
        : TlsServer(loop, tls ? tls : Authority::get().server(names, "h2")) {}

    std::function<void(Peer&, const Request&)> on_request = [](Peer& peer, const Request& r) {
        peer.answer(r.stream, 200);
    };
    std::function<void(Peer&)> on_open = [](Peer&) {};
    pns::H2Limits limits;
    std::vector<Peer*> peers;  ///< those open, in order of opening
    int lost = 0;
    bool mute = false;  ///< reads but never writes, not even SETTINGS
    /// After GOAWAY the client closes: a server that closes first with input unread resets what it
    /// has sent.
    bool keep_dead_open = true;

  private:
    pns::Task<void> serve(Stream& stream) override {
        Peer peer(*this, stream, ++ordinal_);
        peers.push_back(&peer);
        on_open(peer);
        pns::Nursery loops(stream.get_executor());
        co_await asio::this_coro::throw_if_cancelled(false);
        loops.start(peer.read());
        loops.start(peer.write());
        co_await loops.join();
        std::erase(peers, &peer);
    }
    int ordinal_ = 0;

  public:
    void cut_all() {
        const auto all = peers;
        for (Peer* p : all) p->cut();
    }
    void stop() override {
        cut_all();
        TlsServer::stop();
    }
};

/// HTTP/1.1 endpoint: `reply` gives the bytes to answer a whole request with; empty = close without
/// an answer.
class H1Server final : public TlsServer {
  public:
    struct Request {
        std::string head, body;
        int connection = 0, nth = 0;  ///< nth request on that connection, from 1
    };
    H1Server(asio::io_context& loop, const std::vector<std::string>& names,
             pns::TlsContext tls = nullptr)
        : TlsServer(loop, tls ? tls : Authority::get().server(names, "http/1.1")) {}

    static std::string answer(int status, const std::string& body,
                              const std::string& headers = {}) {
        return "HTTP/1.1 " + std::to_string(status) + " X\r\n" + headers +
               "content-length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    }
    std::function<std::string(const Request&)> reply = [](const Request&) {
        return answer(200, "");
    };
    /// Holds answers back until released.
    bool hold = false;
    bool close_after_reply = false;
    int requests = 0;
    void release() {
        hold = false;
        for (auto* timer : held_) timer->cancel();
    }
    void cut_all() {
        for (auto* s : open_) {
            pns::error_code ignored;
            s->next_layer().close(ignored);
        }
    }
    std::size_t open() const { return open_.size(); }

  private:
    pns::Task<void> serve(Stream& stream) override {
        co_await asio::this_coro::throw_if_cancelled(false);
        open_.push_back(&stream);
        co_await talk(stream, ++connections_);
        std::erase(open_, &stream);
    }
    pns::Task<void> talk(Stream& stream, int connection) {
        std::string in;
        std::vector<char> piece(4096);
        for (int nth = 1;; ++nth) {
            Request r;
            r.connection = connection;
            r.nth = nth;
            std::size_t need = std::string::npos;
            while (in.size() < need) {
                auto [ec, n] = co_await stream.async_read_some(asio::buffer(piece), pns::as_result);
                if (ec) co_return;
                in.append(piece.data(), n);
                const auto end = in.find("\r\n\r\n");
                if (end == std::string::npos) continue;
                r.head = in.substr(0, end + 4);
                const auto length = r.head.find("content-length: ");
                const auto size =
                    length == std::string::npos ? 0 : std::stoul(r.head.substr(length + 16));
                need = end + 4 + size;
            }
            r.body = in.substr(r.head.size(), need - r.head.size());
            in.erase(0, need);
            ++requests;
            if (hold) {
                asio::steady_timer timer(stream.get_executor(),
                                         asio::steady_timer::time_point::max());
                held_.push_back(&timer);
                co_await timer.async_wait(pns::as_result);
                std::erase(held_, &timer);
                if (hold) co_return;
            }
            const std::string out = reply(r);
            if (out.empty()) co_return;
            auto [ec, n] = co_await asio::async_write(stream, asio::buffer(out), pns::as_result);
            if (ec || close_after_reply) co_return;
        }
    }
    std::vector<asio::steady_timer*> held_;
    std::vector<Stream*> open_;
    int connections_ = 0;
};

}  // namespace support
