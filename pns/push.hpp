#pragma once

// One push on its way through a sender, and who hears of it. One loop.

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "pns/verdict.hpp"

namespace pns {

class Prepared;  ///< a Message encoded for one credential: headers and body, ready but for handle
                 ///< and id. Immutable

struct Push;

class PushOwner {
  public:
    /// The push is the owner's again; it may submit it anew or others from inside.
    virtual void on_verdict(Push& push, Verdict&& verdict) = 0;
    /// Asked right before the push is written: false if the device it was made for may have changed
    /// meanwhile. The push comes back as NotSent then.
    virtual bool still_meant(const Push& push) const {
        (void)push;
        return true;
    }

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
    /// Attempts before this one that failed by a fault of this push: it draws on the retry budget.
    std::uint8_t faults = 0;
    // The sender's, while the push is with it:
    Push* next = nullptr;
    std::uint8_t resends = 0;
    bool reauthorised = false;
    std::uint64_t bearer_serial = 0;  ///< the token it went out with
    std::int64_t queued_at_ms = 0;    ///< steady clock
    std::int64_t encoded_at_ms = 0;   ///< wall clock, set right before Account::encode
    std::int64_t sent_at_ms = 0;      ///< the same moment by the steady clock
    std::int64_t sampled_at_us =
        0;  ///< steady clock when it went out; 0: not of the limit's sample
};

}  // namespace pns
