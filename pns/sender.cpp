// Tested by tests/pns_sender_test.cpp.

#include "pns/sender.hpp"

#include <algorithm>
#include <boost/system/system_error.hpp>
#include <chrono>
#include <list>
#include <map>
#include <random>

#include "pns/bearer.hpp"
#include "pns/endpoint_guard.hpp"
#include "pns/errc.hpp"
#include "pns/outlet.hpp"

namespace pns {

namespace {

constexpr std::size_t origins_max = 256;
constexpr unsigned configuration_in_row_max = 8;
constexpr std::int64_t halt_ms_first = 30'000, halt_ms_max = 10 * 60'000;

Verdict retry_later(Outcome outcome, std::string reason, std::int64_t after_ms) {
    Verdict v;
    v.kind = Verdict::Kind::retry_later;
    v.outcome = outcome;
    v.reason = std::move(reason);
    v.retry_after_ms = after_ms;
    return v;
}

template <class T>
T or_throw(Result<T>&& made) {
    if (!made) throw boost::system::system_error(made.error());
    return std::move(*made);
}

class AccountSender final : public Sender, private OutletOwner {
  public:
    AccountSender(Executor executor, std::unique_ptr<Account> account,
                  const SenderSettings& settings, const Network& network, BearerCache& bearers)
        : account_(std::move(account)),
          settings_(settings),
          connect_to_(or_throw(ConnectTo::parse(network.connect_to))),
          guard_(or_throw(EndpointGuard::parse(network.push_services))),
          tls_(open_tls(network, bearers, account_->protocol())),
          nursery_(executor),
          alarm_(executor, [this] { return tick(); }),
          stopped_(executor, SteadyTimer::time_point::max()),
          bearers_(bearers),
          bearer_settings_(bearer_settings(network)),
          bearer_(bearers, nursery_, bearer_settings_),
          budget_(settings.retry_budget_percent),
          totals_(network.totals),
          random_(std::random_device{}()) {
        if (settings_.pushes_per_s_max > 0) {
            // A second's worth may go at once.
            rate_ = network.rates->get(
                std::string(account_->platform().name) + ' ' + account_->rate_key(),
                settings_.pushes_per_s_max, settings_.pushes_per_s_max, settings_.ramp_ms * 1'000);
        }
        if (account_->falls_back_to_h1())
            tls_h1_ = open_tls(network, bearers, Account::Protocol::h1);
    }

    Checked<std::shared_ptr<const Prepared>> prepare(const Message& message) const override {
        return account_->prepare(message);
    }
    std::size_t room() const override {
        if (stopping_ || queued() >= settings_.queue_pushes_max) return 0;
        return settings_.queue_pushes_max - queued();
    }
    void submit(Push& push) override;
    void when_room(std::size_t low, std::function<void()> on_room) override {
        watches_.push_back(RoomWatch(low, std::move(on_room), room() < low));
    }
    void withdraw(std::uint32_t flow) override;
    SenderFigures figures() const override;
    Task<void> stop(std::int64_t drain_ms) override;

  private:
    struct RoomWatch {
        RoomWatch(std::size_t l, std::function<void()> f, bool b)
            : low(l), on_room(std::move(f)), below(b) {}
        std::size_t low;
        std::function<void()> on_room;
        bool below;
    };

    /// Whether the provider says no to the whole credential, or to all of one origin.
    struct Halt {
        unsigned configuration_in_row = 0;
        std::int64_t until_ms = 0;
        std::int64_t next_ms = halt_ms_first;
        Verdict verdict;
    };
    TlsContext open_tls(const Network& network, BearerCache& bearers,
                        Account::Protocol protocol) const {
        TlsClientOptions options;
        options.ca_file = network.ca_file;
        auto [certificate, key] = account_->client_certificate();
        options.certificate_pem = std::move(certificate);
        options.key_pem = std::move(key);
        const bool h2 = protocol == Account::Protocol::h2;
        options.alpn = h2 ? "h2" : "http/1.1";
        if (h2 && account_->falls_back_to_h1()) options.alpn_fallback = "http/1.1";
        return or_throw(make_client_context(bearers.trust(), options));
    }
    BearerUser::Settings bearer_settings(const Network& network) {
        BearerUser::Settings out;
        out.account = account_.get();
        out.connect_to = connect_to_;
        out.ca_file = network.ca_file;
        out.timeout_ms = settings_.connect_timeout_ms;
        out.on_news = [this] { wake(); };
        return out;
    }

    Outlet* outlet_for(const Origin& origin);
    bool over_budget(Push& push);
    bool may_be_sent_to(const Origin& origin) const {
        if (origin.host.empty()) return false;
        return account_->hosts() != Account::Hosts::guarded || guard_.allows(origin);
    }
    std::size_t queued() const { return figures_.queued; }
    BearerUser& bearer_of(const Origin& origin);
    Halt& halt_of(const Origin& origin) {
        return halts_[account_->tokens_per_origin() ? origin : Origin()];
    }
    Halt& halt_of(const Push& push) {
        return halts_[account_->tokens_per_origin() ? account_->origin(push.handle) : Origin()];
    }
    std::int64_t tick();
    Outlet::May may_use(const Origin& origin, Outlet& outlet, std::int64_t now_ms,
                        std::int64_t wall_ms);
    void forget_unused_origins();
    void fail_all(std::int64_t now_ms, std::int64_t waited_ms, const Verdict& verdict);
    void fail_unroutable();
    void tell_room();
    bool has_connections() const;

    void finish(Push& push, Verdict&& verdict) override;
    bool send(Push& push, Connection& connection) override;
    Judgement judge(const Push& push, const Answer& answer) override {
        return account_->judge(push, answer);
    }
    bool token_refused(const Push& push) override {
        const Origin origin =
            account_->tokens_per_origin() ? account_->origin(push.handle) : Origin();
        return bearer_of(origin).refused(push.bearer_serial, wall_now_ms());
    }
    void hold_credential(std::int64_t ms) override {
        held_until_ms_ = std::max(held_until_ms_, steady_now_ms() + ms);
    }
    bool take_permit() override;
    void return_permit() override { ++permits_; }
    void settle_permits(std::int64_t& next_ms);
    void tell_totals();
    void wake() override { alarm_.wake(); }
    bool stopping() const override { return stopping_; }
    SenderFigures& counters() override { return figures_; }

    std::unique_ptr<Account> account_;
    SenderSettings settings_;
    ConnectTo connect_to_;
    EndpointGuard guard_;
    TlsContext tls_, tls_h1_;
    Nursery nursery_;
    Alarm alarm_;
    SteadyTimer stopped_;  // a latch for stop()
    BearerCache& bearers_;
    BearerUser::Settings bearer_settings_;
    BearerUser bearer_;
    std::map<Origin, std::unique_ptr<BearerUser>> origin_bearers_;
    std::map<Origin, Halt> halts_;
    std::map<Origin, std::unique_ptr<Outlet>> outlets_;
    std::vector<Push*> unroutable_;  // no outlet to spare
    std::vector<Push*> put_off_;     // retries over the budget
    RetryBudget budget_;
    std::shared_ptr<SenderTotals> totals_;
    SenderFigures told_;  // of figures_, what is in totals_
    std::mt19937_64 random_;
    std::shared_ptr<RateBucket> rate_;  // null: no guard
    std::uint32_t permits_ = 0;         // taken from it and not used yet
    std::int64_t permits_due_ms_ = 0;   // none before
    std::list<RoomWatch> watches_;
    SenderFigures figures_;

    std::shared_ptr<const Bearer> token_;
    Encoded encoded_;  // reused from push to push
    std::vector<H2Header> headers_;
    std::int64_t held_until_ms_ = 0;
    bool started_ = false;
    bool stopping_ = false;
};

BearerUser& AccountSender::bearer_of(const Origin& origin) {
    if (!account_->tokens_per_origin()) return bearer_;
    auto& bearer = origin_bearers_[origin];
    if (!bearer) {
        BearerUser::Settings settings = bearer_settings_;
        settings.origin = origin;
        bearer = std::make_unique<BearerUser>(bearers_, nursery_, std::move(settings));
    }
    return *bearer;
}

Outlet* AccountSender::outlet_for(const Origin& origin) {
    const auto found = outlets_.find(origin);
    if (found != outlets_.end()) return found->second.get();
    if (outlets_.size() >= origins_max) return nullptr;
    PoolSettings pool;
    pool.protocol = account_->protocol();
    pool.connection.origin = origin;
    pool.connection.target = connect_to_.resolve(origin.host, origin.port);
    // A rule of the operator's may lead anywhere; a name that came with a handle may not.
    pool.connection.target.public_only =
        account_->hosts() != Account::Hosts::fixed &&
        pool.connection.target == Target{origin.host, origin.port, false};
    pool.connection.tls = tls_;
    pool.tls_h1 = tls_h1_;
    pool.connection.times = settings_;
    pool.connection.streams_max_before_settings = account_->starts_with_one_stream() ? 1 : 100;
    auto outlet =
        std::make_unique<Outlet>(static_cast<OutletOwner&>(*this), nursery_, std::move(pool));
    return outlets_.emplace(origin, std::move(outlet)).first->second.get();
}

void AccountSender::submit(Push& push) {
    if (!started_) {
        started_ = true;
        nursery_.start(alarm_.run());
    }
    push.queued_at_ms = steady_now_ms();
    push.resends = 0;
    push.reauthorised = false;
    if (push.attempt == 0) budget_.fresh();
    if (push.attempt > 0 && over_budget(push)) return;
    const Origin origin = account_->origin(push.handle);
    Outlet* outlet = may_be_sent_to(origin) ? outlet_for(origin) : nullptr;
    if (outlet != nullptr) {
        outlet->enqueue(push);
    } else {
        unroutable_.push_back(&push);
        ++figures_.queued;
    }
    for (auto& watch : watches_) watch.below = watch.below || room() < watch.low;
    wake();
}

// queued_at_ms serves as the time to come back while the push waits for the next turn.
bool AccountSender::over_budget(Push& push) {
    const auto wait_ms = budget_.wait_ms(push.queued_at_ms, random_());
    if (wait_ms == 0) return false;
    push.queued_at_ms = wait_ms;
    put_off_.push_back(&push);
    ++figures_.queued;
    ++figures_.retries_put_off;
    wake();
    return true;
}

bool AccountSender::take_permit() {
    if (!rate_) return true;
    if (permits_ == 0) {
        const auto now_ms = steady_now_ms();
        if (now_ms < permits_due_ms_) return false;
        std::int64_t retry_us = 0;
        const auto want = static_cast<std::uint32_t>(std::clamp<std::size_t>(queued(), 1, 64));
        permits_ = rate_->take(want, steady_now_us(), retry_us);
        if (permits_ == 0) {
            ++figures_.rate_waits;
            permits_due_ms_ = now_ms + retry_us / 1'000 + 1;
            return false;
        }
    }
    --permits_;
    return true;
}

// What one turn took and did not use is for the other loops.
void AccountSender::settle_permits(std::int64_t& next_ms) {
    if (!rate_) return;
    if (permits_ > 0) rate_->give_back(std::exchange(permits_, 0));
    if (permits_due_ms_ > steady_now_ms()) next_ms = std::min(next_ms, permits_due_ms_);
}

bool AccountSender::send(Push& push, Connection& connection) {
    account_->encode(push, encoded_);
    headers_.clear();
    H2Header header;
    if (token_) {
        header.name = "authorization";
        header.value = token_->authorization;
        header.never_index = true;
        headers_.push_back(header);
        push.bearer_serial = token_->serial;
    }
    header.never_index = false;
    for (const auto& [name, value] : push.prepared->headers) {
        header.name = name;
        header.value = value;
        headers_.push_back(header);
    }
    header.never_index = true;  // differs from push to push: would only churn the table
    for (const auto& [name, value] : encoded_.headers) {
        header.name = name;
        header.value = value;
        headers_.push_back(header);
    }
    WireRequest request;
    request.path = encoded_.path;
    request.headers = headers_;
    request.body = encoded_.body.empty() ? push.prepared->body
                                         : std::make_shared<const std::string>(encoded_.body);
    return connection.submit(request, &push);
}

void AccountSender::finish(Push& push, Verdict&& verdict) {
    using Kind = Verdict::Kind;
    if (verdict.kind == Kind::accepted) ++figures_.accepted;
    if (verdict.kind == Kind::refused) ++figures_.refused;
    if (verdict.kind == Kind::accepted || verdict.kind == Kind::retire) {
        Halt& halt = halt_of(push);
        halt.configuration_in_row = 0;
        halt.next_ms = halt_ms_first;
    } else if (verdict.configuration) {
        Halt& halt = halt_of(push);
        if (steady_now_ms() >= halt.until_ms &&
            ++halt.configuration_in_row >= configuration_in_row_max) {
            // One more after the pause halts again at once.
            halt.configuration_in_row = configuration_in_row_max - 1;
            halt.until_ms = steady_now_ms() + halt.next_ms;
            halt.next_ms = std::min(halt.next_ms * 2, halt_ms_max);
            halt.verdict = verdict;
            wake();
        }
    }
    push.owner->on_verdict(push, std::move(verdict));
}

Outlet::May AccountSender::may_use(const Origin& origin, Outlet& outlet, std::int64_t now_ms,
                                   std::int64_t wall_ms) {
    using May = Outlet::May;
    if (outlet.queued() == 0) return May::nothing;
    const Halt& halt = halt_of(origin);
    if (now_ms < halt.until_ms) {
        const Verdict verdict = halt.verdict;
        outlet.fail_queued(now_ms, 0, verdict);
        return May::nothing;
    }
    if (now_ms < held_until_ms_) {
        const auto left_ms = held_until_ms_ - now_ms;
        if (left_ms > settings_.request_timeout_ms) {
            outlet.fail_queued(
                now_ms, 0, retry_later(Outcome::throttled, "the credential is throttled", left_ms));
        }
        return May::nothing;
    }
    BearerUser& bearer = bearer_of(origin);
    if (!bearer.needed()) return May::send;
    token_ = bearer.current(wall_ms);
    if (token_) return May::send;
    if (const auto trouble = bearer.trouble()) {
        Verdict v = retry_later(trouble->outcome, trouble->reason,
                                std::max<std::int64_t>(0, trouble->retry_at_ms - wall_ms));
        if (trouble->configuration) {
            v.kind = Verdict::Kind::refused;
            v.configuration = true;
        }
        outlet.fail_queued(now_ms, trouble->configuration ? 0 : settings_.request_timeout_ms, v);
        return May::nothing;
    }
    return May::connect;  // while the first token is on its way
}

void AccountSender::tell_totals() {
    const auto tell = [this](std::atomic<std::uint64_t>& total,
                             std::uint64_t SenderFigures::*part) {
        const std::uint64_t news = figures_.*part - std::exchange(told_.*part, figures_.*part);
        if (news > 0) total.fetch_add(news, std::memory_order_relaxed);
    };
    tell(totals_->resends, &SenderFigures::resends);
    tell(totals_->lost, &SenderFigures::lost);
    tell(totals_->goaways, &SenderFigures::goaways);
    tell(totals_->rate_waits, &SenderFigures::rate_waits);
    tell(totals_->retries_put_off, &SenderFigures::retries_put_off);
}

std::int64_t AccountSender::tick() {
    tell_totals();
    const auto now_ms = steady_now_ms();
    const auto wall_ms = wall_now_ms();
    if (stopping_) {
        fail_all(now_ms, 0, retry_later(Outcome::pns_unavailable, "the sender stops", 0));
        if (!has_connections()) stopped_.cancel();
        return never_ms;
    }
    fail_unroutable();
    std::int64_t next = never_ms;
    if (queued() > 0) {
        for (const auto& [origin, outlet] : outlets_) {
            const auto may = may_use(origin, *outlet, now_ms, wall_ms);
            next = std::min(next, outlet->pump(now_ms, wall_ms, may));
        }
        settle_permits(next);
    }
    if (outlets_.size() >= origins_max) forget_unused_origins();
    tell_room();
    return next;
}

void AccountSender::forget_unused_origins() {
    for (auto it = outlets_.begin(); it != outlets_.end();) {
        if (it->second->idle()) {
            figures_.connects += it->second->pool().connects();
            if (const auto bearer = origin_bearers_.find(it->first);
                bearer != origin_bearers_.end()) {
                figures_.token_fetches += bearer->second->fetches();
                origin_bearers_.erase(bearer);
            }
            if (account_->tokens_per_origin()) halts_.erase(it->first);
            it = outlets_.erase(it);
        } else {
            ++it;
        }
    }
}

void AccountSender::fail_all(std::int64_t now_ms, std::int64_t waited_ms, const Verdict& verdict) {
    fail_unroutable();
    for (const auto& [origin, outlet] : outlets_) outlet->fail_queued(now_ms, waited_ms, verdict);
}

void AccountSender::withdraw(std::uint32_t flow) {
    Verdict verdict = retry_later(Outcome::throttled, "withdrawn", 0);
    verdict.unsent = true;
    for (const auto& [origin, outlet] : outlets_) outlet->fail_flow(flow, verdict);
    wake();
}

void AccountSender::fail_unroutable() {
    const auto put_off = std::exchange(put_off_, {});
    figures_.queued -= put_off.size();
    for (Push* push : put_off) {
        Verdict v = retry_later(Outcome::throttled, "the retry budget of the credential is used up",
                                push->queued_at_ms);
        v.unsent = true;
        finish(*push, std::move(v));
    }
    const auto pushes = std::exchange(unroutable_, {});
    figures_.queued -= pushes.size();
    for (Push* push : pushes) {
        if (may_be_sent_to(account_->origin(push->handle))) {
            finish(*push, retry_later(Outcome::throttled, "too many hosts at once", 1'000));
        } else {
            Verdict v;
            v.kind = Verdict::Kind::refused;
            v.outcome = Outcome::bad_channel;
            v.reason = "the host of the handle is not a push service that this hub sends to";
            finish(*push, std::move(v));
        }
    }
}

void AccountSender::tell_room() {
    for (auto& watch : watches_) {
        if (!watch.below || room() < watch.low) continue;
        watch.below = false;
        watch.on_room();
    }
}

bool AccountSender::has_connections() const {
    return std::any_of(outlets_.begin(), outlets_.end(),
                       [](const auto& o) { return o.second->pool().connections() > 0; });
}

SenderFigures AccountSender::figures() const {
    SenderFigures out = figures_;
    for (const auto& [origin, outlet] : outlets_) {
        out.in_flight += outlet->pool().in_flight();
        out.connections += outlet->pool().connections();
        out.connects += outlet->pool().connects();
    }
    out.token_fetches += bearer_.fetches();
    for (const auto& [origin, bearer] : origin_bearers_) out.token_fetches += bearer->fetches();
    return out;
}

Task<void> AccountSender::stop(std::int64_t drain_ms) {
    co_await asio::this_coro::throw_if_cancelled(false);
    stopping_ = true;
    bearer_.stop();
    for (const auto& [origin, outlet] : outlets_) outlet->pool().drain();
    const auto end_ms = steady_now_ms() + std::max<std::int64_t>(drain_ms, 0);
    if (started_) {
        wake();
        stopped_.expires_at(SteadyTimer::time_point(std::chrono::milliseconds(end_ms)));
        if (has_connections()) co_await stopped_.async_wait(as_result);
    }
    for (const auto& [origin, outlet] : outlets_) outlet->pool().close(errc::stopped);
    // Connections report what they lose while they end; the alarm goes last.
    alarm_.stop();
    co_await nursery_.join();
    tell_totals();
    while (queued() > 0) {
        fail_all(steady_now_ms(), 0, retry_later(Outcome::pns_unavailable, "the sender stops", 0));
    }
}

}  // namespace

std::unique_ptr<Sender> Sender::create(asio::io_context& loop, std::unique_ptr<Account> account,
                                       const SenderSettings& settings, const Network& network,
                                       BearerCache& bearers) {
    return std::make_unique<AccountSender>(loop.get_executor(), std::move(account), settings,
                                           network, bearers);
}

std::unique_ptr<Sender> Sender::create(asio::io_context& loop, const Credential& credential,
                                       const SenderSettings& settings, const Network& network,
                                       BearerCache& bearers) {
    auto opened = open_account(credential);
    if (std::holds_alternative<Refusal>(opened)) {
        throw boost::system::system_error(errc::bad_key, std::get<Refusal>(opened).message);
    }
    return create(loop, std::move(std::get<std::unique_ptr<Account>>(opened)), settings, network,
                  bearers);
}

}  // namespace pns
