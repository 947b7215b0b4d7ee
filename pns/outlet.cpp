// Tested by tests/pns_sender_test.cpp.

#include "pns/outlet.hpp"

#include <algorithm>
#include <utility>

#include "pns/errc.hpp"

namespace pns {

namespace {

constexpr std::uint32_t h2_refused_stream = 7, h2_enhance_your_calm = 11;
constexpr unsigned resends_max = 8;
constexpr unsigned refused_in_row_free = 4;  // beyond it refusals are paced
constexpr std::int64_t calm_ms = 1'000;
constexpr std::int64_t busy_tick_ms = 50;
constexpr std::size_t goaway_debug_bytes_max = 512;

Verdict later(Outcome outcome, std::string reason, std::int64_t after_ms) {
    Verdict v;
    v.kind = Verdict::Kind::retry_later;
    v.outcome = outcome;
    v.reason = std::move(reason);
    v.retry_after_ms = after_ms;
    return v;
}

}  // namespace

Outlet::Outlet(OutletOwner& owner, Nursery& nursery, PoolSettings settings)
    : owner_(owner),
      request_timeout_ms_(settings.connection.times.request_timeout_ms),
      pool_(nursery, std::move(settings), static_cast<ConnectionEvents&>(*this),
            [this](error_code) { owner_.wake(); }) {}

void Outlet::enqueue(Push& push) {
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

std::int64_t Outlet::pump(std::int64_t now_ms, std::int64_t wall_ms, May may) {
    bool paced = now_ms < hold_until_ms_;
    if (const auto left_ms = hold_until_ms_ - now_ms; left_ms > request_timeout_ms_) {
        fail_queued(now_ms, 0, later(Outcome::throttled, "the provider asks to wait", left_ms));
    }
    // A name that led to a private address is refused at once; every later push may open a
    // connection that asks again.
    std::size_t refused = 0;
    if (pool_.trouble() == errc::address_not_public && pool_.connections() == 0) {
        refused = queued();
        fail_queued(now_ms, 0, unreachable());
    }
    std::size_t in_flight = pool_.in_flight();
    bool enough = false;
    // Not more than wait now: a push that its owner submits again at once waits for the next turn.
    for (std::size_t budget = queued(); budget > 0; --budget) {
        const Push* next = queue_.front();
        if (next == nullptr) break;
        if (next->prepared->expires_at_ms <= wall_ms) {
            Verdict v;
            v.kind = Verdict::Kind::refused;
            v.outcome = Outcome::abandoned;
            v.reason = "expired before it could be sent";
            owner_.finish(pop(), std::move(v));
            continue;
        }
        if (may != May::send || paced) break;
        enough = in_flight >= limit_.now();
        if (enough) break;
        Connection* connection = pool_.pick();
        if (connection == nullptr) break;
        paced = !owner_.take_permit();
        if (paced) break;
        Push& push = pop();
        if (owner_.send(push, *connection)) {
            ++in_flight;
            if (probe_.push == nullptr) probe_ = {&push, steady_now_us(), in_flight};
            continue;
        }
        owner_.return_permit();
        push_front(push);
        break;
    }
    const bool silent = last_answer_ms_ + request_timeout_ms_ <= now_ms;
    if (may == May::send && silent && look_again_ms_ <= now_ms) {
        look_again_ms_ = now_ms + busy_tick_ms;
        fail_queued(now_ms, request_timeout_ms_, unreachable());
    }
    // The first connection is opened while the first token is being fetched; a queue that waits for
    // the clock asks for no more than one.
    const bool first = may != May::nothing && pool_.connections() == 0;
    if (may == May::send && now_ms >= hold_until_ms_) pool_.renew(now_ms);
    pool_.steer(now_ms,
                (may == May::send && !paced && !enough) || first ? std::max(queued(), refused) : 0);
    if (queued() == 0) return never_ms;
    return hold_until_ms_ > now_ms ? std::min(hold_until_ms_, now_ms + busy_tick_ms)
                                   : now_ms + busy_tick_ms;
}

void Outlet::fail_queued(std::int64_t now_ms, std::int64_t waited_ms, const Verdict& verdict) {
    const std::size_t before = queue_.size();
    Push* next = queue_.detach_older(now_ms - waited_ms);
    owner_.counters().queued -= before - queue_.size();
    while (next != nullptr) {
        Push& push = *std::exchange(next, next->next);
        push.next = nullptr;
        owner_.finish(push, Verdict(verdict));
    }
}

void Outlet::fail_flow(std::uint32_t flow, const Verdict& verdict) {
    const std::size_t before = queue_.size();
    Push* next = queue_.detach_flow(flow);
    owner_.counters().queued -= before - queue_.size();
    while (next != nullptr) {
        Push& push = *std::exchange(next, next->next);
        push.next = nullptr;
        owner_.finish(push, Verdict(verdict));
    }
}

Verdict Outlet::unreachable() const {
    if (pool_.ready() > 0) {
        return later(Outcome::pns_unavailable, "the provider takes or answers nothing", 1'000);
    }
    if (pool_.trouble() == errc::address_not_public) {
        Verdict v;
        v.kind = Verdict::Kind::refused;
        v.outcome = Outcome::bad_channel;
        v.reason = pool_.trouble().message();
        return v;
    }
    const bool distrusted = pool_.trouble() == errc::certificate_not_trusted;
    if (distrusted || !goaway_configuration_.empty()) {
        Verdict v;
        v.kind = Verdict::Kind::refused;
        v.configuration = true;
        v.outcome = distrusted ? Outcome::pns_unreachable : Outcome::invalid_credentials;
        v.reason = distrusted ? pool_.trouble().message() : goaway_configuration_;
        return v;
    }
    const auto why = pool_.trouble() ? pool_.trouble() : error_code(errc::connect_failed);
    return later(Outcome::pns_unreachable, why.message(), 1'000);
}

void Outlet::again(Push& push, Verdict&& otherwise) {
    if (push.resends >= resends_max || owner_.stopping()) {
        return owner_.finish(push, std::move(otherwise));
    }
    ++push.resends;
    ++owner_.counters().resends;
    push.queued_at_ms = steady_now_ms();
    push_front(push);
    owner_.wake();
}

void Outlet::on_answer(Connection& connection, void* tag, const Answer& answer) {
    Push& push = *static_cast<Push*>(tag);
    last_answer_ms_ = steady_now_ms();
    if (probe_.push == &push) {
        const std::int64_t now_us = steady_now_us();
        limit_.answered(now_us, now_us - probe_.sent_us, probe_.in_flight);
        probe_.push = nullptr;
    }
    refused_in_row_ = hold_level_ = 0;
    auto judgement = owner_.judge(push, answer);
    if (judgement.reconnect) connection.drain();
    if (judgement.throttle_credential_ms > 0) {
        owner_.hold_credential(judgement.throttle_credential_ms);
    }
    if (judgement.throttle_origin_ms > 0) hold_origin(judgement.throttle_origin_ms);
    switch (judgement.step) {
        case Judgement::Step::final:
            break;
        case Judgement::Step::resend_now:
            return again(push, std::move(judgement.verdict));
        case Judgement::Step::reauthorise:
            if (push.reauthorised || !owner_.token_refused(push)) break;
            push.reauthorised = true;
            return again(push, std::move(judgement.verdict));
    }
    goaway_configuration_.clear();
    owner_.finish(push, std::move(judgement.verdict));
}

void Outlet::on_lost(Connection& connection, void* tag, const Lost& lost) {
    Push& push = *static_cast<Push*>(tag);
    if (probe_.push == &push) probe_.push = nullptr;
    if (lost.h2_error == h2_enhance_your_calm) owner_.hold_credential(calm_ms);
    if (!lost.processed_unknown) {
        const bool refused =
            lost.h2_error == h2_refused_stream && connection.state() == Connection::State::ready;
        if (refused) pace_refusals(steady_now_ms());
        if (!goaway_debug_.empty()) judge_goaway(push);
        return again(push, later(Outcome::pns_unavailable, "refused unprocessed too often", 1'000));
    }
    ++owner_.counters().lost;
    Verdict v;
    v.kind = Verdict::Kind::lost;
    v.outcome = Outcome::unknown;
    v.reason = lost.timed_out ? "no answer in time" : "the connection ended before the answer";
    owner_.finish(push, std::move(v));
}

void Outlet::hold_origin(std::int64_t ms) {
    hold_until_ms_ = std::max(hold_until_ms_, steady_now_ms() + ms);
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
    if (h2_error == h2_enhance_your_calm) owner_.hold_credential(calm_ms);
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
    answer.now_ms = wall_now_ms();
    if (goaway_debug_.find("\"reason\"") != std::string::npos) {
        auto judgement = owner_.judge(push, answer);
        if (judgement.verdict.configuration) {
            goaway_configuration_ =
                judgement.verdict.reason.empty() ? "GOAWAY" : judgement.verdict.reason;
        }
    }
    goaway_debug_.clear();
}

}  // namespace pns
