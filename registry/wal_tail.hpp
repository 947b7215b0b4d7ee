#pragma once

// Tells a log that a power loss tore at its end from one that was damaged in the middle.
//
// The writer syncs every batch before it starts the next one, so only the last batch of the newest
// log can be torn, and nobody was told that it was written. Damage that is followed by the
// beginning of another batch lies among acknowledged writes: such a store must be refused.

#include <filesystem>

namespace registry {

/// True if the newest RocksDB log below `store` has a bad record and no batch begins after it.
bool log_is_torn(const std::filesystem::path& store);

}  // namespace registry
