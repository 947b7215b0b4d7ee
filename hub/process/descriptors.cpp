// Tested by tests/hub_descriptors_test.cpp.

#include "hub/process/descriptors.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

#include "hub/process/config.hpp"

namespace hub {

namespace {

constexpr std::size_t tables_all = 16'384;  // 1 TB of store: beyond it tables are closed in turn
constexpr std::size_t provider_all = 16'384;
constexpr std::size_t trace_least = 48, trace_mib_per_table = 64;
constexpr std::size_t others = 64;  // logs, event loops, blobs, name lookups, the probe of the disk
constexpr std::size_t connections_least = 16;

}  // namespace

std::size_t raise_descriptor_limit() {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return descriptors_min;
    rlimit raised = limit;
    raised.rlim_cur = limit.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
    constexpr auto most = static_cast<rlim_t>(std::numeric_limits<int>::max());
    return static_cast<std::size_t>(std::min(limit.rlim_cur, most));
}

std::optional<DescriptorShares> share_descriptors(std::size_t limit, const Config& config) {
    const std::size_t tables = std::min(limit / 4, tables_all);
    const std::size_t trace =
        std::min(trace_least + config.trace_mib_max / trace_mib_per_table, limit / 4);
    const std::size_t files = tables + trace + others;
    const std::size_t reserved = files + std::min(limit / 8, provider_all);
    if (limit < reserved + connections_least) return std::nullopt;
    DescriptorShares out;
    out.connections_max = limit - reserved;
    out.connections_below = static_cast<int>(limit - files);
    if (tables < tables_all) out.store_tables_max = static_cast<int>(tables);
    return out;
}

}  // namespace hub
