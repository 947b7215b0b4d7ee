// Tested by tests/registry_trace_test.cpp.
//
// An encoder and a decoder for each key and value of the grammar in the header. Decoders check as
// if the bytes came from outside. Handles appear only as keyed hashes, except in what is held,
// which needs them. Pure, any thread.

#include "registry/trace_keys.hpp"

#include <limits>

#include "registry/bytes.hpp"
#include "registry/keys.hpp"

namespace registry {
namespace {

constexpr std::uint8_t trace_version = 1;
constexpr std::uint8_t held_version = 2;  // of `held`; trace_version is read, too
constexpr std::int64_t time_max = std::numeric_limits<std::int64_t>::max();

bool decode_kind(std::uint8_t byte, DeviceKind& kind) {
    kind = static_cast<DeviceKind>(byte);
    return byte <= static_cast<std::uint8_t>(DeviceKind::handle);
}

std::uint8_t byte_of(DeviceKind kind) {
    return static_cast<std::uint8_t>(kind);
}

std::string_view view(const HandleHash& hash) {
    return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

void read_hash(ByteReader& in, HandleHash& hash) {
    const std::string_view bytes = in.raw(hash.size());
    for (std::size_t i = 0; i < bytes.size(); ++i) hash[i] = static_cast<std::uint8_t>(bytes[i]);
}

template <class Number>
Number narrow(ByteReader& in) {
    const std::uint64_t value = in.varint();
    if (value > std::numeric_limits<Number>::max()) in.fail();
    return static_cast<Number>(value);
}

}  // namespace

std::uint64_t later(std::int64_t time_ms) {
    return static_cast<std::uint64_t>(time_max - (time_ms < 0 ? 0 : time_ms));
}

std::int64_t time_of_later(std::uint64_t value) {
    const auto bounded =
        value > static_cast<std::uint64_t>(time_max) ? time_max : static_cast<std::int64_t>(value);
    return time_max - bounded;
}

// --- keys ---

std::string trace_device_prefix(std::uint32_t hub, DeviceKind kind, std::string_view id) {
    std::string key;
    ByteWriter out(key);
    out.u8('d');
    out.u32_be(hub);
    out.u64_be(hash64(id, byte_of(kind)));
    out.u8(byte_of(kind));
    out.text(id);
    return key;
}

std::string trace_push_prefix(std::uint32_t hub, DeviceKind kind, std::string_view id,
                              std::int64_t enqueued_at_ms, std::string_view send_id,
                              std::uint16_t partition, std::uint32_t number) {
    std::string key = trace_device_prefix(hub, kind, id);
    ByteWriter out(key);
    out.u64_be(later(enqueued_at_ms));
    out.text(send_id);
    out.u16_be(partition);
    out.u32_be(number);
    return key;
}

std::string trace_device_key(const TraceEvent& event) {
    std::string key =
        trace_push_prefix(event.hub, event.kind, event.device_id, event.enqueued_at_ms,
                          event.send_id, event.partition, event.number);
    ByteWriter out(key);
    out.u64_be(static_cast<std::uint64_t>(event.at_ms));
    out.u8(event.attempt);
    return key;
}

std::string trace_send_prefix(std::uint32_t hub, std::string_view send_id) {
    std::string key;
    ByteWriter out(key);
    out.u8('s');
    out.u32_be(hub);
    out.u64_be(hash64(send_id));
    out.text(send_id);
    return key;
}

std::string trace_send_key(const TraceEvent& event) {
    std::string key = trace_send_prefix(event.hub, event.send_id);
    ByteWriter out(key);
    out.u64_be(later(event.at_ms));
    out.u16_be(event.partition);
    out.u32_be(event.number);
    out.u8(event.attempt);
    return key;
}

Result<SendTail> decode_send_tail(std::string_view tail) {
    ByteReader in(tail);
    SendTail out;
    out.at_ms = time_of_later(in.u64_be());
    out.partition = in.u16_be();
    out.number = in.u32_be();
    out.attempt = in.u8();
    if (!in.at_end()) return make_error_code(errc::corrupt);
    return out;
}

std::string retirement_handle_prefix(std::uint32_t hub, const HandleHash& hash) {
    std::string key;
    ByteWriter out(key);
    out.u8('h');
    out.u32_be(hub);
    out.raw(view(hash));
    return key;
}

std::string retirement_device_prefix(std::uint32_t hub, std::string_view id) {
    std::string key;
    ByteWriter out(key);
    out.u8('i');
    out.u32_be(hub);
    out.u64_be(hash64(id));
    out.text(id);
    return key;
}

std::string retirement_tail(std::int64_t at_ms, std::uint16_t partition, std::uint32_t number) {
    std::string tail;
    ByteWriter out(tail);
    out.u64_be(later(at_ms));
    out.u16_be(partition);
    out.u32_be(number);
    return tail;
}

Result<std::int64_t> retirement_time(std::string_view key) {
    if (key.size() < trace_prefix_bytes + retirement_tail_bytes)
        return make_error_code(errc::corrupt);
    ByteReader in(key.substr(key.size() - retirement_tail_bytes));
    return time_of_later(in.u64_be());
}

std::string details_hub_prefix(std::uint32_t hub) {
    std::string key;
    ByteWriter(key).u32_be(hub);
    return key;
}

std::string details_key(std::uint32_t hub, std::string_view name, std::uint16_t piece) {
    std::string key = details_hub_prefix(hub);
    ByteWriter out(key);
    out.raw(name);
    out.u8(0);
    out.u16_be(piece);
    return key;
}

Result<std::string> details_name(std::string_view key) {
    constexpr std::size_t head = 4, tail = 3;
    if (key.size() <= head + tail)
        return {boost::system::in_place_error, make_error_code(errc::corrupt)};
    return std::string(key.substr(head, key.size() - head - tail));
}

std::string held_prefix(std::uint32_t hub) {
    std::string key;
    ByteWriter(key).u32_be(hub);
    return key;
}

std::string held_key(std::uint32_t hub, std::uint64_t ticket) {
    std::string key = held_prefix(hub);
    ByteWriter(key).u64_be(ticket);
    return key;
}

// --- values ---

void append_trace_event(std::string& bytes, const TraceEvent& event) {
    ByteWriter out(bytes);
    out.u8(trace_version);
    out.varint(event.hub);
    out.text(event.send_id);
    out.zigzag(event.enqueued_at_ms);
    out.u8(byte_of(event.kind));
    out.text(event.device_id);
    out.text(event.registration_id);
    out.varint(event.partition);
    out.varint(event.number);
    out.u8(event.templated ? 1 : 0);
    out.text(event.platform);
    out.u8(event.attempt);
    out.zigzag(event.at_ms);
    out.varint(event.took_ms);
    out.zigzag(event.retry_at_ms);
    out.text(event.outcome);
    out.text(event.reason);
    out.text(event.provider_id);
}

Result<TraceEvent> decode_trace_event(std::string_view bytes) {
    const auto event = take_trace_event(bytes);
    if (event && !bytes.empty()) return make_error_code(errc::corrupt);
    return event;
}

Result<TraceEvent> take_trace_event(std::string_view& bytes) {
    ByteReader in(bytes);
    TraceEvent event;
    bool sound = in.u8() == trace_version;
    event.hub = narrow<std::uint32_t>(in);
    event.send_id = in.text();
    event.enqueued_at_ms = in.zigzag();
    sound = decode_kind(in.u8(), event.kind) && sound;
    event.device_id = in.text();
    event.registration_id = in.text();
    event.partition = narrow<std::uint16_t>(in);
    event.number = narrow<std::uint32_t>(in);
    const std::uint8_t templated = in.u8();
    event.templated = templated == 1;
    event.platform = in.text();
    event.attempt = in.u8();
    event.at_ms = in.zigzag();
    event.took_ms = in.varint();
    event.retry_at_ms = in.zigzag();
    event.outcome = in.text();
    event.reason = in.text();
    event.provider_id = in.text();
    if (!sound || templated > 1 || !in.ok()) return make_error_code(errc::corrupt);
    bytes.remove_prefix(bytes.size() - in.left());
    return event;
}

std::string encode_trace_reference(const TraceEvent& event) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(trace_version);
    out.zigzag(event.enqueued_at_ms);
    out.u8(byte_of(event.kind));
    out.text(event.device_id);
    out.u8(event.retry_at_ms == 0 ? 1 : 0);
    out.text(event.outcome);
    return bytes;
}

Result<TraceReference> decode_trace_reference(std::string_view bytes) {
    ByteReader in(bytes);
    TraceReference out;
    bool sound = in.u8() == trace_version;
    out.enqueued_at_ms = in.zigzag();
    sound = decode_kind(in.u8(), out.kind) && sound;
    out.device_id = in.text();
    const std::uint8_t final = in.u8();
    out.final = final == 1;
    out.outcome = in.text();
    if (!sound || final > 1 || !in.at_end()) return make_error_code(errc::corrupt);
    return out;
}

std::string encode_retirement(const RetirementRecord& record) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(trace_version);
    out.zigzag(record.at_ms);
    out.text(record.platform);
    out.text(record.reason);
    out.text(record.send_id);
    out.text(record.by);
    out.text(record.installation_id);
    out.text(record.registration_id);
    out.zigzag(record.dead_since_ms);
    out.zigzag(record.registered_at_ms);
    out.varint(record.partition);
    out.varint(record.number);
    out.raw(view(record.handle));
    return bytes;
}

