#pragma once

// From a complete request to its answer: route, hub, credentials, handler. The same for every
// protocol and lane. One object serves all lanes; it holds counters only.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "hub/http.hpp"
#include "hub/parts.hpp"
#include "hub/rate_limits.hpp"
#include "hub/routes.hpp"

namespace hub {

/// What stands between a route and its handler (gate.hpp has the real one).
struct Gate {
    std::function<std::shared_ptr<const HubState>(std::string_view name)> find_hub;
    /// The answer to a caller who may not; nothing to one who may. `hub` null: none of that name,
    /// or none in the path.
    std::function<std::optional<Response>(const Request&, const HubState* hub, const Route&)>
        refuse;
};

class Dispatch {
  public:
    Dispatch(Parts& parts, std::span<const Route> routes, Gate gate);

    /// Where `request`, which has passed parse_target(), leads.
    Routed route(const Request& request) const;
    /// Bytes that a body of this request may have.
    std::size_t body_bytes_max(const Request& request, const Routed& routed) const;
    /// Never throws. `request` is complete; it and its route outlive the task, and so does
    /// `connection`, what bounds the rate of the connection it came on.
    pns::Task<Response> answer(const Request& request, const Routed& routed,
                               TokenBucket* connection);
    /// The answer to something that did not become a request.
    Response refuse(const Request& request, int status, std::string_view message);

    std::size_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }

  private:
    pns::Task<Response> guarded(const Request& request, const Matched& matched);
    Response finish(const Request& request, std::string_view pattern, Response response);

    Parts& parts_;
    std::span<const Route> routes_;
    Gate gate_;
    std::atomic<std::size_t> in_flight_ = 0;
};

}  // namespace hub
