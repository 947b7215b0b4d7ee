// Posting chunks, their merge operands, and bitmaps made of chunks. Layouts: registry/keys.hpp.
//
// A chunk holds the numbers of one posting that share their upper 16 bits, as an array, a bit set
// or runs, whichever is shortest. Operands say what was added and removed; RocksDB merges them
// here, also in its own threads. Sparse operands are merged as lists. BitmapBuilder hands whole
// chunks to CRoaring without inserting number by number. Pure; a chunk that cannot be read is told
// to the caller.

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

#include "registry/bytes.hpp"
#include "registry/keys.hpp"

static_assert(std::endian::native == std::endian::little, "chunks are copied as they are stored");

namespace registry {
namespace {

enum class ChunkKind : std::uint8_t { array = 0, bits = 1, runs = 2 };

constexpr std::size_t words_bytes = 1024 * 8;
constexpr std::size_t array_count_max =
    4096;  // beyond it 8 KiB of bits are smaller; CRoaring's limit too

std::uint16_t le16_at(std::string_view bytes, std::size_t index) {
    std::uint16_t value = 0;
    std::memcpy(&value, bytes.data() + 2 * index, 2);
    return value;
}

/// std::popcount is a call unless the compiler may count on the instruction.
std::uint64_t ones(std::uint64_t word) {
    word -= (word >> 1) & 0x5555'5555'5555'5555;
    word = (word & 0x3333'3333'3333'3333) + ((word >> 2) & 0x3333'3333'3333'3333);
    return (((word + (word >> 4)) & 0x0f0f'0f0f'0f0f'0f0f) * 0x0101'0101'0101'0101) >> 56;
}

struct Shape {
    std::size_t count = 0, runs = 0;
};

Shape shape_of(const Chunk& chunk) {
    Shape shape;
    std::uint64_t carry = 0;  // the number before this word
    for (const std::uint64_t word : chunk.words) {
        if (word != 0) {
            shape.count += ones(word);
            shape.runs += ones(word & ~((word << 1) | carry));
        }
        carry = word >> 63;
    }
    return shape;
}

void append_numbers(const Chunk& chunk, std::string& bytes) {
    ByteWriter out(bytes);
    for (std::size_t i = 0; i < chunk.words.size(); ++i) {
        for (std::uint64_t rest = chunk.words[i]; rest != 0; rest &= rest - 1)
            out.u16_le(static_cast<std::uint16_t>(
                (i << 6) + static_cast<std::size_t>(std::countr_zero(rest))));
    }
}

/// Calls `each(first, last)` for every run of set bits, ascending.
template <class Each>
void for_each_run(const Chunk& chunk, Each&& each) {
    std::uint32_t at = 0;
    const auto skip = [&](bool set) {
        while (at < 65'536) {
            const std::uint64_t word = chunk.words[at >> 6] ^ (set ? ~std::uint64_t{0} : 0);
            const std::uint64_t rest = word >> (at & 63);
            if (rest != 0) {
                at += static_cast<std::uint32_t>(std::countr_zero(rest));
                return;
            }
            at = (at | 63) + 1;
        }
    };
    while (true) {
        skip(false);
        if (at >= 65'536) return;
        const std::uint32_t first = at;
        skip(true);
        each(static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(at - 1));
    }
}

void add_range(Chunk& chunk, std::uint32_t first, std::uint32_t last) {
    for (std::uint32_t at = first; at <= last;) {
        if ((at & 63) == 0 && at + 63 <= last) {
            chunk.words[at >> 6] = ~std::uint64_t{0};
            at += 64;
        } else {
            chunk.add(static_cast<std::uint16_t>(at++));
        }
    }
}

bool ascending(std::string_view list) {
    for (std::size_t i = 1; i < list.size() / 2; ++i) {
        if (le16_at(list, i - 1) >= le16_at(list, i)) return false;
    }
    return list.size() % 2 == 0;
}

/// Kind and payload of a chunk value; false if its head is bad.
bool split(std::string_view bytes, ChunkKind& kind, std::string_view& payload) {
    if (bytes.size() < 2 || bytes[0] != value_version || bytes[1] < 0 || bytes[1] > 2) return false;
    kind = static_cast<ChunkKind>(bytes[1]);
    payload = bytes.substr(2);
    return true;
}

}  // namespace

std::size_t Chunk::count() const {
    return shape_of(*this).count;
}

std::string encode_chunk(const Chunk& chunk) {
    const auto [count, runs] = shape_of(chunk);
    const std::size_t array_bytes = 2 * count;
    const std::size_t run_bytes = 4 * runs;
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    if (run_bytes < std::min(array_bytes, words_bytes)) {
        out.u8(static_cast<std::uint8_t>(ChunkKind::runs));
        for_each_run(chunk, [&](std::uint16_t first, std::uint16_t last) {
            out.u16_le(first);
            out.u16_le(last);
        });
    } else if (count <= array_count_max) {
        out.u8(static_cast<std::uint8_t>(ChunkKind::array));
        append_numbers(chunk, bytes);
    } else {
        out.u8(static_cast<std::uint8_t>(ChunkKind::bits));
        bytes.append(reinterpret_cast<const char*>(chunk.words.data()), words_bytes);
    }
    return bytes;
}

bool decode_chunk(std::string_view bytes, Chunk& chunk) {
    ChunkKind kind{};
    std::string_view payload;
    if (!split(bytes, kind, payload)) return false;
    chunk.words.fill(0);
    if (kind == ChunkKind::bits) {
        if (payload.size() != words_bytes) return false;
        std::memcpy(chunk.words.data(), payload.data(), words_bytes);
        return true;
    }
    if (kind == ChunkKind::array) {
        if (!ascending(payload)) return false;
        for (std::size_t i = 0; i < payload.size() / 2; ++i) chunk.add(le16_at(payload, i));
        return true;
    }
    if (payload.size() % 4 != 0) return false;
    std::uint32_t free_from = 0;
    for (std::size_t i = 0; i < payload.size() / 2; i += 2) {
        const std::uint32_t first = le16_at(payload, i);
        const std::uint32_t last = le16_at(payload, i + 1);
        if (first < free_from || last < first) return false;
        add_range(chunk, first, last);
        free_from = last + 2;
    }
    return true;
}

bool chunk_is_empty(std::string_view bytes) {
    ChunkKind kind{};
    std::string_view payload;
    return split(bytes, kind, payload) && payload.empty();
}

std::string encode_operand(const Operand& operand) {
    std::string bytes;
    bytes.reserve(4 + 2 * (operand.added.size() + operand.removed.size()));
    ByteWriter out(bytes);
    out.u8(value_version);
    out.varint(operand.added.size());
    for (const std::uint16_t n : operand.added) out.u16_le(n);
    for (const std::uint16_t n : operand.removed) out.u16_le(n);
    return bytes;
}

namespace {

bool split_operand(std::string_view bytes, std::string_view& added, std::string_view& removed) {
    ByteReader in(bytes);
    if (in.u8() != value_version) return false;
    const std::uint64_t count = in.count();
    if (!in.ok() || 2 * count > in.left()) return false;
    added = in.raw(2 * count);
    removed = in.raw(in.left());
    return ascending(added) && ascending(removed);
}

/// Beyond so many bytes of operands a bit set is faster than lists.
constexpr std::size_t sparse_bytes_max = 512;

bool are_sparse(std::span<const std::string_view> operands) {
    std::size_t bytes = 0;
    for (const std::string_view operand : operands) bytes += operand.size();
    return bytes <= sparse_bytes_max;
}

/// What the operands say last of each number, ascending: twice the number, plus one if it is added.
bool last_words(std::span<const std::string_view> operands, std::vector<std::uint32_t>& words) {
    const auto number = [](std::uint32_t word) { return word >> 1; };
    for (const std::string_view bytes : operands) {
        std::string_view added, removed;
        if (!split_operand(bytes, added, removed)) return false;
        for (std::size_t i = 0; i < added.size() / 2; ++i)
            words.push_back(2U * le16_at(added, i) + 1);
        for (std::size_t i = 0; i < removed.size() / 2; ++i)
            words.push_back(2U * le16_at(removed, i));
    }
    std::stable_sort(words.begin(), words.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return number(a) < number(b); });
    std::size_t kept = 0;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (kept > 0 && number(words[kept - 1]) == number(words[i])) --kept;
        words[kept++] = words[i];
    }
    words.resize(kept);
    return true;
}

/// An ascending list with `words` applied.
std::vector<std::uint16_t> merge_list(std::string_view list,
                                      const std::vector<std::uint32_t>& words) {
    std::vector<std::uint16_t> numbers;
    numbers.reserve(list.size() / 2 + words.size());
    std::size_t at = 0;
    const std::size_t size = list.size() / 2;
    for (const std::uint32_t word : words) {
        const auto number = static_cast<std::uint16_t>(word >> 1);
        for (; at < size && le16_at(list, at) < number; ++at) numbers.push_back(le16_at(list, at));
        if (at < size && le16_at(list, at) == number) ++at;
        if ((word & 1) != 0) numbers.push_back(number);
    }
    for (; at < size; ++at) numbers.push_back(le16_at(list, at));
    return numbers;
}

std::string encode_numbers(const std::vector<std::uint16_t>& numbers) {
    std::size_t runs = 0;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (i == 0 || numbers[i - 1] + 1 != numbers[i]) ++runs;
    }
    if (numbers.size() > array_count_max || 2 * runs < numbers.size()) {
        Chunk chunk;
        for (const std::uint16_t n : numbers) chunk.add(n);
        return encode_chunk(chunk);
    }
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    out.u8(static_cast<std::uint8_t>(ChunkKind::array));
    // As they lie in memory: little-endian, asserted above.
    out.raw({reinterpret_cast<const char*>(numbers.data()), 2 * numbers.size()});
    return bytes;
}

}  // namespace

