// Tested by tests/hub_service_test.cpp.

#include "hub/process/private_file.hpp"

#include <fcntl.h>
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
