#pragma once

// From a request to its answer: route, hub, credentials, handler. The same for every protocol and
// lane. One object serves all lanes; it holds counters only.
//
// The head decides whether a request may pass, before any of its body is read: admit() first, and
// answer() when the body is there.

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "hub/http/http.hpp"
#include "hub/http/rate_limits.hpp"
#include "hub/http/route.hpp"
#include "hub/process/log_limit.hpp"
#include "hub/process/shares.hpp"
#include "hub/server/byte_budget.hpp"
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

/// A request whose head may pass.
struct Admitted {
    Matched matched;
    std::shared_ptr<const HubState> hub;  ///< as Call::hub
    std::size_t body_bytes_max = 0;
    bool takes_pieces() const { return matched.route->takes_pieces; }
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

    /// Judges the head of `request`, which has passed parse_target(), by all that does not depend
    /// on its body: rates, route, credentials, query. A Response is the answer, and the body need
    /// not be read. `connection` bounds the rate of the connection on which the request came.
    std::variant<Admitted, Response> admit(const Request& request, TokenBucket& connection);
    /// Never throws. `request` is complete. Both arguments outlive the task. What the head decided
    /// is decided again if the hub has changed since.
    pns::Task<Response> answer(const Request& request, const Admitted& admitted);
    /// The answer to something that did not become a request.
    Response refuse(const Request& request, int status, std::string_view message);
    /// Requests to hubs take places of these, one each while they are at work. Before any request.
    void share_requests(Shares places) { places_ = std::move(places); }
    /// 503 with Retry-After: one of the bounds on what all requests hold is reached.
    Response refuse_for_now(const Request& request, std::string_view message);

    /// Request bodies and answers in memory, all connections.
    ByteBudget& bodies() { return bodies_; }
    ByteBudget& answers() { return answers_; }
    /// What these may hold.
    std::size_t bodies_bytes_max() const;
    std::size_t answers_bytes_max() const;
    /// May an answer of `bytes` be replaced by a 503 when there is no room for it? One that is
    /// small may not, nor one to a request that has changed something.
    static bool may_wait(const Request& request, std::size_t bytes);

    const pns::Clock& clock() const { return clock_; }
    std::size_t in_flight() const { return in_flight_.load(std::memory_order_relaxed); }

  private:
    bool is_open(Door door, const Route& route) const;
    /// The route of `request` if its door leads there.
    Routed route(const Request& request) const;
    std::optional<Response> refuse_for_load(const Request& request, const Routed& routed,
                                            TokenBucket& connection);
    std::optional<Response> refuse_by_head(const Request& request, const Matched& matched,
                                           std::shared_ptr<const HubState>& hub) const;
    pns::Task<Response> handled(const Request& request, const Admitted& admitted);
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
    ByteBudget bodies_, answers_;
    LogLimit failures_{3, 10, 1'000};  ///< lines about handlers that failed, by route
};

}  // namespace hub