bool decode_operand(std::string_view bytes, Operand& operand) {
    std::string_view added, removed;
    if (!split_operand(bytes, added, removed)) return false;
    operand.added.clear();
    operand.removed.clear();
    for (std::size_t i = 0; i < added.size() / 2; ++i) operand.added.push_back(le16_at(added, i));
    for (std::size_t i = 0; i < removed.size() / 2; ++i) {
        operand.removed.push_back(le16_at(removed, i));
    }
    std::vector<std::uint16_t> both;
    std::set_intersection(operand.added.begin(), operand.added.end(), operand.removed.begin(),
                          operand.removed.end(), std::back_inserter(both));
    return both.empty();
}

void apply_operand(const Operand& operand, Chunk& chunk) {
    for (const std::uint16_t n : operand.added) chunk.add(n);
    for (const std::uint16_t n : operand.removed) chunk.remove(n);
}

bool merge_chunk(std::string_view value, std::span<const std::string_view> operands,
                 std::string& merged) {
    ChunkKind kind = ChunkKind::array;
    std::string_view payload;
    if (!value.empty() && !split(value, kind, payload)) return false;
    if (kind == ChunkKind::array && are_sparse(operands)) {
        std::vector<std::uint32_t> words;
        if (!ascending(payload) || !last_words(operands, words)) return false;
        merged = encode_numbers(merge_list(payload, words));
        return true;
    }
    Chunk chunk;
    if (!value.empty() && !decode_chunk(value, chunk)) return false;
    Operand operand;
    for (const std::string_view bytes : operands) {
        if (!decode_operand(bytes, operand)) return false;
        apply_operand(operand, chunk);
    }
    merged = encode_chunk(chunk);
    return true;
}

