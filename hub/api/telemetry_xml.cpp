#include "hub/api/telemetry_xml.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "hub/text/times.hpp"
#include "hub/text/xml.hpp"
#include "pns/platform.hpp"

// Tested by tests/hub_telemetry_test.cpp.

namespace hub {
namespace {

/// Comma list of format names: of the send itself, or `<format>template` of every platform that a
/// template send has reached so far.
std::string target_platforms(const registry::Send& send, const registry::Counts& counts) {
    if (send.format != "template") return send.format;
    std::set<std::string> names;
    for (const auto& [key, count] : counts) {
        const pns::Platform* platform = pns::platform_by_name(key.first);
        if (count > 0 && platform != nullptr)
            names.insert(std::string(platform->format) + "template");
    }
    std::string out;
    for (const std::string& name : names) {
        if (!out.empty()) out += ',';
        out += name;
    }
    return out;
}

void append_counts(std::string& out, std::string_view platform, const registry::Counts& counts) {
    std::string outcomes;
    for (const auto& [key, count] : counts) {
        if (key.first != platform || count == 0) continue;
        outcomes += "<Outcome>";
        append_element(outcomes, "Name", key.second);
        append_element(outcomes, "Count", std::to_string(count));
        outcomes += "</Outcome>";
    }
    if (outcomes.empty()) return;
    const std::string element(pns::platform_by_name(platform)->counts);
    out += "<" + element + ">" + outcomes + "</" + element + ">";
}

void append_present(std::string& out, std::string_view name, std::string_view text) {
    if (!text.empty()) append_element(out, name, text);
}

}  // namespace

std::string_view state_name(registry::SendState state) {
    switch (state) {
        case registry::SendState::scheduled:
            return "Scheduled";
        case registry::SendState::enqueued:
            return "Enqueued";
        case registry::SendState::held:
        case registry::SendState::paused:
        case registry::SendState::canceling:
        case registry::SendState::processing:
            return "Processing";
        case registry::SendState::completed:
            return "Completed";
        case registry::SendState::no_target:
            return "NoTargetFound";
        case registry::SendState::canceled:
            return "Canceled";
        case registry::SendState::abandoned:
            return "Abandoned";
    }
    return "Unknown";
}

std::string notification_details(const registry::Send& send, const registry::Progress& progress,
                                 std::string_view location, std::string_view error_details_url) {
    std::string out =
        "<NotificationDetails "
        "xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\" "
        "xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\">";
    append_element(out, "NotificationId", send.id);
    append_present(out, "Location", location);
    append_element(out, "State", state_name(progress.state));
    append_element(out, "EnqueueTime", iso_ms(send.enqueued_at_ms));
    if (progress.started_at_ms > 0)
        append_element(out, "StartTime", iso_ms(progress.started_at_ms));
    if (progress.ended_at_ms > 0) append_element(out, "EndTime", iso_ms(progress.ended_at_ms));
    append_present(out, "NotificationBody", send.body);
    append_present(out, "Tags", send.tag_expression);
    append_present(out, "TargetPlatforms", target_platforms(send, progress.counts));
    // .NET reads in this order; platforms it does not know come last.
    constexpr std::array before_errors{"apns", "mpns", "wns", "gcm", "adm"};
    constexpr std::array after_errors{"fcmv1", "baidu", "browser", "xiaomi"};
    for (const char* platform : before_errors) append_counts(out, platform, progress.counts);
    append_present(out, "PnsErrorDetailsUri", error_details_url);
    for (const char* platform : after_errors) append_counts(out, platform, progress.counts);
    for (const pns::Platform& platform : pns::platforms()) {
        const bool written = std::find(before_errors.begin(), before_errors.end(), platform.name) !=
                                 before_errors.end() ||
                             std::find(after_errors.begin(), after_errors.end(), platform.name) !=
                                 after_errors.end();
        if (!written) append_counts(out, platform.name, progress.counts);
    }
    return out + "</NotificationDetails>";
}

}  // namespace hub
