#pragma once

// What a store is opened with.

#include <cstddef>
#include <filesystem>
#include <functional>

#include "registry/errc.hpp"

namespace rocksdb {
class Env;
}

namespace registry {

struct Options {
    std::filesystem::path directory;
    std::size_t posting_cache_bytes_max = 256u << 20;
    std::size_t block_cache_bytes = 256u << 20;
    std::size_t write_queue_changes_max =
        65'536;                             ///< beyond it a write answers errc::overloaded at once
    std::size_t batch_changes_max = 2'048;  ///< changes folded into one synced batch
    bool sync = true;                       ///< false only in tests that do not crash
    int open_tables_max = -1;               ///< files held open; -1 = all
    rocksdb::Env* env = nullptr;            ///< tests inject faults here; not owned
    /// Called on the writer thread when writes begin to fail, and without an error when they can
    /// succeed again. Must only hand it on. May be empty.
    std::function<void(boost::system::error_code)> on_writable;
    /// Called on the writer thread, with true before the answers of a batch are given and with
    /// false after them. May be empty.
    std::function<void(bool begins)> on_answering;
};

}  // namespace registry
