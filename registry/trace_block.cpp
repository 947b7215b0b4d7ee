// Tested by tests/registry_trace_test.cpp.
//
// An encoder and a decoder for each key and value of the grammar in the header. Decoders check as
// if the bytes came from outside.

#include "registry/trace_block.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <limits>
#include <optional>

#include "registry/bytes.hpp"
#include "registry/keys.hpp"

namespace registry {
namespace {

constexpr std::uint8_t block_version = 1;
constexpr std::size_t shapes_max = 256;
constexpr std::size_t entry_bytes = 6;

std::string numbered(char letter, std::uint64_t number) {
    std::string key;
    ByteWriter out(key);
    out.u8(static_cast<std::uint8_t>(letter));
    out.u32_be(0);
    out.u64_be(number);
    return key;
}

std::string of_named(char letter, std::uint32_t hub, std::string_view name) {
    std::string key;
    ByteWriter out(key);
    out.u8(static_cast<std::uint8_t>(letter));
    out.u32_be(hub);
    out.u64_be(hash64(name));
    out.text(name);
    return key;
}

/// What many events of a send share.
bool same_shape(const TraceEvent& a, const TraceEvent& b) {
    return a.kind == b.kind && a.templated == b.templated && a.attempt == b.attempt &&
           a.platform == b.platform && a.outcome == b.outcome && a.reason == b.reason;
}

void append_shape(ByteWriter& out, const TraceEvent& event) {
    out.u8(static_cast<std::uint8_t>(event.kind));
    out.u8(event.templated ? 1 : 0);
    out.u8(event.attempt);
    out.text(event.platform);
    out.text(event.outcome);
    out.text(event.reason);
}

TraceEvent read_shape(ByteReader& in) {
    TraceEvent shape;
    const std::uint8_t kind = in.u8(), templated = in.u8();
    if (kind > static_cast<std::uint8_t>(DeviceKind::handle) || templated > 1) in.fail();
    shape.kind = static_cast<DeviceKind>(kind);
    shape.templated = templated == 1;
    shape.attempt = in.u8();
    shape.platform = in.text();
    shape.outcome = in.text();
    shape.reason = in.text();
    return shape;
}

template <class Number>
Number bounded(ByteReader& in) {
    const std::uint64_t value = in.varint();
    if (value > std::numeric_limits<Number>::max()) in.fail();
    return static_cast<Number>(value);
}

// Forms of ids that take fewer bytes than their text.
constexpr std::uint8_t as_text = 0, as_device = 1, as_part = 2, as_uuid = 1, as_upper_uuid = 2;
constexpr unsigned provider_forms = 4;  // a form of the provider's id is that many times larger
constexpr std::size_t uuid_bytes = 16, uuid_digits = 36, part_id_max = 64;
constexpr std::string_view lower_digits = "0123456789abcdef", upper_digits = "0123456789ABCDEF";
constexpr std::array<std::size_t, 5> uuid_groups{8, 4, 4, 4, 12};

/// Ids of parts as keys.cpp makes them.
std::size_t write_part_id(std::array<char, 64>& out, std::uint64_t hash, Address place) {
    char* at = out.data();
    char* const end = at + out.size();
    at = std::to_chars(at, end, part_ids_from + place.number).ptr;
    *at++ = '-';
    at = std::to_chars(at, end, hash).ptr;
    *at++ = '-';
    at = std::to_chars(at, end, place.partition + 1).ptr;
    return static_cast<std::size_t>(at - out.data());
}

/// The hash in the id of a part that lies at this place; nothing: the id is not of that form.
std::optional<std::uint64_t> part_hash(std::string_view id, Address place) {
    if (id.size() > part_id_max) return std::nullopt;
    const std::size_t first = id.find('-');
    if (first == std::string_view::npos) return std::nullopt;
    std::uint64_t hash = 0;
    const char* const begin = id.data() + first + 1;
    const auto failure = std::from_chars(begin, id.data() + id.size(), hash).ec;
    if (failure != std::errc()) return std::nullopt;
    std::array<char, 64> made;
    if (std::string_view(made.data(), write_part_id(made, hash, place)) != id) return std::nullopt;
    return hash;
}

/// Appends the bytes of a UUID; false, and nothing is appended: it is none in these digits.
bool append_uuid(ByteWriter& out, std::string_view text, bool upper) {
    const auto digit = [upper](char c) -> int {
        if (c >= '0' && c <= '9') return c - '0';
        const char a = upper ? 'A' : 'a';
        return c >= a && c <= a + 5 ? c - a + 10 : -1;
    };
    if (text.size() != uuid_digits) return false;
    std::array<char, uuid_bytes> bytes;
    std::size_t filled = 0, at = 0;
    for (const std::size_t group : uuid_groups) {
        if (at > 0 && text[at++] != '-') return false;
        for (const std::size_t end = at + group; at < end; at += 2) {
            const int high = digit(text[at]), low = digit(text[at + 1]);
            if (high < 0 || low < 0) return false;
            bytes[filled++] = static_cast<char>(high * 16 + low);
        }
    }
    out.raw({bytes.data(), bytes.size()});
    return true;
}

void append_uuid_text(std::string& out, std::string_view bytes, std::string_view digits) {
    std::size_t at = 0;
    for (const std::size_t group : uuid_groups) {
        if (at > 0) out += '-';
        for (const std::size_t end = at + group / 2; at < end; ++at) {
            const auto byte = static_cast<std::uint8_t>(bytes[at]);
            out += digits[byte >> 4];
            out += digits[byte & 15];
        }
    }
}

void append_ids(std::string& bytes, const TraceEvent& event) {
    ByteWriter out(bytes);
    out.text(event.device_id);
    const std::size_t forms_at = bytes.size();
    out.u8(0);
    std::uint8_t registration = as_text, provider = as_text;
    if (event.registration_id == event.device_id) {
        registration = as_device;
    } else if (const auto hash =
                   part_hash(event.registration_id, {event.partition, event.number})) {
        registration = as_part;
        out.u64_be(*hash);
    } else {
        out.text(event.registration_id);
    }
    if (append_uuid(out, event.provider_id, false)) {
        provider = as_uuid;
    } else if (append_uuid(out, event.provider_id, true)) {
        provider = as_upper_uuid;
    } else {
        out.text(event.provider_id);
    }
    bytes[forms_at] = static_cast<char>(registration + provider * provider_forms);
}

/// `texts` has room for what is made here: it must not move.
void read_ids(ByteReader& in, TraceEvent& event, std::string& texts) {
    const auto made = [&texts](std::size_t from) { return std::string_view(texts).substr(from); };
    std::array<char, 64> part;
    event.device_id = in.text();
    const std::uint8_t forms = in.u8();
    const unsigned registration = forms % provider_forms, provider = forms / provider_forms;
    const std::size_t id_at = texts.size();
    switch (registration) {
        case as_text:
            event.registration_id = in.text();
            break;
        case as_device:
            event.registration_id = event.device_id;
            break;
        case as_part:
            texts.append(part.data(),
                         write_part_id(part, in.u64_be(), {event.partition, event.number}));
            event.registration_id = made(id_at);
            break;
        default:
            in.fail();
    }
    const std::size_t uuid_at = texts.size();
    switch (provider) {
        case as_text:
            event.provider_id = in.text();
            break;
        case as_uuid:
        case as_upper_uuid: {
            const std::string_view bytes = in.raw(uuid_bytes);
            if (bytes.empty()) break;
            append_uuid_text(texts, bytes, provider == as_uuid ? lower_digits : upper_digits);
            event.provider_id = made(uuid_at);
            break;
        }
        default:
            in.fail();
    }
}

void append_entry(ByteWriter& out, const IndexEntry& entry) {
    out.u32_be(entry.mark);
    out.u8(entry.block);
    out.u8(entry.event);
}

}  // namespace

bool tells_all(const TraceEvent& event) {
    const bool first_answer = event.attempt == 1 && event.took_ms > 0;
    return event.retry_at_ms == 0 && (event.attempt == 0 || first_answer);
}

std::uint32_t device_mark(std::uint32_t hub, DeviceKind kind, std::string_view id) {
    const std::uint64_t seed = (std::uint64_t{hub} << 8) | static_cast<std::uint8_t>(kind);
    return static_cast<std::uint32_t>(hash64(id, seed) >> 32);
}

// --- keys ---

std::string block_key(std::uint64_t block) {
    return numbered(block_letter, block);
}

std::string send_blocks_prefix(std::uint32_t hub, std::string_view send_id) {
    return of_named('q', hub, send_id);
}

std::string send_block_key(std::uint32_t hub, std::string_view send_id, std::int64_t newest_ms,
                           std::uint64_t block) {
    std::string key = send_blocks_prefix(hub, send_id);
    ByteWriter out(key);
    out.u64_be(later(newest_ms));
    out.u64_be(block);
    return key;
}

Result<SendBlock> decode_send_block(std::string_view tail) {
    ByteReader in(tail);
    SendBlock out;
    out.newest_ms = time_of_later(in.u64_be());
    out.block = in.u64_be();
    if (!in.at_end()) return make_error_code(errc::corrupt);
    return out;
}

Result<std::uint64_t> block_of(std::string_view key) {
    ByteReader in(key);
    const bool sound = in.u8() == static_cast<std::uint8_t>(block_letter) && in.u32_be() == 0;
    const std::uint64_t block = in.u64_be();
    if (!sound || !in.at_end()) return make_error_code(errc::corrupt);
    return block;
}

std::string block_index_prefix(std::uint64_t segment) {
    return numbered(block_index_letter, segment);
}

std::string block_index_key(std::uint64_t block) {
    std::string key = block_index_prefix(block / segment_blocks);
    ByteWriter(key).u8(static_cast<std::uint8_t>(block % segment_blocks));
    return key;
}

Result<std::uint64_t> block_of_index(std::string_view key) {
    ByteReader in(key);
    const bool sound = in.u8() == static_cast<std::uint8_t>(block_index_letter) && in.u32_be() == 0;
    const std::uint64_t segment = in.u64_be();
    const std::uint64_t block = segment * segment_blocks + in.u8();
    if (!sound || !in.at_end()) return make_error_code(errc::corrupt);
    return block;
}

std::string segment_index_prefix(std::uint64_t bucket) {
    return numbered('i', bucket);
}

std::string segment_index_key(std::uint64_t bucket, std::uint64_t segment) {
    std::string key = segment_index_prefix(bucket);
    ByteWriter(key).u64_be(~segment);
    return key;
}

Result<std::uint64_t> segment_of(std::string_view key) {
    ByteReader in(key);
    in.raw(trace_prefix_bytes);
    const std::uint64_t segment = ~in.u64_be();
    if (!in.at_end()) return make_error_code(errc::corrupt);
    return segment;
}

std::string erasure_key(std::uint32_t hub, DeviceKind kind, std::string_view id) {
    std::string key = trace_device_prefix(hub, kind, id);
    key[0] = erasure_letter;
    return key;
}

std::string taken_up_key(std::uint32_t hub, std::string_view send_id) {
    return of_named('r', hub, send_id);
}

// --- values ---

BlockMade encode_block(std::string& out, std::span<const TraceEvent* const> events) {
    BlockMade made;
    std::size_t near = 0;
    for (const TraceEvent* event : events.first(std::min(events.size(), block_events_max))) {
        const std::int64_t oldest =
            near == 0 ? event->at_ms : std::min(made.oldest_ms, event->at_ms);
        const std::int64_t newest =
            near == 0 ? event->at_ms : std::max(made.newest_ms, event->at_ms);
        if (newest - oldest > block_span_ms) break;
        made.oldest_ms = oldest;
        made.newest_ms = newest;
        ++near;
    }
    if (near == 0) return made;
    std::vector<const TraceEvent*> shapes;
    std::string bytes;
    bytes.reserve(near * 128);
    ByteWriter body(bytes);
    std::size_t shape = 0;
    for (const TraceEvent* event : events.first(near)) {
        assert(event->hub == events[0]->hub && event->enqueued_at_ms == events[0]->enqueued_at_ms);
        if (shape == shapes.size() || !same_shape(*shapes[shape], *event)) {
            shape = 0;
            while (shape < shapes.size() && !same_shape(*shapes[shape], *event)) ++shape;
            if (shape == shapes_max) break;
            if (shape == shapes.size()) shapes.push_back(event);
        }
        body.u8(static_cast<std::uint8_t>(shape));
        body.u8(static_cast<std::uint8_t>(event->at_ms - made.oldest_ms));
        body.varint(event->took_ms);
        body.varint(event->partition);
        body.varint(event->number);
        append_ids(bytes, *event);
        ++made.events;
    }
    out.clear();
    ByteWriter head(out);
    head.u8(block_version);
    head.varint(events[0]->hub);
    head.text(events[0]->send_id);
    head.zigzag(events[0]->enqueued_at_ms);
    head.zigzag(made.oldest_ms);
    head.varint(shapes.size());
    for (const TraceEvent* one : shapes) append_shape(head, *one);
    head.varint(made.events);
    head.raw(bytes);
    return made;
}

Result<std::vector<TraceEvent>> decode_block(std::string_view bytes, std::string& texts) {
    ByteReader in(bytes);
    bool sound = in.u8() == block_version;
    const auto hub = bounded<std::uint32_t>(in);
    const std::string_view send_id = in.text();
    const std::int64_t enqueued_at_ms = in.zigzag(), oldest_ms = in.zigzag();
    if (oldest_ms > std::numeric_limits<std::int64_t>::max() - block_span_ms) in.fail();
    std::vector<TraceEvent> shapes(in.count());
    for (TraceEvent& shape : shapes) {
        shape = read_shape(in);
        shape.hub = hub;
        shape.send_id = send_id;
        shape.enqueued_at_ms = enqueued_at_ms;
    }
    std::vector<TraceEvent> events(in.count());
    texts.clear();
    texts.reserve(events.size() * (part_id_max + uuid_digits));
    for (TraceEvent& event : events) {
        const std::uint8_t shape = in.u8();
        sound = sound && shape < shapes.size();
        if (!sound) break;
        event = shapes[shape];
        event.at_ms = oldest_ms + in.u8();
        event.took_ms = in.varint();
        event.partition = bounded<std::uint16_t>(in);
        event.number = bounded<std::uint32_t>(in);
        read_ids(in, event, texts);
    }
    if (!sound || !in.at_end() || events.size() > block_events_max)
        return {boost::system::in_place_error, make_error_code(errc::corrupt)};
    return {boost::system::in_place_value, std::move(events)};
}

std::string encode_send_block(std::int64_t span_ms) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(block_version);
    out.u8(static_cast<std::uint8_t>(span_ms));
    return bytes;
}

