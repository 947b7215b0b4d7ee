#pragma once

// Sends pushes of one credential from one loop: encode -> bearer -> connection -> judge -> retry.
//
// A Sender owns its connections and its bounded queue; it connects on demand and needs no start.
// Every push submitted gets exactly one verdict, through its owner, on this loop, on every path
// (answer, refusal, timeout, connection loss, stop). Resends that are provably safe (RETRY-NOW, one
// REAUTH) happen inside and are not seen outside. What cannot be sent now comes back as NotSent and
// names the door that is shut: the credential's, or that of one origin; on_open tells when it
// opens.

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "pns/account.hpp"
#include "pns/alarm.hpp"
#include "pns/bearer.hpp"
#include "pns/breaker.hpp"
#include "pns/connect_to.hpp"
#include "pns/drought.hpp"
#include "pns/endpoint_guard.hpp"
#include "pns/health.hpp"
#include "pns/nursery.hpp"
#include "pns/origin_memory.hpp"
#include "pns/outlet.hpp"
#include "pns/retry_policy.hpp"
#include "pns/running_clock.hpp"
#include "pns/sender_settings.hpp"
#include "pns/tls.hpp"

namespace pns {

class Sender final : private OutletOwner {
  public:
    static constexpr std::uint32_t credential_door = 1;  ///< doors of origins are higher

    /// Throws boost::system::system_error if `network` is unusable (CA file, rules). `bearers`
    /// outlives the sender, and has its clock.
    Sender(asio::io_context& loop, std::unique_ptr<Account> account, const SenderSettings& settings,
           const Network& network, BearerCache& bearers);
    ~Sender();
    /// Over a credential that has passed Platform::check_credential; throws as the constructor, and
    /// if the credential does not open.
    static std::unique_ptr<Sender> create(asio::io_context& loop, const Credential& credential,
                                          const SenderSettings& settings, const Network& network,
                                          BearerCache& bearers);

    /// Encodes once what all devices share; refuses what the provider would refuse (size, shape,
    /// headers).
    Checked<std::shared_ptr<const Prepared>> prepare(const Message& message) const {
        return account_->prepare(message);
    }

    /// How many pushes may be submitted now. Submitting more is the caller's bug.
    std::size_t room() const {
        if (stopping_ || queued() >= settings_.queue_pushes_max) return 0;
        return settings_.queue_pushes_max - queued();
    }
    /// The verdict comes on a later turn of the loop, never from inside.
    void submit(Push& push);
    /// The same at a known time of the steady clock: for many in a row.
    void submit(Push& push, std::int64_t now_ms);
    /// Gives every push of the flow that waits for its turn back as NotSent, from inside the call.
    /// The owner may not submit from inside.
    void withdraw(std::uint32_t flow);

    /// `opened(door)` runs on this loop whenever a door is open again that a NotSent has named.
    /// Before the first submit.
    void on_open(std::function<void(std::uint32_t door)> opened) { on_open_ = std::move(opened); }
    /// Hears of troubles and their ends; null: nobody does. Before the first submit.
    void on_health(std::shared_ptr<HealthListener> health) { health_ = std::move(health); }
    /// No push can go out now, whatever its handle: the credential's door is shut, or that of the
    /// only origin.
    bool shut() const;

    SenderFigures figures() const;
    /// No new connection attempts; waits for streams in flight at most `drain_ms`, then gives every
    /// push left its verdict and closes. After it ends the Sender may be destroyed.
    Task<void> stop(std::int64_t drain_ms);

  private:
    TlsContext open_tls(const Network& network, Account::Protocol protocol) const;
    BearerUser::Settings bearer_settings(const Network& network);

    /// What is known of the credential, or of its key at one origin (Account::tokens_per_origin).
    struct Standing {
        Breaker breaker;
        NotSent why;                       ///< while it is shut
        const Push* probe = nullptr;       ///< out while it is shut
        bool told = false;                 ///< somebody waits to hear that it opens
        bool token_missing = false;        ///< somebody waits to hear that there is a token
        ManyTargets throttled{};           ///< who was told to wait, and not whether alone
        Drought drought{};                 ///< it answers, and nothing is taken
        std::int64_t good_ms = 0;          ///< when the provider last took a push
        std::uint64_t refused_serial = 0;  ///< of the token that was refused last
    };

    /// Handles name the origins, so a stranger may have made them up.
    bool named_by_handles() const { return account_->hosts() != Account::Hosts::fixed; }
    bool is_stranger(const Outlet& outlet) const { return named_by_handles() && !outlet.proven(); }
    void route(Push& push, std::int64_t now_ms);
    Outlet* place_for(const Origin& origin, std::int64_t now_ms);
    std::unique_ptr<Outlet> open_outlet(const Origin& origin, bool proven);
    void count_places();
    void count_patience(std::int64_t now_ms);
    void judge_strangers(std::int64_t now_ms);
    void serve_lobby();
    void give_up(const Origin& origin, Outlet& outlet, OriginMemory::Failure failure,
                 std::int64_t now_ms);
    void make_place(std::int64_t now_ms);
    NotSent why_unroutable(const Origin& origin);
    bool over_budget(Push& push);
    bool may_be_sent_to(const Origin& origin) const {
        if (origin.host.empty()) return false;
        return account_->hosts() == Account::Hosts::fixed || guard_.allows(origin);
    }
    std::size_t queued() const { return figures_.queued; }
    BearerUser& bearer_of(const Origin& origin);
    Origin key_of(const Origin& origin) const {
        return account_->tokens_per_origin() ? origin : Origin();
    }
    Standing& standing_of(const Origin& origin);
    Standing& standing_of(const Push& push);
    std::int64_t tick();
    std::int64_t turn();
    void put_off(const Push& push, std::int64_t after_ms, bool of_all, std::string_view reason);
    Permission permission(const Origin& origin, const Outlet& outlet, std::int64_t now_ms,
                          std::int64_t wall_ms);
    void forget_origin(std::map<Origin, std::unique_ptr<Outlet>>::iterator outlet);
    void forget_unused_origins();
    void fail_all(const NotSent& verdict);
    void fail_unroutable();
    bool has_connections() const;

