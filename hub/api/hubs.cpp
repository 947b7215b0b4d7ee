// Hub management (docs/contracts/anh.md 10.1). Tested by tests/hub_service_test.cpp and
// tests/conformance/.
//
// A name and all credentials are checked before anything is written. Creating and changing are one
// change of the registry; the hub's name is reserved by that change and not before. Deleting first
// removes the hub's rows and sends in one change, then its senders, and at last its jobs and blobs
// on a store thread. Runs on the lane of the request. Changes of one name take turns, so that each
// begins with what the one before left on disk, in memory and in files.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "hub/access/sas.hpp"
#include "hub/api/handlers.hpp"
#include "hub/api/parts.hpp"
#include "hub/bulk/blobs.hpp"
#include "hub/bulk/jobs.hpp"
#include "hub/device/atom.hpp"
#include "hub/device/hub_changes.hpp"
#include "hub/device/hub_description.hpp"
#include "hub/http/continuation.hpp"
#include "hub/http/request_fields.hpp"
#include "hub/http/responses.hpp"
#include "hub/process/log.hpp"
#include "hub/process/turns.hpp"
#include "hub/send/fanout.hpp"
#include "hub/text/hub_name.hpp"
#include "hub/text/ids.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "pns/platform.hpp"
#include "registry/page_fill.hpp"

