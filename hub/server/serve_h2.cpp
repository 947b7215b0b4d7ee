// Tested by tests/hub_server_test.cpp.
//
// Everything runs on the lane of the connection: one coroutine reads and feeds the session, one
// writes what the session has to say, and each stream that reached a handler has a coroutine of
// its own. Events of the session run inside feed() and only note things, start such a coroutine or
// answer at once. A handler that wants the next piece of a body, or waits until a piece is read,
// sleeps in wait_for() and is woken by stir(), or by look() when its time is over. All times are
// Peer::now_ms(). The connection outlives its handlers: run() joins
// them before it returns, and streams that were reset still count against streams_max until their
// handler has ended.

#include "hub/server/serve_h2.hpp"

#include <algorithm>
#include <array>
#include <boost/asio/this_coro.hpp>
#include <charconv>
#include <map>
#include <vector>

#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "pns/h2_session.hpp"
#include "pns/http_date.hpp"
#include "pns/nursery.hpp"

namespace hub {

namespace {

constexpr std::size_t head_bytes_max = 16 * 1024;
constexpr std::size_t body_bytes_max = 512 * 1024;             // of one that is not taken in pieces
constexpr std::uint32_t error_internal = 2, error_cancel = 8;  // RFC 9113 7

pns::H2Limits limits_for(const Config& config) {
    pns::H2Limits limits;
    limits.header_list_bytes_max = head_bytes_max;
    limits.headers_max = 100;
    limits.body_bytes_max = body_bytes_max;
    limits.streams_max_offered = static_cast<std::uint32_t>(config.streams_max);
    return limits;
}

class H2Connection final : pns::H2Events {
  public:
    H2Connection(Peer& peer, Dispatch& dispatch, const Config& config)
        : peer_(peer),
          dispatch_(dispatch),
          config_(config),
          rate_(config.requests_per_second_per_connection, peer.clock().wall_ms()),
          session_(pns::H2Session::Role::server, limits_for(config), *this),
          children_(peer.executor()),
          wake_(peer.executor(), Latch::time_point::max()) {}

    pns::Task<void> run();

  private:
    using Latch = pns::SteadyTimer;  // never rings by itself

    void on_message(std::int32_t stream, const pns::H2Message& message) override;
    void on_lost(std::int32_t stream, const pns::H2Lost& lost) override;
    bool on_request_headers(std::int32_t stream, const pns::H2Message& message) override;
    void on_ready(std::int32_t stream) override { stir(stream); }

    pns::Task<void> read_loop();
    pns::Task<void> write_loop();
    pns::Task<void> answer(std::int32_t stream, Request request, Routed routed);
    pns::Task<void> stream_out(std::int32_t stream, Response response);
    pns::Task<void> send_pieces(std::int32_t stream, Response response);
    pns::Task<bool> drained(std::int32_t stream);
    /// A body that is taken in pieces.
    struct Upload {
        std::int32_t stream;
        std::size_t bytes_max;
        std::int64_t end_by_ms;
        std::size_t bytes = 0;
    };
    pns::Task<void> answer_upload(Upload upload, Request request, Routed routed);
    pns::Task<Parsed<std::string>> more(Upload& upload);
    pns::Task<void> wait_for(std::int32_t stream, std::int64_t until_ms);
    std::int64_t look(std::int64_t now_ms);
    void stir(std::int32_t stream);
    void give_up(std::int32_t stream, std::uint32_t error_code);
    Request request_of(const pns::H2Message& message) const;
    /// Its head is complete, its body is not.
    struct Receiving {
        std::int64_t since_ms;
        std::size_t bytes_max;
        Request request;
        Routed routed;
    };
    bool refused(std::int32_t stream, const Request& request, std::size_t bytes_max,
                 std::size_t body_bytes);
    void respond(std::int32_t stream, const Request& request, Response response);
    static void tell_gone(const Response& response) {
        if (response.on_reader_gone) response.on_reader_gone();
    }
    void reset_slow_streams();
    void set_deadline();
    void say_goaway();
    void wake() { wake_.cancel(); }

