#pragma once

// Fills the store of a hub that is not running with many installations, without HTTP and without a
// sync per batch, for populations that would take too long over REST. It writes what the hub would
// have written.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "registry/registry.hpp"

namespace bench {

/// Opens the store under the data directory of a hub that is not running. `sync` false: what is
/// written is safe once it is closed. Throws std::runtime_error.
std::unique_ptr<registry::Registry> open_store(const std::filesystem::path& data_dir,
                                               bool sync = true);
/// The stored hub of this name; throws if there is none.
registry::HubRow stored_hub(const registry::Registry& store, const std::string& name);

/// Writes what `make` gives for 0 to count - 1, with a progress bar; installations per second.
/// Throws std::runtime_error.
double fill_store(const std::filesystem::path& data_dir, const std::string& hub,
                  std::uint32_t count,
                  const std::function<registry::Installation(std::uint32_t)>& make);

std::uint64_t bytes_on_disk(const std::filesystem::path& directory);
/// Drops the files below `directory` from the page cache, as far as they are written: what reads
/// them next reads the disk.
void drop_from_page_cache(const std::filesystem::path& directory);
/// Reads all files below `directory` in one pass; seconds.
double read_sequentially(const std::filesystem::path& directory);

}  // namespace bench
