// Tested by tests/hub_scheduler_test.cpp.
//
// Coroutines run on one lane; Schedule has a mutex, since handlers of any lane add and remove. An
// entry that is due is taken out of the schedule before it is fired, and put back with a later time
// if it cannot fire now. Between reading the send and writing that it fires, somebody may cancel
// it: accept() then fails, and the entry is forgotten.

#include "hub/send/scheduler.hpp"

#include <algorithm>

#include "hub/process/log.hpp"
#include "hub/send/admission.hpp"
#include "hub/send/send_request.hpp"

namespace hub {

namespace {

/// How often the clock is looked at: bounds how late an entry that comes in meanwhile may fire, and
/// how late a jump of the wall clock is noticed.
constexpr std::int64_t look_ms = 200;
constexpr std::int64_t later_ms = 500;    // too many sends are open, or the store failed
constexpr std::int64_t held_ms = 10'000;  // the hub is disabled
constexpr std::size_t fires_at_once_max = 64;

}  // namespace

void Schedule::add(Entry entry, Shares::Place place) {
    std::lock_guard lock(mutex_);
    entries_.emplace(std::move(entry), std::move(place));
}

void Schedule::remove(const Entry& entry) {
    std::lock_guard lock(mutex_);
    entries_.erase(entry);
}

std::vector<Schedule::Entry> Schedule::take_due(std::int64_t now_ms, std::size_t count_max) {
    std::lock_guard lock(mutex_);
    std::vector<Entry> due;
    while (!entries_.empty() && entries_.begin()->first.due_ms <= now_ms &&
           due.size() < count_max) {
        due.push_back(std::move(entries_.extract(entries_.begin()).key()));
    }
    return due;
}

std::int64_t Schedule::next_ms() const {
    std::lock_guard lock(mutex_);
    return entries_.empty() ? registry::never_ms : entries_.begin()->first.due_ms;
}

std::size_t Schedule::size() const {
    std::lock_guard lock(mutex_);
    return entries_.size();
}

Scheduler::Scheduler(boost::asio::io_context& lane, Parts parts)
    : parts_(parts),
      places_(
          "sends_scheduled", "sends that wait for their time",
          [&config = parts.config]() -> std::uint64_t { return config.sends_scheduled_max; },
          share_rule(parts.config, parts.hubs)),
      timer_(lane.get_executor()),
      firing_(lane.get_executor()),
      ended_(lane.get_executor(), Timer::time_point::max()) {}

void Scheduler::resume(std::vector<registry::OpenSend>& open) {
    const auto waits = [this](const registry::OpenSend& left) {
        if (left.progress.state != registry::SendState::scheduled) return false;
        add(left.hub.number, left.send, places_.take_anyway(left.hub.number));
        return true;
    };
    std::erase_if(open, waits);
    if (schedule_.size() == 0) return;
    log_info("scheduled sends taken up", {{"sends", std::to_string(schedule_.size())}});
}

void Scheduler::add(std::uint32_t hub, const registry::Send& send, Shares::Place place) {
    schedule_.add(Entry{send.scheduled_at_ms, hub, send.id}, std::move(place));
}

void Scheduler::forget(std::uint32_t hub, const registry::Send& send) {
    schedule_.remove(Entry{send.scheduled_at_ms, hub, send.id});
}

Scheduler::Figures Scheduler::figures() const {
    return {schedule_.size(), fired_.load(), late_ms_.load()};
}

pns::Task<void> Scheduler::run() {
    running_ = true;
    while (!stopping_) {
        const std::int64_t now = parts_.clock.wall_ms();
        co_await fire_due(now);
        const std::int64_t wait_ms = std::clamp<std::int64_t>(
            schedule_.next_ms() - std::max<std::int64_t>(parts_.clock.wall_ms(), 0), 0, look_ms);
        timer_.expires_after(std::chrono::milliseconds(wait_ms));
        if (!stopping_) co_await timer_.async_wait(pns::as_result);
    }
    running_ = false;
    ended_.cancel();
}

pns::Task<std::size_t> Scheduler::fire_due(std::int64_t now_ms) {
    const std::uint64_t before = fired_;
    while (!stopping_) {
        auto due = schedule_.take_due(now_ms, fires_at_once_max);
        if (due.empty()) break;
        for (Entry& entry : due) firing_.start(fire(std::move(entry), now_ms));
        co_await firing_.join();
    }
    co_return static_cast<std::size_t>(fired_ - before);
}

pns::Task<void> Scheduler::fire(Entry entry, std::int64_t now_ms) {
    Fired fired = Fired::later;
    try {
        fired = co_await attempt(entry, now_ms);
    } catch (const std::exception& bug) {
        log_error("firing a scheduled send failed: tried again shortly",
                  {{"send", entry.id}, {"what", bug.what()}});
    }
    if (fired == Fired::later || fired == Fired::held) {
        entry.due_ms = now_ms + (fired == Fired::later ? later_ms : held_ms);
        Shares::Place place = places_.take_anyway(entry.hub);
        schedule_.add(std::move(entry), std::move(place));
    }
}

pns::Task<Scheduler::Fired> Scheduler::attempt(const Entry& entry, std::int64_t now_ms) {
    const auto hub = parts_.hubs.find(entry.hub);
    if (!hub) co_return Fired::gone;
    if (hub->description.disabled) co_return Fired::held;
    if (parts_.fanout.busy(entry.hub, false)) co_return Fired::later;
    auto read = [this, &entry] { return parts_.registry.send(entry.hub, entry.id); };
    auto stored = co_await on_store(parts_.store, std::move(read));
    if (!stored && stored.error() == registry::errc::not_found) co_return Fired::gone;
    if (!stored) {
        log_error("a scheduled send cannot be read: tried again shortly",
                  {{"send", entry.id}, {"error", stored.error().message()}});
        co_return Fired::later;
    }
    if (stored->second.state != registry::SendState::scheduled) co_return Fired::gone;
    registry::Send send = std::move(stored->first);
    if (!send.deadline_given) send.deadline_ms = now_ms + undelivered_ms_max;

    const std::int64_t late_ms = now_ms - send.scheduled_at_ms;
    NewSend wanted{hub, send};
    const auto outcome = co_await parts_.admission.accept(std::move(wanted));
    boost::system::error_code failure;
    if (const auto* why = std::get_if<Admission::Declined>(&outcome)) {
        if (std::holds_alternative<Fanout::Busy>(*why)) co_return Fired::later;
        const auto* wrong = std::get_if<Refusal>(why);
        if (wrong == nullptr) {
            failure = std::get<boost::system::error_code>(*why);
        } else {
            log_error("a scheduled send's expression is over a bound now",
                      {{"send", entry.id}, {"why", wrong->message}});
            const auto ended = co_await give_up(entry.hub, std::move(send), now_ms);
            if (!ended) failure = ended.error();
        }
    }
    if (failure == registry::errc::exists || failure == registry::errc::not_found)
        co_return Fired::gone;  // cancelled meanwhile, or the hub was deleted
    if (failure) {
        log_error("a scheduled send cannot be fired: tried again shortly",
                  {{"send", entry.id}, {"error", failure.message()}});
        co_return Fired::later;
    }
    ++fired_;
    late_ms_ = std::max<std::int64_t>(0, late_ms);
    co_return Fired::yes;
}

pns::Task<registry::Result<void>> Scheduler::give_up(std::uint32_t hub, registry::Send send,
                                                     std::int64_t now_ms) {
    registry::Progress progress;
    progress.state = registry::SendState::abandoned;
    progress.started_at_ms = progress.ended_at_ms = now_ms;
    auto write = [&](registry::Done<void> done) {
        parts_.registry.accept(hub, registry::frozen(std::move(send)), progress, std::move(done));
    };
    co_return co_await committed<void>(std::move(write));
}

pns::Task<void> Scheduler::stop() {
    stopping_ = true;
    timer_.cancel();
    while (running_) co_await ended_.async_wait(pns::as_result);
}

}  // namespace hub
