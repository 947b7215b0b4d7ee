// Tested by tests/pns_sim_test.cpp, tests/pns_sim_faults_test.cpp.
//
// One coroutine reads, one writes, and an alarm gives delayed answers their time, all on the loop
// of the connection. A request is answered by the provider at once and its reply waits in a list
// by time. h2_faults.cpp spoils replies and connections, h2_watch.cpp counts what the peer does. A
// connection that ends drops what it still owed.
#include <algorithm>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>

#include "pns/clock.hpp"
#include "pns/sim/h2_serving.hpp"

namespace pns::sim {

namespace {

constexpr std::size_t write_bytes_max = 128 * 1024;
constexpr std::uint32_t internal_error = 2;

}  // namespace

H2Serving::H2Serving(Loop& loop, TlsStream& stream, const Arrival& arrival)
    : loop_(loop),
      stream_(stream),
      fault_(arrival.fault),
      habits_(loop.provider.habits()),
      alarm_(
          loop.io.get_executor(), [this] { return tick(); }, system_clock()),
      nursery_(loop.io.get_executor()),
      wake_(loop.io.get_executor(), SteadyTimer::time_point::max()),
      deaf_wait_(loop.io.get_executor(), SteadyTimer::time_point::max()),
      session_(H2Session::Role::server, limits(habits_), *this),
      scan_(24) {
    const SimOptions& options = loop.options;
    if (options.streams_max != 0) habits_.streams_max = options.streams_max;
    if (options.idle_close_ms != 0) habits_.idle_ms = options.idle_close_ms;
    if (options.age_max_ms >= 0) habits_.age_ms = options.age_max_ms;
    if (!options.starts_with_one_stream || options.fast) habits_.opens_with_one_stream = false;
    visit_.connection = arrival.connection;
    visit_.peer = arrival.peer;
    visit_.streams_max = habits_.opens_with_one_stream ? 1 : habits_.streams_max;
    offers_.push_back(visit_.streams_max);
    offered_ = visit_.streams_max;
    loop_.connections.insert(this);
    if (fault_ && fault_->row) strike_connection(*fault_);
}

void H2Serving::record_if_watched(const Request& request) {
    if (request.path.find(loop_.options.watch) == std::string_view::npos) return;
    Entry entry;
    entry.arrival_us = system_clock().wall_us();
    entry.status = 200;
    entry.accepted = true;
    Journal::Told told;
    told.handle = request.path.substr(request.path.rfind('/') + 1);
    told.id = request.header("apns-id");
    told.body = request.body;
    loop_.journal.record(std::move(entry), told);
}

H2Serving::~H2Serving() {
    loop_.connections.erase(this);
}

H2Limits H2Serving::limits(const Habits& habits) {
    H2Limits out;
    out.messages_checked = !habits.takes_any_scheme;
    out.streams_max_offered = streams_unbounded;
    out.body_bytes_max = request_body_bytes_max;
    out.connection_window_bytes = 4 << 20;
    return out;
}

std::uint32_t H2Serving::streams_max() const {
    return habits_.streams_max;
}

void H2Serving::happened(std::string what) {
    loop_.journal.happened(visit_.connection, std::move(what));
}

Task<void> H2Serving::run() {
    nursery_.start(alarm_.run());
    nursery_.start(write_loop());
    alarm_.wake();
    co_await read_loop();
    close();
    co_await nursery_.join();
    session_.abandon();
}

void H2Serving::on_event(const Event& event) {
    switch (event.kind) {
        case Event::Kind::goaway:
            go_away(event.error_code,
                    event.reason.empty() ? std::string() : R"({"reason":")" + event.reason + "\"}");
            break;
        case Event::Kind::settings:
            offer(event.streams_max);
            break;
        case Event::Kind::ping:
            pings_.push_back(false);
            session_.submit_ping();
            break;
        case Event::Kind::reset:
            reset_socket(stream_.next_layer());
            close();
            break;
        case Event::Kind::close:
            close();
            break;
    }
    wake_writer();
}

Task<void> H2Serving::read_loop() {
    while (!closed_) {
        if (deaf_) {
            co_await deaf_wait_.async_wait(as_result);
            continue;
        }
        const auto [ec, size] = co_await stream_.async_read_some(asio::buffer(in_), as_result);
        if (ec || closed_) {
            if (!closed_) happened("peer closed: " + ec.message());
            break;
        }
        if (deaf_) continue;
        used_ms_ = system_clock().steady_ms();
        const auto bytes = std::span(in_).first(size);
        scan_.feed(bytes, [this](const FrameHead& head) { saw(head); });
        const bool good = session_.feed(bytes);
        take_acks(std::numeric_limits<std::int32_t>::max());
        if (mute_ && given_up_) close();
        wake_writer();
        if (!good) {  // the writer sends the GOAWAY, then finds the session dead
            happened("protocol error of the peer");
            broken_ = true;
            break;
        }
    }
    if (!broken_) co_return;
    SteadyTimer last_words(loop_.io.get_executor(), std::chrono::milliseconds(100));
    co_await last_words.async_wait(as_result);
}

Task<void> H2Serving::write_loop() {
    while (!closed_) {
        out_.clear();
        const bool parting = close_after_raw_;
        const bool open = !deaf_ && system_clock().steady_ms() >= held_until_ms_;
        if (open) {
            out_.assign(raw_.begin(), raw_.end());
            raw_.clear();
            const std::size_t from = out_.size();
            if (!parting) session_.drain(out_, from + write_bytes_max);
            groom(from);
        }
        if (!out_.empty() && open) {
            const auto [ec, size] =
                co_await asio::async_write(stream_, asio::buffer(out_), as_result);
            if (ec || parting) close();
            continue;
        }
        if (open && !session_.alive() && !hold_open_ && actions_.empty()) {
            happened("closed: nothing left to do");
            close();
        }
        if (closed_) break;
        writer_idle_ = true;
        co_await wake_.async_wait(as_result);
        writer_idle_ = false;
    }
}

