#pragma once

// Sends pushes of one credential from one loop: encode -> bearer -> connection -> judge -> retry.
//
// A Sender owns its connections and its bounded queue; it connects on demand and needs no start.
// Every push submitted gets exactly one verdict, through its owner, on this loop, on every path
// (answer, refusal, timeout, connection loss, stop). Resends that are provably safe (RETRY-NOW, one
// REAUTH) happen inside and are not seen outside; everything that has to wait comes back as
// retry_later.

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pns/platform.hpp"
#include "pns/rate_bucket.hpp"
#include "pns/task.hpp"

namespace pns {

class Prepared;  ///< a Message encoded for one credential: headers and body, ready but for handle
                 ///< and id. Immutable

struct Push;

class PushOwner {
  public:
    /// The push is the owner's again; it may submit it anew or others from inside.
    virtual void on_verdict(Push& push, Verdict&& verdict) = 0;

  protected:
    ~PushOwner() = default;
};

/// One message to one device. Owned by the submitter, pinned in memory until its verdict.
struct Push {
    std::string_view handle;  ///< canonical; outlives the verdict
    std::shared_ptr<const Prepared> prepared;
    std::array<std::uint8_t, 16> id{};  ///< dedupe identity, kept over retries: apns-id and friends
    PushOwner* owner = nullptr;
    std::uint32_t index = 0;  ///< the owner's
    /// Fairness class: the pushes of one send share one, and a sender serves its flows in turn.
    std::uint32_t flow = 0;
    std::uint8_t attempt = 0;  ///< sends of it before this one: a retry draws on the retry budget
    // The sender's, while the push is with it:
    Push* next = nullptr;
    std::uint8_t resends = 0;
    bool reauthorised = false;
    std::uint64_t bearer_serial = 0;  ///< the token it went out with
    std::int64_t queued_at_ms = 0;    ///< steady clock
};

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
    unsigned retry_budget_percent = 20;  ///< retries per 100 fresh pushes; 0 = no bound
};

/// What all senders of a process have counted up to their last turn, ended ones included.
/// Any thread.
struct SenderTotals {
    std::atomic<std::uint64_t> resends{0}, lost{0}, goaways{0}, rate_waits{0}, retries_put_off{0};
};

/// What all senders of a process share about the network; immutable after start. Copies share
/// rates and totals.
struct Network {
    std::shared_ptr<RateBuckets> rates = std::make_shared<RateBuckets>();
    std::shared_ptr<SenderTotals> totals = std::make_shared<SenderTotals>();
    std::string ca_file;  ///< extra trust anchors (PEM); empty = the system's
    /// HOST:PORT=ADDRESS:PORT, like curl's --connect-to; HOST may start with "*." for any label.
    /// Off when empty.
    std::vector<std::string> connect_to;
    /// Hosts that Web Push endpoints may name, as EndpointGuard reads them; empty = the known push
    /// services.
    std::vector<std::string> push_services;
};

struct SenderFigures {
    std::uint64_t queued = 0, in_flight = 0, connections = 0, connects = 0, resends = 0, lost = 0,
                  accepted = 0, refused = 0, token_fetches = 0, goaways = 0;
    std::uint64_t rate_waits = 0;       ///< times the provider's rate had to be waited for
    std::uint64_t retries_put_off = 0;  ///< retries over the budget
};

class Account;
class BearerCache;  ///< tokens of a process, shared by all loops: one per credential, fetched once
                    ///< (pns/bearer.hpp)

class Sender {
  public:
    /// `credential` has passed Platform::check_credential. Throws boost::system::system_error if
    /// `network` is unusable (CA file, rules) or the credential does not open.
    static std::unique_ptr<Sender> create(asio::io_context& loop, const Credential& credential,
                                          const SenderSettings& settings, const Network& network,
                                          BearerCache& bearers);
    /// The same over an account opened elsewhere (tests, benchmarks).
    static std::unique_ptr<Sender> create(asio::io_context& loop, std::unique_ptr<Account> account,
                                          const SenderSettings& settings, const Network& network,
                                          BearerCache& bearers);
    virtual ~Sender() = default;

    /// Encodes once what all devices share; refuses what the provider would refuse (size, shape,
    /// headers).
    virtual Checked<std::shared_ptr<const Prepared>> prepare(const Message& message) const = 0;

    /// How many pushes may be submitted now. Submitting more is the caller's bug.
    virtual std::size_t room() const = 0;
    /// The verdict comes on a later turn of the loop, never from inside.
    virtual void submit(Push& push) = 0;
    /// `on_room` runs on this loop whenever room() has grown from under `low` to at least `low`.
    virtual void when_room(std::size_t low, std::function<void()> on_room) = 0;

    /// Gives every push of the flow that waits for its turn back with retry_later, from inside the
    /// call; none of them was sent. The owner may not submit from inside.
    virtual void withdraw(std::uint32_t flow) = 0;

    virtual SenderFigures figures() const = 0;
    /// No new connection attempts; waits for streams in flight at most `drain_ms`, then gives every
    /// push left its verdict (lost or retry_later) and closes. After it ends the Sender may be
    /// destroyed.
    virtual Task<void> stop(std::int64_t drain_ms) = 0;
};

}  // namespace pns
