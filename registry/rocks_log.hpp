#pragma once

// RocksDB's own log, `LOG` beside its files. The one that RocksDB brings ends the process at the
// first line after a write to it has failed (7.8 with assertions, as Debian builds it): a full disk
// would do that. Here a line that cannot be written is lost.

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
