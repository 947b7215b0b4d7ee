#pragma once

// `pushhub sends`: a back end's view of its sends in a terminal. Talks to a hub over HTTPS, one
// thread, blocking. The parts that only compute are here for their tests.

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace hub {

/// `pushhub sends VERB ...`: argv[0] is "sends". Returns the exit code.
int sends_main(int argc, char** argv);

/// Takes server-sent events apart: bytes of a body in, events out. Bounded: an event over
/// `event_bytes_max` makes it bad.
class EventReader {
  public:
    static constexpr std::size_t event_bytes_max = 1 << 20;
    struct Event {
        std::string name;
        std::string data;
    };

    /// False: the bytes are no such answer.
    bool feed(std::string_view bytes, const std::function<void(const Event&)>& on_event);

  private:
    bool take_line(std::string_view line, const std::function<void(const Event&)>& on_event);

    std::string text_;  // what was not taken apart yet
    Event event_;
};

/// "[#####.....]", `width` characters between the brackets.
std::string progress_bar(std::uint64_t part, std::uint64_t whole, std::size_t width);

/// The lines that show a send, from the JSON of GET /{hub}/sends/{id}; empty: it is none.
/// `width`: of the terminal; text of the hub is stripped of control characters.
std::vector<std::string> sends_watch_lines(std::string_view figures, std::size_t width);
/// The same on one line, for output that is no terminal.
std::string sends_watch_line(std::string_view figures);

/// Of a send that has ended: empty, or why `watch` ends with pns::exit_undelivered, with the
/// outcomes: nobody was reached though pushes failed, or the send was canceled or abandoned.
std::string sends_undelivered(std::string_view figures);

}  // namespace hub
