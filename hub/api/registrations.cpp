// Registrations as Atom (docs/contracts/anh.md 3). Tested by tests/hub_service_test.cpp and
// tests/conformance/.
//
// Handlers check and translate on the lane, write through the registry's writer, and read on a
// store thread, where feeds are written, too. A list is one page; its continuation token is the id
// behind which the next page begins, so no state is kept between pages. A list by handle tries each
// spelling that a platform may have stored.

#include <algorithm>
#include <charconv>

#include "hub/api/handlers.hpp"
#include "hub/api/idempotency.hpp"
#include "hub/api/parts.hpp"
#include "hub/device/atom.hpp"
#include "hub/device/filter.hpp"
#include "hub/device/handle_check.hpp"
#include "hub/http/continuation.hpp"
#include "hub/http/request_fields.hpp"
#include "hub/http/responses.hpp"
#include "hub/text/ids.hpp"
#include "hub/text/text.hpp"

namespace hub {

namespace {

using registry::Precondition;
using registry::Registration;

constexpr std::size_t page_default = 100, page_max = 1'000;  // docs/contracts/anh.md 3.7
constexpr std::size_t skip_max = 100'000;
constexpr std::string_view no_token = "The continuation token is not one that a list returned.";

AtomPlace place_of(const Call& call) {
    AtomPlace place;
    place.hub_url = "https://" + call.request.host + "/" + call.hub->row.name;
    place.query = version_query(call.request);
    place.now_ms = call.request.received_at_ms;
    return place;
}

Response entry(const Call& call, const Registration& registration) {
    AtomPlace place = place_of(call);
    Response response;
    response.body = registration_entry(registration, place);
    response.headers.emplace_back("Content-Type", std::string(atom_entry_type));
    response.headers.emplace_back("ETag", "W/\"" + std::to_string(registration.etag) + "\"");
    response.headers.emplace_back("Content-Location", registration_url(place, registration.id));
    return response;
}

pns::Task<Response> write(Call call, std::string id, Precondition match) {
    const Request& request = call.request;
    auto parsed = parse_registration(request.body, call.parts.handle_rule);
    if (!ok(parsed)) co_return refused(request, std::get<Refusal>(parsed));
    Registration registration = std::get<Registration>(std::move(parsed));
    registration.id = std::move(id);
    registration.registered_at_ms = request.received_at_ms;
    const std::int64_t ttl = call.hub->description.registration_ttl_ms;
    registration.expires_at_ms =
        ttl == registry::never_ms ? registry::never_ms : request.received_at_ms + ttl;
    registration.etag = 1;  // of a new one; else the registry knows better
    auto put = [&call, &registration, match](registry::Done<Registration> done) {
        const std::uint32_t hub = call.hub->row.number;
        if (call.once != nullptr) {
            auto answer = call.once->answer(entry(call, registration));
            call.parts.registry.put_registration_once(hub, std::move(registration),
                                                      std::move(answer), std::move(done));
        } else {
            call.parts.registry.put_registration(hub, std::move(registration), match,
                                                 std::move(done));
        }
    };
    const auto written = co_await committed<Registration>(std::move(put));
    if (!written) co_return refused(request, written.error(), "");
    if (call.once != nullptr) call.once->kept();
    co_return entry(call, *written);
}

/// A page of registrations as a feed. `path` is what follows the hub, `list` names the list. Up to
/// some megabytes are written: not for a lane.
Response feed(const Call& call, const registry::Page& page, std::string_view path,
              std::string_view list, std::size_t top) {
    Response response;
    std::string next_query;
    if (!page.next.empty()) {
        const std::string token = continuation_token(list, page.next);
        response.headers.emplace_back("x-ms-continuationtoken", token);
        next_query = "api-version=2020-06&continuationtoken=" + token;
        if (call.request.param("$top")) next_query += "&%24top=" + std::to_string(top);
    }
    response.body = registration_feed(page.registrations, place_of(call), path, next_query);
    response.headers.emplace_back("Content-Type", std::string(atom_feed_type));
    return response;
}

Parsed<std::size_t> read_top(const Request& request) {
    auto top = read_count(request, "$top", 1, page_default);
    if (auto* count = std::get_if<std::size_t>(&top)) *count = std::min(*count, page_max);
    return top;
}

/// Clients that know no continuation tokens page by this.
Parsed<std::size_t> read_skip(const Request& request) {
    auto skip = read_count(request, "$skip", 0, 0);
    const auto* count = std::get_if<std::size_t>(&skip);
    if (count != nullptr && *count > skip_max) {
        return bad_request("$skip must be at most " + std::to_string(skip_max) +
                           "; follow the continuation token instead.");
    }
    return skip;
}

/// The page of `top` registrations that comes `skip` registrations behind `after`. Blocks.
registry::Result<registry::Page> page_behind(const Call& call, std::string_view tag,
                                             std::string after, std::size_t skip, std::size_t top) {
    const auto& registry = call.parts.registry;
    while (skip > 0) {
        auto passed = registry.list(call.hub->row.number, tag, after, std::min(skip, page_max));
        if (!passed) return passed.error();
        if (passed->next.empty()) return registry::Page{};
        skip -= passed->registrations.size();
        after = std::move(passed->next);
    }
    return registry.list(call.hub->row.number, tag, after, top);
}

pns::Task<Response> list(Call call, std::string tag, std::string path) {
    const Request& request = call.request;
    const auto top = read_top(request);
    if (!ok(top)) co_return refused(request, std::get<Refusal>(top));
    const auto skip = read_skip(request);
    if (!ok(skip)) co_return refused(request, std::get<Refusal>(skip));
    const std::string name = list_name(path, call.hub->row.number);
    const auto after = read_continuation(request, name);
    if (!after) co_return error(request, 400, no_token);
    auto read = [&call, &tag, &after, &path, &name, behind = std::get<std::size_t>(skip),
                 count = std::get<std::size_t>(top)]() -> registry::Result<Response> {
        const auto page = page_behind(call, tag, *after, behind, count);
        if (!page) return page.error();
        return feed(call, *page, path, name, count);
    };
    auto response = co_await on_store(call.parts.store, std::move(read));
    if (!response) co_return refused(request, response.error(), "");
    co_return std::move(*response);
}

/// Registrations keep handles in canonical spelling: each spelling asked for is tried as it is and
/// canonical.
std::vector<std::string> spellings(const HandleQuery& query) {
    std::vector<std::string> all;
    for (const std::string& handle : query.handles) {
        all.push_back(handle);
        if (query.platform.empty()) continue;
        auto canonical = normalise_handle(query.platform, handle);
        if (ok(canonical)) all.push_back(std::get<std::string>(std::move(canonical)));
    }
    return all;
}

/// All of a handle are one page as long as they fit: .NET deletes by handle as long as the first
/// page has a token (docs/contracts/anh.md 11.3). A token says, before the place, which spelling of
/// the handle is listed.
pns::Task<Response> list_by_handle(Call call, HandleQuery query) {
    const Request& request = call.request;
    const std::string path = "/registrations";
    const auto all = spellings(query);
    std::string narrowed = query.platform;
    for (const std::string& handle : all) narrowed.append("\n").append(handle);
    const std::string name = list_name(path, call.hub->row.number, {narrowed});
    const auto token = read_continuation(request, name);
    if (!token) co_return error(request, 400, no_token);
    auto read = [&call, &query, &all, &path, &name, &token]() -> registry::Result<Response> {
        registry::Page page;
        std::size_t first = 0;
        std::string after = *token;
        if (!after.empty()) {
            first = static_cast<std::size_t>(after.front() - '0');
            after.erase(0, 1);
        }
        for (std::size_t i = first; i < all.size() && page.registrations.empty(); ++i) {
            do {
                auto found = call.parts.registry.with_handle(call.hub->row.number, all[i],
                                                             std::move(after), page_max);
                if (!found) return found.error();
                for (Registration& registration : found->registrations) {
                    if (query.platform.empty() || query.platform == registration.platform)
                        page.registrations.push_back(std::move(registration));
                }
                after = std::move(found->next);
            } while (page.registrations.empty() && !after.empty());
            if (!after.empty()) page.next = std::to_string(i) + after;
        }
        return feed(call, page, path, name, page_max);
    };
    auto response = co_await on_store(call.parts.store, std::move(read));
    if (!response) co_return refused(request, response.error(), "");
    co_return std::move(*response);
}

}  // namespace

pns::Task<Response> create_registration_id(Call call) {
    Response response = empty_response(201);
    const std::string id = new_registration_id(call.hub->row.partitions);
    response.headers.emplace_back("Location", location_of(call.request, id));
    co_return response;
}

pns::Task<Response> create_registration(Call call) {
    std::string id = new_registration_id(call.hub->row.partitions);
    const Precondition none;
    co_return co_await write(std::move(call), std::move(id), none);
}

pns::Task<Response> put_registration(Call call) {
    if (auto refusal = check_registration_id(call.args.back()))
        co_return refused(call.request, *refusal);
    const auto match = read_if_match(call.request);
    if (!ok(match)) co_return refused(call.request, std::get<Refusal>(match));
    std::string id = call.args.back();
    co_return co_await write(std::move(call), std::move(id), std::get<Precondition>(match));
}

pns::Task<Response> get_registration(Call call) {
    auto read = [&call] {
        return call.parts.registry.registration(call.hub->row.number, call.args.back());
    };
    const auto found = co_await on_store(call.parts.store, std::move(read));
    if (!found) co_return refused(call.request, found.error(), "");
    co_return entry(call, *found);
}

pns::Task<Response> delete_registration(Call call) {
    const auto match = read_if_match(call.request);
    if (!ok(match)) co_return refused(call.request, std::get<Refusal>(match));
    auto erase = [&call, match = std::get<Precondition>(match)](registry::Done<void> done) {
        call.parts.registry.erase_registration(call.hub->row.number, call.args.back(), match,
                                               std::move(done));
    };
    const auto erased = co_await committed<void>(std::move(erase));
    if (!erased) co_return refused(call.request, erased.error(), "");
    co_return empty_response(200);
}

pns::Task<Response> list_registrations(Call call) {
    const auto text = call.request.param("$filter");
    if (text && trimmed(*text).empty()) {
        co_return error(call.request, 400,
                        "The $filter is blank, which names no handle. Leave it out to list all.");
    }
    if (!text) {
        std::string everything, path = "/registrations";
        co_return co_await list(std::move(call), std::move(everything), std::move(path));
    }
    auto filter = parse_filter(*text);
    if (!ok(filter)) co_return refused(call.request, std::get<Refusal>(filter));
    // All of a handle are one page, and yet what asks for a page must be right.
    const auto top = read_top(call.request);
    if (!ok(top)) co_return refused(call.request, std::get<Refusal>(top));
    const auto skip = read_skip(call.request);
    if (!ok(skip)) co_return refused(call.request, std::get<Refusal>(skip));
    HandleQuery wanted = std::get<HandleQuery>(std::move(filter));
    co_return co_await list_by_handle(std::move(call), std::move(wanted));
}

pns::Task<Response> list_registrations_by_tag(Call call) {
    std::string tag = call.args.back();
    if (trimmed(tag).empty()) co_return error(call.request, 400, "The tag in the path is blank.");
    std::string path = "/tags/";
    append_percent_encoded(path, tag);
    path += "/registrations";
    co_return co_await list(std::move(call), std::move(tag), std::move(path));
}

}  // namespace hub
