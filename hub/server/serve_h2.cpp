// Tested by tests/hub_server_test.cpp.
//
// Everything runs on the lane of the connection: one coroutine reads and feeds the session, one
// writes what the session has to say, and each stream that reached a handler has a coroutine of
// its own. Events of the session run inside feed() and only note things, start such a coroutine or
// answer at once. A head that Dispatch refuses is answered before its body. A handler that wants
// the next piece of a body, or waits until a piece is read, sleeps in wait_for() and is woken by
// stir(), or by look() when its time is over. All times are Peer::now_ms(). The connection outlives
// its handlers: run() joins them before it returns, and streams that were reset still count against
// streams_max until their handler has ended.
//
// What a peer can make grow is bounded: bodies and unread answers (per connection and in all),
// frames that wait to be written (nothing is read meanwhile), and how often it may send frames that
// carry nothing or end streams early (then the connection ends). An answer that does not move is
// reset.

#include "hub/server/serve_h2.hpp"

#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <charconv>
#include <exception>
#include <iterator>
#include <map>
#include <set>
#include <vector>

#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "pns/h2_session.hpp"
#include "pns/http_date.hpp"
#include "pns/nursery.hpp"

namespace hub {

namespace {

constexpr std::size_t head_bytes_max = 16 * 1024;
constexpr std::size_t read_bytes = 16 * 1024, read_bytes_idle = 4 * 1024;
constexpr std::size_t body_bytes_max = 512 * 1024;  // of one that is not taken in pieces
constexpr std::uint32_t error_internal = 2, error_cancel = 8, error_refused = 7,
                        error_calm = 11;  // RFC 9113 7

/// All bodies that one connection is sending: as many large ones as 100 streams may reasonably
/// have.
constexpr std::size_t bodies_bytes_max = 16 << 20;
/// All answers that one connection has not read: beyond it further requests wait.
constexpr std::size_t answers_bytes_max = 8 << 20;
/// An answer that has not moved this far, or to its end, in body_timeout_ms is reset. One
/// connection of a slow phone may read a hundred at a time.
constexpr std::size_t progress_bytes = 16 * 1024;
/// Frames that wait to be written, besides the heads of answers: beyond it nothing is read.
constexpr std::size_t frames_waiting_max = 256;
/// Frames that carry nothing: at once, and then in a second. Each request and what is read of
/// answers earn some more: WINDOW_UPDATE, PING and PRIORITY go with them.
constexpr std::int64_t frames_at_once = 5'000, frames_per_second = 500;
constexpr std::int64_t frames_per_request = 8, frames_earned_max = 100'000;
constexpr std::uint64_t bytes_per_frame = 4 * 1024;
/// Streams that either side ends early. A client that gives up many requests is no attacker; each
/// costs a fraction of a request, so a flood is one of thousands a second.
constexpr std::int64_t resets_at_once = 2'000, resets_per_second = 200;
constexpr std::int64_t goodbye_ms = 1'000;
constexpr std::size_t upload_bytes = 128 * 1024;  // two windows of a body taken in pieces
constexpr std::size_t spare_bytes_max =
    16 * 1024;  // of the writer, while there is nothing to write

/// So many at once, and so many in each second after.
class Allowance {
  public:
    Allowance(std::int64_t at_once, std::int64_t per_second, std::int64_t now_ms)
        : most_(at_once), per_second_(per_second), left_(at_once), at_ms_(now_ms) {}
    void earn(std::int64_t more) { earned_ = std::min(earned_ + more, frames_earned_max); }
    bool spend(std::int64_t count, std::int64_t now_ms) {
        const std::int64_t for_free = std::min(count, earned_);
        earned_ -= for_free;
        count -= for_free;
        const std::int64_t come = (now_ms - at_ms_) * per_second_ / 1'000;
        if (come > 0) {
            left_ = std::min(left_ + come, most_);
            at_ms_ = now_ms;
        }
        left_ -= count;
        return left_ >= 0;
    }

