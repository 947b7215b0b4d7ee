#pragma once

// The end of RocksDB's newest log. Tells a log that a crash tore at its end from one that was
// damaged in the middle, and takes back what a failed write left at the end.
//
// The writer syncs every batch before it starts the next one, so only the last batch of the newest
// log can be torn, and nobody was told that it was written. Damage that is followed by the
// beginning of another batch lies among acknowledged writes: such a store must be refused.

#include <cstdint>
#include <filesystem>

namespace registry {

enum class LogEnd {
    whole,    ///< no log, or as far as its lengths tell it ends with a whole batch
    torn,     ///< it ends within a batch
    damaged,  ///< its lengths are broken, and a batch begins behind that
};
/// Reads the lengths of the newest log below `store`; the sums only behind what is broken.
LogEnd newest_log_end(const std::filesystem::path& store);

/// True if the newest log below `store` has a record whose sum is wrong and no batch begins after
/// it.
bool log_is_torn(const std::filesystem::path& store);

/// Cuts the newest log below `store` behind the last batch that begins at or before `sequence`, and
/// syncs it. Only for a log that this process has written, with no database open. False: the file
/// system refused.
bool cut_log_after(const std::filesystem::path& store, std::uint64_t sequence);

}  // namespace registry
