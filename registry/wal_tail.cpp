// The RocksDB log format: blocks of 32 KiB; in them records of
//   le32 masked CRC-32C of type and payload, le16 length, u8 type, payload
// Types: 1 a whole batch, 2 its first, 3 a middle, 4 its last piece. Fewer than 7 bytes left in a
// block are zeros. (RocksDB wiki, "Write Ahead Log File Format"; logs are not recycled here, so
// other types do not occur.) A batch begins with the le64 sequence number of its first change.

#include "registry/wal_tail.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
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

/// Six digits at first, more later: compared as numbers.
std::uint64_t number_of(const std::filesystem::path& log) {
    return std::strtoull(log.stem().c_str(), nullptr, 10);
}

std::filesystem::path newest_log(const std::filesystem::path& store) {
    std::filesystem::path newest;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(store, ignored)) {
        if (entry.path().extension() != ".log") continue;
        if (newest.empty() || number_of(entry.path()) > number_of(newest)) newest = entry.path();
    }
    return newest;
}

/// Walks one block from `at` on. `torn` is set at the first bad record; false: a batch begins after
/// one.
bool walk(std::string_view block, std::size_t at, bool& torn) {
    while (at + header_bytes <= block.size()) {
        const Record record = record_at(block, at);
        if (torn && record.valid && record.begins_batch) return false;
        if (!record.valid) torn = true;
        at += record.valid ? record.size : 1;
    }
    return true;
}

/// Walks the batches of a log by their lengths, without a look at their sums.
class Batches {
  public:
    explicit Batches(const std::filesystem::path& log) : file_(log, std::ios::binary) {}

    /// False at the end of the log, or where it cannot go on.
    bool next() {
        begin_ = at_;
        head_.clear();
        for (bool last = false; !last;) {
            if (!fill()) return false;
            const std::size_t in_block = at_ - block_begin_;
            const auto byte = [&](std::size_t i) {
                return static_cast<std::uint8_t>(block_[in_block + i]);
            };
            const std::size_t size = header_bytes + byte(4) + 256u * byte(5);
            const std::uint8_t type = byte(6);
            const bool fits = pieces_ == 0 ? type == 1 || type == 2 : type == 3 || type == 4;
            if (!fits || in_block + size > block_.size()) return false;
            head_.append(block_, in_block + header_bytes,
                         std::min<std::size_t>(size - header_bytes, 8 - head_.size()));
            ++pieces_;
            at_ += size;
            last = type == 1 || type == 4;
        }
        pieces_ = 0;
        return head_.size() == 8;
    }

    std::uint64_t begin() const { return begin_; }
    std::uint64_t end() const { return at_; }
    std::uint64_t sequence() const {
        std::uint64_t value = 0;
        for (std::size_t i = 8; i-- > 0;) value = value << 8 | static_cast<std::uint8_t>(head_[i]);
        return value;
    }
    /// After next() was false: there is nothing but whole batches.
    bool ends_whole() const { return pieces_ == 0 && at_ == block_begin_ + block_.size(); }

  private:
    /// Has a record's header at at_ in block_. False at the end of the file, or too near to it.
    bool fill() {
        while (true) {
            const std::uint64_t in_block = at_ - block_begin_;
            if (in_block + header_bytes <= block_.size()) return true;
            if (!file_ || (!block_.empty() && block_.size() < block_bytes)) return false;
            const bool at_begin = pieces_ == 0;
            block_begin_ += block_.size();
            at_ = block_begin_;  // past what is too short for a header
            if (at_begin) begin_ = at_;
            block_.resize(block_bytes);
            file_.read(block_.data(), static_cast<std::streamsize>(block_bytes));
            block_.resize(static_cast<std::size_t>(file_.gcount()));
        }
    }

    std::ifstream file_;
    std::string block_, head_;
    std::uint64_t block_begin_ = 0, at_ = 0, begin_ = 0;
    std::size_t pieces_ = 0;
};

enum class Rest {
    sound,    ///< every record has the right sum
    torn,     ///< one has not, and no batch begins behind it
    goes_on,  ///< a batch does
};
Rest rest_of(const std::filesystem::path& log, std::uint64_t offset) {
    std::ifstream file(log, std::ios::binary);
    std::string block(block_bytes, '\0');
    std::size_t skip = offset % block_bytes;
    file.seekg(static_cast<std::streamoff>(offset - skip));
    bool torn = false;
    while (file) {
        file.read(block.data(), static_cast<std::streamsize>(block_bytes));
        const auto got = static_cast<std::size_t>(file.gcount());
        if (got > skip && !walk(std::string_view(block).substr(0, got), skip, torn))
            return Rest::goes_on;
        skip = 0;
    }
    return torn ? Rest::torn : Rest::sound;
}

}  // namespace

LogEnd newest_log_end(const std::filesystem::path& store) {
    const auto log = newest_log(store);
    Batches batches(log);
    while (batches.next()) {
    }
    if (batches.ends_whole()) return LogEnd::whole;
    return rest_of(log, batches.begin()) == Rest::goes_on ? LogEnd::damaged : LogEnd::torn;
}

bool log_is_torn(const std::filesystem::path& store) {
    return rest_of(newest_log(store), 0) == Rest::torn;
}

bool cut_log_after(const std::filesystem::path& store, std::uint64_t sequence) {
    const auto log = newest_log(store);
    if (log.empty()) return true;
    Batches batches(log);
    std::uint64_t kept = 0;
    while (batches.next() && batches.sequence() <= sequence) kept = batches.end();
    const int file = ::open(log.c_str(), O_WRONLY | O_CLOEXEC);
    if (file < 0) return false;
    const bool cut = ::ftruncate(file, static_cast<off_t>(kept)) == 0 && ::fsync(file) == 0;
    ::close(file);
    return cut;
}

}  // namespace registry
