// The values of registry/keys.hpp.
//
// An encoder and a decoder for each value of the grammar in the header, both over ByteWriter and
// ByteReader. Each value begins with a version byte; a decoder refuses other versions and bytes
// left over. What is read back is checked as if it came from outside: errc::corrupt, never an
// assertion. Pure, any thread.

#include <algorithm>
#include <cassert>
#include <tuple>

#include "registry/bytes.hpp"
#include "registry/keys.hpp"

namespace registry {
namespace {

enum RowFlag : std::uint64_t {
    owned = 1,
    tiled = 2,
    templated = 4,
    with_variables = 8,
    tagged = 16,
    expired = 32,
    packed = 64,  // most rows: flags below 128 take one byte
    shares = 128,
    retagged_by_time = 256,  // of formats before 6: two times, which tell no order
    retagged = 512,
    all_row_flags = 1'023,
};
enum InstallationFlag : std::uint8_t {
    channel_expired = 1,
    channel_is_object = 2,
    channel_packed = 4,
    end_has_ticks = 8,
    all_installation_flags = 15,
};

template <class T>
Result<T> checked(const ByteReader& in, T value) {
    if (!in.at_end()) return {boost::system::in_place_error, make_error_code(errc::corrupt)};
    return value;
}

void version(ByteReader& in) {
    if (in.u8() != value_version) in.fail();
}

template <class Pairs>
void put_pairs(ByteWriter& out, const Pairs& pairs) {
    out.varint(pairs.size());
    for (const auto& [name, value] : pairs) {
        out.text(name);
        out.text(value);
    }
}

Headers get_headers(ByteReader& in) {
    Headers headers;
    for (std::uint64_t left = in.count(); left > 0 && in.ok(); --left) {
        std::string name(in.text());
        headers.emplace_back(std::move(name), in.text());
    }
    return headers;
}

std::map<std::string, std::string> get_map(ByteReader& in) {
    std::map<std::string, std::string> values;
    for (std::uint64_t left = in.count(); left > 0 && in.ok(); --left) {
        std::string name(in.text());
        if (!values.empty() && name <= values.rbegin()->first) in.fail();
        values.emplace_hint(values.end(), std::move(name), in.text());
    }
    return values;
}

void put_texts(ByteWriter& out, const std::vector<std::string>& texts) {
    out.varint(texts.size());
    for (const std::string& text : texts) out.text(text);
}

std::vector<std::string> get_texts(ByteReader& in) {
    std::vector<std::string> texts;
    for (std::uint64_t left = in.count(); left > 0 && in.ok(); --left)
        texts.emplace_back(in.text());
    return texts;
}

void put_template(ByteWriter& out, const Template& value) {
    out.u8(value_version);
    out.text(value.name);
    out.text(value.body);
    put_pairs(out, value.headers);
    out.text(value.expiry);
    out.text(value.priority);
    put_texts(out, value.tags);
}

Template get_template(ByteReader& in) {
    Template value;
    version(in);
    value.name = in.text();
    value.body = in.text();
    value.headers = get_headers(in);
    value.expiry = in.text();
    value.priority = in.text();
    value.tags = get_texts(in);
    return value;
}

void put_templates(ByteWriter& out, const std::map<std::string, Template>& templates) {
    out.varint(templates.size());
    for (const auto& [name, value] : templates) {
        out.text(name);
        put_template(out, value);
    }
}

std::map<std::string, Template> get_templates(ByteReader& in) {
    std::map<std::string, Template> templates;
    for (std::uint64_t left = in.count(); left > 0 && in.ok(); --left) {
        std::string name(in.text());
        if (!templates.empty() && name <= templates.rbegin()->first) in.fail();
        templates.emplace_hint(templates.end(), std::move(name), get_template(in));
    }
    return templates;
}

void put_tile(ByteWriter& out, const std::string& id, const SecondaryTile& tile) {
    out.text(id);
    out.u8(tile.push_channel_expired ? 1 : 0);
    out.text(tile.push_channel);
    put_texts(out, tile.tags);
    put_templates(out, tile.templates);
}

void get_tiles(ByteReader& in, std::map<std::string, SecondaryTile>& tiles) {
    for (std::uint64_t left = in.count(); left > 0 && in.ok(); --left) {
        std::string id(in.text());
        if (!tiles.empty() && id <= tiles.rbegin()->first) in.fail();
        SecondaryTile tile;
        tile.push_channel_expired = in.u8() != 0;
        tile.push_channel = in.text();
        tile.tags = get_texts(in);
        tile.templates = get_templates(in);
        tiles.emplace_hint(tiles.end(), std::move(id), std::move(tile));
    }
}

void put_end(ByteWriter& out, std::int64_t expires_at_ms) {
    out.varint(expires_at_ms == never_ms ? 0 : static_cast<std::uint64_t>(expires_at_ms) + 1);
}

std::int64_t get_end(ByteReader& in) {
    const std::uint64_t value = in.varint();
    if (value == 0) return never_ms;
    if (value > static_cast<std::uint64_t>(never_ms)) in.fail();
    return static_cast<std::int64_t>(value - 1);
}

/// Tokens of Apple are half as long as bytes.
bool packs(std::string_view handle) {
    constexpr std::size_t worth_it = 16;
    const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
    return handle.size() >= worth_it && handle.size() % 2 == 0 &&
           std::all_of(handle.begin(), handle.end(), is_digit);
}

std::string pack(std::string_view handle) {
    const auto value = [](char digit) { return digit <= '9' ? digit - '0' : digit - 'A' + 10; };
    std::string bytes(handle.size() / 2, '\0');
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<char>(value(handle[2 * i]) << 4 | value(handle[2 * i + 1]));
    }
    return bytes;
}

void unpack(std::string_view bytes, std::string& out) {
    constexpr char digits[] = "0123456789ABCDEF";
    for (const char byte : bytes) {
        out.push_back(digits[static_cast<std::uint8_t>(byte) >> 4]);
        out.push_back(digits[static_cast<std::uint8_t>(byte) & 15]);
    }
}

std::uint16_t get_partition(ByteReader& in) {
    const std::uint64_t value = in.varint();
    if (value > 0xffff) in.fail();
    return static_cast<std::uint16_t>(value);
}

std::uint32_t get_number(ByteReader& in) {
    const std::uint64_t value = in.varint();
    if (value > 0xffff'ffff) in.fail();
    return static_cast<std::uint32_t>(value);
}

bool get_bool(ByteReader& in) {
    const std::uint8_t value = in.u8();
    if (value > 1) in.fail();
    return value == 1;
}

std::string u8_value(std::uint8_t value) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    out.u8(value);
    return bytes;
}

}  // namespace

