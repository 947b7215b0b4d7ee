#pragma once

// The progress of one send as server-sent events: `progress` whenever something changed, at most
// four times a second, `end` with the final figures, and a comment as a heartbeat. The same JSON as
// GET of the send. Lives on the loop of the connection that reads it, and gives its place back when
// that has ended.

#include <string>
#include <string_view>

namespace hub {

/// One event on the wire: name, data without line ends.
std::string event_text(std::string_view name, std::string_view data);

}  // namespace hub
