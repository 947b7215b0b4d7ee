// Scheduled sends and their cancelling (docs/contracts/anh.md 5.7). Tested by
// tests/hub_scheduler_test.cpp.

#include <algorithm>

#include "hub/api/declined.hpp"
#include "hub/api/handlers.hpp"
#include "hub/api/idempotency.hpp"
#include "hub/api/parts.hpp"
#include "hub/http/problem.hpp"
#include "hub/http/request_fields.hpp"
#include "hub/http/responses.hpp"
#include "hub/process/metrics.hpp"
#include "hub/send/scheduler.hpp"
#include "hub/send/send_request.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"

namespace hub {

namespace {

constexpr std::string_view unknown = "No scheduled notification with this id is known.";
constexpr std::string_view fired = "The notification was sent already: it cannot be cancelled.";

/// When to send; a time that is over means now.
Parsed<std::int64_t> read_schedule_time(const Request& request, const Config& config) {
    const auto text = trimmed(request.header("servicebusnotification-scheduletime"));
    if (text.empty())
        return bad_request("The header ServiceBusNotification-ScheduleTime is missing.");
    const auto time = parse_any_time_ms(text, request.received_at_ms);
    if (!time) {
        return bad_request("ServiceBusNotification-ScheduleTime '" + shown(text) +
                           "' is no time. Write it in UTC as 2026-11-21T10:00:00.");
    }
    if (*time < request.received_at_ms - past_ms_max) {
        return bad_request("ServiceBusNotification-ScheduleTime '" + shown(text) +
                           "' is more than a day past; a time that has just passed means now.");
    }
    // The client's clock may be ahead of ours.
    const std::int64_t latest_ms =
        request.received_at_ms + schedule_ahead_ms_max + config.sas_clock_skew_s * 1'000;
    if (*time > latest_ms) {
        return bad_request("ServiceBusNotification-ScheduleTime is more than 7 days ahead.");
    }
    return std::max(*time, request.received_at_ms);
}

Parsed<registry::Send> read_scheduled(const Request& request, const Config& config) {
    const auto direct = read_flag(request, "direct");
    if (!ok(direct)) return std::get<Refusal>(direct);
    if (std::get<bool>(direct) || has_header(request, "servicebusnotification-devicehandle"))
        return bad_request("A direct send cannot be scheduled: address registrations by tags.");
    const auto test = read_flag(request, "test");
    if (!ok(test)) return std::get<Refusal>(test);
    if (std::get<bool>(test))
        return bad_request("A scheduled send cannot be a test: leave out ?test, or send it now.");
    const auto due_ms = read_schedule_time(request, config);
    if (!ok(due_ms)) return std::get<Refusal>(due_ms);
    auto parsed = read_send(request, request.body, config);
    if (!ok(parsed)) return parsed;
    auto& send = std::get<registry::Send>(parsed);
    send.scheduled_at_ms = std::get<std::int64_t>(due_ms);
    if (!send.deadline_given) {
        send.deadline_ms = send.scheduled_at_ms + undelivered_ms_max;  // anew when it fires
    } else if (send.deadline_ms <= send.scheduled_at_ms) {
        return bad_request(
            "PushHub-Deadline is not after ServiceBusNotification-ScheduleTime: nothing would go "
            "out.");
    }
    auto expression = read_tag_expression(request);
    if (!ok(expression)) return std::get<Refusal>(std::move(expression));
    send.tag_expression = std::get<std::string>(std::move(expression));
    return parsed;
}

}  // namespace

pns::Task<Response> post_scheduled(Call call) {
    const Request& request = call.request;
    Shares& places = call.parts.scheduler.places();
    Shares::Place place = places.take(call.hub->row.number);
    if (!place) {
        if (place.full() == Full::hub) call.parts.metrics.limited("hub_share");
        co_return busy(request, places.why(place.full()));
    }
    auto parsed = read_scheduled(request, call.parts.config);
    if (!ok(parsed)) co_return refused(request, std::get<Refusal>(parsed));
    auto bounds = read_audience_bounds(request, call.parts.config, call.hub->row.name);
    if (!ok(bounds)) co_return problem(request, std::get<Refusal>(bounds));
    NewSend wanted{call.hub, std::get<registry::Send>(std::move(parsed)),
                   std::get<AudienceBounds>(bounds)};
    Response response = empty_response(201);
    response.headers.emplace_back("Location", location_of(request, wanted.send.id));
    if (call.once != nullptr) wanted.answer = call.once->answer(response);
    const auto outcome = co_await call.parts.admission.schedule(std::move(wanted));
    if (const auto* why = std::get_if<Admission::Declined>(&outcome))
        co_return refused(request, *why);
    if (call.once != nullptr) call.once->kept();
    const auto& taken = std::get<std::shared_ptr<const registry::FrozenSend>>(outcome);
    call.parts.scheduler.add(call.hub->row.number, taken->send, std::move(place));
    co_return response;
}

pns::Task<Response> delete_scheduled(Call call) {
    const Request& request = call.request;
    const std::uint32_t hub = call.hub->row.number;
    const std::string& id = call.args.back();
    auto read = [&call, hub, &id] { return call.parts.registry.send(hub, id); };
    auto stored = co_await on_store(call.parts.store, std::move(read));
    if (!stored) co_return refused(request, stored.error(), unknown);
    const auto& [send, progress] = *stored;
    if (send.scheduled_at_ms == 0) co_return error(request, 404, unknown);
    // A cancel that is repeated because its answer was lost has succeeded.
    if (progress.state == registry::SendState::canceled) co_return empty_response(200);
    if (progress.state != registry::SendState::scheduled) co_return error(request, 404, fired);

    registry::Progress canceled;
    canceled.state = registry::SendState::canceled;
    canceled.ended_at_ms = request.received_at_ms;
    auto write = [&call, hub, &stored, &canceled](registry::Done<void> done) {
        call.parts.registry.accept(hub, registry::frozen(stored->first), canceled, std::move(done));
    };
    const auto written = co_await committed<void>(std::move(write));
    if (!written && written.error() == registry::errc::exists) {
        auto read_again = [&call, hub, &id] { return call.parts.registry.send(hub, id); };
        const auto now = co_await on_store(call.parts.store, std::move(read_again));
        const bool too =
            now && now->second.state == registry::SendState::canceled;  // by another request
        co_return too ? empty_response(200) : error(request, 404, fired);
    }
    if (!written) co_return refused(request, written.error(), unknown);
    call.parts.scheduler.forget(hub, send);
    co_return empty_response(200);
}

}  // namespace hub
