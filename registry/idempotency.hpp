#pragma once

// Answers kept under the key that a client chose, so a request that the client repeats creates
// nothing twice. The answer is in the same batch as what the request created: both survive a crash,
// or neither does.
// Changes run on the writer thread, reads on any.

#include <memory>

#include "registry/kept_answer.hpp"
#include "registry/transaction.hpp"

namespace registry {

/// errc::exists if an answer is kept under this scope and key and was not over when this one was
/// given. Nothing is changed then, nor if the change itself fails.
Result<void> accept_once(Transaction& tx, std::uint32_t hub,
                         const std::shared_ptr<const FrozenSend>& frozen, const Progress& progress,
                         const KeptAnswer& answer);
Result<Registration> put_registration_once(Transaction& tx, std::uint32_t hub,
                                           const Registration& value, const KeptAnswer& answer);

Result<void> keep_answer(Transaction& tx, std::uint32_t hub, const KeptAnswer& answer);
Result<std::size_t> expire_answers(Transaction& tx, std::int64_t now_ms, std::size_t count_max);

Result<KeptAnswer> read_answer(const View& view, std::uint32_t hub, std::string_view scope,
                               std::string_view key);

}  // namespace registry
