#pragma once

// Bounds of a sender, and what all senders of a process share. Values; any thread.

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "pns/rate_bucket.hpp"
#include "pns/retry_policy.hpp"
#include "pns/returns.hpp"

namespace pns {

/// Bounds and waits of one sender; defaults per platform from docs/contracts/pns.md 11.
struct SenderSettings {
    std::size_t queue_pushes_max = 8'192;
    std::size_t connections_max = 8;
    std::int64_t request_timeout_ms = 20'000;
    std::int64_t connect_timeout_ms = 10'000;
    std::int64_t ping_idle_ms = 60'000;  ///< read silence before a PING; 0 = never
    std::int64_t ping_timeout_ms = 10'000;
    std::int64_t idle_close_ms = 30 * 60'000;
    std::int64_t age_max_ms = 24 * 3'600'000;
    std::int64_t drain_ms_max = 30'000;
    /// What the provider grants the credential, all loops of the process together; 0 = no guard.
    std::uint64_t pushes_per_s_max = 0;
    std::int64_t ramp_ms = 0;  ///< after so long a pause the rate rises from a tenth in that time
    /// A refused credential is tried again after so long, and later less often (patient_wait_ms).
    std::int64_t refused_wait_ms_min = pns::refused_wait_ms_min;
    unsigned retry_budget_percent = 20;  ///< retries per 100 fresh pushes; 0 = no bound
};

/// What all senders of a process have counted up to their last turn, ended ones included.
/// Any thread.
struct SenderTotals {
    std::atomic<std::uint64_t> resends{0}, lost{0}, goaways{0}, rate_waits{0}, retries_put_off{0},
        token_fetches{0}, connects{0};
    std::atomic<std::uint64_t> connections{0}, queued{0};  ///< now
};

/// What all senders of a process share about the network; immutable after start. Copies share
/// rates, totals and returns.
struct Network {
    std::shared_ptr<RateBuckets> rates = std::make_shared<RateBuckets>();
    std::shared_ptr<SenderTotals> totals = std::make_shared<SenderTotals>();
    std::shared_ptr<Returns> returns = std::make_shared<Returns>();
    std::string ca_file;  ///< extra trust anchors (PEM); empty = the system's
    /// HOST:PORT=ADDRESS:PORT, like curl's --connect-to; HOST may start with "*." for any label.
    /// Off when empty.
    std::vector<std::string> connect_to;
    /// Hosts that Web Push endpoints may name, as EndpointGuard reads them; empty = the known push
    /// services.
    std::vector<std::string> push_services;
    /// Hosts that WNS channels may name likewise; empty = those of Microsoft.
    std::vector<std::string> wns_hosts;
    int descriptors_below = std::numeric_limits<int>::max();  ///< Target::descriptors_below
};

struct SenderFigures {
    std::uint64_t queued = 0, in_flight = 0, connections = 0, connects = 0, resends = 0, lost = 0,
                  accepted = 0, refused = 0, token_fetches = 0, goaways = 0;
    std::uint64_t rate_waits = 0;       ///< times the provider's rate had to be waited for
    std::uint64_t retries_put_off = 0;  ///< retries over the budget
};

}  // namespace pns