namespace hub {

namespace {

constexpr std::string_view missing =
    "No service is hosted at the specified address.";  // docs/contracts/anh.md 2.5

/// Of the descriptions on a page: the clients of Azure ask for one page only, so it is a large one.
constexpr std::size_t feed_bytes = 4u << 20;
constexpr std::string_view hubs_list = "hubs";

std::string root_url(const Request& request) {
    return "https://" + request.host;
}

HubEntry entry_of(const HubState& hub) {
    return {hub.row.name, hub_description_xml(hub.description), hub.description.created_at_ms,
            hub.description.updated_at_ms};
}

Response answer(const Request& request, int status, const HubState& hub) {
    Response response;
    response.status = status;
    response.headers.emplace_back("Content-Type", std::string(atom_entry_type));
    response.headers.emplace_back("ETag", "W/\"" + std::to_string(hub.row.etag) + "\"");
    response.body = hub_entry(entry_of(hub), root_url(request), version_query(request));
    return response;
}

/// A name that a hub may have, and none of a root route.
std::optional<Refusal> check_hub_name(std::string_view name) {
    if (!is_hub_name(name)) {
        return bad_request(
            "A hub's name has 1 to 260 letters, digits, '.', '-' or '_', and begins and ends with "
            "a letter or digit.");
    }
    constexpr std::string_view reserved[] = {"healthz", "readyz", "metrics", "version"};
    if (std::any_of(std::begin(reserved), std::end(reserved),
                    [&](auto word) { return same_ignoring_case(word, name); })) {
        return bad_request("The hub name '" + std::string(name) +
                           "' is taken by the server itself.");
    }
    return std::nullopt;
}

std::string turn_of(std::string_view name) {
    return "hub " + lower(name);
}

bool matches(const registry::Precondition& wanted, const HubState& hub) {
    return wanted.kind != registry::Precondition::Kind::etag || wanted.etag == hub.row.etag;
}

Response not_current(const Request& request) {
    return refused(request, registry::make_error_code(registry::errc::etag_mismatch), missing);
}

Response too_many(const Request& request) {
    return busy(request, "Too many changes of this hub wait already.");
}

/// `known`: the hub as it is, or null. What it has already is not refused for its age, so that
/// everything else of it can still be changed.
std::optional<Refusal> check_credentials(const HubDescription& description, const HubState* known,
                                         const Config& config, std::int64_t now_ms) {
    const auto& operators_hosts = config.credential_hosts;
    for (const auto& [platform, properties] : description.credentials) {
        const pns::Platform* row = pns::platform_by_name(platform);
        if (row == nullptr || row->check_credential == nullptr) continue;
        const auto checked = row->check_credential({platform, properties, operators_hosts});
        if (const auto* refusal = std::get_if<pns::Refusal>(&checked))
            return bad_request(std::string(row->credential) + ": " + refusal->message);
        if (known != nullptr) {
            const auto& kept = known->description.credentials;
            const auto same = kept.find(platform);
            if (same != kept.end() && same->second == properties) continue;
        }
        const auto end_s = pns::credential_end_s({platform, properties, operators_hosts});
        if (end_s && *end_s * 1'000 < now_ms)
            return bad_request("The certificate of the " + std::string(row->credential) +
                               " expired at " + iso_seconds(*end_s * 1'000) + ".");
    }
    return std::nullopt;
}

/// Rules of a hub come first when a token is checked: one of this name would stand before the
/// namespace's own.
std::optional<Refusal> check_rule_names(const HubDescription& description,
                                        const NamespaceRules& of_namespace) {
    const std::string name = of_namespace.front().name;
    const auto& rules = description.rules;
    if (std::none_of(rules.begin(), rules.end(),
                     [&](const Rule& rule) { return rule.name == name; }))
        return std::nullopt;
    return bad_request("The rule name '" + shown(name) +
                       "' is that of the namespace; a hub's rule needs another.");
}

/// The first `count` hubs behind the one of the name `after` and `skipped` more, as many as fit.
Response feed(const Call& call, std::string_view after, std::size_t skipped, std::size_t count) {
    const Request& request = call.request;
    const auto hubs = call.parts.hubs.all();
    auto at = std::find_if(hubs.begin(), hubs.end(),
                           [&](const auto& hub) { return hub->row.name > after; });
    at += static_cast<std::ptrdiff_t>(std::min(skipped, static_cast<std::size_t>(hubs.end() - at)));
    registry::PageFill fill(count, feed_bytes);
    std::vector<HubEntry> entries;
    for (; at != hubs.end() && !fill.full(); ++at) {
        entries.push_back(entry_of(**at));
        fill.add(entries.back().description_xml.size());
    }
    Response response;
    response.headers.emplace_back("Content-Type", std::string(atom_feed_type));
    std::string next_query;
    if (at != hubs.end()) {
        const std::string token = continuation_token(hubs_list, entries.back().name);
        response.headers.emplace_back("x-ms-continuationtoken", token);
        next_query = "api-version=2020-06&continuationtoken=" + token;
        if (request.param("$top")) next_query += "&%24top=" + std::to_string(count);
    }
    response.body = hub_feed(entries, root_url(request), version_query(request),
                             request.received_at_ms, next_query);
    return response;
}

}  // namespace

pns::Task<Response> list_hubs(Call call) {
    const Request& request = call.request;
    const auto top = read_count(request, "$top", 1, SIZE_MAX);
    if (!ok(top)) co_return refused(request, std::get<Refusal>(top));
    const auto skip = read_count(request, "$skip", 0, 0);
    if (!ok(skip)) co_return refused(request, std::get<Refusal>(skip));
    const auto after = read_continuation(request, hubs_list);
    if (!after)
        co_return error(request, 400, "The continuation token is not one that a list returned.");
    // Some megabytes may be written: not for a lane.
    auto write = [&call, &after, count = std::get<std::size_t>(top),
                  behind = std::get<std::size_t>(skip)] {
        return feed(call, *after, behind, count);
    };
    co_return co_await on_store(call.parts.store, std::move(write));
}

pns::Task<Response> get_hub(Call call) {
    co_return answer(call.request, 200, *call.hub);
}

pns::Task<Response> put_hub(Call call) {
    const Request& request = call.request;
    const std::string& name = call.args.front();
    if (auto refusal = check_hub_name(name)) co_return refused(request, *refusal);
    auto parsed = parse_hub_description(request.body);
    if (!ok(parsed)) co_return refused(request, std::get<Refusal>(parsed));
    HubDescription description = std::get<HubDescription>(std::move(parsed));
    const auto match = read_if_match(request);
    if (!ok(match)) co_return refused(request, std::get<Refusal>(match));
    const auto turn = co_await call.parts.turns.enter(turn_of(name));
    if (!turn) co_return too_many(request);

    const auto known = call.parts.hubs.find(name);
    const auto& wanted = std::get<registry::Precondition>(match);
    const bool update = wanted.kind != registry::Precondition::Kind::none;
    if (update && !known) co_return error(request, 404, missing);
    if (!update && known) co_return error(request, 409, "SubCode=40900. Conflict");
    if (update && !matches(wanted, *known)) co_return not_current(request);
    if (auto refusal = check_rule_names(description, call.parts.namespace_rules))
        co_return refused(request, *refusal);
    // To open a certificate's file may take a while.
    auto check = [&call, &description, &known, &request] {
        return check_credentials(description, known.get(), call.parts.config,
                                 request.received_at_ms);
    };
    const auto unusable = co_await on_store(call.parts.store, std::move(check));
    if (unusable) co_return refused(request, *unusable);
    description.name = known ? known->row.name : name;
    description.created_at_ms = known ? known->description.created_at_ms : request.received_at_ms;
    description.updated_at_ms = request.received_at_ms;
    // Rules that an update leaves out stay as they are (docs/contracts/anh.md 10.1).
    if (update && description.rules.empty()) description.rules = known->description.rules;
    complete_rules(description, new_sas_key, request.received_at_ms);

    registry::HubRow row;
    if (known) row = known->row;
    row.name = description.name;
    if (!known) row.partitions = static_cast<std::uint16_t>(call.parts.config.partitions);
    row.description = hub_description_json(description);
    auto write = [&call, &row, update](registry::Done<registry::HubRow> done) {
        if (update) {
            call.parts.registry.update_hub(std::move(row), std::move(done));
        } else {
            call.parts.registry.create_hub(std::move(row), std::move(done));
        }
    };
    const auto written = co_await committed<registry::HubRow>(std::move(write));
    if (!written) co_return refused(request, written.error(), missing);
    const std::string caller = rule_named_in(request.header("authorization"));
    if (!update) {
        log_info("a hub was created", {{"hub", description.name},
                                       {"by", shown(caller)},
                                       {"client", request.client},
                                       {"tracking_id", request.tracking_id}});
    } else if (const auto changes = hub_changes(known->description, description);
               !changes.empty()) {
        log_info("a hub was changed", {{"hub", description.name},
                                       {"changes", changes},
                                       {"by", shown(caller)},
                                       {"client", request.client},
                                       {"tracking_id", request.tracking_id}});
    }
    const bool senders_changed = known && known->description.credentials != description.credentials;
    call.parts.hubs.put(*written, std::move(description));
    if (senders_changed) call.parts.fanout.forget_senders(written->number);
    co_return answer(request, update ? 200 : 201, *call.parts.hubs.find(written->number));
}

pns::Task<Response> delete_hub(Call call) {
    const Request& request = call.request;
    const std::uint32_t number = call.hub->row.number;
    const auto match = read_if_match(request);
    if (!ok(match)) co_return refused(request, std::get<Refusal>(match));
    const auto turn = co_await call.parts.turns.enter(turn_of(call.hub->row.name));
    if (!turn) co_return too_many(request);
    const auto known = call.parts.hubs.find(number);
    if (!known) co_return error(request, 404, missing);
    if (!matches(std::get<registry::Precondition>(match), *known)) co_return not_current(request);
    auto erase = [&call](registry::Done<void> done) {
        call.parts.registry.erase_hub(call.hub->row.name, std::move(done));
    };
    const auto erased = co_await committed<void>(std::move(erase));
    if (!erased) co_return refused(request, erased.error(), missing);
    const std::string caller = rule_named_in(request.header("authorization"));
    log_info("a hub was deleted", {{"hub", call.hub->row.name},
                                   {"by", shown(caller)},
                                   {"client", request.client},
                                   {"tracking_id", request.tracking_id}});
    call.parts.hubs.erase(call.hub->row.name);
    call.parts.fanout.forget_senders(number);
    auto free_files = [&call, number] {
        call.parts.jobs.forget_hub(number);
        call.parts.blobs.erase_hub(lower(call.hub->row.name));
    };
    co_await on_store(call.parts.store, std::move(free_files));
    co_return empty_response(200);
}

}  // namespace hub
