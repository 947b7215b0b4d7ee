#include "tests/torture_hub.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "bench/machine.hpp"
#include "pns/own_authority.hpp"
#include "tests/support/comes_true.hpp"

namespace torture {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double start_s_max = 60;

double seconds_since(Clock::time_point begun) {
    return std::chrono::duration<double>(Clock::now() - begun).count();
}

void breathe() {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

}  // namespace

LogPipe::LogPipe(std::filesystem::path pipe) : path_(std::move(pipe)) {
    if (::mkfifo(path_.c_str(), 0600) != 0) throw std::runtime_error("mkfifo failed");
    // Open for writing as well, so that the pipe does not end between two processes.
    read_end_ = ::open(path_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (read_end_ < 0) throw std::runtime_error("the log's pipe cannot be opened");
    thread_ = std::thread([this] {
        std::array<char, 16'384> bytes{};
        while (!closing_) {
            pollfd ready{read_end_, POLLIN, 0};
            if (::poll(&ready, 1, 50) <= 0) continue;
            const auto got = ::read(read_end_, bytes.data(), bytes.size());
            if (got <= 0) continue;
            const std::lock_guard lock(mutex_);
            text_.append(bytes.data(), static_cast<std::size_t>(got));
        }
    });
}

LogPipe::~LogPipe() {
    closing_ = true;
    thread_.join();
    ::close(read_end_);
}

std::string LogPipe::text() const {
    const std::lock_guard lock(mutex_);
    return text_;
}

std::size_t LogPipe::size() const {
    const std::lock_guard lock(mutex_);
    return text_.size();
}

bool LogPipe::says(const std::string& words, std::size_t from) const {
    return support::comes_true([&] { return text().find(words, from) != std::string::npos; }, 5);
}

Hub::Hub(const std::string& program, std::filesystem::path directory, std::filesystem::path data,
         std::uint64_t seed)
    : data_(std::move(data)), log_(directory / "hub.log") {
    const auto ca = pns::make_ca("pushhub torture");
    std::ofstream(directory / "providers.pem") << ca.certificate_pem;
    std::string connect_to;
    for (const Provider& provider : providers) {
        const std::string platform = provider.platform;
        auto made = pns::sim::make_credential(platform);
        const auto leaf = pns::make_leaf(ca, pns::sim::host_names(platform));
        pns::sim::SimOptions sim;
        sim.platform = platform;
        sim.trust = made.trust;
        sim.certificate_pem = leaf.certificate_pem;
        sim.key_pem = leaf.key_pem;
        sim.seed = seed;
        sim.latency = {pns::sim::Latency::Model::uniform, 1, 30};
        sims_[platform] = pns::sim::Simulator::start(std::move(sim)).value();
        credentials_.push_back(std::move(made.credential));
        for (const auto& rule : sims_[platform]->connect_to())
            connect_to += (connect_to.empty() ? "" : ",") + rule;
    }
    const std::uint16_t port = bench::free_port(), plain_port = bench::free_port();
    plain_url_ = "http://127.0.0.1:" + std::to_string(plain_port);
    endpoint_ = "Endpoint=sb://localhost:" + std::to_string(port);
    command_ = {program,
                "serve",
                "--data-dir",
                data_.string(),
                "--listen",
                "127.0.0.1:" + std::to_string(port),
                "--listen-plain",
                "127.0.0.1:" + std::to_string(plain_port),
                "--lanes",
                "2",
                "--provider-ca-file",
                (directory / "providers.pem").string(),
                "--connect-to",
                connect_to,
                "--checkpoint-ms",
                std::to_string(checkpoint_ms),
                "--fanout-chunk-devices",
                "64",
                "--disk-free-mib-min",
                "0",
                "--log-level",
                "warn"};
}

bool Hub::try_start() {
    const auto begun = Clock::now();
    process_ = std::make_unique<bench::Process>(command_, log_.path());
    while (seconds_since(begun) < start_s_max) {
        if (plain("/readyz") == 200) return true;
        if (!process_->running()) return false;
        breathe();
    }
    throw std::runtime_error("the hub neither comes up nor ends: " + log_.text());
}

double Hub::start() {
    const auto begun = Clock::now();
    if (!try_start()) {
        breathe();
        throw std::runtime_error("the hub does not come up: " + log_.text());
    }
    return seconds_since(begun);
}

std::unique_ptr<hub::HubClient> Hub::connect() const {
    std::string key = bench::read_all(data_ / "root.key");
    key = key.substr(0, key.find('\n'));
    return std::make_unique<hub::HubClient>(
        endpoint_ + "/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=" + key,
        (data_ / "tls" / "ca.pem").string());
}

int Hub::plain(const std::string& path) const {
    try {
        return hub::plain_call(plain_url_, "GET", path).status;
    } catch (const std::exception&) {
        return 0;
    }
}

double Hub::metric(const std::string& name) const {
    std::istringstream lines(hub::plain_call(plain_url_, "GET", "/metrics").body);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with(name + " ")) return std::stod(line.substr(name.size()));
    }
    return -1;
}

}  // namespace torture