std::string encode_version() {
    return std::string(1, static_cast<char>(format_version));
}

Result<std::uint8_t> decode_version(std::string_view bytes) {
    ByteReader in(bytes);
    const std::uint8_t value = in.u8();
    return checked(in, std::uint8_t{value});
}

std::string encode_state(const State& state) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    out.varint(state.applied);
    out.varint(state.next_hub);
    out.varint(state.swept_minute);
    return bytes;
}

Result<State> decode_state(std::string_view bytes) {
    ByteReader in(bytes);
    State state;
    version(in);
    state.applied = in.varint();
    state.next_hub = get_number(in);
    state.swept_minute = in.varint();
    return checked(in, state);
}

std::string encode_migration(const MigrationState& state) {
    std::string bytes = u8_value(state.step);
    ByteWriter(bytes).text(state.after);
    return bytes;
}

Result<MigrationState> decode_migration(std::string_view bytes) {
    ByteReader in(bytes);
    MigrationState state;
    version(in);
    state.step = in.u8();
    state.after = in.text();
    return checked(in, std::move(state));
}

std::string encode_sweep(const SweepState& state) {
    std::string bytes = u8_value(state.indexed ? 1 : 0);
    ByteWriter out(bytes);
    out.text(state.indexed_to);
    out.text(state.bodies_from);
    return bytes;
}

