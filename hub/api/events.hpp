#pragma once

// The progress of one send as server-sent events: `progress` whenever something changed, at most
// four times a second, `end` with the final figures, and a comment as a heartbeat. The same JSON as
// GET of the send. Lives on the loop of the connection that reads it.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "hub/api/handlers.hpp"

namespace hub {

/// How many streams of events are open; one per process.
class EventStreams {
  public:
    explicit EventStreams(std::size_t streams_max) : max_(streams_max) {}
    /// Null: there are too many. The place is given back with the last copy.
    std::shared_ptr<const void> take();
    std::size_t open() const { return open_.load(); }

  private:
    const std::size_t max_;
    std::atomic<std::size_t> open_{0};
};

/// One event on the wire: name, data without line ends.
std::string event_text(std::string_view name, std::string_view data);

}  // namespace hub
