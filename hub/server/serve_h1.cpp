// Tested by tests/hub_server_test.cpp.
//
// One coroutine on the lane serves the connection: wait for a request, read its head, let Dispatch
// judge it, read the body within the route's bound, dispatch, write the answer. A head that is
// refused is answered before its body: a short one is then dropped as it comes, else the connection
// ends. Beast parses; what it is lenient about (bare line feeds, folded lines, several lengths) is
// refused here, as a proxy in front might read it in another way, and the connection is closed,
// because the next request could begin anywhere. A body or an answer that is taken in pieces is
// read or written piece by piece. Every wait has a deadline in Peer.

#include "hub/server/serve_h1.hpp"

#include <algorithm>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstdio>
#include <limits>
#include <utility>

#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "pns/http_date.hpp"
#include "pns/nursery.hpp"

namespace hub {

namespace {

namespace http = boost::beast::http;
using Parser = http::request_parser<http::string_body>;

constexpr std::size_t head_bytes_max = 16 * 1024;
constexpr std::size_t read_bytes = 16 * 1024;
constexpr std::size_t read_bytes_idle = 4 * 1024;    // a head, and what is held while none comes
constexpr std::size_t piece_bytes = 128 * 1024;      // of a body that is taken in pieces
constexpr std::size_t write_bytes = 256 * 1024;      // at a time, of an answer
constexpr std::size_t joined_bytes_max = 16 * 1024;  // of a body that goes out with its head
/// Of a body that nobody wants; an honest client keeps its connection after a refusal.
constexpr std::size_t dropped_bytes_max = 64 * 1024;

std::string_view std_view(boost::beast::string_view text) {
    return {text.data(), text.size()};
}

std::string head_of(const Response& response, bool keep_alive, std::int64_t now_ms) {
    std::string out = "HTTP/1.1 " + std::to_string(response.status) + " ";
    out.append(reason_phrase(response.status)).append("\r\n");
    for (const auto& [name, value] : response.headers) {
        out.append(name).append(": ").append(value).append("\r\n");
    }
    if (response.streams) {
        out.append("Transfer-Encoding: chunked\r\n");
    } else if (response.status != 204) {
        out.append("Content-Length: ")
            .append(std::to_string(response.first_bytes().size() + response.more_bytes))
            .append("\r\n");
    }
    out.append("Date: ").append(pns::http_date(now_ms)).append("\r\n");
    if (!keep_alive) out.append("Connection: close\r\n");
    out.append("\r\n");
    return out;
}

/// One connection being served.
class H1Connection {
  public:
    /// `refusal`: the answer to every request; empty: none is refused as such.
    H1Connection(Peer& peer, Dispatch& dispatch, const Config& config, std::string refusal = {})
        : peer_(peer),
          refusal_(std::move(refusal)),
          dispatch_(dispatch),
          config_(config),
          rate_(config.requests_per_second_per_connection, peer.clock().wall_ms()) {}
    pns::Task<void> run();

  private:
    enum class Step { go_on, stop };
    pns::Task<Step> one_request();
    pns::Task<bool> read_more();
    pns::Task<bool> wait_for_request();
    pns::Task<bool> read_head();
    bool has_bare_line_feed() const;
    pns::Task<bool> read_body(std::size_t bytes_wanted);
    pns::Task<Parsed<std::string>> more();
    pns::Task<void> drop_body();
    bool waits_for_continue() const;
    pns::Task<bool> say_continue();
    pns::Task<Step> answer_early(Response response);
    Response no_room();
    Refusal wrong_with_body() const;
    pns::Task<bool> send_stream(Response response);
    pns::Task<bool> send_chunks(Response& response);
    pns::Task<void> read_ahead(const Response& response);
    pns::Task<bool> send(Response response, bool keep_alive);
    pns::Task<void> refuse(Refusal refusal);
    bool has_begun(bool& dropped);
    void parse();
    std::string wrong_with_head();
    void take_head();

