#pragma once

// When a pool opens connections and how long it waits after failures (docs/contracts/pns.md 1.7,
// 11). Pure functions.

#include <cstddef>
#include <cstdint>

namespace pns {

struct PoolNumbers {
    std::size_t queued = 0;  ///< pushes that found no room
    std::size_t ready = 0;   ///< connections that take requests
    std::size_t connecting = 0;
    std::size_t draining = 0;
    std::size_t unproven = 0;  ///< ready, but without an answer yet: their window is not known
    std::size_t old = 0;       ///< ready, and past the age at which they are replaced
    std::size_t window = 0;    ///< requests the ready ones may have in flight together
    std::size_t in_flight = 0;
    std::size_t connections_max = 1;
    bool one_at_a_time = false;  ///< HTTP/1.1
    std::int64_t now_ms = 0;
    std::int64_t pressed_since_ms = 0;  ///< since when is_pressed() holds; 0 = it does not
    std::int64_t slack_since_ms = 0;    ///< since when is_slack() holds; 0 = it does not
    std::int64_t shrunk_ms = 0;         ///< when a peer last lowered its limit; 0 = never
    std::int64_t retry_at_ms = 0;       ///< no connect before
    std::int64_t connect_ms = 0;        ///< when the last connect began
};

/// More waits than the connections can be expected to take soon.
bool is_pressed(const PoolNumbers& n);
/// One more connection, now. A peer that lowers its limit is never answered by more connections.
/// While none is ready, connects that hang do not keep others from being tried, once a second.
bool should_connect(const PoolNumbers& n);

/// A connect beside others that hang is given up after so long: one that is new finds the provider
/// back sooner.
constexpr std::int64_t hasty_connect_ms = 2'000;

/// So little is asked for that the connections but one would carry it at half their window.
bool is_slack(const PoolNumbers& n);
/// One connection less: it has been slack for minutes.
bool should_retire(const PoolNumbers& n);
/// One connection more in place of one that is old, now: even when connections_max are there.
bool should_replace(const PoolNumbers& n);
/// Up to a tenth less than `age_max_ms`: connections opened together do not end together.
std::int64_t jittered_age_ms(std::int64_t age_max_ms, std::uint64_t random);
std::int64_t jittered_age_ms(std::int64_t age_max_ms);

/// What a connection that ended says about the provider.
struct ConnectionRecord {
    std::uint64_t answers = 0;
    std::int64_t lived_ms = 0;
    bool one_at_a_time = false;
    bool closed_by_us = false;  ///< idle, retired, stopped
    bool reached = true;        ///< it could take requests
};
/// Demerits of a pool: 2 for a connection that never answered, 1 for one that ended soon, none
/// after a good one. However many never came about, they are 2 together.
unsigned demerits_after(unsigned demerits, const ConnectionRecord& record);
/// Wait before the next connect: full jitter, 1 s doubling to 60 s, never under 50 ms once there
/// was a failure.
std::int64_t connect_wait_ms(unsigned demerits, std::uint64_t random);

/// When a pool may connect again, from the connections that have ended. Steady clock. A provider
/// that cannot be reached is tried again within a second, so that what waits goes out soon after
/// its return; only one that takes connections and ends them is left alone for longer.
class ConnectBackoff {
  public:
    /// `began_ms`: when its opening began. What fails having begun before the last failure that
    /// counted failed with it: many at once are one outage, not many.
    void ended(const ConnectionRecord& record, std::int64_t began_ms, std::int64_t now_ms,
               std::uint64_t random);
    /// No connect before; 0 = at once.
    std::int64_t retry_at_ms() const { return retry_at_ms_; }
    /// The origin can be reached again. One that took a connection and ended it is still left
    /// alone.
    void reachable() {
        if (!reached_) retry_at_ms_ = 0;
    }
    unsigned demerits() const { return demerits_; }

  private:
    unsigned demerits_ = 0;
    std::int64_t failed_ms_ = -1;  // when a failure last counted
    bool reached_ = true;          // what failed then
    std::int64_t retry_at_ms_ = 0;
};

}  // namespace pns
