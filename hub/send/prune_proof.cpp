// Tested by tests/hub_prune_test.cpp.

#include "hub/send/prune_proof.hpp"

#include <algorithm>

namespace hub {

std::string_view proof_name(Proof proof) {
    switch (proof) {
        case Proof::none:
            return "kept";
        case Proof::not_yet:
            return "asked_again";
        case Proof::suspicion:
            return "suspected";
        case Proof::certain:
            return "dead";
    }
    return "";
}

Weighed weigh(const Accusation& accusation, std::int64_t web_push_grace_ms) {
    if (accusation.registered_at_ms >= accusation.dead_since_ms) return {Proof::none, 0};
    if (accusation.suspected) return {Proof::suspicion, 0};
    const std::int64_t age_ms =
        std::max<std::int64_t>(accusation.now_ms - accusation.registered_at_ms, 0);
    const bool fresh = accusation.platform == "browser" && age_ms < web_push_grace_ms;
    if (fresh && accusation.attempts_before == 0)
        return {Proof::not_yet, web_push_grace_ms - age_ms};
    return {Proof::certain, 0};
}

}  // namespace hub