Result<RetirementRecord> decode_retirement(std::uint32_t hub, std::string_view bytes) {
    ByteReader in(bytes);
    RetirementRecord out;
    const bool sound = in.u8() == trace_version;
    out.hub = hub;
    out.at_ms = in.zigzag();
    out.platform = in.text();
    out.reason = in.text();
    out.send_id = in.text();
    out.by = in.text();
    out.installation_id = in.text();
    out.registration_id = in.text();
    out.dead_since_ms = in.zigzag();
    out.registered_at_ms = in.zigzag();
    out.partition = narrow<std::uint16_t>(in);
    out.number = narrow<std::uint32_t>(in);
    read_hash(in, out.handle);
    if (!sound || !in.at_end()) return make_error_code(errc::corrupt);
    return out;
}

std::string encode_details(const DetailsHead& head, std::string_view piece) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(trace_version);
    out.zigzag(head.at_ms);
    out.varint(head.bytes);
    out.raw(piece);
    return bytes;
}

Result<DetailsHead> take_details_head(std::string_view& bytes) {
    ByteReader in(bytes);
    DetailsHead head;
    const bool sound = in.u8() == trace_version;
    head.at_ms = in.zigzag();
    head.bytes = in.varint();
    if (!sound || !in.ok() || in.left() > details_piece_bytes)
        return make_error_code(errc::corrupt);
    bytes.remove_prefix(bytes.size() - in.left());
    return head;
}

