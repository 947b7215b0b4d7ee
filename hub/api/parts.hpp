#pragma once

// What the handlers work with. hub::Service builds every part, in order, and owns them all.

#include <atomic>
#include <cstdint>

#include "hub/access/namespace_rules.hpp"
#include "hub/device/handle_check.hpp"
#include "hub/device/hubs.hpp"
#include "hub/process/config.hpp"
#include "hub/process/loops.hpp"
#include "hub/process/shares.hpp"
#include "pns/clock.hpp"
#include "registry/registry.hpp"

namespace hub {

class Admission;
class Blobs;
class Fanout;
class Feedback;
class Jobs;
class Idempotency;
class KeyLimits;
class Metrics;
class Scheduler;
class Trace;
class Turns;

/// All of one process; nothing is missing. Handlers take what they need by reference.
struct Parts {
    const Config& config;
    registry::Registry& registry;
    StorePool& store;
    Hubs& hubs;
    Fanout& fanout;
    Admission& admission;
    Metrics& metrics;
    Scheduler& scheduler;
    KeyLimits& test_sends;  ///< by hub number
    const Blobs& blobs;
    Jobs& jobs;
    Feedback& feedback;
    Idempotency& idempotency;
    Shares& event_streams;  ///< places of who reads a send's events
    Turns& turns;           ///< of changes to hubs and installations
    Trace& trace;
    const NamespaceRules& namespace_rules;
    /// Set while the process takes work: store open, lanes running, not draining.
    const std::atomic<bool>& ready;
    const std::atomic<bool>& store_writable;  ///< cleared while the store refuses what is written
    NormaliseHandle handle_rule;
    const pns::Clock& clock;
};

}  // namespace hub