    Peer& peer_;
    Dispatch& dispatch_;
    const Config& config_;
    TokenBucket rate_;
    pns::H2Session session_;
    pns::Nursery children_;  // the writer and one for each request at work
    Latch wake_;
    std::map<std::int32_t, Receiving> receiving_;  // by age as well as by id
    struct Waiting {
        Latch* latch;
        std::int64_t until_ms;
    };
    std::map<std::int32_t, Waiting> waiting_;  // handlers, each for something of its stream
    std::map<std::int32_t, const Response*> streaming_;
    std::size_t working_ = 0;
    bool ended_ = false;
    bool went_away_ = false;
};

pns::Task<void> H2Connection::run() {
    peer_.on_drain = [this] { say_goaway(); };
    peer_.on_late = [this] {
        const bool idle = working_ == 0 && receiving_.empty() && !went_away_;
        if (!idle) return peer_.cut();
        say_goaway();
        constexpr std::int64_t goodbye_ms = 1'000;
        peer_.expect_within(goodbye_ms);
    };
    peer_.on_look = [this](std::int64_t now_ms) { return look(now_ms); };
    peer_.expect_within(config_.header_timeout_ms);
    peer_.on_give_up = [this] { children_.cancel(); };
    if (peer_.draining()) say_goaway();
    children_.start(write_loop());
    co_await read_loop();
    ended_ = true;
    wake();
    for (const auto& [stream, waiting] : waiting_) waiting.latch->cancel();
    for (const auto& [stream, response] : streaming_) tell_gone(*response);
    peer_.on_drain = [] {};
    peer_.on_look = nullptr;
    co_await children_.join();
    peer_.on_give_up = nullptr;
    session_.abandon();
    co_await peer_.close();
}

pns::Task<void> H2Connection::read_loop() {
    std::array<std::uint8_t, 16 * 1024> bytes{};
    while (session_.alive() && peer_.open()) {
        auto [failure, size] = co_await peer_.read_some(boost::asio::buffer(bytes));
        if (failure) {
            session_.abandon();
            break;
        }
        const bool sound = session_.feed(std::span(bytes.data(), size));
        reset_slow_streams();
        wake();
        if (!sound) break;
    }
}

pns::Task<void> H2Connection::write_loop() {
    std::vector<std::uint8_t> bytes;
    while (peer_.open()) {
        bytes.clear();
        if (session_.drain(bytes)) {
            const auto failure = co_await peer_.write(boost::asio::buffer(bytes));
            if (failure) peer_.cut();
            continue;
        }
        if (ended_) break;
        if (!session_.alive()) peer_.interrupt();  // nothing more to read
        co_await wake_.async_wait(pns::as_result);
    }
}

void H2Connection::say_goaway() {
    if (went_away_) return;
    went_away_ = true;
    session_.submit_goaway();
    wake();
}

/// Each body has body_timeout_ms from its head on; a stream that is too slow is reset, the others
/// go on.
void H2Connection::reset_slow_streams() {
    const auto oldest_ms = peer_.now_ms() - config_.body_timeout_ms;
    while (!receiving_.empty() && receiving_.begin()->second.since_ms < oldest_ms) {
        session_.reset(receiving_.begin()->first, error_cancel);
        receiving_.erase(receiving_.begin());
        set_deadline();
    }
}

void H2Connection::set_deadline() {
    if (!receiving_.empty()) {
        peer_.expect_within(config_.body_timeout_ms);
    } else if (working_ > 0) {
        peer_.expect_nothing();
    } else {
        peer_.expect_within(config_.idle_timeout_ms);
    }
}

Request H2Connection::request_of(const pns::H2Message& message) const {
    Request request;
    request.method = std::string(message.method);
    request.target = std::string(message.path);
    for (const auto& header : message.headers) {
        request.headers.emplace_back(std::string(header.name), std::string(header.value));
    }
    request.host = std::string(message.authority);
    request.tls = peer_.tls();
    request.door = peer_.door;
    request.client = peer_.address();
    request.received_at_ms = peer_.clock().wall_ms();
    request.tracking_id = choose_tracking_id(request);
    return request;
}

/// Answers what must not reach a handler. Depends on the head and on `body_bytes` only.
bool H2Connection::refused(std::int32_t stream, const Request& request, std::size_t bytes_max,
                           std::size_t body_bytes) {
    if (body_bytes <= bytes_max) return false;
    const auto large = body_too_large(bytes_max);
    respond(stream, request, dispatch_.refuse(request, large.status, large.message));
    return true;
}

namespace {
std::size_t announced_bytes(const Request& request) {
    const auto text = request.header("content-length");
    std::size_t bytes = 0;
    std::from_chars(text.data(), text.data() + text.size(), bytes);
    return bytes;
}
}  // namespace

bool H2Connection::on_request_headers(std::int32_t stream, const pns::H2Message& message) {
    // Handlers of streams that were reset still count.
    if (went_away_ || working_ >= config_.streams_max) return false;
    Request request = request_of(message);
    if (!parse_target(request) || request.host.empty()) {
        respond(stream, request,
                dispatch_.refuse(request, 400, "Malformed request target or host."));
        return true;
    }
    Routed routed = dispatch_.route(request);
    const std::size_t bytes_max = dispatch_.body_bytes_max(request, routed);
    if (refused(stream, request, bytes_max, announced_bytes(request))) return true;
    if (takes_pieces(routed)) {
        session_.hand_out(stream);
        ++working_;
        const auto end_by_ms = peer_.now_ms() + config_.body_timeout_ms;
        children_.start(answer_upload(Upload{stream, bytes_max, end_by_ms}, std::move(request),
                                      std::move(routed)));
    } else {
        receiving_.emplace(
            stream, Receiving{peer_.now_ms(), bytes_max, std::move(request), std::move(routed)});
    }
    set_deadline();
    return true;
}

void H2Connection::on_message(std::int32_t stream, const pns::H2Message& message) {
    auto received = receiving_.extract(stream);
    if (received.empty()) return;  // answered at its head
    auto& [since_ms, bytes_max, request, routed] = received.mapped();
    if (refused(stream, request, bytes_max, message.body.size())) return set_deadline();
    request.received_at_ms = peer_.clock().wall_ms();
    request.body = std::string(message.body);
    ++working_;
    set_deadline();
    children_.start(answer(stream, std::move(request), std::move(routed)));
}

void H2Connection::on_lost(std::int32_t stream, const pns::H2Lost&) {
    receiving_.erase(stream);
    const auto streamed = streaming_.find(stream);
    if (streamed != streaming_.end()) tell_gone(*streamed->second);
    stir(stream);
    set_deadline();
}

/// Until something happens to `stream`, its time is over, or the connection ends.
pns::Task<void> H2Connection::wait_for(std::int32_t stream, std::int64_t until_ms) {
    Latch latch(peer_.executor(), Latch::time_point::max());
    waiting_.emplace(stream, Waiting{&latch, until_ms});
    peer_.look_by(until_ms);
    co_await latch.async_wait(pns::as_result);
    waiting_.erase(stream);
}

/// Wakes those whose time is over; the next time.
std::int64_t H2Connection::look(std::int64_t now_ms) {
    std::int64_t next_ms = pns::never_ms;
    for (const auto& [stream, waiting] : waiting_) {
        if (waiting.until_ms <= now_ms) {
            waiting.latch->cancel();
        } else {
            next_ms = std::min(next_ms, waiting.until_ms);
        }
    }
    return next_ms;
}

void H2Connection::stir(std::int32_t stream) {
    const auto at = waiting_.find(stream);
    if (at != waiting_.end()) at->second.latch->cancel();
}

void H2Connection::give_up(std::int32_t stream, std::uint32_t error_code) {
    session_.reset(stream, error_code);
    wake();
}

pns::Task<void> H2Connection::answer_upload(Upload upload, Request request, Routed routed) {
    request.more = [this, &upload] { return more(upload); };
    co_await answer(upload.stream, std::move(request), std::move(routed));
}

/// The whole body shares one deadline, however many pieces it comes in.
pns::Task<Parsed<std::string>> H2Connection::more(Upload& upload) {
    while (!ended_) {
        auto piece = session_.take(upload.stream);
        if (!piece) break;
        if (!piece->bytes.empty()) wake();  // its window opens
        upload.bytes += piece->bytes.size();
        if (upload.bytes > upload.bytes_max) co_return body_too_large(upload.bytes_max);
        const bool late = !piece->last && peer_.now_ms() >= upload.end_by_ms;
        if (late) {
            give_up(upload.stream, error_cancel);
            break;
        }
        if (piece->last || !piece->bytes.empty()) co_return std::move(piece->bytes);
        co_await wait_for(upload.stream, upload.end_by_ms);
    }
    co_return body_ended_early();
}

pns::Task<void> H2Connection::answer(std::int32_t stream, Request request, Routed routed) {
    // Cancelled, the handler's present wait ends with an error, and what comes after goes on.
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    Response response = co_await dispatch_.answer(request, routed, &rate_);
    if (response.streams) {
        co_await stream_out(stream, std::move(response));
        --working_;
        set_deadline();
        co_return;
    }
    if (response.more_bytes > 0 && request.method != "HEAD") {
        co_await send_pieces(stream, std::move(response));
    } else {
        respond(stream, request, std::move(response));
    }
    --working_;
    set_deadline();
    wake();
}

namespace {
/// As HTTP/2 has them; they live as long as `response` does.
std::vector<pns::H2Header> headers_of(Response& response, std::int64_t now_ms) {
    auto& headers = response.headers;
    for (auto& [name, value] : headers) name = lower(name);
    if (response.status != 204 && !response.streams) {
        const auto bytes = response.body.size() + response.more_bytes;
        headers.emplace_back("content-length", std::to_string(bytes));
    }
    headers.emplace_back("date", pns::http_date(now_ms));
    std::vector<pns::H2Header> lent;
    lent.reserve(headers.size());
    for (const auto& [name, value] : headers) {
        const bool unique = name == "trackingid" || name == "x-ms-correlation-request-id" ||
                            name == "location" || name == "content-length";
        lent.push_back({name, value, unique});
    }
    return lent;
}
}  // namespace

/// Pieces as they come, until the answer ends or nobody is there to read it.
pns::Task<void> H2Connection::stream_out(std::int32_t stream, Response response) {
    constexpr std::size_t unread_bytes_max = 256 * 1024;
    session_.submit_response_open(stream, response.status,
                                  headers_of(response, peer_.clock().wall_ms()));
    session_.append(stream, response.body, false);
    wake();
    streaming_.emplace(stream, &response);
    bool wanted = true;
    while (wanted && !ended_) {
        const std::string piece = co_await response.more();
        if (session_.unread(stream) > unread_bytes_max) {
            session_.reset(stream, error_cancel);
            wanted = false;
        } else {
            wanted = session_.append(stream, piece, piece.empty()) && !piece.empty();
        }
        wake();
    }
    streaming_.erase(stream);
}

/// Pieces of an answer whose size is known, each when the one before it was read.
pns::Task<void> H2Connection::send_pieces(std::int32_t stream, Response response) {
    session_.submit_response_open(stream, response.status,
                                  headers_of(response, peer_.clock().wall_ms()));
    bool wanted = session_.append(stream, response.body, false);
    for (std::uint64_t left = response.more_bytes; wanted && left > 0;) {
        const std::string piece = co_await response.more();
        left -= std::min<std::uint64_t>(left, piece.size());
        wanted = !piece.empty() && session_.append(stream, piece, left == 0);
        wake();
        if (piece.empty()) give_up(stream, error_internal);
        if (wanted && left > 0) wanted = co_await drained(stream);
    }
}

/// False: nobody is there to read what was appended. The time is that of a write (peer.hpp).
pns::Task<bool> H2Connection::drained(std::int32_t stream) {
    const auto end_by_ms = peer_.now_ms() + config_.body_timeout_ms;
    while (session_.unread(stream) > 0 && !ended_) {
        if (peer_.now_ms() >= end_by_ms) {
            give_up(stream, error_cancel);
            co_return false;
        }
        co_await wait_for(stream, end_by_ms);
    }
    co_return !ended_;
}

void H2Connection::respond(std::int32_t stream, const Request& request, Response response) {
    const auto lent = headers_of(response, peer_.clock().wall_ms());
    if (request.method == "HEAD" || response.status == 204) response.body.clear();
    session_.submit_response(stream, response.status, lent, std::move(response.body));
}

}  // namespace

pns::Task<void> serve_h2(Peer& peer, Dispatch& dispatch, const Config& config) {
    H2Connection connection(peer, dispatch, config);
    co_await connection.run();
}

}  // namespace hub