    Peer& peer_;
    const std::string refusal_;
    Dispatch& dispatch_;
    const Config& config_;
    TokenBucket rate_;
    boost::beast::flat_buffer buffer_;
    std::optional<Parser> parser_;
    boost::beast::error_code parse_failure_;
    std::string head_;  // raw bytes of the header section
    Request request_;
    std::size_t body_bytes_max_ = 0;
    bool first_ = true;
    bool waiting_ = false;  // for the first byte of a request
    bool streaming_ = false;
    bool continue_due_ = false;  // the client waits for 100 before it sends the body
};

pns::Task<void> H1Connection::run() {
    peer_.on_drain = [this] {
        if (waiting_) peer_.interrupt();
    };
    for (Step step = Step::go_on; step == Step::go_on;) step = co_await one_request();
    peer_.on_drain = [] {};
    co_await peer_.close();
}

pns::Task<bool> H1Connection::read_more() {
    auto room = buffer_.prepare(waiting_ ? read_bytes_idle : read_bytes);
    auto [failure, size] = co_await peer_.read_some(room);
    buffer_.commit(size);
    co_return !failure && size > 0;
}

pns::Task<bool> H1Connection::wait_for_request() {
    peer_.expect_within(first_ ? config_.header_timeout_ms : config_.idle_timeout_ms);
    bool come = true;
    waiting_ = true;
    if (buffer_.size() == 0 && buffer_.capacity() > read_bytes_idle)
        buffer_ = boost::beast::flat_buffer();
    peer_.at(Place::Stage::waiting);
    bool dropped = false;
    bool begun = has_begun(dropped);
    while (come && !begun && !peer_.draining()) {
        come = co_await read_more();
        begun = has_begun(dropped);
    }
    waiting_ = false;
    first_ = false;
    co_return come&& begun;
}

/// Is a byte of the next request there? One line end before it is left over from the one before and
/// dropped (RFC 9112 2.2), in whatever pieces it comes.
bool H1Connection::has_begun(bool& dropped) {
    const auto bytes = [this] {
        return std::string_view(static_cast<const char*>(buffer_.data().data()), buffer_.size());
    };
    if (!dropped && bytes().starts_with("\r\n")) {
        buffer_.consume(2);
        dropped = true;
    }
    return !bytes().empty() && (dropped || bytes() != "\r");
}

void H1Connection::parse() {
    parse_failure_ = {};
    const bool in_head = !parser_->is_header_done();
    const auto bytes = buffer_.data();
    const std::size_t taken = parser_->put(bytes, parse_failure_);
    if (in_head) head_.append(static_cast<const char*>(bytes.data()), taken);
    buffer_.consume(taken);
    if (parse_failure_ == http::error::need_more) parse_failure_ = {};
}

/// Lines of a head end with CRLF (RFC 9112 2.2). The parser would wait for one in a head that its
/// sender thinks is complete.
bool H1Connection::has_bare_line_feed() const {
    const std::string_view bytes(static_cast<const char*>(buffer_.data().data()), buffer_.size());
    std::size_t at = bytes.find('\n');
    while (at != std::string_view::npos) {
        const std::string_view before = at > 0 ? bytes.substr(0, at) : head_;
        if (!before.ends_with('\r')) return true;
        at = bytes.find('\n', at + 1);
    }
    return false;
}

pns::Task<bool> H1Connection::read_head() {
    peer_.expect_within(config_.header_timeout_ms);
    while (!parser_->is_header_done() && !parse_failure_) {
        const auto before = buffer_.size();
        if (before > 0) parse();
        if (parser_->is_header_done() || parse_failure_) break;
        if (head_.size() + buffer_.size() > head_bytes_max) {
            parse_failure_ = http::error::header_limit;
            break;
        }
        if (buffer_.size() > 0 && buffer_.size() < before) continue;
        if (has_bare_line_feed()) {
            parse_failure_ = http::error::bad_line_ending;
            break;
        }
        const bool come = co_await read_more();
        if (!come) co_return false;
    }
    co_return true;
}

/// Empty: the head may be acted on.
std::string H1Connection::wrong_with_head() {
    const auto& message = parser_->get();
    if (head_.find("\n ") != std::string::npos || head_.find("\n\t") != std::string::npos) {
        return "folded header lines are not accepted";
    }
    if (message.count(http::field::host) > 1 ||
        (message.version() == 11 && request_.host.empty())) {
        return "exactly one Host is needed";
    }
    const auto codings = message.count(http::field::transfer_encoding);
    if (message.count(http::field::content_length) + codings > 1) {
        return "more than one of Content-Length and Transfer-Encoding";
    }
    const auto length = std_view(message[http::field::content_length]);
    if (length.find_first_not_of("0123456789") != std::string_view::npos) {
        return "Content-Length must be one number";
    }
    if (codings == 1 && (message.version() != 11 ||
                         lower(std_view(message[http::field::transfer_encoding])) != "chunked")) {
        return "the only Transfer-Encoding accepted is chunked";
    }
    return {};
}

/// Header and target of the parser become the request.
void H1Connection::take_head() {
    const auto& message = parser_->get();
    request_.method = std::string(std_view(message.method_string()));
    request_.target = std::string(std_view(message.target()));
    for (const auto& field : message) {
        request_.headers.emplace_back(lower(std_view(field.name_string())),
                                      std::string(std_view(field.value())));
    }
    request_.host = std::string(request_.header("host"));
    // Absolute form (RFC 9112 3.2.2): its authority beats Host.
    const std::string scheme = lower(std::string_view(request_.target).substr(0, 8));
    if (scheme.starts_with("http://") || scheme == "https://") {
        const std::size_t start = scheme == "https://" ? 8 : 7;
        const auto slash =
            std::min(request_.target.find_first_of("/?", start), request_.target.size());
        request_.host = request_.target.substr(start, slash - start);
        request_.target.erase(0, slash);
        if (!request_.target.starts_with('/')) request_.target.insert(0, 1, '/');
    }
    request_.tracking_id = choose_tracking_id(request_);
}

/// Until the body is complete or wrong, or `bytes_wanted` of it are there. False: the peer is gone.
pns::Task<bool> H1Connection::read_body(std::size_t bytes_wanted) {
    while (!parse_failure_ && !parser_->is_done() && parser_->get().body().size() < bytes_wanted) {
        const auto before = buffer_.size();
        if (before > 0) parse();
        if (parse_failure_) co_return true;
        if (parser_->is_done()) break;
        if (buffer_.size() < before) continue;
        if (buffer_.size() > head_bytes_max) {  // a chunk head or trailer without end
            parse_failure_ = http::error::header_limit;
            co_return true;
        }
        const bool come = co_await read_more();
        if (!come) co_return false;
    }
    co_return true;
}

Refusal H1Connection::wrong_with_body() const {
    if (parse_failure_ == http::error::body_limit) return body_too_large(body_bytes_max_);
    return bad_request("Malformed body: " + parse_failure_.message() + ".");
}

/// The whole body shares one deadline, however many pieces it comes in.
pns::Task<Parsed<std::string>> H1Connection::more() {
    const bool asked = co_await say_continue();
    if (!asked) co_return body_ended_early();
    const bool there = co_await read_body(piece_bytes);
    if (!there) co_return body_ended_early();
    if (parse_failure_) co_return wrong_with_body();
    if (parser_->is_done()) peer_.expect_nothing();
    std::string piece = std::exchange(parser_->get().body(), std::string());
    co_return piece;
}

/// What nobody wants.
pns::Task<void> H1Connection::drop_body() {
    bool there = true;
    while (there && !parser_->is_done() && !parse_failure_) {
        parser_->get().body().clear();
        there = co_await read_body(1);
    }
}

/// The client waits until it is told that the head was good (RFC 9110 10.1.1).
bool H1Connection::waits_for_continue() const {
    return lower(request_.header("expect")) == "100-continue" && !parser_->is_done() &&
           buffer_.size() == 0;
}

pns::Task<bool> H1Connection::say_continue() {
    if (!std::exchange(continue_due_, false)) co_return true;
    const std::string_view go = "HTTP/1.1 100 Continue\r\n\r\n";
    const auto failure = co_await peer_.write(boost::asio::buffer(go));
    co_return !failure;
}

/// The answer to a request whose body is not wanted.
pns::Task<H1Connection::Step> H1Connection::answer_early(Response response) {
    parser_->eager(true);
    const bool done = parser_->is_done();
    const auto announced = parser_->content_length();
    const bool is_short = done || (announced && *announced <= dropped_bytes_max);
    // Who waits for 100 may send the body or the next request now, and does not say which.
    const bool keep_alive = is_short && !parse_failure_ && parser_->keep_alive() &&
                            !peer_.draining() && !waits_for_continue();
    const bool sent = co_await send(std::move(response), keep_alive);
    if (!sent || !keep_alive) co_return Step::stop;
    peer_.expect_within(config_.body_timeout_ms);
    peer_.at(Place::Stage::waiting);
    co_await drop_body();
    co_return parser_->is_done() && !parse_failure_ ? Step::go_on : Step::stop;
}

Response H1Connection::no_room() {
    return dispatch_.refuse_for_now(request_,
                                    "Too many request bodies are being received. Try again.");
}

pns::Task<bool> H1Connection::send(Response response, bool keep_alive) {
    ByteShare unread(dispatch_.answers());
    unread.hold(response.body.size());
    std::string head = head_of(response, keep_alive, peer_.clock().wall_ms());
    const bool has_body = request_.method != "HEAD" && response.status != 204 && !response.streams;
    std::string_view body = has_body ? response.first_bytes() : std::string_view();
    if (body.size() <= joined_bytes_max) {
        head.append(body);
        body = {};
    }
    peer_.expect_nothing();
    auto failure = co_await peer_.write(boost::asio::buffer(head));
    while (!body.empty() && !failure) {
        const auto piece = body.substr(0, write_bytes);
        failure = co_await peer_.write(boost::asio::buffer(piece));
        body.remove_prefix(piece.size());
    }
    if (response.streams && request_.method != "HEAD" && !failure)
        co_return co_await send_stream(std::move(response));
    if (request_.method == "HEAD") response.more_bytes = 0;
    for (std::uint64_t left = response.more_bytes; left > 0 && !failure;) {
        const std::string piece = co_await response.more();
        if (piece.empty()) co_return false;
        failure = co_await peer_.write(boost::asio::buffer(piece));
        left -= std::min<std::uint64_t>(left, piece.size());
    }
    co_return !failure;
}

pns::Task<bool> H1Connection::send_stream(Response response) {
    pns::Nursery reader(peer_.executor());
    streaming_ = true;
    reader.start(read_ahead(response));
    const bool sent = co_await send_chunks(response);
    streaming_ = false;
    peer_.interrupt();
    co_await reader.join();
    co_return sent;
}

/// What a client sends while it is answered waits in the buffer; that it is gone is told.
pns::Task<void> H1Connection::read_ahead(const Response& response) {
    while (streaming_ && buffer_.size() < head_bytes_max) {
        const bool come = co_await read_more();
        if (!come && streaming_ && response.on_reader_gone) response.on_reader_gone();
        if (!come) co_return;
    }
}

/// Pieces as chunks (RFC 9112 7.1) until the answer ends or nobody is there to read it.
pns::Task<bool> H1Connection::send_chunks(Response& response) {
    std::string piece = std::move(response.body);
    for (bool first = true;; first = false) {
        if (!first || piece.empty()) piece = co_await response.more();
        char size[24];
        std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
        const std::string chunk = size + piece + "\r\n";
        const auto failure = co_await peer_.write(boost::asio::buffer(chunk));
        if (failure) co_return false;
        if (piece.empty()) co_return true;
    }
}

pns::Task<void> H1Connection::refuse(Refusal refusal) {
    Response response = dispatch_.refuse(request_, refusal.status, refusal.message);
    co_await send(std::move(response), false);
}

pns::Task<H1Connection::Step> H1Connection::one_request() {
    request_ = Request();
    request_.tls = peer_.tls();
    request_.door = peer_.door;
    request_.client = peer_.address();
    parser_.emplace();
    parser_->header_limit(head_bytes_max);
    parser_->body_limit(boost::none);  // until the route is known
    parse_failure_ = {};
    head_.clear();
    const bool come = co_await wait_for_request();
    if (!come) co_return Step::stop;
    const bool headed = co_await read_head();
    if (!headed) co_return Step::stop;

    peer_.at(Place::Stage::busy);
    request_.received_at_ms = peer_.clock().wall_ms();
    if (parse_failure_) {
        request_.tracking_id = choose_tracking_id(request_);
        const bool large = parse_failure_ == http::error::header_limit;
        Refusal why = bad_request("Malformed request: " + parse_failure_.message() + ".");
        if (large) why = {431, "The request head is larger than 16384 bytes."};
        co_await refuse(std::move(why));
        co_return Step::stop;
    }
    take_head();
    if (!refusal_.empty()) {
        Refusal why = bad_request(refusal_);
        co_await refuse(std::move(why));
        co_return Step::stop;
    }
    std::string wrong = wrong_with_head();
    if (wrong.empty() && !parse_target(request_)) wrong = "bad request target or Host";
    if (!wrong.empty()) {
        Refusal why = bad_request("Malformed request: " + wrong + ".");
        co_await refuse(std::move(why));
        co_return Step::stop;
    }

    auto judged = dispatch_.admit(request_, rate_);
    if (auto* refused = std::get_if<Response>(&judged))
        co_return co_await answer_early(std::move(*refused));
    const Admitted admitted = std::get<Admitted>(std::move(judged));
    body_bytes_max_ = admitted.body_bytes_max;
    const auto announced = parser_->content_length();
    if (announced && *announced > body_bytes_max_) {
        Refusal large = body_too_large(body_bytes_max_);
        co_await refuse(std::move(large));
        co_return Step::stop;
    }
    parser_->body_limit(body_bytes_max_);
    parser_->eager(true);
    continue_due_ = waits_for_continue();
    ByteShare held(dispatch_.bodies());
    const std::size_t held_max = dispatch_.bodies_bytes_max();
    if (admitted.takes_pieces()) {
        if (!held.try_hold(piece_bytes, held_max)) co_return co_await answer_early(no_room());
        peer_.expect_within(config_.body_timeout_ms);
        request_.more = [this] { return more(); };
    } else {
        const bool asked = co_await say_continue();
        if (!asked) co_return Step::stop;
        peer_.expect_within(config_.body_timeout_ms);
        for (std::size_t size = 0; !parser_->is_done() && !parse_failure_;) {
            const bool there = co_await read_body(size + read_bytes);
            if (!there) co_return Step::stop;
            size = parser_->get().body().size();
            if (!held.try_hold(size, held_max)) {
                co_await send(no_room(), false);
                co_return Step::stop;
            }
        }
        if (parse_failure_) {
            Refusal why = wrong_with_body();
            co_await refuse(std::move(why));
            co_return Step::stop;
        }
        request_.body = std::move(parser_->get().body());
        request_.received_at_ms = peer_.clock().wall_ms();
        peer_.expect_nothing();
    }

    Response response = co_await dispatch_.answer(request_, admitted);
    if (!parser_->is_done()) {
        if (response.status >= 400 || continue_due_)
            co_return co_await answer_early(std::move(response));
        co_await drop_body();
    }
    const bool keep_alive = parser_->is_done() && parser_->keep_alive() && !peer_.draining();
    const bool sent = co_await send(std::move(response), keep_alive);
    co_return sent&& keep_alive ? Step::go_on : Step::stop;
}

}  // namespace

pns::Task<void> serve_h1(Peer& peer, Dispatch& dispatch, const Config& config) {
    H1Connection connection(peer, dispatch, config);
    co_await connection.run();
}

pns::Task<void> refuse_plain_h1(Peer& peer, Dispatch& dispatch, const Config& config) {
    H1Connection connection(peer, dispatch, config,
                            "This port speaks HTTPS: the address begins with https://.");
    co_await connection.run();
}

}  // namespace hub
