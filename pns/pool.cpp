// Tested by tests/pns_pool_test.cpp.
//
// steer() is called after each turn of the sender: it opens connections while pool_policy asks for
// more. renew() opens the successor of an old connection first and drains the old one once the new
// one has answered. Each connection is a child of the nursery in live(), which takes it out of the
// pool when it ends. Nothing waits and nothing locks: one loop.

#include "pns/pool.hpp"

#include <algorithm>
#include <cassert>
#include <random>
#include <utility>

#include "pns/errc.hpp"
#include "pns/h1_connection.hpp"
#include "pns/h2_connection.hpp"

namespace pns {

namespace {

std::uint64_t random_number() {
    static thread_local std::mt19937_64 engine{std::random_device{}()};
    return engine();
}

bool is_ours(error_code why) {
    return why == errc::idle_closed || why == errc::stopped;
}

}  // namespace

Pool::Pool(Nursery& nursery, PoolSettings settings, ConnectionEvents& events,
           std::function<void(error_code)> on_ended)
    : nursery_(nursery),
      settings_(std::move(settings)),
      events_(events),
      on_ended_(std::move(on_ended)) {}

Pool::~Pool() {
    assert(connections_.empty());
}

Connection* Pool::pick() const {
    Connection* best = nullptr;
    std::size_t best_load = 0, best_window = 1;
    for (const auto& c : connections_) {
        if (c->room() == 0) continue;
        if (c.get() == successor_ && c->answers() == 0) {
            if (c->in_flight() == 0) return successor_;
            continue;
        }
        const auto load = c->in_flight();
        const auto window = c->window();
        // load / window < best_load / best_window, without division
        if (best == nullptr || load * best_window < best_load * window) {
            best = c.get();
            best_load = load;
            best_window = window;
        }
    }
    return best;
}

PoolNumbers Pool::numbers(std::int64_t now_ms, std::size_t queued) const {
    PoolNumbers n;
    n.queued = queued;
    n.connections_max = settings_.connection.times.connections_max;
    n.one_at_a_time = settings_.protocol == Account::Protocol::h1;
    n.now_ms = now_ms;
    n.pressed_since_ms = pressed_since_ms_;
    n.retry_at_ms = backoff_.retry_at_ms();
    n.slack_since_ms = slack_since_ms_;
    n.shrunk_ms = shrunk_ms_;
    n.connect_ms = connect_ms_;
    for (const auto& c : connections_) {
        n.in_flight += c->in_flight();
        if (c->state() == Connection::State::connecting) ++n.connecting;
        if (c->state() == Connection::State::draining) ++n.draining;
        if (c->state() != Connection::State::ready) continue;
        ++n.ready;
        n.window += c->window();
        if (c->answers() == 0) ++n.unproven;
        if (c->is_old(now_ms)) ++n.old;
        n.shrunk_ms = std::max(n.shrunk_ms, c->shrunk_ms());
    }
    return n;
}

void Pool::steer(std::int64_t now_ms, std::size_t queued) {
    retire_slack(now_ms, queued);
    if (draining_) return;
    for (;;) {
        auto n = numbers(now_ms, queued);
        if (!is_pressed(n)) {
            pressed_since_ms_ = 0;
        } else if (pressed_since_ms_ == 0) {
            pressed_since_ms_ = now_ms;
        }
        n.pressed_since_ms = pressed_since_ms_;
        if (!should_connect(n)) return;
        open(n.ready == 0 && n.connecting > 0 && has_patient());
    }
}

void Pool::connect_soon() {
    backoff_.reachable();
    connect_ms_ = 0;
}

bool Pool::has_patient() const {
    return std::any_of(connections_.begin(), connections_.end(), [this](const auto& c) {
        return c.get() == patient_ && c->state() == Connection::State::connecting;
    });
}

Connection* Pool::open(bool hasty) {
    ConnectionSettings settings = settings_.connection;
    if (hasty)
        settings.times.connect_timeout_ms =
            std::min(settings.times.connect_timeout_ms, hasty_connect_ms);
    connections_.push_back(settings_.protocol == Account::Protocol::h2
                               ? make_h2_connection(nursery_.executor(), settings, events_)
                               : make_h1_connection(nursery_.executor(), settings, events_));
    ++connects_;
    connect_ms_ = settings_.connection.clock->steady_ms();
    Connection* const opened = connections_.back().get();
    if (!hasty) patient_ = opened;
    nursery_.start(live(opened, hasty));
    return opened;
}

void Pool::renew(std::int64_t now_ms) {
    hand_over();
    if (draining_ || successor_ != nullptr || !should_replace(numbers(now_ms, 0))) return;
    const auto oldest = std::find_if(
        connections_.begin(), connections_.end(), [now_ms](const std::unique_ptr<Connection>& c) {
            return c->state() == Connection::State::ready && c->is_old(now_ms);
        });
    predecessor_ = oldest->get();
    successor_ = open();
}

void Pool::hand_over() {
    if (successor_ == nullptr || successor_->answers() == 0) return;
    if (successor_->state() != Connection::State::ready) return;
    successor_ = nullptr;
    std::exchange(predecessor_, nullptr)->drain();
}

void Pool::retire_slack(std::int64_t now_ms, std::size_t queued) {
    if (draining_ || successor_ != nullptr || connections_.size() < 2) {
        slack_since_ms_ = 0;
        return;
    }
    auto n = numbers(now_ms, queued);
    if (!is_slack(n)) {
        slack_since_ms_ = 0;
        return;
    }
    if (slack_since_ms_ == 0) slack_since_ms_ = now_ms;
    n.slack_since_ms = slack_since_ms_;
    if (!should_retire(n)) return;
    slack_since_ms_ = now_ms;
    // The youngest: the older ones are proven.
    for (auto c = connections_.rbegin(); c != connections_.rend(); ++c) {
        if ((*c)->state() != Connection::State::ready) continue;
        (*c)->drain();
        return;
    }
}

Task<void> Pool::live(Connection* connection, bool hasty) {
    co_await asio::this_coro::throw_if_cancelled(false);
    const auto began_ms = settings_.connection.clock->steady_ms();
    error_code why = errc::connection_ended;
    try {
        why = co_await connection->run();
    } catch (const std::exception&) {
        // Out of memory or a bug in one connection: it has reported its requests and is gone.
    }
    const auto now_ms = settings_.connection.clock->steady_ms();
    ConnectionRecord record;
    record.answers = connection->answers();
    record.lived_ms = connection->ready_ms() == 0 ? 0 : now_ms - connection->ready_ms();
    record.one_at_a_time = settings_.protocol == Account::Protocol::h1;
    record.reached = connection->ready_ms() != 0;
    // The patient one beside it will tell.
    record.closed_by_us = is_ours(why) || (hasty && !record.reached && has_patient());
    const bool falls_back = why == errc::alpn_refused && settings_.tls_h1 != nullptr &&
                            settings_.protocol == Account::Protocol::h2;
    if (falls_back) {
        settings_.protocol = Account::Protocol::h1;
        settings_.connection.tls = settings_.tls_h1;
        record.closed_by_us = true;
    }
    backoff_.ended(record, began_ms, now_ms, random_number());
    if (record.answers > 0) {
        trouble_ = error_code();
    } else if (!record.closed_by_us) {
        trouble_ = why;
    }
    shrunk_ms_ = std::max(shrunk_ms_, connection->shrunk_ms());
    if (connection == patient_) patient_ = nullptr;
    if (connection == successor_ || connection == predecessor_) {
        successor_ = predecessor_ = nullptr;
    }
    std::erase_if(connections_, [&](const auto& c) { return c.get() == connection; });
    on_ended_(why);
}

void Pool::drain() {
    draining_ = true;
    for (const auto& c : connections_) c->drain();
}

void Pool::close(error_code why) {
    draining_ = true;
    for (const auto& c : connections_) c->close(why);
}

std::size_t Pool::ready() const {
    return static_cast<std::size_t>(
        std::count_if(connections_.begin(), connections_.end(),
                      [](const auto& c) { return c->state() == Connection::State::ready; }));
}

std::size_t Pool::in_flight() const {
    std::size_t sum = 0;
    for (const auto& c : connections_) sum += c->in_flight();
    return sum;
}

}  // namespace pns