  private:
    std::int64_t most_, per_second_, left_, at_ms_;
    std::int64_t earned_ = 0;
};

pns::H2Limits limits_for(const Config& config) {
    pns::H2Limits limits;
    limits.header_list_bytes_max = head_bytes_max;
    limits.headers_max = 100;
    limits.body_bytes_max = body_bytes_max;
    limits.streams_max_offered = static_cast<std::uint32_t>(config.streams_max);
    limits.header_block_bytes_max = 4 * head_bytes_max;
    limits.early_bodies_stopped = true;
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
          wake_(peer.executor(), Latch::time_point::max()),
          written_(peer.executor(), Latch::time_point::max()),
          bodies_(dispatch.bodies()),
          answers_(dispatch.answers()),
          frames_(frames_at_once, frames_per_second, peer.now_ms()),
          resets_(resets_at_once, resets_per_second, peer.now_ms()) {}

    pns::Task<void> run();

  private:
    using Latch = pns::SteadyTimer;  // never rings by itself

    void on_message(std::int32_t stream, const pns::H2Message& message) override;
    void on_lost(std::int32_t stream, const pns::H2Lost& lost) override;
    bool on_request_headers(std::int32_t stream, const pns::H2Message& message) override;
    void on_ready(std::int32_t stream) override { stir(stream); }

    pns::Task<void> read_loop();
    pns::Task<void> write_loop();
    void start(pns::Task<void> child) { children_.start(contained(std::move(child))); }
    pns::Task<void> contained(pns::Task<void> child);
    /// Its head has passed, its body is not complete.
    struct Receiving {
        std::int64_t since_ms;
        Request request;
        Admitted admitted;
    };
    /// A body that is taken in pieces.
    struct Upload {
        std::int32_t stream;
        std::size_t bytes_max;
        std::int64_t end_by_ms;
        std::size_t bytes = 0;
    };
    pns::Task<void> answer(std::int32_t stream, Request request, Admitted admitted, ByteShare body);
    pns::Task<void> answer_upload(Upload upload, Request request, Admitted admitted,
                                  ByteShare body);
    pns::Task<bool> room_for_answer(std::int32_t stream);
    pns::Task<void> give(std::int32_t stream, const Request& request, Response response);
    pns::Task<void> stream_out(std::int32_t stream, Response response);
    pns::Task<void> send_pieces(std::int32_t stream, Response response);
    pns::Task<bool> drained(std::int32_t stream);
    pns::Task<Parsed<std::string>> more(Upload& upload);
    pns::Task<void> wait_for(std::int32_t stream, std::int64_t until_ms);
    std::int64_t look(std::int64_t now_ms);
    void stir(std::int32_t stream);
    void give_up(std::int32_t stream, std::uint32_t error_code);
    Request request_of(const pns::H2Message& message) const;
    void respond(std::int32_t stream, const Request& request, Response response);
    static void tell_gone(const Response& response) {
        if (response.on_reader_gone) response.on_reader_gone();
    }
    void refuse(std::int32_t stream, const Request& request, const Refusal& refusal);
    bool take_head(std::int32_t stream, Request& request);
    Response no_room(const Request& request);
    void reset_slow_streams();
    void bound_bodies();
    bool behaves();
    void note_drained();
    std::int64_t look_for_stalled(std::int64_t now_ms);
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
    std::set<std::int32_t> paced_;  // of them, those for room for their answer
    Latch written_;                 // the reader waits for the writer here
    ByteShare bodies_, answers_;
    Allowance frames_, resets_;
    std::int64_t stalled_look_ms_ = pns::never_ms;
    std::size_t working_ = 0;
    bool ended_ = false;
    bool cut_off_ = false;  // the peer has gone too far
    bool went_away_ = false;
};

pns::Task<void> H2Connection::run() {
    peer_.on_drain = [this] { say_goaway(); };
    peer_.on_late = [this] {
        const bool idle = working_ == 0 && receiving_.empty() && !went_away_;
        if (!idle || cut_off_) return peer_.cut();
        say_goaway();
        peer_.expect_within(goodbye_ms);
    };
    peer_.on_look = [this](std::int64_t now_ms) { return look(now_ms); };
    peer_.expect_within(config_.header_timeout_ms);
    peer_.on_give_up = [this] { children_.cancel(); };
    if (peer_.draining()) say_goaway();
    std::exception_ptr failure;
    try {
        start(write_loop());
        co_await read_loop();
    } catch (...) {
        failure = std::current_exception();
        peer_.cut();
    }
    ended_ = true;
    wake();
    for (const auto& [stream, waiting] : waiting_) waiting.latch->cancel();
    for (const auto& [stream, response] : streaming_) tell_gone(*response);
    peer_.on_drain = [] {};
    peer_.on_look = nullptr;
    co_await children_.join();
    peer_.on_give_up = nullptr;
    session_.abandon();
    if (failure) std::rethrow_exception(failure);
    co_await peer_.close();
}

/// What fails in a child, such as for want of memory, ends the connection and nothing else.
pns::Task<void> H2Connection::contained(pns::Task<void> child) {
    try {
        co_await std::move(child);
    } catch (...) {
        peer_.cut();
        throw;
    }
}

pns::Task<void> H2Connection::read_loop() {
    std::vector<std::uint8_t> bytes(read_bytes_idle);
    while (session_.alive() && peer_.open()) {
        auto [failure, size] = co_await peer_.read_some(boost::asio::buffer(bytes));
        if (failure) {
            session_.abandon();
            break;
        }
        const bool sound = session_.feed(std::span(bytes.data(), size));
        reset_slow_streams();
        bound_bodies();
        const bool well = behaves();
        wake();
        if (!sound || !well) break;
        if (size == bytes.size() && size < read_bytes) {
            bytes.resize(read_bytes);
        } else if (bytes.size() > read_bytes_idle && working_ == 0 && receiving_.empty()) {
            bytes = std::vector<std::uint8_t>(read_bytes_idle);
        }
        // Heads of answers wait for the socket only, never for a window.
        while (session_.frames_waiting() > frames_waiting_max + config_.streams_max && !ended_ &&
               session_.alive() && peer_.open())
            co_await written_.async_wait(pns::as_result);
    }
}

pns::Task<void> H2Connection::write_loop() {
    std::vector<std::uint8_t> bytes;
    while (peer_.open()) {
        bytes.clear();
        if (session_.drain(bytes)) {
            const auto failure = co_await peer_.write(boost::asio::buffer(bytes));
            if (failure) peer_.cut();
            written_.cancel();
            note_drained();
            continue;
        }
        // What waited may have been for streams that are gone: nothing to write, and room again.
        written_.cancel();
        if (ended_) break;
        if (!session_.alive()) peer_.interrupt();  // nothing more to read
        if (stalled_look_ms_ == pns::never_ms) {
            stalled_look_ms_ = peer_.now_ms();
            peer_.look_by(look_for_stalled(stalled_look_ms_));
        }
        if (bytes.capacity() > spare_bytes_max) bytes = {};
        co_await wake_.async_wait(pns::as_result);
    }
    written_.cancel();
}

/// The next time to look, or pns::never_ms.
std::int64_t H2Connection::look_for_stalled(std::int64_t now_ms) {
    const std::int64_t limit_ms = config_.body_timeout_ms;
    const bool waiting = session_.reset_stalled(now_ms, limit_ms, progress_bytes, error_cancel);
    stalled_look_ms_ = waiting ? now_ms + std::max<std::int64_t>(limit_ms / 4, 1) : pns::never_ms;
    return stalled_look_ms_;
}

void H2Connection::note_drained() {
    answers_.hold(session_.answers_bytes());
    if (session_.answers_bytes() > answers_bytes_max) return;
    for (const std::int32_t stream : paced_) stir(stream);
}

/// Bodies count while they come; the streams that came last are answered 503 when there are too
/// many.
void H2Connection::bound_bodies() {
    while (!receiving_.empty() &&
           (session_.bodies_bytes() > bodies_bytes_max ||
            !bodies_.try_hold(session_.bodies_bytes(), dispatch_.bodies_bytes_max()))) {
        const auto last = receiving_.extract(std::prev(receiving_.end()));
        const Request& request = last.mapped().request;
        respond(last.key(), request,
                dispatch_.refuse_for_now(request,
                                         "Too many request bodies are being received. Try again."));
    }
    bodies_.hold(session_.bodies_bytes());
}

/// False: the peer sends what only an attacker would, and is told so.
bool H2Connection::behaves() {
    const pns::H2Chores did = session_.take_chores();
    const auto now_ms = peer_.now_ms();
    frames_.earn(static_cast<std::int64_t>(did.heads) * frames_per_request +
                 static_cast<std::int64_t>(did.drained / bytes_per_frame));
    const bool few_frames = frames_.spend(static_cast<std::int64_t>(did.frames), now_ms);
    const bool few_resets = resets_.spend(static_cast<std::int64_t>(did.resets), now_ms);
    if (few_frames && few_resets && !did.oversize) return true;
    cut_off_ = went_away_ = true;
    session_.submit_goaway(error_calm, did.oversize  ? "a header block is far too large"
                                       : !few_resets ? "too many streams are reset"
                                                     : "too many frames carry nothing");
    peer_.expect_within(goodbye_ms);
    return false;
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
    const bool busy = working_ > 0 || !receiving_.empty();
    peer_.at(busy ? Place::Stage::busy : Place::Stage::waiting);
    if (cut_off_) return;
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

void H2Connection::refuse(std::int32_t stream, const Request& request, const Refusal& refusal) {
    respond(stream, request, dispatch_.refuse(request, refusal.status, refusal.message));
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
    const bool taken = take_head(stream, request);
    if (!taken) set_deadline();
    return true;
}

/// False: answered.
bool H2Connection::take_head(std::int32_t stream, Request& request) {
    if (!parse_target(request) || request.host.empty()) {
        refuse(stream, request, bad_request("Malformed request target or host."));
        return false;
    }
    auto judged = dispatch_.admit(request, rate_);
    if (auto* refusal = std::get_if<Response>(&judged)) {
        respond(stream, request, std::move(*refusal));
        return false;
    }
    auto admitted = std::get<Admitted>(std::move(judged));
    const std::size_t bytes_max = admitted.body_bytes_max;
    if (announced_bytes(request) > bytes_max) {
        refuse(stream, request, body_too_large(bytes_max));
        return false;
    }
    if (admitted.takes_pieces()) {
        ByteShare held(dispatch_.bodies());
        if (!held.try_hold(upload_bytes, dispatch_.bodies_bytes_max())) {
            respond(stream, request, no_room(request));
            return false;
        }
        session_.hand_out(stream);
        ++working_;
        const auto end_by_ms = peer_.now_ms() + config_.body_timeout_ms;
        start(answer_upload(Upload{stream, bytes_max, end_by_ms}, std::move(request),
                            std::move(admitted), std::move(held)));
    } else {
        receiving_.emplace(stream,
                           Receiving{peer_.now_ms(), std::move(request), std::move(admitted)});
    }
    set_deadline();
    return true;
}

Response H2Connection::no_room(const Request& request) {
    return dispatch_.refuse_for_now(request,
                                    "Too many request bodies are being received. Try again.");
}

void H2Connection::on_message(std::int32_t stream, const pns::H2Message& message) {
    auto received = receiving_.extract(stream);
    if (received.empty()) return;  // answered at its head
    auto& [since_ms, request, admitted] = received.mapped();
    if (message.body.size() > admitted.body_bytes_max) {
        refuse(stream, request, body_too_large(admitted.body_bytes_max));
        return set_deadline();
    }
    request.received_at_ms = peer_.clock().wall_ms();
    request.body = std::string(message.body);
    ByteShare held(dispatch_.bodies());
    held.hold(request.body.size());
    ++working_;
    set_deadline();
    start(answer(stream, std::move(request), std::move(admitted), std::move(held)));
}

void H2Connection::on_lost(std::int32_t stream, const pns::H2Lost&) {
    receiving_.erase(stream);
    paced_.erase(stream);
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
    if (stalled_look_ms_ <= now_ms) {
        look_for_stalled(now_ms);
        wake();
    }
    std::int64_t next_ms = stalled_look_ms_;
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

pns::Task<void> H2Connection::answer_upload(Upload upload, Request request, Admitted admitted,
                                            ByteShare body) {
    request.more = [this, &upload] { return more(upload); };
    co_await answer(upload.stream, std::move(request), std::move(admitted), std::move(body));
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

/// `body` is what the request holds of the budget of bodies, until its end.
pns::Task<void> H2Connection::answer(std::int32_t stream, Request request, Admitted admitted,
                                     ByteShare) {
    // Cancelled, the handler's present wait ends with an error, and what comes after goes on.
    co_await boost::asio::this_coro::throw_if_cancelled(false);
    const bool wanted = co_await room_for_answer(stream);
    if (wanted) {
        Response response = co_await dispatch_.answer(request, admitted);
        const std::size_t size = response.body.size();
        const std::size_t unread = session_.answers_bytes();
        if (unread > 0 && unread + size > answers_bytes_max && Dispatch::may_wait(request, size))
            response = dispatch_.refuse_for_now(
                request, "Too many answers of this connection have not been read. Try again.");
        co_await give(stream, request, std::move(response));
    }
    --working_;
    set_deadline();
    wake();
}

/// Waits while too many answers of this connection have not been read. False: the stream is gone,
/// or that took too long and it is reset: its handler has not been called.
pns::Task<bool> H2Connection::room_for_answer(std::int32_t stream) {
    if (session_.answers_bytes() <= answers_bytes_max) co_return true;
    const auto end_by_ms = peer_.now_ms() + config_.body_timeout_ms;
    paced_.insert(stream);
    while (session_.answers_bytes() > answers_bytes_max && paced_.contains(stream) && !ended_ &&
           peer_.now_ms() < end_by_ms)
        co_await wait_for(stream, end_by_ms);
    const bool there = paced_.erase(stream) > 0 && !ended_;
    if (there && session_.answers_bytes() > answers_bytes_max) {
        give_up(stream, error_refused);
        co_return false;
    }
    co_return there;
}

pns::Task<void> H2Connection::give(std::int32_t stream, const Request& request, Response response) {
    if (response.streams && request.method != "HEAD") {
        co_await stream_out(stream, std::move(response));
    } else if (response.more_bytes > 0 && request.method != "HEAD") {
        co_await send_pieces(stream, std::move(response));
    } else {
        respond(stream, request, std::move(response));
    }
}

namespace {
/// As HTTP/2 has them; they live as long as `response` does.
std::vector<pns::H2Header> headers_of(Response& response, std::int64_t now_ms) {
    auto& headers = response.headers;
    for (auto& [name, value] : headers) name = lower(name);
    if (response.status != 204 && !response.streams) {
        const auto bytes = response.first_bytes().size() + response.more_bytes;
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
    if (request.method == "HEAD" || response.status == 204) {
        response.body.clear();
        response.shared_body.reset();
    }
    if (response.shared_body) {
        session_.submit_response_shared(stream, response.status, lent,
                                        std::move(response.shared_body));
    } else {
        session_.submit_response(stream, response.status, lent, std::move(response.body));
    }
    answers_.hold(session_.answers_bytes());
}

}  // namespace

pns::Task<void> serve_h2(Peer& peer, Dispatch& dispatch, const Config& config) {
    H2Connection connection(peer, dispatch, config);
    co_await connection.run();
}

}  // namespace hub