Result<SweepState> decode_sweep(std::string_view bytes) {
    ByteReader in(bytes);
    SweepState state;
    version(in);
    state.indexed = get_bool(in);
    state.indexed_to = in.text();
    state.bodies_from = in.text();
    return checked(in, std::move(state));
}

std::string encode_hub(const HubRow& hub) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    out.text(hub.name);
    out.varint(hub.partitions);
    out.text(hub.description);
    out.varint(hub.etag);
    return bytes;
}

Result<HubRow> decode_hub(std::string_view bytes) {
    ByteReader in(bytes);
    HubRow hub;
    version(in);
    hub.name = in.text();
    hub.partitions = get_partition(in);
    hub.description = in.text();
    hub.etag = in.varint();
    if (hub.partitions == 0) in.fail();
    return checked(in, std::move(hub));
}

std::string encode_count(std::uint64_t installations) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    out.varint(installations);
    return bytes;
}

Result<std::uint64_t> decode_count(std::string_view bytes) {
    ByteReader in(bytes);
    version(in);
    std::uint64_t count = in.varint();
    return checked(in, count);
}

std::string part_name(const std::string* tile, const std::string* template_name) {
    std::string name;
    ByteWriter out(name);
    if (tile != nullptr) {
        out.raw("s");
        out.text(*tile);
    }
    if (template_name != nullptr) {
        out.raw("t");
        out.raw(*template_name);
    }
    return name;
}

std::string encode_row(const Row& row) {
    const bool packs_handle = packs(row.handle);
    std::uint64_t flags = 0;
    if (!row.installation_id.empty()) flags |= owned;
    if (!row.tile.empty()) flags |= tiled;
    if (!row.template_bytes.empty()) flags |= templated;
    if (!row.variables_bytes.empty()) flags |= with_variables;
    if (!row.tags.empty()) flags |= tagged;
    if (row.channel_expired) flags |= expired;
    if (row.shares_handle) flags |= shares;
    if (packs_handle) flags |= packed;
    if (row.audience_at != 0) flags |= retagged;
    std::string bytes;
    bytes.reserve(96 + row.handle.size() + row.template_bytes.size());
    ByteWriter out(bytes);
    out.u8(value_version);
    out.varint(flags);
    out.varint(row.generation);
    out.zigzag(row.registered_at_ms);
    put_end(out, row.expires_at_ms);
    out.text(row.platform);
    out.text(packs_handle ? pack(row.handle) : row.handle);
    if ((flags & owned) != 0) {
        out.text(row.installation_id);
        out.text(row.part);
    } else {
        out.text(row.registration_id);
        out.varint(row.etag);
    }
    if ((flags & tiled) != 0) out.text(row.tile);
    if ((flags & templated) != 0) {
        out.u64_be(hash64(row.template_bytes));
        out.text(row.template_bytes);
    }
    if ((flags & with_variables) != 0) out.text(row.variables_bytes);
    if ((flags & retagged) != 0) {
        out.varint(row.audience_at);
        out.varint(row.user_at);
    }
    if ((flags & tagged) != 0) put_texts(out, row.tags);
    return bytes;
}

