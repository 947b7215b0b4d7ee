#pragma once

// RocksDB's own log, `LOG` beside its files. RocksDB's logger ends the process at the first line
// after a failed write to that file (7.8 with assertions, as Debian builds it), so a full disk
// would end it. This logger drops a line that cannot be written.

#include <rocksdb/env.h>

#include <cstdint>
#include <filesystem>
#include <mutex>

namespace registry {

/// Keeps `LOG` and one predecessor, `LOG.old`, of at most log_file_bytes_max each. Thread-safe.
class RocksLog final : public rocksdb::Logger {
  public:
    static constexpr std::uint64_t log_file_bytes_max = 8u << 20;

    /// Lines of level warning and above go to `directory`/LOG; none while there is no directory.
    explicit RocksLog(const std::filesystem::path& directory);
    ~RocksLog() override;

    using rocksdb::Logger::Logv;
    void Logv(const char* format, va_list arguments) override;

  private:
    void append(const char* line, std::size_t bytes);

    const std::filesystem::path path_;
    std::mutex mutex_;
    int file_ = -1;
    std::uint64_t bytes_ = 0;
};

}  // namespace registry
