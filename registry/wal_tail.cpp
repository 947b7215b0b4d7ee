// The RocksDB log format: blocks of 32 KiB; in them records of
//   le32 masked CRC-32C of type and payload, le16 length, u8 type, payload
// Types: 1 a whole batch, 2 its first, 3 a middle, 4 its last piece. Fewer than 7 bytes left in a
// block are zeros. (RocksDB wiki, "Write Ahead Log File Format"; logs are not recycled here, so
// other types do not occur.)

#include "registry/wal_tail.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>

namespace registry {
namespace {

constexpr std::size_t block_bytes = 32u << 10;
constexpr std::size_t header_bytes = 7;

std::uint32_t crc32c(std::string_view bytes) {
    static const auto table = [] {
        std::array<std::uint32_t, 256> entries{};
        for (std::uint32_t i = 0; i < entries.size(); ++i) {
            std::uint32_t value = i;
            for (int bit = 0; bit < 8; ++bit) {
                value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78u : 0u);
            }
            entries[i] = value;
        }
        return entries;
    }();
    std::uint32_t crc = ~0u;
    for (const char byte : bytes) {
        crc = table[(crc ^ static_cast<std::uint8_t>(byte)) & 0xff] ^ (crc >> 8);
    }
    return ~crc;
}

struct Record {
    bool valid = false;
    bool begins_batch = false;
    std::size_t size = 0;  ///< with its header
};

Record record_at(std::string_view block, std::size_t offset) {
    const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(block[offset + i]); };
    Record record;
    if (offset + header_bytes > block.size()) return record;
    const std::size_t length = byte(4) + 256u * byte(5);
    const std::uint8_t type = byte(6);
    if (type < 1 || type > 4 || offset + header_bytes + length > block.size()) return record;
    const std::uint32_t stored = byte(0) | static_cast<std::uint32_t>(byte(1)) << 8 |
                                 static_cast<std::uint32_t>(byte(2)) << 16 |
                                 static_cast<std::uint32_t>(byte(3)) << 24;
    const std::uint32_t crc = crc32c(block.substr(offset + 6, 1 + length));
    const std::uint32_t masked = ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
    record.valid = masked == stored;
    record.begins_batch = type <= 2;
    record.size = header_bytes + length;
    return record;
}

std::filesystem::path newest_log(const std::filesystem::path& store) {
    std::filesystem::path newest;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(store, ignored)) {
        if (entry.path().extension() != ".log") continue;
        if (newest.empty() || entry.path().filename() > newest.filename()) newest = entry.path();
    }
    return newest;
}

/// Walks one block. `torn` is set at the first bad record; false: a batch begins after one.
bool walk(std::string_view block, bool& torn) {
    std::size_t at = 0;
    while (at + header_bytes <= block.size()) {
        const Record record = record_at(block, at);
        if (torn && record.valid && record.begins_batch) return false;
        if (!record.valid) torn = true;
        at += record.valid ? record.size : 1;
    }
    return true;
}

}  // namespace

bool log_is_torn(const std::filesystem::path& store) {
    std::ifstream file(newest_log(store), std::ios::binary);
    std::string block(block_bytes, '\0');
    bool torn = false;
    while (file) {
        file.read(block.data(), static_cast<std::streamsize>(block_bytes));
        const auto got = static_cast<std::size_t>(file.gcount());
        if (!walk(std::string_view(block).substr(0, got), torn)) return false;
    }
    return torn;
}

}  // namespace registry
