#pragma once

// Erasing what belongs to a user. Writer thread only.

#include <string>
#include <vector>

#include "registry/device_query.hpp"
#include "registry/transaction.hpp"

namespace registry {

/// Erases those of the installations `ids` that are this user's now: one that
/// went to another user meanwhile stays.
Result<std::vector<ErasedInstallation>> erase_user(Transaction& tx, std::uint32_t hub,
                                                   const std::string& user_id,
                                                   const std::vector<std::string>& ids);

}  // namespace registry
