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
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <span>
#include <thread>

#include "hub/process/http_client.hpp"
#include "hub/text/text.hpp"
#include "pns/connect_to.hpp"
#include "pns/endpoint_guard.hpp"
#include "pns/jwt.hpp"
#include "pns/name_lookup.hpp"

namespace hub {

namespace {

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

/// Fills `room` from `offset` on. False: the file is shorter or cannot be read.
bool read_fully(int file, std::uint64_t offset, std::span<char> room) {
    while (!room.empty()) {
        const auto size = ::pread(file, room.data(), room.size(), static_cast<off_t>(offset));
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return false;
        offset += static_cast<std::uint64_t>(size);
        room = room.subspan(static_cast<std::size_t>(size));
    }
    return true;
}

}  // namespace

struct BlobClient::Impl {
    Impl(const pns::Clock& given_clock, const Settings& settings, const std::atomic<bool>& stopping)
        : clock(given_clock),
          routes(pns::ConnectTo::parse(settings.connect_to)),
          hosts(settings.hosts),
          http(clock, {settings.ca_file, true, settings.timeout_ms, &stopping}),
          name_servers(settings.name_servers),
          timeout_ms(settings.timeout_ms),
          stop(stopping) {}

    /// Leads the call to the address of the host. The transport would look the name up itself, and
    /// could not be stopped while a name server is silent. False: `why` says why not.
    bool resolve(const BlobUrl& url, HttpCall& wanted, std::string& why) const;

    /// One request with its retries; passing refusals of the service count as failures to reach it.
    Parsed<HttpReply> call(const BlobUrl& url, HttpCall& wanted);