void H2Serving::wake_writer() {
    if (!writer_idle_) return;
    writer_idle_ = false;
    wake_.cancel();
}

void H2Serving::close() {
    closed_ = true;
    alarm_.stop();
    wake_.cancel();
    deaf_wait_.cancel();
    close_socket(stream_.next_layer());
}

void H2Serving::after(std::int64_t ms, std::function<void()> act) {
    const std::int64_t due_ms = system_clock().steady_ms() + ms;
    actions_.emplace(due_ms, std::move(act));
    alarm_.at_latest(due_ms);
}

std::int64_t H2Serving::tick() {
    const std::int64_t now = system_clock().steady_ms();
    while (!late_.empty() && late_.begin()->first <= now) {
        const auto entry = std::move(late_.begin()->second);
        late_.erase(late_.begin());
        send(entry.first, entry.second);
    }
    while (!actions_.empty() && actions_.begin()->first <= now && !closed_) {
        const auto act = std::move(actions_.begin()->second);
        actions_.erase(actions_.begin());
        act();
    }
    std::int64_t next = std::min(late_.empty() ? never_ms : late_.begin()->first,
                                 actions_.empty() ? never_ms : actions_.begin()->first);
    const std::int64_t idle_ms = used_ms_ + habits_.idle_ms;
    if (idle_ms <= now && session_.streams_open() == 0) {
        go_away(0, "session_timeout");
        used_ms_ = now;
    }
    if (habits_.age_ms > 0 && now - began_ms_ >= habits_.age_ms) {
        go_away(0, "max_age");
        habits_.age_ms = 0;
    }
    if (habits_.age_ms > 0) next = std::min(next, began_ms_ + habits_.age_ms);
    wake_writer();
    return std::min(next, std::max(idle_ms, now + 1000));
}

void H2Serving::on_lost(std::int32_t stream, const H2Lost&) {
    std::erase_if(late_, [&](const auto& entry) { return entry.second.first == stream; });
}

void H2Serving::on_message(std::int32_t stream, const H2Message& message) {
    if (stream > refused_above_) return;
    Request request;
    request.method = message.method;
    request.path = message.path;
    request.authority = message.authority;
    request.body = message.body;
    request.headers = message.headers;
    if (loop_.options.fast && !loop_.provider.is_token_request(request)) {
        loop_.count_fast(1);
        if (!loop_.options.watch.empty()) record_if_watched(request);
        Reply reply;
        reply.delay_ms = loop_.latency_ms(loop_.options.latency);
        return send_in_time(stream, std::move(reply));
    }
    visit_.stream = stream;
    visit_.latency_ms = loop_.latency_ms(loop_.options.latency);
    visit_.latency_refused_ms = loop_.options.latency_refused
                                    ? loop_.latency_ms(*loop_.options.latency_refused)
                                    : visit_.latency_ms;
    Reply reply = loop_.provider.answer(request, visit_);
    if (reply.fault && reply.fault->row && strike_arrival(*reply.fault, stream)) return;
    taken_last_ = std::max(taken_last_, stream);
    send_in_time(stream, std::move(reply));
}

void H2Serving::send_in_time(std::int32_t stream, Reply reply) {
    if (reply.delay_ms <= 0) return send(stream, reply);
    const std::int64_t due_ms = system_clock().steady_ms() + reply.delay_ms;
    late_.emplace(due_ms, std::pair(stream, std::move(reply)));
    alarm_.at_latest(due_ms);
}

void H2Serving::send(std::int32_t stream, const Reply& reply) {
    if (mute_) return;
    switch (reply.end) {
        case Reply::End::never:
            return;
        case Reply::End::reset:
            session_.reset(stream, internal_error);
            return;
        case Reply::End::close:
            reset_socket(stream_.next_layer());
            close();
            return;
        case Reply::End::answer:
            break;
    }
    if (reply.fault && reply.fault->row && strike_answer(*reply.fault, stream, reply)) return;
    submit(stream, reply);
}

void H2Serving::submit(std::int32_t stream, const Reply& reply) {
    headers_.clear();
    for (const auto& [name, value] : reply.headers) {
        const bool varies = name == "apns-id" || name == "apns-unique-id";
        headers_.push_back({name, value, varies});
    }
    std::size_t piece = reply.data_bytes_max;
    bool empty_last = reply.empty_last;
    if (loop_.options.split_share > 0 && !reply.body.empty() &&
        std::uniform_real_distribution<>(0, 1)(loop_.random) < loop_.options.split_share) {
        piece = std::max<std::size_t>(reply.body.size() / 2, 1);
        empty_last = true;
    }
    session_.submit_response_split(stream, reply.status, headers_, reply.body, piece, empty_last);
    if (reply.ping_after || loop_.options.ping_answers) {
        pings_.push_back(false);
        session_.submit_ping();
    }
    if (reply.streams_max && visit_.opened) offer(*reply.streams_max);
    if (reply.trusted && !visit_.opened) {
        visit_.opened = true;
        if (habits_.opens_with_one_stream) {
            visit_.streams_max = streams_max();
            offer(streams_max());
        }
    }
    if (reply.goodbye) go_away(reply.goodbye->error_code, reply.goodbye->debug);
}

Task<void> serve_h2(Loop& loop, TlsStream& stream, const Arrival& arrival) {
    H2Serving serving(loop, stream, arrival);
    co_await serving.run();
}

}  // namespace pns::sim
