// Sends as nouns of their own: list, figures, pause, resume, cancel. Tested by
// tests/hub_control_test.cpp.
//
// A command goes to the fan-out if the send runs, else it changes the send that is stored (one
// that is scheduled). After a pause or a cancel the handler waits up to a second for the pushes
// that are out, so the figures in its answer are those of a send at rest. Lists and figures read
// the ledger on a store thread.

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <chrono>

#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/api/send_json.hpp"
#include "hub/http/problem.hpp"
#include "hub/http/responses.hpp"
#include "hub/send/fanout.hpp"
#include "hub/send/scheduler.hpp"
#include "hub/send/send_query.hpp"
#include "hub/send/send_states.hpp"

namespace hub {

namespace {

namespace asio = boost::asio;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock,
                               asio::wait_traits<std::chrono::steady_clock>, pns::Executor>;
using registry::SendState;

constexpr std::string_view unknown = "No send with this id is known.";
constexpr std::int64_t settle_ms_max = 900, settle_look_ms = 5;

/// Waits until what was out has its verdict and the verdict is on disk, a second at most.
pns::Task<void> settle(Call& call, std::uint32_t hub, const std::string& id) {
    Timer timer(co_await asio::this_coro::executor);
    for (std::int64_t waited = 0; waited < settle_ms_max; waited += settle_look_ms) {
        const auto live = call.parts.fanout.watch(hub, id);
        if (!live) co_return;
        const bool dropping = live->progress.state == SendState::canceling;
        if (!dropping && live->in_flight == 0 && live->settled) co_return;
        timer.expires_after(std::chrono::milliseconds(settle_look_ms));
        const auto [ec] = co_await timer.async_wait(pns::as_result);
        if (ec) co_return;
    }
}

pns::Task<Response> figures(Call& call) {
    const std::uint32_t hub = call.hub->row.number;
    const std::string& id = call.args.back();
    const auto live = call.parts.fanout.watch(hub, id);
    auto read = [&call, hub, &id] { return call.parts.registry.send(hub, id); };
    const auto stored = co_await on_store(call.parts.store, std::move(read));
    if (!stored) co_return problem(call.request, stored.error(), unknown);
    co_return json_answer(200,
                          send_json(stored->first, stored->second, live ? &*live : nullptr, true));
}

Response not_now(const Request& request, SendState state, SendEvent event) {
    return problem(request, 409, "send-state", why_not(state, event));
}

/// A send that is not running here: scheduled, or over.
pns::Task<Response> control_stored(Call& call, SendEvent event) {
    const Request& request = call.request;
    const std::uint32_t hub = call.hub->row.number;
    const std::string& id = call.args.back();
    auto read = [&call, hub, &id] { return call.parts.registry.send(hub, id); };
    const auto stored = co_await on_store(call.parts.store, std::move(read));
    if (!stored) co_return problem(request, stored.error(), unknown);
    const registry::Send& send = stored->first;
    const registry::Progress& progress = stored->second;
    const auto next = next_state(progress.state, event);
    if (!next) co_return not_now(request, progress.state, event);
    if (progress.state != SendState::scheduled && !registry::is_final(progress.state))
        co_return problem_busy(request, "The send is just being started.");
    if (progress.state == SendState::scheduled) {
        registry::Progress canceled;
        canceled.state = *next;
        canceled.ended_at_ms = request.received_at_ms;
        auto write = [&call, hub, &send, &canceled](registry::Done<void> done) {
            call.parts.registry.accept(hub, registry::frozen(send), canceled, std::move(done));
        };
        const auto written = co_await committed<void>(std::move(write));
        if (!written && written.error() == registry::errc::exists)
            co_return problem_busy(request, "The send is just being started.");
        if (!written) co_return problem(request, written.error(), unknown);
        call.parts.scheduler.forget(hub, send);
    }
    co_return co_await figures(call);
}

pns::Task<Response> control(Call call, SendEvent event) {
    const Request& request = call.request;
    const std::uint32_t hub = call.hub->row.number;
    const std::string& id = call.args.back();
    auto start = [&call, hub, &id, event](registry::Done<ControlAnswer> done) {
        call.parts.fanout.control(hub, id, event, std::move(done));
    };
    const auto answer = co_await committed<ControlAnswer>(std::move(start));
    if (!answer && answer.error() == registry::errc::not_found)
        co_return co_await control_stored(call, event);
    if (!answer) co_return problem(request, answer.error(), unknown);
    if (!answer->busy.empty()) co_return problem_busy(request, answer->busy);
    if (!answer->allowed) co_return not_now(request, answer->state, event);
    if (event != SendEvent::resume) co_await settle(call, hub, id);
    co_return co_await figures(call);
}

}  // namespace

pns::Task<Response> list_sends(Call call) {
    const Request& request = call.request;
    const std::uint32_t hub = call.hub->row.number;
    const auto query = read_send_query(request, hub);
    if (!ok(query)) co_return problem(request, std::get<Refusal>(query));
    auto read = [&call, hub, &query] {
        return call.parts.registry.list_sends(hub, std::get<registry::SendQuery>(query));
    };
    const auto page = co_await on_store(call.parts.store, std::move(read));
    if (!page) co_return problem(request, page.error(), "");
    std::string body = R"({"sends":[)";
    for (const auto& [send, progress] : page->sends) {
        const auto live = call.parts.fanout.watch(hub, send.id);
        if (body.back() != '[') body += ',';
        body += send_json(send, progress, live ? &*live : nullptr, false);
    }
    body += ']';
    if (!page->next.empty()) {
        body += R"(,"continuation":")";
        body += sends_token(request, hub, page->next);
        body += '"';
    }
    co_return json_answer(200, body + '}');
}

pns::Task<Response> get_send(Call call) {
    co_return co_await figures(call);
}

pns::Task<Response> pause_send(Call call) {
    co_return co_await control(std::move(call), SendEvent::pause);
}

pns::Task<Response> resume_send(Call call) {
    co_return co_await control(std::move(call), SendEvent::resume);
}

pns::Task<Response> cancel_send(Call call) {
    co_return co_await control(std::move(call), SendEvent::cancel);
}

}  // namespace hub
