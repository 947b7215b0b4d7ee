#pragma once

// From a complete request to its answer: route, hub, credentials, handler. The same for every
// protocol and lane. One object serves all lanes; it holds counters only.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "hub/http/http.hpp"

#include "hub/http/rate_limits.hpp"
#include "hub/http/route.hpp"
#include "hub/process/shares.hpp"
#include "pns/clock.hpp"

namespace hub {

struct Config;
class Metrics;

/// Who may pass to a handler (authorise.hpp has the real one).
struct Authoriser {
    std::function<std::shared_ptr<const HubState>(std::string_view name)> find_hub;
    /// The answer to a caller who may not pass; nothing for one who may. `hub` is null if there is
    /// no hub of that name, or no name in the path.
    std::function<std::optional<Response>(const Request&, const HubState* hub, const Route&)>
        refuse;
};

class Dispatch {
  public:
    /// Calls the handler of a request that carries an idempotency key.
    using AnswerOnce = pns::Task<Response> (*)(Call call, Handler handler);

    /// `parts` is handed to the handlers and to Route::body_bound; all outlive this. `answer_once`
    /// null: idempotency keys mean nothing.
    Dispatch(const Config& config, const pns::Clock& clock, Metrics& metrics,
             std::span<const Route> routes, Authoriser authoriser, Parts& parts,
             AnswerOnce answer_once);

    /// The route of `request`, which has passed parse_target(), if its door leads there.
    Routed route(const Request& request) const;
    /// Bytes that a body of this request may have.
    std::size_t body_bytes_max(const Request& request, const Routed& routed) const;
    /// Never throws. `request` is complete. Request, route and `connection` outlive the task;
    /// `connection` bounds the rate of the connection on which the request came.
    pns::Task<Response> answer(const Request& request, const Routed& routed,
                               TokenBucket* connection);
    /// The answer to something that did not become a request.
    Response refuse(const Request& request, int status, std::string_view message);
    /// Requests to hubs take places of these, one each while they are at work. Before any request.
    void share_requests(Shares places) { places_ = std::move(places); }

    const pns::Clock& clock() const { return clock_; }
    std::size_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }

  private:
    bool is_open(Door door, const Route& route) const;
    pns::Task<Response> guarded(const Request& request, const Matched& matched);
    Response finish(const Request& request, std::string_view pattern, Response response);

    const Config& config_;
    const pns::Clock& clock_;
    Metrics& metrics_;
    const std::span<const Route> routes_;
    const Authoriser authoriser_;
    Parts& parts_;
    const AnswerOnce answer_once_;
    std::optional<Shares> places_;  ///< none: hubs do not share
    std::atomic<std::size_t> in_flight_ = 0;
};

}  // namespace hub