bool merge_operands(std::span<const std::string_view> operands, std::string& merged) {
    std::vector<std::uint32_t> words;
    if (!last_words(operands, words)) return false;
    Operand sum;
    for (const std::uint32_t word : words)
        ((word & 1) != 0 ? sum.added : sum.removed)
            .push_back(static_cast<std::uint16_t>(word >> 1));
    merged = encode_operand(sum);
    return true;
}

bool BitmapBuilder::add(std::uint16_t chunk, std::string_view chunk_value) {
    assert(heads_.empty() || heads_.back().first < chunk);
    ChunkKind kind{};
    std::string_view payload;
    if (!split(chunk_value, kind, payload)) return false;
    if (kind == ChunkKind::array && payload.size() / 2 <= array_count_max) {
        if (!ascending(payload)) return false;
        if (payload.empty()) return true;
        heads_.emplace_back(chunk, static_cast<std::uint32_t>(payload.size() / 2));
        containers_.append(payload);
        return true;
    }
    Chunk bits;
    if (!decode_chunk(chunk_value, bits)) return false;
    const std::size_t count = bits.count();
    if (count == 0) return true;
    heads_.emplace_back(chunk, static_cast<std::uint32_t>(count));
    if (count > array_count_max) {
        containers_.append(reinterpret_cast<const char*>(bits.words.data()), words_bytes);
        return true;
    }
    append_numbers(bits, containers_);
    return true;
}

