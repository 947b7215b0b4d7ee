#include "tests/support/http_client.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <map>
#include <stdexcept>

#include "pns/h2_session.hpp"

namespace support {

struct Wire::Impl {
    int socket = -1;
    SSL_CTX* context = nullptr;
    SSL* ssl = nullptr;

    ~Impl() {
        if (ssl != nullptr) SSL_free(ssl);
        if (context != nullptr) SSL_CTX_free(context);
        if (socket >= 0) ::close(socket);
    }
    void connect(std::uint16_t port, const ClientOptions& options);
    void handshake(const ClientOptions& options);
};

void Wire::Impl::connect(std::uint16_t port, const ClientOptions& options) {
    std::signal(SIGPIPE, SIG_IGN);
    socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval limit{20, 0};
    const int on = 1;
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (options.small_receive_buffer) {
        const int bytes = 4'096;
        setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    }
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
        throw std::runtime_error("cannot connect");
    }
}

void Wire::Impl::handshake(const ClientOptions& options) {
    context = SSL_CTX_new(TLS_client_method());
    if (options.tls_version_max != 0) {
        SSL_CTX_set_security_level(context, 0);  // old versions need weak digests
        SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(context, options.tls_version_max);
    }
    if (!options.ca_file.empty()) {
        if (SSL_CTX_load_verify_locations(context, options.ca_file.c_str(), nullptr) != 1)
            throw std::runtime_error("no certificates in " + options.ca_file);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    }
    ssl = SSL_new(context);
    if (!options.ca_file.empty()) SSL_set1_host(ssl, "localhost");
    if (!options.alpn.empty()) {
        const std::string list = static_cast<char>(options.alpn.size()) + options.alpn;
        SSL_set_alpn_protos(ssl, reinterpret_cast<const unsigned char*>(list.data()),
                            static_cast<unsigned>(list.size()));
    }
    SSL_set_fd(ssl, socket);
    if (SSL_connect(ssl) != 1) {
        std::array<char, 256> text{};
        ERR_error_string_n(ERR_get_error(), text.data(), text.size());
        ERR_clear_error();
        throw std::runtime_error(std::string("no handshake: ") + text.data());
    }
}

Wire::Wire(std::uint16_t port, const ClientOptions& options) : impl_(std::make_unique<Impl>()) {
    impl_->connect(port, options);
    if (options.tls) impl_->handshake(options);
}
Wire::~Wire() = default;
Wire::Wire(Wire&&) noexcept = default;

bool Wire::send(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto size = impl_->ssl != nullptr
                              ? static_cast<ssize_t>(SSL_write(impl_->ssl, bytes.data(),
                                                               static_cast<int>(bytes.size())))
                              : ::send(impl_->socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        ERR_clear_error();
        if (size <= 0) return false;
        bytes.remove_prefix(static_cast<std::size_t>(size));
    }
    return true;
}

std::string Wire::receive() {
    std::array<char, 16 * 1024> bytes{};
    const auto size = impl_->ssl != nullptr
                          ? static_cast<ssize_t>(SSL_read(impl_->ssl, bytes.data(), bytes.size()))
                          : ::recv(impl_->socket, bytes.data(), bytes.size(), 0);
    ERR_clear_error();
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        throw std::runtime_error("nothing came in time");
    }
    return size <= 0 ? std::string() : std::string(bytes.data(), static_cast<std::size_t>(size));
}

std::string Wire::receive_all() {
    std::string all;
    for (auto some = receive(); !some.empty(); some = receive()) all += some;
    return all;
}

void Wire::finish_sending() {
    ::shutdown(impl_->socket, SHUT_WR);
}

std::string Wire::protocol() const {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    if (impl_->ssl != nullptr) SSL_get0_alpn_selected(impl_->ssl, &name, &size);
    return {reinterpret_cast<const char*>(name), size};
}

namespace {

std::string lower(std::string text) {
    for (char& c : text) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    }
    return text;
}

bool has(const HeaderList& headers, std::string_view name) {
    return std::any_of(headers.begin(), headers.end(),
                       [&](const auto& header) { return lower(header.first) == name; });
}

}  // namespace

std::string Answer::header(std::string_view lower_name) const {
    for (const auto& [name, value] : headers) {
        if (name == lower_name) return value;
    }
    return {};
}

H1Client::H1Client(std::uint16_t port, const ClientOptions& options)
    : wire_(port, options), host_("localhost:" + std::to_string(port)) {}

Answer H1Client::request(std::string_view method, std::string_view target,
                         const HeaderList& headers, std::string_view body) {
    std::string bytes = std::string(method) + " " + std::string(target) + " HTTP/1.1\r\n";
    if (!has(headers, "host")) bytes += "Host: " + host_ + "\r\n";
    for (const auto& [name, value] : headers)
        bytes.append(name).append(": ").append(value).append("\r\n");
    if (!has(headers, "content-length") && (!body.empty() || method == "POST" || method == "PUT")) {
        bytes += "Content-Length: " + std::to_string(body.size()) + "\r\n";
    }
    bytes.append("\r\n").append(body);
    if (!wire_.send(bytes)) return {};
    return read_answer(method == "HEAD");
}

