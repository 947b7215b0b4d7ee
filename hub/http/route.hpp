#pragma once

// A row of the REST surface and how a request finds it: 404, 405 (with Allow) and the bound of a
// body follow from the row. The table itself is hub/api/routes.cpp. Pure values, any thread.
//
// Patterns are path segments after splitting at '/': a literal (compared ignoring case), `{name}`
// for one argument, or at the end `{name...}` for one argument of all segments that are left,
// joined by '/'. The first segment `{hub}` names the hub.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "hub/http/http.hpp"
#include "pns/task.hpp"

namespace hub {

struct HubState;  ///< one hub in memory: row and description (hub/device/hubs.hpp)
struct Parts;     ///< what handlers work with (hub/api/parts.hpp)
class Once;       ///< a request with an idempotency key (hub/api/idempotency.hpp)

/// A request behind routing and authorisation.
struct Call {
    const Request& request;
    std::shared_ptr<const HubState>
        hub;  ///< null on namespace and root routes, and on PUT of a new hub
    std::vector<std::string>
        args;  ///< decoded path arguments, in pattern order, the hub's name first if any
    Parts& parts;
    Once* once = nullptr;  ///< set if the request carries an idempotency key
};

using Handler = pns::Task<Response> (*)(Call);
/// How many bytes a body may have, for routes where this depends on the request.
using BodyBound = std::size_t (*)(const Parts& parts, const Request& request,
                                  const std::vector<std::string>& args);

enum class Right : std::uint8_t {
    none,
    listen,
    send,
    manage,
    send_or_manage,
    listen_if_filtered,  ///< Listen with a $filter (which names one handle), else Manage
    manage_namespace,    ///< Manage, by a rule of the namespace only
};

/// What else is true of a route; joined by |.
enum class Trait : unsigned {
    none = 0,
    creates = 1,  ///< may be made safe to repeat by an Idempotency-Key
    pieces = 2,   ///< reads its body by Request::more
    problems =
        4,       ///< errors of routing and rights are problems (RFC 9457); else the contract's XML
    health = 8,  ///< says how the process is: all that Door::admin leads to
    steered = 16,  ///< makes a send that the headers PushHub-... steer
};
constexpr Trait operator|(Trait a, Trait b) {
    return static_cast<Trait>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}

struct Route {
    constexpr Route(std::string_view of_method, std::string_view of_pattern, Right needed,
                    std::size_t body_bytes, Handler by, Trait traits = Trait::none,
                    BodyBound bound = nullptr)
        : method(of_method),
          pattern(of_pattern),
          right(needed),
          body_bytes_max(body_bytes),
          handler(by),
          creates(has(traits, Trait::creates)),
          takes_pieces(has(traits, Trait::pieces)),
          answers_problems(has(traits, Trait::problems)),
          tells_health(has(traits, Trait::health)),
          steers_sends(has(traits, Trait::steered)),
          takes_rest(of_pattern.ends_with("...}")),
          names_hub(of_pattern.starts_with("/{hub}")),
          body_bound(bound) {
        for (std::size_t i = 0; i + 1 < of_pattern.size(); ++i) segments += of_pattern[i] == '/';
    }
    constexpr Route(std::string_view of_method, std::string_view of_pattern, Right needed,
                    std::size_t body_bytes, Handler by, Trait traits,
                    std::string_view of_parameters, BodyBound bound = nullptr)
        : Route(of_method, of_pattern, needed, body_bytes, by, traits, bound) {
        parameters = of_parameters;
    }
    constexpr Route(std::string_view of_method, std::string_view of_pattern, Right needed,
                    std::size_t body_bytes, Handler by, std::string_view of_parameters)
        : Route(of_method, of_pattern, needed, body_bytes, by, Trait::none, of_parameters) {}

    std::string_view method;
    std::string_view pattern;  ///< "/{hub}/installations/{id}"
    Right right;
    std::size_t body_bytes_max;
    Handler handler;
    bool creates, takes_pieces, answers_problems, tells_health, steers_sends;  ///< Trait
    bool takes_rest;           ///< ends with `{name...}`
    bool names_hub;            ///< the pattern begins with the hub's name
    BodyBound body_bound;      ///< null: body_bytes_max for every request
    std::size_t segments = 0;  ///< of the pattern
    /// Of the query, in lower case, joined by blanks. check_query() says what else is taken.
    std::string_view parameters;

  private:
    static constexpr bool has(Trait traits, Trait one) {
        return (static_cast<unsigned>(traits) & static_cast<unsigned>(one)) != 0;
    }
};

struct Matched {
    const Route* route;
    std::vector<std::string> args;
};
struct NoRoute {
    int status;         ///< 404 or 405
    std::string allow;  ///< for 405
};
using Routed = std::variant<Matched, NoRoute>;
/// `segments` decoded, without empty ones. A HEAD leads where the GET does, if it has no row.
Routed match(std::span<const Route> table, std::string_view method,
             std::span<const std::string> segments);
/// Refuses a query with a parameter that the route does not have: a filter or a flag that is
/// misspelt would let through what it should hold back. Besides the route's own, all take
/// `api-version`, and the contract's routes of a hub `test`, which .NET appends to every address.
/// Whoever looks how the process is (Trait::health) may ask with anything. None stands there twice,
/// but for those of which clients do so; a blank one is refused here where problems are answered,
/// except `continuation`, which names the first page so, and by their handlers elsewhere.
std::optional<Refusal> check_query(const Route& route, const Request& request);
/// Does it lead to a route that takes pieces?
bool takes_pieces(const Routed& routed);

}  // namespace hub