    const pns::Clock& clock;
    const pns::Result<pns::ConnectTo> routes;
    const std::vector<std::string> hosts;
    HttpClient http;
    const std::string name_servers;
    const std::int64_t timeout_ms;
    const std::atomic<bool>& stop;
};

BlobClient::BlobClient(const pns::Clock& clock, const Settings& settings,
                       const std::atomic<bool>& stop)
    : impl_(std::make_unique<Impl>(clock, settings, stop)) {}
BlobClient::~BlobClient() = default;

bool BlobClient::Impl::resolve(const BlobUrl& url, HttpCall& wanted, std::string& why) const {
    constexpr int slice_ms = 100;  // how soon a stop is seen
    pns::Target target{url.host, url.port};
    if (routes) target = routes->resolve(url.host, url.port);
    pns::NameLookup lookup(target.host, name_servers);
    const std::int64_t until_ms = clock.steady_ms() + timeout_ms;
    while (!lookup.step()) {
        if (stop || clock.steady_ms() >= until_ms) {
            why = stop ? "the process stops" : "the name servers did not answer in time";
            return false;
        }
        pollfd watched{lookup.descriptor(), POLLIN, 0};
        ::poll(&watched, 1, slice_ms);
    }
    if (lookup.addresses().empty()) {
        why = "the host's name has no address";
        return false;
    }
    const bool rerouted = target.host != url.host || target.port != url.port;
    const bool any_address = rerouted || is_named_host(url, hosts);
    // The very address that was looked at is the one that is connected to.
    for (const auto& address : lookup.addresses()) {
        if (!any_address && !pns::is_public_address(address)) continue;
        target.host = address.to_string();
        wanted.connect_to = target;
        return true;
    }
    why = "the host's addresses are not public, and jobs_external_hosts does not name it itself";
    return false;
}

Parsed<HttpReply> BlobClient::Impl::call(const BlobUrl& url, HttpCall& wanted) {
    for (int attempt = 0;; ++attempt) {
        std::variant<HttpReply, HttpFailure> called = HttpFailure{};
        std::string why;
        if (resolve(url, wanted, why)) {
            called = http.call(wanted);
        } else {
            called = HttpFailure{why};
        }
        auto* reply = std::get_if<HttpReply>(&called);
        if (reply != nullptr && !is_passing(reply->status)) return std::move(*reply);
        const auto failure =
            reply != nullptr ? HttpFailure{"the service answered " + std::to_string(reply->status)}
                             : std::get<HttpFailure>(std::move(called));
        if (stop || failure.hopeless || attempt + 1 == attempts_max)
            return Refusal{unreachable, url.host + ": " + failure.why + "."};
        constexpr int slice_ms = 50;
        for (int waited_ms = 0; !stop && waited_ms < 250 << attempt; waited_ms += slice_ms)
            std::this_thread::sleep_for(std::chrono::milliseconds(slice_ms));
    }
}

namespace {

HttpCall call_of(std::string method, const BlobUrl& url, std::string_view more_query = {}) {
    HttpCall call;
    call.method = std::move(method);
    call.url = "https://" + url.host;
    if (url.port != 443) call.url.append(":").append(std::to_string(url.port));
    call.url += url.path;
    std::string query = url.query;
    if (!more_query.empty()) {
        if (!query.empty()) query += '&';
        query += more_query;
    }
    if (!query.empty()) call.url.append("?").append(query);
    call.headers.push_back("x-ms-version: " + std::string(service_version));
    return call;
}

Refusal answered(const BlobUrl& url, int status) {
    return {status, url.host + " answered " + std::to_string(status) + "."};
}

}  // namespace

Parsed<BlobClient::Piece> BlobClient::get(const BlobUrl& url, std::uint64_t offset,
                                          const std::string& etag) {
    HttpCall call = call_of("GET", url);
    call.headers.push_back("Range: bytes=" + std::to_string(offset) + '-' +
                           std::to_string(offset + piece_bytes - 1));
    if (!etag.empty()) call.headers.push_back("If-Match: " + etag);
    call.body_bytes_max = piece_bytes;
    auto called = impl_->call(url, call);
    if (!ok(called)) return std::get<Refusal>(std::move(called));
    auto& reply = std::get<HttpReply>(called);
    Piece piece;
    piece.etag = reply.header("etag");
    if (reply.status == 416) {
        piece.total = total_of(reply.header("content-range"));
        return piece;
    }
    if (reply.status == 412)
        return Refusal{412, "The file at " + url.host + " changed while it was read."};
    if (reply.status == 206) {
        piece.total = total_of(reply.header("content-range"));
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
    const auto put = [&](HttpCall call) -> Parsed<bool> {
        auto called = impl_->call(url, call);
        if (!ok(called)) return std::get<Refusal>(std::move(called));
        const int status = std::get<HttpReply>(called).status;
        if (status != 200 && status != 201) return answered(url, status);
        return true;
    };
    const auto send_part = [&](HttpCall& call, std::uint64_t offset, std::uint64_t bytes) {
        call.read_body_bytes = bytes;
        call.read_body = [file, offset](std::uint64_t at, std::span<char> room) {
            return read_fully(file, offset + at, room);
        };
    };
    const std::string text = "text/plain; charset=utf-8";
    if (size <= single_put_bytes_max) {
        HttpCall whole = call_of("PUT", url);
        whole.headers.emplace_back("x-ms-blob-type: BlockBlob");
        whole.headers.push_back("Content-Type: " + text);
        send_part(whole, 0, size);
        return put(std::move(whole));
    }
    std::string list = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>";
    std::uint64_t number = 0;
    for (std::uint64_t offset = 0; offset < size; offset += block_bytes) {
        std::array<char, 16> digits{};
        std::snprintf(digits.data(), digits.size(), "%012llu",
                      static_cast<unsigned long long>(number++));
        const std::string id = pns::base64(std::string_view(digits.data()));
        std::string query = "comp=block&blockid=";
        append_percent_encoded(query, id);
        HttpCall block = call_of("PUT", url, query);
        send_part(block, offset, std::min<std::uint64_t>(block_bytes, size - offset));
        auto sent = put(std::move(block));
        if (!ok(sent)) return sent;
        list += "<Latest>" + id + "</Latest>";
    }
    list += "</BlockList>";
    HttpCall blocks = call_of("PUT", url, "comp=blocklist");
    blocks.headers.push_back("x-ms-blob-content-type: " + text);
    blocks.body = std::move(list);
    return put(std::move(blocks));
}

}  // namespace hub