std::string encode_held(const HeldRetirement& held) {
    const Retirement& dead = held.retirement;
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(held_version);
    out.text(held.platform);
    out.varint(dead.partition);
    out.varint(dead.number);
    out.varint(dead.generation);
    out.text(dead.handle);
    out.zigzag(dead.dead_since_ms);
    out.text(dead.reason);
    out.zigzag(dead.at_ms);
    out.text(dead.send_id);
    out.text(dead.installation_id);
    out.text(dead.registration_id);
    out.zigzag(dead.asked_at_ms);
    out.text(held.app);
    out.u8(held.suspicion ? 1 : 0);
    return bytes;
}

Result<HeldRetirement> decode_held(std::string_view key, std::string_view bytes) {
    ByteReader name(key);
    HeldRetirement held;
    held.hub = name.u32_be();
    held.ticket = name.u64_be();
    ByteReader in(bytes);
    const std::uint8_t written_as = in.u8();
    bool sound = written_as == held_version || written_as == trace_version;
    held.platform = in.text();
    Retirement& dead = held.retirement;
    dead.partition = narrow<std::uint16_t>(in);
    dead.number = narrow<std::uint32_t>(in);
    dead.generation = in.varint();
    dead.handle = in.text();
    dead.dead_since_ms = in.zigzag();
    dead.reason = in.text();
    dead.at_ms = in.zigzag();
    dead.send_id = in.text();
    dead.installation_id = in.text();
    dead.registration_id = in.text();
    dead.asked_at_ms = in.zigzag();
    dead.ticket = held.ticket;
    if (written_as == held_version) {
        held.app = in.text();
        const std::uint8_t suspicion = in.u8();
        sound = sound && suspicion <= 1;
        held.suspicion = suspicion == 1;
    }
    if (!sound || !in.at_end() || !name.at_end()) return make_error_code(errc::corrupt);
    return held;
}

}  // namespace registry