namespace {

/// What a Device does not show of a row.
struct RowRest {
    std::uint64_t flags = 0, etag = 0;
    std::string_view tile;
};

/// Reads a row up to its tags. `handle` as it is stored.
RowRest get_device(ByteReader& in, Device& device) {
    RowRest rest;
    version(in);
    rest.flags = in.varint();
    if ((rest.flags & ~static_cast<std::uint64_t>(all_row_flags)) != 0) in.fail();
    device.generation = in.varint();
    device.registered_at_ms = in.zigzag();
    device.expires_at_ms = get_end(in);
    device.platform = in.text();
    device.handle = in.text();
    device.channel_expired = (rest.flags & expired) != 0;
    device.shares_handle = (rest.flags & shares) != 0;
    device.registration_id = device.installation_id = device.part = {};
    device.template_bytes = device.variables_bytes = {};
    device.template_hash = 0;
    device.audience_at = device.user_at = 0;
    if ((rest.flags & owned) != 0) {
        device.installation_id = in.text();
        device.part = in.text();
        if (device.installation_id.empty()) in.fail();
    } else {
        device.registration_id = in.text();
        rest.etag = in.varint();
    }
    if ((rest.flags & tiled) != 0) rest.tile = in.text();
    if ((rest.flags & templated) != 0) {
        device.template_hash = in.u64_be();
        device.template_bytes = in.text();
    }
    if ((rest.flags & with_variables) != 0) device.variables_bytes = in.text();
    if ((rest.flags & retagged_by_time) != 0) {
        in.zigzag();
        in.zigzag();
    }
    if ((rest.flags & retagged) != 0) {
        device.audience_at = in.varint();
        device.user_at = in.varint();
        if (device.audience_at == 0 || device.user_at > device.audience_at) in.fail();
    }
    return rest;
}

}  // namespace

Result<void> decode_device(std::string_view bytes, Device& device, std::string& texts) {
    ByteReader in(bytes);
    const RowRest rest = get_device(in, device);
    if (!in.ok()) return make_error_code(errc::corrupt);
    if ((rest.flags & packed) != 0) {
        const std::size_t at = texts.size();
        assert(texts.capacity() - at >= 2 * device.handle.size());
        unpack(device.handle, texts);
        device.handle = std::string_view(texts).substr(at);
    }
    return {};
}

std::string id_of(const Device& device, std::uint16_t partition) {
    if (device.installation_id.empty()) return std::string(device.registration_id);
    return part_id(device.installation_id, device.part, {partition, device.number});
}

Result<Row> decode_row(std::string_view bytes, Address place) {
    ByteReader in(bytes);
    Device device;
    device.number = place.number;
    const RowRest rest = get_device(in, device);
    Row row;
    if ((rest.flags & tagged) != 0) row.tags = get_texts(in);
    row.etag = rest.etag;
    row.generation = device.generation;
    row.registered_at_ms = device.registered_at_ms;
    row.expires_at_ms = device.expires_at_ms;
    row.channel_expired = device.channel_expired;
    row.shares_handle = device.shares_handle;
    row.audience_at = device.audience_at;
    row.user_at = device.user_at;
    row.platform = device.platform;
    if ((rest.flags & packed) != 0) {
        unpack(device.handle, row.handle);
    } else {
        row.handle = device.handle;
    }
    row.registration_id = id_of(device, place.partition);
    row.installation_id = device.installation_id;
    row.part = device.part;
    row.tile = rest.tile;
    row.template_bytes = device.template_bytes;
    row.variables_bytes = device.variables_bytes;
    return checked(in, std::move(row));
}

std::string encode_template(const Template& value) {
    std::string bytes;
    ByteWriter out(bytes);
    put_template(out, value);
    return bytes;
}

Result<Template> decode_template(std::string_view bytes) {
    ByteReader in(bytes);
    Template value = get_template(in);
    return checked(in, std::move(value));
}

std::string encode_variables(const std::map<std::string, std::string>& values) {
    std::string bytes;
    if (values.empty()) return bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    put_pairs(out, values);
    return bytes;
}

Result<std::map<std::string, std::string>> decode_variables(std::string_view bytes) {
    if (bytes.empty()) return std::map<std::string, std::string>{};
    ByteReader in(bytes);
    version(in);
    std::map<std::string, std::string> values = get_map(in);
    return checked(in, std::move(values));
}