Result<std::int64_t> decode_send_block_span(std::string_view bytes) {
    ByteReader in(bytes);
    const bool sound = in.u8() == block_version;
    const std::int64_t span_ms = in.u8();
    if (!sound || !in.at_end()) return make_error_code(errc::corrupt);
    return span_ms;
}

Result<void> read_index(std::string_view bytes, const std::uint32_t* mark,
                        std::vector<IndexEntry>& out) {
    ByteReader in(bytes);
    if (in.u8() != block_version) in.fail();
    while (in.ok() && in.left() > 0) {
        const std::uint64_t count = in.count();
        const std::int64_t enqueued_at_ms = in.zigzag();
        const std::string_view entries = in.raw(count * entry_bytes);
        for (std::size_t at = 0; at < entries.size(); at += entry_bytes) {
            ByteReader one(entries.substr(at, entry_bytes));
            IndexEntry entry{enqueued_at_ms, one.u32_be(), 0, 0};
            if (mark != nullptr && entry.mark != *mark) continue;
            entry.block = one.u8();
            entry.event = one.u8();
            out.push_back(entry);
        }
    }
    if (!in.ok()) return make_error_code(errc::corrupt);
    return {};
}

std::string encode_index(std::span<const IndexEntry> entries) {
    std::string bytes;
    bytes.reserve(16 + entries.size() * entry_bytes);
    ByteWriter out(bytes);
    out.u8(block_version);
    while (!entries.empty()) {
        const std::int64_t enqueued_at_ms = entries[0].enqueued_at_ms;
        const auto other = std::find_if(entries.begin(), entries.end(), [&](const auto& entry) {
            return entry.enqueued_at_ms != enqueued_at_ms;
        });
        const auto count = static_cast<std::size_t>(other - entries.begin());
        out.varint(count);
        out.zigzag(enqueued_at_ms);
        for (const IndexEntry& entry : entries.first(count)) append_entry(out, entry);
        entries = entries.subspan(count);
    }
    return bytes;
}

std::string encode_block_bound(std::uint64_t block) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(block_version);
    out.u64_be(block);
    return bytes;
}

Result<std::uint64_t> decode_block_bound(std::string_view bytes) {
    ByteReader in(bytes);
    const bool sound = in.u8() == block_version;
    const std::uint64_t block = in.u64_be();
    if (!sound || !in.at_end()) return make_error_code(errc::corrupt);
    return block;
}

std::string encode_taken_up() {
    return std::string(1, static_cast<char>(block_version));
}

}  // namespace registry
