// Tested by tests/hub_control_test.cpp, tests/fuzz_queries.cpp.

#include "hub/send/send_query.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>

#include "hub/http/continuation.hpp"
#include "hub/send/send_states.hpp"
#include "hub/text/text.hpp"
#include "hub/text/times.hpp"
#include "pns/platform.hpp"

namespace hub {

namespace {

using registry::SendState;

constexpr std::size_t send_id_bytes = 56;

/// Sorts before every id made at `time_ms` or later, and after all that were made before it.
std::string id_floor(std::int64_t time_ms) {
    const std::time_t seconds = static_cast<std::time_t>(time_ms / 1'000);
    std::tm utc{};
    gmtime_r(&seconds, &utc);
    char stamp[32];
    std::strftime(stamp, sizeof stamp, "NH-%Y%m%d%H%M%S", &utc);
    char digits[8];
    std::snprintf(digits, sizeof digits, "%03d", static_cast<int>(time_ms % 1'000));
    std::string id = std::string(stamp) + digits;
    id.resize(send_id_bytes, '-');
    return id;
}

std::optional<Refusal> read_time(const Request& request, std::string_view name, std::int64_t& out) {
    const auto text = request.param(name);
    if (!text || text->empty()) return std::nullopt;
    const auto time = parse_time_ms(*text);
    if (!time || *time < 0) {
        return bad_request("The parameter " + std::string(name) + " '" + shown(*text) +
                           "' is no time. Write it in UTC as 2026-11-21T10:00:00.");
    }
    out = *time;
    return std::nullopt;
}

std::optional<Refusal> read_states(std::string_view text, std::vector<SendState>& out) {
    while (!text.empty()) {
        const auto comma = std::min(text.find(','), text.size());
        const auto name = trimmed(text.substr(0, comma));
        const auto state = control_state_by_name(name);
        if (!state) {
            return bad_request("The state '" + shown(name) +
                               "' is not known. Use Scheduled, Enqueued, Processing, Held, Paused, "
                               "Canceling, Completed, NoTargetFound, Canceled or Abandoned.");
        }
        out.push_back(*state);
        text.remove_prefix(std::min(comma + 1, text.size()));
        if (out.size() > 16) return bad_request("The parameter state names more than 16 states.");
    }
    return std::nullopt;
}

/// The list of sends that a request asks for, as its tokens name it.
std::string list_of(const Request& request, std::uint32_t hub) {
    return list_name("sends", hub,
                     {filter_name(request.param("state")), filter_name(request.param("format")),
                      filter_name(request.param("from")), filter_name(request.param("to"))});
}

}  // namespace

Parsed<registry::SendQuery> read_send_query(const Request& request, std::uint32_t hub) {
    registry::SendQuery query;
    query.count_max = sends_page_preset;
    if (auto refusal = read_time(request, "from", query.enqueued_from_ms)) return *refusal;
    if (auto refusal = read_time(request, "to", query.enqueued_to_ms)) return *refusal;
    if (auto refusal = read_states(request.param("state").value_or(""), query.states))
        return *refusal;
    query.format = lower(trimmed(request.param("format").value_or("")));
    const bool any = query.format.empty() || query.format == "template";
    if (!any && pns::platform_by_format(query.format) == nullptr)
        return bad_request("The format '" + shown(query.format) + "' is not known.");
    const auto count = request.param("top").value_or("");
    if (!count.empty()) {
        const auto [end, failure] =
            std::from_chars(count.data(), count.data() + count.size(), query.count_max);
        if (failure != std::errc() || end != count.data() + count.size() || query.count_max < 1 ||
            query.count_max > sends_page_max) {
            return bad_request("The parameter top must be a whole number from 1 to " +
                               std::to_string(sends_page_max) + ".");
        }
    }
    if (query.enqueued_to_ms < registry::never_ms) query.below = id_floor(query.enqueued_to_ms + 1);
    const auto token = request.param("continuation").value_or("");
    if (!token.empty()) {
        auto place = continuation_place(list_of(request, hub), token);
        if (!place) return bad_request("The parameter continuation is no token of this list.");
        if (query.below.empty() || *place < query.below) query.below = std::move(*place);
    }
    return query;
}

std::string sends_token(const Request& request, std::uint32_t hub, std::string_view next) {
    return continuation_token(list_of(request, hub), next);
}

}  // namespace hub
