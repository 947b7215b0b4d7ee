#pragma once

// The queue and the connections of one sender to one origin: takes pushes in fair order, submits
// them while there is room, turns answers and losses into verdicts or resends
// (docs/contracts/pns.md 0).
//
// An origin that cannot be reached, answers nothing or says that it is unwell is shut: what waits
// here goes back as NotSent with the outlet's door, but for one push that is the next probe. The
// first good answer opens it, and the owner is told. So are the senders of other loops, through
// Returns: theirs go at once. One loop.

#include <optional>
#include <string>
#include <string_view>

#include "pns/breaker.hpp"
#include "pns/fair_queue.hpp"
#include "pns/flight_limit.hpp"
#include "pns/health.hpp"
#include "pns/pool.hpp"
#include "pns/sender_settings.hpp"

namespace pns {

/// What an outlet needs of the sender it belongs to: what is common to all origins of the
/// credential.
class OutletOwner {
  public:
    /// The push leaves the sender. `now_ms`, here and below: of the steady clock.
    virtual void finish(Push& push, Verdict&& verdict, std::int64_t now_ms) = 0;
    /// Encodes and submits. False if the connection did not take it.
    virtual bool send(Push& push, Connection& connection) = 0;
    virtual Judgement judge(const Push& push, const Answer& answer) = 0;
    /// An answer was judged: what it says about the credential. May add what it says about the
    /// origin.
    virtual void heard(const Push& push, Judgement& judgement) = 0;
    /// The provider gave the push back unread because it wants fewer; `of_all`: of any kind.
    virtual void turned_away(const Push& push, bool of_all, std::string_view reason) = 0;
    /// The push did not leave after all and is in its queue again.
    virtual void returned(const Push& push) = 0;
    /// True if a newer token is there or on its way.
    virtual bool token_refused(const Push& push) = 0;
    /// True if an older token is there that may still be taken, or another one.
    virtual bool token_changed_too_soon(const Push& push) = 0;
    virtual void hold_credential(std::int64_t ms) = 0;
    /// One push may go out now by the provider's rate; false: not before the owner pumps again.
    virtual bool take_permit() = 0;
    virtual void return_permit() = 0;
    /// What goes wrong at the origin, once as it begins; and that it is over.
    virtual void unwell(Trouble trouble, std::string_view host, std::string_view reason) = 0;
    virtual void well(std::string_view host) = 0;
    /// The origin has answered for the first time.
    virtual void proven(const Origin& origin) = 0;
    /// The door of the outlet is open again.
    virtual void opened(std::uint32_t door) = 0;
    virtual Returns::Count& returns(const Origin& origin) = 0;
    virtual void wake() = 0;
    virtual bool stopping() const = 0;
    /// Time in which the loop ran (pns/running_clock.hpp).
    virtual std::int64_t running_ms(std::int64_t now_ms) = 0;
    /// The outlet counts here what it does; `queued` is exact at any time.
    virtual SenderFigures& counters() = 0;

  protected:
    ~OutletOwner() = default;
};

/// How far the credential allows an outlet to go now.
struct Permission {
    enum class May : std::uint8_t {
        nothing,
        connect,  ///< the token is on its way
        probe,    ///< one push
        send,
    };
    May may = May::send;
    /// Why not: what waits goes back with it, but for one push.
    std::optional<NotSent> shut{};
};

class Outlet final : private ConnectionEvents {
  public:
    /// `door`: what NotSent and OutletOwner::opened() call this origin. `proven`: it has answered
    /// before.
    Outlet(OutletOwner& owner, Nursery& nursery, PoolSettings settings, std::uint32_t door,
           bool proven, std::int64_t begun_ms);

    void enqueue(Push& push);
    std::size_t queued() const { return queue_.size(); }
    /// Submits what there is room for; opens connections if that is not enough. Returns when to be
    /// called again at the latest (steady clock). `probe`: the one push of May::probe that went
    /// out.
    std::int64_t pump(std::int64_t now_ms, std::int64_t wall_ms, const Permission& permission,
                      const Push*& probe);
    /// Gives every queued push this verdict.
    void fail_queued(const NotSent& verdict);
    /// Gives every queued push of the flow back: with what keeps it here, if anything does. `why`:
    /// what keeps it for the credential's sake.
    void fail_flow(std::uint32_t flow, const std::optional<NotSent>& why);
    bool idle() const { return queued() == 0 && pool_.connections() == 0; }
    /// Neither waits nor works; it may have connections.
    bool unused() const { return queued() == 0 && pool_.in_flight() == 0; }
    bool shut() const { return breaker_.shut(); }
    /// Ends its connections and takes no more pushes: its place is needed.
    void close();
    bool closing() const { return closing_; }
    std::uint32_t door() const { return door_; }
    /// The origin has answered, here or before.
    bool proven() const { return proven_; }
    /// As its owner has said.
    std::int64_t begun_ms() const { return begun_ms_; }
    /// A push was turned away with the door: opened() is to be told with the first answer.
    void somebody_waits() { told_shut_ = true; }
    bool is_awaited() const { return told_shut_; }
    Pool& pool() { return pool_; }
    const Pool& pool() const { return pool_; }

  private:
    void on_answer(Connection& connection, void* tag, const Answer& answer) override;
    void on_lost(Connection& connection, void* tag, const Lost& lost) override;
    void on_change(Connection& connection) override;
    void on_goaway(Connection& connection, std::uint32_t h2_error, std::string_view debug) override;

    Push& pop();
    void push_front(Push& push);
    void again(Push& push, Verdict&& otherwise);
    void pace_refusals(std::int64_t now_ms);
    void hold_origin(std::int64_t ms);
    void judge_goaway(const Push& push);
    void connection_ended(std::int64_t now_ms);
    void trip(std::int64_t now_ms, std::int64_t wait_ms, Outcome outcome, std::string reason);
    std::optional<NotSent> shut_why(std::int64_t now_ms) const;
    /// A server error names nobody: it is this push's own until several targets got it and nothing
    /// else came, then the provider's. True if the verdict is such an error.
    bool weigh_failure(const Push& push, Verdict& verdict, std::int64_t now_ms);
    /// What waits goes back; one push stays to be the probe.
    void bounce(const NotSent& why);
    void look_for_return(std::int64_t now_ms);
    void good(std::int64_t now_ms);
    bool take_probe(const Push& push);

    OutletOwner& owner_;
    const Origin origin_;
    const std::uint32_t door_;
    const Clock& clock_;
    std::int64_t request_timeout_ms_;
    Pool pool_;
    FairQueue queue_;
    FlightLimit limit_;
    Breaker breaker_;
    ManyTargets failing_;                  // got a server error, and nobody anything else since
    std::int64_t fails_all_until_ms_ = 0;  // such an error is taken for the provider's
    Returns::Count& returns_;
    std::uint32_t returns_seen_ = 0;
    const Push* probe_ = nullptr;  ///< out while the breaker is shut
    NotSent why_;                  ///< while it is shut
    bool closing_ = false;
    bool proven_;
    const std::int64_t begun_ms_;
    bool told_shut_ = false;            ///< somebody waits to hear that it opens
    bool answered_since_loss_ = false;  ///< well, since an answer was lost
    std::int64_t hold_until_ms_ = 0;
    unsigned refused_in_row_ = 0;
    unsigned hold_level_ = 0;
    /// Running time: the last answer, the first push in the queue, or a bar of our own.
    std::int64_t heard_ms_ = 0;
    std::string goaway_debug_;  // of the last GOAWAY that had some, until it is judged
};

}  // namespace pns
