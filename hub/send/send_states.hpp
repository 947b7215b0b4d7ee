#pragma once

// The life of a send as a state machine: which event leads from which state to which. The fan-out
// and the handlers ask here, nothing else decides. Pure, any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "registry/send.hpp"

namespace hub {

enum class SendEvent : std::uint8_t {
    pushes_begin,
    pause,         ///< asked for
    resume,        ///< asked for
    cancel,        ///< asked for
    canary_final,  ///< every device of the canary share is final
    all_final,     ///< every device is final
    all_given_up,  ///< the same, some because the send's time was over
};

/// The state after the event; the same state if the event asks for what is so already. Nothing: the
/// event has no place there.
std::optional<registry::SendState> next_state(registry::SendState state, SendEvent event);

/// Why a send in `state` does not take `event`, as a sentence for the one who asked.
std::string why_not(registry::SendState state, SendEvent event);

/// "Scheduled", "Enqueued", ... as the JSON surface and the terminal name them.
std::string_view control_state_name(registry::SendState state);
std::optional<registry::SendState> control_state_by_name(std::string_view name);  ///< any case

/// What became of a command to a send.
struct ControlAnswer {
    bool allowed = false;
    std::string busy{};  ///< not now, there is no place for it: in words
    registry::SendState state = registry::SendState::enqueued;  ///< now
};

}  // namespace hub
