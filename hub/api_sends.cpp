// Sends and their telemetry (contracts/anh.md 5, 6). Tested by tests/hub_sends_test.cpp.

#include <algorithm>

#include "hub/answers.hpp"
#include "hub/fanout.hpp"
#include "hub/handle_check.hpp"
#include "hub/ids.hpp"
#include "hub/json_text.hpp"
#include "hub/metrics.hpp"
#include "hub/multipart.hpp"
#include "hub/telemetry_xml.hpp"
#include "hub/templates.hpp"
#include "hub/text.hpp"
#include "hub/times.hpp"
#include "hub/xml.hpp"
#include "pns/platform.hpp"
#include "tagexpr/expression.hpp"

namespace hub {

namespace {

using registry::Send;

constexpr std::size_t header_value_bytes_max = 4 * 1024;
constexpr std::int64_t undelivered_ms_max = 30 * 60'000;  // contracts/anh.md 5.2

/// Headers that concern providers, lower case: apns-*, x-wns-* and their aliases.
registry::Headers provider_headers(const Request& request) {
    registry::Headers kept;
    for (const auto& [name, value] : request.headers) {
        if (name.starts_with("apns-") || name.starts_with("x-wns-")) {
            kept.emplace_back(name, value);
        } else if (name.starts_with("x-apns-")) {  // contracts/anh.md 5.1, 11.7
            kept.emplace_back(name.substr(2), value);
        }
    }
    const auto has_expiration = [&] {
        return std::any_of(kept.begin(), kept.end(),
                           [](const auto& header) { return header.first == "apns-expiration"; });
    };
    const auto expiry = request.header("servicebusnotification-apns-expiry");
    if (!expiry.empty() && !has_expiration()) {
        // Ambiguous with some clients, therefore only ever passed on, never a reason to drop
        // (contracts/anh.md 11.2).
        if (const auto time = parse_time_ms(expiry)) {
            kept.emplace_back("apns-expiration",
                              std::to_string(std::max<std::int64_t>(0, *time / 1000)));
        }
    }
    return kept;
}

Parsed<std::string> read_format(const Request& request) {
    const std::string format = lower(trimmed(request.header("servicebusnotification-format")));
    if (format == "template" || pns::platform_by_format(format) != nullptr) return format;
    if (!format.empty()) {
        return bad_request("ServiceBusNotification-Format '" + shown(format) +
                           "' is not known. Use apple, fcmv1, gcm, windows, windowsphone, adm, "
                           "baidu, browser, xiaomi "
                           "or template.");
    }
    for (const auto& header : request.headers) {
        if (header.first.starts_with("apns-"))
            return std::string("apple");  // contracts/anh.md 11.2
    }
    return bad_request("The header ServiceBusNotification-Format is missing.");
}

std::string_view header_of(const registry::Headers& headers, std::string_view name) {
    for (const auto& [known, value] : headers) {
        if (known == name) return value;
    }
    return {};
}

/// The body's shape by its format; what only the provider can judge becomes an outcome later.
std::optional<Refusal> check_body(const Send& send) {
    if (send.body.empty()) return bad_request("The notification has no body.");
    if (send.format == "template") {
        const auto properties = parse_properties(send.body);
        if (!ok(properties)) return std::get<Refusal>(properties);
        return std::nullopt;
    }
    if (send.format == "windows" || send.format == "windowsphone") {
        const auto type = lower(header_of(send.headers, "x-wns-type"));
        if (type == "wns/raw" || send.format == "windowsphone") return std::nullopt;
        pugi::xml_document document;
        return read_xml(send.body, document);
    }
    auto json = read_json(send.body, "The notification");
    if (!ok(json)) return std::get<Refusal>(std::move(json));
    const auto& value = std::get<nlohmann::json>(json);
    if (!value.is_object()) return bad_request("The notification must be a JSON object.");
    if (send.format == "fcmv1") {
        const auto message = value.find("message");
        if (message == value.end() || !message->is_object()) {
            return bad_request(
                "An fcmv1 notification must be {\"message\":{...}} without a token.");
        }
    }
    return std::nullopt;
}

/// Everything of a send but its audience.
Parsed<Send> read_send(const Request& request, std::string body) {
    auto format = read_format(request);
    if (!ok(format)) return std::get<Refusal>(std::move(format));
    Send send;
    send.format = std::get<std::string>(std::move(format));
    send.headers = provider_headers(request);
    for (const auto& [name, value] : send.headers) {
        if (value.size() > header_value_bytes_max)
            return bad_request("The header " + name + " is longer than 4096 bytes.");
    }
    send.body = std::move(body);
    if (auto refusal = check_body(send)) return std::move(*refusal);
    const std::string delivery = lower(trimmed(request.header("pushhub-delivery")));
    if (delivery == "at-most-once") {
        send.delivery = registry::Delivery::at_most_once;
    } else if (!delivery.empty() && delivery != "at-least-once") {
        return bad_request("PushHub-Delivery must be at-least-once or at-most-once.");
    }
    send.enqueued_at_ms = request.received_at_ms;
    send.deadline_ms = request.received_at_ms + undelivered_ms_max;
    send.id = new_send_id(request.received_at_ms);
    return send;
}

Parsed<tagexpr::Plan> read_tags(const Request& request, const Config& config, std::string& text) {
    text = std::string(trimmed(request.header("servicebusnotification-tags")));
    tagexpr::Limits limits;
    limits.length_bytes_max = config.expression_bytes_max;
    limits.depth_max = config.expression_depth_max;
    auto parsed = tagexpr::parse(text, limits);
    if (const auto* wrong = std::get_if<tagexpr::ParseError>(&parsed)) {
        return bad_request("The tag expression is invalid at column " +
                           std::to_string(wrong->column) + ": " + wrong->message + "\n" +
                           wrong->caret(text) + "\n");
    }
    return tagexpr::simplify(std::get<tagexpr::Expression>(parsed));
}

registry::Universe universe_of(const Send& send) {
    registry::Universe universe;
    if (send.format == "template") {
        universe.kind = registry::Universe::Kind::templated;
    } else {
        universe.kind = registry::Universe::Kind::native;
        universe.platforms = {std::string(pns::platform_by_format(send.format)->name)};
    }
    return universe;
}

/// Puts the send into the ledger, starts it, answers.
pns::Task<Response> accept(Call call, Send send, registry::Selection selection) {
    const Request& request = call.request;
    registry::Progress progress;
    const bool nobody = selection.count() == 0;
    if (nobody) {
        progress.state = registry::SendState::no_target;
        progress.started_at_ms = progress.ended_at_ms = request.received_at_ms;
    }
    auto write = [&call, &send, &selection, &progress](registry::Done<void> done) {
        call.parts.registry.accept(call.hub->row.number, send, selection, progress,
                                   std::move(done));
    };
    const auto accepted = co_await committed<void>(std::move(write));
    if (!accepted) co_return refused(request, accepted.error(), "");
    call.parts.metrics.send_accepted(send.format);
    Response response = done(201);
    response.headers.emplace_back("Location",
                                  absolute_url(request, {call.hub->row.name, "messages", send.id}));
    if (!nobody) call.parts.fanout.start(call.hub, std::move(send), std::move(selection));
    co_return response;
}

pns::Task<Response> send_direct(Call call, Send send, std::vector<std::string> handles) {
    if (send.format == "template") {
        co_return error(
            call.request, 400,
            "A direct send needs a platform's format; template sends go to registrations.");
    }
    const std::string platform(pns::platform_by_format(send.format)->name);
    for (std::string& handle : handles) {
        auto checked = normalise_handle(platform, handle);
        if (!ok(checked)) co_return refused(call.request, std::get<Refusal>(checked));
        handle = std::get<std::string>(std::move(checked));
    }
    // One delivery per handle (contracts/anh.md 5.2).
    std::sort(handles.begin(), handles.end());
    handles.erase(std::unique(handles.begin(), handles.end()), handles.end());
    registry::Selection selection;
    selection.partitions.emplace_back();
    selection.partitions[0].addRange(0, handles.size());
    send.direct_handles = std::move(handles);
    co_return co_await accept(std::move(call), std::move(send), std::move(selection));
}

}  // namespace

pns::Task<Response> post_message(Call call) {
    const Request& request = call.request;
    if (!call.parts.fanout.may_accept()) co_return busy(request, "Too many sends are open.");
    auto parsed = read_send(request, request.body);
    if (!ok(parsed)) co_return refused(request, std::get<Refusal>(parsed));
    Send send = std::get<Send>(std::move(parsed));
    if (request.param("direct")) {
        std::vector<std::string> handles{
            std::string(trimmed(request.header("servicebusnotification-devicehandle")))};
        if (handles[0].empty()) {
            co_return error(request, 400,
                            "A direct send needs the header ServiceBusNotification-DeviceHandle.");
        }
        co_return co_await send_direct(std::move(call), std::move(send), std::move(handles));
    }
    const auto plan = read_tags(request, call.parts.config, send.tag_expression);
    if (!ok(plan)) co_return refused(request, std::get<Refusal>(plan));
    const registry::Universe universe = universe_of(send);
    auto read = [&call, &plan, &universe] {
        return call.parts.registry.select(call.hub->row.number, std::get<tagexpr::Plan>(plan),
                                          universe);
    };
    auto selected = co_await on_store(call.parts.store, std::move(read));
    if (!selected) co_return refused(request, selected.error(), "");
    registry::Selection selection = std::move(*selected);
    co_return co_await accept(std::move(call), std::move(send), std::move(selection));
}

pns::Task<Response> post_direct_batch(Call call) {
    const Request& request = call.request;
    if (!call.parts.fanout.may_accept()) co_return busy(request, "Too many sends are open.");
    if (!request.param("direct"))
        co_return error(request, 400, "A batch is a direct send: add ?direct to the address.");
    auto batch = parse_direct_batch(request.header("content-type"), request.body);
    if (!ok(batch)) co_return refused(request, std::get<Refusal>(batch));
    DirectBatch parts = std::get<DirectBatch>(std::move(batch));
    auto parsed = read_send(request, std::move(parts.notification));
    if (!ok(parsed)) co_return refused(request, std::get<Refusal>(parsed));
    Send send = std::get<Send>(std::move(parsed));
    co_return co_await send_direct(std::move(call), std::move(send), std::move(parts.handles));
}

pns::Task<Response> get_message(Call call) {
    const Request& request = call.request;
    const std::uint32_t hub = call.hub->row.number;
    const std::string& id = call.args.back();
    const auto live = call.parts.fanout.progress(hub, id);
    auto read = [&call, hub, &id] { return call.parts.registry.send(hub, id); };
    const auto stored = co_await on_store(call.parts.store, std::move(read));
    if (!stored)
        co_return refused(request, stored.error(), "No notification with this id is known.");
    const auto& [send, progress] = *stored;
    // What is live is fresher than the last checkpoint, unless the last checkpoint was the end.
    const bool fresher = live && !registry::is_final(progress.state);
    Response response = done(200);
    std::string location = absolute_url(request, {call.hub->row.name, "messages", id});
    location.replace(0, std::string_view("https").size(), "sb");
    response.body = notification_details(send, fresher ? *live : progress, location);
    co_return response;
}

}  // namespace hub
