#pragma once

// What the shape of an APNs payload says and must have (docs/contracts/pns.md 1.4, 1.5). The
// payload itself goes on byte for byte. Only pns/apns*.cpp use it. Pure; any thread.

#include <optional>
#include <string>
#include <string_view>

#include "pns/platform.hpp"

namespace pns {

struct ApnsPayload {
    bool is_object = false, content_available = false;
    bool alert = false, visible = false;  ///< visible: alert, badge or sound
    std::string event;                    ///< of a Live Activity
    bool timestamp = false, content_state = false, attributes_type = false, attributes = false;
    bool timestamp_in_ms = false;  ///< so far ahead that it cannot be seconds

    /// Any payload may have an event of its own.
    bool is_live_activity() const { return timestamp && is_live_event(); }
    bool is_live_event() const { return event == "start" || event == "update" || event == "end"; }
};

ApnsPayload look_at_payload(std::string_view body);

/// What the device would drop without a word. A broadcast cannot start an activity.
std::optional<Refusal> check_live_activity(const ApnsPayload& payload, bool broadcast);

}  // namespace pns
