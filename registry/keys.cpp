// The keys of registry/keys.hpp. Values are in values.cpp, posting chunks in chunks.cpp.
//
// Each function builds or reads one key of the grammar in the header, and nothing else in the tree
// knows their bytes. Numbers are big-endian, so keys sort as numbers do. A key that does not
// decode is errc::corrupt, never an assertion. Pure, any thread.

#include "registry/keys.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>

#include "registry/bytes.hpp"

namespace registry {
namespace {

constexpr std::size_t hub_bytes = 4;
constexpr std::size_t head_bytes = hub_bytes + 1;  // hub, space
constexpr std::size_t place_bytes = 2 + 2;         // partition, chunk
constexpr char end_mark = 'e';

std::string with_hub(std::string_view prefix, std::uint32_t hub, std::size_t extra = 0) {
    std::string key;
    key.reserve(prefix.size() + 4 + extra);
    ByteWriter out(key);
    out.raw(prefix);
    out.u32_be(hub);
    return key;
}

}  // namespace

std::uint64_t hash64(std::string_view bytes, std::uint64_t seed) {
    std::uint64_t hash = 0xcbf29ce484222325 ^ (seed * 0x9e3779b97f4a7c15);
    for (const char byte : bytes) {
        hash = (hash ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3;
    }
    hash ^= bytes.size();
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
    return hash ^ (hash >> 31);
}

std::string fold(std::string_view text) {
    std::string folded(text);
    for (char& c : folded) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return folded;
}

std::string hub_key(std::uint32_t hub) {
    return with_hub(hub_key_prefix, hub);
}
std::string count_key(std::uint32_t hub) {
    return with_hub("c", hub);
}
std::string answer_count_key(std::uint32_t hub) {
    return with_hub("k", hub);
}
std::string answer_units_key(std::uint32_t hub) {
    return with_hub("r", hub);
}
std::string ended_bytes_key(std::uint32_t hub) {
    return with_hub("l", hub);
}
std::string hub_prefix(std::uint32_t hub) {
    return with_hub("", hub);
}

std::string partition_prefix(std::uint32_t hub, std::uint16_t partition) {
    std::string key = with_hub("", hub, 6);
    ByteWriter(key).u16_be(partition);
    return key;
}

std::string row_key(std::uint32_t hub, std::uint16_t partition, std::uint32_t number) {
    std::string key = partition_prefix(hub, partition);
    ByteWriter(key).u32_be(number);
    return key;
}

std::string id_key(std::uint32_t hub, std::string_view id) {
    std::string key = with_hub("", hub, id.size());
    key.append(id);
    return key;
}

std::string installation_key(std::uint32_t hub, std::string_view id) {
    std::string key = with_hub("", hub, 2 * id.size() + 1);
    const std::string folded = fold(id);
    key.append(folded);
    key.push_back('\0');
    if (folded != id) key.append(id);
    return key;
}

std::size_t installation_prefix_size(std::string_view key) {
    const std::size_t end = key.find('\0', hub_bytes);
    return end == std::string_view::npos ? 0 : end + 1;
}

std::string installation_id(std::string_view key) {
    const std::size_t end = installation_prefix_size(key);
    assert(end != 0);
    const std::string_view spelled = key.substr(end);
    return std::string(spelled.empty() ? key.substr(hub_bytes, end - 1 - hub_bytes) : spelled);
}

std::string user_key(std::uint32_t hub, std::string_view user_id) {
    return id_key(hub, user_id);
}

std::string handle_prefix(std::uint32_t hub, std::string_view handle, bool native) {
    std::string key = with_hub("", hub, 14);
    ByteWriter(key).u64_be((hash64(handle) & ~std::uint64_t{1}) | (native ? 0 : 1));
    return key;
}

std::string handle_key(std::uint32_t hub, std::string_view handle, bool native, Address address) {
    return handle_key(handle_prefix(hub, handle, native), address);
}

std::string handle_key(std::string prefix, Address address) {
    ByteWriter out(prefix);
    out.u16_be(address.partition);
    out.u32_be(address.number);
    return prefix;
}

std::string handle_key_of_kind(std::string_view key, bool native) {
    assert(key.size() >= handle_prefix_bytes);
    std::string moved(key);
    char& last = moved[handle_prefix_bytes - 1];
    last = static_cast<char>((last & ~1) | (native ? 0 : 1));
    return moved;
}

Result<Address> address_at_end(std::string_view key) {
    if (key.size() < 6) return make_error_code(errc::corrupt);
    ByteReader in(key.substr(key.size() - 6));
    const std::uint16_t partition = in.u16_be();
    return Address{partition, in.u32_be()};
}

namespace {

void set_posting_name_prefix(std::string& key, std::uint32_t hub, PostingSpace space,
                             std::string_view name) {
    key.clear();
    key.reserve(head_bytes + 2 + name.size() + place_bytes);
    ByteWriter out(key);
    out.u32_be(hub);
    out.u8(static_cast<std::uint8_t>(space));
    out.text(name);
}

}  // namespace

std::string posting_name_prefix(std::uint32_t hub, PostingSpace space, std::string_view name) {
    std::string key;
    set_posting_name_prefix(key, hub, space, name);
    return key;
}

void set_posting_prefix(std::string& key, std::uint32_t hub, std::uint16_t partition,
                        PostingSpace space, std::string_view name) {
    set_posting_name_prefix(key, hub, space, name);
    ByteWriter(key).u16_be(partition);
}

std::string posting_prefix(std::uint32_t hub, std::uint16_t partition, PostingSpace space,
                           std::string_view name) {
    std::string key;
    set_posting_prefix(key, hub, partition, space, name);
    return key;
}

std::string chunk_key(std::string_view prefix, std::uint16_t chunk) {
    std::string key(prefix);
    ByteWriter(key).u16_be(chunk);
    return key;
}

std::size_t posting_name_size(std::string_view key) {
    if (key.size() < head_bytes) return 0;
    ByteReader in(key.substr(head_bytes));
    in.text();
    return in.ok() ? key.size() - in.left() : 0;
}

PostingPlace posting_place(std::string_view key) {
    assert(key.size() >= place_bytes);
    ByteReader in(key.substr(key.size() - place_bytes));
    const std::uint16_t partition = in.u16_be();
    return {partition, in.u16_be()};
}

std::string posting_name(std::string_view key) {
    if (key.size() < head_bytes) return "?";
    ByteReader in(key.substr(4));
    const bool tag = in.u8() == static_cast<std::uint8_t>(PostingSpace::tag);
    const std::string_view name = in.text();
    return (tag ? "tag '" : "internal '") + std::string(name) + "' of partition " +
           std::to_string(in.u16_be());
}

std::uint64_t minute_of(std::int64_t time_ms) {
    constexpr std::int64_t minute_ms = 60'000;
    return static_cast<std::uint64_t>(std::max<std::int64_t>(time_ms, 0) / minute_ms);
}

std::string end_name(std::uint64_t minute) {
    std::string name(1, end_mark);
    ByteWriter(name).u64_be(minute);
    return name;
}

std::optional<std::uint64_t> minute_in(std::string_view key) {
    if (key.size() < head_bytes) return std::nullopt;
    ByteReader in(key.substr(hub_bytes));
    const std::uint8_t space = in.u8();
    ByteReader name(in.text());
    const std::uint8_t mark = name.u8();
    const std::uint64_t minute = name.u64_be();
    const bool ours = space == static_cast<std::uint8_t>(PostingSpace::internal);
    if (!in.ok() || !name.at_end() || !ours || mark != static_cast<std::uint8_t>(end_mark))
        return std::nullopt;
    return minute;
}

std::string part_id(std::string_view installation_id, std::string_view part, Address place) {
    std::string name(installation_id);
    name.push_back('\0');
    name.append(part);
    std::string id;
    id.reserve(48);
    const auto append = [&id](std::uint64_t number) {
        std::array<char, 20> digits;
        const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
        id.append(digits.data(), end);
    };
    append(part_ids_from + place.number);
    id += '-';
    append(hash64(name) >> 1);
    id += '-';
    append(std::uint64_t{place.partition} + 1);
    return id;
}

namespace {

/// The groups of `<number>-<hash>-<partition + 1>`.
struct IdGroups {
    std::uint64_t number = 0, hash = 0;
    std::uint32_t partition = 0;
};

std::optional<IdGroups> id_groups(std::string_view id) {
    const char* at = id.data();
    const char* const end = at + id.size();
    IdGroups out;
    const auto group = [&](auto& value, bool last) {
        const auto [stop, error] = std::from_chars(at, end, value);
        if (error != std::errc() || (last ? stop != end : stop == end || *stop != '-'))
            return false;
        at = stop + 1;
        return true;
    };
    if (!group(out.number, false) || !group(out.hash, false) || !group(out.partition, true))
        return std::nullopt;
    if (out.partition == 0 || out.partition > 0x1'0000) return std::nullopt;
    return out;
}

}  // namespace

bool is_issued_form(std::string_view id) {
    const auto groups = id_groups(id);
    return groups && groups->number < part_ids_from;
}

std::optional<Address> part_place(std::string_view id) {
    const auto groups = id_groups(id);
    if (!groups || groups->number < part_ids_from || groups->number - part_ids_from > 0xffff'ffff)
        return std::nullopt;
    return Address{static_cast<std::uint16_t>(groups->partition - 1),
                   static_cast<std::uint32_t>(groups->number - part_ids_from)};
}

std::string ledger_hub_prefix(LedgerKind kind, std::uint32_t hub) {
    const char head = static_cast<char>(kind);
    return with_hub({&head, 1}, hub);
}

std::string ledger_key(LedgerKind kind, std::uint32_t hub, std::string_view send_id) {
    std::string key = ledger_hub_prefix(kind, hub);
    ByteWriter(key).text(send_id);
    return key;
}

std::string ledger_key(LedgerKind kind, std::uint32_t hub, std::string_view send_id,
                       std::uint16_t partition) {
    std::string key = ledger_key(kind, hub, send_id);
    ByteWriter(key).u16_be(partition);
    return key;
}

Result<std::pair<std::uint32_t, std::string>> decode_ledger_key(std::string_view key) {
    ByteReader in(key);
    in.u8();
    const std::uint32_t hub = in.u32_be();
    const std::string_view id = in.text();
    if (!in.ok()) return make_error_code(errc::corrupt);
    return std::pair{hub, std::string(id)};
}

std::string mark_key(std::uint64_t position) {
    std::string key(1, static_cast<char>(LedgerKind::mark));
    ByteWriter(key).u64_be(position);
    return key;
}

Result<std::uint64_t> decode_mark_key(std::string_view key) {
    ByteReader in(key);
    const std::uint8_t kind = in.u8();
    const std::uint64_t position = in.u64_be();
    if (!in.at_end() || kind != static_cast<std::uint8_t>(LedgerKind::mark)) {
        return make_error_code(errc::corrupt);
    }
    return position;
}

std::string ended_key(const EndedKey& key) {
    std::string bytes(1, static_cast<char>(LedgerKind::ended));
    ByteWriter out(bytes);
    assert(key.at_ms >= 0);
    out.u64_be(static_cast<std::uint64_t>(key.at_ms));
    out.u32_be(key.hub);
    out.text(key.send_id);
    return bytes;
}

Result<EndedKey> decode_ended_key(std::string_view key) {
    ByteReader in(key);
    EndedKey value;
    const std::uint8_t kind = in.u8();
    value.at_ms = static_cast<std::int64_t>(in.u64_be());
    value.hub = in.u32_be();
    value.send_id = in.text();
    if (!in.at_end() || value.at_ms < 0 || kind != static_cast<std::uint8_t>(LedgerKind::ended)) {
        return make_error_code(errc::corrupt);
    }
    return value;
}

std::string answer_key(std::uint32_t hub, std::string_view scope, std::string_view key) {
    std::string bytes = ledger_hub_prefix(LedgerKind::answer, hub);
    ByteWriter out(bytes);
    out.text(scope);
    out.text(key);
    return bytes;
}

std::string answer_expiry_key(const AnswerExpiryKey& key) {
    std::string bytes(1, static_cast<char>(LedgerKind::answer_expiry));
    ByteWriter out(bytes);
    assert(key.at_ms >= 0);
    out.u64_be(static_cast<std::uint64_t>(key.at_ms));
    out.u32_be(key.hub);
    out.text(key.scope);
    out.text(key.key);
    return bytes;
}

Result<AnswerExpiryKey> decode_answer_expiry_key(std::string_view key) {
    ByteReader in(key);
    AnswerExpiryKey value;
    const std::uint8_t kind = in.u8();
    value.at_ms = static_cast<std::int64_t>(in.u64_be());
    value.hub = in.u32_be();
    value.scope = in.text();
    value.key = in.text();
    if (!in.at_end() || value.at_ms < 0 ||
        kind != static_cast<std::uint8_t>(LedgerKind::answer_expiry)) {
        return make_error_code(errc::corrupt);
    }
    return value;
}

Result<std::string> decode_answer_scope(std::string_view key) {
    ByteReader in(key);
    const std::uint8_t kind = in.u8();
    in.u32_be();
    std::string scope(in.text());
    in.text();
    if (!in.at_end() || kind != static_cast<std::uint8_t>(LedgerKind::answer))
        return make_error_code(errc::corrupt);
    return scope;
}

std::string after_prefix(std::string prefix) {
    while (!prefix.empty() && static_cast<std::uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
    if (!prefix.empty()) {
        prefix.back() = static_cast<char>(static_cast<std::uint8_t>(prefix.back()) + 1);
    }
    return prefix;
}

}  // namespace registry
