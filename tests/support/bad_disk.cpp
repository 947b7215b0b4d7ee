#include "tests/support/bad_disk.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(what + ": " + std::strerror(errno));
}

bool put_text(const char* file, const std::string& text) {
    const int out = ::open(file, O_WRONLY | O_CLOEXEC);
    if (out < 0) return false;
    const bool done = ::write(out, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    return ::close(out) == 0 && done;
}

void limit_files(pid_t user, rlim_t bytes) {
    if (user <= 0) return;
    const rlimit limit{bytes, RLIM_INFINITY};
    if (::prlimit(user, RLIMIT_FSIZE, &limit, nullptr) != 0) fail("prlimit");
}

std::string read_file(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

bool BadDisk::allowed(std::string& why) {
    const auto uid = std::to_string(::getuid()), gid = std::to_string(::getgid());
    if (::unshare(CLONE_NEWNS) != 0) {
        if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
            why = std::string("no mount namespace of our own: ") + std::strerror(errno);
            return false;
        }
        put_text("/proc/self/setgroups", "deny");
        if (!put_text("/proc/self/uid_map", "0 " + uid + " 1") ||
            !put_text("/proc/self/gid_map", "0 " + gid + " 1")) {
            why = "the user namespace takes no map";
            return false;
        }
    }
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        why = std::string("mounts cannot be made private: ") + std::strerror(errno);
        return false;
    }
    const fs::path probe = fs::temp_directory_path() / ("bad-disk-" + std::to_string(::getpid()));
    fs::create_directory(probe);
    const bool mounted = ::mount("none", probe.c_str(), "tmpfs", 0, "size=1m") == 0;
    if (!mounted) why = std::string("tmpfs cannot be mounted: ") + std::strerror(errno);
    if (mounted) ::umount(probe.c_str());
    fs::remove(probe);
    return mounted;
}

BadDisk::BadDisk(fs::path place, std::uint64_t bytes)
    : place_(std::move(place)), ballast_(place_ / "ballast") {
    const std::string size = "size=" + std::to_string(bytes);
    if (::mount("none", place_.c_str(), "tmpfs", 0, size.c_str()) != 0) fail("mount tmpfs");
}

BadDisk::~BadDisk() {
    if (!read_only_.empty()) ::umount2(read_only_.c_str(), MNT_DETACH);
    ::umount2(place_.c_str(), MNT_DETACH);
}

void BadDisk::leave_free(std::uint64_t bytes) const {
    const int file = ::open(ballast_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) fail("ballast");
    // Whoever uses the disk may write meanwhile: take what is there in small steps.
    for (int attempt = 0; attempt < 1'000; ++attempt) {
        struct statvfs space {};
        if (::statvfs(place_.c_str(), &space) != 0) fail("statvfs");
        const std::uint64_t page = space.f_bsize, now = space.f_bavail * page;
        const auto have = static_cast<std::uint64_t>(::lseek(file, 0, SEEK_END));
        const std::uint64_t want = bytes / page * page;
        if (now == want) break;
        if (now < want) {
            const std::uint64_t give = std::min(want - now, have);
            if (give == 0 || ::ftruncate(file, static_cast<off_t>(have - give)) != 0) break;
        } else if (::posix_fallocate(file, static_cast<off_t>(have),
                                     static_cast<off_t>(now - want)) != 0) {
            continue;
        }
    }
    ::close(file);
}

void BadDisk::make_read_only(const fs::path& data, pid_t user) {
    if (::mount(data.c_str(), data.c_str(), nullptr, MS_BIND, nullptr) != 0) fail("bind");
    read_only_ = data;
    const unsigned long again = MS_REMOUNT | MS_BIND | MS_RDONLY;
    if (::mount(nullptr, data.c_str(), nullptr, again, nullptr) != 0) fail("remount");
    limit_files(user, 0);
}

void BadDisk::make_writable(pid_t user) {
    limit_files(user, RLIM_INFINITY);
    if (::umount2(read_only_.c_str(), MNT_DETACH) != 0) fail("umount");
    read_only_.clear();
}

fs::path newest_log(const fs::path& store) {
    fs::path newest;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(store, ignored)) {
        if (entry.path().extension() != ".log") continue;
        const auto number = [](const fs::path& log) { return std::stoull(log.stem()); };
        if (newest.empty() || number(entry.path()) > number(newest)) newest = entry.path();
    }
    return newest;
}

// Blocks of 32 KiB; records of crc (4 bytes), length (2), type (1: whole, 2: first, 3: middle,
// 4: last piece of a batch), payload (RocksDB wiki, "Write Ahead Log File Format").
bool log_ends_whole(const fs::path& log) {
    constexpr std::size_t block = 32u << 10, header = 7;
    const std::string bytes = read_file(log);
    bool whole = true;
    for (std::size_t at = 0; at < bytes.size();) {
        const std::size_t left = block - at % block;
        if (left < header) {
            at += left;
            continue;
        }
        if (at + header > bytes.size()) return false;
        const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[at + i]); };
        const std::size_t length = byte(4) + 256u * byte(5);
        if (byte(6) < 1 || byte(6) > 4 || at + header + length > bytes.size()) return false;
        whole = byte(6) == 1 || byte(6) == 4;
        at += header + length;
    }
    return whole;
}

void damage(const fs::path& log, Damage how, std::uint64_t offset, std::mt19937_64& random) {
    constexpr std::uint64_t page = 4'096;
    const std::uint64_t size = fs::file_size(log);
    if (how == Damage::flip) {
        std::fstream file(log, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(static_cast<std::streamoff>(offset));
        const char other = static_cast<char>(file.get() ^ static_cast<int>(1 + random() % 255));
        file.seekp(static_cast<std::streamoff>(offset));
        file.put(other);
        return;
    }
    fs::resize_file(log, offset);
    if (how == Damage::zeros) fs::resize_file(log, size);
    if (how != Damage::garbage) return;
    std::ofstream file(log, std::ios::binary | std::ios::app);
    for (std::uint64_t i = 0; i < std::min(size - offset, page); ++i)
        file.put(static_cast<char>(random()));
}