std::string encode_id(const IdEntry& entry) {
    std::string bytes = u8_value(entry.gone ? 1 : 0);
    if (entry.gone) return bytes;
    ByteWriter out(bytes);
    out.varint(entry.partition);
    out.varint(entry.number);
    return bytes;
}

Result<IdEntry> decode_id(std::string_view bytes) {
    ByteReader in(bytes);
    version(in);
    IdEntry entry;
    const std::uint8_t kind = in.u8();
    if (kind > 1) in.fail();
    entry.gone = kind == 1;
    if (!entry.gone) {
        entry.partition = get_partition(in);
        entry.number = get_number(in);
    }
    return checked(in, entry);
}

std::string encode_user_rows(const UserRows& rows) {
    std::string bytes = u8_value(rows.many ? 1 : 0);
    ByteWriter out(bytes);
    for (const auto& [partition, number] : rows.rows) {
        out.u16_be(partition);
        out.u32_be(number);
    }
    return bytes;
}

Result<UserRows> decode_user_rows(std::string_view bytes) {
    ByteReader in(bytes);
    UserRows rows;
    version(in);
    rows.many = get_bool(in);
    while (in.ok() && !in.at_end()) {
        const std::uint16_t partition = in.u16_be();
        const Address row{partition, in.u32_be()};
        const bool ascends = rows.rows.empty() || rows.rows.back() < row;
        if (rows.many || !ascends || rows.rows.size() == user_rows_max) in.fail();
        rows.rows.push_back(row);
    }
    return checked(in, std::move(rows));
}

std::string encode_handle_entry(bool native) {
    return u8_value(native ? 1 : 0);
}

Result<bool> decode_handle_entry(std::string_view bytes) {
    ByteReader in(bytes);
    version(in);
    const std::uint8_t native = in.u8();
    if (native > 1) in.fail();
    return checked(in, native == 1);
}

std::string encode_installation(const Installation& value, const PartNumbers& parts) {
    std::string bytes;
    bytes.reserve(160 + value.push_channel.size());
    ByteWriter out(bytes);
    out.u8(value_version);
    const bool packs_channel = packs(value.push_channel);
    out.u8(static_cast<std::uint8_t>((value.push_channel_expired ? channel_expired : 0) |
                                     (value.push_channel_is_object ? channel_is_object : 0) |
                                     (packs_channel ? channel_packed : 0) |
                                     (value.expires_ticks != 0 ? end_has_ticks : 0)));
    out.text(value.user_id);
    out.text(value.platform);
    out.text(packs_channel ? pack(value.push_channel) : value.push_channel);
    put_end(out, value.expires_at_ms);
    if (value.expires_ticks != 0) out.varint(value.expires_ticks);
    out.zigzag(value.registered_at_ms);
    out.zigzag(value.updated_at_ms);
    put_texts(out, value.tags);
    out.text(encode_variables(value.push_variables));
    put_templates(out, value.templates);
    out.varint(value.secondary_tiles.size());
    for (const auto& [id, tile] : value.secondary_tiles) put_tile(out, id, tile);
    out.varint(value.version);
    out.varint(parts.size());
    for (const auto& [part, number] : parts) {
        out.text(part);
        out.varint(number);
    }
    return bytes;
}

