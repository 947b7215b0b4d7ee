// Tested by tests/hub_server_test.cpp.

#include "hub/server/dispatch.hpp"

#include <algorithm>
#include <exception>

#include "hub/device/hubs.hpp"
#include "hub/http/problem.hpp"
#include "hub/http/request_fields.hpp"
#include "hub/process/config.hpp"
#include "hub/process/log.hpp"
#include "hub/process/metrics.hpp"
#include "hub/text/text.hpp"

namespace hub {

namespace {

constexpr std::string_view no_route = "none";
constexpr std::string_view too_many = "Too many requests are at work. Try again.";

/// Is it what some clients write for the character set, which changes nothing of a body? The Java
/// SDK writes `utf-8`.
bool names_characters(std::string_view coding) {
    const std::string name = lower(coding);
    return name.starts_with("utf") || name.starts_with("iso-8859-") ||
           name.starts_with("windows-125") || name == "us-ascii" || name == "ascii";
}

/// Bodies are read as they are: one that is compressed would be kept or sent as nonsense.
std::optional<Response> refuse_coding(const Request& request) {
    if (request.method != "POST" && request.method != "PUT" && request.method != "PATCH")
        return std::nullopt;
    for (const auto& [name, value] : request.headers) {
        if (name != "content-encoding") continue;
        for (std::string_view rest = value; !rest.empty();) {
            const auto comma = std::min(rest.find(','), rest.size());
            const auto coding = trimmed(rest.substr(0, comma));
            rest.remove_prefix(std::min(comma + 1, rest.size()));
            if (coding.empty() || same_ignoring_case(coding, "identity") ||
                names_characters(coding))
                continue;
            Response response = error(request, 415,
                                      "The Content-Encoding '" + shown(coding) +
                                          "' is not understood: send the body as it is.");
            response.headers.emplace_back("Accept-Encoding", "identity");
            return response;
        }
    }
    return std::nullopt;
}

struct Counted {
    explicit Counted(std::atomic<std::size_t>& count) : count_(count) {
        before = count_.fetch_add(1, std::memory_order_relaxed);
    }
    ~Counted() { count_.fetch_sub(1, std::memory_order_relaxed); }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    std::size_t before = 0;

