// Tested by tests/hub_service_test.cpp.

#include "hub/process/private_file.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <system_error>

#include "registry/durable.hpp"

namespace hub {

namespace {

[[noreturn]] void fail(const std::string& what, const std::filesystem::path& path) {
    const auto reason = std::generic_category().message(errno);
    throw std::runtime_error(what + " " + path.string() + ": " + reason);
}

}  // namespace

namespace {

constexpr mode_t of_others = S_IRWXG | S_IRWXO;

struct Owned {
    mode_t mode = 0;
    uid_t owner = 0;
    /// It can be changed by this process's user, and by the one who can change everything, only.
    bool by_us() const { return owner == ::geteuid() || owner == 0; }
};

/// Of the file itself, links followed. False: it went away meanwhile.
bool look_at(const std::filesystem::path& path, Owned& found) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) {
        if (errno == ENOENT) return false;
        fail("cannot look at", path);
    }
    found = {info.st_mode & 07777, info.st_uid};
    return true;
}

std::string belongs_to(const Owned& found) {
    return " belongs to the user " + std::to_string(found.owner) + ", not to " +
           std::to_string(::geteuid()) + ", who runs this: chown it";
}

void take_from_others(const std::filesystem::path& path) {
    Owned found;
    if (!look_at(path, found) || (found.mode & of_others) == 0) return;
    const bool taken = ::chmod(path.c_str(), found.mode & ~of_others) == 0;
    if (!taken && errno != ENOENT) fail("others may read, and this process may not change,", path);
    if (taken && look_at(path, found) && (found.mode & of_others) != 0)
        throw std::runtime_error("others may read " + path.string() +
                                 ", and its file system cannot keep them out");
}

void check_link(const std::filesystem::path& link) {
    Owned found;
    if (!look_at(link, found)) return;
    if ((found.mode & of_others) != 0)
        throw std::runtime_error("others may read what " + link.string() +
                                 " leads to: chmod -R go= it");
    if (!found.by_us())
        throw std::runtime_error("what " + link.string() + " leads to" + belongs_to(found));
}

/// Refuses a directory that cannot be kept from others. Changes nothing.
void check_directory(const std::filesystem::path& directory) {
    if (!std::filesystem::is_directory(directory))
        throw std::runtime_error(directory.string() + " is no directory");
    Owned found;
    if (look_at(directory, found) && (found.mode & S_ISVTX) != 0)
        throw std::runtime_error(directory.string() + " is shared by all: name one of its own");
    if (std::filesystem::equivalent(directory, "/"))
        throw std::runtime_error("the root directory cannot be kept from others");
    if (!found.by_us()) throw std::runtime_error(directory.string() + belongs_to(found));
}

/// Calls `look` with everything in `directory` but what a file system has there of its own; links
/// only where they stand at its top.
void walk(const std::filesystem::path& directory,
          const std::function<void(const std::filesystem::path&, bool is_link)>& look) {
    for (std::filesystem::recursive_directory_iterator at(directory), end; at != end; ++at) {
        const std::string name = at->path().filename().string();
        if (at.depth() == 0 && (name.starts_with('.') || name == "lost+found")) {
            at.disable_recursion_pending();
        } else if (const bool is_link = at->is_symlink(); !is_link || at.depth() == 0) {
            look(at->path(), is_link);
        }
    }
}

/// Where `directory` would be made there must be room for it: makes one there, and removes it.
void check_makeable(const std::filesystem::path& directory) {
    auto parent = std::filesystem::absolute(directory);
    while (!std::filesystem::exists(parent) && parent.has_relative_path())
        parent = parent.parent_path();
    if (!std::filesystem::is_directory(parent))
        throw std::runtime_error(parent.string() + " is no directory");
    std::string trial = (parent / ".pushhub-trial-XXXXXX").string();
    if (::mkdtemp(trial.data()) == nullptr) fail("cannot make a directory in", parent);
    ::rmdir(trial.c_str());
}

void check_writable(const std::filesystem::path& directory) {
    if (::access(directory.c_str(), R_OK | W_OK | X_OK) != 0) fail("cannot write in", directory);
}

}  // namespace

void close_to_others() {
    ::umask(of_others);
    ::prctl(PR_SET_DUMPABLE, 0);
}

void allow_core_dumps() {
    ::prctl(PR_SET_DUMPABLE, 1);
}

void make_private(const std::filesystem::path& directory) {
    std::filesystem::create_directories(directory);
    check_directory(directory);
    take_from_others(directory);
    walk(directory, [](const std::filesystem::path& path, bool is_link) {
        is_link ? check_link(path) : take_from_others(path);
    });
}

std::string why_not_private(const std::filesystem::path& directory) {
    try {
        if (!std::filesystem::exists(directory)) {
            check_makeable(directory);
            return {};
        }
        check_directory(directory);
        check_writable(directory);
        walk(directory, [](const std::filesystem::path& path, bool is_link) {
            if (is_link) check_link(path);
        });
    } catch (const std::exception& refusal) {
        return refusal.what();
    }
    return {};
}

std::string read_small_file(const std::filesystem::path& path) {
    constexpr std::size_t bytes_max = 64 * 1024;
    std::ifstream file(path, std::ios::binary);
    if (!file) fail("cannot read", path);
    std::string text(bytes_max + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (text.size() > bytes_max) throw std::runtime_error(path.string() + " is too large");
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
    return text;
}

void write_private_file(const std::filesystem::path& path, const std::string& text) {
    auto fresh = path;
    fresh += ".new";
    ::unlink(fresh.c_str());
    const int file = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) fail("cannot create", fresh);
    const bool written = registry::write_fully(file, text) && ::fsync(file) == 0;
    const bool closed = ::close(file) == 0;
    if (!written || !closed || ::rename(fresh.c_str(), path.c_str()) != 0)
        fail("cannot write", path);
    registry::sync_folder(path.parent_path());
}

}  // namespace hub