Result<InstallationRecord> decode_installation(std::string_view id, std::string_view bytes) {
    constexpr std::uint64_t ticks_per_ms = 10'000;
    ByteReader in(bytes);
    InstallationRecord record;
    Installation& value = record.value;
    value.id = id;
    version(in);
    const std::uint8_t flags = in.u8();
    if (flags > all_installation_flags) in.fail();
    value.push_channel_expired = (flags & channel_expired) != 0;
    value.push_channel_is_object = (flags & channel_is_object) != 0;
    value.user_id = in.text();
    value.platform = in.text();
    const std::string_view channel = in.text();
    if ((flags & channel_packed) != 0) {
        unpack(channel, value.push_channel);
    } else {
        value.push_channel = channel;
    }
    value.expires_at_ms = get_end(in);
    if ((flags & end_has_ticks) != 0) {
        const std::uint64_t ticks = in.varint();
        if (ticks == 0 || ticks >= ticks_per_ms) in.fail();
        value.expires_ticks = static_cast<std::uint16_t>(ticks);
    }
    value.registered_at_ms = in.zigzag();
    value.updated_at_ms = in.zigzag();
    value.tags = get_texts(in);
    auto variables = decode_variables(in.text());
    if (!variables) return variables.error();
    value.push_variables = std::move(*variables);
    value.templates = get_templates(in);
    get_tiles(in, value.secondary_tiles);
    value.version = in.varint();
    for (std::uint64_t left = in.count(); left > 0 && in.ok(); --left) {
        std::string part(in.text());
        record.parts.emplace_back(std::move(part), get_number(in));
    }
    return checked(in, std::move(record));
}

namespace {

constexpr std::uint8_t flag_released = 1, flag_gave_up = 2, flag_never_out = 4;
constexpr std::uint8_t flag_deadline_given = 1, flag_per_minute = 2, flag_per_hour = 4,
                       flag_frozen_later = 8,  // of formats before 6: a time, which tells no order
    flag_selected_at = 16;

std::uint8_t flags_of(const Send& send) {
    return static_cast<std::uint8_t>((send.deadline_given ? flag_deadline_given : 0) |
                                     (send.selected_at != 0 ? flag_selected_at : 0) |
                                     (send.rate.period_s == 60 ? flag_per_minute : 0) |
                                     (send.rate.period_s == 3'600 ? flag_per_hour : 0));
}

/// Also takes what follows some of them.
void take_flags(ByteReader& in, Send& send) {
    const std::uint8_t flags = in.u8();
    send.deadline_given = (flags & flag_deadline_given) != 0;
    if ((flags & flag_frozen_later) != 0) in.zigzag();
    if ((flags & flag_selected_at) != 0) {
        send.selected_at = in.varint();
        if (send.selected_at == 0) in.fail();
    }
    const auto period = static_cast<std::uint8_t>(
        flags & ~(flag_deadline_given | flag_frozen_later | flag_selected_at));
    if (period == flag_per_minute) send.rate.period_s = 60;
    if (period == flag_per_hour) send.rate.period_s = 3'600;
    if (period != 0 && send.rate.period_s == 1) in.fail();  // flags that nobody writes
}

}  // namespace

std::string encode_send(const Send& send, const Progress& first, const KeptSelection& selection) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    out.text(send.id);
    out.text(send.format);
    out.text(send.tag_expression);
    out.text(send.body);
    put_pairs(out, send.headers);
    put_texts(out, send.direct_handles);
    out.u8(static_cast<std::uint8_t>(send.delivery));
    out.zigzag(send.enqueued_at_ms);
    out.zigzag(send.scheduled_at_ms);
    out.zigzag(send.deadline_ms);
    out.u8(flags_of(send));
    if (send.selected_at != 0) out.varint(send.selected_at);
    out.varint(send.canary_ppm);
    out.varint(send.rate.count);
    out.text(encode_progress(first));
    out.varint(selection.partitions);
    out.u8(selection.apart ? 1 : 0);
    out.varint(selection.here.size());
    for (const auto& [partition, bitmap] : selection.here) {
        out.u16_be(partition);
        out.text(encode_bitmap(bitmap));
    }
    return bytes;
}

namespace {

KeptSelection get_selection(ByteReader& in) {
    KeptSelection selection;
    selection.partitions = get_partition(in);
    selection.apart = get_bool(in);
    for (std::uint64_t left = in.count(); left > 0 && in.ok(); --left) {
        const std::uint16_t partition = in.u16_be();
        auto bitmap = decode_bitmap(in.text());
        const auto& here = selection.here;
        const bool ascends = here.empty() || here.back().first < partition;
        if (!bitmap || !ascends || partition >= selection.partitions) {
            in.fail();
        } else {
            selection.here.emplace_back(partition, std::move(*bitmap));
        }
    }
    return selection;
}

}  // namespace

Result<SendRecord> decode_send(std::string_view bytes) {
    ByteReader in(bytes);
    SendRecord record;
    Send& send = record.send;
    version(in);
    send.id = in.text();
    send.format = in.text();
    send.tag_expression = in.text();
    send.body = in.text();
    send.headers = get_headers(in);
    send.direct_handles = get_texts(in);
    const std::uint8_t delivery = in.u8();
    if (delivery > static_cast<std::uint8_t>(Delivery::at_most_once)) in.fail();
    send.delivery = static_cast<Delivery>(delivery);
    send.enqueued_at_ms = in.zigzag();
    send.scheduled_at_ms = in.zigzag();
    send.deadline_ms = in.zigzag();
    take_flags(in, send);
    send.canary_ppm = get_number(in);
    send.rate.count = get_number(in);
    auto first = decode_progress(in.text());
    if (!first) return first.error();
    std::tie(record.first, record.first_finished) = std::move(*first);
    record.selection = get_selection(in);
    return checked(in, std::move(record));
}

std::string encode_mark(const Mark& mark) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    out.varint(mark.size());
    for (const auto& [hub, id] : mark) {
        out.u32_be(hub);
        out.text(id);
    }
    return bytes;
}

