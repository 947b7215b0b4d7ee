// Sends and their telemetry (docs/contracts/anh.md 5, 6). Tested by tests/hub_service_test.cpp,
// tests/hub_telemetry_test.cpp and tests/conformance/.
//
// A request becomes a Send on its lane, and hub/send/admission.hpp accepts it: only then the answer
// is 201. A test send keeps its answer open until the verdicts are in. Telemetry is taken from the
// running send if there is one, else from the ledger.

#include <algorithm>
#include <boost/asio/this_coro.hpp>

#include "hub/api/declined.hpp"
#include "hub/api/handlers.hpp"
#include "hub/api/idempotency.hpp"
#include "hub/api/parts.hpp"
#include "hub/api/telemetry_xml.hpp"
#include "hub/api/test_send.hpp"
#include "hub/device/handle_check.hpp"
#include "hub/http/problem.hpp"
#include "hub/http/rate_limits.hpp"
#include "hub/http/request_fields.hpp"
#include "hub/http/responses.hpp"
#include "hub/send/admission.hpp"
#include "hub/send/send_request.hpp"
#include "hub/text/multipart.hpp"
#include "hub/text/text.hpp"
#include "pns/platform.hpp"

namespace hub {

namespace {

using registry::Send;

/// What the query makes of a send.
struct Flags {
    bool direct = false, test = false;
};

Parsed<Flags> read_flags(const Request& request) {
    const auto direct = read_flag(request, "direct");
    if (!ok(direct)) return std::get<Refusal>(direct);
    const auto test = read_flag(request, "test");
    if (!ok(test)) return std::get<Refusal>(test);
    return Flags{std::get<bool>(direct), std::get<bool>(test)};
}

/// The answer to one test send too many; before anything is read of it.
std::optional<Response> refuse_test(const Call& call, Flags flags) {
    if (!flags.test) return std::nullopt;
    const auto wait_ms =
        call.parts.test_sends.take(call.hub->row.number, {}, call.request.received_at_ms);
    if (wait_ms == 0) return std::nullopt;
    Response slow = error(call.request, 429, "A hub may have 10 test sends a minute.");
    slow.headers.emplace_back("Retry-After", retry_after_s(wait_ms));
    return slow;
}

/// Accepts the send and answers.
pns::Task<Response> accept(Call call, Flags flags, Send send, Reach reach) {
    const Request& request = call.request;
    auto bounds = read_audience_bounds(request, call.parts.config, call.hub->row.name);
    if (!ok(bounds)) co_return problem(request, std::get<Refusal>(bounds));
    const std::string location = location_of(request, send.id);
    NewSend wanted{call.hub, std::move(send), std::get<AudienceBounds>(bounds), reach};
    if (call.once != nullptr) {
        Response planned = empty_response(201);
        planned.headers.emplace_back("Location", location);
        wanted.answer = call.once->answer(planned);
    }
    std::optional<TestVerdicts> verdicts;
    if (flags.test) {
        const pns::Executor loop = co_await boost::asio::this_coro::executor;
        verdicts.emplace(loop, call.parts.fanout, call.hub->row.number).listen(wanted);
    }
    const auto outcome = co_await call.parts.admission.accept(std::move(wanted));
    if (const auto* why = std::get_if<Admission::Declined>(&outcome))
        co_return refused(request, *why);
    Response response = empty_response(201);
    if (verdicts) {
        const auto& taken = std::get<std::shared_ptr<const registry::FrozenSend>>(outcome);
        if (taken->selection.count() > 0) co_await verdicts->all_in();
        response = verdicts->answer();
    } else if (call.once != nullptr) {
        call.once->kept();  // that of a test send is kept again when it is complete
    }
    response.headers.emplace_back("Location", location);
    co_return response;
}

/// The handle a direct send names. A Web Push subscription comes in three headers
/// (docs/contracts/anh.md 5.1).
std::string direct_handle(const Request& request, std::string_view format) {
    std::string handle(trimmed(request.header("servicebusnotification-devicehandle")));
    if (format != "browser" || handle.empty() || handle.front() == '{') return handle;
    std::string subscription = R"({"endpoint":")";
    append_json_escaped(subscription, handle);
    subscription += R"(","p256dh":")";
    append_json_escaped(subscription, trimmed(request.header("p256dh")));
    subscription += R"(","auth":")";
    append_json_escaped(subscription, trimmed(request.header("auth")));
    return subscription + R"("})";
}

