#pragma once

// What the handlers work with. main.cpp builds every part, in order, and owns them all.

#include <atomic>
#include <cstdint>
#include <vector>

#include "hub/config.hpp"
#include "hub/handle_check.hpp"
#include "hub/hubs.hpp"
#include "hub/loops.hpp"
#include "hub/sas.hpp"
#include "registry/registry.hpp"

namespace hub {

class Blobs;
class EventStreams;
class Fanout;
class Feedback;
class Jobs;
class Idempotency;
class KeyLimits;
class Metrics;
class Scheduler;
class Trace;

struct Parts {
    const Config& config;
    registry::Registry& registry;
    StorePool& store;
    Hubs& hubs;
    Fanout& fanout;
    Metrics& metrics;
    std::vector<Rule> namespace_rules;  ///< of the configured namespace
    /// Set while the process takes work: store open, lanes running, not draining. Null: always.
    const std::atomic<bool>* ready = nullptr;
    /// Cleared while the store refuses what is written to it. Null: it never does.
    const std::atomic<bool>* store_writable = nullptr;
    Scheduler* scheduler = nullptr;
    KeyLimits* test_sends = nullptr;  ///< by hub number
    const Blobs* blobs = nullptr;
    Jobs* jobs = nullptr;
    Feedback* feedback = nullptr;
    Idempotency* idempotency = nullptr;
    EventStreams* event_streams = nullptr;
    Trace* trace = nullptr;
    NormaliseHandle handle_rule = normalise_handle;
};

/// Wall clock in milliseconds since 1970 UTC. The only reading of it in hub/.
std::int64_t now_ms();

}  // namespace hub