Result<Mark> decode_mark(std::string_view bytes) {
    ByteReader in(bytes);
    Mark mark;
    version(in);
    for (std::uint64_t left = in.count(); left > 0 && in.ok(); --left) {
        const std::uint32_t hub = in.u32_be();
        mark.emplace_back(hub, in.text());
    }
    return checked(in, std::move(mark));
}

std::string encode_progress(const Progress& progress) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    out.u8(static_cast<std::uint8_t>(progress.state));
    out.zigzag(progress.started_at_ms);
    out.zigzag(progress.ended_at_ms);
    out.varint(progress.counts.size());
    for (const auto& [key, count] : progress.counts) {
        out.text(key.first);
        out.text(key.second);
        out.varint(count);
    }
    out.varint(progress.finished.size());
    out.varint(progress.audience);
    out.zigzag(progress.first_push_ms);
    out.zigzag(progress.last_push_ms);
    out.zigzag(progress.waits_since_ms);
    out.zigzag(progress.deadline_ms);
    out.u8(static_cast<std::uint8_t>((progress.released ? flag_released : 0) |
                                     (progress.gave_up ? flag_gave_up : 0) |
                                     (progress.never_out ? flag_never_out : 0)));
    out.varint(progress.latency.size());
    for (const auto& [bucket, count] : progress.latency) {
        out.u8(bucket);
        out.varint(count);
    }
    if (progress.never_out) out.varint(*progress.never_out);
    return bytes;
}

Result<std::pair<Progress, std::uint16_t>> decode_progress(std::string_view bytes) {
    ByteReader in(bytes);
    std::pair<Progress, std::uint16_t> both;
    Progress& progress = both.first;
    version(in);
    const std::uint8_t state = in.u8();
    if (state > static_cast<std::uint8_t>(SendState::canceling)) in.fail();
    progress.state = static_cast<SendState>(state);
    progress.started_at_ms = in.zigzag();
    progress.ended_at_ms = in.zigzag();
    for (std::uint64_t left = in.count(); left > 0 && in.ok(); --left) {
        std::string platform(in.text());
        std::string outcome(in.text());
        const std::uint64_t count = in.varint();
        progress.counts[{std::move(platform), std::move(outcome)}] = count;
    }
    both.second = get_partition(in);
    progress.audience = in.varint();
    progress.first_push_ms = in.zigzag();
    progress.last_push_ms = in.zigzag();
    progress.waits_since_ms = in.zigzag();
    progress.deadline_ms = in.zigzag();
    const std::uint8_t flags = in.u8();
    if (flags > (flag_released | flag_gave_up | flag_never_out)) in.fail();
    progress.released = (flags & flag_released) != 0;
    progress.gave_up = (flags & flag_gave_up) != 0;
    for (std::uint64_t left = in.count(); left > 0 && in.ok(); --left) {
        const std::uint8_t bucket = in.u8();
        progress.latency[bucket] = in.varint();
    }
    if ((flags & flag_never_out) != 0) progress.never_out = in.varint();
    return checked(in, std::move(both));
}

