#pragma once

// The queue and the connections of one sender to one origin: takes pushes in fair order, submits
// them while there is room, turns answers and losses into verdicts or resends
// (docs/contracts/pns.md 0). One loop.

#include <string>

#include "pns/fair_queue.hpp"
#include "pns/flight_limit.hpp"
#include "pns/pool.hpp"

namespace pns {

/// What an outlet needs of the sender it belongs to: what is common to all origins of the
/// credential.
class OutletOwner {
  public:
    /// The push leaves the sender.
    virtual void finish(Push& push, Verdict&& verdict) = 0;
    /// Encodes and submits. False if the connection did not take it.
    virtual bool send(Push& push, Connection& connection) = 0;
    virtual Judgement judge(const Push& push, const Answer& answer) = 0;
    /// True if a newer token is there or on its way.
    virtual bool token_refused(const Push& push) = 0;
    virtual void hold_credential(std::int64_t ms) = 0;
    /// One push may go out now by the provider's rate; false: not before the owner pumps again.
    virtual bool take_permit() = 0;
    virtual void return_permit() = 0;
    virtual void wake() = 0;
    virtual bool stopping() const = 0;
    /// The outlet counts here what it does; `queued` is exact at any time.
    virtual SenderFigures& counters() = 0;

  protected:
    ~OutletOwner() = default;
};

class Outlet final : private ConnectionEvents {
  public:
    Outlet(OutletOwner& owner, Nursery& nursery, PoolSettings settings);

    void enqueue(Push& push);
    std::size_t queued() const { return queue_.size(); }
    enum class May { nothing, connect, send };
    /// Submits what there is room for; opens connections if that is not enough. `may` says how far
    /// the credential allows it. Returns when to be called again at the latest (steady clock).
    std::int64_t pump(std::int64_t now_ms, std::int64_t wall_ms, May may);
    /// Gives every queued push that has waited at least `waited_ms` this verdict.
    void fail_queued(std::int64_t now_ms, std::int64_t waited_ms, const Verdict& verdict);
    /// Gives every queued push of the flow this verdict.
    void fail_flow(std::uint32_t flow, const Verdict& verdict);
    bool idle() const { return queued() == 0 && pool_.connections() == 0; }
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
    Verdict unreachable() const;

    OutletOwner& owner_;
    std::int64_t request_timeout_ms_;
    Pool pool_;
    FairQueue queue_;
    FlightLimit limit_;
    struct Probe {
        const Push* push = nullptr;  ///< null: the next one sent is it
        std::int64_t sent_us = 0;
        std::size_t in_flight = 0;  ///< with it
    };
    Probe probe_;
    std::int64_t look_again_ms_ = 0;  // for pushes that waited too long
    std::int64_t hold_until_ms_ = 0;
    unsigned refused_in_row_ = 0;
    unsigned hold_level_ = 0;
    std::int64_t last_answer_ms_ = 0;
    std::string goaway_debug_;  // of the last GOAWAY that had some, until it is judged
    std::string
        goaway_configuration_;  // the provider's reason, if GOAWAY named a configuration fault
};

}  // namespace pns
