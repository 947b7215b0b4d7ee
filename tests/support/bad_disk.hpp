#pragma once

// A small disk of a test's own that can be full, read-only, or lose the end of a log. Linux only,
// one thread.

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <random>
#include <string>

/// A tmpfs in a mount namespace of this process and its children.
class BadDisk {
  public:
    /// Enters a namespace of its own, as root or in a user namespace: once, before any thread is
    /// started. False: `why` says what this machine does not allow.
    static bool allowed(std::string& why);

    /// Mounts at `place`, which must exist. Throws std::runtime_error.
    BadDisk(std::filesystem::path place, std::uint64_t bytes);
    ~BadDisk();
    BadDisk(const BadDisk&) = delete;
    BadDisk& operator=(const BadDisk&) = delete;

    /// Takes or gives back space, so that `bytes` (to the page) are free. Throws.
    void leave_free(std::uint64_t bytes) const;
    /// Like `mount -o remount,ro`, which the kernel denies while files are open for writing:
    /// opening, creating, renaming and removing files below `data` fails with EROFS, and process
    /// `user` can write to no file it has open. `user` must ignore SIGXFSZ and log into a pipe.
    /// Throws.
    void make_read_only(const std::filesystem::path& data, pid_t user);
    /// `user` may be another process than before. Throws.
    void make_writable(pid_t user);

  private:
    std::filesystem::path place_, ballast_, read_only_;
};

// --- logs of RocksDB, as of a store that no process has open ---

/// The newest `*.log` below `store`; empty if there is none.
std::filesystem::path newest_log(const std::filesystem::path& store);

/// Whether the log ends with a whole batch.
bool log_ends_whole(const std::filesystem::path& log);

enum class Damage {
    cut,      ///< the file ends at the offset
    zeros,    ///< from the offset on: pages that were never written back
    garbage,  ///< the file ends at the offset and goes on with something else, 4 KiB at most
    flip,     ///< one byte at the offset is another one
};
void damage(const std::filesystem::path& log, Damage how, std::uint64_t offset,
            std::mt19937_64& random);
