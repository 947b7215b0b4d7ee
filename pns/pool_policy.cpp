// Tested by tests/pns_pool_test.cpp.

#include "pns/pool_policy.hpp"

#include <algorithm>
#include <random>

#include "pns/retry_policy.hpp"

namespace pns {

namespace {

constexpr std::int64_t pressed_ms_min = 200;
constexpr std::int64_t slack_ms_min = 5 * 60'000;  // rapid opening and closing looks like an attack
constexpr std::int64_t shrunk_quiet_ms = 60'000;
constexpr std::size_t connecting_max = 8;  // HTTP/1.1, where each connection takes one request
constexpr std::int64_t soon_ms = 5'000;
constexpr std::uint64_t few_answers = 16;
constexpr unsigned demerits_max = 64;
constexpr std::size_t hanging_max = 3;  // with hasty_connect_ms: one may begin every second
constexpr std::int64_t hangs_after_ms = 1'000;
constexpr unsigned unreached_demerits = 2;

/// A peer ends connections as fast as they are opened, without letting go of them.
bool is_crowded(const PoolNumbers& n) {
    return n.ready + n.connecting + n.draining >= 2 * n.connections_max + 2;
}

}  // namespace

bool is_pressed(const PoolNumbers& n) {
    return n.one_at_a_time ? n.queued > n.connecting : n.queued > 2 * n.window;
}

bool should_connect(const PoolNumbers& n) {
    if (n.queued == 0 || n.ready + n.connecting >= n.connections_max) return false;
    if (n.now_ms < n.retry_at_ms || is_crowded(n)) return false;
    if (n.ready + n.connecting == 0) return true;
    if (n.ready == 0 && n.connecting < hanging_max && n.now_ms - n.connect_ms >= hangs_after_ms)
        return true;
    if (n.one_at_a_time) return is_pressed(n) && n.connecting < connecting_max;
    if (n.connecting > 0 || n.unproven > 0) return false;
    if (n.shrunk_ms != 0 && n.now_ms - n.shrunk_ms < shrunk_quiet_ms) return false;
    return is_pressed(n) && n.pressed_since_ms != 0 &&
           n.now_ms - n.pressed_since_ms >= pressed_ms_min;
}

bool is_slack(const PoolNumbers& n) {
    if (n.one_at_a_time || n.ready < 2 || n.connecting > 0 || n.queued > 0) return false;
    return n.in_flight < n.window / n.ready * (n.ready - 1) / 2;
}

bool should_retire(const PoolNumbers& n) {
    return is_slack(n) && n.slack_since_ms != 0 && n.now_ms - n.slack_since_ms >= slack_ms_min;
}

bool should_replace(const PoolNumbers& n) {
    return n.old > 0 && n.connecting == 0 && n.now_ms >= n.retry_at_ms && !is_crowded(n);
}

std::int64_t jittered_age_ms(std::int64_t age_max_ms, std::uint64_t random) {
    const auto spread = static_cast<std::uint64_t>(std::max<std::int64_t>(age_max_ms / 10, 0));
    return age_max_ms - static_cast<std::int64_t>(random % (spread + 1));
}

std::int64_t jittered_age_ms(std::int64_t age_max_ms) {
    static thread_local std::mt19937_64 engine{std::random_device{}()};
    return jittered_age_ms(age_max_ms, engine());
}

unsigned demerits_after(unsigned demerits, const ConnectionRecord& record) {
    if (record.answers == 0 && !record.reached) {
        return record.closed_by_us ? demerits : std::max(demerits, unreached_demerits);
    }
    if (record.answers == 0) {
        return record.closed_by_us ? demerits : std::min(demerits + 2, demerits_max);
    }
    const bool ended_soon = !record.one_at_a_time && !record.closed_by_us &&
                            record.lived_ms < soon_ms && record.answers < few_answers;
    return ended_soon ? std::min(demerits + 1, demerits_max) : 0;
}

std::int64_t connect_wait_ms(unsigned demerits, std::uint64_t random) {
    if (demerits < 2) return 0;
    return std::max<std::int64_t>(50, backoff_ms(1'000, 60'000, demerits / 2 - 1, random));
}

void ConnectBackoff::ended(const ConnectionRecord& record, std::int64_t began_ms,
                           std::int64_t now_ms, std::uint64_t random) {
    const auto demerits = demerits_after(demerits_, record);
    if (demerits == 0) {
        demerits_ = 0;
        retry_at_ms_ = 0;
        return;
    }
    if (record.closed_by_us || began_ms <= failed_ms_) return;
    failed_ms_ = now_ms;
    reached_ = record.reached;
    demerits_ = demerits;
    const auto wait_ms = connect_wait_ms(record.reached ? demerits : unreached_demerits, random);
    if (wait_ms > 0) retry_at_ms_ = now_ms + wait_ms;
}

}  // namespace pns
