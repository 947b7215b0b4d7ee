#include "bench/machine.hpp"

#include <sys/utsname.h>

#include <array>
#include <boost/version.hpp>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <thread>
#include <vector>

namespace bench {
namespace {

std::vector<std::string> lines_of(const char* command) {
    std::vector<std::string> lines;
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command, "r"), pclose);
    std::array<char, 256> line{};
    while (pipe && std::fgets(line.data(), line.size(), pipe.get()) != nullptr)
        lines.emplace_back(line.data(), std::strcspn(line.data(), "\n"));
    return lines;
}

}  // namespace

std::string read_all(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string proc_value(const std::filesystem::path& path, const std::string& name) {
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
        if (!line.starts_with(name)) continue;
        const std::size_t at = line.find_first_not_of(" \t", line.find(':') + 1);
        return at == std::string::npos ? std::string() : line.substr(at);
    }
    return {};
}

std::string machine_description() {
    std::string model = proc_value("/proc/cpuinfo", "model name");
    if (model.empty()) model = "unknown processor";
    const std::string memory = proc_value("/proc/meminfo", "MemTotal");
    const double gib = memory.empty() ? 0 : std::stod(memory) / 1024 / 1024;
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.0f GiB", gib);
    return model + ", " + std::to_string(std::thread::hardware_concurrency()) + " cores, " +
           text.data();
}

std::string commit_description() {
    const auto lines = lines_of("git describe --always --dirty --abbrev=12 2>/dev/null");
    return lines.empty() ? "unknown" : lines.front();
}

std::string versions_description() {
    std::string out = "pushhub " PUSHHUB_VERSION;
#ifndef __OPTIMIZE__
    out += " (not optimised)";
#endif
#ifdef __clang__
    out += ", clang " __clang_version__;
#else
    out += ", g++ " __VERSION__;
#endif
    utsname system{};
    if (uname(&system) == 0) out += ", Linux " + std::string(system.release);
    out += ", Boost " + std::to_string(BOOST_VERSION / 100'000) + "." +
           std::to_string(BOOST_VERSION / 100 % 1'000);
    for (const std::string& line :
         lines_of("dpkg-query -W -f='${Package} ${Version}\\n' libc6 libssl3 libnghttp2-14 "
                  "librocksdb7.8 libroaring0 nghttp2-client 2>/dev/null"))
        out += ", " + line;
    return out;
}

}  // namespace bench
