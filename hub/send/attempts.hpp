#pragma once

// When a push is attempted again, if it is. Only an attempt that the provider answered, or may have
// got, counts as one; only those that failed by the push's own fault are bounded in number. All
// others go on until the send's time is over:
//   - after a word that the provider is unwell, soon; a long wait that it asks for is cut short
//     (pns::asked_early_ms);
//   - after a throttle, when its wait is over;
//   - after a lost answer, twice as late each time: the device may have got a copy with each.
// Where a wait would go beyond the end of the send, the push is tried once more before that.
// Pure: times and the random number are passed in.

#include <cstdint>
#include <optional>

#include "hub/send/wait_list.hpp"
#include "pns/retry_policy.hpp"
#include "pns/verdict.hpp"

namespace hub {

/// An attempt that may be made again.
struct FailedAttempt {
    /// What it counts as if it was the last; unknown: its answer was lost.
    pns::Outcome outcome = pns::Outcome::unknown;
    bool own_fault = false;    ///< of the push; else of the provider or the way
    std::int64_t wish_ms = 0;  ///< the provider asks to wait so long; 0: no wish
};

/// Counts the attempt in `past`. How long to wait for the next one; nothing: it was the last.
/// `limits` are those of the platform, `left_ms` is left of the send's time, `random` uniform over
/// 64 bits.
std::optional<std::int64_t> wait_after(const FailedAttempt& failed, pns::RetryLimits limits,
                                       std::int64_t left_ms, std::uint64_t random, Waiting& past);

}  // namespace hub
