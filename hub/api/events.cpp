// Tested by tests/hub_control_test.cpp.

#include "hub/api/events.hpp"

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/api/send_json.hpp"
#include "hub/http/problem.hpp"
#include "hub/http/responses.hpp"
#include "hub/process/metrics.hpp"
#include "hub/process/shares.hpp"
#include "hub/send/fanout.hpp"

namespace hub {

namespace {

namespace asio = boost::asio;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, pns::Executor>;

constexpr std::int64_t look_ms = 250;
constexpr std::int64_t heartbeat_ms = 15'000;
constexpr std::int64_t stream_ms_max = 3'600'000;  // clients come back by themselves

struct Stream {
    Parts& parts;
    std::uint32_t hub;
    std::string id;
    registry::Send send;
    Shares::Place place;
    std::string last{};
    std::int64_t opened_at_ms = parts.clock.steady_ms();  ///< this and the next: steady clock
    std::int64_t said_at_ms = 0;
    bool ended = false;
    bool gone = false;       ///< nobody reads
    Timer* timer = nullptr;  ///< that is waited for

    void reader_gone() {
        gone = true;
        place.give_back();
        if (timer != nullptr) timer->cancel();
    }
};

bool stopping(const Stream& stream) {
    return !stream.parts.ready.load();
}

/// The next piece of the answer; empty ends it.
pns::Task<std::string> next_event(std::shared_ptr<Stream> stream) {
    Timer timer(co_await asio::this_coro::executor);
    const pns::Clock& clock = stream->parts.clock;
    while (!stream->ended && !stream->gone && !stopping(*stream) &&
           clock.steady_ms() - stream->opened_at_ms < stream_ms_max) {
        const auto live = stream->parts.fanout.watch(stream->hub, stream->id);
        registry::Progress progress;
        if (!live) {
            auto read = [stream] { return stream->parts.registry.send(stream->hub, stream->id); };
            auto stored = co_await on_store(stream->parts.store, std::move(read));
            if (!stored) break;
            progress = std::move(stored->second);
        }
        const bool final = !live && registry::is_final(progress.state);
        std::string json = send_json(stream->send, progress, live ? &*live : nullptr, true);
        if (final || json != stream->last) {
            stream->ended = final;
            stream->said_at_ms = clock.steady_ms();
            std::string event = event_text(final ? "end" : "progress", json);
            stream->last = std::move(json);
            co_return event;
        }
        if (clock.steady_ms() - stream->said_at_ms >= heartbeat_ms) {
            stream->said_at_ms = clock.steady_ms();
            co_return std::string(": still there\n\n");
        }
        if (stream->gone) break;
        timer.expires_after(std::chrono::milliseconds(look_ms));
        stream->timer = &timer;
        const auto [ec] = co_await timer.async_wait(pns::as_result);
        stream->timer = nullptr;
        if (ec) break;
    }
    co_return std::string();
}

}  // namespace

std::string event_text(std::string_view name, std::string_view data) {
    std::string out = "event: ";
    out.append(name).append("\ndata: ").append(data).append("\n\n");
    return out;
}

pns::Task<Response> get_send_events(Call call) {
    const Request& request = call.request;
    const std::uint32_t hub = call.hub->row.number;
    const std::string id = call.args.back();
    auto read = [&call, hub, &id] { return call.parts.registry.send(hub, id); };
    auto stored = co_await on_store(call.parts.store, std::move(read));
    if (!stored) co_return problem(request, stored.error(), "No send with this id is known.");
    Shares& places = call.parts.event_streams;
    Shares::Place place = places.take(hub);
    if (!place) {
        if (place.full() == Full::hub) call.parts.metrics.limited("hub_share");
        co_return problem_busy(request, places.why(place.full()));
    }
    auto stream = std::make_shared<Stream>(
        Stream{call.parts, hub, id, std::move(stored->first), std::move(place)});
    stream->send.body.clear();
    stream->send.direct_handles.clear();
    Response response;
    response.headers.emplace_back("Content-Type", "text/event-stream");
    response.headers.emplace_back("Cache-Control", "no-store");
    response.streams = true;
    response.body = "retry: 1000\n\n";
    response.more = [stream] { return next_event(stream); };
    response.on_reader_gone = [stream] { stream->reader_gone(); };
    co_return response;
}

}  // namespace hub
