#pragma once

// A send as the ledger keeps it. Plain data; only registry/keys.cpp knows its bytes.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "registry/bitmap.hpp"
#include "registry/hub_row.hpp"
#include "registry/registration.hpp"

namespace registry {

enum class SendState : std::uint8_t {
    scheduled,   ///< waits for its time; has no selection yet
    enqueued,    ///< accepted, on disk, no push out yet
    processing,  ///< pushes are going out
    completed,   ///< finished equals selection
    no_target,   ///< the selection was empty
    canceled,
    abandoned,  ///< deadline or 30 minutes passed with devices left
    held,       ///< the canary share is final; the rest waits for resume
    paused,     ///< nothing new goes out until resume
    canceling,  ///< what is not out is being dropped
};
inline bool is_final(SendState state) {
    return state >= SendState::completed && state <= SendState::abandoned;
}

enum class Delivery : std::uint8_t {
    at_least_once,  ///< finished after the answer: a crash may repeat what was in flight
    at_most_once,   ///< finished before the submit: a crash reports what was in flight as Unknown
};

/// At most `count` pushes in each period; 0 = as fast as the providers take them.
struct PushRate {
    std::uint32_t count = 0;
    std::uint32_t period_s = 1;  ///< 1, 60 or 3600
    friend bool operator==(const PushRate&, const PushRate&) = default;
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
    /// Selection::position of its audience, once it has one. 0 as well: of a store before format 6.
    std::uint64_t selected_at = 0;
    std::int64_t deadline_ms = never_ms;
    bool deadline_given = false;   ///< by the back end: holds while paused, too
    std::uint32_t canary_ppm = 0;  ///< share that goes out first, in millionths; 0 = no canary
    PushRate rate;
};

/// Registrations of one send, by partition. Frozen at accept; immutable afterwards.
struct Selection {
    std::vector<Bitmap> partitions;
    /// Set by Registry::select: every change up to this position of the store is seen. Positions
    /// count changes in the order in which they are written, and go on over restarts.
    std::uint64_t position = 0;
    /// Set by Registry::select: while any copy lives, no device number that was freed after the
    /// selection is given to another device. accept() takes this over durably.
    std::shared_ptr<const void> pin;
    std::uint64_t count() const;
};

/// (platform name, outcome name) -> devices. The sum over all is always the number of bits set in
/// `finished`.
using Counts = std::map<std::pair<std::string, std::string>, std::uint64_t>;

/// A send and whom it goes to, both immutable: the ledger and those who carry it out share it.
struct FrozenSend {
    Send send;
    Selection selection;
};
inline std::shared_ptr<const FrozenSend> frozen(Send send, Selection selection = {}) {
    if (selection.position != 0) send.selected_at = selection.position;
    return std::make_shared<const FrozenSend>(FrozenSend{std::move(send), std::move(selection)});
}

/// What is told of a device that did not get the message, or has a new handle. `partition` and
/// `number` are its bit in the selection.
struct DeviceFailure {
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    std::string platform;  ///< stored name
    std::string outcome;   ///< its name
    std::string handle;
    std::string registration_id;  ///< empty: direct send
    std::string installation_id;  ///< empty: a plain registration or a direct send
    std::string new_handle;       ///< empty = none
    std::int64_t at_ms = 0;
    std::string reason{};  ///< the provider's or the hub's word; may be empty
    friend bool operator==(const DeviceFailure&, const DeviceFailure&) = default;
};

/// What changes while a send runs; written as checkpoints.
struct Progress {
    SendState state = SendState::enqueued;
    std::int64_t started_at_ms = 0;  ///< 0 = not yet
    std::int64_t ended_at_ms = 0;
    Counts counts;
    std::vector<Bitmap> finished;    ///< by partition, subset of the selection
    std::uint64_t audience = 0;      ///< set by Registry::accept from the selection
    std::int64_t first_push_ms = 0;  ///< 0 = none yet
    std::int64_t last_push_ms = 0;
    std::int64_t waits_since_ms = 0;  ///< held or paused since; 0 = not
    std::int64_t deadline_ms = 0;     ///< moved by a resume; 0 = as in the send
    bool released = false;            ///< the rest after the canary may go out
    bool gave_up = false;             ///< devices were dropped because the time was over
    /// Of the finished devices, those whose push was never out; nothing: it was written before this
    /// was counted.
    std::optional<std::uint64_t> never_out{};
    std::map<std::uint8_t, std::uint64_t> latency;  ///< bucket -> sampled pushes
    /// Added to those of earlier checkpoints, or in their place. They go when the send ends, and
    /// only open_sends() shows them: all of them.
    std::vector<DeviceFailure> failures;
    bool failures_anew = false;
};

/// Which sends a list wants, newest first. Ids of sends sort by their time, and so does the list.
struct SendQuery {
    std::string below;                       ///< only ids that sort before this one; empty = all
    std::int64_t enqueued_from_ms = 0;       ///< the list ends at the first send before it
    std::int64_t enqueued_to_ms = never_ms;  ///< inclusive
    std::string format;                      ///< empty = any
    std::vector<SendState> states;           ///< empty = any
    std::size_t count_max = 100;
    std::size_t reads_max = 5'000;  ///< rows looked at, whether they match or not
};

/// One page of sends without bodies and handles, newest first.
struct SendPage {
    std::vector<std::pair<Send, Progress>> sends;
    std::string next;  ///< the `below` of the next page; empty = last page
};

/// How long ended sends are kept. What is over a bound goes, those that ended first before others.
struct SendRetention {
    std::int64_t kept_ms = never_ms;
    std::int64_t bodies_kept_ms = never_ms;  ///< bodies and direct handles
    std::uint64_t bytes_max = UINT64_MAX;    ///< of all kept sends: what their records take
};

/// What one step of the upkeep of ended sends did.
struct SweptSends {
    std::size_t removed = 0, bodies = 0;
    std::uint64_t bytes = 0;
    bool more = false;  ///< there may be more to do
};

/// A send that was not final when the process stopped.
struct OpenSend {
    HubRow hub;
    Send send;
    Selection selection;
    Progress progress;
};

}  // namespace registry
