// Tested by tests/pns_sender_test.cpp.
//
// The owner calls pump() when something has changed or a time has come; it sends what may go and
// says when to be called again. Answers, losses and ends of connections come from the pool, on the
// same loop, and wake the owner in place of pumping themselves: finish() may destroy or submit
// pushes, so nothing here holds a push over it. A push is in the queue or at a connection, and is
// given back once.

#include "pns/outlet.hpp"

#include <algorithm>
#include <utility>

#include "pns/errc.hpp"
#include "pns/retry_policy.hpp"

namespace pns {

namespace {

constexpr std::uint32_t h2_refused_stream = 7, h2_enhance_your_calm = 11;
constexpr unsigned resends_max = 8;
constexpr unsigned refused_in_row_free = 4;  // beyond it refusals are paced
constexpr std::int64_t calm_ms = 1'000;
constexpr std::string_view calm_reason = "the provider asks for less (ENHANCE_YOUR_CALM)";
constexpr std::int64_t busy_tick_ms = 50;
constexpr std::size_t goaway_debug_bytes_max = 512;
/// A provider is unwell if it said so eight times and nothing else for so long; it is asked again
/// every second, so that the first push goes out soon after it is well.
constexpr Breaker::Limits unwell_limits{8, 300, 1'000, 1'000};
/// What has to wait longer than this goes back instead of filling the queue.
constexpr std::int64_t queue_wait_ms_max = 2'000;

/// The connection did not come about.
bool was_not_made(const error_code& why) {
    return why == errc::resolve_failed || why == errc::connect_failed ||
           why == errc::connect_timeout || why == errc::tls_failed ||
           why == errc::certificate_not_trusted || why == errc::alpn_refused ||
           why == errc::settings_timeout;
}

/// We ended it.
bool was_ours(const error_code& why) {
    return why == errc::idle_closed || why == errc::retired || why == errc::stopped;
}

}  // namespace

Outlet::Outlet(OutletOwner& owner, Nursery& nursery, PoolSettings settings, std::uint32_t door,
               bool proven, std::int64_t begun_ms)
    : owner_(owner),
      origin_(settings.connection.origin),
      door_(door),
      clock_(*settings.connection.clock),
      request_timeout_ms_(settings.connection.times.request_timeout_ms),
      pool_(nursery, std::move(settings), static_cast<ConnectionEvents&>(*this),
            [this](error_code) {
                connection_ended(clock_.steady_ms());
                owner_.wake();
            }),
      breaker_(unwell_limits),
      returns_(owner.returns(origin_)),
      why_{Outcome::pns_unreachable, {}, 0, door},
      proven_(proven),
      begun_ms_(begun_ms) {}

void Outlet::close() {
    closing_ = true;
    pool_.close(errc::stopped);
}

void Outlet::enqueue(Push& push) {
    if (queued() == 0) heard_ms_ = owner_.running_ms(push.queued_at_ms);
    queue_.push_back(push);
    ++owner_.counters().queued;
}

Push& Outlet::pop() {
    --owner_.counters().queued;
    return queue_.pop();
}

void Outlet::push_front(Push& push) {
    queue_.push_front(push);
    ++owner_.counters().queued;
}

std::int64_t Outlet::pump(std::int64_t now_ms, std::int64_t wall_ms, const Permission& permission,
                          const Push*& probe) {
    using May = Permission::May;
    const bool address_refused =
        pool_.trouble() == errc::address_not_public && pool_.connections() == 0;
    // Every later push may open a connection that asks for the address again.
    const std::size_t refused = address_refused ? queued() : 0;
    if (address_refused)
        fail_queued({Outcome::bad_channel, pool_.trouble().message(), never_ms, 0});
    const Push* const oldest = queue_.front();
    const bool paced = now_ms < hold_until_ms_;
    const std::int64_t running_ms = owner_.running_ms(now_ms);
    if (paced || permission.may != May::send) heard_ms_ = running_ms;
    const bool silent = heard_ms_ + request_timeout_ms_ <= running_ms;
    if (oldest != nullptr && silent && oldest->queued_at_ms + request_timeout_ms_ <= now_ms &&
        permission.may == May::send && !breaker_.shut()) {
        trip(now_ms, calm_ms, Outcome::pns_unavailable, "the provider takes or answers nothing");
        owner_.unwell(Trouble::unreachable, origin_.host, why_.reason);
    }
    look_for_return(now_ms);
    if (permission.shut) {
        bounce(*permission.shut);
    } else if (const auto why = shut_why(now_ms)) {
        bounce(*why);
        told_shut_ = told_shut_ || queued() > 0 || breaker_.shut();
    }
    bool may_send = !paced && (permission.may == May::send || permission.may == May::probe);
    std::size_t in_flight = pool_.in_flight();
    bool enough = false;
    bool waits_for_rate = false;
    // Not more than wait now: a push that its owner submits again at once waits for the next turn.
    for (std::size_t budget = queued(); budget > 0; --budget) {
        Push* next = queue_.front();
        if (next == nullptr) break;
        if (next->prepared->expires_at_ms <= wall_ms) {
            owner_.finish(
                pop(), NotSent{Outcome::abandoned, "expired before it could be sent", never_ms, 0},
                now_ms);
            continue;
        }
        if (!may_send || (breaker_.shut() && !breaker_.may_probe(now_ms))) break;
        enough = in_flight >= limit_.now();
        if (enough) break;
        Connection* connection = pool_.pick();
        if (connection == nullptr) break;
        if (!next->owner->still_meant(*next)) {
            owner_.finish(pop(), NotSent{Outcome::skipped, "the device changed meanwhile", 0, 0},
                          now_ms);
            continue;
        }
        waits_for_rate = !owner_.take_permit();
        if (waits_for_rate) break;
        Push& push = pop();
        push.encoded_at_ms = wall_ms;
        push.sent_at_ms = now_ms;
        if (!owner_.send(push, *connection)) {
            owner_.return_permit();
            push_front(push);
            break;
        }
        ++in_flight;
        push.sampled_at_us = limit_.wants_sample() ? clock_.steady_us() : 0;
        if (push.sampled_at_us != 0) limit_.sent(push.sampled_at_us, in_flight);
        if (breaker_.shut()) {
            breaker_.probe_sent();
            probe_ = &push;
        }
        if (permission.may == May::probe) {
            probe = &push;
            may_send = false;
        }
    }
    // The first connection is opened while the first token is being fetched; a queue that waits for
    // the clock or for a probe asks for no more than one that is ready.
    const bool first = permission.may != May::nothing && pool_.ready() == 0;
    if (permission.may == May::send && !paced) pool_.renew(now_ms);
    const bool more =
        permission.may == May::send && !paced && !waits_for_rate && !enough && !breaker_.shut();
    pool_.steer(now_ms, more || first ? std::max(queued(), refused) : 0);
    if (queued() == 0) return never_ms;
    return paced ? std::min(hold_until_ms_, now_ms + busy_tick_ms) : now_ms + busy_tick_ms;
}

std::optional<NotSent> Outlet::shut_why(std::int64_t now_ms) const {
    if (breaker_.shut()) {
        NotSent why = why_;
        why.after_ms = std::max<std::int64_t>(breaker_.probe_at_ms() - now_ms, 0);
        return why;
    }
    const std::int64_t left_ms = hold_until_ms_ - now_ms;
    if (left_ms > queue_wait_ms_max)
        return NotSent{Outcome::throttled, "the provider asks to wait", left_ms, 0};
    return std::nullopt;
}

void Outlet::bounce(const NotSent& why) {
    if (queued() < 2) return;
    Push& probe = pop();
    fail_queued(why);
    push_front(probe);
}

void Outlet::trip(std::int64_t now_ms, std::int64_t wait_ms, Outcome outcome, std::string reason) {
    breaker_.trip(now_ms, wait_ms);
    why_.outcome = outcome;
    why_.reason = std::move(reason);
}

// Without a connection nothing can be sent: the next one that is ready carries the probe.
void Outlet::connection_ended(std::int64_t now_ms) {
    if (pool_.ready() > 0 || !pool_.trouble()) return;
    if (pool_.trouble() == errc::address_not_public) return;
    // Providers end idle connections: that alone is no trouble, but another end before any answer.
    const bool again = breaker_.shut() && queued() > 0;
    trip(now_ms, 0, Outcome::pns_unreachable, pool_.trouble().message());
    if (was_not_made(pool_.trouble()) || (again && !was_ours(pool_.trouble())))
        owner_.unwell(Trouble::unreachable, origin_.host, why_.reason);
}

void Outlet::look_for_return(std::int64_t now_ms) {
    const std::uint32_t count = returns_.load(std::memory_order_relaxed);
    if (std::exchange(returns_seen_, count) == count || !breaker_.shut()) return;
    breaker_.probe_soon(now_ms);
    pool_.connect_soon();
}

void Outlet::good(std::int64_t now_ms) {
    answered_since_loss_ = true;
    if (breaker_.shut()) {
        owner_.well(origin_.host);
        returns_.fetch_add(1, std::memory_order_relaxed);
    }
    breaker_.good(now_ms);
    if (!std::exchange(told_shut_, false)) return;
    owner_.opened(door_);
    owner_.wake();
}

bool Outlet::take_probe(const Push& push) {
    if (probe_ != &push) return false;
    probe_ = nullptr;
    return true;
}

void Outlet::fail_queued(const NotSent& verdict) {
    const std::size_t before = queue_.size();
    Push* next = queue_.detach_older(never_ms);
    owner_.counters().queued -= before - queue_.size();
    const std::int64_t now_ms = clock_.steady_ms();
    while (next != nullptr) {
        Push& push = *std::exchange(next, next->next);
        push.next = nullptr;
        owner_.finish(push, NotSent(verdict), now_ms);
    }
}

void Outlet::fail_flow(std::uint32_t flow, const std::optional<NotSent>& why) {
    NotSent verdict = why.value_or(NotSent{Outcome::throttled, "withdrawn", 0, 0});
    if (breaker_.shut()) verdict = why_;
    const std::size_t before = queue_.size();
    Push* next = queue_.detach_flow(flow);
    owner_.counters().queued -= before - queue_.size();
    const std::int64_t now_ms = clock_.steady_ms();
    while (next != nullptr) {
        Push& push = *std::exchange(next, next->next);
        push.next = nullptr;
        owner_.finish(push, NotSent(verdict), now_ms);
    }
}

void Outlet::again(Push& push, Verdict&& otherwise) {
    if (push.resends >= resends_max || pool_.closing()) {
        return owner_.finish(push, std::move(otherwise), clock_.steady_ms());
    }
    ++push.resends;
    ++owner_.counters().resends;
    push.queued_at_ms = clock_.steady_ms();
    push_front(push);
    owner_.returned(push);
    owner_.wake();
}

void Outlet::on_answer(Connection& connection, void* tag, const Answer& answer) {
    Push& push = *static_cast<Push*>(tag);
    const std::int64_t now_ms = answer.steady_ms;
    heard_ms_ = owner_.running_ms(now_ms);
    if (!std::exchange(proven_, true)) owner_.proven(origin_);
    if (push.sampled_at_us != 0) {
        limit_.answered(clock_.steady_us(), push.sampled_at_us, pool_.in_flight() + 1);
    }
    refused_in_row_ = hold_level_ = 0;
    auto judgement = owner_.judge(push, answer);
    const bool probe = take_probe(push);
    const bool failed = weigh_failure(push, judgement.verdict, now_ms);
    const auto* later = judgement.verdict.get<RetryLater>();
    if (later != nullptr && later->of_provider && later->outcome != Outcome::channel_throttled) {
        if (later->outcome != Outcome::throttled) {
            const bool was_shut = breaker_.shut();
            judgement.throttle_origin_ms = asked_early_ms(judgement.throttle_origin_ms);
            breaker_.bad(now_ms,
                         std::max(asked_early_ms(later->after_ms), judgement.throttle_origin_ms),
                         probe);
            if (breaker_.shut() && !was_shut) {
                why_.outcome = later->outcome;
                why_.reason = later->reason;
                owner_.unwell(Trouble::unreachable, origin_.host, why_.reason);
            }
        } else if (probe) {
            breaker_.probe_lost();
        }
    } else if (!failed) {
        failing_ = {};
        fails_all_until_ms_ = 0;
        good(now_ms);
    }
    if (judgement.reconnect) connection.drain();
    if (judgement.step == Judgement::Step::earlier_token && owner_.token_changed_too_soon(push))
        return again(push, std::move(judgement.verdict));
    owner_.heard(push, judgement);
    if (judgement.throttle_origin_ms > 0) hold_origin(judgement.throttle_origin_ms);
    switch (judgement.step) {
        case Judgement::Step::final:
        case Judgement::Step::earlier_token:
            break;
        case Judgement::Step::resend_now:
            return again(push, std::move(judgement.verdict));
        case Judgement::Step::reauthorise:
            if (push.reauthorised || !owner_.token_refused(push)) break;
            push.reauthorised = true;
            return again(push, std::move(judgement.verdict));
    }
    owner_.finish(push, std::move(judgement.verdict), now_ms);
}

bool Outlet::weigh_failure(const Push& push, Verdict& verdict, std::int64_t now_ms) {
    auto* later = verdict.get<RetryLater>();
    if (later == nullptr || later->of_provider || later->outcome != Outcome::pns_server_error)
        return false;
    const bool of_many = failing_.seen(push.handle, now_ms);
    later->of_provider = of_many || breaker_.shut() || now_ms < fails_all_until_ms_;
    if (later->of_provider) fails_all_until_ms_ = now_ms + ManyTargets::within_ms;
    return true;
}

void Outlet::on_lost(Connection& connection, void* tag, const Lost& lost) {
    Push& push = *static_cast<Push*>(tag);
    const std::int64_t now_ms = clock_.steady_ms();
    if (push.sampled_at_us != 0) limit_.lost(push.sampled_at_us);
    const bool probe = take_probe(push);
    if (lost.h2_error == h2_enhance_your_calm) {
        owner_.hold_credential(calm_ms);
        owner_.turned_away(push, true, calm_reason);
    }
    if (!lost.processed_unknown) {
        if (probe) breaker_.probe_lost();
        const bool refused =
            lost.h2_error == h2_refused_stream && connection.state() == Connection::State::ready;
        if (refused) {
            pace_refusals(now_ms);
            owner_.turned_away(push, false, "the provider refuses streams (REFUSED_STREAM)");
        }
        if (!goaway_debug_.empty()) judge_goaway(push);
        return again(push,
                     NotSent{Outcome::pns_unavailable, "refused unprocessed too often", 1'000, 0});
    }
    ++owner_.counters().lost;
    // The requests of a connection that ends are told of one by one: of several none is the cause
    // for certain, and the last one comes after a loss.
    const bool alone = lost.timed_out || connection.in_flight() == 0 ||
                       connection.state() == Connection::State::ready;
    const bool own_fault = std::exchange(answered_since_loss_, false) && alone;
    const bool was_shut = breaker_.shut();
    breaker_.bad(now_ms, 0, probe);
    if (breaker_.shut() && !was_shut) {
        why_.outcome = Outcome::pns_unavailable;
        why_.reason = "the provider ends connections without answers";
        owner_.unwell(Trouble::unreachable, origin_.host, why_.reason);
    }
    owner_.wake();  // the figures have changed, and nothing else may
    owner_.finish(
        push,
        NoAnswer{lost.timed_out ? "no answer in time" : "the connection ended before the answer",
                 own_fault},
        now_ms);
}

void Outlet::hold_origin(std::int64_t ms) {
    hold_until_ms_ = std::max(hold_until_ms_, clock_.steady_ms() + ms);
    if (ms > queue_wait_ms_max)
        owner_.unwell(Trouble::throttled, origin_.host, "the provider asks to wait");
    owner_.wake();
}

// REFUSED_STREAM is how servers tell of pressure: after a few the next ones wait, twice as long
// each time.
void Outlet::pace_refusals(std::int64_t now_ms) {
    if (++refused_in_row_ < refused_in_row_free || now_ms < hold_until_ms_) return;
    hold_until_ms_ = now_ms + std::min<std::int64_t>(1'000, std::int64_t{10} << hold_level_);
    hold_level_ = std::min(hold_level_ + 1, 7U);
}

void Outlet::on_change(Connection&) {
    pool_.hand_over();
    if (queued() > 0 || owner_.stopping()) owner_.wake();
}

void Outlet::on_goaway(Connection&, std::uint32_t h2_error, std::string_view debug) {
    ++owner_.counters().goaways;
    if (h2_error == h2_enhance_your_calm) {
        owner_.hold_credential(calm_ms);
        if (const Push* any = queue_.front(); any != nullptr)
            owner_.turned_away(*any, true, calm_reason);
    }
    goaway_debug_ = debug.substr(0, goaway_debug_bytes_max);
    if (const Push* any = queue_.front(); any != nullptr && !goaway_debug_.empty()) {
        judge_goaway(*any);
    }
    owner_.wake();
}

// APNs closes connections of a wrong certificate with the reason in GOAWAY: read as if it were a
// 403 with that body.
void Outlet::judge_goaway(const Push& push) {
    Answer answer;
    answer.status = 403;
    answer.body = goaway_debug_;
    answer.now_ms = clock_.wall_ms();
    if (goaway_debug_.find("\"reason\"") != std::string::npos) {
        const auto judgement = owner_.judge(push, answer);
        const auto* refused = judgement.verdict.get<Refused>();
        if (refused != nullptr && refused->of_credential) {
            trip(clock_.steady_ms(), calm_ms, Outcome::invalid_credentials, refused->reason);
            owner_.unwell(Trouble::refused, origin_.host, why_.reason);
        }
    }
    goaway_debug_.clear();
}

}  // namespace pns