pns::Task<Response> send_direct(Call call, Flags flags, Send send,
                                std::vector<std::string> handles) {
    if (send.format == "template") {
        co_return error(
            call.request, 400,
            "A direct send needs a platform's format; template sends go to registrations.");
    }
    if (flags.test && handles.size() > test_devices_max)
        co_return error(call.request, 400, "A test send goes to 10 devices at most.");
    const std::string platform(pns::platform_by_format(send.format)->name);
    for (std::string& handle : handles) {
        auto checked = call.parts.handle_rule(platform, handle);
        if (!ok(checked)) co_return refused(call.request, std::get<Refusal>(checked));
        handle = std::get<std::string>(std::move(checked));
    }
    // One delivery per handle (docs/contracts/anh.md 5.2).
    std::sort(handles.begin(), handles.end());
    handles.erase(std::unique(handles.begin(), handles.end()), handles.end());
    send.direct_handles = std::move(handles);
    co_return co_await accept(std::move(call), flags, std::move(send), Reach::handles);
}

}  // namespace

pns::Task<Response> post_message(Call call) {
    const Request& request = call.request;
    const auto read = read_flags(request);
    if (!ok(read)) co_return refused(request, std::get<Refusal>(read));
    const Flags flags = std::get<Flags>(read);
    if (auto early = refuse_test(call, flags)) co_return std::move(*early);
    auto parsed = read_send(request, request.body, call.parts.config);
    if (!ok(parsed)) co_return refused(request, std::get<Refusal>(parsed));
    Send send = std::get<Send>(std::move(parsed));
    if (flags.direct) {
        std::vector<std::string> handles{direct_handle(request, send.format)};
        if (handles[0].empty()) {
            co_return error(request, 400,
                            "A direct send needs the header ServiceBusNotification-DeviceHandle.");
        }
        co_return co_await send_direct(std::move(call), flags, std::move(send), std::move(handles));
    }
    if (auto refusal = check_no_handle(request)) co_return refused(request, *refusal);
    auto expression = read_tag_expression(request);
    if (!ok(expression)) co_return refused(request, std::get<Refusal>(expression));
    send.tag_expression = std::get<std::string>(std::move(expression));
    co_return co_await accept(std::move(call), flags, std::move(send), Reach::expression);
}

pns::Task<Response> post_direct_batch(Call call) {
    const Request& request = call.request;
    const auto read = read_flags(request);
    if (!ok(read)) co_return refused(request, std::get<Refusal>(read));
    const Flags flags = std::get<Flags>(read);
    if (auto early = refuse_test(call, flags)) co_return std::move(*early);
    if (!flags.direct)
        co_return error(request, 400, "A batch is a direct send: add ?direct to the address.");
    auto batch = parse_direct_batch(request.header("content-type"), request.body);
    if (!ok(batch)) co_return refused(request, std::get<Refusal>(batch));
    DirectBatch parts = std::get<DirectBatch>(std::move(batch));
    auto parsed = read_send(request, std::move(parts.notification), call.parts.config);
    if (!ok(parsed)) co_return refused(request, std::get<Refusal>(parsed));
    Send send = std::get<Send>(std::move(parsed));
    co_return co_await send_direct(std::move(call), flags, std::move(send),
                                   std::move(parts.handles));
}

pns::Task<Response> get_message(Call call) {
    const Request& request = call.request;
    const std::uint32_t hub = call.hub->row.number;
    const std::string& id = call.args.back();
    const auto live = call.parts.fanout.progress(hub, id);
    auto read = [&call, hub, &id] { return call.parts.registry.send(hub, id); };
    const auto stored = co_await on_store(call.parts.store, std::move(read));
    if (!stored) {
        const std::string missing =
            "No notification with this id is known. Those that have ended are kept for at most " +
            std::to_string(std::int64_t{call.parts.config.sends_kept_days}) + " days.";
        co_return refused(request, stored.error(), missing);
    }
    const auto& [send, progress] = *stored;
    // What is live is fresher than the last checkpoint, unless the last checkpoint was the end.
    const bool fresher = live && !registry::is_final(progress.state);
    Response response = empty_response(200);
    std::string location = absolute_url(request, {call.hub->row.name, "messages", id});
    location.replace(0, std::string_view("https").size(), "sb");
    const std::string errors = co_await error_details_url(call, id);
    response.body = notification_details(send, fresher ? *live : progress, location, errors);
    co_return response;
}

}  // namespace hub
