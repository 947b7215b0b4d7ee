#include "bench/raw_store.hpp"

#include <rocksdb/db.h>
#include <rocksdb/options.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/targets.hpp"

namespace bench {

double raw_synced_writes_per_s(const std::filesystem::path& directory, const RawStoreLoad& load) {
    rocksdb::Options options;
    options.create_if_missing = true;
    rocksdb::DB* opened = nullptr;
    const auto status = rocksdb::DB::Open(options, directory.string(), &opened);
    if (!status.ok()) throw std::runtime_error("cannot open a raw store: " + status.ToString());
    const std::unique_ptr<rocksdb::DB> db(opened);
    rocksdb::WriteOptions synced;
    synced.sync = true;  // RocksDB groups the writes that wait into one
    using Clock = std::chrono::steady_clock;
    std::atomic<std::uint64_t> written = 0;
    std::atomic<bool> failed = false;
    const auto begun = Clock::now();
    const auto until = begun + std::chrono::duration<double>(load.seconds);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < load.threads; ++t) {
        threads.emplace_back([&, t] {
            const std::string value(load.value_bytes, 'v');
            for (std::uint64_t i = 0; Clock::now() < until && !failed; ++i) {
                const std::string key = std::to_string(mixed((std::uint64_t{t} << 32) + i));
                if (db->Put(synced, key, value).ok())
                    written.fetch_add(1, std::memory_order_relaxed);
                else
                    failed = true;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    if (failed) throw std::runtime_error("a raw store does not take writes");
    return static_cast<double>(written) /
           std::chrono::duration<double>(Clock::now() - begun).count();
}

}  // namespace bench
