// Tested by tests/hub_routes_test.cpp.

#include "hub/routes.hpp"

#include <algorithm>
#include <array>

#include "hub/text.hpp"

namespace hub {

namespace {

constexpr std::size_t body_bytes = 64 * 1024;     // contracts/anh.md 2.5: 413 above 64 KB
constexpr std::size_t batch_bytes = 512 * 1024;   // a message and up to 1,000 handles
constexpr std::size_t hub_bytes = 256 * 1024;     // a description with all credentials
constexpr std::size_t no_body_bytes = 64 * 1024;  // some clients send a body nobody asked for

constexpr std::array table{
    Route{"GET", "/healthz", Right::none, no_body_bytes, get_healthz},
    Route{"GET", "/readyz", Right::none, no_body_bytes, get_readyz},
    Route{"GET", "/metrics", Right::none, no_body_bytes, get_metrics},
    Route{"GET", "/version", Right::none, no_body_bytes, get_version},
    Route{"GET", "/openapi.json", Right::none, no_body_bytes, get_openapi},

    // Authorised by the signature of the URL; the bound of a PUT depends on it (dispatch.cpp).
    Route{"GET", "/$blobs/{hub}/{container}", Right::none, no_body_bytes, list_blobs},
    Route{"GET", "/$blobs/{hub}/{container}/{name...}", Right::none, no_body_bytes, get_blob},
    Route{"HEAD", "/$blobs/{hub}/{container}/{name...}", Right::none, no_body_bytes, get_blob},
    Route{"PUT", "/$blobs/{hub}/{container}/{name...}", Right::none, no_body_bytes, put_blob, false,
          true},

    Route{"GET", "/", Right::manage_namespace, no_body_bytes, list_hubs},
    Route{"GET", "/$Resources/NotificationHubs", Right::manage_namespace, no_body_bytes, list_hubs},
    Route{"PUT", "/{hub}", Right::manage_namespace, hub_bytes, put_hub},
    Route{"GET", "/{hub}", Right::manage, no_body_bytes, get_hub},
    Route{"DELETE", "/{hub}", Right::manage_namespace, no_body_bytes, delete_hub},

    Route{"POST", "/{hub}/registrationids", Right::listen, no_body_bytes, create_registration_id,
          true},
    Route{"POST", "/{hub}/registrations", Right::listen, body_bytes, create_registration, true},
    Route{"GET", "/{hub}/registrations", Right::listen_if_filtered, no_body_bytes,
          list_registrations},
    Route{"PUT", "/{hub}/registrations/{id}", Right::listen, body_bytes, put_registration},
    Route{"GET", "/{hub}/registrations/{id}", Right::listen, no_body_bytes, get_registration},
    Route{"DELETE", "/{hub}/registrations/{id}", Right::listen, no_body_bytes, delete_registration},
    Route{"GET", "/{hub}/tags/{tag}/registrations", Right::manage, no_body_bytes,
          list_registrations_by_tag},

    Route{"PUT", "/{hub}/installations/{id}", Right::listen, body_bytes, put_installation},
    Route{"PATCH", "/{hub}/installations/{id}", Right::listen, body_bytes, patch_installation},
    Route{"GET", "/{hub}/installations/{id}", Right::listen, no_body_bytes, get_installation},
    Route{"DELETE", "/{hub}/installations/{id}", Right::listen, no_body_bytes, delete_installation},

    Route{"POST", "/{hub}/messages", Right::send, body_bytes, post_message, true},
    Route{"POST", "/{hub}/messages/$batch", Right::send, batch_bytes, post_direct_batch, true},
    Route{"POST", "/{hub}/schedulednotifications", Right::send, body_bytes, post_scheduled, true},
    Route{"DELETE", "/{hub}/schedulednotifications/{id}", Right::send, no_body_bytes,
          delete_scheduled},
    Route{"GET", "/{hub}/messages/{id}", Right::send_or_manage, no_body_bytes, get_message},

    Route{"POST", "/{hub}/audience", Right::send_or_manage, body_bytes, post_audience},
    Route{"GET", "/{hub}/devices", Right::manage, no_body_bytes, list_devices},
    Route{"DELETE", "/{hub}/users/{id}", Right::manage, no_body_bytes, erase_user},

    Route{"POST", "/{hub}/apns/channels", Right::manage, body_bytes, post_channel, true},
    Route{"GET", "/{hub}/apns/channels", Right::manage, no_body_bytes, list_channels},
    Route{"GET", "/{hub}/apns/channels/{id}", Right::manage, no_body_bytes, get_channel},
    Route{"DELETE", "/{hub}/apns/channels/{id}", Right::manage, no_body_bytes, delete_channel},
    Route{"POST", "/{hub}/apns/channels/{id}/messages", Right::send, body_bytes,
          post_channel_message, true},
    Route{"POST", "/{hub}/fcmv1/messages", Right::send, body_bytes, post_topic_message, true},

    Route{"GET", "/{hub}/sends", Right::send_or_manage, no_body_bytes, list_sends},
    Route{"GET", "/{hub}/sends/{id}", Right::send_or_manage, no_body_bytes, get_send},
    Route{"GET", "/{hub}/sends/{id}/events", Right::send_or_manage, no_body_bytes, get_send_events},
    Route{"POST", "/{hub}/sends/{id}/pause", Right::send, no_body_bytes, pause_send},
    Route{"POST", "/{hub}/sends/{id}/resume", Right::send, no_body_bytes, resume_send},
    Route{"POST", "/{hub}/sends/{id}/cancel", Right::send, no_body_bytes, cancel_send},
    Route{"GET", "/{hub}/sends/{id}/devices", Right::send_or_manage, no_body_bytes,
          get_send_devices},
    Route{"GET", "/{hub}/devices/{id}/pushes", Right::send_or_manage, no_body_bytes,
          get_device_pushes},
    Route{"GET", "/{hub}/retirements", Right::send_or_manage, no_body_bytes, get_retirements},
    Route{"GET", "/{hub}/retirements/held", Right::manage, no_body_bytes, list_held_retirements},
    Route{"POST", "/{hub}/retirements/held/release", Right::manage, no_body_bytes,
          release_held_retirements},
    Route{"POST", "/{hub}/retirements/held/discard", Right::manage, no_body_bytes,
          discard_held_retirements},

    Route{"GET", "/{hub}/feedbackcontainer", Right::send_or_manage, no_body_bytes,
          get_feedback_container},
    Route{"GET", "/{hub}/blobcontainers/{container}", Right::manage, no_body_bytes,
          get_blob_container},
    Route{"POST", "/{hub}/jobs", Right::manage, body_bytes, post_job, true},
    Route{"GET", "/{hub}/jobs", Right::manage, no_body_bytes, list_jobs},
    Route{"GET", "/{hub}/jobs/{id}", Right::manage, no_body_bytes, get_job},
};

/// The next segment of a pattern, taken off its front. Empty: no more.
std::string_view take_segment(std::string_view& pattern) {
    if (pattern.starts_with('/')) pattern.remove_prefix(1);
    const auto segment = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(segment.size());
    return segment;
}

bool is_rest(std::string_view pattern_segment) {
    return pattern_segment.ends_with("...}");
}

/// Literal segments that matched, counted from the left as digits: the more literal route wins. -1:
/// no match.
int fit(const Route& route, std::span<const std::string> segments) {
    if (route.segments != segments.size() && !route.takes_rest) return -1;
    std::string_view pattern = route.pattern;
    int score = 0;
    for (const auto& segment : segments) {
        const auto wanted = take_segment(pattern);
        if (wanted.empty()) return -1;
        if (is_rest(wanted)) {
            const auto left =
                static_cast<std::size_t>(segments.data() + segments.size() - &segment);
            return score << left;
        }
        const bool literal = wanted.front() != '{';
        if (literal && !same_ignoring_case(wanted, segment)) return -1;
        score = score * 2 + (literal ? 1 : 0);
    }
    return take_segment(pattern).empty() ? score : -1;
}

std::vector<std::string> arguments(std::string_view pattern,
                                   std::span<const std::string> segments) {
    std::vector<std::string> out;
    bool in_rest = false;
    for (const auto& segment : segments) {
        if (in_rest) {
            out.back().append("/").append(segment);
            continue;
        }
        const auto wanted = take_segment(pattern);
        in_rest = is_rest(wanted);
        if (wanted.front() == '{') out.push_back(segment);
    }
    return out;
}

}  // namespace

std::span<const Route> routes() {
    return table;
}

bool takes_pieces(const Routed& routed) {
    const auto* matched = std::get_if<Matched>(&routed);
    return matched != nullptr && matched->route->takes_pieces;
}

bool speaks_json(const Route& route) {
    constexpr std::array<std::string_view, 7> nouns{
        "/{hub}/audience",    "/{hub}/sends", "/{hub}/devices", "/{hub}/users",
        "/{hub}/retirements", "/{hub}/apns",  "/{hub}/fcmv1"};
    return std::any_of(nouns.begin(), nouns.end(),
                       [&](std::string_view noun) { return route.pattern.starts_with(noun); });
}

bool names_hub(const Route& route) {
    return route.pattern.starts_with("/{hub}");
}

Routed match(std::string_view method, std::span<const std::string> segments) {
    return match(table, method, segments);
}

Routed match(std::span<const Route> routes, std::string_view method,
             std::span<const std::string> segments) {
    constexpr std::size_t segments_max = 20;  // bounds the score of a pattern with `...`
    int best = -1;
    if (segments.size() <= segments_max) {
        for (const auto& route : routes) best = std::max(best, fit(route, segments));
    }
    if (best < 0) return NoRoute{404, {}};
    std::string allow;
    for (const auto& route : routes) {
        if (fit(route, segments) != best) continue;
        if (route.method == method) return Matched{&route, arguments(route.pattern, segments)};
        allow.append(allow.empty() ? "" : ", ").append(route.method);
    }
    return NoRoute{405, std::move(allow)};
}

}  // namespace hub
