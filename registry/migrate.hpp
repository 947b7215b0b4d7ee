#pragma once

// From formats 3 to 5 of the store to format 6, once, before anybody reads it.
//
// Format 3 found a user whatever the case of his id, kept native rows and templates with one handle
// together, and marked only native rows that share a handle. Up to format 4 what expired of a user
// was found by looking at all that expired. Up to format 5 rows and sends had the time of a change
// where they have its position now; such a row counts as unchanged. What is kept beside rows and
// installations is mended in walks, a bounded batch at a time; each batch says with its own changes
// how far it came. A process that is killed goes on there at its next start. The first batch gives
// the store its new version: no older program meets a half.

#include <string>

#include "registry/transaction.hpp"

namespace registry {

constexpr std::size_t migration_entries_max = 2'000;  ///< looked at in one batch

/// One batch; true: there is more to do. False as well if there was nothing to do.
/// `folder` is the same for all batches.
Result<bool> migrate_batch(Store& store, Memory& memory, PostingFolder& folder,
                           std::size_t entries_max);

/// All of it. `why`: that it was done, or what failed and what the operator can do.
Result<void> migrate(Store& store, Memory& memory, std::string& why);

}  // namespace registry
