#pragma once

// What a provider's word against one handle is worth, before any gate sees it
// (docs/contracts/pns.md 0, 1.6, 5.5). That the answer names the handle at all is the judge's
// business in pns/<provider>.cpp: an answer about the message or the credential never comes here.
// Pure.

#include <cstdint>
#include <limits>
#include <string_view>

#include "pns/platform.hpp"

namespace hub {

enum class Proof : std::uint8_t {
    none,       ///< the app came back after the moment the provider speaks of: keep the handle
    not_yet,    ///< a fresh Web Push subscription: ask once more after `wait_ms`
    suspicion,  ///< counts, may be a configuration fault
    certain,
};

std::string_view proof_name(Proof proof);  ///< for metrics: "kept", "asked_again", ...

struct Accusation {
    std::string_view platform;
    bool suspected = false;  ///< pns::Suspect; else pns::Dead
    /// The provider's time; the largest number: it has none.
    std::int64_t dead_since_ms = std::numeric_limits<std::int64_t>::max();
    std::int64_t registered_at_ms = 0;  ///< when the app last presented the handle
    std::int64_t now_ms = 0;
    unsigned attempts_before = 0;  ///< of this push
};

struct Weighed {
    Proof proof = Proof::none;
    std::int64_t wait_ms = 0;
};

/// `web_push_grace_ms`: push services answer 410 for fresh subscriptions (P-37); 0 = off.
Weighed weigh(const Accusation& accusation, std::int64_t web_push_grace_ms);

}  // namespace hub
