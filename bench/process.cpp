// A child is spawned with its output in a file; figures come from /proc. Each child is the head of
// a group of its own, so Ctrl-C reaches the benchmark only, and the benchmark ends its children.
// Stopping asks first, and kills after a while. kill_children() may be called from the thread that
// waits for signals.
#include "bench/process.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "bench/machine.hpp"

extern char** environ;

namespace bench {
namespace {

constexpr auto poll_every = std::chrono::milliseconds(5);
constexpr auto kill_after = std::chrono::seconds(10);

/// The children there are, so that none outlives a benchmark that is given up.
struct Children {
    std::mutex mutex;
    std::set<pid_t> pids;
};
Children& children() {
    static Children all;
    return all;
}

/// As execvp() wants them; it leaves them as they are.
std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> out;
    for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
    out.push_back(nullptr);
    return out;
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments, std::filesystem::path log,
                 const std::vector<std::string>& environment, Input input)
    : log_(std::move(log)), name_(arguments.front()) {
    std::vector<std::string> variables = environment;
    for (char** variable = environ; *variable != nullptr; ++variable)
        variables.emplace_back(*variable);
    const std::vector<char*> argv = pointers(arguments), envp = pointers(variables);
    // A socket and no pipe: writing to a process that has ended is then an error and no signal.
    std::array<int, 2> ends{-1, -1};
    if (input == Input::lines &&
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
        throw std::runtime_error("no input for " + name_ + ": " + std::strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (input == Input::lines)
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDIN_FILENO);
    else
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log_.c_str(),
                                     O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
    // Signals that the benchmark blocks must reach its children. A group of their own: Ctrl-C ends
    // the benchmark, and the benchmark ends them.
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    const std::lock_guard lock(children().mutex);
    const int failure =
        posix_spawnp(&pid_, argv[0], &actions, &attributes, argv.data(), envp.data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (input == Input::lines) ::close(ends[1]);
    input_ = ends[0];
    if (failure != 0) {
        pid_ = -1;
        if (input_ >= 0) ::close(input_);
        throw std::runtime_error("cannot start " + name_ + ": " + std::strerror(failure));
    }
    children().pids.insert(pid_);
}

Process::~Process() {
    stop();
}

void Process::forget() {
    const std::lock_guard lock(children().mutex);
    children().pids.erase(pid_);
    pid_ = -1;
    if (input_ >= 0) ::close(input_);
    input_ = -1;
}

bool Process::running() {
    if (pid_ < 0) return false;
    if (waitpid(pid_, nullptr, WNOHANG) == 0) return true;
    forget();
    return false;
}

double Process::cpu_seconds() const {
    clockid_t clock{};
    timespec used{};
    if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &used) != 0)
        throw std::runtime_error(name_ + " has ended");
    return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

double Process::user_seconds() const {
    std::ifstream stat("/proc/" + std::to_string(pid_) + "/stat");
    std::string line;
    std::getline(stat, line);
    // The name may hold anything; utime is the 14th field, the 12th after the name (proc(5)).
    std::istringstream fields(line.substr(std::min(line.size(), line.rfind(')') + 2)));
    std::string field;
    for (int i = 0; i < 12; ++i) fields >> field;
    if (!fields) throw std::runtime_error(name_ + " has ended");
    return std::stod(field) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double Process::rss_mib() const {
    const std::string kib = proc_value("/proc/" + std::to_string(pid_) + "/status", "VmRSS");
    return kib.empty() ? 0 : std::stod(kib) / 1024;
}

double Process::peak_rss_mib() const {
    const std::string kib = proc_value("/proc/" + std::to_string(pid_) + "/status", "VmHWM");
    return kib.empty() ? 0 : std::stod(kib) / 1024;
}

void Process::forget_peak_rss() const {
    std::ofstream("/proc/" + std::to_string(pid_) + "/clear_refs") << "5";
}

std::string Process::output() const {
    return read_all(log_);
}

void Process::say(const std::string& line) const {
    const std::string text = line + '\n';
    // Short beside the buffer of a socket: it is written whole.
    if (::send(input_, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
        throw std::runtime_error(name_ + " does not read: " + output());
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

void Process::interrupt() {
    if (!running()) return;
    ::kill(pid_, SIGINT);
    while (running()) std::this_thread::sleep_for(poll_every);
}

void Process::kill() {
    if (!running()) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    forget();
}

double Process::finish() {
    int status = 0;
    rusage usage{};
    const pid_t ended = wait4(pid_, &status, 0, &usage);
    forget();
    if (ended < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        throw std::runtime_error(name_ + " failed: " + output());
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void kill_children() {
    const std::lock_guard lock(children().mutex);
    for (const pid_t pid : children().pids) ::kill(pid, SIGKILL);
}

std::string own_program() {
    return std::filesystem::read_symlink("/proc/self/exe").string();
}

std::string hub_program() {
    return (std::filesystem::path(own_program()).parent_path() / "pushhub").string();
}

std::uint16_t free_port() {
    boost::asio::io_context io;
    const boost::asio::ip::tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), 0});
    return acceptor.local_endpoint().port();
}

}  // namespace bench
