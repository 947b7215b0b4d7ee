#pragma once

// The connections of one account to one origin. Opens them when pool_policy says so, hands out the
// least loaded, forgets them when they end. One loop; the nursery outlives the pool's connections.

#include <functional>
#include <memory>
#include <vector>

#include "pns/connection.hpp"
#include "pns/nursery.hpp"
#include "pns/pool_policy.hpp"

namespace pns {

struct PoolSettings {
    Account::Protocol protocol = Account::Protocol::h2;
    ConnectionSettings connection;
    TlsContext tls_h1;  ///< for an h2 account whose origin may turn out to speak HTTP/1.1 only
};

class Pool {
  public:
    /// `on_ended` runs after a connection has ended and left the pool, all its requests reported.
    Pool(Nursery& nursery, PoolSettings settings, ConnectionEvents& events,
         std::function<void(error_code)> on_ended);
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    /// The ready connection with the smallest share of its window in use; null if none has room.
    /// One that is to replace another gets a single request, and more once that was answered.
    Connection* pick() const;
    /// Opens a connection if `queued` pushes that found no room call for one; retires one that has
    /// long been too many.
    void steer(std::int64_t now_ms, std::size_t queued);
    /// The origin takes connections again, as another sender has found: no wait after a failure.
    void connect_soon();
    /// Opens the successor of a connection that is old. The old one serves until hand_over(); while
    /// no successor can be had it goes on, and the next one is tried after the backoff.
    void renew(std::int64_t now_ms);
    /// Drains the old connection once its successor has answered. For every change of a connection.
    void hand_over();
    /// No connection is opened any more; those there are drained.
    void drain();
    void close(error_code why);
    /// drain() or close() was called: nothing can be sent here any more.
    bool closing() const { return draining_; }

    std::size_t connections() const { return connections_.size(); }
    std::size_t ready() const;
    std::size_t in_flight() const;
    std::uint64_t connects() const { return connects_; }
    /// Why the last connection that never answered ended; cleared by one that did.
    error_code trouble() const { return trouble_; }

  private:
    Task<void> live(Connection* connection, bool hasty);
    /// `hasty`: with little time to connect, beside one that has all of it.
    Connection* open(bool hasty = false);
    bool has_patient() const;
    void retire_slack(std::int64_t now_ms, std::size_t queued);
    PoolNumbers numbers(std::int64_t now_ms, std::size_t queued) const;

    Nursery& nursery_;
    PoolSettings settings_;
    ConnectionEvents& events_;
    std::function<void(error_code)> on_ended_;
    std::vector<std::unique_ptr<Connection>> connections_;
    std::int64_t pressed_since_ms_ = 0;
    std::int64_t slack_since_ms_ = 0;
    std::int64_t shrunk_ms_ = 0;
    ConnectBackoff backoff_;
    std::int64_t connect_ms_ = 0;          ///< when the last connect began
    const Connection* patient_ = nullptr;  ///< connects with all its time
    Connection* predecessor_ = nullptr;    ///< old, serves until its successor has answered
    Connection* successor_ = nullptr;
    std::uint64_t connects_ = 0;
    error_code trouble_;
    bool draining_ = false;
};

}  // namespace pns
