// Tested by tests/hub_control_test.cpp and tests/hub_admission_test.cpp.

#include "hub/send/send_places.hpp"

#include <utility>

namespace hub {

void SendPlaces::begins_to_wait(SendRun& run) {
    if (run.waits) return;
    Shares::Place place = waiting.take(run.hub->row.number);
    if (!place) return;
    run.place = std::move(place);
    run.waits = true;
    run.backlog.give_back();
}

std::string SendPlaces::ends_waiting(SendRun& run) {
    if (!run.waits) return {};
    Shares::Place place = at_work.take(run.hub->row.number);
    if (!place) return at_work.why(place.full());
    run.place = std::move(place);
    run.waits = false;
    run.backlog.take(backlog, run.hub->row.number);
    return {};
}

}  // namespace hub