Answer H1Client::read_answer(bool bodiless) {
    Answer answer;
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
        const auto some = wire_.receive();
        if (some.empty()) return answer;
        buffer_ += some;
    }
    const std::string head = buffer_.substr(0, end + 2);
    buffer_.erase(0, end + 4);
    if (!head.starts_with("HTTP/1.1 ")) throw std::runtime_error("no status line: " + head);
    answer.status = std::stoi(head.substr(9, 3));
    for (std::size_t at = head.find("\r\n") + 2; at < head.size();) {
        const auto line_end = head.find("\r\n", at);
        const auto line = head.substr(at, line_end - at);
        const auto colon = line.find(": ");
        answer.headers.emplace_back(lower(line.substr(0, colon)), line.substr(colon + 2));
        at = line_end + 2;
    }
    const auto length = answer.header("content-length");
    const std::size_t size = length.empty() || bodiless ? 0 : std::stoul(length);
    while (buffer_.size() < size) {
        const auto some = wire_.receive();
        if (some.empty()) return {};
        buffer_ += some;
    }
    answer.body = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return answer;
}

bool H1Client::ended() {
    return buffer_.empty() && wire_.receive_all().empty();
}

struct H2Client::Impl final : pns::H2Events {
    Impl(std::uint16_t port, const ClientOptions& options)
        : wire(port, options),
          host("localhost:" + std::to_string(port)),
          session(pns::H2Session::Role::client, limits(), *this) {}
    ~Impl() { session.abandon(); }

    static pns::H2Limits limits() {
        pns::H2Limits l;
        l.body_bytes_max = 16 << 20;
        return l;
    }

    void on_message(std::int32_t stream, const pns::H2Message& message) override {
        Answer answer;
        answer.status = message.status;
        for (const auto& header : message.headers) {
            answer.headers.emplace_back(std::string(header.name), std::string(header.value));
        }
        answer.body = std::string(message.body);
        answers[stream] = std::move(answer);
    }
    void on_lost(std::int32_t stream, const pns::H2Lost&) override { answers[stream] = {}; }
    void on_goaway(const pns::H2Goaway&) override { goaway = true; }

    void flush() {
        std::vector<std::uint8_t> out;
        while (session.drain(out)) {
            wire.send({reinterpret_cast<const char*>(out.data()), out.size()});
            out.clear();
        }
    }
    bool read() {
        const auto bytes = wire.receive();
        if (bytes.empty()) {
            session.abandon();
            return false;
        }
        return session.feed({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
    }

    Wire wire;
    std::string host;
    pns::H2Session session;
    std::map<int, Answer> answers;
    bool goaway = false;
};

namespace {
ClientOptions with_h2(ClientOptions options) {
    options.alpn = "h2";
    return options;
}
}  // namespace

H2Client::H2Client(std::uint16_t port, ClientOptions options)
    : impl_(std::make_unique<Impl>(port, with_h2(std::move(options)))) {}
H2Client::~H2Client() = default;

int H2Client::start(std::string_view method, std::string_view target, const HeaderList& headers,
                    std::string body) {
    std::vector<std::pair<std::string, std::string>> all{{":method", std::string(method)},
                                                         {":scheme", "https"},
                                                         {":authority", impl_->host},
                                                         {":path", std::string(target)}};
    for (const auto& [name, value] : headers) {
        if (name == ":authority") {
            all[2].second = value;
        } else {
            all.emplace_back(lower(name), value);
        }
    }
    if (!body.empty() && !has(headers, "content-length") && !has(headers, "x-no-length")) {
        all.emplace_back("content-length", std::to_string(body.size()));
    }
    std::vector<pns::H2Header> lent;
    for (const auto& [name, value] : all) lent.push_back({name, value, false});
    const auto id = impl_->session.submit_request(
        lent, body.empty() ? nullptr : std::make_shared<const std::string>(std::move(body)));
    impl_->flush();
    return id;
}

Answer H2Client::wait(int stream) {
    if (stream < 0) return {};
    impl_->flush();  // may end streams by itself
    while (!impl_->answers.contains(stream) && impl_->read()) impl_->flush();
    impl_->flush();
    return impl_->answers[stream];
}

Answer H2Client::request(std::string_view method, std::string_view target,
                         const HeaderList& headers, std::string body) {
    return wait(start(method, target, headers, std::move(body)));
}

void H2Client::reset(int stream) {
    impl_->session.reset(stream, 8);
    impl_->flush();
}

bool H2Client::ended_with_goaway() {
    while (impl_->read()) impl_->flush();
    return impl_->goaway;
}

}  // namespace support
