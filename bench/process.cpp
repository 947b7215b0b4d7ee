#include "bench/process.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <thread>

extern char** environ;

namespace bench {
namespace {

constexpr auto poll_every = std::chrono::milliseconds(10);
constexpr auto kill_after = std::chrono::seconds(10);

std::string read_all(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Value of a `Name: value` line of a /proc file.
std::string proc_value(const std::filesystem::path& path, const std::string& name) {
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
        if (!line.starts_with(name)) continue;
        const std::size_t at = line.find_first_not_of(" \t", line.find(':') + 1);
        return at == std::string::npos ? std::string() : line.substr(at);
    }
    return {};
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments, std::filesystem::path log)
    : log_(std::move(log)), name_(arguments.front()) {
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
        argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log_.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    const int failure = posix_spawnp(&pid_, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failure != 0) {
        pid_ = -1;
        throw std::runtime_error("cannot start " + name_ + ": " + std::strerror(failure));
    }
}

Process::~Process() {
    stop();
}

bool Process::running() {
    if (pid_ < 0) return false;
    if (waitpid(pid_, nullptr, WNOHANG) == 0) return true;
    pid_ = -1;
    return false;
}

double Process::cpu_seconds() const {
    const std::string stat = read_all("/proc/" + std::to_string(pid_) + "/stat");
    const std::size_t after_name = stat.rfind(')');
    if (after_name == std::string::npos) throw std::runtime_error(name_ + " has ended");
    std::istringstream fields(stat.substr(after_name + 2));
    std::string skipped;
    for (int i = 0; i < 11; ++i) fields >> skipped;
    double user = 0, system = 0;
    fields >> user >> system;
    return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double Process::peak_rss_mib() const {
    const std::string kib = proc_value("/proc/" + std::to_string(pid_) + "/status", "VmHWM");
    return kib.empty() ? 0 : std::stod(kib) / 1024;
}

std::string Process::output() const {
    return read_all(log_);
}

std::string Process::wait_for(const std::string& prefix, double timeout_s) {
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(timeout_s);
    while (true) {
        const bool alive = running();
        std::istringstream lines(output());
        for (std::string line; std::getline(lines, line);)
            if (line.starts_with(prefix) && !lines.eof()) return line.substr(prefix.size());
        if (!alive) throw std::runtime_error(name_ + " ended early: " + output());
        if (std::chrono::steady_clock::now() > deadline)
            throw std::runtime_error(name_ + " did not become ready: " + output());
        std::this_thread::sleep_for(poll_every);
    }
}

void Process::stop() {
    if (!running()) return;
    ::kill(pid_, SIGTERM);
    const auto deadline = std::chrono::steady_clock::now() + kill_after;
    while (running()) {
        if (std::chrono::steady_clock::now() > deadline) ::kill(pid_, SIGKILL);
        std::this_thread::sleep_for(poll_every);
    }
}

double Process::finish() {
    int status = 0;
    rusage usage{};
    const pid_t ended = wait4(pid_, &status, 0, &usage);
    pid_ = -1;
    if (ended < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        throw std::runtime_error(name_ + " failed: " + output());
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::string own_program() {
    return std::filesystem::read_symlink("/proc/self/exe").string();
}

std::uint16_t free_port() {
    boost::asio::io_context io;
    const boost::asio::ip::tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), 0});
    return acceptor.local_endpoint().port();
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
    const std::unique_ptr<FILE, int (*)(FILE*)> git(
        popen("git describe --always --dirty --abbrev=12 2>/dev/null", "r"), pclose);
    std::array<char, 64> line{};
    if (!git || std::fgets(line.data(), line.size(), git.get()) == nullptr) return "unknown";
    return std::string(line.data(), std::strcspn(line.data(), "\n"));
}

}  // namespace bench
