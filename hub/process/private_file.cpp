// Tested by tests/hub_service_test.cpp.

#include "hub/process/private_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
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

/// Of the file itself, links followed. False: it went away meanwhile.
bool mode_of(const std::filesystem::path& path, mode_t& mode) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) {
        if (errno == ENOENT) return false;
        fail("cannot look at", path);
    }
    mode = info.st_mode & 07777;
    return true;
}

void take_from_others(const std::filesystem::path& path) {
    mode_t mode = 0;
    if (!mode_of(path, mode) || (mode & of_others) == 0) return;
    const bool taken = ::chmod(path.c_str(), mode & ~of_others) == 0;
    if (!taken && errno != ENOENT) fail("others may read, and this process may not change,", path);
    if (taken && mode_of(path, mode) && (mode & of_others) != 0)
        throw std::runtime_error("others may read " + path.string() +
                                 ", and its file system cannot keep them out");
}

void check_link(const std::filesystem::path& link) {
    mode_t mode = 0;
    if (mode_of(link, mode) && (mode & of_others) != 0)
        throw std::runtime_error("others may read what " + link.string() +
                                 " leads to: chmod -R go= it");
}

}  // namespace

void close_to_others() {
    ::umask(of_others);
}

void make_private(const std::filesystem::path& directory) {
    std::filesystem::create_directories(directory);
    mode_t mode = 0;
    if (mode_of(directory, mode) && (mode & S_ISVTX) != 0)
        throw std::runtime_error(directory.string() + " is shared by all: name one of its own");
    if (std::filesystem::equivalent(directory, "/"))
        throw std::runtime_error("the root directory cannot be kept from others");
    take_from_others(directory);
    for (std::filesystem::recursive_directory_iterator at(directory), end; at != end; ++at) {
        const std::string name = at->path().filename().string();
        if (at.depth() == 0 && (name.starts_with('.') || name == "lost+found")) {
            at.disable_recursion_pending();
        } else if (!at->is_symlink()) {
            take_from_others(at->path());
        } else if (at.depth() == 0) {
            check_link(at->path());
        }
    }
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
