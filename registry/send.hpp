#pragma once

// A send as the ledger keeps it. Plain data; only registry/keys.cpp knows its bytes.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "registry/bitmap.hpp"
#include "registry/registration.hpp"

namespace registry {

enum class SendState : std::uint8_t {
    scheduled,   ///< waits for its time; has no selection yet
    enqueued,    ///< accepted, on disk, no push out yet
    processing,  ///< pushes are going out
    completed,   ///< done equals selection
    no_target,   ///< the selection was empty
    canceled,
    abandoned,  ///< deadline or 30 minutes passed with devices left
};
inline bool is_final(SendState state) {
    return state >= SendState::completed;
}

enum class Delivery : std::uint8_t {
    at_least_once,  ///< `done` is marked after the answer: a crash may repeat what was in flight
    at_most_once,   ///< `done` is marked before the submit: a crash reports what was in flight as
                    ///< Unknown
};

/// One accepted notification request. `id` is what ANH calls notification id.
struct Send {
    std::string id;
    std::string
        format;  ///< as in ServiceBusNotification-Format, lower case: apple, fcmv1, template, ...
    std::string tag_expression;  ///< as written; empty = broadcast
    std::string body;
    Headers headers;  ///< those that concern providers (apns-*, X-WNS-*, ...), names lower case
    std::vector<std::string>
        direct_handles;  ///< direct sends: the audience itself, bit i of partition 0 is handle i
    Delivery delivery = Delivery::at_least_once;
    std::int64_t enqueued_at_ms = 0;
    std::int64_t scheduled_at_ms = 0;  ///< 0 = at once
    std::int64_t deadline_ms = never_ms;
};

/// Registrations of one send, by partition. Frozen at accept; immutable afterwards.
struct Selection {
    std::vector<Bitmap> partitions;
    /// Set by Registry::select: while any copy lives, no device number that was freed after the
    /// selection is given to another device. accept() takes this over durably.
    std::shared_ptr<const void> pin;
    std::uint64_t count() const;
};

/// (platform name, outcome name) -> devices. The sum over all is always the number of bits set in
/// `done`.
using Counts = std::map<std::pair<std::string, std::string>, std::uint64_t>;

/// What changes while a send runs; written as checkpoints.
struct Progress {
    SendState state = SendState::enqueued;
    std::int64_t started_at_ms = 0;  ///< 0 = not yet
    std::int64_t ended_at_ms = 0;
    Counts counts;
    std::vector<Bitmap> done;  ///< by partition, subset of the selection
};

}  // namespace registry
