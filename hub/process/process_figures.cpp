// Tested by tests/hub_metrics_test.cpp.
//
// From /proc/self, read anew for each page; what cannot be read is 0.

#include "hub/process/process_figures.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace hub {

namespace {

struct Memory {
    double virtual_bytes = 0, resident_bytes = 0;
};

Memory memory() {
    std::ifstream in("/proc/self/statm");
    std::uint64_t whole = 0, resident = 0;
    if (!(in >> whole >> resident)) return {};
    const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
    return {static_cast<double>(whole) * page, static_cast<double>(resident) * page};
}

double entries_of(const char* directory) {
    std::error_code failure;
    double count = 0;
    std::filesystem::directory_iterator at(directory, failure), end;
    for (; !failure && at != end; at.increment(failure)) ++count;
    return count;
}

double seconds(const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

void add_process_figures(Metrics& metrics, const pns::Clock& clock) {
    metrics.gauges("pushhub_build_info", "1; the labels tell what was built.", [] {
        return std::vector<Metrics::Sample>{
            {{{"version", PUSHHUB_VERSION}, {"compiler", __VERSION__}}, 1}};
    });
    const double began = static_cast<double>(clock.wall_ms()) / 1'000;
    metrics.gauge("process_start_time_seconds", "When the process began, in seconds since 1970.",
                  [began] { return began; });
    metrics.counter("process_cpu_seconds_total", "Processor time used.", [] {
        rusage usage{};
        ::getrusage(RUSAGE_SELF, &usage);
        return seconds(usage.ru_utime) + seconds(usage.ru_stime);
    });
    metrics.gauge("process_resident_memory_bytes", "Memory in use.",
                  [] { return memory().resident_bytes; });
    metrics.gauge("process_virtual_memory_bytes", "Memory mapped.",
                  [] { return memory().virtual_bytes; });
    metrics.gauge("process_open_fds", "Open file descriptors.",
                  [] { return entries_of("/proc/self/fd"); });
    metrics.gauge("process_max_fds", "File descriptors that may be open.", [] {
        rlimit limit{};
        ::getrlimit(RLIMIT_NOFILE, &limit);
        return static_cast<double>(limit.rlim_cur);
    });
    metrics.gauge("process_threads", "Threads.", [] { return entries_of("/proc/self/task"); });
}

}  // namespace hub
