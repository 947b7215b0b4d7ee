#pragma once

// The body of a direct batch (docs/contracts/anh.md 5.5): multipart/mixed with one notification and
// one JSON array of handles. Pure, any thread. Handles never enter a refusal.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "hub/text/wire_error.hpp"

namespace hub {

constexpr std::size_t batch_bytes_max = 512 * 1024;  ///< a message and up to 1,000 handles
constexpr std::size_t batch_handles_max = 1000;
constexpr std::size_t batch_notification_bytes_max = 64 * 1024;
constexpr std::size_t batch_handle_bytes_max = 4096;

struct DirectBatch {
    std::string notification;
    std::string content_type;  ///< of the notification part, as written; may be empty
    std::vector<std::string> handles;
};

/// Takes the boundary quoted or not, blanks around its '=', bare LF line ends, part headers in any
/// case and order, and a closing delimiter without line end.
Parsed<DirectBatch> parse_direct_batch(std::string_view content_type, std::string_view body);

}  // namespace hub
