#pragma once

// What the trace keeps of single pushes and of retired handles, and every byte of it on disk.
// Notation as in keys.hpp; `later` is u64 of (2^63 - 1 - time): newer keys come first. Every value
// starts with a version byte; a decoder refuses others, and bytes left over (errc::corrupt).
//
//   meta         "version" -> u8 trace_format_version
//                "next block" -> block bound, see trace_block.hpp
//   pushes       u8 'd', u32 hub, u64 hash of device, u8 kind, text device id,
//                    later send enqueued, text send id, u16 partition, u32 number,
//                    u64 time, u8 attempt -> event
//                u8 's', u32 hub, u64 hash of send id, text send id,
//                    later time, u16 partition, u32 number, u8 attempt -> reference
//     event      u8 1, varint hub, text send id, zigzag enqueued, u8 kind, text device id,
//                text registration id, varint partition, varint number, u8 templated,
//                text platform, u8 attempt, zigzag time, varint took, zigzag retry at,
//                text outcome, text reason, text provider's id
//                blocks of many events of one send: trace_block.hpp
//     reference  u8 1, zigzag enqueued, u8 kind, text device id, u8 final, text outcome
//   retirements  u8 'h', u32 hub, 16 bytes keyed hash of handle,
//                    later time, u16 partition, u32 number -> record
//                u8 'i', u32 hub, u64 hash of id, text installation or registration id,
//                    later time, u16 partition, u32 number -> record
//     record     u8 1, zigzag time, text platform, text reason, text send id, text by,
//                text installation id, text registration id, zigzag dead since,
//                zigzag registered at, varint partition, varint number, 16 bytes keyed hash
//   details      u32 hub, name of a blob, u8 0, u16 piece -> piece
//     piece        u8 1, zigzag time, varint bytes of all pieces, the bytes: details_piece_bytes of
//                  them, fewer in the last
//   held         u32 hub, u64 ticket -> held
//     held       u8 2, text platform, varint partition, varint number, varint generation,
//                text handle, zigzag dead since, text reason, zigzag time, text send id,
//                text installation id, text registration id, zigzag asked at, text app,
//                u8 suspicion; also u8 1: without app and suspicion
//
// An event and its reference are written in one batch, so they lie in one file and leave together.
// So do the pieces of details.
// Tested by tests/registry_trace_test.cpp.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "registry/errc.hpp"
#include "registry/handle_life.hpp"

