// Tested by tests/hub_control_test.cpp.

#include "hub/send/send_states.hpp"

#include <array>

#include "hub/text/text.hpp"

namespace hub {

namespace {

using State = registry::SendState;
using Event = SendEvent;

struct Row {
    State from;
    Event event;
    State to;
};

constexpr std::array rows{
    Row{State::scheduled, Event::cancel, State::canceled},

    Row{State::enqueued, Event::pushes_begin, State::processing},
    Row{State::enqueued, Event::pause, State::paused},
    Row{State::enqueued, Event::resume, State::enqueued},
    Row{State::enqueued, Event::cancel, State::canceling},
    Row{State::enqueued, Event::canary_final, State::held},
    Row{State::enqueued, Event::all_final, State::completed},
    Row{State::enqueued, Event::all_given_up, State::abandoned},

    Row{State::processing, Event::pushes_begin, State::processing},
    Row{State::processing, Event::pause, State::paused},
    Row{State::processing, Event::resume, State::processing},
    Row{State::processing, Event::cancel, State::canceling},
    Row{State::processing, Event::canary_final, State::held},
    Row{State::processing, Event::all_final, State::completed},
    Row{State::processing, Event::all_given_up, State::abandoned},

    Row{State::held, Event::pushes_begin, State::held},
    Row{State::held, Event::pause, State::held},
    Row{State::held, Event::resume, State::processing},
    Row{State::held, Event::cancel, State::canceling},
    Row{State::held, Event::canary_final, State::held},
    Row{State::held, Event::all_final, State::completed},
    Row{State::held, Event::all_given_up, State::abandoned},

    Row{State::paused, Event::pushes_begin, State::paused},
    Row{State::paused, Event::pause, State::paused},
    Row{State::paused, Event::resume, State::processing},
    Row{State::paused, Event::cancel, State::canceling},
    Row{State::paused, Event::canary_final, State::held},
    Row{State::paused, Event::all_final, State::completed},
    Row{State::paused, Event::all_given_up, State::abandoned},

    Row{State::canceling, Event::pushes_begin, State::canceling},
    Row{State::canceling, Event::cancel, State::canceling},
    Row{State::canceling, Event::canary_final, State::canceling},
    Row{State::canceling, Event::all_final, State::canceled},
    Row{State::canceling, Event::all_given_up, State::canceled},

    Row{State::canceled, Event::cancel, State::canceled},
};

struct Name {
    State state;
    std::string_view name;
};

constexpr std::array names{
    Name{State::scheduled, "Scheduled"},     Name{State::enqueued, "Enqueued"},
    Name{State::processing, "Processing"},   Name{State::completed, "Completed"},
    Name{State::no_target, "NoTargetFound"}, Name{State::canceled, "Canceled"},
    Name{State::abandoned, "Abandoned"},     Name{State::held, "Held"},
    Name{State::paused, "Paused"},           Name{State::canceling, "Canceling"},
};

std::string_view verb(Event event) {
    if (event == Event::pause) return "paused";
    if (event == Event::resume) return "resumed";
    return "canceled";
}

}  // namespace

std::optional<State> next_state(State state, Event event) {
    for (const Row& row : rows) {
        if (row.from == state && row.event == event) return row.to;
    }
    return std::nullopt;
}

std::string why_not(State state, Event event) {
    std::string why = "The send is " + std::string(control_state_name(state)) + " and cannot be " +
                      std::string(verb(event)) + ".";
    if (state == State::scheduled) why += " A send that waits for its time can be canceled only.";
    if (registry::is_final(state)) why += " It has ended.";
    if (state == State::canceling) why += " What is not out is being dropped.";
    return why;
}

std::string_view control_state_name(State state) {
    for (const Name& row : names) {
        if (row.state == state) return row.name;
    }
    return "Unknown";
}

std::optional<State> control_state_by_name(std::string_view name) {
    for (const Name& row : names) {
        if (same_ignoring_case(row.name, name)) return row.state;
    }
    return std::nullopt;
}

}  // namespace hub
