// One thread runs one loop with all connections; each connection has three coroutines: read,
// answer when the time has come, write. Answers leave in the order of the requests, as all wait
// equally long, and several leave in one write. It checks nothing, so it costs little beside the
// sender that is measured.
#include "bench/wire_sink.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <deque>
#include <set>
#include <span>
#include <vector>

#include "pns/alarm.hpp"
#include "pns/h2_session.hpp"
#include "pns/nursery.hpp"
#include "pns/tls.hpp"

namespace bench {

namespace asio = boost::asio;

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::microseconds round{300};  ///< of answers
using Socket = asio::basic_stream_socket<asio::ip::tcp, pns::Executor>;
using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, pns::Executor>;
using Stream = asio::ssl::stream<Socket>;

}  // namespace

struct WireSink::Serving {
    explicit Serving(const WireSinkOptions& o)
        : options(o), acceptor(io.get_executor()), nursery(io.get_executor()) {}
    pns::Task<void> accept(WireSink& sink);
    pns::Task<void> serve(WireSink& sink, Socket socket);

    WireSinkOptions options;
    asio::io_context io{1};
    Acceptor acceptor;
    pns::Nursery nursery;
    pns::TlsContext tls;
    std::set<Stream*> streams;
    bool stopping = false;
};

// One connection. Answers leave in the order of the requests: all wait equally long.
struct WireSink::Conversation final : private pns::H2Events {
    Conversation(WireSink& s, Stream& t)
        : sink(s),
          stream(t),
          wake(t.get_executor(), pns::SteadyTimer::time_point::max()),
          due(t.get_executor(), pns::SteadyTimer::time_point::max()),
          session(pns::H2Session::Role::server, limits(s.serving_->options), *this) {}

    static pns::H2Limits limits(const WireSinkOptions& options) {
        pns::H2Limits out;
        out.streams_max_offered = options.streams_max;
        out.connection_window_bytes = 4 << 20;
        return out;
    }
    pns::Task<void> read() {
        while (open) {
            const auto [ec, size] =
                co_await stream.async_read_some(asio::buffer(in), pns::as_result);
            if (ec || !session.feed(std::span(in).first(size))) break;
            wake.cancel();
        }
        close();
    }
    pns::Task<void> write() {
        while (open) {
            out.clear();
            if (session.drain(out)) {
                const auto [ec, size] =
                    co_await asio::async_write(stream, asio::buffer(out), pns::as_result);
                if (ec) break;
            } else if (!session.alive()) {
                break;
            } else {
                co_await wake.async_wait(pns::as_result);
            }
        }
        close();
    }
    pns::Task<void> answer() {
        while (open) {
            const auto now = Clock::now();
            while (!late.empty() && late.front().first <= now) reply(now);
            wake.cancel();
            // Not for every single one: it would cost a write each.
            due.expires_at(late.empty() ? pns::SteadyTimer::time_point::max()
                                        : std::max(late.front().first, now + round));
            co_await due.async_wait(pns::as_result);
        }
    }
    void reply(Clock::time_point now) {
        const auto [at, id] = late.front();
        late.pop_front();
        session.submit_response(id, 200, {}, {});
        const auto waited =
            std::chrono::duration_cast<std::chrono::microseconds>(now - at).count() +
            sink.serving_->options.delay_us;
        sink.waited_us_.fetch_add(static_cast<std::uint64_t>(waited), std::memory_order_relaxed);
        sink.answered_.fetch_add(1, std::memory_order_relaxed);
    }
    void close() {
        if (!open) return;
        open = false;
        wake.cancel();
        due.cancel();
        pns::error_code ignored;
        stream.next_layer().close(ignored);
    }
    void on_message(std::int32_t id, const pns::H2Message&) override {
        const auto& options = sink.serving_->options;
        if (options.stall) return;
        const auto now = Clock::now();
        const bool first = late.empty();
        late.emplace_back(now + std::chrono::microseconds(options.delay_us), id);
        if (options.delay_us == 0) return reply(now);
        if (first) due.cancel();
    }
    void on_lost(std::int32_t, const pns::H2Lost&) override {}

    WireSink& sink;
    Stream& stream;
    pns::SteadyTimer wake, due;
    pns::H2Session session;
    std::deque<std::pair<Clock::time_point, std::int32_t>> late;
    std::array<std::uint8_t, 16 * 1024> in;
    std::vector<std::uint8_t> out;
    bool open = true;
};

pns::Task<void> WireSink::Serving::accept(WireSink& sink) {
    while (!stopping) {
        Socket socket(io.get_executor());
        const auto [ec] = co_await acceptor.async_accept(socket, pns::as_result);
        if (ec) break;
        sink.connects_.fetch_add(1, std::memory_order_relaxed);
        nursery.start(serve(sink, std::move(socket)));
    }
}

pns::Task<void> WireSink::Serving::serve(WireSink& sink, Socket socket) {
    pns::error_code ignored;
    socket.set_option(asio::ip::tcp::no_delay(true), ignored);
    Stream stream(std::move(socket), *tls);
    streams.insert(&stream);
    const auto [ec] = co_await stream.async_handshake(Stream::server, pns::as_result);
    if (!ec && !stopping) {
        auto talk = std::make_unique<Conversation>(sink, stream);
        pns::Nursery loops(io.get_executor());
        loops.start(talk->read());
        loops.start(talk->write());
        loops.start(talk->answer());
        co_await loops.join();
        talk->session.abandon();
    }
    streams.erase(&stream);
}

WireSink::WireSink(const WireSinkOptions& options) : serving_(std::make_unique<Serving>(options)) {
    pns::TlsServerOptions tls;
    tls.certificate_pem = options.certificate.certificate_pem;
    tls.key_pem = options.certificate.key_pem;
    tls.alpn = {"h2"};
    auto context = pns::make_server_context(tls);
    if (!context) throw boost::system::system_error(context.error());
    serving_->tls = *context;
    const asio::ip::tcp::endpoint here(asio::ip::address_v4::loopback(), 0);
    serving_->acceptor.open(here.protocol());
    serving_->acceptor.bind(here);
    serving_->acceptor.listen();
    port_ = serving_->acceptor.local_endpoint().port();
    serving_->nursery.start(serving_->accept(*this));
    thread_ = std::thread([this] { serving_->io.run(); });
}

WireSink::~WireSink() {
    asio::post(serving_->io, [this] {
        serving_->stopping = true;
        pns::error_code ignored;
        serving_->acceptor.close(ignored);
        for (Stream* stream : serving_->streams) stream->next_layer().close(ignored);
    });
    thread_.join();
}

std::string WireSink::rule(const std::string& host) const {
    return host + ":443=127.0.0.1:" + std::to_string(port_);
}

double WireSink::response_us() const {
    const auto answered = answered_.load(std::memory_order_relaxed);
    if (answered == 0) return 0;
    return static_cast<double>(waited_us_.load(std::memory_order_relaxed)) /
           static_cast<double>(answered);
}

}  // namespace bench
