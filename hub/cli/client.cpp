// Connections share one loop, which runs only while a call is made. call_many() keeps each
// connection filled up to `in_flight_max` and hands each answer to `done`; call() is one request
// of that kind. A connection that the server ended while it was idle is replaced. plain_call() is
// for the simulators' control ports only.
#include "hub/cli/client.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "hub/access/sas.hpp"
#include "pns/clock.hpp"
#include "pns/h2_session.hpp"
#include "pns/tls.hpp"

namespace hub {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Tls = asio::ssl::stream<tcp::socket>;

constexpr std::int64_t token_life_s = 3600;

std::string authority(const ConnectionString& target) {
    const bool v6 = target.host.find(':') != std::string::npos;
    return (v6 ? "[" + target.host + "]" : target.host) + ":" + target.port;
}

/// One HTTP/2 connection driven by plain completion handlers on the client's own loop.
class Connection final : public pns::H2Events {
  public:
    using Answered = std::function<void(const ClientRequest&, const ClientReply&)>;

    Connection(asio::io_context& io, asio::ssl::context& tls, const ConnectionString& target)
        : stream_(io, tls), authority_(authority(target)) {
        tcp::resolver resolver(io);
        asio::connect(stream_.next_layer(), resolver.resolve(target.host, target.port));
        stream_.next_layer().set_option(tcp::no_delay(true));
        if (!pns::expect_host(stream_.native_handle(), target.host))
            throw std::runtime_error("no host name: " + target.host);
        stream_.handshake(Tls::client);
        if (pns::chosen_protocol(stream_.native_handle()) != "h2")
            throw std::runtime_error("the hub did not choose HTTP/2");
        pns::H2Limits limits;
        limits.body_bytes_max = 16u << 20;
        limits.window_bytes = 1u << 20;
        limits.connection_window_bytes = 16u << 20;
        session_.emplace(pns::H2Session::Role::client, limits, *this);
        read();
        write();
    }

    bool may_submit(std::size_t in_flight_max) const {
        return open_.size() < in_flight_max && error_.empty() && session_->may_submit();
    }

    void submit(ClientRequest request, const std::string& authorization, const Answered& answered) {
        std::vector<pns::H2Header> headers{{":method", request.method},
                                           {":scheme", "https"},
                                           {":authority", authority_},
                                           {":path", request.path},
                                           {"authorization", authorization, true}};
        const std::string length = std::to_string(request.body.size());
        headers.push_back({"content-length", length});
        for (const auto& [name, value] : request.headers) headers.push_back({name, value});
        auto body = std::make_shared<const std::string>(request.body);
        const std::int32_t id = session_->submit_request(headers, std::move(body));
        if (id < 0) throw std::runtime_error("the hub takes no more requests on this connection");
        open_.emplace(id, Open{std::move(request), &answered});
        write();
    }

    bool idle() const { return open_.empty(); }
    /// The server said goodbye to a connection that was idle for too long.
    bool ended() const { return idle() && (!error_.empty() || !session_->may_submit()); }
    void check() const {
        if (!error_.empty() && !idle()) throw std::runtime_error(error_);
    }
    void on_change(std::function<void()> call) { changed_ = std::move(call); }

  private:
    struct Open {
        ClientRequest request;
        const Answered* answered;
    };

    void on_message(std::int32_t id, const pns::H2Message& message) override {
        const auto it = open_.find(id);
        if (it == open_.end()) return;
        ClientReply reply;
        reply.status = message.status;
        for (const pns::H2Header& h : message.headers)
            reply.headers.emplace_back(std::string(h.name), std::string(h.value));
        reply.body = std::string(message.body);
        const Open open = std::move(it->second);
        open_.erase(it);
        (*open.answered)(open.request, reply);
        if (changed_) changed_();
    }
    void on_lost(std::int32_t id, const pns::H2Lost& lost) override {
        const auto it = open_.find(id);
        if (it == open_.end()) return;
        fail("request lost: " + it->second.request.method + " " + it->second.request.path +
             ", HTTP/2 error " + std::to_string(lost.error_code));
    }
    void on_settings() override {
        if (changed_) changed_();
    }

    void fail(std::string why) {
        if (error_.empty()) error_ = std::move(why);
        if (changed_) changed_();
    }

    void read() {
        stream_.async_read_some(asio::buffer(in_),
                                [this](boost::system::error_code ec, std::size_t n) {
                                    if (ec) {
                                        fail("connection to the hub ended: " + ec.message());
                                        return;
                                    }
                                    if (!session_->feed(std::span(in_).first(n))) {
                                        fail("the hub broke the HTTP/2 protocol");
                                        return;
                                    }
                                    write();
                                    read();
                                });
    }
    void write() {
        if (writing_) return;
        out_.clear();
        if (!session_->drain(out_, 256u << 10)) return;
        writing_ = true;
        asio::async_write(stream_, asio::buffer(out_),
                          [this](boost::system::error_code ec, std::size_t) {
                              writing_ = false;
                              if (ec) {
                                  fail("connection to the hub ended: " + ec.message());
                                  return;
                              }
                              write();
                          });
    }

