#pragma once

// The places that open sends take, all hubs together and each hub's share of them.

#include <string>

#include "hub/process/shares.hpp"
#include "hub/send/send_run.hpp"

namespace hub {

struct SendPlaces {
    Shares at_work, waiting, backlog;

    /// The run is held or paused from now on: it takes a place among those and gives back what it
    /// held as one at work. Without a place there it goes on counting as one at work, so that a
    /// send can always be paused. On its home lane.
    void begins_to_wait(SendRun& run);
    /// It is to go on and takes a place among those at work. There is none: why not, in words, and
    /// it still waits. On its home lane.
    std::string ends_waiting(SendRun& run);
};

}  // namespace hub