namespace {
constexpr std::uint8_t failures_version = 4;
}

std::string encode_failures(const std::vector<DeviceFailure>& failures) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(failures_version);
    out.varint(failures.size());
    for (const DeviceFailure& failure : failures) {
        out.u16_be(failure.partition);
        out.varint(failure.number);
        out.text(failure.platform);
        out.text(failure.outcome);
        out.text(failure.handle);
        out.text(failure.registration_id);
        out.text(failure.installation_id);
        out.text(failure.new_handle);
        out.zigzag(failure.at_ms);
        out.text(failure.reason);
    }
    return bytes;
}

Result<std::vector<DeviceFailure>> decode_failures(std::string_view bytes) {
    ByteReader in(bytes);
    std::vector<DeviceFailure> failures;
    const std::uint8_t told = in.u8();
    if (told != failures_version && told != value_version) in.fail();
    for (std::uint64_t left = in.count(); left > 0 && in.ok(); --left) {
        DeviceFailure& failure = failures.emplace_back();
        failure.partition = in.u16_be();
        failure.number = get_number(in);
        failure.platform = in.text();
        failure.outcome = in.text();
        failure.handle = in.text();
        failure.registration_id = in.text();
        failure.installation_id = in.text();
        failure.new_handle = in.text();
        failure.at_ms = in.zigzag();
        if (told == failures_version) failure.reason = in.text();
    }
    return checked(in, std::move(failures));
}

std::uint64_t Selection::count() const {
    std::uint64_t total = 0;
    for (const Bitmap& bitmap : partitions) total += bitmap.cardinality();
    return total;
}

std::string encode_answer(const KeptAnswer& answer) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(1);
    out.text(answer.fingerprint);
    out.zigzag(answer.kept_at_ms);
    out.zigzag(answer.expires_at_ms);
    out.varint(answer.status);
    put_pairs(out, answer.headers);
    out.text(answer.body);
    return bytes;
}

std::string encode_answer_counts(const AnswerCounts& counts) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    out.varint(counts.answers);
    out.varint(counts.units.size());
    for (const auto& [scope, units] : counts.units) {
        out.text(scope);
        out.varint(units);
    }
    return bytes;
}

Result<AnswerCounts> decode_answer_counts(std::string_view bytes) {
    ByteReader in(bytes);
    version(in);
    AnswerCounts counts;
    counts.answers = in.varint();
    for (std::uint64_t left = in.count(); left > 0 && in.ok(); --left) {
        std::string scope(in.text());
        const std::uint64_t units = in.varint();
        const bool ordered = counts.units.empty() || counts.units.rbegin()->first < scope;
        if (!ordered || units == 0) in.fail();
        counts.units.emplace_hint(counts.units.end(), std::move(scope), units);
    }
    return checked(in, std::move(counts));
}

Result<KeptAnswer> decode_answer(std::string_view bytes) {
    ByteReader in(bytes);
    KeptAnswer answer;
    if (in.u8() != 1) in.fail();
    answer.fingerprint = in.text();
    answer.kept_at_ms = in.zigzag();
    answer.expires_at_ms = in.zigzag();
    const std::uint64_t status = in.varint();
    if (status > 999) in.fail();
    answer.status = static_cast<std::uint16_t>(status);
    answer.headers = get_headers(in);
    answer.body = in.text();
    return checked(in, std::move(answer));
}

}  // namespace registry