  private:
    std::atomic<std::size_t>& count_;
};

}  // namespace

Dispatch::Dispatch(const Config& config, const pns::Clock& clock, Metrics& metrics,
                   std::span<const Route> routes, Authoriser authoriser, Parts& parts,
                   AnswerOnce answer_once)
    : config_(config),
      clock_(clock),
      metrics_(metrics),
      routes_(routes),
      authoriser_(std::move(authoriser)),
      parts_(parts),
      answer_once_(answer_once) {}

bool Dispatch::is_open(Door door, const Route& route) const {
    if (door == Door::admin) return route.tells_health;
    const auto& closed = config_.closed_pages;
    return door == Door::inside || route.right != Right::none ||
           std::find(closed.begin(), closed.end(), route.pattern.substr(1)) == closed.end();
}

Routed Dispatch::route(const Request& request) const {
    Routed routed = match(routes_, request.method, request.segments);
    const auto* matched = std::get_if<Matched>(&routed);
    if (matched != nullptr && !is_open(request.door, *matched->route)) return NoRoute{404, {}};
    return routed;
}

Response Dispatch::finish(const Request& request, std::string_view pattern, Response response) {
    if (pattern == no_route) {  // refused before its route was asked: in the form of the route
        const Routed routed = route(request);
        const auto* matched = std::get_if<Matched>(&routed);
        if (matched != nullptr && matched->route->answers_problems)
            response = as_problem(request, std::move(response));
    }
    for (auto& [name, value] : response.headers) {  // nothing may add a line to the head
        std::erase_if(value,
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
    }
    response.headers.emplace_back("TrackingId", request.tracking_id);
    response.headers.emplace_back("x-ms-correlation-request-id", request.tracking_id);
    const auto spent_ms = clock_.wall_ms() - request.received_at_ms;
    metrics_.request(request.method, pattern, response.status,
                     static_cast<double>(spent_ms < 0 ? 0 : spent_ms) / 1000.0);
    return response;
}

Response Dispatch::refuse(const Request& request, int status, std::string_view message) {
    return finish(request, no_route, error(request, status, message));
}

Response Dispatch::refuse_for_now(const Request& request, std::string_view message) {
    Response busy = error(request, 503, message);
    busy.headers.emplace_back("Retry-After", "1");
    return finish(request, no_route, std::move(busy));
}

std::size_t Dispatch::bodies_bytes_max() const {
    return std::size_t{config_.request_bodies_mib_max} << 20;
}

std::size_t Dispatch::answers_bytes_max() const {
    return std::size_t{config_.answers_mib_max} << 20;
}

bool Dispatch::may_wait(const Request& request, std::size_t bytes) {
    constexpr std::size_t small_bytes = 16 * 1024;
    return bytes > small_bytes && request.method == "GET";
}

/// What has nothing to do with who asks for what.
std::optional<Response> Dispatch::refuse_for_load(const Request& request, const Routed& routed,
                                                  TokenBucket& connection) {
    connection.allow(config_.requests_per_second_per_connection, request.received_at_ms);
    if (const auto wait_ms = connection.take(request.received_at_ms); wait_ms > 0) {
        metrics_.limited("connection");
        Response slow = error(request, 429, "This connection sends requests too fast.");
        slow.headers.emplace_back("Retry-After", retry_after_s(wait_ms));
        return finish(request, no_route, std::move(slow));
    }
    if (in_flight() >= config_.requests_in_flight_max) return refuse_for_now(request, too_many);
    const auto* matched = std::get_if<Matched>(&routed);
    const bool tells_health = matched != nullptr && matched->route->tells_health;
    if (request.method == "GET" && !tells_health && answers_.held() >= answers_bytes_max())
        return refuse_for_now(request, "Too many answers have not been read yet. Try again.");
    return std::nullopt;
}

std::variant<Admitted, Response> Dispatch::admit(const Request& request, TokenBucket& connection) {
    Routed routed = route(request);
    if (auto loaded = refuse_for_load(request, routed, connection)) return std::move(*loaded);
    if (const auto* none = std::get_if<NoRoute>(&routed)) {
        const bool unknown = none->status == 404;
        Response response =
            error(request, none->status,
                  unknown ? "There is nothing at this path." : "The method is not allowed here.");
        if (!unknown) response.headers.emplace_back("Allow", none->allow);
        return finish(request, no_route, std::move(response));
    }
    Admitted admitted;
    admitted.matched = std::get<Matched>(std::move(routed));
    const Route& found = *admitted.matched.route;
    auto refused = refuse_coding(request);
    if (!refused) refused = refuse_by_head(request, admitted.matched, admitted.hub);
    if (refused) {
        if (found.answers_problems) refused = as_problem(request, std::move(*refused));
        return finish(request, found.pattern, std::move(*refused));
    }
    admitted.body_bytes_max = found.body_bound != nullptr
                                  ? found.body_bound(parts_, request, admitted.matched.args)
                                  : found.body_bytes_max;
    return admitted;
}

pns::Task<Response> Dispatch::answer(const Request& request, const Admitted& admitted) {
    const Counted counted(in_flight_);
    if (counted.before >= config_.requests_in_flight_max)
        co_return refuse_for_now(request, too_many);
    const Route& route = *admitted.matched.route;
    Response response;
    try {
        response = co_await handled(request, admitted);
    } catch (const std::exception& bug) {
        if (const auto left_out = failures_.allow(route.pattern, request.received_at_ms))
            log_error("a handler failed", {{"route", std::string(route.pattern)},
                                           {"what", bug.what()},
                                           {"tracking_id", request.tracking_id},
                                           {"lines_left_out", lines_left_out(*left_out)}});
        response = error(request, 500, "The request could not be processed.");
    }
    if (request.method == "HEAD" && response.streams) {  // its length is not known: only the head
        response.more = nullptr;
        response.body.clear();
    }
    if (route.answers_problems) response = as_problem(request, std::move(response));
    const bool fits = answers_.held() + response.body.size() <= answers_bytes_max();
    if (!fits && !route.tells_health && may_wait(request, response.body.size()))
        co_return refuse_for_now(request, "There is no memory left for the answer now. Try again.");
    co_return finish(request, route.pattern, std::move(response));
}

/// Who asks, and for what. Sets `hub` if the path names one that exists.
std::optional<Response> Dispatch::refuse_by_head(const Request& request, const Matched& matched,
                                                 std::shared_ptr<const HubState>& hub) const {
    const Route& route = *matched.route;
    if (route.names_hub) hub = authoriser_.find_hub(matched.args.front());
    if (route.right != Right::none) {
        if (auto refused = authoriser_.refuse(request, hub.get(), route)) return refused;
    }
    const bool creates_hub = route.method == "PUT" && route.pattern == "/{hub}";
    if (route.names_hub && !hub && !creates_hub)
        return error(request, 404, "No service is hosted at the specified address.");
    auto refusal = check_query(route, request);
    if (!refusal && route.right != Right::none)
        refusal = check_own_headers(request, route.steers_sends);
    if (refusal) return error(request, refusal->status, refusal->message);
    return std::nullopt;
}

pns::Task<Response> Dispatch::handled(const Request& request, const Admitted& admitted) {
    const Matched& matched = admitted.matched;
    const Route& route = *matched.route;
    auto hub = admitted.hub;
    // Time has gone by while a body came.
    const bool had_body = !request.body.empty();
    if (had_body && route.names_hub && authoriser_.find_hub(matched.args.front()) != hub) {
        if (auto refused = refuse_by_head(request, matched, hub)) co_return std::move(*refused);
    }
    Shares::Place place;
    if (places_ && hub) {
        place = places_->take(hub->row.number);
        if (!place) {
            const bool of_hub = place.full() == Full::hub;
            if (of_hub) metrics_.limited("hub_share");
            Response busy = error(request, of_hub ? 429 : 503, places_->why(place.full()));
            busy.headers.emplace_back("Retry-After", "1");
            co_return busy;
        }
    }
    Call call{request, std::move(hub), matched.args, parts_};
    const bool once =
        route.creates && answer_once_ != nullptr && has_header(request, "idempotency-key");
    if (once) co_return co_await answer_once_(std::move(call), route.handler);
    co_return co_await route.handler(std::move(call));
}

}  // namespace hub
