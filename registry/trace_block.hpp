#pragma once

// Blocks of the trace: many events of one send in one value, for broadcasts whose every push is
// traced. Notation as in keys.hpp and trace_keys.hpp; all of it lies in the family `pushes`.
//
//   block        u8 'b', u32 0, u64 block ->
//                u8 1, varint hub, text send id, zigzag enqueued, zigzag oldest time,
//                varint shapes, shape*, varint events, event*
//     shape        u8 kind, u8 templated, u8 attempt, text platform, text outcome, text reason
//     event        u8 shape, u8 time - oldest, varint took, varint partition, varint number,
//                  text device id, u8 forms, registration id, provider's id
//       forms        of the registration id (0 text; 1 the device id; 2 u64 hash of a part id, see
//                    keys.hpp) + 4 * of the provider's id (0 text; 1 UUID, 2 UUID in upper case:
//                    16 bytes)
//   of a send    u8 'q', u32 hub, u64 hash of send id, text send id,
//                later newest time, u64 block -> u8 1, u8 newest time - oldest
//   index        u8 'p', u32 0, u64 segment, u8 block within it -> u8 1, run: of one block
//                u8 'i', u32 0, u64 bucket, later segment -> u8 1, run*: of a segment
//     run          varint entries, zigzag enqueued, entry*
//     entry        u32 mark of device, u8 block within its segment, u8 event within its block
//   erasure      u8 'x', u32 hub, u64 hash of device, u8 kind, text device id ->
//                u8 1, u64 block: what blocks before it say of the device is erased
//   taken up     u8 'r', u32 hub, u64 hash of send id, text send id -> u8 1: an earlier process
//                began to push this send
//
// A block is found by its send, and by the marks of its devices: a block's own index serves until
// its segment of 256 blocks is full, and then one row for each value of a mark's first byte. An
// index is written after its blocks, so it does not leave before them; one that leads to a block
// that is gone leads to nothing. Blocks are never changed.
// Pure, any thread. Tested by tests/registry_trace_test.cpp.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "registry/trace_keys.hpp"

namespace registry {

constexpr std::size_t block_events_max = 256;
constexpr std::int64_t block_span_ms = 255;  ///< between the oldest and the newest event of a block
constexpr unsigned segment_blocks = 256;
constexpr unsigned mark_buckets = 256;

/// Does the event alone say what became of its push? So does what ends one that was not attempted
/// before. Others have events before or behind them and are kept as rows.
bool tells_all(const TraceEvent& event);

/// What the index knows a device by. Devices may share one.
std::uint32_t device_mark(std::uint32_t hub, DeviceKind kind, std::string_view id);
inline std::uint64_t bucket_of(std::uint32_t mark) {
    return mark >> 24;
}

// --- keys ---
std::string block_key(std::uint64_t block);
std::string send_blocks_prefix(std::uint32_t hub, std::string_view send_id);
std::string send_block_key(std::uint32_t hub, std::string_view send_id, std::int64_t newest_ms,
                           std::uint64_t block);
constexpr std::size_t send_block_tail_bytes = 16;
struct SendBlock {
    std::int64_t newest_ms = 0;
    std::uint64_t block = 0;
};
/// What a key of a send's block ends with.
Result<SendBlock> decode_send_block(std::string_view tail);
/// What a block_key() says.
Result<std::uint64_t> block_of(std::string_view key);
std::string block_index_prefix(std::uint64_t segment);
std::string block_index_key(std::uint64_t block);
Result<std::uint64_t> block_of_index(std::string_view key);
std::string segment_index_prefix(std::uint64_t bucket);
std::string segment_index_key(std::uint64_t bucket, std::uint64_t segment);
Result<std::uint64_t> segment_of(std::string_view key);
std::string erasure_key(std::uint32_t hub, DeviceKind kind, std::string_view id);
std::string taken_up_key(std::uint32_t hub, std::string_view send_id);
constexpr char block_letter = 'b', block_index_letter = 'p', erasure_letter = 'x';

// --- values ---
/// Replaces `out` by a block of the first events of `events`, which share hub, send and time of its
/// enqueueing. How many it took: those that lie too far apart in time or differ too much are left.
struct BlockMade {
    std::size_t events = 0;
    std::int64_t oldest_ms = 0, newest_ms = 0;
};
BlockMade encode_block(std::string& out, std::span<const TraceEvent* const> events);
/// Views into `bytes` and into `texts`, which it replaces by what is not there as it was.
Result<std::vector<TraceEvent>> decode_block(std::string_view bytes, std::string& texts);

std::string encode_send_block(std::int64_t span_ms);
/// How long before the newest event the oldest one was.
Result<std::int64_t> decode_send_block_span(std::string_view bytes);

struct IndexEntry {
    std::int64_t enqueued_at_ms = 0;  ///< of the send
    std::uint32_t mark = 0;
    std::uint8_t block = 0, event = 0;
};
/// Appends the entries that have the mark; without one all.
Result<void> read_index(std::string_view bytes, const std::uint32_t* mark,
                        std::vector<IndexEntry>& out);
/// An index: of one block its events in order, of a bucket the entries in the order of their
/// blocks.
std::string encode_index(std::span<const IndexEntry> entries);

std::string encode_block_bound(std::uint64_t block);
Result<std::uint64_t> decode_block_bound(std::string_view bytes);
std::string encode_taken_up();

}  // namespace registry
