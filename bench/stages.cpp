// Tested by tests/hub_bench_results_test.cpp.
//
// The output of perf is read line by line: the stack of a sample, the first function that a rule
// knows, one count. Rules are names of functions of the tree, so one that is renamed must be
// renamed here; what no rule knows is counted as such. Counting allocations preloads a library
// into the hub.
#include "bench/stages.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <string_view>
#include <thread>

#include "bench/machine.hpp"

namespace bench {
namespace {

constexpr auto start_time = std::chrono::milliseconds(300);
constexpr const char* sampling_hz = "499";
constexpr const char* stack_bytes = "dwarf,16384";

enum Stage : std::size_t { select, load, render, encode, tls, verdict, ledger, other, stages };
constexpr std::array<const char*, stages> names{"select",     "load",    "render", "encode_hpack",
                                                "tls_socket", "verdict", "ledger", "other"};

struct Rule {
    std::string_view text;  ///< part of a frame
    Stage stage;
};

/// Functions of the tree, told by their names. Where one calls another the innermost counts.
constexpr std::array functions{
    Rule{"SSL_", tls},
    Rule{"socket_ops::", tls},
    Rule{"tcp_", tls},
    Rule{"registry::select", select},
    Rule{"tagexpr::", select},
    Rule{"registry::load_devices", load},
    Rule{"::load(unsigned int, unsigned short", load},
    Rule{"hub::FanoutLane::build", render},
    Rule{"hub::Rendering", render},
    Rule{"hub::Template", render},
    Rule{"nghttp2_", encode},
    Rule{"hub::FanoutLane::submit", encode},
    Rule{"AccountSender::send", encode},
    Rule{"Outlet::pump", encode},
    Rule{"H2Session::", encode},
    Rule{"H2Connection::submit", encode},
    Rule{"encrypt_record", encode},
    Rule{"Outlet::on_answer", verdict},
    Rule{"AccountSender::finish", verdict},
    Rule{"hub::FanoutLane::judge", verdict},
    Rule{"hub::FanoutLane::finish", verdict},
    Rule{"hub::FanoutLane::later", verdict},
    Rule{"hub::FanoutLane::flush", verdict},
    Rule{"hub::FanoutLane::close_chunk", verdict},
    Rule{"hub::Tally", verdict},
    Rule{"hub::DeviceResults", verdict},
    Rule{"hub::PruneGate", verdict},
    Rule{"hub::Trace", verdict},
    Rule{"registry::Writer", ledger},
    Rule{"registry::checkpoint", ledger},
    Rule{"registry::accept", ledger},
    Rule{"rocksdb::DBImpl::BackgroundCall", ledger},
};

/// Libraries, for samples that none of these functions holds.
constexpr std::array libraries{
    Rule{"libssl", tls},        Rule{"libcrypto", tls},     Rule{"[kernel", tls},
    Rule{"libnghttp2", encode}, Rule{"librocksdb", ledger}, Rule{"libroaring", select},
};

}  // namespace

void StageCount::line(const std::string& text) {
    const std::size_t at = text.find_first_not_of(" \t");
    if (at == std::string::npos) {
        end_sample();
        return;
    }
    // "    7f12ab name (library)": what follows the address.
    const std::size_t name = text.find(' ', at);
    if (name != std::string::npos) frames_.push_back(text.substr(name + 1));
}

void StageCount::end_sample() {
    if (frames_.empty()) return;
    if (samples_.empty()) samples_.resize(stages);
    const auto match = [this](const auto& rules) {
        for (const std::string& frame : frames_)
            for (const Rule& rule : rules)
                if (frame.find(rule.text) != std::string::npos) return rule.stage;
        return other;
    };
    Stage stage = match(functions);
    if (stage == other) stage = match(libraries);
    samples_[stage] += 1;
    frames_.clear();
}

StageShares StageCount::shares() {
    end_sample();
    StageShares out;
    double sum = 0;
    for (const double count : samples_) sum += count;
    for (std::size_t i = 0; i < samples_.size(); ++i) out.emplace_back(names[i], samples_[i] / sum);
    return out;
}

StageProfile::StageProfile(const std::filesystem::path& dir, const Process& process)
    : data_(dir / "perf.data"), log_(dir / "perf.log") {
    try {
        perf_ = std::make_unique<Process>(
            std::vector<std::string>{"perf", "record", "-e", "cpu-clock", "-F", sampling_hz,
                                     "--call-graph", stack_bytes, "-p",
                                     std::to_string(process.pid()), "-o", data_.string()},
            log_);
    } catch (const std::exception&) {
        return;  // no perf on this machine
    }
    std::this_thread::sleep_for(start_time);
    if (!perf_->running()) perf_.reset();
}

StageShares StageProfile::finish() {
    if (!perf_) return {};
    perf_->interrupt();
    perf_.reset();
    const std::string command =
        "perf script -i '" + data_.string() + "' --no-inline -F ip,sym,dso 2>/dev/null";
    StageCount count;
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
    std::array<char, 16'384> line{};
    while (pipe && std::fgets(line.data(), line.size(), pipe.get()) != nullptr)
        count.line(std::string(line.data(), std::strcspn(line.data(), "\n")));
    return count.shares();
}

AllocationCount::AllocationCount(const std::filesystem::path& dir) : file_(dir / "allocations") {
    const auto library = std::filesystem::path(own_program()).parent_path() / "allocations.so";
    if (std::filesystem::exists(library)) library_ = library;
}

std::vector<std::string> AllocationCount::environment() const {
    return {"LD_PRELOAD=" + library_.string(), "PUSHHUB_ALLOCATIONS_FILE=" + file_.string()};
}

double AllocationCount::total() const {
    const std::string bytes = read_all(file_);
    double sum = 0;
    for (std::size_t at = 0; at + sizeof(std::uint64_t) <= bytes.size();
         at += sizeof(std::uint64_t)) {
        std::uint64_t count = 0;
        std::memcpy(&count, bytes.data() + at, sizeof count);
        sum += static_cast<double>(count);
    }
    return sum;
}

}  // namespace bench
