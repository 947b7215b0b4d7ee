// Any values for the parameters that the JSON routes and the pages of the contract take: refused in
// words, or a query within its bounds; the token of a page leads back to its place.
// Inputs: up to 8192 bytes, a target.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <string>
#include <string_view>
#include <variant>

#include "hub/http/paging.hpp"
#include "hub/http/request_fields.hpp"
#include "hub/http/responses.hpp"
#include "hub/http/route.hpp"
#include "hub/process/config.hpp"
#include "hub/send/audience_bounds.hpp"
#include "hub/send/device_query.hpp"
#include "hub/send/send_query.hpp"
#include "hub/text/text.hpp"
#include "pns/platform.hpp"
#include "tagexpr/utf8.hpp"
#include "tests/support/fuzzing.hpp"

namespace {

using support::require;
using support::take_line;
using support::taken;

constexpr std::string_view names[] = {"tag",
                                      "user",
                                      "platform",
                                      "handle",
                                      "state",
                                      "format",
                                      "from",
                                      "to",
                                      "top",
                                      "test",
                                      "outcome",
                                      "maxresults",
                                      "continuationtoken",
                                      "continuation"};

/// A route of ours with these parameters.
bool passes(const hub::Request& request, std::string_view parameters) {
    const hub::Route route("GET", "/{hub}/list", hub::Right::manage, 0, nullptr,
                           hub::Trait::problems, parameters);
    const auto refusal = hub::check_query(route, request);
    if (refusal) require(refusal->status == 400 && !refusal->message.empty());
    const std::string known = ' ' + std::string(parameters) + ' ';
    for (const auto& [name, value] : request.query) {
        if (refusal) break;
        require(known.find(' ' + name + ' ') != std::string::npos);
        require(std::count_if(request.query.begin(), request.query.end(),
                              [&name = name](const auto& one) { return one.first == name; }) == 1);
    }
    return !refusal;
}

void check_devices(const hub::Request& request, const hub::Config& config) {
    const auto query = hub::read_device_query(request, config, 1);
    if (!taken(query)) return;
    const auto& read = std::get<registry::DeviceQuery>(query);
    require(read.count_max >= 1 && read.count_max <= hub::devices_page_max);
    require(read.after.empty() || read.after[0] == 'i' || read.after[0] == 'r');
    require(!read.plan.nodes.empty() && read.platforms.size() <= 1);
}

void check_sends(const hub::Request& request) {
    const auto query = hub::read_send_query(request, 1);
    if (!taken(query)) return;
    const auto& read = std::get<registry::SendQuery>(query);
    require(read.count_max >= 1 && read.count_max <= hub::sends_page_max);
    require(read.enqueued_from_ms >= 0 && read.enqueued_to_ms >= 0 && read.states.size() <= 16);
    require(read.format.empty() || read.format == "template" ||
            pns::platform_by_format(read.format) != nullptr);
    require(request.param("continuation") || read.below.empty() || read.below.size() == 56);
}

/// With the token of `place` the same request is taken, and leads there.
void check_token(hub::Request request, std::string_view place) {
    std::erase_if(request.query, [](const auto& one) { return one.first == "continuation"; });
    const auto first = hub::read_send_query(request, 1);
    if (!taken(first) || place.empty() || place.size() > 1'000) return;
    hub::Request next = request;
    next.query.emplace_back("continuation", hub::sends_token(request, 1, place));
    const auto second = hub::read_send_query(next, 1);
    require(taken(second));
    const auto& below = std::get<registry::SendQuery>(first).below;
    const std::string at(place);
    require(std::get<registry::SendQuery>(second).below ==
            (below.empty() ? at : std::min(below, at)));
    require(!taken(hub::read_send_query(next, 2)));  // another hub's

    next.query.back().second = hub::device_token(request, 1, 'i' + at);
    const hub::Config config;
    if (taken(hub::read_device_query(request, config, 1))) {
        const auto page = hub::read_device_query(next, config, 1);
        require(taken(page) && std::get<registry::DeviceQuery>(page).after == 'i' + at);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    std::string_view text(reinterpret_cast<const char*>(bytes), size);
    const auto place = take_line(text);
    hub::Request request;
    request.method = "GET";
    request.received_at_ms = 1'795'200'000'000;
    request.headers.emplace_back("if-match", place);
    request.headers.emplace_back("pushhub-expect-audience", place);
    // The first letter of a line names the parameter, the rest is its value.
    request.target = "/orders/list?";
    for (auto line = take_line(text); !line.empty(); line = take_line(text)) {
        request.target += names[static_cast<unsigned char>(line.front()) % std::size(names)];
        request.target += '=';
        hub::append_percent_encoded(request.target, line.substr(1));
        request.target += '&';
    }
    if (!hub::parse_target(request)) return 0;
    for (const auto& [name, value] : request.query)
        require(std::find(std::begin(names), std::end(names), name) != std::end(names));

    static const hub::Config config;
    passes(request, "tag user platform handle state top continuation");
    passes(request, "state format from to top continuation");
    check_devices(request, config);
    check_sends(request);
    check_token(request, place);
    if (const auto page = hub::read_paging(request, "a list"); taken(page)) {
        const auto& asked = std::get<hub::AskedPage>(page);
        require(asked.top >= 1 && asked.top <= hub::page_rows_max);
    }
    if (const auto count = hub::read_count(request, "maxresults", 1, 7); taken(count))
        require(std::get<std::size_t>(count) >= 1);
    taken(hub::read_flag(request, "test"));
    taken(hub::read_if_match(request));
    taken(hub::read_audience_bounds(request, config, "orders"));
    (void)hub::read_continuation(request, "a list");
    return 0;
}