namespace registry {

/// Counted apart from the format of the store. 3 and 4 are the same and have no blocks; a store of
/// theirs is one of today's once its version says so.
constexpr std::uint8_t trace_format_version = 5;
constexpr std::uint8_t oldest_trace_format_version = 3;

/// What a traced device is known by.
enum class DeviceKind : std::uint8_t {
    installation = 0,  ///< installation id
    registration = 1,  ///< id of a plain registration
    handle = 2,        ///< keyed hash of the handle of a direct send, as hex
};

/// One attempt to push to one device, when its end was known. Views: valid while what they show
/// is.
struct TraceEvent {
    std::uint32_t hub = 0;
    std::string_view send_id;
    std::int64_t enqueued_at_ms = 0;  ///< of the send
    DeviceKind kind = DeviceKind::installation;
    std::string_view device_id;
    std::string_view registration_id;  ///< empty: direct send
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    bool templated = false;
    std::string_view platform;
    std::uint8_t attempt = 1;      ///< from 1
    std::int64_t at_ms = 0;        ///< when the answer, or the lack of one, was known
    std::uint64_t took_ms = 0;     ///< since the sender got it; 0 = never handed to a sender
    std::int64_t retry_at_ms = 0;  ///< 0 = final
    std::string_view outcome;
    std::string_view reason;       ///< the provider's or the hub's word; may be empty
    std::string_view provider_id;  ///< the provider's id of the message; may be empty
};

using HandleHash = std::array<std::uint8_t, 16>;

/// Why a handle was retired.
struct RetirementRecord {
    std::uint32_t hub = 0;
    std::int64_t at_ms = 0;
    std::string platform;
    std::string reason;   ///< the provider's word
    std::string send_id;  ///< whose push was answered so
    std::string by;       ///< "provider", or "operator" who released what was held
    std::string installation_id;
    std::string registration_id;
    std::int64_t dead_since_ms = 0;
    std::int64_t registered_at_ms = 0;
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    HandleHash handle{};
    friend bool operator==(const RetirementRecord&, const RetirementRecord&) = default;
};

/// A retirement that waits for evidence.
struct HeldRetirement {
    std::uint32_t hub = 0;
    std::uint64_t ticket = 0;
    std::string platform;
    std::string app{};       ///< whose pushes were answered so; empty: the credential's only one
    bool suspicion = false;  ///< it waits to be suspected once more
    Retirement retirement;
};

// --- keys ---
constexpr std::size_t trace_prefix_bytes = 13;  ///< all that a lookup by device or send shares
constexpr std::size_t send_tail_bytes = 15;     ///< of a send key, after its prefix

/// Times lie between 0 and 2^63 - 1.
std::uint64_t later(std::int64_t time_ms);
std::int64_t time_of_later(std::uint64_t value);

std::string trace_device_prefix(std::uint32_t hub, DeviceKind kind, std::string_view id);
/// All events of one push.
std::string trace_push_prefix(std::uint32_t hub, DeviceKind kind, std::string_view id,
                              std::int64_t enqueued_at_ms, std::string_view send_id,
                              std::uint16_t partition, std::uint32_t number);
std::string trace_device_key(const TraceEvent& event);
std::string trace_send_prefix(std::uint32_t hub, std::string_view send_id);
std::string trace_send_key(const TraceEvent& event);

struct SendTail {
    std::int64_t at_ms = 0;
    std::uint16_t partition = 0;
    std::uint32_t number = 0;
    std::uint8_t attempt = 0;
};
Result<SendTail> decode_send_tail(std::string_view tail);

std::string retirement_handle_prefix(std::uint32_t hub, const HandleHash& hash);
std::string retirement_device_prefix(std::uint32_t hub, std::string_view id);
/// The time, partition and number that a key of `retirements` ends with.
std::string retirement_tail(std::int64_t at_ms, std::uint16_t partition, std::uint32_t number);
constexpr std::size_t retirement_tail_bytes = 14;
/// When what this key of `retirements` names happened; nothing: no such key.
Result<std::int64_t> retirement_time(std::string_view key);

constexpr std::size_t details_piece_bytes = 64 * 1024;
std::string details_hub_prefix(std::uint32_t hub);
std::string details_key(std::uint32_t hub, std::string_view name, std::uint16_t piece);
/// The name in a key of a hub's details.
Result<std::string> details_name(std::string_view key);

std::string held_prefix(std::uint32_t hub);
std::string held_key(std::uint32_t hub, std::uint64_t ticket);

// --- values ---
void append_trace_event(std::string& out, const TraceEvent& event);
/// Views into `bytes`.
Result<TraceEvent> decode_trace_event(std::string_view bytes);
/// The first of several appended to each other, taken off the front of `bytes`.
Result<TraceEvent> take_trace_event(std::string_view& bytes);

struct TraceReference {
    std::int64_t enqueued_at_ms = 0;
    DeviceKind kind = DeviceKind::installation;
    std::string_view device_id;
    bool final = false;
    std::string_view outcome;
};
std::string encode_trace_reference(const TraceEvent& event);
Result<TraceReference> decode_trace_reference(std::string_view bytes);

std::string encode_retirement(const RetirementRecord& record);
Result<RetirementRecord> decode_retirement(std::uint32_t hub, std::string_view bytes);

/// What a send's failures were; all pieces say so.
struct DetailsHead {
    std::int64_t at_ms = 0;
    std::uint64_t bytes = 0;
};
std::string encode_details(const DetailsHead& head, std::string_view piece);
/// The head, taken off the front of `bytes`: what is left is the piece.
Result<DetailsHead> take_details_head(std::string_view& bytes);

std::string encode_held(const HeldRetirement& held);
Result<HeldRetirement> decode_held(std::string_view key, std::string_view bytes);

}  // namespace registry