    void finish(Push& push, Verdict&& verdict, std::int64_t now_ms) override;
    bool send(Push& push, Connection& connection) override;
    const std::shared_ptr<const H2Fields>& common_fields(
        const std::shared_ptr<const Prepared>& prepared);
    Judgement judge(const Push& push, const Answer& answer) override {
        return account_->judge(push, answer);
    }
    void heard(const Push& push, Judgement& judgement) override;
    void turned_away(const Push& push, bool of_all, std::string_view reason) override {
        put_off(push, 0, of_all, reason);
    }
    void returned(const Push& push) override;
    bool token_refused(const Push& push) override;
    bool token_changed_too_soon(const Push& push) override;
    void hold_credential(std::int64_t ms) override;
    bool take_permit() override;
    void return_permit() override { ++permits_; }
    void settle_permits(std::int64_t& next_ms);
    void tell_totals();
    void proven(const Origin& origin) override;
    void unwell(Trouble trouble, std::string_view host, std::string_view reason) override {
        if (health_) health_->unwell(trouble, host, reason);
    }
    void well(std::string_view host) override {
        if (health_ && health_->any_unwell()) health_->well(host);
    }
    void opened(std::uint32_t door) override {
        if (on_open_) on_open_(door);
    }
    Returns::Count& returns(const Origin& origin) override {
        return returns_->of(origin.host, origin.port);
    }
    void wake() override { alarm_.wake(); }
    bool stopping() const override { return stopping_; }
    std::int64_t running_ms(std::int64_t now_ms) override { return running_.at(now_ms); }
    SenderFigures& counters() override { return figures_; }

    std::unique_ptr<Account> account_;
    SenderSettings settings_;
    ConnectTo connect_to_;
    EndpointGuard guard_;
    BearerCache& bearers_;
    const Clock& clock_;  // that of the tokens
    TlsContext tls_, tls_h1_;
    Nursery nursery_;
    Alarm alarm_;
    SteadyTimer stopped_;  // a latch for stop()
    BearerUser::Settings bearer_settings_;
    BearerUser bearer_;
    std::map<Origin, std::unique_ptr<BearerUser>> origin_bearers_;
    std::map<Origin, Standing> standings_;
    std::map<Origin, std::unique_ptr<Outlet>> outlets_;
    OriginMemory memory_;
    std::deque<Push*> lobby_;        // the first come first: no place yet for their origins
    std::vector<Push*> unroutable_;  // turned away at the next turn
    std::vector<Push*> put_off_;     // retries over the budget
    std::size_t places_ = 0;     // outlets that are not ending; this and the next two: as of the
                                 // last turn and what came since
    std::size_t strangers_ = 0;  // of them, whose origins have not answered
    std::size_t strangers_queued_ = 0;  // pushes in their queues
    /// Runs while the loop keeps up: a stranger is not late because we are.
    std::int64_t patience_ms_ = 0, looked_ms_ = 0, look_due_ms_ = 0;
    RetryBudget budget_;
    RunningClock running_;  // for whether an origin answers nothing
    std::shared_ptr<SenderTotals> totals_;
    std::shared_ptr<Returns> returns_;
    SenderFigures told_;  // of figures_, what is in totals_
    std::mt19937_64 random_;
    std::shared_ptr<RateBucket> rate_;  // null: no guard
    std::uint32_t permits_ = 0;         // taken from it and not used yet
    std::int64_t permits_due_ms_ = 0;   // none before
    SenderFigures figures_;
    std::function<void(std::uint32_t)> on_open_;
    std::shared_ptr<HealthListener> health_;

    std::shared_ptr<const Bearer> token_;
    Encoded encoded_;  // reused from push to push
    std::vector<H2Header> headers_;
    struct CommonFields {
        std::shared_ptr<const Bearer> token;
        std::shared_ptr<const Prepared> of;
        std::shared_ptr<const H2Fields> fields;
    };
    std::deque<CommonFields> common_;  // the newest first
    std::int64_t held_until_ms_ = 0;
    bool hold_told_ = false;  // somebody waits to hear that the credential is open
    std::uint32_t doors_ = credential_door;
    bool wants_place_ = false;  // a push found all places for origins taken
    bool known_waits_ = false;  // one to an origin that has answered
    bool started_ = false;
    bool stopping_ = false;
};

}  // namespace pns
