// Tested by tests/hub_blob_client_test.cpp.
//
// The socket does not block; every wait polls in slices of 100 ms, so a stop of the process is
// seen, and ends at the deadline of the step. A connection is kept for the next call to the same
// host. Errors that may pass (408, 429, 5xx, a lost connection) are tried four times. A
// certificate that is not trusted is not tried again. Files pass in pieces of 64 KiB; large ones
// are put as blocks, so the blob appears whole or not at all. Resolving a name may block longer
// than the deadline.

#include "hub/bulk/blob_client.hpp"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>

#include "hub/bulk/blobs.hpp"
#include "hub/text/text.hpp"
#include "pns/connect_to.hpp"
#include "pns/h1_codec.hpp"
#include "pns/jwt.hpp"
#include "pns/name_lookup.hpp"
#include "pns/tls.hpp"

namespace hub {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int attempts_max = 4;
constexpr int unreachable = 503;
constexpr std::uint64_t single_put_bytes_max = BlobClient::block_bytes;
constexpr std::string_view service_version = "2020-04-08";

bool is_passing(int status) {
    return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

std::uint64_t number_of(std::string_view text) {
    std::uint64_t number = 0;
    std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

/// The length behind the slash of "bytes 0-9/100".
std::uint64_t total_of(std::string_view content_range) {
    const auto slash = content_range.rfind('/');
    return slash == std::string_view::npos ? 0 : number_of(content_range.substr(slash + 1));
}

}  // namespace

struct BlobClient::Impl {
    Impl(Settings given, const std::atomic<bool>& stopping)
        : settings(std::move(given)), stop(stopping) {}
    ~Impl() { hang_up(); }

    struct Reply {
        int status = 0;
        std::string body, content_range, etag;
    };
    struct Body {
        std::string_view bytes;
        int file = -1;  ///< instead of `bytes`
        std::uint64_t offset = 0;
        std::uint64_t size = 0;
    };

    /// One request with its retries; passing refusals of the service count as failures to reach it.
    Parsed<Reply> call(const BlobUrl& url, const std::string& head, const Body& body);
    std::optional<Reply> exchange(const BlobUrl& url, const std::string& head, const Body& body);
    bool connect(const BlobUrl& url);
    bool connect_socket(const std::string& host, std::uint16_t port);
    void hang_up();
    bool wait(int descriptor, short events);
    void set_deadline() {
        deadline = Clock::now() + std::chrono::milliseconds(settings.timeout_ms);
    }
    /// A call of OpenSSL on `ssl`. SSL_get_error() believes what an earlier call left in the
    /// thread's queue.
    template <class Call>
    int tried(Call call) {
        ERR_clear_error();
        return call();
    }
    /// After a tried() call that did not succeed: waits for the socket; false: give up.
    bool go_on(int result);
    bool send(std::string_view bytes);
    std::optional<Reply> receive();

    const Settings settings;
    const std::atomic<bool>& stop;
    pns::TrustStore trust;
    pns::TlsContext tls;
    int socket = -1;
    SSL* ssl = nullptr;
    std::string peer;  // host:port
    Clock::time_point deadline;
    std::string why;
    bool hopeless = false;  // another attempt would end the same way
};

BlobClient::BlobClient(Settings settings, const std::atomic<bool>& stop)
    : impl_(std::make_unique<Impl>(std::move(settings), stop)) {}
BlobClient::~BlobClient() = default;

void BlobClient::Impl::hang_up() {
    if (ssl != nullptr) SSL_free(ssl);
    if (socket >= 0) ::close(socket);
    ssl = nullptr;
    socket = -1;
    peer.clear();
}

bool BlobClient::Impl::wait(int descriptor, short events) {
    constexpr int slice_ms = 100;  // how soon a stop is seen
    while (!stop && Clock::now() < deadline) {
        pollfd watched{descriptor, events, 0};
        const int ready = ::poll(&watched, 1, slice_ms);
        if (ready > 0) return true;
        if (ready < 0 && errno != EINTR) break;
    }
    why = stop ? "the process stops" : "the service did not answer in time";
    return false;
}

bool BlobClient::Impl::go_on(int result) {
    switch (SSL_get_error(ssl, result)) {
        case SSL_ERROR_WANT_READ:
            return wait(socket, POLLIN);
        case SSL_ERROR_WANT_WRITE:
            return wait(socket, POLLOUT);
        default:
            why = "the connection ended";
            return false;
    }
}

bool BlobClient::Impl::connect_socket(const std::string& host, std::uint16_t port) {
    set_deadline();
    pns::NameLookup lookup(host, settings.name_servers);
    while (!lookup.step()) {
        if (!wait(lookup.descriptor(), POLLIN)) return false;
    }
    why = lookup.addresses().empty() ? "the host's name has no address"
                                     : "no address of the host accepts connections";
    for (const auto& address : lookup.addresses()) {
        if (stop) break;
        const boost::asio::ip::tcp::endpoint at(address, port);
        socket = ::socket(at.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (socket < 0) continue;
        set_deadline();
        bool open = ::connect(socket, at.data(), static_cast<socklen_t>(at.size())) == 0;
        if (!open && errno == EINPROGRESS && wait(socket, POLLOUT)) {
            int failure = 0;
            socklen_t size = sizeof failure;
            open = ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 && failure == 0;
        }
        if (open) return true;
        ::close(socket);
        socket = -1;
    }
    return false;
}

bool BlobClient::Impl::connect(const BlobUrl& url) {
    const std::string wanted = url.host + ':' + std::to_string(url.port);
    if (ssl != nullptr && peer == wanted) return true;
    hang_up();
    if (!tls) {
        pns::TlsClientOptions options;
        options.ca_file = settings.ca_file;
        options.alpn = "http/1.1";
        auto made = pns::make_client_context(trust, options);
        if (!made) {
            why = "no TLS: " + made.error().message();
            return false;
        }
        tls = std::move(*made);
    }
    const auto routes = pns::ConnectTo::parse(settings.connect_to);
    pns::Target target{url.host, url.port};
    if (routes) target = routes->resolve(url.host, url.port);
    if (!connect_socket(target.host, target.port)) return false;
    ssl = SSL_new(tls->native_handle());
    if (ssl == nullptr || SSL_set_fd(ssl, socket) != 1 || !pns::expect_host(ssl, url.host)) {
        why = "no TLS";
        hang_up();
        return false;
    }
    set_deadline();
    for (;;) {
        const int result = tried([this] { return SSL_connect(ssl); });
        if (result == 1) break;
        if (go_on(result)) continue;
        hopeless = SSL_get_verify_result(ssl) != X509_V_OK;
        if (hopeless) why = "its certificate is not trusted";
        hang_up();
        return false;
    }
    peer = wanted;
    return true;
}

bool BlobClient::Impl::send(std::string_view bytes) {
    set_deadline();
    while (!bytes.empty()) {
        const int size = static_cast<int>(std::min<std::size_t>(bytes.size(), 64 * 1024));
        const int result = tried([&] { return SSL_write(ssl, bytes.data(), size); });
        if (result > 0) {
            bytes.remove_prefix(static_cast<std::size_t>(result));
            set_deadline();
        } else if (!go_on(result)) {
            return false;
        }
    }
    return true;
}

std::optional<BlobClient::Impl::Reply> BlobClient::Impl::receive() {
    pns::H1Parser parser;
    std::array<char, 16 * 1024> bytes;
    set_deadline();
    for (;;) {
        auto step = pns::H1Parser::Step::more;
        const int size = static_cast<int>(bytes.size());
        const int result = tried([&] { return SSL_read(ssl, bytes.data(), size); });
        if (result > 0) {
            step = parser.feed({bytes.data(), static_cast<std::size_t>(result)});
        } else if (SSL_get_error(ssl, result) == SSL_ERROR_ZERO_RETURN) {
            step = parser.feed_end();
        } else if (!go_on(result)) {
            return std::nullopt;
        }
        if (step == pns::H1Parser::Step::more) continue;
        if (step == pns::H1Parser::Step::broken) {
            why = "the service does not speak HTTP";
            return std::nullopt;
        }
        const auto& answer = parser.answer();
        Reply reply;
        reply.status = answer.status;
        reply.content_range = answer.header("content-range");
        reply.etag = answer.header("etag");
        reply.body = answer.body;
        if (answer.body_cut && answer.status < 300) {
            why = "the service sent more than it was asked for";
            return std::nullopt;
        }
        if (!parser.keep_alive()) hang_up();
        return reply;
    }
}

std::optional<BlobClient::Impl::Reply> BlobClient::Impl::exchange(const BlobUrl& url,
                                                                  const std::string& head,
                                                                  const Body& body) {
    if (!connect(url)) return std::nullopt;
    bool sent = send(head);
    if (body.file < 0) {
        sent = sent && send(body.bytes);
    } else {
        std::string piece(64 * 1024, '\0');
        for (std::uint64_t done = 0; sent && done < body.size;) {
            const auto size = ::pread(body.file, piece.data(),
                                      std::min<std::uint64_t>(piece.size(), body.size - done),
                                      static_cast<off_t>(body.offset + done));
            if (size <= 0) why = "the file to send cannot be read";
            sent = size > 0 && send({piece.data(), static_cast<std::size_t>(size)});
            done += static_cast<std::uint64_t>(std::max<ssize_t>(size, 0));
        }
    }
    std::optional<Reply> reply;
    if (sent) reply = receive();
    if (!reply) hang_up();
    return reply;
}

Parsed<BlobClient::Impl::Reply> BlobClient::Impl::call(const BlobUrl& url, const std::string& head,
                                                       const Body& body) {
    for (int attempt = 0;; ++attempt) {
        auto reply = exchange(url, head, body);
        if (reply && !is_passing(reply->status)) return std::move(*reply);
        if (reply) why = "the service answered " + std::to_string(reply->status);
        if (stop || hopeless || attempt + 1 == attempts_max) break;
        const auto until = Clock::now() + std::chrono::milliseconds(250 << attempt);
        while (!stop && Clock::now() < until)
            std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return Refusal{unreachable, url.host + ": " + why + "."};
}

namespace {

std::string head_of(std::string_view method, const BlobUrl& url, std::string_view more_query,
                    std::uint64_t body_bytes) {
    std::string out(method);
    out.append(" ").append(url.path);
    std::string query = url.query;
    if (!more_query.empty()) {
        if (!query.empty()) query += '&';
        query += more_query;
    }
    if (!query.empty()) out.append("?").append(query);
    out.append(" HTTP/1.1\r\nHost: ").append(url.host);
    if (url.port != 443) out.append(":").append(std::to_string(url.port));
    out.append("\r\nx-ms-version: ").append(service_version);
    out.append("\r\nContent-Length: ").append(std::to_string(body_bytes)).append("\r\n");
    return out;
}

Refusal answered(const BlobUrl& url, int status) {
    return {status, url.host + " answered " + std::to_string(status) + "."};
}

}  // namespace

Parsed<BlobClient::Piece> BlobClient::get(const BlobUrl& url, std::uint64_t offset,
                                          const std::string& etag) {
    std::string head = head_of("GET", url, {}, 0);
    head += "Range: bytes=" + std::to_string(offset) + '-' +
            std::to_string(offset + piece_bytes - 1) + "\r\n";
    if (!etag.empty()) head += "If-Match: " + etag + "\r\n";
    auto called = impl_->call(url, head + "\r\n", {});
    if (!ok(called)) return std::get<Refusal>(std::move(called));
    auto& reply = std::get<Impl::Reply>(called);
    Piece piece;
    piece.etag = std::move(reply.etag);
    if (reply.status == 416) {
        piece.total = total_of(reply.content_range);
        return piece;
    }
    if (reply.status == 412)
        return Refusal{412, "The file at " + url.host + " changed while it was read."};
    if (reply.status == 206) {
        piece.total = total_of(reply.content_range);
    } else if (reply.status == 200 && offset == 0) {
        piece.total = reply.body.size();
    } else if (reply.status == 200) {
        return Refusal{502, url.host + " does not answer ranges."};
    } else {
        return answered(url, reply.status);
    }
    piece.bytes = std::move(reply.body);
    return piece;
}

Parsed<bool> BlobClient::put(const BlobUrl& url, const std::filesystem::path& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat info {};
    if (file < 0 || ::fstat(file, &info) != 0) {
        if (file >= 0) ::close(file);
        return Refusal{500, "The output cannot be read back."};
    }
    struct Closed {
        int file;
        ~Closed() { ::close(file); }
    } const closed{file};
    const auto size = static_cast<std::uint64_t>(info.st_size);
    const auto put = [&](std::string_view more_query, std::string_view headers,
                         const Impl::Body& body) -> Parsed<bool> {
        const std::uint64_t bytes = body.file < 0 ? body.bytes.size() : body.size;
        std::string head = head_of("PUT", url, more_query, bytes);
        head.append(headers).append("\r\n");
        auto called = impl_->call(url, head, body);
        if (!ok(called)) return std::get<Refusal>(std::move(called));
        const int status = std::get<Impl::Reply>(called).status;
        if (status != 200 && status != 201) return answered(url, status);
        return true;
    };
    Impl::Body body;
    body.file = file;
    body.size = size;
    constexpr std::string_view block_blob =
        "x-ms-blob-type: BlockBlob\r\nContent-Type: text/plain; charset=utf-8\r\n";
    if (size <= single_put_bytes_max) return put({}, block_blob, body);
    std::string list = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>";
    std::uint64_t number = 0;
    for (body.offset = 0; body.offset < size; body.offset += body.size) {
        body.size = std::min<std::uint64_t>(block_bytes, size - body.offset);
        std::array<char, 16> digits{};
        std::snprintf(digits.data(), digits.size(), "%012llu",
                      static_cast<unsigned long long>(number++));
        const std::string id = pns::base64(std::string_view(digits.data()));
        std::string query = "comp=block&blockid=";
        append_percent_encoded(query, id);
        auto sent = put(query, {}, body);
        if (!ok(sent)) return sent;
        list += "<Latest>" + id + "</Latest>";
    }
    list += "</BlockList>";
    Impl::Body blocks;
    blocks.bytes = list;
    return put("comp=blocklist", "x-ms-blob-content-type: text/plain; charset=utf-8\r\n", blocks);
}

}  // namespace hub