// Writes the portable form of the Roaring format specification (no run containers) and lets
// CRoaring read it: one copy per chunk instead of one insertion per number. The numbers in it were
// checked above.
Bitmap BitmapBuilder::finish() {
    if (heads_.empty()) return {};
    std::string form;
    const auto le32 = [&](std::uint32_t value) {
        form.append(reinterpret_cast<const char*>(&value), 4);
    };
    le32(12'346);
    le32(static_cast<std::uint32_t>(heads_.size()));
    ByteWriter out(form);
    for (const auto& [chunk, count] : heads_) {
        out.u16_le(chunk);
        out.u16_le(static_cast<std::uint16_t>(count - 1));
    }
    auto offset = static_cast<std::uint32_t>(form.size() + 4 * heads_.size());
    for (const auto& [chunk, count] : heads_) {
        le32(offset);
        offset += count > array_count_max ? static_cast<std::uint32_t>(words_bytes) : 2 * count;
    }
    form.append(containers_);
    heads_.clear();
    containers_.clear();
    return Bitmap::readSafe(form.data(), form.size());
}

namespace {

/// As encode_chunk() of a chunk with one number, which is what sends to one device store.
std::string encode_one(std::uint16_t number) {
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    out.u8(static_cast<std::uint8_t>(ChunkKind::array));
    out.u16_le(number);
    return bytes;
}

}  // namespace

std::string encode_bitmap(const Bitmap& bitmap) {
    std::string body;
    std::size_t chunks = 0;
    Chunk chunk;
    std::vector<std::uint32_t> numbers(bitmap.cardinality());
    bitmap.toUint32Array(numbers.data());
    for (std::size_t i = 0; i < numbers.size(); ++chunks) {
        const std::uint32_t high = numbers[i] >> 16;
        ByteWriter out(body);
        out.u16_be(static_cast<std::uint16_t>(high));
        if (i + 1 == numbers.size() || numbers[i + 1] >> 16 != high) {
            out.text(encode_one(static_cast<std::uint16_t>(numbers[i++] & 0xffff)));
            continue;
        }
        chunk.words.fill(0);
        for (; i < numbers.size() && numbers[i] >> 16 == high; ++i) {
            chunk.add(static_cast<std::uint16_t>(numbers[i] & 0xffff));
        }
        out.text(encode_chunk(chunk));
    }
    std::string bytes;
    ByteWriter out(bytes);
    out.u8(value_version);
    out.varint(chunks);
    out.raw(body);
    return bytes;
}

Result<Bitmap> decode_bitmap(std::string_view bytes) {
    ByteReader in(bytes);
    if (in.u8() != value_version) return make_error_code(errc::corrupt);
    BitmapBuilder builder;
    int before = -1;
    for (std::uint64_t left = in.count(); left > 0; --left) {
        const std::uint16_t chunk = in.u16_be();
        const std::string_view value = in.text();
        if (!in.ok() || chunk <= before || !builder.add(chunk, value)) {
            return make_error_code(errc::corrupt);
        }
        before = chunk;
    }
    if (!in.at_end()) return make_error_code(errc::corrupt);
    return builder.finish();
}

}  // namespace registry
