#pragma once

// RocksDB and nothing else: how many small synced writes a second several threads achieve on this
// disk when their writes share syncs. Durable registrations are compared with it.

#include <cstddef>
#include <filesystem>

namespace bench {

struct RawStoreLoad {
    unsigned threads = 64;
    double seconds = 3;
    std::size_t value_bytes = 400;
};

/// Synced writes per second in a new store under `directory`. Throws std::runtime_error.
double raw_synced_writes_per_s(const std::filesystem::path& directory, const RawStoreLoad& load);

}  // namespace bench
