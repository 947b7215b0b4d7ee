// Tested by tests/hub_server_test.cpp.

#include "hub/serve_h2.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <vector>

#include "hub/text.hpp"
#include "hub/times.hpp"
#include "pns/h2_session.hpp"
#include "pns/nursery.hpp"

namespace hub {

namespace {

constexpr std::size_t head_bytes_max = 16 * 1024;
constexpr std::size_t body_bytes_max = 512 * 1024;
constexpr std::size_t answer_bytes_max = 8u << 20;  // whole answers are kept until they are read
constexpr std::uint32_t error_cancel = 8;           // RFC 9113 7

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
          rate_(config.requests_per_second_per_connection, now_ms()),
          session_(pns::H2Session::Role::server, limits_for(config), *this),
          children_(peer.executor()),
          wake_(peer.executor()) {}

    pns::Task<void> run();

  private:
    using Clock = Peer::Clock;

    void on_message(std::int32_t stream, const pns::H2Message& message) override;
    void on_lost(std::int32_t stream, const pns::H2Lost& lost) override;
    bool on_request_headers(std::int32_t stream, const pns::H2Message& message) override;

    pns::Task<void> read_loop();
    pns::Task<void> write_loop();
    pns::Task<void> answer(std::int32_t stream, Request request, Routed routed);
    pns::Task<void> stream_out(std::int32_t stream, Response response);
    pns::Task<void> gather(const Request& request, Response& response);
    Request request_of(const pns::H2Message& message) const;
    /// Its head is complete, its body is not.
    struct Receiving {
        Clock::time_point since;
        Request request;
        Routed routed;
    };
    bool refused(std::int32_t stream, const Request& request, const Routed& routed,
                 std::size_t body_bytes);
    void respond(std::int32_t stream, const Request& request, Response response);
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
    boost::asio::basic_waitable_timer<Clock, boost::asio::wait_traits<Clock>, pns::Executor> wake_;
    std::map<std::int32_t, Receiving> receiving_;  // by age as well as by id
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
    peer_.expect_within(config_.header_timeout_ms);
    if (peer_.draining()) say_goaway();
    children_.start(write_loop());
    co_await read_loop();
    ended_ = true;
    wake();
    peer_.on_drain = [] {};
    co_await children_.join();
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
        wake_.expires_at(Clock::time_point::max());
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
    const auto oldest = Clock::now() - std::chrono::milliseconds(config_.body_timeout_ms);
    while (!receiving_.empty() && receiving_.begin()->second.since < oldest) {
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
    request.received_at_ms = now_ms();
    request.tracking_id = choose_tracking_id(request);
    return request;
}

/// Answers what must not reach a handler. Depends on the head and on `body_bytes` only.
bool H2Connection::refused(std::int32_t stream, const Request& request, const Routed& routed,
                           std::size_t body_bytes) {
    const std::size_t bound = std::min(dispatch_.body_bytes_max(request, routed), body_bytes_max);
    if (body_bytes <= bound) return false;
    const auto text = "The request body is larger than " + std::to_string(bound) + " bytes.";
    respond(stream, request, dispatch_.refuse(request, 413, text));
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
    if (refused(stream, request, routed, announced_bytes(request))) return true;
    receiving_.emplace(stream, Receiving{Clock::now(), std::move(request), std::move(routed)});
    set_deadline();
    return true;
}

void H2Connection::on_message(std::int32_t stream, const pns::H2Message& message) {
    auto received = receiving_.extract(stream);
    if (received.empty()) return;  // answered at its head
    auto& [since, request, routed] = received.mapped();
    if (refused(stream, request, routed, message.body.size())) return set_deadline();
    request.received_at_ms = now_ms();
    request.body = std::string(message.body);
    ++working_;
    set_deadline();
    children_.start(answer(stream, std::move(request), std::move(routed)));
}

void H2Connection::on_lost(std::int32_t stream, const pns::H2Lost&) {
    receiving_.erase(stream);
    set_deadline();
}

pns::Task<void> H2Connection::answer(std::int32_t stream, Request request, Routed routed) {
    Response response = co_await dispatch_.answer(request, routed, &rate_);
    if (response.streams) {
        co_await stream_out(stream, std::move(response));
        --working_;
        set_deadline();
        co_return;
    }
    if (response.more_bytes > 0 && request.method != "HEAD") co_await gather(request, response);
    respond(stream, request, std::move(response));
    --working_;
    set_deadline();
    wake();
}

/// Pieces as they come, until the answer ends or nobody is there to read it.
pns::Task<void> H2Connection::stream_out(std::int32_t stream, Response response) {
    constexpr std::size_t unread_bytes_max = 256 * 1024;
    response.headers.emplace_back("date", http_date(now_ms()));
    std::vector<pns::H2Header> lent;
    for (auto& [name, value] : response.headers) {
        name = lower(name);
        lent.push_back(
            {name, value, name == "trackingid" || name == "x-ms-correlation-request-id"});
    }
    session_.submit_response_open(stream, response.status, lent);
    session_.append(stream, response.body, false);
    wake();
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
}

/// Takes in what follows the body: streams are answered whole.
pns::Task<void> H2Connection::gather(const Request& request, Response& response) {
    if (response.more_bytes > answer_bytes_max) {
        response = error(request, 413,
                         "The answer is larger than " + std::to_string(answer_bytes_max) +
                             " bytes: ask for ranges of it, or over HTTP/1.1.");
        co_return;
    }
    while (response.more_bytes > 0) {
        const std::string piece = co_await response.more();
        if (piece.empty()) {
            response = error(request, 503, "The answer could not be read.");
            co_return;
        }
        response.body += piece;
        response.more_bytes -= std::min<std::uint64_t>(response.more_bytes, piece.size());
    }
}

void H2Connection::respond(std::int32_t stream, const Request& request, Response response) {
    auto& headers = response.headers;
    for (auto& [name, value] : headers) name = lower(name);
    if (response.status != 204) {
        const auto bytes = response.body.size() + response.more_bytes;
        headers.emplace_back("content-length", std::to_string(bytes));
    }
    headers.emplace_back("date", http_date(now_ms()));
    std::vector<pns::H2Header> lent;
    for (const auto& [name, value] : headers) {
        const bool unique = name == "trackingid" || name == "x-ms-correlation-request-id" ||
                            name == "location" || name == "content-length";
        lent.push_back({name, value, unique});
    }
    if (request.method == "HEAD" || response.status == 204) response.body.clear();
    session_.submit_response(stream, response.status, lent, std::move(response.body));
}

}  // namespace

pns::Task<void> serve_h2(Peer& peer, Dispatch& dispatch, const Config& config) {
    H2Connection connection(peer, dispatch, config);
    co_await connection.run();
}

}  // namespace hub
