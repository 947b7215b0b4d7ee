#pragma once

// The one table of the REST surface: method, pattern, right, body bound, handler. 404, 405 (with
// Allow) and 413 follow from it; nothing else in hub/ decides them.
//
// Patterns are path segments after splitting at '/': a literal (compared ignoring case), `{name}`
// for one argument, or at the end `{name...}` for one argument of all segments that are left,
// joined by '/'. The first segment `{hub}` names the hub.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "hub/handlers.hpp"

namespace hub {

enum class Right : std::uint8_t {
    none,
    listen,
    send,
    manage,
    send_or_manage,
    listen_if_filtered,  ///< Listen with a $filter (which names one handle), else Manage
    manage_namespace,    ///< Manage, by a rule of the namespace only
};

struct Route {
    constexpr Route(std::string_view of_method, std::string_view of_pattern, Right needed,
                    std::size_t body_bytes, Handler by, bool makes_something = false,
                    bool in_pieces = false)
        : method(of_method),
          pattern(of_pattern),
          right(needed),
          body_bytes_max(body_bytes),
          handler(by),
          creates(makes_something),
          takes_pieces(in_pieces),
          takes_rest(of_pattern.ends_with("...}")) {
        for (std::size_t i = 0; i + 1 < of_pattern.size(); ++i) segments += of_pattern[i] == '/';
    }

    std::string_view method;
    std::string_view pattern;  ///< "/{hub}/installations/{id}"
    Right right;
    std::size_t body_bytes_max;
    Handler handler;
    bool creates;              ///< may be made safe to repeat by an Idempotency-Key
    bool takes_pieces;         ///< reads its body by Request::more
    bool takes_rest;           ///< ends with `{name...}`
    std::size_t segments = 0;  ///< of the pattern
};

std::span<const Route> routes();

struct Matched {
    const Route* route;
    std::vector<std::string> args;
};
struct NoRoute {
    int status;         ///< 404 or 405
    std::string allow;  ///< for 405
};
using Routed = std::variant<Matched, NoRoute>;
/// `segments` decoded, without empty ones.
Routed match(std::string_view method, std::span<const std::string> segments);
Routed match(std::span<const Route> table, std::string_view method,
             std::span<const std::string> segments);
/// Does it lead to a route that takes pieces?
bool takes_pieces(const Routed& routed);
/// Do errors of routing and credentials answer as problems (problem.hpp) here? Where the wire
/// contract has its own error body, they do not.
bool speaks_json(const Route& route);
/// Does the pattern begin with the hub's name?
bool names_hub(const Route& route);

}  // namespace hub