    Tls stream_;
    std::string authority_;
    std::optional<pns::H2Session> session_;
    std::map<std::int32_t, Open> open_;
    std::array<std::uint8_t, 65'536> in_{};
    std::vector<std::uint8_t> out_;
    bool writing_ = false;
    std::string error_;
    std::function<void()> changed_;
};

}  // namespace

struct HubClient::Impl {
    Impl(const std::string& connection_string, const std::string& ca_file,
         unsigned connections_wanted)
        : target(ConnectionString::parse(connection_string)), tls(context(ca_file)) {
        for (unsigned i = 0; i < std::max(1u, connections_wanted); ++i)
            connections.push_back(std::make_unique<Connection>(io, *tls, target));
        const std::string resource = "https://" + authority(target) + "/";
        authorization = make_sas(resource, target.key_name, target.key,
                                 pns::system_clock().wall_ms() / 1'000 + token_life_s);
    }

    static pns::TlsContext context(const std::string& ca_file) {
        pns::TrustStore trust;
        pns::TlsClientOptions options;
        options.ca_file = ca_file;
        options.system_anchors = ca_file.empty();
        options.alpn = "h2";
        const auto made = pns::make_client_context(trust, options);
        if (!made) throw std::runtime_error("no certificates can be read from " + ca_file);
        return *made;
    }

    /// Connects anew where the server ended an idle connection.
    void renew() {
        for (auto& connection : connections) {
            if (!connection->ended()) continue;
            connection->on_change(nullptr);
            auto fresh = std::make_unique<Connection>(io, *tls, target);
            ended.push_back(std::exchange(connection, std::move(fresh)));
        }
    }

    ConnectionString target;
    asio::io_context io{1};
    pns::TlsContext tls;
    std::vector<std::unique_ptr<Connection>> connections;
    std::vector<std::unique_ptr<Connection>> ended;  ///< their callbacks may still come
    std::string authorization;
};

HubClient::HubClient(const std::string& connection_string, const std::string& ca_file,
                     unsigned connections)
    : impl_(std::make_unique<Impl>(connection_string, ca_file, connections)) {}
HubClient::~HubClient() = default;

void HubClient::call_many(const std::function<bool(ClientRequest&)>& next,
                          const std::function<void(const ClientRequest&, const ClientReply&)>& done,
                          std::size_t in_flight_max) {
    Impl& impl = *impl_;
    impl.io.restart();
    impl.io.poll();  // what came since the last call
    bool more = true;
    bool changed = true;
    const auto fill = [&] {
        for (bool submitted = true; submitted && more;) {
            submitted = false;
            for (const auto& connection : impl.connections) {
                if (!connection->may_submit(in_flight_max)) continue;
                ClientRequest request;
                if (!next(request)) {
                    more = false;
                    break;
                }
                connection->submit(std::move(request), impl.authorization, done);
                submitted = true;
            }
        }
    };
    const auto busy = [&] {
        return more || std::any_of(impl.connections.begin(), impl.connections.end(),
                                   [](const auto& c) { return !c->idle(); });
    };
    while (busy()) {
        if (changed) {
            changed = false;
            impl.renew();
            for (const auto& connection : impl.connections)
                connection->on_change([&changed] { changed = true; });
            fill();
            for (const auto& connection : impl.connections) connection->check();
        }
        if (!busy()) break;
        impl.io.restart();
        impl.io.run_one();
    }
    for (const auto& connection : impl.connections) connection->on_change(nullptr);
}

ClientReply HubClient::call(ClientRequest request) {
    ClientReply result;
    bool given = false;
    call_many(
        [&](ClientRequest& out) {
            if (given) return false;
            given = true;
            out = std::move(request);
            return true;
        },
        [&](const ClientRequest&, const ClientReply& reply) { result = reply; });
    return result;
}

ClientReply plain_call(const std::string& url, const std::string& method, const std::string& path,
                       const std::string& body) {
    HttpClient client(pns::system_clock(), {});
    HttpCall call;
    call.method = method;
    call.url = url + path;
    call.body = body;
    auto called = client.call(call);
    if (auto* failure = std::get_if<HttpFailure>(&called))
        throw std::runtime_error("no answer from " + call.url + ": " + failure->why);
    return std::get<HttpReply>(std::move(called));
}

}  // namespace hub
