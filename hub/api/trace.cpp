// What became of single pushes and why handles were retired. Tested by tests/hub_trace_test.cpp and
// tests/hub_prune_test.cpp.
//
// The trace and the retirements are read on a store thread, page by page; a token says where the
// next page begins. Held retirements belong to the prune gates of the fan-out: releasing one goes
// through the registry like any retirement, so a handle that the app presented again stays.
// Handles appear in answers to those who hold Manage and never in the log.

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/http/continuation.hpp"
#include "hub/http/paging.hpp"
#include "hub/http/problem.hpp"
#include "hub/process/metrics.hpp"
#include "hub/send/fanout.hpp"
#include "hub/send/prune_gates.hpp"
#include "hub/send/trace.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "pns/alarm.hpp"
#include "pns/platform.hpp"
#include "registry/page_fill.hpp"

namespace hub {

namespace {

using nlohmann::json;
using registry::DeviceKind;

// The lists with pages, as their tokens name them.
constexpr std::string_view send_devices = "send devices", device_pushes = "device pushes",
                           retirements = "retirements", held_retirements = "held retirements";

std::string_view keep_name(std::string_view setting) {
    return setting == "off" || setting == "all" ? setting : "failures";
}

json attempt_json(const registry::TracedAttempt& attempt) {
    json out{{"attempt", attempt.attempt},
             {"at", iso_ms(attempt.at_ms)},
             {"outcome", attempt.outcome},
             {"final", attempt.retry_at_ms == 0}};
    if (attempt.took_ms != 0) out["tookMs"] = attempt.took_ms;
    if (attempt.retry_at_ms != 0) out["retryAt"] = iso_ms(attempt.retry_at_ms);
    if (!attempt.reason.empty()) out["reason"] = attempt.reason;
    if (!attempt.provider_id.empty()) out["providerId"] = attempt.provider_id;
    return out;
}

json push_json(const registry::TracedPush& push) {
    const registry::TracedAttempt& last = push.attempts.back();
    json out{{"send", push.send_id},
             {"acceptedAt", iso_ms(push.enqueued_at_ms)},
             {"platform", push.platform},
             {"template", push.templated},
             {"outcome", last.retry_at_ms == 0 ? last.outcome : "Pending"},
             {"attempts", json::array()}};
    if (push.kind == DeviceKind::installation) out["installation"] = push.device_id;
    if (push.kind == DeviceKind::handle) out["handleHash"] = push.device_id;
    if (!push.registration_id.empty()) out["registration"] = push.registration_id;
    for (const auto& attempt : push.attempts) out["attempts"].push_back(attempt_json(attempt));
    return out;
}

Response answer(const json& body) {
    return json_answer(200, body.dump(-1, ' ', false, json::error_handler_t::replace));
}

Response bad_token(const Request& request) {
    return problem(request, 400, "bad-continuation",
                   "continuation must be what an earlier page of this list returned.");
}

bool is_outcome(std::string_view name) {
    if (same_ignoring_case(name, "Pending")) return true;
    for (std::size_t i = 0; i <= static_cast<std::size_t>(pns::Outcome::unknown); ++i) {
        if (same_ignoring_case(name, pns::outcome_name(static_cast<pns::Outcome>(i)))) return true;
    }
    return false;
}

json retirement_json(const registry::RetirementRecord& record) {
    json out{{"at", iso_ms(record.at_ms)},
             {"platform", record.platform},
             {"reason", record.reason},
             {"send", record.send_id},
             {"by", record.by},
             {"registeredAt", iso_ms(record.registered_at_ms)}};
    if (record.dead_since_ms != 0) out["deadSince"] = iso_ms(record.dead_since_ms);
    if (!record.installation_id.empty()) out["installation"] = record.installation_id;
    if (!record.registration_id.empty()) out["registration"] = record.registration_id;
    return out;
}

/// The spellings under which a handle may have been stored: as given and as each platform writes
/// it.
std::vector<std::string> spellings(std::string_view handle) {
    std::set<std::string> all{std::string(handle)};
    for (const pns::Platform& platform : pns::platforms()) {
        auto checked = platform.normalise_handle(handle);
        if (auto* canonical = std::get_if<std::string>(&checked)) all.insert(std::move(*canonical));
    }
    return {all.begin(), all.end()};
}

using RetirementPage = registry::TraceStore::RetirementPage;

registry::Result<RetirementPage> find_retirements(const Trace& trace, std::uint32_t hub,
                                                  const Request& request, const AskedPage& asked) {
    const auto handle = request.param("handle");
    if (!handle) {
        const auto id = request.param("installation");
        return trace.store().retirements_of_device(hub, id ? *id : *request.param("registration"),
                                                   asked.after, asked.top, trace.now_ms());
    }
    registry::Result<RetirementPage> page = RetirementPage{};
    for (const std::string& spelling : spellings(*handle)) {
        page = trace.store().retirements_of_handle(hub, trace.hash_of(spelling), asked.after,
                                                   asked.top, trace.now_ms());
        if (!page || !page->records.empty()) break;
    }
    return page;
}

/// The platform that `?platform=` names, by stored name or by format; nothing: all of them.
Parsed<std::optional<std::size_t>> read_platform(const Request& request) {
    const auto name = request.param("platform");
    if (!name) return std::optional<std::size_t>();
    const pns::Platform* found = pns::platform_by_name(*name);
    if (found == nullptr) found = pns::platform_by_format(*name);
    if (found == nullptr) return Refusal{400, "platform names no platform of this hub."};
    return std::optional<std::size_t>(static_cast<std::size_t>(found - pns::platforms().data()));
}

}  // namespace

pns::Task<Response> get_send_devices(Call call) {
    const Request& request = call.request;
    const std::string listed = list_name(send_devices, call.hub->row.number,
                                         {call.args.back(), filter_name(request.param("outcome"))});
    const auto asked = read_paging(request, listed);
    if (!ok(asked)) co_return problem(request, std::get<Refusal>(asked));
    const std::string outcome(request.param("outcome").value_or(""));
    if (!outcome.empty() && !is_outcome(outcome)) {
        co_return problem(request, 400, "bad-outcome",
                          "outcome must be the name of an outcome, such as Success or "
                          "ExpiredChannel, or Pending.");
    }
    struct Found {
        boost::system::error_code unknown;
        registry::Result<registry::TracePage> page;
    };
    Trace& trace = call.parts.trace;
    const std::uint32_t hub = call.hub->row.number;
    const std::string& id = call.args.back();
    auto read = [&call, &trace, &asked, &outcome, &id, hub] {
        Found found{{}, registry::TracePage{}};
        const auto stored = call.parts.registry.send(hub, id);
        if (!stored) {
            found.unknown = stored.error();
            return found;
        }
        trace.flush();
        const AskedPage& paging = std::get<AskedPage>(asked);
        found.page =
            trace.store().of_send(hub, id, outcome, paging.after, paging.top, trace.now_ms());
        return found;
    };
    const auto found = co_await on_store(call.parts.store, std::move(read));
    if (found.unknown) co_return problem(request, found.unknown, "No send with this id is known.");
    if (!found.page && found.page.error() == registry::errc::not_found)
        co_return bad_token(request);
    if (!found.page) co_return problem(request, found.page.error(), "");
    json body{
        {"send", id}, {"trace", keep_name(call.parts.config.trace)}, {"devices", json::array()}};
    for (const auto& push : found.page->pushes) body["devices"].push_back(push_json(push));
    if (!found.page->next.empty())
        body["continuation"] = continuation_token(listed, found.page->next);
    co_return answer(body);
}

pns::Task<Response> get_device_pushes(Call call) {
    const Request& request = call.request;
    const std::string listed = list_name(device_pushes, call.hub->row.number, {call.args.back()});
    const auto asked = read_paging(request, listed);
    if (!ok(asked)) co_return problem(request, std::get<Refusal>(asked));
    Trace& trace = call.parts.trace;
    const std::uint32_t hub = call.hub->row.number;
    const std::string& id = call.args.back();
    auto read = [&trace, &asked, &id, hub] {
        trace.flush();
        const AskedPage& paging = std::get<AskedPage>(asked);
        auto page = trace.store().of_device(hub, DeviceKind::installation, id, paging.after,
                                            paging.top, trace.now_ms());
        if (!page || !page->pushes.empty()) return page;
        return trace.store().of_device(hub, DeviceKind::registration, id, paging.after, paging.top,
                                       trace.now_ms());
    };
    const auto page = co_await on_store(call.parts.store, std::move(read));
    if (!page) co_return problem(request, page.error(), "");
    json body{
        {"device", id}, {"trace", keep_name(call.parts.config.trace)}, {"pushes", json::array()}};
    for (const auto& push : page->pushes) body["pushes"].push_back(push_json(push));
    if (!page->next.empty()) body["continuation"] = continuation_token(listed, page->next);
    co_return answer(body);
}

pns::Task<Response> get_retirements(Call call) {
    const Request& request = call.request;
    const std::string listed =
        list_name(retirements, call.hub->row.number,
                  {filter_name(request.param("handle")), filter_name(request.param("installation")),
                   filter_name(request.param("registration"))});
    const auto asked = read_paging(request, listed);
    if (!ok(asked)) co_return problem(request, std::get<Refusal>(asked));
    int named = 0;
    for (const char* name : {"handle", "installation", "registration"}) {
        const auto value = request.param(name);
        if (value && !value->empty()) ++named;
    }
    if (named != 1) {
        co_return problem(request, 400, "one-of",
                          "Give one of handle, installation or registration.");
    }
    Trace& trace = call.parts.trace;
    const std::uint32_t hub = call.hub->row.number;
    auto read = [&trace, &request, &asked, hub] {
        trace.flush();
        return find_retirements(trace, hub, request, std::get<AskedPage>(asked));
    };
    const auto page = co_await on_store(call.parts.store, std::move(read));
    if (!page && page.error() == registry::errc::not_found) co_return bad_token(request);
    if (!page) co_return problem(request, page.error(), "");
    json body{{"retirements", json::array()}};
    for (const auto& record : page->records) body["retirements"].push_back(retirement_json(record));
    if (!page->next.empty()) body["continuation"] = continuation_token(listed, page->next);
    co_return answer(body);
}

pns::Task<Response> list_held_retirements(Call call) {
    const Request& request = call.request;
    const std::string listed = list_name(held_retirements, call.hub->row.number);
    const auto asked = read_paging(request, listed);
    if (!ok(asked)) co_return problem(request, std::get<Refusal>(asked));
    const AskedPage& paging = std::get<AskedPage>(asked);
    std::uint64_t after = 0;
    const char* const end = paging.after.data() + paging.after.size();
    const auto [stop, failure] = std::from_chars(paging.after.data(), end, after);
    if (!paging.after.empty() && (failure != std::errc() || stop != end))
        co_return bad_token(request);
    const PruneGates& gates = call.parts.fanout.prune_gates();
    const std::uint32_t hub = call.hub->row.number;
    json body{{"gates", json::array()}, {"held", json::array()}};
    for (const auto& gate : gates.gates(hub, call.parts.clock.steady_ms())) {
        json entry{{"platform", pns::platforms()[gate.subject.platform].name},
                   {"open", gate.open},
                   {"held", gate.held},
                   {"recentAccepted", gate.recent_accepted},
                   {"recentDead", gate.recent_dead}};
        if (!gate.subject.app.empty()) entry["app"] = gate.subject.app;
        body["gates"].push_back(std::move(entry));
    }
    const auto held = gates.list(hub, after, paging.top);
    registry::PageFill fill(paging.top);
    for (const auto& one : held) {
        const registry::Retirement& dead = one.retirement;
        fill.add(dead.reason.size() + dead.send_id.size() + dead.installation_id.size() +
                 dead.registration_id.size());
        json entry{{"platform", pns::platforms()[one.platform].name},
                   {"reason", dead.reason},
                   {"send", dead.send_id},
                   {"at", iso_ms(dead.at_ms)},
                   {"registration", dead.registration_id}};
        if (!dead.installation_id.empty()) entry["installation"] = dead.installation_id;
        body["held"].push_back(std::move(entry));
        if (!fill.full()) continue;
        body["continuation"] = continuation_token(listed, std::to_string(dead.ticket));
        break;
    }
    co_return answer(body);
}

pns::Task<Response> release_held_retirements(Call call) {
    const auto platform = read_platform(call.request);
    if (!ok(platform)) co_return problem(call.request, std::get<Refusal>(platform));
    PruneGates& gates = call.parts.fanout.prune_gates();
    const std::uint32_t hub = call.hub->row.number;
    std::size_t released = 0, retired = 0;
    auto taken = gates.take(hub, std::get<std::optional<std::size_t>>(platform));
    boost::system::error_code failure;
    for (auto& [subject, dead] : taken) {
        const std::size_t count = dead.size();
        auto start = [&call, &gates, whose = &subject,
                      list = &dead](registry::Done<std::size_t> done) {
            gates.retire(call.parts.registry, *whose, "operator", std::move(*list),
                         call.parts.clock.steady_ms(), std::move(done));
        };
        const auto result = co_await committed<std::size_t>(std::move(start));
        if (!result) {
            failure = result.error();
            continue;
        }
        released += count;
        retired += *result;
        call.parts.metrics.retired(call.hub->row.name, pns::platforms()[subject.platform].name,
                                   *result);
    }
    if (failure) co_return problem(call.request, failure, "The hub is gone.");
    // What the app presented again meanwhile is released and stays.
    co_return answer({{"released", released}, {"retired", retired}});
}

pns::Task<Response> discard_held_retirements(Call call) {
    const auto platform = read_platform(call.request);
    if (!ok(platform)) co_return problem(call.request, std::get<Refusal>(platform));
    const auto discarded = call.parts.fanout.prune_gates().discard(
        call.hub->row.number, std::get<std::optional<std::size_t>>(platform));
    co_return answer({{"discarded", discarded}});
}

}  // namespace hub
