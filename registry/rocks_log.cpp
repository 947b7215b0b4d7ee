#include "registry/rocks_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <system_error>

namespace registry {
namespace {

constexpr std::size_t line_bytes_max = 4'096;

}  // namespace

RocksLog::RocksLog(const std::filesystem::path& directory)
    : Logger(rocksdb::InfoLogLevel::WARN_LEVEL), path_(directory / "LOG") {}

RocksLog::~RocksLog() {
    if (file_ >= 0) ::close(file_);
}

void RocksLog::Logv(const char* format, va_list arguments) {
    std::array<char, line_bytes_max> line{};
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    gmtime_r(&now, &utc);
    std::size_t bytes = std::strftime(line.data(), line.size(), "%Y-%m-%dT%H:%M:%SZ ", &utc);
    const std::size_t room = line.size() - bytes - 1;  // for the end of the line
    const int written = std::vsnprintf(line.data() + bytes, room, format, arguments);
    bytes +=
        std::clamp<std::size_t>(written < 0 ? 0 : static_cast<std::size_t>(written), 0, room - 1);
    if (line[bytes - 1] != '\n') line[bytes++] = '\n';
    const std::lock_guard lock(mutex_);
    append(line.data(), bytes);
}

void RocksLog::append(const char* line, std::size_t bytes) {
    if (bytes_ > log_file_bytes_max) {
        std::filesystem::path old = path_;
        old += ".old";
        std::error_code ignored;
        std::filesystem::rename(path_, old, ignored);
        if (file_ >= 0) ::close(file_);
        file_ = -1;
    }
    if (file_ < 0) {
        file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        struct stat info {};
        if (file_ < 0 || ::fstat(file_, &info) != 0) return;
        bytes_ = static_cast<std::uint64_t>(info.st_size);
    }
    if (::write(file_, line, bytes) > 0) bytes_ += bytes;
}

}  // namespace registry
