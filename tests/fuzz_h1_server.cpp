// Bytes of a hostile peer into the server of HTTP/1.1, over a pair of sockets and in pieces,
// against routes of every kind. Every answer is framed as it says, the connection always ends, and
// how the bytes are cut changes neither which requests are answered nor how.
// Inputs: up to 65537 bytes, some requests, and one byte that steers.

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "hub/device/hubs.hpp"
#include "hub/process/config.hpp"
#include "hub/process/metrics.hpp"
#include "hub/server/dispatch.hpp"
#include "hub/server/inbound.hpp"
#include "hub/server/peer.hpp"
#include "hub/server/serve_h1.hpp"
#include "hub/text/text.hpp"
#include "pns/clock.hpp"
#include "pns/nursery.hpp"

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

struct StoppedClock final : pns::Clock {
    std::int64_t wall_us() const override { return 1'795'200'000'000'000; }
    std::int64_t steady_us() const override { return 1'000'000'000; }
};

/// The requests that came to a handler, one text each.
std::vector<std::string>* answered = nullptr;

void note(const hub::Request& request, std::string_view body) {
    std::string text = request.method + ' ' + request.target + ' ' + request.host + '\n';
    for (const auto& [name, value] : request.headers) {
        require(hub::lower(name) == name && value.find_first_of("\r\n") == std::string::npos);
        text.append(name).append(":").append(value).append("\n");
    }
    answered->push_back(text.append(body));
}

pns::Task<hub::Response> echo(hub::Call call) {
    note(call.request, call.request.body);
    hub::Response response;
    response.headers.emplace_back("X-Target", call.request.target);
    response.body = call.request.body;
    co_return response;
}

pns::Task<hub::Response> take_pieces(hub::Call call) {
    std::string body;
    for (bool more = true; more;) {
        const auto piece = co_await call.request.more();
        if (!hub::ok(piece)) {
            const auto& refusal = std::get<hub::Refusal>(piece);
            co_return hub::error(call.request, refusal.status, refusal.message);
        }
        const auto& bytes = std::get<std::string>(piece);
        more = !bytes.empty();
        body += bytes;
    }
    note(call.request, body);
    hub::Response response;
    response.status = 204;
    co_return response;
}

/// Answers before it has read anything.
pns::Task<hub::Response> decline(hub::Call call) {
    note(call.request, {});
    co_return hub::error(call.request, 409, "Not now.");
}

pns::Task<hub::Response> stream(hub::Call call) {
    note(call.request, call.request.body);
    hub::Response response;
    response.streams = true;
    response.body = "first";
    auto left = std::make_shared<int>(2);
    response.more = [left]() -> pns::Task<std::string> {
        co_return --*left >= 0 ? "a piece" : std::string();
    };
    co_return response;
}

pns::Task<hub::Response> large(hub::Call call) {
    note(call.request, call.request.body);
    hub::Response response;
    response.more_bytes = 40'000;
    response.more = []() -> pns::Task<std::string> { co_return std::string(20'000, 'x'); };
    co_return response;
}

constexpr std::size_t small_bytes = 200;
const hub::Route routes[] = {
    {"POST", "/echo/{rest...}", hub::Right::none, 32 * 1024, echo},
    {"GET", "/echo/{rest...}", hub::Right::none, 0, echo},
    {"PUT", "/pieces", hub::Right::none, 64 * 1024, take_pieces, hub::Trait::pieces},
    {"POST", "/declined", hub::Right::none, small_bytes, decline, hub::Trait::pieces},
    {"GET", "/stream", hub::Right::none, small_bytes, stream},
    {"GET", "/large", hub::Right::none, small_bytes, large},
    {"POST", "/{hub}/messages", hub::Right::send, small_bytes, echo},
};

hub::Authoriser authoriser() {
    hub::Authoriser out;
    out.find_hub = [](std::string_view) { return nullptr; };
    out.refuse = [](const hub::Request& request, const hub::HubState*, const hub::Route&) {
        return std::optional(hub::error(request, 401, "MissingToken"));
    };
    return out;
}

/// What stays from input to input.
struct Server {
    StoppedClock clock;
    hub::Config config;
    hub::Metrics metrics;
    hub::Inbound inbound;
    std::byte no_parts{};  // no handler touches them
    hub::Dispatch dispatch{config, clock,        metrics,
                           routes, authoriser(), reinterpret_cast<hub::Parts&>(no_parts),
                           nullptr};
    boost::asio::io_context loop{1};
};

pns::Task<void> serve(Server& server, hub::Peer& peer, bool& ended) {
    pns::Nursery watcher(peer.executor());
    watcher.start(peer.watch());
    peer.expect_within(server.config.header_timeout_ms);
    co_await hub::serve_h1(peer, server.dispatch, server.config);
    peer.cut();
    co_await watcher.join();
    ended = true;
}

/// Lets the server do all it can, and takes what it says.
void run(Server& server, int socket, std::string& said) {
    for (std::size_t idle = 0; idle < 2;) {
        server.loop.restart();
        idle = server.loop.poll() == 0 ? idle + 1 : 0;
        char bytes[16 * 1024];
        for (ssize_t size = 1; size > 0;) {
            size = ::recv(socket, bytes, sizeof bytes, MSG_DONTWAIT);
            if (size > 0) {
                said.append(bytes, static_cast<std::size_t>(size));
                idle = 0;
            }
        }
    }
}

struct Conversation {
    std::vector<std::string> requests;
    std::string said;
};

Conversation converse(Server& server, std::string_view input, std::size_t piece) {
    Conversation out;
    answered = &out.requests;
    int pair[2];
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    hub::Peer::Socket socket(server.loop);
    socket.assign(boost::asio::ip::tcp::v4(), pair[0]);
    auto place = std::make_shared<hub::Place>(server.inbound, server.loop.get_executor());
    bool ended = false;
    {
        hub::Peer peer(std::move(socket), nullptr, 10'000, server.clock, place);
        pns::Nursery nursery(server.loop.get_executor());
        nursery.start(serve(server, peer, ended));
        run(server, pair[1], out.said);
        while (!input.empty() && !ended) {
            const auto bytes = input.substr(0, piece);
            const auto sent =
                ::send(pair[1], bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent <= 0) break;  // it has heard enough
            input.remove_prefix(static_cast<std::size_t>(sent));
            run(server, pair[1], out.said);
        }
        ::shutdown(pair[1], SHUT_WR);
        run(server, pair[1], out.said);
        require(ended);
        require(!nursery.first_error());
    }
    ::close(pair[1]);
    require(server.dispatch.bodies().held() == 0 && server.dispatch.answers().held() == 0);
    return out;
}

std::size_t number(std::string_view text, int base) {
    std::size_t value = 0;
    const auto [end, failure] =
        std::from_chars(text.data(), text.data() + text.size(), value, base);
    require(failure == std::errc() && end == text.data() + text.size());
    return value;
}

std::string_view take_line(std::string_view& rest) {
    const auto end = rest.find("\r\n");
    require(end != std::string_view::npos);
    const auto line = rest.substr(0, end);
    for (const char c : line) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    rest.remove_prefix(end + 2);
    return line;
}

/// The statuses of what was said, which must be whole answers and nothing else.
std::vector<int> statuses(std::string_view said) {
    std::vector<int> out;
    bool closed = false;
    while (!said.empty()) {
        require(!closed);
        const auto first = take_line(said);
        require(first.starts_with("HTTP/1.1 ") && first.size() > 13);
        out.push_back(static_cast<int>(number(first.substr(9, 3), 10)));
        std::size_t length = 0;
        bool chunked = false;
        for (auto line = take_line(said); !line.empty(); line = take_line(said)) {
            constexpr std::string_view content_length = "Content-Length: ";
            if (line.starts_with(content_length))
                length = number(line.substr(content_length.size()), 10);
            chunked = chunked || line == "Transfer-Encoding: chunked";
            closed = closed || line == "Connection: close";
        }
        while (chunked) {
            length = number(take_line(said), 16);
            require(said.size() >= length + 2 && said.substr(length, 2) == "\r\n");
            said.remove_prefix(length + 2);
            chunked = length > 0;
        }
        require(said.size() >= length);
        said.remove_prefix(length);
    }
    return out;
}

constexpr std::string_view beginnings[] = {
    "",
    "POST /echo/a?b=c HTTP/1.1\r\nhost: h\r\n",
    "POST /echo/ HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n",
    "PUT /pieces HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "PUT /pieces HTTP/1.1\r\nhost: h\r\ncontent-length: ",
    "POST /declined HTTP/1.1\r\nhost: h\r\ncontent-length: 12\r\n\r\n",
    "GET /stream HTTP/1.1\r\nhost: h\r\n\r\nGET /large HTTP/1.1\r\nhost: h\r\n\r\n",
    "POST /orders/messages HTTP/1.1\r\nhost: h\r\n",
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size < 1) return 0;
    static Server server;
    const std::size_t piece = bytes[0] >> 3;
    std::string input(beginnings[bytes[0] % std::size(beginnings)]);
    input.append(reinterpret_cast<const char*>(bytes) + 1, size - 1);
    const auto whole = converse(server, input, input.size());
    // Only who knows which requests were HEAD knows where their answers end.
    const bool framed = hub::lower(input).find("head") == std::string::npos;
    const auto told = framed ? statuses(whole.said) : std::vector<int>();
    if (piece == 0) return 0;
    // Who has not sent its body yet is told to go on: pieces decide.
    if (hub::lower(input).find("100-continue") != std::string::npos) return 0;
    const auto cut = converse(server, input, piece * piece);
    require(cut.requests == whole.requests);
    if (!framed) return 0;
    // What is wrong in a head that never ends may be seen before it should have ended, or not.
    const auto told_cut = statuses(cut.said);
    const auto& shorter = told_cut.size() < told.size() ? told_cut : told;
    const auto& longer = told_cut.size() < told.size() ? told : told_cut;
    require(std::equal(shorter.begin(), shorter.end(), longer.begin()));
    require(longer.size() == shorter.size() ||
            (longer.size() == shorter.size() + 1 && longer.back() == 400));
    return 0;
}
