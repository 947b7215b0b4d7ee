// Tested by tests/pns_sender_test.cpp and tests/pns_sender_outage_test.cpp.
//
// One sender lives on one loop and shares with the senders of other loops only tokens
// (BearerCache), rates and totals. submit() puts a push into the queue of its origin; tick(), which
// the alarm runs, lets every outlet submit what its connections take. What the credential allows is
// decided here (permission()), what the origin allows in pns/outlet.cpp. Nothing blocks; no
// callback to an owner happens from inside submit().

#include "pns/sender.hpp"

#include <algorithm>
#include <boost/system/system_error.hpp>
#include <utility>

#include "pns/errc.hpp"

namespace pns {

namespace {

constexpr std::size_t origins_max = 256;
constexpr std::size_t strangers_max = 192;        // of them, for origins that have not answered
constexpr std::size_t lobby_max = 1'024;          // pushes that wait for a place
constexpr std::size_t lobby_strangers_max = 896;  // beyond it only those to who has answered
constexpr std::int64_t lobby_look_ms = 25, look_late_ms_max = 10, look_ms_max = 50;
constexpr std::int64_t first_answer_wait_ms = 1'000;
constexpr std::int64_t place_wait_ms = 500;  // for a place among the origins
constexpr std::int64_t queue_wait_ms_max = 2'000;
constexpr unsigned refusals_max = 8;  // in a row, of the credential
constexpr std::size_t common_max = 8;

std::uint64_t secret_word() {
    std::random_device random;
    return std::uint64_t{random()} << 32 | random();
}

template <class T>
T or_throw(Result<T>&& made) {
    if (!made) throw boost::system::system_error(made.error());
    return std::move(*made);
}

}  // namespace

Sender::Sender(asio::io_context& loop, std::unique_ptr<Account> account,
               const SenderSettings& settings, const Network& network, BearerCache& bearers)
    : account_(std::move(account)),
      settings_(settings),
      connect_to_(or_throw(ConnectTo::parse(network.connect_to, network.descriptors_below))),
      guard_(or_throw(account_->hosts() == Account::Hosts::channel
                          ? EndpointGuard::parse(network.wns_hosts, known_wns_hosts())
                          : EndpointGuard::parse(network.push_services))),
      bearers_(bearers),
      clock_(bearers.clock()),
      tls_(open_tls(network, account_->protocol())),
      nursery_(loop.get_executor()),
      alarm_(
          loop.get_executor(), [this] { return tick(); }, clock_),
      stopped_(loop.get_executor(), SteadyTimer::time_point::max()),
      bearer_settings_(bearer_settings(network)),
      bearer_(bearers, nursery_, bearer_settings_),
      memory_({secret_word(), secret_word()}),
      budget_(settings.retry_budget_percent),
      running_(clock_.steady_ms()),
      totals_(network.totals),
      returns_(network.returns),
      random_(std::random_device{}()) {
    if (settings_.pushes_per_s_max > 0) {
        // A second's worth may go at once.
        rate_ = network.rates->get(
            std::string(account_->platform().name) + ' ' + account_->rate_key(),
            settings_.pushes_per_s_max, settings_.pushes_per_s_max, settings_.ramp_ms * 1'000);
    }
    if (account_->falls_back_to_h1()) tls_h1_ = open_tls(network, Account::Protocol::h1);
}

Sender::~Sender() = default;

std::unique_ptr<Sender> Sender::create(asio::io_context& loop, const Credential& credential,
                                       const SenderSettings& settings, const Network& network,
                                       BearerCache& bearers) {
    auto opened = open_account(credential);
    if (const auto* refusal = std::get_if<Refusal>(&opened))
        throw boost::system::system_error(errc::bad_key, refusal->message);
    return std::make_unique<Sender>(loop, std::get<std::unique_ptr<Account>>(std::move(opened)),
                                    settings, network, bearers);
}

TlsContext Sender::open_tls(const Network& network, Account::Protocol protocol) const {
    TlsClientOptions options;
    options.ca_file = network.ca_file;
    auto [certificate, key] = account_->client_certificate();
    options.certificate_pem = std::move(certificate);
    options.key_pem = std::move(key);
    const bool h2 = protocol == Account::Protocol::h2;
    options.alpn = h2 ? "h2" : "http/1.1";
    if (h2 && account_->falls_back_to_h1()) options.alpn_fallback = "http/1.1";
    return or_throw(make_client_context(bearers_.trust(), options));
}

BearerUser::Settings Sender::bearer_settings(const Network& network) {
    BearerUser::Settings out;
    out.account = account_.get();
    out.connect_to = connect_to_;
    out.ca_file = network.ca_file;
    out.timeout_ms = settings_.connect_timeout_ms;
    out.on_news = [this] { wake(); };
    return out;
}

BearerUser& Sender::bearer_of(const Origin& origin) {
    if (!account_->tokens_per_origin()) return bearer_;
    auto& bearer = origin_bearers_[origin];
    if (!bearer) {
        BearerUser::Settings settings = bearer_settings_;
        settings.origin = origin;
        bearer = std::make_unique<BearerUser>(bearers_, nursery_, std::move(settings));
    }
    return *bearer;
}

Sender::Standing& Sender::standing_of(const Origin& origin) {
    const auto key = key_of(origin);
    const auto found = standings_.find(key);
    if (found != standings_.end()) return found->second;
    // A refused credential is tried again with one push at a time.
    const Breaker::Limits limits{refusals_max, 0, settings_.refused_wait_ms_min,
                                 refused_wait_ms_max};
    Standing fresh{Breaker(limits),
                   NotSent{Outcome::invalid_credentials, {}, 0, credential_door},
                   nullptr,
                   false,
                   false,
                   {},
                   {}};
    return standings_.emplace(key, std::move(fresh)).first->second;
}

Sender::Standing& Sender::standing_of(const Push& push) {
    return standing_of(account_->tokens_per_origin() ? account_->origin(push.handle) : Origin());
}

std::unique_ptr<Outlet> Sender::open_outlet(const Origin& origin, bool proven) {
    PoolSettings pool;
    pool.protocol = account_->protocol();
    pool.connection.origin = origin;
    pool.connection.target = connect_to_.resolve(origin.host, origin.port);
    // A rule of the operator's may lead anywhere; a name that came with a handle may not.
    pool.connection.target.public_only =
        named_by_handles() && pool.connection.target == Target{origin.host, origin.port, false};
    pool.connection.tls = tls_;
    pool.tls_h1 = tls_h1_;
    pool.connection.times = settings_;
    pool.connection.clock = &clock_;
    pool.connection.streams_max_before_settings = account_->starts_with_one_stream() ? 1 : 100;
    return std::make_unique<Outlet>(static_cast<OutletOwner&>(*this), nursery_, std::move(pool),
                                    ++doors_, proven, patience_ms_);
}

// Strangers never have all places: the rest is for origins that have answered. Ends nothing, so it
// may be called from inside a call on an outlet; what has to end does so at the next turn.
Outlet* Sender::place_for(const Origin& origin, std::int64_t now_ms) {
    const auto found = outlets_.find(origin);
    if (found != outlets_.end()) {
        if (!found->second->closing()) return found->second.get();
        wants_place_ = true;  // its own, once it has ended
        return nullptr;
    }
    if (memory_.not_before_ms(origin) > now_ms) return nullptr;
    const bool known = !named_by_handles() || memory_.has_answered(origin);
    if (places_ >= origins_max || outlets_.size() >= 2 * origins_max) {
        wants_place_ = true;
        known_waits_ = known_waits_ || known;
        return nullptr;
    }
    if (!known && strangers_ >= strangers_max) return nullptr;
    ++places_;
    if (!known) ++strangers_;
    return outlets_.emplace(origin, open_outlet(origin, known)).first->second.get();
}

void Sender::route(Push& push, std::int64_t now_ms) {
    const Origin origin = account_->origin(push.handle);
    Outlet* const outlet = may_be_sent_to(origin) ? place_for(origin, now_ms) : nullptr;
    ++figures_.queued;
    if (outlet != nullptr) {
        const bool stranger = is_stranger(*outlet);
        const bool crowded = stranger && outlet->queued() > 0 &&
                             (outlet->queued() >= settings_.queue_pushes_max / 8 ||
                              strangers_queued_ >= settings_.queue_pushes_max / 2);
        if (crowded) return unroutable_.push_back(&push);
        --figures_.queued;  // the outlet counts it
        if (stranger) ++strangers_queued_;
        return outlet->enqueue(push);
    }
    const bool may_wait =
        may_be_sent_to(origin) && memory_.not_before_ms(origin) <= now_ms &&
        (lobby_.size() < lobby_strangers_max ||
         (lobby_.size() < lobby_max && (!named_by_handles() || memory_.has_answered(origin))));
    if (!may_wait) return unroutable_.push_back(&push);
    lobby_.push_back(&push);
}

/// Whoever waits for a place is asked for again, the first come first. From the turn only.
void Sender::serve_lobby() {
    const auto waiting = std::exchange(lobby_, {});
    figures_.queued -= waiting.size();
    const std::int64_t now_ms = clock_.steady_ms();
    for (Push* push : waiting) route(*push, now_ms);
}

void Sender::count_places() {
    places_ = strangers_ = strangers_queued_ = 0;
    for (const auto& [origin, outlet] : outlets_) {
        if (outlet->closing()) continue;
        ++places_;
        if (!is_stranger(*outlet)) continue;
        ++strangers_;
        strangers_queued_ += outlet->queued();
    }
}

void Sender::proven(const Origin& origin) {
    if (named_by_handles()) memory_.answered(origin);
}

// A look that comes late, or long after the last one, says nothing about others.
void Sender::count_patience(std::int64_t now_ms) {
    const std::int64_t since_ms = now_ms - std::exchange(looked_ms_, now_ms);
    if (now_ms - look_late_ms_max <= look_due_ms_) patience_ms_ += std::min(since_ms, look_ms_max);
}

// While others wait, a stranger that cannot be reached, or whose connection takes too long, makes
// room for the next one. One that is connected is what its certificate says, and keeps its place:
// it may have a push.
void Sender::judge_strangers(std::int64_t now_ms) {
    using Failure = OriginMemory::Failure;
    for (const auto& [origin, outlet] : outlets_) {
        if (outlet->closing() || !is_stranger(*outlet) || outlet->pool().ready() > 0) continue;
        const bool late = outlet->pool().connections() > 0 &&
                          patience_ms_ - outlet->begun_ms() >= memory_.patience_ms(origin);
        if (!outlet->shut() && !late) continue;
        give_up(origin, *outlet, outlet->shut() ? Failure::unreachable : Failure::quiet, now_ms);
    }
}

void Sender::give_up(const Origin& origin, Outlet& outlet, OriginMemory::Failure failure,
                     std::int64_t now_ms) {
    const std::int64_t wait_ms = memory_.failed(origin, failure, now_ms);
    outlet.close();
    outlet.fail_queued(
        {Outcome::pns_unreachable, "the push service cannot be reached", wait_ms, 0});
    opened(outlet.door());
}

// Places are for origins that work: one that has nothing to do ends its connections, one that is
// shut gives back what waits and is left alone for a while, and if that is not enough strangers go.
// The place is free at once, the outlet when its connections have ended: a later turn forgets it.
// Never from inside a call on an outlet.
void Sender::make_place(std::int64_t now_ms) {
    constexpr int ended_max = 8;
    int ended = 0;
    const bool for_known = std::exchange(known_waits_, false);
    for (const bool strangers_too : {false, true}) {
        if (strangers_too && (!for_known || ended > 0)) break;
        for (const auto& [origin, outlet] : outlets_) {
            if (ended == ended_max) break;
            if (outlet->closing()) continue;
            const bool shut = outlet->shut() && outlet->pool().ready() == 0;
            const bool connects = outlet->pool().ready() == 0;
            if (shut || (strangers_too && is_stranger(*outlet) && connects)) {
                give_up(origin, *outlet,
                        shut ? OriginMemory::Failure::unreachable : OriginMemory::Failure::quiet,
                        now_ms);
                ++ended;
            } else if (outlet->unused()) {
                outlet->close();
                ++ended;
            }
        }
    }
}

void Sender::submit(Push& push) {
    submit(push, clock_.steady_ms());
}

void Sender::submit(Push& push, std::int64_t now_ms) {
    if (!started_) {
        started_ = true;
        nursery_.start(alarm_.run());
    }
    push.queued_at_ms = now_ms;
    push.resends = 0;
    push.reauthorised = false;
    if (push.faults == 0) budget_.fresh();
    if (push.faults > 0 && over_budget(push)) return;
    route(push, now_ms);
    wake();
}

// queued_at_ms serves as the time to come back while the push waits for the next turn.
bool Sender::over_budget(Push& push) {
    const auto wait_ms = budget_.wait_ms(push.queued_at_ms, random_());
    if (wait_ms == 0) return false;
    push.queued_at_ms = wait_ms;
    put_off_.push_back(&push);
    ++figures_.queued;
    ++figures_.retries_put_off;
    wake();
    return true;
}

bool Sender::take_permit() {
    if (!rate_) return true;
    if (permits_ == 0) {
        const auto now_ms = clock_.steady_ms();
        if (now_ms < permits_due_ms_) return false;
        std::int64_t retry_us = 0;
        const auto want = static_cast<std::uint32_t>(std::clamp<std::size_t>(queued(), 1, 64));
        permits_ = rate_->take(want, clock_.steady_us(), retry_us);
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
void Sender::settle_permits(std::int64_t& next_ms) {
    if (!rate_) return;
    if (permits_ > 0) rate_->give_back(std::exchange(permits_, 0));
    if (permits_due_ms_ > clock_.steady_ms()) next_ms = std::min(next_ms, permits_due_ms_);
}

/// Pushes of one send have them in common, and so have many that were rendered one by one.
const std::shared_ptr<const H2Fields>& Sender::common_fields(
    const std::shared_ptr<const Prepared>& prepared) {
    for (CommonFields& known : common_) {
        if (known.token != token_) continue;
        if (known.of == prepared || known.of->headers == prepared->headers) return known.fields;
    }
    auto fields = std::make_shared<H2Fields>();
    if (token_) fields->push_back({"authorization", token_->authorization, true});
    for (const auto& [name, value] : prepared->headers) fields->push_back({name, value});
    if (common_.size() == common_max) common_.pop_back();
    common_.push_front({token_, prepared, std::move(fields)});
    return common_.front().fields;
}

bool Sender::send(Push& push, Connection& connection) {
    account_->encode(push, encoded_);
    if (token_) push.bearer_serial = token_->serial;
    headers_.clear();
    for (const auto& [name, value] : encoded_.headers) headers_.push_back({name, value, true});
    WireRequest request;
    request.path = encoded_.path;
    request.common = common_fields(push.prepared);
    request.headers = headers_;
    request.steady_ms = push.sent_at_ms;
    request.body = encoded_.body.empty() ? push.prepared->body
                                         : std::make_shared<const std::string>(encoded_.body);
    return connection.submit(request, &push);
}

void Sender::finish(Push& push, Verdict&& verdict, std::int64_t now_ms) {
    Standing& standing = standing_of(push);
    const bool probe = standing.probe == &push;
    if (probe) standing.probe = nullptr;
    const bool asked_again = verdict.is<RetryLater>() || verdict.is<NoAnswer>() ||
                             verdict.is<NotSent>() || verdict.blames_credential();
    if (!asked_again) standing.drought.taken();
    auto* refused = verdict.get<Refused>();
    if (refused != nullptr && refused->of_credential) {
        standing.breaker.bad(now_ms, 0, probe);
        standing.refused_serial = push.bearer_serial;
        refused->others_taken = standing.good_ms > push.queued_at_ms;
        standing.why.outcome = refused->outcome;
        standing.why.reason = refused->reason;
        unwell(Trouble::refused, key_of(account_->origin(push.handle)).host, refused->reason);
        if (standing.breaker.shut()) wake();
    } else if (verdict.is<Accepted>() || verdict.is<Dead>()) {
        const bool was_shut = standing.breaker.shut();
        standing.breaker.good(now_ms);
        standing.good_ms = now_ms;
        if (health_ && health_->any_unwell()) {
            const Origin origin = account_->origin(push.handle);
            well(origin.host);
            well(key_of(origin).host);
        }
        if (was_shut && std::exchange(standing.told, false)) {
            opened(standing.why.door);
            wake();
        }
    } else if (probe) {
        standing.breaker.probe_lost();
    }
    if (verdict.is<Accepted>()) ++figures_.accepted;
    if (refused != nullptr) ++figures_.refused;
    push.owner->on_verdict(push, std::move(verdict));
}

void Sender::put_off(const Push& push, std::int64_t after_ms, bool of_all,
                     std::string_view reason) {
    if (standing_of(push).drought.put_off(push.handle, after_ms, of_all, clock_.steady_ms()))
        unwell(Trouble::throttled, key_of(account_->origin(push.handle)).host, reason);
}

void Sender::heard(const Push& push, Judgement& judgement) {
    const auto* later = judgement.verdict.get<RetryLater>();
    if (later != nullptr &&
        (later->outcome == Outcome::throttled || later->outcome == Outcome::channel_throttled))
        put_off(push, later->after_ms, judgement.throttle_credential_ms > 0, later->reason);
    if (judgement.throttle_credential_ms > 0) hold_credential(judgement.throttle_credential_ms);
    const std::int64_t if_many_ms = judgement.throttle_if_many_ms;
    if (if_many_ms == 0 || !standing_of(push).throttled.seen(push.handle, clock_.steady_ms()))
        return;
    if (account_->tokens_per_origin())
        judgement.throttle_origin_ms = std::max(judgement.throttle_origin_ms, if_many_ms);
    else
        hold_credential(if_many_ms);
}

void Sender::returned(const Push& push) {
    Standing& standing = standing_of(push);
    if (standing.probe != &push) return;
    standing.probe = nullptr;
    standing.breaker.probe_lost();
}

bool Sender::token_refused(const Push& push) {
    const Origin origin = account_->tokens_per_origin() ? account_->origin(push.handle) : Origin();
    return bearer_of(origin).refused(push.bearer_serial);
}

bool Sender::token_changed_too_soon(const Push& push) {
    const Origin origin = account_->tokens_per_origin() ? account_->origin(push.handle) : Origin();
    return bearer_of(origin).changed_too_soon(push.bearer_serial);
}

void Sender::hold_credential(std::int64_t ms) {
    held_until_ms_ = std::max(held_until_ms_, clock_.steady_ms() + ms);
    if (ms > queue_wait_ms_max) unwell(Trouble::throttled, {}, "the provider asks to wait");
}

Permission Sender::permission(const Origin& origin, const Outlet& outlet, std::int64_t now_ms,
                              std::int64_t wall_ms) {
    using May = Permission::May;
    if (outlet.queued() == 0) return {May::nothing};
    Permission out;
    const std::uint32_t door = account_->tokens_per_origin() ? outlet.door() : credential_door;
    Standing& standing = standing_of(origin);
    BearerUser& bearer = bearer_of(origin);
    if (bearer.needed()) token_ = bearer.current();
    if (standing.breaker.shut()) {
        // Signed after the refusal: the clock was set, or the token was old.
        const bool other_token =
            token_ && token_->self_signed && token_->serial > standing.refused_serial;
        if (other_token) {
            standing.refused_serial = token_->serial;
            standing.breaker.probe_now(now_ms);
        }
        standing.why.door = door;
        out.shut = standing.why;
        out.shut->after_ms = std::max<std::int64_t>(standing.breaker.probe_at_ms() - now_ms, 0);
        standing.told = true;
        out.may = standing.breaker.may_probe(now_ms) ? May::probe : May::nothing;
        if (out.may == May::nothing) return out;
    } else if (standing.breaker.doubtful()) {
        out.may = May::probe;  // not all at once to a credential that may be refused
    }
    if (const auto left_ms = held_until_ms_ - now_ms; left_ms > 0) {
        out.may = May::nothing;
        if (left_ms <= queue_wait_ms_max) return out;
        hold_told_ = true;
        out.shut =
            NotSent{Outcome::throttled, "the credential is throttled", left_ms, credential_door};
        return out;
    }
    // A stranger gets one push until it has answered.
    const bool stranger = is_stranger(outlet);
    if (stranger && outlet.pool().in_flight() > 0) return {May::nothing};
    if (stranger) out.may = May::probe;
    if (!bearer.needed()) return out;
    if (token_) {
        if (std::exchange(standing.token_missing, false)) {
            well(key_of(origin).host);
            opened(door);
        }
        return out;
    }
    out.may = May::connect;  // while the first token is on its way
    if (const auto trouble = bearer.trouble()) {
        if (!std::exchange(standing.token_missing, true))
            unwell(trouble->configuration ? Trouble::refused : Trouble::unreachable,
                   key_of(origin).host, "no token: " + trouble->reason);
        out.may = May::nothing;
        out.shut = NotSent{trouble->outcome, trouble->reason,
                           std::max<std::int64_t>(0, trouble->retry_at_ms - wall_ms), door};
    }
    return out;
}

bool Sender::shut() const {
    if (held_until_ms_ - clock_.steady_ms() > queue_wait_ms_max) return hold_told_;
    if (account_->hosts() != Account::Hosts::fixed) return false;
    const auto standing = standings_.find(Origin());
    if (standing != standings_.end() &&
        (standing->second.token_missing || standing->second.breaker.shut()))
        return true;
    return outlets_.size() == 1 && outlets_.begin()->second->shut();
}

void Sender::tell_totals() {
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
    const auto now = [this](std::atomic<std::uint64_t>& total, std::uint64_t& told,
                            std::uint64_t value) {
        if (value != told) total.fetch_add(value - std::exchange(told, value));
    };
    const SenderFigures sum = figures();
    now(totals_->connections, told_.connections, sum.connections);
    now(totals_->queued, told_.queued, sum.queued);
    now(totals_->connects, told_.connects, sum.connects);
    now(totals_->token_fetches, told_.token_fetches, sum.token_fetches);
}

std::int64_t Sender::tick() {
    const std::int64_t next = turn();
    tell_totals();
    return next;
}

std::int64_t Sender::turn() {
    const auto now_ms = clock_.steady_ms();
    const auto wall_ms = clock_.wall_ms();
    running_.look(now_ms);
    count_patience(now_ms);
    if (stopping_) {
        fail_all({Outcome::pns_unavailable, "the sender stops", 0, 0});
        if (!has_connections()) stopped_.cancel();
        return never_ms;
    }
    fail_unroutable();
    std::int64_t next = never_ms;
    if (hold_told_ && now_ms >= held_until_ms_) {
        hold_told_ = false;
        opened(credential_door);
    }
    if (hold_told_) next = held_until_ms_;
    const bool wanted = std::exchange(wants_place_, false);
    if (wanted || !lobby_.empty() || outlets_.size() >= origins_max) forget_unused_origins();
    count_places();
    if (!lobby_.empty()) {
        judge_strangers(now_ms);
        count_places();
        if (wanted && places_ >= origins_max) {
            make_place(now_ms);
            count_places();
        }
        serve_lobby();
        next = std::min(next, now_ms + lobby_look_ms);
    }
    if (queued() > 0) {
        for (const auto& [origin, outlet] : outlets_) {
            const Permission allowed = permission(origin, *outlet, now_ms, wall_ms);
            const Push* probe = nullptr;
            next = std::min(next, outlet->pump(now_ms, wall_ms, allowed, probe));
            Standing& standing = standing_of(origin);
            if (probe != nullptr && standing.breaker.shut()) {
                standing.breaker.probe_sent();
                standing.probe = probe;
            }
        }
        settle_permits(next);
    }
    running_.expect(next);
    look_due_ms_ = next;
    return next;
}

void Sender::forget_origin(std::map<Origin, std::unique_ptr<Outlet>>::iterator it) {
    figures_.connects += it->second->pool().connects();
    if (const auto bearer = origin_bearers_.find(it->first); bearer != origin_bearers_.end()) {
        figures_.token_fetches += bearer->second->fetches();
        origin_bearers_.erase(bearer);
    }
    bool awaited = it->second->shut() || it->second->is_awaited();
    if (it->second->shut() && is_stranger(*it->second) && !it->second->closing())
        memory_.failed(it->first, OriginMemory::Failure::unreachable, clock_.steady_ms());
    if (const auto known = standings_.find(it->first);
        account_->tokens_per_origin() && known != standings_.end()) {
        awaited = awaited || known->second.told || known->second.token_missing;
        standings_.erase(known);
    }
    const auto door = it->second->door();
    outlets_.erase(it);
    if (awaited) opened(door);  // nobody would tell it later
}

void Sender::forget_unused_origins() {
    for (auto it = outlets_.begin(); it != outlets_.end();) {
        const auto next = std::next(it);
        if (it->second->idle()) forget_origin(it);
        it = next;
    }
}

void Sender::fail_all(const NotSent& verdict) {
    fail_unroutable();
    const auto waiting = std::exchange(lobby_, {});
    figures_.queued -= waiting.size();
    for (Push* push : waiting) push->owner->on_verdict(*push, NotSent(verdict));
    for (const auto& [origin, outlet] : outlets_) outlet->fail_queued(verdict);
}

void Sender::withdraw(std::uint32_t flow) {
    const auto others = std::stable_partition(
        lobby_.begin(), lobby_.end(), [flow](const Push* push) { return push->flow != flow; });
    const std::vector<Push*> withdrawn(others, lobby_.end());
    lobby_.erase(others, lobby_.end());
    figures_.queued -= withdrawn.size();
    for (Push* push : withdrawn) {
        push->owner->on_verdict(*push, NotSent{Outcome::throttled, "withdrawn", 0, 0});
    }
    for (const auto& [origin, outlet] : outlets_) {
        const Standing& standing = standing_of(origin);
        const bool refused = standing.breaker.shut() || standing.breaker.doubtful();
        outlet->fail_flow(flow, refused ? std::optional(standing.why) : std::nullopt);
    }
    wake();
}

void Sender::fail_unroutable() {
    // Not through finish(): these say nothing of the credential, and their hosts, which a handle
    // names, are not to be remembered.
    const auto give_back = [](Push& push, NotSent&& why) {
        push.owner->on_verdict(push, std::move(why));
    };
    const auto put_off = std::exchange(put_off_, {});
    figures_.queued -= put_off.size();
    for (Push* push : put_off) {
        give_back(*push,
                  NotSent{Outcome::throttled, "the retry budget of the credential is used up",
                          push->queued_at_ms, 0});
    }
    const auto pushes = std::exchange(unroutable_, {});
    figures_.queued -= pushes.size();
    for (Push* push : pushes) {
        give_back(*push, why_unroutable(account_->origin(push->handle)));
    }
}

NotSent Sender::why_unroutable(const Origin& origin) {
    if (!may_be_sent_to(origin)) {
        return {Outcome::bad_channel, "the host of the handle is none that this hub sends to",
                never_ms, 0};
    }
    const std::int64_t left_ms = memory_.not_before_ms(origin) - clock_.steady_ms();
    if (left_ms > 0)
        return {Outcome::pns_unreachable, "the push service cannot be reached", left_ms, 0};
    const auto outlet = outlets_.find(origin);
    if (outlet != outlets_.end() && !outlet->second->closing() && is_stranger(*outlet->second)) {
        outlet->second->somebody_waits();
        return {Outcome::throttled, "the push service has not answered yet", first_answer_wait_ms,
                outlet->second->door()};
    }
    return {Outcome::throttled, "too many hosts at once", place_wait_ms, 0};
}

bool Sender::has_connections() const {
    return std::any_of(outlets_.begin(), outlets_.end(),
                       [](const auto& o) { return o.second->pool().connections() > 0; });
}

SenderFigures Sender::figures() const {
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

Task<void> Sender::stop(std::int64_t drain_ms) {
    co_await asio::this_coro::throw_if_cancelled(false);
    stopping_ = true;
    bearer_.stop();
    for (const auto& [origin, outlet] : outlets_) outlet->pool().drain();
    if (started_) {
        wake();
        stopped_.expires_after(std::chrono::milliseconds(drain_ms));
        if (has_connections()) co_await stopped_.async_wait(as_result);
    }
    for (const auto& [origin, outlet] : outlets_) outlet->pool().close(errc::stopped);
    // Connections report what they lose while they end; the alarm goes last.
    alarm_.stop();
    co_await nursery_.join();
    while (queued() > 0) fail_all({Outcome::pns_unavailable, "the sender stops", 0, 0});
    tell_totals();
}

}  // namespace pns
