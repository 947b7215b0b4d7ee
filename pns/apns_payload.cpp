// Tested by tests/pns_apns_test.cpp.
#include "pns/apns_payload.hpp"

#include "pns/json_walk.hpp"
#include "pns/providers.hpp"

namespace pns {

namespace {

constexpr std::size_t seconds_digits_max = 11;  // the year 5138

}  // namespace

ApnsPayload look_at_payload(std::string_view body) {
    ApnsPayload out;
    const bool valid =
        walk_json(body, [&](const JsonPlace& place, JsonKind kind, std::string_view text) {
            if (place.depth == 0) out.is_object = kind == JsonKind::object;
            if (place.depth != 2 || place.keys[0] != "aps") return;
            const std::string& name = place.keys[1];
            const bool is_object = kind == JsonKind::object, is_text = kind == JsonKind::string;
            if (name == "content-available")
                out.content_available = text == "1" || text == "true";
            else if (name == "alert")
                out.alert = kind != JsonKind::null;
            else if (name == "badge" || name == "sound")
                out.visible = out.visible || kind != JsonKind::null;
            else if (name == "event" && is_text)
                out.event = text;
            else if (name == "timestamp") {
                out.timestamp = kind == JsonKind::number;
                out.timestamp_in_ms =
                    text.size() > seconds_digits_max &&
                    text.find_first_not_of("0123456789") == std::string_view::npos;
            } else if (name == "content-state")
                out.content_state = is_object;
            else if (name == "attributes-type")
                out.attributes_type = is_text && !text.empty();
            else if (name == "attributes")
                out.attributes = is_object;
        });
    out.visible = out.visible || out.alert;
    out.is_object = out.is_object && valid;
    return out;
}

std::optional<Refusal> check_live_activity(const ApnsPayload& payload, bool broadcast) {
    if (!payload.timestamp) return bad_format("A Live Activity needs aps.timestamp: Unix seconds.");
    if (payload.timestamp_in_ms)
        return bad_format("aps.timestamp must be Unix seconds; it looks like milliseconds.");
    const bool start = payload.event == "start";
    if (!payload.is_live_event())
        return bad_format("A Live Activity needs aps.event: start, update or end.");
    if (start && broadcast)
        return bad_format("aps.event must be update or end: a broadcast cannot start an activity.");
    if (payload.event != "end" && !payload.content_state)
        return bad_format("A Live Activity needs aps.content-state: an object.");
    if (start && (!payload.attributes_type || !payload.attributes || !payload.alert))
        return bad_format(
            "The start of a Live Activity needs aps.attributes-type, aps.attributes and "
            "aps.alert.");
    return std::nullopt;
}

}  // namespace pns
